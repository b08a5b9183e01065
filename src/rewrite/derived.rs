//! The derived table that stands in place of a restricted relation.

use std::collections::BTreeSet;

use super::RewriteError;
use super::mentioned::Mentioned;
use crate::catalog::{Column, RelationKind};
use crate::policy::{Bound, Isolation, Permit, Scoped};
use crate::sql::{Statement, push_identifier};

/// What the relation is called inside of its derived table, when no name of the statement has it.
const INNER: &str = "northgate_t";

/// About how many bytes a derived table takes for a column, and for the rest.
const COLUMN: usize = 160;
const REST: usize = 256;

/// A name for the relation inside of its derived table that stands nowhere in the statement.
///
/// A derived table in a correlated subquery sees the relations around it. Were its columns qualified with a name
/// that the user can give to a relation of their own, then a column that the table has no more would not be an
/// error: it would be found there, and the filter or the mask would compute with the user's value. The letters are
/// such that no other character is equal to one of them when case is ignored.
///
/// # Errors
/// The statement is full of such names.
pub(super) fn inner_name(statement: &Statement, permit: &Permit) -> Result<String, RewriteError> {
    let views = permit.tables().filter_map(Scoped::view).map(|view| &view.statement);
    let mut next: Option<u64> = None;
    for statement in std::iter::once(statement).chain(views) {
        let text = statement.slice(statement.whole()).to_ascii_lowercase();
        for (at, _) in text.match_indices(INNER) {
            let behind = &text[at + INNER.len()..];
            let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
            // Of the numbers that follow the name the next one is not the beginning of any, unless they are long.
            let number = match &behind[..digits] {
                "" => 0,
                number if number.len() < 10 => number.parse().unwrap_or(u64::MAX),
                _ => {
                    return Err(RewriteError::NotAllowed(format!(
                        "a name that begins with {INNER} is not allowed"
                    )));
                }
            };
            next = next.max(Some(number + 1));
        }
    }
    Ok(next.map_or_else(|| INNER.to_owned(), |number| format!("{INNER}{number}")))
}

/// A query that gives the rows and columns that may be seen of a relation, filter first, then masks.
///
/// Where rows are filtered in strict isolation, or left out by a view that is read as it is, the columns hang on a guard that is true on every row, and that the optimiser
/// cannot know to be: no predicate of the user is then evaluated on a row that the filter hides. `version`
/// is ` FOR VERSION AS OF ...`, or empty. `name` is that of [`inner_name`]. `table` is what stands for the
/// relation: its name, or the query of a view. `conditions` are the user's that may stand before the barrier, each behind
/// ` AND `. `besides` are columns that it is not described with, where nothing of it is restricted.
pub(super) fn query(
    scoped: &Scoped,
    table: &str,
    version: &str,
    conditions: &str,
    name: &str,
    mentioned: &Mentioned<'_>,
    besides: &[&str],
) -> String {
    let shown = mentioned.of(scoped);
    let open = scoped.filters().is_empty() && !scoped.is_guarded();
    if open || scoped.isolation() == Isolation::Standard {
        return plain(scoped, &shown, besides, table, version, name);
    }
    let guard = guard_name(scoped);
    let mut sql = String::with_capacity(shown.len() * COLUMN + REST);
    sql.push_str("SELECT ");
    for (number, column) in shown.iter().enumerate() {
        sql.push_str(if number == 0 { "IF(" } else { ", IF(" });
        push_column(&mut sql, name, &guard);
        sql.push_str(", ");
        push_value(&mut sql, scoped, column, name);
        sql.push_str(") AS ");
        push_identifier(&mut sql, &column.name);
    }
    sql.push_str(" FROM (SELECT ");
    for column in needed(scoped, &shown) {
        push_column(&mut sql, name, column);
        sql.push_str(" AS ");
        push_identifier(&mut sql, column);
        sql.push_str(", ");
    }
    sql.push_str("system.builtin.random() < 2 AS ");
    push_identifier(&mut sql, &guard);
    push_from(&mut sql, table, version, name);
    if !scoped.filters().is_empty() {
        sql.push_str(" WHERE ");
        push_filters(&mut sql, scoped.filters().iter(), name);
    }
    let plain = || scoped.filters().iter().filter(|filter| filter.reads().is_empty());
    if plain().next().is_some() {
        // A condition without columns, such as 1 / 0 = 1, passes the barrier. It stands behind these, and is not evaluated
        // where one of them is false; where they are NULL it would be.
        sql.push_str(" AND coalesce(");
        push_filters(&mut sql, plain(), name);
        sql.push_str(", false)");
    }
    sql.push_str(conditions);
    sql.push_str(") AS ");
    push_identifier(&mut sql, name);
    sql
}

