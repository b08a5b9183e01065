//! How a catalog classifies its tables, read and changed by whoever looks after them. No query comes here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Loaded, Loading};
use super::error::RestError;
use super::facts::{CLASSIFICATION, MOST_TAGS, words_of};
use super::{Caller, Config};
use crate::catalog::Schema;

/// How many tables are loaded at once.
const AT_ONCE: usize = 8;
/// The most namespaces and the most tables that are looked through.
const MOST_NAMESPACES: usize = 20_000;
const MOST_TABLES: usize = 200_000;
/// How often a change is tried that another one got in the way of.
const TRIES: usize = 2;
/// The most schemas of before that are looked at.
const MOST_SCHEMAS: usize = 1_000;
/// The properties that say where a table's files are put, beside its location.
const PLACES: [&str; 3] = ["write.data.path", "write.object-storage.path", "write.folder-storage.path"];

/// The name of a table in its catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    /// The levels of its namespace.
    pub namespace: Vec<String>,
    /// Its own name.
    pub name: String,
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for level in &self.namespace {
            write!(f, "{level}.")?;
        }
        f.write_str(&self.name)
    }
}

/// A table and how it is classified.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Its name.
    pub table: Identifier,
    /// Which table it is, under whatever name.
    pub uuid: String,
    /// Where its files are, without a slash at the end: first its location, then where else they may be put.
    pub places: Vec<String>,
    /// Its columns.
    pub schema: Schema,
    /// Its columns as they were called before: files that were written then still call them so.
    pub former: Vec<Schema>,
    /// The tags of its fields, in lower case, by the fields' identifiers. Fields that were dropped keep theirs.
    pub tags: BTreeMap<i32, BTreeSet<String>>,
}

/// What is to become of the tags of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retagged {
    /// The tags that it gets.
    pub added: BTreeSet<String>,
    /// The tags that it loses.
    pub removed: BTreeSet<String>,
}

/// Reads and changes the classification of one catalog's tables, with the gateway's own token.
#[derive(Debug)]
pub struct Classification {
    client: Client,
    nested: bool,
}

#[derive(Deserialize)]
struct Answer {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "table-uuid", default)]
    uuid: String,
    #[serde(default)]
    location: String,
    #[serde(rename = "current-schema-id", default)]
    current: Value,
    #[serde(default)]
    schemas: Value,
    #[serde(default)]
    schema: Value,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

impl Classification {
    /// # Errors
    /// A file cannot be read, or the gateway has no token of its own for the catalog.
    pub fn new(config: &Config) -> Result<Self, String> {
        let client = Client::new(config)?;
        if !client.has_own_token() {
            return Err("the gateway has no token of its own for this catalog: give it a client_id and a \
                        client_secret_file, or a token_file"
                .to_owned());
        }
        Ok(Self { client, nested: config.nested_namespaces })
    }

    /// The tables of the catalog that are in namespaces which are wanted. Nested namespaces are looked into where Trino
    /// can name them.
    ///
    /// # Errors
    /// The catalog has no answer, or has more tables than are looked through.
    pub async fn tables(&self, wanted: impl Fn(&[String]) -> bool) -> Result<Vec<Identifier>, RestError> {
        let too_many = |count, what| RestError::Garbage(format!("more than {count} {what} to look through"));
        let mut namespaces: Vec<Vec<String>> = Vec::new();
        let mut open = vec![Vec::new()];
        while let Some(parent) = open.pop() {
            let levels: Vec<&str> = parent.iter().map(String::as_str).collect();
            let found = self.client.namespaces(&Caller::Gateway, &levels).await?;
            // A catalog that gives a namespace as one below itself would be asked without end.
            let found = found.into_iter().filter(|one| one.len() > parent.len());
            for namespace in found {
                if self.nested {
                    open.push(namespace.clone());
                }
                namespaces.push(namespace);
            }
            if namespaces.len() > MOST_NAMESPACES {
                return Err(too_many(MOST_NAMESPACES, "namespaces"));
            }
        }
        let mut tables = Vec::new();
        for namespace in namespaces.into_iter().filter(|namespace| wanted(namespace)) {
            let levels: Vec<&str> = namespace.iter().map(String::as_str).collect();
            for name in self.client.names(&Caller::Gateway, Loading::Table, &levels).await? {
                tables.push(Identifier { namespace: namespace.clone(), name });
            }
            if tables.len() > MOST_TABLES {
                return Err(too_many(MOST_TABLES, "tables"));
            }
        }
        Ok(tables)
    }

    /// Loads tables, and keeps those that are wanted for their name and places; one that was dropped since is left out.
    /// Those that cannot be read are given with the reason.
    pub async fn load(
        &self,
        tables: Vec<Identifier>,
        wanted: impl Fn(&Identifier, &[String]) -> bool,
    ) -> (Vec<Classified>, Vec<(Identifier, RestError)>) {
        let (mut read, mut failed) = (Vec::new(), Vec::new());
        let loads = tables.into_iter().map(|table| async {
            let metadata = self.metadata(&table).await;
            (table, metadata)
        });
        let mut loads = stream::iter(loads).buffered(AT_ONCE);
        while let Some((table, metadata)) = loads.next().await {
            match metadata {
                Ok(metadata) if !wanted(&table, &metadata.places()) => {}
                Ok(metadata) => match metadata.classified(table.clone()) {
                    Ok(classified) => read.push(classified),
                    Err(error) => failed.push((table, error)),
                },
                Err(RestError::NotFound(_)) => {}
                Err(error) => failed.push((table, error)),
            }
        }
        (read, failed)
    }

