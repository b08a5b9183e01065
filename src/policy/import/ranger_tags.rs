//! Which tables and columns have which tags, as Ranger's tag store gives it (`/service/tags/download/SERVICE`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::draft::one_line;
use super::first::{Tables, tables};
use super::names::{Names, Pattern};
use super::{ImportError, Options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    tags: BTreeMap<String, Tag>,
    #[serde(default)]
    service_resources: Vec<ServiceResource>,
    #[serde(default)]
    resource_to_tag_ids: BTreeMap<String, Vec<i64>>,
    is_delta: Option<bool>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceResource {
    id: i64,
    resource_elements: BTreeMap<String, Element>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element {
    values: Vec<String>,
    is_excludes: Option<bool>,
}

/// Tags: the columns and the tables that have each.
pub(super) struct Tags(Option<BTreeMap<String, Tagged>>);

#[derive(Default)]
struct Tagged {
    columns: Vec<String>,
    tables: Vec<Tables>,
}

/// What is found of some tags.
pub(super) struct Found {
    /// The names of those that columns have.
    pub(super) columns: BTreeSet<String>,
    /// The tables that have one.
    pub(super) tables: Vec<Tables>,
}

impl Tags {
    pub(super) fn read(options: &Options) -> Result<Self, ImportError> {
        let Some(text) = &options.tags else { return Ok(Self(None)) };
        super::bounded(text)?;
        let file: File = serde_json::from_str(text)
            .map_err(|error| ImportError::Unreadable(format!("the tags: {error}")))?;
        let unreadable = |why: &str| ImportError::Unreadable(format!("the tags: {why}"));
        if file.is_delta == Some(true) {
            return Err(unreadable("these are changes only; download all of them"));
        }
        let mut tags: BTreeMap<String, Tagged> = BTreeMap::new();
        for resource in &file.service_resources {
            let names = |key: &str| -> Result<Option<Names>, ImportError> {
                let Some(element) = resource.resource_elements.get(key) else { return Ok(None) };
                let patterns: Option<Vec<Pattern>> =
                    element.values.iter().map(|value| Pattern::read(&value.to_lowercase())).collect();
                match patterns {
                    Some(patterns) if element.is_excludes != Some(true) => Ok(Some(Names::exactly(patterns))),
                    _ => Err(unreadable("a resource is not understood")),
                }
            };
            let known = ["catalog", "database", "schema", "table", "column"];
            if resource.resource_elements.keys().any(|key| !known.contains(&key.as_str())) {
                continue;
            }
            let own =
                options.catalog.as_deref().and_then(Pattern::read).map(|name| Names::exactly(vec![name]));
            let Some(catalogs) = names("catalog")?.or(own) else {
                return Err(ImportError::Missing(
                    "the tags name no catalog: say it with --catalog".to_owned(),
                ));
            };
            let schemas = names("schema")?.or(names("database")?).unwrap_or_else(Names::any);
            let of = tables(
                &catalogs.identifiers(),
                &schemas.identifiers(),
                &names("table")?.unwrap_or_else(Names::any).identifiers(),
            )
            .may;
            let columns = names("column")?;
            for id in file.resource_to_tag_ids.get(&resource.id.to_string()).into_iter().flatten() {
                let tag = file
                    .tags
                    .get(&id.to_string())
                    .ok_or_else(|| unreadable("a tag that is used is not there"))?;
                let tagged = tags.entry(tag.kind.clone()).or_default();
                match &columns {
                    None => tagged.tables.extend(of.iter().cloned()),
                    Some(columns) => {
                        for table in &of {
                            let name = |column: &Pattern| super::unity::quoted(column.text());
                            tagged.columns.extend(
                                columns.may.iter().map(|one| format!("{}.{}", table.text(), name(one))),
                            );
                        }
                    }
                }
            }
        }
        Ok(Self(Some(tags)))
    }

    /// The tags of some names. Without a file of tags nobody knows what has them.
    pub(super) fn named(&self, wanted: &[Pattern], label: &str) -> Result<Found, ImportError> {
        let Some(tags) = &self.0 else {
            return Err(ImportError::Missing(format!(
                "{} is about tags: give what has which tag with --tags (Ranger's /service/tags/download/SERVICE)",
                one_line(label)
            )));
        };
        let mut found = Found { columns: BTreeSet::new(), tables: Vec::new() };
        for (name, tagged) in tags {
            if Pattern::read(name).is_none_or(|name| wanted.iter().any(|one| one.overlaps(&name))) {
                if !tagged.columns.is_empty() {
                    found.columns.insert(name.clone());
                }
                found.tables.extend(tagged.tables.iter().cloned());
            }
        }
        Ok(found)
    }

    /// The columns of the tags that are used.
    pub(super) fn columns(&self, used: &BTreeSet<&String>) -> Vec<(String, Vec<String>)> {
        let tags = self.0.iter().flatten().filter(|(name, _)| used.contains(name));
        tags.map(|(name, tagged)| (name.clone(), tagged.columns.clone())).collect()
    }
}