/// The same without a barrier.
fn plain(
    scoped: &Scoped,
    shown: &[&Column],
    besides: &[&str],
    table: &str,
    version: &str,
    name: &str,
) -> String {
    let mut sql = String::with_capacity(shown.len() * COLUMN + REST);
    sql.push_str("SELECT ");
    for (number, column) in shown.iter().enumerate() {
        sql.push_str(if number == 0 { "" } else { ", " });
        push_value(&mut sql, scoped, column, name);
        sql.push_str(" AS ");
        push_identifier(&mut sql, &column.name);
    }
    for column in besides {
        sql.push_str(", ");
        push_column(&mut sql, name, column);
        sql.push_str(" AS ");
        push_identifier(&mut sql, column);
    }
    push_from(&mut sql, table, version, name);
    if !scoped.filters().is_empty() {
        sql.push_str(" WHERE ");
        push_filters(&mut sql, scoped.filters().iter(), name);
    }
    sql
}

fn push_from(sql: &mut String, table: &str, version: &str, name: &str) {
    for part in [" FROM ", table, version, " AS "] {
        sql.push_str(part);
    }
    push_identifier(sql, name);
}

fn push_column(sql: &mut String, relation: &str, column: &str) {
    push_identifier(sql, relation);
    sql.push('.');
    push_identifier(sql, column);
}

/// What is shown of a column.
fn push_value(sql: &mut String, scoped: &Scoped, column: &Column, name: &str) {
    match scoped.mask(&column.name) {
        Some(mask) => mask.push(sql, name, read),
        None => push_column(sql, name, &column.name),
    }
}

/// Whether conditions of the user's may stand beside the filters. Trino evaluates a sub-query's filter behind them, and a
/// condition without columns between the two. It does the same with the filter of a view that groups: only what is
/// about its keys goes below the grouping.
pub(super) fn takes_conditions(scoped: &Scoped) -> bool {
    scoped.isolation() == Isolation::Strict
        && scoped.described().kind == RelationKind::Table
        && !scoped.filters().is_empty()
        && scoped.filters().iter().all(|filter| filter.reads().is_empty())
}

fn push_filters<'a>(sql: &mut String, filters: impl Iterator<Item = &'a Bound>, name: &str) {
    for (number, filter) in filters.enumerate() {
        sql.push_str(if number == 0 { "(" } else { " AND (" });
        filter.push(sql, name, read);
        sql.push(')');
    }
}

/// The query that stands for a table that a policy's sub-query reads: nothing of the user's meets its rows. Its inner name
/// is the one that the sub-query has for it, and that of no other table around: a column that is gone is an error, and not
/// found elsewhere.
fn read(scoped: &Scoped, name: &str) -> String {
    let all: Vec<&Column> = scoped.columns().collect();
    plain(scoped, &all, &[], &scoped.described().name.quoted(), "", name)
}

/// The columns that the outer query reads, in table order: what is shown as it is, and what the masks read, which may be
/// hidden.
fn needed<'a>(scoped: &'a Scoped, shown: &'a [&'a Column]) -> impl Iterator<Item = &'a str> {
    let masks = shown.iter().filter_map(|column| scoped.mask(&column.name));
    let by_masks: BTreeSet<&str> = masks.flat_map(Bound::columns).map(String::as_str).collect();
    // Both are in table order.
    let mut shown = shown.iter().peekable();
    let columns = scoped.described().columns.iter().map(|column| column.name.as_str());
    columns.filter(move |name| {
        let as_it_is = shown.next_if(|column| column.name == *name).is_some() && scoped.mask(name).is_none();
        as_it_is || by_masks.contains(name)
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
