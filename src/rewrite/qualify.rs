//! Names of columns that are qualified with more than the name of the derived table.
//!
//! `FROM s.t` lets a query say `s.t.c`; `FROM (...) AS t` lets it say `t.c` alone.

use std::collections::{BTreeMap, BTreeSet};

use super::RewriteError;
use super::names::shown;
use crate::sql::{Edits, Ident, Reference, ScopeId, Statement, fold_column, quote_identifier};

/// A relation that has been replaced by a derived table.
pub(super) struct Replaced {
    /// The name as written, folded; `None` where the relation has an alias.
    pub(super) name: Option<Vec<String>>,
    pub(super) scope: Option<ScopeId>,
    /// The columns that it shows, folded; `None` where they are not known.
    pub(super) columns: Option<Vec<String>>,
}

/// The replaced relations that a reference of three parts and more can name, so that each is found at once: there
/// may be a hundred thousand of both.
struct Index<'a> {
    /// By scope and the last two or three parts of the name.
    named: BTreeMap<(ScopeId, &'a [String]), Found>,
    /// How many there are of one last part in a scope.
    homonyms: BTreeMap<(ScopeId, &'a str), usize>,
}

#[derive(Default)]
struct Found {
    columns: BTreeSet<String>,
    /// A relation whose columns are not known.
    any: bool,
}

impl<'a> Index<'a> {
    fn new(replaced: &'a [Replaced]) -> Self {
        let mut index = Self { named: BTreeMap::new(), homonyms: BTreeMap::new() };
        for relation in replaced {
            let (Some(name), Some(scope)) = (&relation.name, relation.scope) else { continue };
            let Some(last) = name.last() else { continue };
            *index.homonyms.entry((scope, last)).or_default() += 1;
            for parts in 2..=name.len() {
                let found = index.named.entry((scope, &name[name.len() - parts..])).or_default();
                match &relation.columns {
                    // Of a relation that is named twice in a scope the first will do: it is an error anyway.
                    Some(columns) if found.columns.is_empty() => {
                        found.columns.extend(columns.iter().cloned());
                    }
                    Some(_) => {}
                    None => found.any = true,
                }
            }
        }
        index
    }
}

/// Shortens each reference that names a replaced relation by more than its last part.
pub(super) fn shorten(
    statement: &Statement,
    replaced: &[Replaced],
    edits: &mut Edits,
) -> Result<(), RewriteError> {
    let index = Index::new(replaced);
    if index.named.is_empty() {
        return Ok(());
    }
    for reference in statement.references() {
        if let Some(qualifiers) = qualifiers(statement, &index, reference)? {
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
    index: &Index<'_>,
    reference: &Reference,
) -> Result<Option<usize>, RewriteError> {
    let most = if reference.star { reference.parts.len() } else { reference.parts.len() - 1 };
    if most < 2 {
        return Ok(None);
    }
    let parts: Vec<&Ident> = reference.parts.iter().map(|(part, _)| part).collect();
    let Some(folded) = parts.iter().take(most.min(3)).map(|part| part.folded()).collect::<Option<Vec<_>>>()
    else {
        return Ok(None);
    };
    let mut scope = Some(reference.scope);
    while let Some(id) = scope {
        for count in (2..=folded.len()).rev() {
            let Some(found) = index.named.get(&(id, &folded[..count])) else { continue };
            let whole = reference.star && parts.len() == count;
            let column = || {
                found.any
                    || parts.get(count).is_some_and(|part| found.columns.contains(&fold_column(&part.value)))
            };
            if whole || column() {
                if index.homonyms.get(&(id, folded[count - 1].as_str())).is_some_and(|number| *number > 1) {
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
