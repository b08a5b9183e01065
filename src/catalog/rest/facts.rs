//! What of a loaded table or view the gateway has a use for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::RestError;
use crate::catalog::{ReadRestrictions, Schema, Version};

/// The table property that says what a field holds: `classification.4 = pii.ssn, financial`. The number is the field's
/// identifier, so that the word holds under whatever name. Without a number it is about the table, or the namespace, as
/// a whole.
pub(super) const CLASSIFICATION: &str = "classification";
/// The most tags of one table, and the longest.
pub(super) const MOST_TAGS: usize = 10_000;
const LONGEST_TAG: usize = 200;

/// What a table or a view is, whoever asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Which table it is, under whatever name.
    pub uuid: String,
    /// Its columns; none of a view.
    pub schema: Option<Schema>,
    /// What they hold.
    pub tags: Tags,
    /// The table's state; none of a view, and where the catalog does not tell it.
    pub version: Option<Version>,
}

/// What is in a table, as its catalog classifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Of the table as a whole: each of its columns has them.
    pub whole: Vec<String>,
    /// Of columns, and of fields within them, by path from the column.
    pub fields: Vec<(Vec<String>, Vec<String>)>,
}

impl Tags {
    /// All tags, some perhaps several times.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().flat_map(|(_, tags)| tags);
        self.whole.iter().chain(fields).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.fields.is_empty()
    }
}

/// `LoadTableResult` and `LoadViewResult`. Credentials, snapshots and all else are skipped unread.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "metadata-location", default)]
    location: Option<String>,
    metadata: Metadata,
    #[serde(rename = "read-restrictions", borrow, default)]
    restrictions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "table-uuid", alias = "view-uuid", default)]
    uuid: String,
    #[serde(rename = "last-updated-ms", default)]
    updated: Option<i64>,
    #[serde(rename = "current-snapshot-id", default)]
    snapshot: Option<i64>,
    #[serde(rename = "current-schema-id", default)]
    current: Value,
    #[serde(default)]
    schemas: Value,
    #[serde(default)]
    schema: Value,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

/// Reads an answer to a load: the facts, and what of the table its reader may not see.
pub(super) fn read(body: &[u8], is_view: bool) -> Result<(Facts, Option<ReadRestrictions>), RestError> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|error| RestError::Garbage(error.to_string()))?;
    let Answer { location, metadata, restrictions } = answer;
    let restrictions = match restrictions {
        None => None,
        Some(text) => ReadRestrictions::read(text.get())
            .map_err(|error| RestError::Garbage(format!("read-restrictions: {error}")))?,
    };
    let schema = if is_view {
        None
    } else {
        let Metadata { current, schemas, schema, .. } = &metadata;
        let parts = serde_json::json!({"current-schema-id": current, "schemas": schemas, "schema": schema});
        Some(Schema::read(&parts).map_err(|error| RestError::Garbage(format!("schema: {error}")))?)
    };
    let tags = tags(&metadata.properties, schema.as_ref())?;
    let version = location.filter(|location| !is_view && !location.is_empty() && !metadata.uuid.is_empty());
    let version = version.zip(metadata.updated).map(|(location, updated)| Version {
        uuid: metadata.uuid.clone(),
        // Some writers say -1 where there is none.
        snapshot: metadata.snapshot.filter(|snapshot| *snapshot >= 0),
        schema: metadata.current.as_i64(),
        metadata: location,
        updated,
    });
    Ok((Facts { uuid: metadata.uuid, schema, tags, version }, restrictions))
}

/// The tags that properties give to the fields of a schema.
fn tags(properties: &BTreeMap<String, String>, schema: Option<&Schema>) -> Result<Tags, RestError> {
    let mut tags = Tags { whole: whole(properties)?, fields: Vec::new() };
    for (key, words) in properties {
        let Some(id) = key.strip_prefix(CLASSIFICATION).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        // A word that cannot be placed must not be lost: it was put there to protect something.
        let id: i32 =
            id.parse().map_err(|_| RestError::Garbage(format!("the property {key} names no field")))?;
        // Fields that were dropped keep their word.
        if let Some(field) = schema.and_then(|schema| schema.field(id)) {
            tags.fields.push((field.path.clone(), words_of(words)?));
        }
    }
    if tags.iter().count() > MOST_TAGS {
        return Err(RestError::Garbage(format!("more than {MOST_TAGS} tags")));
    }
    Ok(tags)
}

/// The tags that the properties of a table or of a namespace give to it as a whole.
pub(super) fn whole(properties: &BTreeMap<String, String>) -> Result<Vec<String>, RestError> {
    properties.get(CLASSIFICATION).map_or(Ok(Vec::new()), |words| words_of(words))
}

/// The tags of a property, in lower case.
pub(super) fn words_of(text: &str) -> Result<Vec<String>, RestError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let good = word.len() <= LONGEST_TAG && !word.contains(|c: char| c.is_control() || c == '*');
            if good {
                Ok(word.to_lowercase())
            } else {
                Err(RestError::Garbage("a tag that is none".to_owned()))
            }
        })
        .collect()
}
