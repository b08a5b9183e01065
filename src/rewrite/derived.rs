//! The derived table that stands in place of a restricted relation.

use std::fmt::Write as _;

use crate::policy::Scoped;
use crate::sql::quote_identifier;

/// The name that the relation has inside the derived table. Nothing of the user's is in its scope.
const INNER: &str = "t";

/// A query that gives the rows and columns that may be seen of a relation, filter first, then masks.
///
/// Where rows are filtered, the columns hang on a guard that is true on every row, and that the optimiser
/// cannot know to be: no predicate of the user is then evaluated on a row that the filter hides. `version`
/// is the text of `FOR VERSION AS OF ...`, or empty.
pub(super) fn query(scoped: &Scoped, version: &str) -> String {
    let table = scoped.described().name.quoted();
    let inner = quote_identifier(INNER);
    let value = |column: &str| match scoped.mask(column) {
        Some(mask) => mask.render(INNER),
        None => format!("{inner}.{}", quote_identifier(column)),
    };
    let space = if version.is_empty() { "" } else { " " };
    let mut sql = String::from("SELECT ");
    if scoped.filters().is_empty() {
        for (number, column) in scoped.columns().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}{} AS {}", value(&column.name), quote_identifier(&column.name));
        }
        let _ = write!(sql, " FROM {table}{space}{version} AS {inner}");
        return sql;
    }
    let guard = quote_identifier(&guard_name(scoped));
    for (number, column) in scoped.columns().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let name = quote_identifier(&column.name);
        let _ = write!(sql, "{comma}IF({inner}.{guard}, {}) AS {name}", value(&column.name));
    }
    // The inner query gives every column, because a mask may read one that is not shown.
    sql.push_str(" FROM (SELECT ");
    for column in &scoped.described().columns {
        let name = quote_identifier(&column.name);
        let _ = write!(sql, "{inner}.{name} AS {name}, ");
    }
    let _ =
        write!(sql, "system.builtin.random() < 2 AS {guard} FROM {table}{space}{version} AS {inner} WHERE ");
    for (number, filter) in scoped.filters().iter().enumerate() {
        let and = if number == 0 { "" } else { " AND " };
        let _ = write!(sql, "{and}({})", filter.render(INNER));
    }
    let _ = write!(sql, ") AS {inner}");
    sql
}

/// A name that no column of the relation has.
fn guard_name(scoped: &Scoped) -> String {
    let mut name = "northgate_guard".to_owned();
    while scoped.described().column(&name).is_some() {
        name.push('_');
    }
    name
}
