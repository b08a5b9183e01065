//! Stage 5: what a relation is.
//!
//! Asked of Trino itself, by the gateway's own user, and remembered for a short while. What doesn't exist,
//! whether table, schema or catalog, is not found, all alike. Metadata tables (`"t$files"`) have no description.

mod describe;
mod engine;
mod error;
mod flight;
mod relation;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::units::Span;

pub use engine::{Engine, EngineError, Metadata, MetadataQuery};
pub use error::CatalogError;
pub use relation::{Column, Described, RelationKind, TableName};
pub use types::{RowField, Type};

use flight::{Answer, Flights};

/// How many bytes of views' definitions are remembered.
const DEFINITIONS: u64 = 16 << 20;
/// How many relations one metadata query describes.
const BATCH: usize = 50;

/// The `[catalog]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a description is believed.
    pub life: Span,
    /// How many relations are remembered.
    pub relations: u64,
    /// How many metadata queries run at once.
    pub queries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { life: Span(Duration::from_secs(30)), relations: 10_000, queries: 8 }
    }
}

/// Describes relations. Clones are the same catalog.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    known: Cache<TableName, Arc<Described>>,
    definitions: Cache<TableName, Arc<str>>,
    flights: Flights,
    queries: Semaphore,
}

impl Catalog {
    /// An empty one.
    pub fn new(engine: Arc<dyn Engine>, config: Config) -> Self {
        let known = Cache::builder().max_capacity(config.relations).time_to_live(config.life.0).build();
        let definitions = Cache::builder()
            .weigher(|_: &TableName, text: &Arc<str>| u32::try_from(text.len()).unwrap_or(u32::MAX))
            .max_capacity(DEFINITIONS)
            .time_to_live(config.life.0)
            .build();
        let queries = Semaphore::new(config.queries.clamp(1, Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner { engine, known, definitions, flights: Flights::default(), queries }))
    }

    /// One that knows relations, and definitions of the views among them, without anybody being asked.
    pub fn of(relations: Vec<Described>, definitions: Vec<(TableName, String)>) -> Self {
        let (life, most) = (Span(Duration::from_secs(1 << 31)), relations.len() as u64 + 1);
        let config = Config { life, relations: most, queries: 1 };
        let catalog = Self::new(Arc::new(engine::Nothing), config);
        for relation in relations {
            catalog.0.known.insert(relation.name.clone(), Arc::new(relation));
        }
        for (view, text) in definitions {
            catalog.0.definitions.insert(view, text.into());
        }
        catalog
    }

    /// Describes relations, in the order of the names. Of several that can't be described the first one's error is
    /// given. Whoever asks for what is being asked for already waits for that answer; a caller that goes away
    /// disturbs nobody.
    pub async fn describe(&self, names: &[TableName]) -> Result<Vec<Arc<Described>>, CatalogError> {
        if let Some(name) = names.iter().find(|name| name.is_metadata()) {
            return Err(CatalogError::Hidden(name.clone()));
        }
        let mut waiting: BTreeMap<&TableName, flight::Waiter> = BTreeMap::new();
        let mut found: BTreeMap<&TableName, Arc<Described>> = BTreeMap::new();
        let mut departing: BTreeMap<(&str, &str), Vec<flight::Flight>> = BTreeMap::new();
        for name in names {
            if found.contains_key(name) || waiting.contains_key(name) {
                continue;
            }
            if let Some(known) = self.0.known.get(name) {
                found.insert(name, known);
                continue;
            }
            let (waiter, flight) = self.0.flights.board(name);
            waiting.insert(name, waiter);
            if let Some(flight) = flight {
                departing.entry((&name.catalog, &name.schema)).or_default().push(flight);
            }
        }
        for (_, mut flights) in departing {
            while !flights.is_empty() {
                let rest = flights.split_off(flights.len().min(BATCH));
                let inner = Arc::clone(&self.0);
                tokio::spawn(async move { inner.ask(flights).await });
                flights = rest;
            }
        }
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            if let Some(waiter) = waiting.remove(name) {
                found.insert(name, waiter.answer().await?);
            }
            // Every name is in one of the two.
            let known = found.get(name).ok_or_else(|| CatalogError::NotFound(name.clone()))?;
            all.push(Arc::clone(known));
        }
        Ok(all)
    }

    /// The query that a view or a materialized view is made of, as Trino keeps it.
    pub async fn definition(&self, view: &TableName) -> Result<Arc<str>, CatalogError> {
        if let Some(known) = self.0.definitions.get(view) {
            return Ok(known);
        }
        let rows = {
            let _turn = self.0.queries.acquire().await;
            self.0.engine.metadata(&describe::definition(view)).await.map_err(CatalogError::Engine)?
        };
        let [row] = &rows[..] else { return Err(CatalogError::NotFound(view.clone())) };
        let text = row.first().and_then(serde_json::Value::as_str);
        let text = text.ok_or_else(|| CatalogError::NotFound(view.clone()))?;
        let text: Arc<str> = text.into();
        self.0.definitions.insert(view.clone(), Arc::clone(&text));
        Ok(text)
    }

    /// Forgets descriptions, since Trino did not agree with them. An answer that is under way is not kept.
    pub fn forget(&self, names: &[TableName]) {
        for name in names {
            self.0.flights.cancel(name);
            self.0.known.invalidate(name);
            self.0.definitions.invalidate(name);
        }
    }
}

impl Inner {
    /// Describes relations of one schema and answers all who wait for them.
    async fn ask(&self, flights: Vec<flight::Flight>) {
        let names: Vec<TableName> = flights.iter().map(|flight| flight.name().clone()).collect();
        let answer = self.fetch(&names).await;
        for flight in flights {
            let answer: Answer = match &answer {
                Ok(found) => found
                    .get(flight.name())
                    .cloned()
                    .unwrap_or_else(|| Err(CatalogError::NotFound(flight.name().clone()))),
                Err(EngineError::Query { name, .. })
                    if matches!(name.as_str(), "CATALOG_NOT_FOUND" | "SCHEMA_NOT_FOUND") =>
                {
                    Err(CatalogError::NotFound(flight.name().clone()))
                }
                Err(error) => Err(CatalogError::Engine(error.clone())),
            };
            flight.land(answer, |name, described| self.known.insert(name, described));
        }
    }

    async fn fetch(&self, names: &[TableName]) -> Result<BTreeMap<TableName, Answer>, EngineError> {
        let Some(query) = describe::query(names) else {
            return Ok(BTreeMap::new());
        };
        let _turn = self.queries.acquire().await;
        let rows = self.engine.metadata(&query).await?;
        Ok(describe::read(names, &rows))
    }
}