    async fn metadata(&self, table: &Identifier) -> Result<Metadata, RestError> {
        let levels: Vec<&str> = table.namespace.iter().map(String::as_str).collect();
        let loaded = self.client.load(&Caller::Gateway, Loading::Table, &levels, &table.name, None).await?;
        let Loaded::Changed { body, .. } = loaded else {
            return Err(RestError::Garbage("unchanged, though nothing is known of it".to_owned()));
        };
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| RestError::Garbage(error.to_string()))?;
        Ok(answer.metadata)
    }

    /// Changes the tags of fields of a table, as they are now: what others have added since it was read is kept. Where
    /// another change gets in the way, the table is read again and the change tried once more. (Iceberg has no way to ask
    /// that a property be as it was: of two who change the same field within the same moment, one may win.)
    ///
    /// # Errors
    /// The catalog refuses, has no answer (it may have made the change all the same), or has another table by that name.
    pub async fn write(
        &self,
        table: &Identifier,
        uuid: &str,
        changes: &BTreeMap<i32, Retagged>,
    ) -> Result<(), RestError> {
        let levels: Vec<&str> = table.namespace.iter().map(String::as_str).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            let now = self.metadata(table).await?.classified(table.clone())?;
            if now.uuid != uuid {
                return Err(RestError::Conflict("it is another table by now; import again".to_owned()));
            }
            let (set, removed) = properties(&now.tags, changes)?;
            if set.is_empty() && removed.is_empty() {
                return Ok(());
            }
            match self.client.set_properties(&levels, &table.name, uuid, &set, &removed).await {
                Err(RestError::Conflict(_)) if tries < TRIES => {}
                answer => return answer,
            }
        }
    }
}

/// The properties to set and to remove, so that fields of these tags are changed.
fn properties(
    tags: &BTreeMap<i32, BTreeSet<String>>,
    changes: &BTreeMap<i32, Retagged>,
) -> Result<(BTreeMap<String, String>, Vec<String>), RestError> {
    let none = BTreeSet::new();
    let (mut set, mut removed) = (BTreeMap::new(), Vec::new());
    let mut after = tags.clone();
    for (id, change) in changes {
        let before = tags.get(id).unwrap_or(&none);
        let words: BTreeSet<String> =
            before.difference(&change.removed).chain(&change.added).cloned().collect();
        if words == *before {
            continue;
        }
        let key = format!("{CLASSIFICATION}.{id}");
        if words.is_empty() {
            removed.push(key);
        } else {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let text = words.join(", ");
            // What was written must be read as it was meant.
            if words_of(&text)? != words {
                return Err(RestError::Garbage(format!("{text}: a tag that is none")));
            }
            set.insert(key, text);
        }
        after.insert(*id, words);
    }
    if after.values().map(BTreeSet::len).sum::<usize>() > MOST_TAGS {
        return Err(RestError::Garbage(format!("more than {MOST_TAGS} tags")));
    }
    Ok((set, removed))
}

impl Metadata {
    fn places(&self) -> Vec<String> {
        let others = PLACES.iter().filter_map(|key| self.properties.get(*key));
        let places = std::iter::once(&self.location).chain(others);
        let places = places.map(|place| place.trim_end_matches('/').to_owned());
        places.filter(|place| !place.is_empty()).collect()
    }

    fn classified(self, table: Identifier) -> Result<Classified, RestError> {
        if self.uuid.is_empty() {
            return Err(RestError::Garbage("the table has no uuid".to_owned()));
        }
        let places = self.places();
        let Self { uuid, current, schemas, schema, properties, .. } = self;
        // One of before that cannot be read has no names to give.
        let former = schemas.as_array().into_iter().flatten().rev().take(MOST_SCHEMAS);
        let former = former.filter(|one| one.get("schema-id") != Some(&current));
        let former =
            former.filter_map(|one| Schema::read(&serde_json::json!({"schema": one})).ok()).collect();
        let parts = serde_json::json!({"current-schema-id": current, "schemas": schemas, "schema": schema});
        let schema = Schema::read(&parts).map_err(|error| RestError::Garbage(format!("schema: {error}")))?;
        let mut tags = BTreeMap::new();
        for (key, words) in &properties {
            let Some(id) = key.strip_prefix(CLASSIFICATION).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let id: i32 =
                id.parse().map_err(|_| RestError::Garbage(format!("the property {key} names no field")))?;
            let words = words_of(words)
                .map_err(|_| RestError::Garbage(format!("the property {key} is no list of tags")))?;
            tags.insert(id, words.into_iter().collect());
        }
        Ok(Classified { table, uuid, places, schema, former, tags })
    }
}
