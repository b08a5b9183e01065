//! Cases for policies: this principal, this query, expect. What a statement becomes is found out by the pipeline's own
//! parser, decision and rewrite; only what tables there are is said by the file, and nothing is run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_saphyr::Spanned;

use crate::catalog::{Catalog, Column, Described, RelationKind, TableName, Type};
use crate::error::Failure;
use crate::identity::{Method, Principal};
use crate::policy::Set;
use crate::query::{self, Explanation, Question, StatementError};
use crate::rewrite::Names;
use crate::sql::{Limits, fold_column};

/// The stack of the thread that reads statements, in bytes.
const STACK: usize = 8 << 20;

/// A map in the order in which it is written; of a key that is there twice there is an error.
#[derive(Debug)]
struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reads<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("'{key}' is there twice")));
                    }
                    all.push((key, value));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Reads(PhantomData)).map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    #[serde(default)]
    tables: Ordered<Table>,
    #[serde(default)]
    principals: BTreeMap<String, Somebody>,
    #[serde(default)]
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    columns: Ordered<String>,
    /// The query of a view.
    view: Option<String>,
    /// The same of a materialized view.
    materialized_view: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Somebody {
    /// Without it the name in the file.
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    principal: Spanned<String>,
    query: Spanned<String>,
    /// The session's.
    catalog: Option<String>,
    schema: Option<String>,
    expect: Expect,
    /// All tables of the query whose rows are filtered.
    filtered: Option<Vec<Spanned<String>>>,
    /// All columns of them that are masked, as `catalog.schema.table.column`.
    masked: Option<Vec<Spanned<String>>>,
    /// All columns of them that are hidden.
    hidden: Option<Vec<Spanned<String>>>,
    /// Texts that are in what Trino would be sent.
    #[serde(default)]
    sent: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allowed,
    Denied,
}

/// A file of cases.
#[derive(Debug)]
pub struct Trial {
    relations: Vec<Described>,
    definitions: Vec<(TableName, String)>,
    principals: BTreeMap<String, Principal>,
    cases: Vec<Case>,
}

/// What is wrong with a file of cases, with its line where it is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {message}")]
pub struct TrialError {
    line: u64,
    message: String,
}

