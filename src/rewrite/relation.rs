//! The relations of a statement: full names, derived tables.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::mentioned::{Mentioned, renames_columns, words};
use super::qualify::{Replaced, shorten};
use super::{Context, RewriteError, derived, listing, pushdown, view};
use crate::policy::Scoped;
use crate::sql::{
    Edits, Keyword, Position, Relation, ScopeId, SqlError, Statement, TokenKind, fold_column,
    quote_identifier,
};

/// Columns that a star does not show and no table is described with, which tell where a row is from.
const HIDDEN: [&str; 5] = ["$path", "$partition", "$file_modified_time", "$file_size", "$bucket"];

/// Replaces every relation of a statement. Says whether any is shown other than it is.
pub(super) fn replace(
    statement: &Statement,
    context: &Context<'_>,
    inner: &str,
    depth: usize,
    edits: &mut Edits,
) -> Result<bool, RewriteError> {
    let mut replaced = Vec::new();
    let mut any_restricted = false;
    let sampled =
        statement.tokens().iter().any(|token| token.kind == TokenKind::Keyword(Keyword::Tablesample));
    let by_name = view::is_stored(statement);
    let homonyms = homonyms(statement);
    let most = context.output_limits().bytes;
    let mut grown = 0_usize;
    // The words of the statement, looked up once where they are needed.
    let mut named: Option<HashSet<Cow<'_, str>>> = None;
    // Which columns it names, the same.
    let mut mentioned: Option<Mentioned<'_>> = None;
    let mut targets = super::targets(statement, &context.names)?.into_iter();
    for relation in statement.relations() {
        if relation.position == Position::Target {
            let Some(name) = targets.next() else { continue };
            if !context.permit.may_write(&name) {
                return Err(RewriteError::Unsound(format!("'{name}' is not permitted to be written")));
            }
            edits.replace(relation.tokens.clone(), name.quoted());
            continue;
        }
        let name = context.names.resolve(relation)?;
        let (query, shown) = match context.permit.scoped(&name) {
            // Where nothing that a view reads is hidden: what it reads may be another thing by the time that it is read.
            Some(scoped)
                if scoped.is_restricted()
                    || scoped.view().is_some() && !by_name && relation.position != Position::ShowTarget =>
            {
                any_restricted |= scoped.is_restricted();
                // Also where what is sampled only reads it, such as a named query: splits are drawn before rows are filtered.
                if sampled && scoped.is_restricted() {
                    return Err(RewriteError::Restricted { what: "TABLESAMPLE", name });
                }
                let table = view::table(scoped, context, inner, depth)?;
                let mentioned = mentioned.get_or_insert_with(|| Mentioned::by(statement));
                let query = restricted(statement, relation, scoped, &table, inner, mentioned)?;
                (Some(query), Some(scoped))
            }
            // It may have other columns by the time that it is read, or may have had them: none of these was decided about.
            Some(scoped) if is_listed(scoped, relation, by_name) => {
                any_restricted |= scoped.is_opaque();
                let mentioned = mentioned.get_or_insert_with(|| Mentioned::by(statement));
                let table = scoped.described().name.quoted();
                let query = restricted(statement, relation, scoped, &table, inner, mentioned)?;
                (Some(query), Some(scoped))
            }
            Some(scoped) => {
                // Its errors and its figures would tell of what it leaves out.
                any_restricted |= scoped.is_opaque();
                (None, None)
            }
            None => match listing::shown(&name, context.permit.visibility())? {
                listing::Shown::Open => (None, None),
                listing::Shown::Filtered(_) if relation.version.is_some() || relation.sampled => {
                    return Err(RewriteError::Restricted { what: "a version or a sample", name });
                }
                listing::Shown::Filtered(listing) => {
                    any_restricted = true;
                    let conditions = match relation.position {
                        Position::From => {
                            let column = |name: &str| {
                                let known = listing.columns.contains(&name);
                                known.then(|| (quote_identifier(name), pushdown::Comparable::Text))
                            };
                            pushdown::conditions(statement, relation, &column)
                        }
                        Position::TableBody
                        | Position::TableArgument
                        | Position::ShowTarget
                        | Position::Target => String::new(),
                    };
                    let named = named.get_or_insert_with(|| words(statement));
                    let hidden = hidden(statement, relation, listing.hidden, named);
                    (Some(listing.query(&name, &conditions, &hidden)), None)
                }
            },
        };
        // Before the text is put together: a short statement can name a wide table a hundred thousand times.
        grown = grown.saturating_add(query.as_ref().map_or(0, String::len));
        if grown > most {
            return Err(RewriteError::TooLarge(SqlError::TooLong { limit: most, unit: "bytes" }));
        }
        match query {
            None => edits.replace(relation.tokens.clone(), name.quoted()),
            Some(query) => {
                let written = folded(relation);
                let last = (relation.scope, name.table.clone());
                let alone = homonyms.get(&last).is_none_or(|number| *number < 2);
                let alias = if alone { name.table.clone() } else { written.join(".") };
                place(relation, &alias, &query, edits);
                replaced.push(Replaced {
                    name: relation.alias.is_none().then_some(written),
                    scope: relation.scope,
                    scoped: shown,
                    alias,
                });
            }
        }
    }
    shorten(statement, &replaced, edits)?;
    Ok(any_restricted)
}

