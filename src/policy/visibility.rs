//! What a principal may see of listings: `information_schema`, `system.jdbc`, `SHOW TABLES`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::concealed::Concealed;
use super::pattern::{Glob, SYSTEM, TablePattern};
use super::rule::{Columns, Compiled, Rule};
use super::{Behind, ruling};
use crate::identity::Principal;
use crate::sql::quote_string;

/// The schema of every catalog that lists the others.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";
/// The names of tables in which materialized views are stored: see [`crate::catalog::TableName::is_metadata`].
const STORAGE: &str = "^st_[0-9a-f]{32}$";
/// What of it is not hidden; the rest is refused.
const INFORMATION_TABLES: &str = "('columns', 'schemata', 'tables', 'views')";

/// The tables and columns that may be listed for one principal.
#[derive(Clone, Debug)]
pub struct Visibility {
    set: Arc<Compiled>,
    /// The rules for the principal, by their numbers.
    rules: Vec<usize>,
    /// Catalogs of which all is listed but what is denied.
    open: BTreeSet<String>,
    /// Of catalogs that decide, what these let the principal read: nothing else of them is listed.
    readable: BTreeMap<String, Vec<TablePattern>>,
    /// Columns that do not exist because of what catalogs say of them.
    concealed: Concealed,
    /// The only catalogs that there are for what the principal signed in with; none: all.
    reach: Option<Arc<BTreeSet<String>>>,
}

impl Visibility {
    /// Nothing is listed.
    pub(super) fn nothing(set: &Arc<Compiled>, principal: &Principal) -> Self {
        Self {
            set: Arc::clone(set),
            rules: Vec::new(),
            open: BTreeSet::new(),
            readable: BTreeMap::new(),
            concealed: Concealed::default(),
            reach: principal.catalogs().cloned(),
        }
    }

    pub(super) fn new(set: &Arc<Compiled>, principal: &Principal, behind: &Behind) -> Self {
        let Behind { readable, outlines, .. } = behind;
        let rules = set.rules.iter().enumerate().filter(|(_, rule)| rule.who.includes(principal));
        let by_catalog = readable.keys().filter(|catalog| !set.shut.contains(*catalog)).cloned();
        Self {
            set: Arc::clone(set),
            rules: rules.map(|(number, _)| number).collect(),
            open: set.open.iter().cloned().chain(by_catalog).filter(|name| name != SYSTEM).collect(),
            readable: readable
                .iter()
                .map(|(catalog, extents)| (catalog.clone(), ruling::readable(catalog, extents)))
                .collect(),
            concealed: Concealed::new(set, principal, outlines),
            reach: principal.catalogs().cloned(),
        }
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter_map(|number| self.set.rules.get(*number))
    }

    fn allow(&self) -> impl Iterator<Item = &TablePattern> {
        self.rules().filter(|rule| rule.allow && !rule.deny).flat_map(|rule| &rule.tables)
    }

    fn deny(&self) -> impl Iterator<Item = &TablePattern> {
        self.rules().filter(|rule| rule.deny).flat_map(|rule| &rule.tables)
    }

    /// Columns that do not exist: of tables that match the first and, for tags, also the second.
    fn hidden(&self) -> impl Iterator<Item = (&TablePattern, Option<&TablePattern>, &Glob)> {
        self.rules().flat_map(|rule| {
            rule.tables.iter().flat_map(|table| {
                rule.hidden.iter().map(move |columns| match columns {
                    Columns::Named(glob) => (table, None, glob),
                    Columns::Tagged(pattern) => (table, Some(&pattern.table), &pattern.column),
                })
            })
        })
    }

    fn reaches(&self, catalog: &str) -> bool {
        self.reach.as_ref().is_none_or(|catalogs| catalogs.contains(catalog))
    }

    /// Whether the catalog (folded) is known to the principal: some of its tables may be there.
    pub fn catalog_may_be_seen(&self, catalog: &str) -> bool {
        self.reaches(catalog)
            && (self.open.contains(catalog) || self.allow().any(|pattern| pattern.catalog_matches(catalog)))
            && !self.deny().any(|pattern| {
                pattern.catalog_matches(catalog) && pattern.schema.is_any() && pattern.table.is_any()
            })
            && self.readable.get(catalog).is_none_or(|patterns| !patterns.is_empty())
    }

    /// Whether every catalog is known to the principal.
    pub fn all_catalogs_may_be_seen(&self) -> bool {
        let all = |pattern: &TablePattern| {
            pattern.catalog.is_any() && pattern.schema.is_any() && pattern.table.is_any()
        };
        self.allow().any(all)
            && self.deny().next().is_none()
            && self.readable.is_empty()
            && self.reach.is_none()
    }

    /// Whether the schema (folded) is known to the principal.
    pub fn schema_may_be_seen(&self, catalog: &str, schema: &str) -> bool {
        if schema == INFORMATION_SCHEMA {
            return self.catalog_may_be_seen(catalog);
        }
        let here = |pattern: &TablePattern| pattern.schema_matches(catalog, schema);
        let granted = self.readable.get(catalog);
        self.reaches(catalog)
            && (self.open.contains(catalog) && schema != SYSTEM || self.allow().any(here))
            && !self.deny().any(|pattern| here(pattern) && pattern.table.is_any())
            && granted.is_none_or(|patterns| patterns.iter().any(here))
    }