impl Trial {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not YAML of the format, or names what it does not say.
    pub fn read(text: &str) -> Result<Self, TrialError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| TrialError {
            line: error.location().map_or(1, |location| location.line()),
            message: error.without_snippet().to_string(),
        })?;
        let wrong = |line: u64, message: String| TrialError { line, message };
        if file.version.value != 1 {
            return Err(wrong(line(&file.version), "the version of the format is 1".to_owned()));
        }
        let (mut relations, mut definitions) = (Vec::new(), Vec::new());
        for (name, table) in file.tables.0 {
            let name = table_name(&name).map_err(|message| wrong(1, format!("tables: {message}")))?;
            let kind = match (table.view, table.materialized_view) {
                (None, None) => RelationKind::Table,
                (Some(text), None) => {
                    definitions.push((name.clone(), text));
                    RelationKind::View
                }
                (None, Some(text)) => {
                    definitions.push((name.clone(), text));
                    RelationKind::MaterializedView
                }
                (Some(_), Some(_)) => return Err(wrong(1, format!("tables: {name} is two kinds of view"))),
            };
            if relations.iter().any(|other: &Described| other.name == name) {
                return Err(wrong(1, format!("tables: {name} is there twice")));
            }
            let column = |(name, ty): (String, String)| Column { name, ty: Type::parse(&ty) };
            let columns = table.columns.0.into_iter().map(column).collect();
            relations.push(Described { name, kind, columns });
        }
        let principal = |(key, one): (String, Somebody)| {
            let name = one.user.unwrap_or_else(|| key.clone());
            let made = Principal::new(name, Method::Password).with_groups(one.groups);
            (key, made.with_attributes(one.attributes))
        };
        let principals: BTreeMap<String, Principal> = file.principals.into_iter().map(principal).collect();
        for case in &file.cases {
            if !principals.contains_key(&case.principal.value) {
                let message = format!("there is no principal '{}'", case.principal.value);
                return Err(wrong(line(&case.principal), message));
            }
            let lists = [&case.filtered, &case.masked, &case.hidden];
            let details = lists.iter().any(|list| list.is_some()) || !case.sent.is_empty();
            if case.expect == Expect::Denied && details {
                let message =
                    "of a query that is denied nothing is filtered, masked, hidden or sent".to_owned();
                return Err(wrong(line(&case.query), message));
            }
            let known = |name: &str, parts: usize| {
                let (table, column) = split(name, parts)?;
                let relation = relations.iter().find(|relation| relation.name == table)?;
                column.is_none_or(|column| relation.column(&column).is_some()).then_some(())
            };
            for (parts, name) in (case.filtered.iter().flatten().map(|name| (3, name)))
                .chain(case.masked.iter().chain(&case.hidden).flatten().map(|name| (4, name)))
            {
                if known(&name.value, parts).is_none() {
                    let message = format!("'{}' is not among the tables of this file", name.value);
                    return Err(wrong(line(name), message));
                }
            }
        }
        Ok(Self { relations, definitions, principals, cases: file.cases })
    }

    /// How many cases there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// The tables with the names of their columns.
    pub fn tables(&self) -> Vec<(TableName, Vec<String>)> {
        let columns =
            |relation: &Described| relation.columns.iter().map(|column| column.name.clone()).collect();
        self.relations.iter().map(|relation| (relation.name.clone(), columns(relation))).collect()
    }

    /// Runs the cases: what is not as expected, each with its line.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn run(&self, policies: &Set) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let properties: std::sync::Arc<Vec<String>> = query::Config::default().session_properties.into();
        let mut failures = Vec::new();
        for case in &self.cases {
            let catalog = Catalog::of(self.relations.clone(), self.definitions.clone());
            let Some(principal) = self.principals.get(&case.principal.value).cloned() else { continue };
            let (policies, properties) = (policies.clone(), std::sync::Arc::clone(&properties));
            let (session, schema, sql) =
                (case.catalog.clone(), case.schema.clone(), case.query.value.clone());
            let explained = runtime.spawn(async move {
                let names = Names { catalog: session.as_deref(), schema: schema.as_deref() };
                let limits = Limits::default();
                let question = Question {
                    principal: &principal,
                    token: None,
                    names,
                    catalog: &catalog,
                    policies: &policies,
                    properties: &properties,
                    limits: &limits,
                    admitting: None,
                    caches: false,
                };
                question.explain(&sql).await
            });
            let explanation = runtime.block_on(explained).map_err(|error| error.to_string())?;
            let wrong = self.compare(case, &explanation);
            failures.extend(wrong.into_iter().map(|what| {
                let text: String = case.query.value.split_whitespace().collect::<Vec<_>>().join(" ");
                format!("{}: {}: {text}: {what}", line(&case.query), case.principal.value)
            }));
        }
        Ok(failures)
    }

    /// What is not as expected.
    fn compare(&self, case: &Case, got: &Explanation) -> Vec<String> {
        let listing = |name: &TableName| name.schema == "information_schema" || name.catalog == "system";
        for (name, _) in got.relations() {
            if !listing(name) && !self.relations.iter().any(|relation| relation.name == *name) {
                return vec![format!("{name} is not among the tables of this file")];
            }
        }
        let sent = match got.sent() {
            Err(StatementError::Unreadable(error)) => {
                return vec![format!("the query cannot be read: {error}")];
            }
            Err(error) if case.expect == Expect::Allowed => {
                return vec![format!(
                    "expected allowed, got denied: {error} (the user is told: {})",
                    error.client_message()
                )];
            }
            Err(_) => return Vec::new(),
            Ok(_) if case.expect == Expect::Denied => return vec!["expected denied, got allowed".to_owned()],
            Ok(sent) => sent,
        };
        let mut wrong = Vec::new();
        let (mut filtered, mut masked, mut hidden) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (name, scoped) in got.relations() {
            let Some(scoped) = scoped else { continue };
            if !scoped.filters().is_empty() {
                filtered.insert(name.to_string());
            }
            let shown: BTreeSet<&str> = scoped.columns().map(|column| column.name.as_str()).collect();
            for column in &scoped.described().columns {
                let label = format!("{name}.{}", fold_column(&column.name));
                if !shown.contains(column.name.as_str()) {
                    hidden.insert(label);
                } else if scoped.mask(&column.name).is_some() {
                    masked.insert(label);
                }
            }
        }
        let lists = [
            ("filtered", &case.filtered, filtered, 3),
            ("masked", &case.masked, masked, 4),
            ("hidden", &case.hidden, hidden, 4),
        ];
        for (what, expected, got, parts) in lists {
            let Some(expected) = expected else { continue };
            let expected: BTreeSet<String> =
                expected.iter().filter_map(|name| label(&name.value, parts)).collect();
            if expected != got {
                let list = |names: &BTreeSet<String>| {
                    if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.iter().cloned().collect::<Vec<_>>().join(", ")
                    }
                };
                wrong.push(format!("expected {what} {}, got {}", list(&expected), list(&got)));
            }
        }
        for text in case.sent.iter().filter(|text| !sent.contains(*text)) {
            wrong.push(format!("expected '{text}' in what Trino would be sent, got: {sent}"));
        }
        wrong
    }
}

fn line<T>(at: &Spanned<T>) -> u64 {
    at.referenced.line()
}

fn table_name(text: &str) -> Result<TableName, String> {
    split(text, 3)
        .map(|(name, _)| name)
        .ok_or_else(|| format!("'{text}' is not of the form catalog.schema.table"))
}

/// `catalog.schema.table`, or with a column; a part in double quotes may hold a dot.
fn split(text: &str, parts: usize) -> Option<(TableName, Option<String>)> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => found.push(String::new()),
            c => found.last_mut()?.push(c),
        }
    }
    if quoted || found.len() != parts || found.iter().any(String::is_empty) {
        return None;
    }
    let name = TableName::new(&found[0], &found[1], &found[2])?;
    Some((name, found.get(3).map(|column| fold_column(column).into_owned())))
}

fn label(text: &str, parts: usize) -> Option<String> {
    let (name, column) = split(text, parts)?;
    Some(column.map_or_else(|| name.to_string(), |column| format!("{name}.{column}")))
}