/// How many relations without an alias there are of one last part of the name, by the FROM that they stand in. Where
/// there are several, only what stands before that part tells them apart.
fn homonyms(statement: &Statement) -> BTreeMap<(Option<ScopeId>, String), usize> {
    let mut homonyms = BTreeMap::new();
    for relation in statement.relations() {
        if relation.alias.is_none()
            && relation.position == Position::From
            && let Some(last) = folded(relation).pop()
        {
            *homonyms.entry((relation.scope, last)).or_default() += 1;
        }
    }
    homonyms
}

/// Those of a listing's hidden columns that the statement names. A derived table cannot hide a column: a star over
/// it shows these too.
fn hidden(
    statement: &Statement,
    relation: &Relation,
    columns: &[&str],
    named: &HashSet<Cow<'_, str>>,
) -> String {
    if relation.position != Position::From || renames_columns(statement, relation) {
        return String::new();
    }
    let mut list = String::new();
    for column in columns.iter().filter(|column| named.contains(**column)) {
        list.push_str(", ");
        list.push_str(&quote_identifier(column));
    }
    list
}

fn restricted(
    statement: &Statement,
    relation: &Relation,
    scoped: &Scoped,
    table: &str,
    inner: &str,
    mentioned: &Mentioned<'_>,
) -> Result<String, RewriteError> {
    let name = || scoped.described().name.clone();
    let version = match &relation.version {
        None => String::new(),
        Some(_) if scoped.view().is_some() => {
            return Err(RewriteError::Restricted { what: "a version", name: name() });
        }
        Some(_) if !relation.version_is_literal => {
            return Err(RewriteError::Restricted { what: "a version that is not a literal", name: name() });
        }
        Some(tokens) => format!(" {}", statement.print_range(tokens.clone(), &Edits::default()).text),
    };
    let conditions = if relation.position == Position::From && derived::takes_conditions(scoped) {
        let alias = quote_identifier(inner);
        let column = |name: &str| {
            let column = scoped.columns().find(|column| fold_column(&column.name) == name)?;
            let comparable = pushdown::Comparable::of(&column.ty)?;
            let shown_as_it_is = scoped.mask(&column.name).is_none();
            shown_as_it_is.then(|| (format!("{alias}.{}", quote_identifier(&column.name)), comparable))
        };
        pushdown::conditions(statement, relation, &column)
    } else {
        String::new()
    };
    let all = Mentioned::all();
    let mentioned = if Mentioned::fits(statement, relation) { mentioned } else { &all };
    // Beside a star they would be columns as others are.
    let besides: Vec<&str> = if scoped.is_restricted() { Vec::new() } else { mentioned.among(&HIDDEN) };
    Ok(derived::query(scoped, table, &version, &conditions, inner, mentioned, &besides))
}

/// Whether a relation that is not restricted is read with the columns alone that were decided about, or behind a guard. A text
/// that is stored gets them when it is read.
pub(super) fn is_listed(scoped: &Scoped, relation: &Relation, by_name: bool) -> bool {
    (scoped.is_by_column() || scoped.is_guarded())
        && scoped.view().is_none()
        && !by_name
        && matches!(relation.position, Position::From | Position::TableBody | Position::TableArgument)
}

fn folded(relation: &Relation) -> Vec<String> {
    relation.name.iter().map(|part| part.folded().unwrap_or_else(|| part.value.clone())).collect()
}

/// Puts a query in place of a relation, under the name that the statement knows the relation by.
fn place(relation: &Relation, alias: &str, query: &str, edits: &mut Edits) {
    let alias = quote_identifier(alias);
    let start = relation.tokens.start;
    let end = relation.end();
    match relation.position {
        Position::From | Position::ShowTarget | Position::Target => {
            let alias = if relation.alias.is_some() { String::new() } else { format!(" AS {alias}") };
            edits.replace(start..end, format!("({query}){alias}"));
        }
        // The word TABLE goes too.
        Position::TableBody => edits.replace(start - 1..end, format!("SELECT * FROM ({query}) AS {alias}")),
        Position::TableArgument => {
            edits.replace(start..end, format!("SELECT * FROM ({query}) AS {alias}"));
            if relation.alias.is_none() {
                // Behind the closing parenthesis.
                edits.replace(end + 1..end + 1, format!("AS {alias}"));
            }
        }
    }
}
