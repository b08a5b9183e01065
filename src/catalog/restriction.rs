//! What a catalog restricts for whoever asks: Iceberg's `read-restrictions`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::json;
use super::predicate::Predicate;

/// The most restrictions of one answer, in bytes, and columns that are masked.
const MAX_BYTES: usize = 1 << 20;
const MAX_PROJECTIONS: usize = 5_000;

/// What a reader may see of a table. It is about the one who asked, and nobody else.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRestrictions {
    /// Which rows; all where there is none.
    pub filter: Option<Predicate>,
    /// What is shown of fields, each at most once.
    pub projections: Vec<Projection>,
}

/// What is shown of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// The identifier of the field.
    pub field: i32,
    /// What is shown in place of its value.
    pub action: Action,
}

impl ReadRestrictions {
    /// Reads the object. `None`: nothing is restricted.
    ///
    /// # Errors
    /// Something in it is not understood, or says things twice: the table cannot be read then.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes"));
        }
        let value = json::read(text)?;
        if value.is_null() {
            return Ok(None);
        }
        let object = value.as_object().ok_or("no object")?;
        let mut restrictions = Self { filter: None, projections: Vec::new() };
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "required-row-filter" => {
                    let filter = Predicate::read(value).map_err(|why| format!("{key}: {why}"))?;
                    restrictions.filter = Some(filter).filter(|filter| *filter != Predicate::Constant(true));
                }
                "required-column-projections" => {
                    restrictions.projections = projections(value).map_err(|why| format!("{key}: {why}"))?;
                }
                _ => return Err(format!("'{key}' is not known")),
            }
        }
        let none = restrictions.filter.is_none() && restrictions.projections.is_empty();
        Ok((!none).then_some(restrictions))
    }
}

fn projections(value: &Value) -> Result<Vec<Projection>, String> {
    let list = value.as_array().ok_or("no list")?;
    if list.len() > MAX_PROJECTIONS {
        return Err(format!("more than {MAX_PROJECTIONS}"));
    }
    let mut seen = BTreeSet::new();
    let mut projections = Vec::with_capacity(list.len());
    for one in list {
        let one = projection(one.as_object().ok_or("a projection that is no object")?)?;
        if !seen.insert(one.field) {
            return Err(format!("the field {} is named twice", one.field));
        }
        projections.push(one);
    }
    Ok(projections)
}

fn projection(object: &Map<String, Value>) -> Result<Projection, String> {
    if let Some(key) = object.keys().find(|key| !["field-id", "action"].contains(&key.as_str())) {
        return Err(format!("a projection has '{key}', which is not known"));
    }
    let id = object.get("field-id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
    let field = id.ok_or("a projection names no field by its identifier")?;
    let word = object.get("action").and_then(Value::as_str).ok_or("a projection has no action")?;
    // The name that drafts of the specification have for one of them.
    let word = if word == "mask-to-default" { Action::MaskToFixedValue.as_str() } else { word };
    let action = Action::ALL.into_iter().find(|action| action.as_str() == word);
    let action = action.ok_or_else(|| format!("the action '{word}' is not known"))?;
    Ok(Projection { field, action })
}

/// The nine actions of Iceberg's read restrictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Digits become `n`; `( ) , . - @` stay; all else becomes `x`. Strings.
    MaskAlphanum,
    /// The first four characters stay, the rest as `mask-alphanum`. Strings.
    #[serde(rename = "show-first-4")]
    ShowFirst4,
    /// The last four characters stay, the rest as `mask-alphanum`. Strings.
    #[serde(rename = "show-last-4")]
    ShowLast4,
    /// NULL. Every type.
    ReplaceWithNull,
    /// A constant by type, for NULL too. Every type.
    MaskToFixedValue,
    /// The first of January, midnight. Dates and timestamps.
    TruncateToYear,
    /// The first of the month, midnight. Dates and timestamps.
    TruncateToMonth,
    /// SHA-256 of the value. Strings, integers, binary.
    #[serde(rename = "sha-256-global")]
    Sha256Global,
    /// SHA-256 of the value behind a random salt that is the same throughout one query. Strings, integers,
    /// binary.
    #[serde(rename = "sha-256-query-local")]
    Sha256QueryLocal,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MaskAlphanum,
        Self::ShowFirst4,
        Self::ShowLast4,
        Self::ReplaceWithNull,
        Self::MaskToFixedValue,
        Self::TruncateToYear,
        Self::TruncateToMonth,
        Self::Sha256Global,
        Self::Sha256QueryLocal,
    ];

    /// The word in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaskAlphanum => "mask-alphanum",
            Self::ShowFirst4 => "show-first-4",
            Self::ShowLast4 => "show-last-4",
            Self::ReplaceWithNull => "replace-with-null",
            Self::MaskToFixedValue => "mask-to-fixed-value",
            Self::TruncateToYear => "truncate-to-year",
            Self::TruncateToMonth => "truncate-to-month",
            Self::Sha256Global => "sha-256-global",
            Self::Sha256QueryLocal => "sha-256-query-local",
        }
    }
}
