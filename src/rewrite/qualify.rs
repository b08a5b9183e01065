//! Names of columns that are qualified with more than the name of the derived table.
//!
//! `FROM s.t` lets a query say `s.t.c`; `FROM (...) AS t` lets it say `t.c` alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::{Edits, Ident, Reference, ScopeId, Statement, fold_column, quote_identifier};

/// A relation that has been replaced by a derived table.
pub(super) struct Replaced {
    /// The name as written, folded; `None` where the relation has an alias.
    pub(super) name: Option<Vec<String>>,
    pub(super) scope: Option<ScopeId>,
    /// The columns that it shows, folded; `None` where they are not known.
    pub(super) columns: Option<Vec<String>>,
    /// The name that its derived table was given.
    pub(super) alias: String,
}

/// The replaced relations that a reference of three parts and more can name, so that each is found at once: there
/// may be a hundred thousand of both.
struct Index<'a> {
    /// By scope and the last two or three parts of the name.
    named: BTreeMap<(ScopeId, &'a [String]), Found<'a>>,
}

struct Found<'a> {
    alias: &'a str,
    columns: BTreeSet<String>,
    /// A relation whose columns are not known.
    any: bool,
}

impl<'a> Index<'a> {
    fn new(replaced: &'a [Replaced]) -> Self {
        let mut index = Self { named: BTreeMap::new() };
        for relation in replaced {
            let (Some(name), Some(scope)) = (&relation.name, relation.scope) else { continue };
            for parts in 2..=name.len() {
                let found = index.named.entry((scope, &name[name.len() - parts..])).or_insert_with(|| {
                    Found { alias: &relation.alias, columns: BTreeSet::new(), any: false }
                });
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
pub(super) fn shorten(statement: &Statement, replaced: &[Replaced], edits: &mut Edits) {
    let index = Index::new(replaced);
    if index.named.is_empty() {
        return;
    }
    for reference in statement.references() {
        if let Some((qualifiers, alias)) = qualifiers(statement, &index, reference) {
            let first = reference.parts[0].1;
            let last = reference.parts[qualifiers - 1].1;
            edits.replace(first..last + 1, quote_identifier(alias));
        }
    }
}

/// How many parts of a reference name a replaced relation, if it is more than one, and its alias. The innermost scope that
/// has a match decides, as in Trino.
fn qualifiers<'a>(
    statement: &Statement,
    index: &Index<'a>,
    reference: &Reference,
) -> Option<(usize, &'a str)> {
    let most = if reference.star { reference.parts.len() } else { reference.parts.len() - 1 };
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
                    || parts.get(count).is_some_and(|part| {
                        found.columns.iter().any(|name| *name == fold_column(&part.value))
                    })
            };
            if whole || column() {
                return Some((count, found.alias));
            }
        }
        scope = statement.scopes().get(id as usize).and_then(|scope| scope.parent);
    }
    None
}
