//! Names of columns that are qualified with more than the name of the derived table.
//!
//! `FROM s.t` lets a query say `s.t.c`; `FROM (...) AS t` lets it say `t.c` alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::RewriteError;
use crate::policy::Scoped;
use crate::sql::{Edits, Ident, Reference, ScopeId, Statement, fold_column, quote_identifier};

/// A relation that has been replaced by a derived table.
pub(super) struct Replaced<'a> {
    /// The name as written, folded; `None` where the relation has an alias.
    pub(super) name: Option<Vec<String>>,
    pub(super) scope: Option<ScopeId>,
    /// What says which columns it shows; `None` where they are not known.
    pub(super) scoped: Option<&'a Scoped>,
    /// The name that its derived table was given.
    pub(super) alias: String,
}

impl Replaced<'_> {
    /// The last part of its name, where the derived table was given another.
    fn lost(&self) -> Option<&String> {
        self.name.as_ref()?.last().filter(|last| **last != self.alias)
    }
}

/// The replaced relations that a reference of three parts and more can name, so that each is found at once: there
/// may be a hundred thousand of both.
struct Index<'a> {
    /// By scope and the last two or three parts of the name.
    named: BTreeMap<(ScopeId, &'a [String]), Found<'a>>,
    /// Last parts of names that several relations of a scope share.
    shared: BTreeSet<(ScopeId, &'a str)>,
}

struct Found<'a> {
    alias: &'a str,
    columns: BTreeSet<Cow<'a, str>>,
    /// A relation whose columns are not known.
    any: bool,
}

impl<'a> Index<'a> {
    fn new(replaced: &'a [Replaced<'a>]) -> Self {
        let mut index = Self { named: BTreeMap::new(), shared: BTreeSet::new() };
        for relation in replaced {
            let (Some(name), Some(scope)) = (&relation.name, relation.scope) else { continue };
            if let Some(last) = relation.lost() {
                index.shared.insert((scope, last.as_str()));
            }
            for parts in 2..=name.len() {
                let found = index.named.entry((scope, &name[name.len() - parts..])).or_insert_with(|| {
                    Found { alias: &relation.alias, columns: BTreeSet::new(), any: false }
                });
                match relation.scoped {
                    // Of a relation that is named twice in a scope the first will do: it is an error anyway.
                    Some(scoped) if found.columns.is_empty() => {
                        found.columns.extend(scoped.columns().map(|column| fold_column(&column.name)));
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
///
/// # Errors
/// A reference names one of several relations by a last part that they share: which one it is depends on all of their
/// columns.
pub(super) fn shorten(
    statement: &Statement,
    replaced: &[Replaced<'_>],
    edits: &mut Edits,
) -> Result<(), RewriteError> {
    // Most statements have nothing to shorten.
    let long = statement.references().iter().any(|reference| most_qualifiers(reference) > 1);
    if !long && replaced.iter().all(|relation| relation.lost().is_none()) {
        return Ok(());
    }
    let index = Index::new(replaced);
    for reference in statement.references() {
        if let Some((qualifiers, alias)) = qualifiers(statement, &index, reference) {
            let first = reference.parts[0].1;
            let last = reference.parts[qualifiers - 1].1;
            edits.replace(first..last + 1, quote_identifier(alias));
        } else if let Some((part, _)) = reference.parts.first()
            && !index.shared.is_empty()
        {
            let name = part.folded().unwrap_or_default();
            let mut scope = Some(reference.scope);
            while let Some(id) = scope {
                if index.shared.contains(&(id, name.as_str())) {
                    return Err(RewriteError::NotAllowed(format!(
                        "several tables are called '{name}' here: give them aliases"
                    )));
                }
                scope = statement.scopes().get(id as usize).and_then(|scope| scope.parent);
            }
        }
    }
    Ok(())
}

/// How many parts of a reference may name a relation: not the last, which is a column.
fn most_qualifiers(reference: &Reference) -> usize {
    if reference.star { reference.parts.len() } else { reference.parts.len() - 1 }
}

/// How many parts of a reference name a replaced relation, if it is more than one, and its alias. The innermost scope that
/// has a match decides, as in Trino.
fn qualifiers<'a>(
    statement: &Statement,
    index: &Index<'a>,
    reference: &Reference,
) -> Option<(usize, &'a str)> {
    let most = most_qualifiers(reference);
    if most < 2 {
        return None;
    }
    let parts: Vec<&Ident> = reference.parts.iter().map(|(part, _)| part).collect();
    let folded = parts.iter().take(most.min(3)).map(|part| part.folded()).collect::<Option<Vec<_>>>()?;
    let mut scope = Some(reference.scope);
    while let Some(id) = scope {
        for count in (2..=folded.len()).rev() {
            let Some(found) = index.named.get(&(id, &folded[..count])) else { continue };
            let whole = reference.star && parts.len() == count;
            let column = || {
                found.any
                    || parts.get(count).is_some_and(|part| found.columns.contains(&*fold_column(&part.value)))
            };
            if whole || column() {
                return Some((count, found.alias));
            }
        }
        scope = statement.scopes().get(id as usize).and_then(|scope| scope.parent);
    }
    None
}
