//! The documents as they are written: YAML, with a JSON schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::catalog::Action;
use crate::units::Span;

/// A policy document of Northgate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Northgate policies", rename = "Document")]
pub(super) struct Document {
    /// The version of the format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// What holds for the tables of a catalog that no policy allows: `allow` or `deny`. Without an entry it is
    /// `deny`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Fallback>")]
    pub(super) defaults: BTreeMap<String, Spanned<Fallback>>,
    /// Tags: the columns that each stands for, as patterns `catalog.schema.table.column` with `*` within a part. Fields
    /// within a column, which can be masked, have their path behind it.
    /// A tag given in several files stands for the columns of all of them. What an Iceberg REST catalog gives tags to, by
    /// properties such as `classification.4 = pii.ssn`, is meant as well: a tag that only catalogs give has an empty list.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub(super) tags: BTreeMap<String, Vec<Spanned<String>>>,
    /// The policies.
    #[serde(default)]
    pub(super) policies: Vec<Policy>,
}

/// How rows that a filter hides are kept from what a user's query evaluates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As Trino's own row filters do it: Trino may evaluate the user's conditions before the filter, so that one that
    /// fails on some value tells that a hidden row may have it. Fast: Trino optimises through it.
    Standard,
    /// Nothing of the user's is evaluated on a hidden row, but for comparisons with literals, which cannot fail.
    #[default]
    Strict,
}

/// What holds where no policy says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fallback {
    /// Tables may be read.
    Allow,
    /// Tables do not exist.
    Deny,
}

/// Who may do what with which tables. All policies that match a principal and a table apply together: one
/// `deny` wins, filters are joined with AND, of several masks on a column the strongest holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the documents")]
pub(super) struct Policy {
    /// A name of its own among all documents; the audit names it.
    #[schemars(with = "String", length(min = 1))]
    pub(super) name: Spanned<String>,
    /// Why the policy is there. For readers only.
    #[serde(default)]
    #[expect(dead_code, reason = "documents may describe themselves; nothing reads it")]
    pub(super) description: Option<String>,
    /// The environments that the policy is for, such as `production`; without any it is for all. Which one this is the
    /// configuration says: `environment` of `[policies]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) environments: Vec<Spanned<String>>,
    /// The environments that the policy is not for.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) except_environments: Vec<Spanned<String>>,
    /// Whether queries of what the policy applies to are marked as sensitive in the audit. A policy that has masks or
    /// hides columns by tag applies to the tables that have one of the tags, any other to all of its tables.
    #[serde(default)]
    pub(super) sensitive: bool,
    /// Whom the policy is for.
    pub(super) who: Who,
    /// Which tables: patterns `catalog.schema.table`, with `*` within a part. A part that holds a dot or a star of
    /// its own stands in double quotes. A pattern with `*` stands neither for the catalog `system` nor for a
    /// schema `system`.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(super) tables: Vec<Spanned<String>>,
    /// Whether the tables may be read.
    #[serde(default)]
    pub(super) allow: bool,
    /// Whether views among the tables may be read as they are, with all that they show. Others are read as the queries
    /// that they are made of, under the reader's policies. Needs `allow`.
    #[serde(default)]
    pub(super) trusted_view: bool,
    /// Whether the tables and views may be changed, made and dropped, and schemas all of whose tables are meant. Needs
    /// `allow`. A table that a filter, a mask or a hidden column applies to for somebody is not changed by them.
    #[serde(default)]
    pub(super) write: bool,
    /// Whether the tables do not exist for whom the policy is for. Stands alone, and wins over all else.
    #[serde(default)]
    pub(super) deny: bool,
    /// A SQL expression over the table's columns. Rows for which it is not true are not seen. Its sub-queries name
    /// tables in full: `EXISTS (SELECT 1 FROM lake.admin.regions r WHERE r.name = region AND r.reader = current_user)`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) row_filter: Option<Spanned<String>>,
    /// How the rows that the filter hides, or that a trusted view leaves out, are kept from what the user's query evaluates.
    /// Where several apply to a table it is `strict` unless all say `standard`. Goes with `row_filter` or `trusted_view`.
    #[serde(default)]
    #[schemars(with = "Option<Isolation>")]
    pub(super) isolation: Option<Spanned<Isolation>>,
    /// Under whose policies the sub-queries of the filter and the masks read. Without it under the reader's own, who must
    /// be allowed to read these tables then.
    #[serde(default)]
    pub(super) run_as: Option<RunAs>,
    /// What is shown in place of columns' values.
    #[serde(default)]
    pub(super) column_masks: Vec<Mask>,
    /// Columns that do not exist for whom the policy is for: names, with `*`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) deny_columns: Vec<Spanned<String>>,
    /// The same by tag, with `*`: `pii.*`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) deny_tags: Vec<Spanned<String>>,
    /// For how long answers of queries that read the tables may be given again, where no Iceberg REST catalog tells when the
    /// tables change. They may be wrong for as long.
    #[serde(default)]
    pub(super) cache: Option<Cache>,
}

/// Answers that are given again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    /// For how long, such as `5m`. Of several policies that apply the shortest time holds.
    #[schemars(with = "String")]
    pub(super) time_to_live: Spanned<Span>,
}

/// Whom a policy is for: whom one of `users` or `groups` names, except whom the other two name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    /// Names of users, with `*`; `["*"]` is everybody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) users: Vec<Spanned<String>>,
    /// Names of groups.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) groups: Vec<Spanned<String>>,
    /// Names of users who are not meant, with `*`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) except_users: Vec<Spanned<String>>,
    /// Names of groups that are not meant.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) except_groups: Vec<Spanned<String>>,
}

/// A name and groups under whose policies sub-queries read. Nobody needs to be able to sign in by that name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunAs {
    /// The name.
    #[schemars(with = "String", length(min = 1))]
    pub(super) user: Spanned<String>,
    /// The groups.
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

/// A mask: columns by name or by tag, and an action or an expression.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mask {
    /// Names of columns, with `*`. A name without `*` must exist where the table is named without `*`, too. Fields within
    /// a column have their path behind it: `profile.ssn`, `phones.element.number` (of an array), `notes.value` (of a map).
    /// A name that holds a dot of its own stands in double quotes.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) columns: Vec<Spanned<String>>,
    /// Tags of columns, with `*`: `pii.*`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) tags: Vec<Spanned<String>>,
    /// One of the nine actions. Either this or `sql`.
    #[serde(default)]
    #[schemars(with = "Option<Action>")]
    pub(super) action: Option<Spanned<Action>>,
    /// A SQL expression over the table's columns, which it reads unmasked. It is cast to the column's type.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) sql: Option<Spanned<String>>,
    /// Of several masks on one column the one with the highest number holds. Two different ones of the same
    /// strength are an error.
    #[serde(default)]
    pub(super) strength: i32,
}

/// The JSON schema of a document, as text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Document);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
