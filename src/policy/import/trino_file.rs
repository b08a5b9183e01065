//! `rules.json` as Trino 476 reads it. A key that is not known is an error there, and here.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) catalogs: Option<Vec<CatalogRule>>,
    pub(super) schemas: Option<Vec<SchemaRule>>,
    pub(super) tables: Option<Vec<TableRule>>,
    pub(super) queries: Option<Vec<QueryRule>>,
    pub(super) impersonation: Option<Vec<ImpersonationRule>>,
    pub(super) principals: Option<Vec<Value>>,
    pub(super) system_information: Option<Vec<Value>>,
    pub(super) system_session_properties: Option<Vec<Value>>,
    pub(super) catalog_session_properties: Option<Vec<Value>>,
    /// Of a catalog's own file.
    pub(super) session_properties: Option<Vec<Value>>,
    pub(super) functions: Option<Vec<Value>>,
    pub(super) procedures: Option<Vec<Value>>,
    pub(super) authorization: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CatalogRule {
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) group: Option<String>,
    pub(super) catalog: Option<String>,
    pub(super) allow: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemaRule {
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) group: Option<String>,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) owner: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableRule {
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) group: Option<String>,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) privileges: BTreeSet<Privilege>,
    pub(super) columns: Option<Vec<Column>>,
    pub(super) filter: Option<String>,
    pub(super) filter_environment: Option<Environment>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Privilege {
    Select,
    Insert,
    Delete,
    Update,
    Ownership,
    GrantSelect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) allow: Option<bool>,
    pub(super) mask: Option<String>,
    pub(super) mask_environment: Option<Environment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRule {
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) group: Option<String>,
    #[serde(rename = "queryOwner")]
    pub(super) query_owner: Option<String>,
    pub(super) allow: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImpersonationRule {
    pub(super) original_user: Option<String>,
    pub(super) original_role: Option<String>,
    pub(super) new_user: String,
    pub(super) allow: Option<bool>,
}
