//! A record, as those who look for some read it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

/// The members that are looked at; those that do not apply are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Row<'a> {
    #[serde(borrow)]
    pub(crate) run: Cow<'a, str>,
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) time: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) query: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) principal: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) identity: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) impersonator: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) claimed: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) by: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) auth_method: Cow<'a, str>,
    pub(crate) groups: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) peer: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) source: Cow<'a, str>,
    #[serde(borrow, rename = "kind")]
    pub(crate) statement: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) catalog: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) schema: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) text: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) rewritten: Cow<'a, str>,
    pub(crate) relations: Vec<Cow<'a, str>>,
    pub(crate) tables: Vec<Table>,
    #[serde(borrow)]
    pub(crate) decision: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) policy_revision: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) reason: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) detail: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) state: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) error: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) trino_query: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) cluster: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) action: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) outcome: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) what: Cow<'a, str>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) elapsed_ms: Option<u64>,
}

/// What a query can read of a table.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) tags: BTreeMap<String, Vec<String>>,
}

impl<'a> Row<'a> {
    pub(crate) fn of(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// When it was written.
    pub(crate) fn at(&self) -> Option<jiff::Timestamp> {
        self.time.parse().ok()
    }

    /// Whether somebody was told no.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(&*self.kind, "denied" | "refused" | "login_failed")
    }

    /// All tags of what it reads, once each.
    pub(crate) fn tags(&self) -> std::collections::BTreeSet<&str> {
        self.tables.iter().flat_map(|table| table.tags.values().flatten()).map(String::as_str).collect()
    }

    /// Whose doing it is: who signed in, or who is said to have.
    pub(crate) fn actor(&self) -> &str {
        let names = [&self.impersonator, &self.principal, &self.by, &self.claimed];
        names.into_iter().find(|name| !name.is_empty()).map_or("", |name| name)
    }
}