    /// SQL that is true for the catalogs to list. The operand is SQL of a catalog's name, and so on below. All that
    /// these functions give stands in parentheses.
    pub fn catalogs_predicate(&self, catalog: &str) -> String {
        self.build(
            catalog,
            |name| format!("{catalog} = {}", quote_string(name)),
            |pattern| pattern.catalog_predicate(catalog),
            |pattern| {
                (pattern.schema.is_any() && pattern.table.is_any())
                    .then(|| pattern.catalog_predicate(catalog))
            },
        )
    }

    /// SQL that is true for the schemas to list.
    pub fn schemas_predicate(&self, catalog: &str, schema: &str) -> String {
        let both = |pattern: &TablePattern| {
            join(vec![pattern.catalog_predicate(catalog), pattern.schema_predicate(schema)])
        };
        let open = |name: &str| open_schema(name, catalog, schema);
        let listed = self.build(catalog, open, both, |pattern| pattern.table.is_any().then(|| both(pattern)));
        format!(
            "(({schema} = '{INFORMATION_SCHEMA}' AND {}) OR ({schema} <> '{INFORMATION_SCHEMA}' AND {listed}))",
            self.catalogs_predicate(catalog)
        )
    }

    /// SQL that is true for the tables to list.
    pub fn tables_predicate(&self, catalog: &str, schema: &str, table: &str) -> String {
        let all = |pattern: &TablePattern| table_predicate(pattern, catalog, schema, table);
        let open = |name: &str| open_schema(name, catalog, schema);
        let listed = self.build(catalog, open, all, |pattern| Some(all(pattern)));
        // Trino must not look for the names of the first part in other schemas: for each that is not there it may list the
        // tables of the second part once more.
        format!(
            "(({schema} = '{INFORMATION_SCHEMA}' AND system.builtin.concat({table}, '') IN {INFORMATION_TABLES} AND {}) OR \
             ({schema} <> '{INFORMATION_SCHEMA}' AND NOT system.builtin.regexp_like({table}, '{STORAGE}') AND {listed}))",
            self.catalogs_predicate(catalog)
        )
    }

    /// Whether there may be columns that are not listed, of tables that are.
    pub fn hides_columns(&self) -> bool {
        self.hidden().next().is_some() || !self.concealed.is_empty()
    }

    /// SQL that is true for the columns to list.
    pub fn columns_predicate(&self, catalog: &str, schema: &str, table: &str, column: &str) -> String {
        let mut text = format!("({}", self.tables_predicate(catalog, schema, table));
        // Catalogs that are not Trino's list columns in lower case; a connector may not.
        let folded = format!("system.builtin.lower({column})");
        for (pattern, tag, glob) in self.hidden() {
            let hidden = join(vec![
                table_predicate(pattern, catalog, schema, table),
                tag.and_then(|tag| table_predicate(tag, catalog, schema, table)),
                glob.predicate(&folded),
            ]);
            text.push_str(" AND NOT (");
            text.push_str(hidden.as_deref().unwrap_or("true"));
            text.push(')');
        }
        for hidden in self.concealed.predicates([catalog, schema, table, &folded]) {
            text.push_str(" AND NOT (");
            text.push_str(&hidden);
            text.push(')');
        }
        text.push(')');
        text
    }

    /// `(one allowed OR ...) AND NOT (one denied OR ...)`, and of catalogs that decide only what they let be read. A
    /// pattern whose predicate is none stands for all; one of `denied` that is none does not count.
    fn build(
        &self,
        catalog: &str,
        open: impl Fn(&str) -> String,
        allowed: impl Fn(&TablePattern) -> Option<String>,
        denied: impl Fn(&TablePattern) -> Option<Option<String>>,
    ) -> String {
        let mut ways: Vec<String> = Vec::new();
        for name in &self.open {
            ways.push(open(name));
        }
        for pattern in self.allow() {
            ways.push(allowed(pattern).unwrap_or_else(|| "true".to_owned()));
        }
        if ways.is_empty() {
            return "false".to_owned();
        }
        ways.dedup();
        let mut text = format!("({})", ways.join(" OR "));
        let mut against: Vec<String> =
            self.deny().filter_map(denied).map(|way| way.unwrap_or_else(|| "true".to_owned())).collect();
        against.dedup();
        if !against.is_empty() {
            text.push_str(" AND NOT (");
            text.push_str(&against.join(" OR "));
            text.push(')');
        }
        if let Some(catalogs) = &self.reach {
            let names: Vec<String> = catalogs.iter().map(|name| quote_string(name)).collect();
            text.push_str(&format!(" AND {catalog} IN ({})", names.join(", ")));
        }
        for (name, patterns) in &self.readable {
            let mut ways = vec![format!("{catalog} <> {}", quote_string(name))];
            for pattern in patterns {
                ways.push(allowed(pattern).unwrap_or_else(|| "true".to_owned()));
            }
            ways.dedup();
            text.push_str(&format!(" AND ({})", ways.join(" OR ")));
        }
        format!("({text})")
    }
}

/// What is listed of a catalog whose tables may be read where no policy says anything.
fn open_schema(name: &str, catalog: &str, schema: &str) -> String {
    format!("({catalog} = {} AND {schema} <> '{SYSTEM}')", quote_string(name))
}

fn table_predicate(pattern: &TablePattern, catalog: &str, schema: &str, table: &str) -> Option<String> {
    join(vec![
        pattern.catalog_predicate(catalog),
        pattern.schema_predicate(schema),
        pattern.table.predicate(table),
    ])
}

/// All of the conditions; none where there are none.
fn join(conditions: Vec<Option<String>>) -> Option<String> {
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    (!conditions.is_empty()).then(|| format!("({})", conditions.join(" AND ")))
}
