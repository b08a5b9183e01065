//! Views that are read through: as the queries that they are made of, under the reader's own policies.

use std::fmt::Write as _;

use super::{Context, Names, RewriteError, check_functions, listing, names, relation, session};
use crate::policy::{Lists, Scoped, View};
use crate::sql::{Change, Edits, Kind, Limits, SpecialKind, Statement, quote_identifier};

/// How many views may stand within each other.
const DEPTH: usize = 10;

/// Reads the definition of a view.
///
/// # Errors
/// It cannot be put in a query: it is not a query, has functions, properties or parameters of its own, or names tables
/// without their catalog and schema, for which Trino has those of the session in which the view was made.
pub fn open(definition: &str, limits: &Limits) -> Result<View, RewriteError> {
    let not = |what: &str| RewriteError::NotAllowed(format!("a view {what} cannot be read through"));
    let statement = Statement::parse(definition, limits).map_err(|_| not("that cannot be understood"))?;
    if !matches!(statement.kind(), Kind::Query) {
        return Err(not("that is no query"));
    }
    let parameter = statement.specials().iter().any(|special| special.kind == SpecialKind::Parameter);
    if statement.has_inline_functions() || !statement.session_properties().is_empty() || parameter {
        return Err(not("with functions or properties of its own"));
    }
    check_functions(&statement)?;
    let reads = names::resolve(&statement, &Names::default())?;
    let mut lists = Lists::Nothing;
    for relation in statement.relations() {
        lists = lists.max(listing::lists(&Names::default().resolve(relation)?));
    }
    Ok(View { statement, reads, lists })
}

/// Whether what the statement reads is kept by name: a view's definition.
pub(super) fn is_stored(statement: &Statement) -> bool {
    matches!(
        statement.kind(),
        Kind::Change(Change::CreateView { .. } | Change::CreateMaterializedView { .. })
    )
}

/// What stands for a relation in its derived table: its name, or the query of a view, whose columns are of the types
/// that the view says.
pub(super) fn table(
    scoped: &Scoped,
    context: &Context<'_>,
    inner: &str,
    depth: usize,
) -> Result<String, RewriteError> {
    let described = scoped.described();
    let Some(view) = scoped.view() else { return Ok(described.name.quoted()) };
    if depth >= DEPTH {
        return Err(RewriteError::NotAllowed(format!("more than {DEPTH} views stand within each other")));
    }
    let context = Context { names: Names::default(), ..*context };
    let mut edits = Edits::default();
    relation::replace(&view.statement, &context, inner, depth + 1, &mut edits)?;
    session::words(&view.statement, view.statement.whole(), &context, &mut edits);
    let query = view.statement.print(&edits).text;
    let alias = quote_identifier(inner);
    let mut sql = String::from("(SELECT ");
    for (number, column) in described.columns.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let name = quote_identifier(&column.name);
        if column.ty.is_castable() {
            let _ = write!(sql, "{comma}CAST({alias}.{name} AS {}) AS {name}", column.ty);
        } else {
            let _ = write!(sql, "{comma}{alias}.{name} AS {name}");
        }
    }
    // By their names: what a star in the view stands for may have changed since, and is less where columns are hidden.
    let _ = write!(sql, " FROM ({query}) AS {alias})");
    Ok(sql)
}
