//! Columns that listings leave out because of what catalogs say of them: tags by which policies hide columns, and policies
//! that are attached in the catalog.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{Compiled, Rule};
use super::ruling;
use crate::catalog::rest::Outline;
use crate::identity::Principal;
use crate::sql::{fold_column, quote_string};

/// Which columns of a relation do not exist for somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Columns {
    /// These, folded.
    These(BTreeSet<String>),
    /// All but these, folded.
    AllBut(BTreeSet<String>),
}

/// What is left out for one principal.
#[derive(Clone, Debug, Default)]
pub(super) struct Concealed {
    /// Catalogs of whose columns nothing is known, so that none are listed.
    unknown: BTreeSet<String>,
    /// Relations of a catalog and schema, by what of them does not exist.
    columns: BTreeMap<(String, String, Columns), BTreeSet<String>>,
}

impl Concealed {
    pub(super) fn new(
        set: &Compiled,
        principal: &Principal,
        outlines: &BTreeMap<String, Option<Vec<Outline>>>,
    ) -> Self {
        let mut concealed = Self::default();
        let by_tag = |rule: &&Rule| !rule.hidden_tags.is_empty() && rule.who.includes(principal);
        let rules: Vec<&Rule> = set.rules.iter().filter(by_tag).collect();
        for (catalog, outlines) in outlines {
            let Some(outlines) = outlines else {
                concealed.unknown.insert(catalog.clone());
                continue;
            };
            for outline in outlines {
                concealed.add(&rules, outline);
            }
        }
        concealed
    }

    fn add(&mut self, rules: &[&Rule], outline: &Outline) {
        let Outline { name, tags, shown } = outline;
        let mut found: Vec<Columns> = Vec::new();
        let mut hidden = BTreeSet::new();
        for glob in rules.iter().filter(|rule| rule.covers(name)).flat_map(|rule| &rule.hidden_tags) {
            for path in ruling::paths(tags, glob) {
                match path.first() {
                    Some(column) => drop(hidden.insert(fold_column(column).into_owned())),
                    None => found.push(Columns::AllBut(BTreeSet::new())),
                }
            }
        }
        if !hidden.is_empty() {
            found.push(Columns::These(hidden));
        }
        for columns in shown {
            let folded = columns.iter().map(|column| fold_column(column).into_owned());
            found.push(Columns::AllBut(folded.collect()));
        }
        for columns in found {
            let key = (name.catalog.clone(), name.schema.clone(), columns);
            self.columns.entry(key).or_default().insert(name.table.clone());
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// SQL of each group of columns that is left out, over operands that are a catalog's name, a schema's, a table's and a
    /// column's in lower case.
    pub(super) fn predicates<'a>(&'a self, operands: [&'a str; 4]) -> impl Iterator<Item = String> + 'a {
        let [catalog, schema, table, column] = operands;
        let unknown = self.unknown.iter().map(move |name| format!("{catalog} = {}", quote_string(name)));
        let known = self.columns.iter().map(move |((of_catalog, of_schema, columns), tables)| {
            let columns = match columns {
                Columns::These(names) => format!(" AND {column} IN {}", list(names)),
                Columns::AllBut(names) if names.is_empty() => String::new(),
                Columns::AllBut(names) => format!(" AND {column} NOT IN {}", list(names)),
            };
            format!(
                "{catalog} = {} AND {schema} = {} AND {table} IN {}{columns}",
                quote_string(of_catalog),
                quote_string(of_schema),
                list(tables)
            )
        });
        unknown.chain(known)
    }
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|name| quote_string(name)).collect();
    format!("({})", names.join(", "))
}
