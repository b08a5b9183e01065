//! The relations of a statement: full names, derived tables.

use super::qualify::{Replaced, shorten};
use super::{Context, RewriteError, derived, listing};
use crate::catalog::TableName;
use crate::policy::Scoped;
use crate::sql::{Edits, Position, Relation, Statement, fold_column, quote_identifier};

/// Replaces every relation of a statement. Says whether any is shown other than it is.
pub(super) fn replace(
    statement: &Statement,
    context: &Context<'_>,
    edits: &mut Edits,
) -> Result<bool, RewriteError> {
    let mut replaced = Vec::new();
    for relation in statement.relations() {
        let name = context.names.resolve(relation)?;
        let (query, columns) = match context.permit.scoped(&name) {
            Some(scoped) if scoped.is_restricted() => {
                (Some(restricted(statement, relation, scoped)?), Some(columns(scoped)))
            }
            Some(_) => (None, None),
            None => match listing::shown(&name, context.permit.visibility())? {
                listing::Shown::Open => (None, None),
                listing::Shown::Filtered(_) if relation.version.is_some() || relation.sampled => {
                    return Err(RewriteError::Restricted { what: "this", name });
                }
                listing::Shown::Filtered(query) => (Some(query), None),
            },
        };
        match query {
            None => edits.replace(relation.tokens.clone(), name.quoted()),
            Some(query) => {
                place(relation, &name, &query, edits);
                replaced.push(Replaced {
                    name: relation.alias.is_none().then(|| folded(relation)),
                    scope: relation.scope,
                    columns,
                });
            }
        }
    }
    shorten(statement, &replaced, edits)?;
    Ok(!replaced.is_empty())
}

fn restricted(statement: &Statement, relation: &Relation, scoped: &Scoped) -> Result<String, RewriteError> {
    let name = || scoped.described().name.clone();
    if relation.sampled {
        return Err(RewriteError::Restricted { what: "TABLESAMPLE", name: name() });
    }
    let version = match &relation.version {
        None => String::new(),
        Some(_) if !relation.version_is_literal => {
            return Err(RewriteError::Restricted { what: "a version that is not a literal", name: name() });
        }
        Some(tokens) => statement.print_range(tokens.clone(), &Edits::default()).text,
    };
    Ok(derived::query(scoped, &version))
}

fn columns(scoped: &Scoped) -> Vec<String> {
    scoped.columns().map(|column| fold_column(&column.name)).collect()
}

fn folded(relation: &Relation) -> Vec<String> {
    relation.name.iter().map(|part| part.folded().unwrap_or_else(|| part.value.clone())).collect()
}

/// Puts a query in place of a relation, under the name that the statement knows the relation by.
fn place(relation: &Relation, name: &TableName, query: &str, edits: &mut Edits) {
    let alias = quote_identifier(&name.table);
    let start = relation.tokens.start;
    let end = relation.version.as_ref().map_or(relation.tokens.end, |version| version.end);
    match relation.position {
        Position::From | Position::ShowTarget => {
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
