//! Names of columns that are qualified with more than the name of the derived table.
//!
//! `FROM s.t` lets a query say `s.t.c`; `FROM (...) AS t` lets it say `t.c` alone.

use super::RewriteError;
use super::names::shown;
use crate::sql::{Edits, Ident, Reference, ScopeId, Statement, fold_column, fold_name, quote_identifier};

/// A relation that has been replaced by a derived table, or moved under a longer name.
pub(super) struct Replaced {
    /// The name as written, folded; `None` where the relation has an alias.
    pub(super) name: Option<Vec<String>>,
    pub(super) scope: Option<ScopeId>,
    /// The columns that it shows, folded; `None` where they are not known.
    pub(super) columns: Option<Vec<String>>,
}

/// Shortens each reference that names a replaced relation by more than its last part.
pub(super) fn shorten(
    statement: &Statement,
    replaced: &[Replaced],
    edits: &mut Edits,
) -> Result<(), RewriteError> {
    for reference in statement.references() {
        if let Some(qualifiers) = qualifiers(statement, replaced, reference)? {
            let first = reference.parts[0].1;
            let (last, token) = &reference.parts[qualifiers - 1];
            let name = last.folded().unwrap_or_else(|| last.value.clone());
            edits.replace(first..token + 1, quote_identifier(&name));
        }
    }
    Ok(())
}

/// How many parts of a reference name a replaced relation, if it is more than one. The innermost scope that
/// has a match decides, as in Trino.
fn qualifiers(
    statement: &Statement,
    replaced: &[Replaced],
    reference: &Reference,
) -> Result<Option<usize>, RewriteError> {
    let parts: Vec<&Ident> = reference.parts.iter().map(|(part, _)| part).collect();
    let most = if reference.star { parts.len() } else { parts.len() - 1 };
    if most < 2 {
        return Ok(None);
    }
    let mut scope = Some(reference.scope);
    while let Some(id) = scope {
        for count in (2..=most.min(3)).rev() {
            let here: Vec<&Replaced> =
                replaced.iter().filter(|relation| relation.scope == Some(id)).collect();
            if here.iter().any(|relation| is_named(relation, &parts, count, reference.star)) {
                let last = fold_name(&parts[count - 1].value);
                let homonyms = here
                    .iter()
                    .filter(|relation| relation.name.as_ref().and_then(|name| name.last()) == last.as_ref())
                    .count();
                if homonyms > 1 {
                    let whole: Vec<Ident> = parts.iter().map(|part| (*part).clone()).collect();
                    return Err(RewriteError::Ambiguous(shown(&whole)));
                }
                return Ok(Some(count));
            }
        }
        scope = statement.scopes().get(id as usize).and_then(|scope| scope.parent);
    }
    Ok(None)
}

/// Whether the first `count` parts are the end of the relation's name, and the next is one of its columns.
fn is_named(relation: &Replaced, parts: &[&Ident], count: usize, star: bool) -> bool {
    let Some(name) = &relation.name else {
        return false;
    };
    if name.len() < count {
        return false;
    }
    let end = &name[name.len() - count..];
    let matches = end.iter().zip(parts).all(|(own, part)| part.folded().as_ref() == Some(own));
    matches
        && (star && parts.len() == count
            || parts.get(count).is_some_and(|column| match &relation.columns {
                Some(columns) => columns.contains(&fold_column(&column.value)),
                None => true,
            }))
}
