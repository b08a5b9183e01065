//! What catalogs say, as rules beside those of the documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{Denial, Source};
use super::nested::Fields;
use super::pattern::{Glob, TablePattern};
use super::restriction;
use super::rule::{Columns, Compiled, Rule};
use crate::catalog::rest::{Extent, Ruling, Tags};
use crate::catalog::{Described, TableName};
use crate::identity::Principal;
use crate::sql::fold_column;

/// What catalogs say of the relations of a statement, to its reader and to those in whose place policies read.
#[derive(Clone, Debug, Default)]
pub struct Rulings(BTreeMap<TableName, Vec<Told>>);

/// Whom a policy reads as, or none for the reader, and what they are told.
type Told = (Option<Principal>, Arc<Ruling>);

impl Rulings {
    /// Adds one. `run_as` is whom a policy reads as; none where it is the reader.
    pub fn add(&mut self, run_as: Option<&Principal>, table: TableName, ruling: Arc<Ruling>) {
        self.0.entry(table).or_default().push((run_as.cloned(), ruling));
    }

    /// Whether there is one.
    pub fn has(&self, run_as: Option<&Principal>, table: &TableName) -> bool {
        self.of(run_as, table).is_some()
    }

    pub(super) fn of(&self, run_as: Option<&Principal>, table: &TableName) -> Option<&Ruling> {
        let all = self.0.get(table)?;
        all.iter().find(|(who, _)| who.as_ref() == run_as).map(|(_, ruling)| &**ruling)
    }
}

/// Whether a catalog that decides lets a relation be read. `None`: it is not for a catalog to say.
pub(super) fn read(set: &Compiled, name: &TableName, ruling: Option<&Ruling>) -> Option<bool> {
    // Of a catalog that decides every relation needs a word.
    set.deciding.contains(&name.catalog).then(|| ruling.is_some_and(|ruling| ruling.decides && ruling.read))
}

/// The rules of the documents about a relation, with the tags that its catalog gives it, and what the catalog restricts.
///
/// # Errors
/// What the catalog restricts cannot be applied.
pub(super) fn rules<'a>(
    of_documents: impl Iterator<Item = &'a Rule>,
    described: &Described,
    ruling: Option<&Ruling>,
) -> Result<Vec<Cow<'a, Rule>>, Denial> {
    let Some(ruling) = ruling else { return Ok(of_documents.map(Cow::Borrowed).collect()) };
    let tags = ruling.tags();
    let mut rules: Vec<Cow<'a, Rule>> =
        of_documents.map(|rule| classified(rule, &tags).map_or(Cow::Borrowed(rule), Cow::Owned)).collect();
    let own = ruling.restrictions.iter().map(|restrictions| ("read-restrictions", restrictions));
    let attached = ruling.attached.iter();
    let attached = attached.flat_map(|one| one.filters.iter().map(|filter| (one.policy.as_str(), filter)));
    for (what, restrictions) in own.chain(attached) {
        let source = source(what, ruling);
        let schema = ruling.facts.as_ref().and_then(|facts| facts.schema.as_ref());
        let rule = schema
            .ok_or_else(|| "they restrict what has no columns".to_owned())
            .and_then(|schema| {
                restriction::rule(restrictions, schema, described, source.clone(), ruling.mask_strength)
            })
            .map_err(|why| Denial::PolicyBroken {
                table: described.name.clone(),
                by: Box::new(source),
                why,
            })?;
        rules.extend(rule.map(Cow::Owned));
    }
    for one in ruling.attached.iter() {
        rules.extend(
            one.columns
                .as_ref()
                .map(|columns| Cow::Owned(only(described, columns, source(&one.policy, ruling)))),
        );
    }
    Ok(rules)
}

/// A rule that hides all columns but some.
fn only(described: &Described, columns: &BTreeSet<String>, source: Source) -> Rule {
    let shown: BTreeSet<_> = columns.iter().map(|column| fold_column(column)).collect();
    let hidden = described.columns.iter().filter(|column| !shown.contains(&fold_column(&column.name)));
    let hidden = hidden.map(|column| Columns::Named(Glob::exactly(&column.name))).collect();
    Rule { hidden, ..Rule::of(&described.name, source) }
}

/// The catalog as the source of a rule.
pub(super) fn source(what: &str, ruling: &Ruling) -> Source {
    Source { policy: what.to_owned(), file: format!("catalog {}", ruling.catalog), line: 0 }
}

/// A rule with the columns that its tags stand for in one table; none where they add nothing.
fn classified(rule: &Rule, tags: &Tags) -> Option<Rule> {
    if tags.is_empty() || !rule.names_tags() {
        return None;
    }
    let mut new = rule.clone();
    let mut any = false;
    for glob in &rule.hidden_tags {
        for path in paths(tags, glob) {
            any = true;
            // Of a column that holds something that is not to be seen nothing is.
            new.hidden
                .push(path.first().map_or_else(every_column, |column| Columns::Named(Glob::exactly(column))));
        }
    }
    for (mask, of_mask) in new.masks.iter_mut().zip(&rule.masks) {
        for glob in &of_mask.tags {
            for path in paths(tags, glob) {
                any = true;
                match path.split_first() {
                    None => mask.columns.push(every_column()),
                    Some((column, [])) => mask.columns.push(Columns::Named(Glob::exactly(column))),
                    Some((column, path)) => mask.fields.push(Fields {
                        columns: Columns::Named(Glob::exactly(column)),
                        path: path.iter().map(|part| Glob::exactly(part)).collect(),
                    }),
                }
            }
        }
    }
    any.then_some(new)
}

fn every_column() -> Columns {
    Columns::Named(Glob::any())
}

/// The paths of what has a tag that matches; an empty one for the table as a whole.
pub(super) fn paths<'a>(tags: &'a Tags, glob: &'a Glob) -> impl Iterator<Item = &'a [String]> {
    let matches = |words: &[String]| words.iter().any(|word| glob.matches(word));
    let whole: Option<&[String]> = matches(&tags.whole).then_some(&[]);
    whole.into_iter().chain(
        tags.fields
            .iter()
            .filter(move |(_, words)| words.iter().any(|word| glob.matches(word)))
            .map(|(path, _)| path.as_slice()),
    )
}

/// What of a catalog somebody may read, as patterns.
pub(super) fn readable(catalog: &str, extents: &[Extent]) -> Vec<TablePattern> {
    let pattern = |schema: Glob, table: Glob| TablePattern { catalog: Glob::exactly(catalog), schema, table };
    let mut patterns = Vec::new();
    for extent in extents {
        match extent {
            Extent::Catalog => patterns.push(pattern(Glob::any(), Glob::any())),
            Extent::Namespace(levels) => {
                let schema = levels.join(".");
                patterns.push(pattern(Glob::below(&schema), Glob::any()));
                patterns.push(pattern(Glob::exactly(&schema), Glob::any()));
            }
            Extent::One(levels, name) => {
                patterns.push(pattern(Glob::exactly(&levels.join(".")), Glob::exactly(name)));
            }
        }
    }
    patterns.dedup();
    patterns
}
