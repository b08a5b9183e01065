//! The derived table that stands in place of a restricted relation.

use std::fmt::Write as _;

use crate::policy::{Isolation, Permit, Scoped};
use crate::sql::{Statement, quote_identifier};

/// What the relation is called inside of its derived table, when no name of the statement has it.
const INNER: &str = "northgate_t";

/// A name for the relation inside of its derived table that stands nowhere in the statement.
///
/// A derived table in a correlated subquery sees the relations around it. Were its columns qualified with a name
/// that the user can give to a relation of their own, then a column that the table has no more would not be an
/// error: it would be found there, and the filter or the mask would compute with the user's value. The letters are
/// such that no other character is equal to one of them when case is ignored.
pub(super) fn inner_name(statement: &Statement, permit: &Permit) -> String {
    let whole = |statement: &Statement| {
        let count = u32::try_from(statement.tokens().len()).unwrap_or(u32::MAX);
        statement.slice(0..count).to_ascii_lowercase()
    };
    let mut text = whole(statement);
    for view in permit.tables().filter_map(Scoped::view) {
        text.push(' ');
        text.push_str(&whole(&view.statement));
    }
    let mut name = INNER.to_owned();
    let mut number = 0_u32;
    while text.contains(&name) {
        number += 1;
        name = format!("{INNER}{number}");
    }
    name
}

/// A query that gives the rows and columns that may be seen of a relation, filter first, then masks.
///
/// Where rows are filtered in strict isolation, the columns hang on a guard that is true on every row, and that the optimiser
/// cannot know to be: no predicate of the user is then evaluated on a row that the filter hides. `version`
/// is the text of `FOR VERSION AS OF ...`, or empty. `name` is that of [`inner_name`]. `table` is what stands for the
/// relation: its name, or the query of a view. `conditions` are the user's that may stand before the barrier, each behind
/// ` AND `.
pub(super) fn query(scoped: &Scoped, table: &str, version: &str, conditions: &str, name: &str) -> String {
    let inner = quote_identifier(name);
    let value = |column: &str| match scoped.mask(column) {
        Some(mask) => mask.render(name, read),
        None => format!("{inner}.{}", quote_identifier(column)),
    };
    let space = if version.is_empty() { "" } else { " " };
    let mut sql = String::from("SELECT ");
    if scoped.filters().is_empty() || scoped.isolation() == Isolation::Standard {
        for (number, column) in scoped.columns().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}{} AS {}", value(&column.name), quote_identifier(&column.name));
        }
        let _ = write!(sql, " FROM {table}{space}{version} AS {inner}");
        if !scoped.filters().is_empty() {
            sql.push_str(" WHERE ");
            push_filters(&mut sql, scoped, name);
        }
        return sql;
    }
    let guard = quote_identifier(&guard_name(scoped));
    for (number, column) in scoped.columns().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let shown = quote_identifier(&column.name);
        let _ = write!(sql, "{comma}IF({inner}.{guard}, {}) AS {shown}", value(&column.name));
    }
    sql.push_str(" FROM (SELECT ");
    for column in needed(scoped) {
        let column = quote_identifier(column);
        let _ = write!(sql, "{inner}.{column} AS {column}, ");
    }
    let _ =
        write!(sql, "system.builtin.random() < 2 AS {guard} FROM {table}{space}{version} AS {inner} WHERE ");
    push_filters(&mut sql, scoped, name);
    let _ = write!(sql, "{conditions}) AS {inner}");
    sql
}

fn push_filters(sql: &mut String, scoped: &Scoped, name: &str) {
    for (number, filter) in scoped.filters().iter().enumerate() {
        let and = if number == 0 { "" } else { " AND " };
        let _ = write!(sql, "{and}({})", filter.render(name, read));
    }
}

/// The query that stands for a table that a policy's sub-query reads. Its inner name is the one that the sub-query has for
/// it, and that of no other table around: a column that is gone is an error, and not found elsewhere.
fn read(scoped: &Scoped, name: &str) -> String {
    query(scoped, &scoped.described().name.quoted(), "", "", name)
}

/// The columns that the outer query reads: what is shown as it is, and what the masks read, which may be hidden.
fn needed(scoped: &Scoped) -> impl Iterator<Item = &str> {
    scoped.described().columns.iter().map(|column| column.name.as_str()).filter(|name| {
        scoped.columns().any(|shown| match scoped.mask(&shown.name) {
            Some(mask) => mask.columns().contains(*name),
            None => shown.name == *name,
        })
    })
}

/// A name that no column of the relation has.
fn guard_name(scoped: &Scoped) -> String {
    let mut name = "northgate_guard".to_owned();
    while scoped.described().column(&name).is_some() {
        name.push('_');
    }
    name
}
