//! Stage 5: what a relation is.
//!
//! Asked of Trino itself, by the gateway's own user, and remembered for a short while. What doesn't exist,
//! whether table, schema or catalog, is not found, all alike. Metadata tables (`"t$files"`) have no description.

mod describe;
mod engine;
mod error;
mod flight;
mod json;
mod noted;
mod predicate;
mod relation;
pub mod rest;
mod restriction;
mod schema;
#[cfg(test)]
mod tests;
mod types;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::shares::{Share, Shares};
use crate::sql::fold_name;
use crate::telemetry::About;
use crate::units::Span;

pub use engine::{Engine, EngineError, Metadata, MetadataQuery};
pub use error::CatalogError;
pub use noted::Noted;
pub use predicate::{Literal, Predicate, Reference, Term, Test, Transform};
pub use relation::{Column, Described, RelationKind, TableName};
pub use restriction::{Action, Projection, ReadRestrictions};
pub use schema::{Field, FieldType, Schema};
pub use types::{RowField, Type};
pub use version::Version;

use rest::{Extent, Granted, Outline, RestCatalog, Ruling, Subject};

use flight::{Answer, Flights};

/// How many bytes of views' definitions are remembered.
const DEFINITIONS: u64 = 16 << 20;
/// How many relations one metadata query describes.
const BATCH: usize = 50;

/// The `[catalog]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a description is believed.
    pub life: Span,
    /// How many relations are remembered.
    pub relations: u64,
    /// How many metadata queries run at once.
    pub queries: usize,
    /// Iceberg REST catalogs, by what Trino calls them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rest: BTreeMap<String, rest::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self { life: Span(Duration::from_secs(30)), relations: 10_000, queries: 8, rest: BTreeMap::new() }
    }
}

/// Describes relations, as one engine has them. Clones are the same catalog.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
    /// Where it is noted what was said, if that is wanted.
    noted: Option<Noted>,
    /// For whom it is asked, if somebody does.
    whose: Option<Arc<str>>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    known: Cache<TableName, Arc<Described>>,
    definitions: Cache<TableName, Arc<str>>,
    flights: Flights,
    queries: Semaphore,
    /// How many of these one principal may have: half. Else whoever asks for much keeps everybody else waiting.
    shares: Shares<Arc<str>>,
    rest: Arc<BTreeMap<String, RestCatalog>>,
    life: Duration,
    relations: u64,
    at_once: usize,
}

impl Catalog {
    /// An empty one. Nobody is asked anything yet.
    ///
    /// # Errors
    /// A REST catalog's configuration is not in order, or a file that it names cannot be read.
    pub fn new(engine: Arc<dyn Engine>, config: Config) -> Result<Self, String> {
        let mut rest = BTreeMap::new();
        for (name, one) in config.rest {
            let in_section = |why: String| format!("[catalog.rest.{name}] {why}");
            let folded = fold_name(&name).filter(|folded| *folded == name);
            let folded = folded.ok_or_else(|| in_section("the name must be as Trino has it".to_owned()))?;
            rest.insert(folded, RestCatalog::new(&name, one).map_err(in_section)?);
        }
        Ok(Self::with(engine, Arc::new(rest), config.life.0, config.relations, config.queries))
    }

    fn with(
        engine: Arc<dyn Engine>,
        rest: Arc<BTreeMap<String, RestCatalog>>,
        life: Duration,
        relations: u64,
        at_once: usize,
    ) -> Self {
        let known = Cache::builder().max_capacity(relations).time_to_live(life).build();
        let definitions = Cache::builder()
            .weigher(|_: &TableName, text: &Arc<str>| u32::try_from(text.len()).unwrap_or(u32::MAX))
            .max_capacity(DEFINITIONS)
            .time_to_live(life)
            .build();
        let queries = Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS));
        let (flights, shares) = (Flights::default(), Shares::new((at_once / 2).max(1)));
        let inner =
            Inner { engine, known, definitions, flights, queries, shares, rest, life, relations, at_once };
        Self { inner: Arc::new(inner), noted: None, whose: None }
    }

    /// A catalog of another engine, beside the same REST catalogs.
    #[must_use]
    pub fn beside(&self, engine: Arc<dyn Engine>) -> Self {
        let Inner { rest, life, relations, at_once, .. } = &*self.inner;
        Self::with(engine, Arc::clone(rest), *life, *relations, *at_once)
    }

    /// The same catalog, and what it says through this value from now on.
    pub fn noting(&self) -> (Self, Noted) {
        let noted = Noted::default();
        (
            Self { inner: Arc::clone(&self.inner), noted: Some(noted.clone()), whose: self.whose.clone() },
            noted,
        )
    }

    /// What REST catalogs say of relations for somebody: of those relations whose catalog is one.
    ///
    /// # Errors
    /// One has no answer, or does not agree with Trino. That somebody may not read is an answer.
    pub async fn rulings(
        &self,
        subject: &Subject<'_>,
        relations: &[Arc<Described>],
    ) -> Result<Vec<(TableName, Arc<Ruling>)>, CatalogError> {
        let asked = relations.iter().filter_map(|described| {
            let rest = self.inner.rest.get(&described.name.catalog)?;
            Some(self.ruling(rest, subject, described))
        });
        try_join_all(asked).await
    }

    async fn ruling(
        &self,
        rest: &RestCatalog,
        subject: &Subject<'_>,
        described: &Described,
    ) -> Result<(TableName, Arc<Ruling>), CatalogError> {
        let name = &described.name;
        let differs = |ruling: &Ruling| {
            let schema = ruling.facts.as_ref().and_then(|facts| facts.schema.as_ref());
            schema.and_then(|schema| schema.disagreement(described))
        };
        let mut ruling = rest.ruling(subject, described).await.map_err(|error| of_rest(name, error))?;
        if differs(&ruling).is_some() {
            // Trino has seen a change that the catalog's last answer has not.
            rest.forget(subject, name).await;
            ruling = rest.ruling(subject, described).await.map_err(|error| of_rest(name, error))?;
        }
        match differs(&ruling) {
            None => Ok((name.clone(), Arc::new(ruling))),
            Some(why) => {
                // Or the other way round: Trino is asked again for the next query.
                self.forget(std::slice::from_ref(name));
                Err(CatalogError::Differs { name: name.clone(), why })
            }
        }
    }

    /// The states of tables as their REST catalogs tell them now, or told them at most `freshness` ago, in the order of the
    /// names; none of a table of another catalog, of one that the subject may not read, and of one whose catalog does not
    /// say. All are asked at once.
    ///
    /// # Errors
    /// A catalog has no answer. What was true before is none.
    pub async fn versions(
        &self,
        tables: &[(TableName, Subject<'_>)],
        freshness: Duration,
    ) -> Result<Vec<Option<Version>>, CatalogError> {
        let asked = tables.iter().map(async |(name, subject)| {
            let Some(rest) = self.inner.rest.get(&name.catalog) else { return Ok(None) };
            rest.version(subject, name, freshness).await.map_err(|error| of_rest(name, error))
        });
        try_join_all(asked).await
    }

    /// Whether a REST catalog tells the states of a catalog's tables.
    pub fn tells_versions(&self, catalog: &str) -> bool {
        self.inner.rest.contains_key(catalog)
    }

    /// The catalogs that decide who may read.
    pub fn deciding(&self) -> impl Iterator<Item = &str> {
        self.inner.rest.iter().filter(|(_, rest)| rest.decides()).map(|(name, _)| name.as_str())
    }

    /// All that somebody may read of a catalog that decides; nothing of others.
    ///
    /// # Errors
    /// The catalog has no answer, or too many tables to look at.
    pub async fn readable(&self, subject: &Subject<'_>, catalog: &str) -> Result<Vec<Extent>, CatalogError> {
        let Some(rest) = self.inner.rest.get(catalog).filter(|rest| rest.decides()) else {
            return Ok(Vec::new());
        };
        rest.readable(subject)
            .await
            .map_err(|error| CatalogError::Rest { catalog: catalog.to_owned(), error })
    }

    /// The catalogs that a REST catalog is behind.
    pub fn with_rest(&self) -> impl Iterator<Item = &str> {
        self.inner.rest.keys().map(String::as_str)
    }

    /// Whether policies may be attached to a catalog's tables that hide columns of theirs.
    ///
    /// # Errors
    /// The catalog has no answer.
    pub async fn attaches(&self, subject: &Subject<'_>, catalog: &str) -> Result<bool, CatalogError> {
        let Some(rest) = self.inner.rest.get(catalog) else { return Ok(false) };
        rest.attaches(subject)
            .await
            .map_err(|error| CatalogError::Rest { catalog: catalog.to_owned(), error })
    }

    /// What a REST catalog says of the columns of all that it tells somebody of.
    ///
    /// # Errors
    /// The catalog has no answer, or too many tables to look at.
    pub async fn outlines(&self, subject: &Subject<'_>, catalog: &str) -> Result<Vec<Outline>, CatalogError> {
        let Some(rest) = self.inner.rest.get(catalog) else { return Ok(Vec::new()) };
        rest.outlines(subject)
            .await
            .map_err(|error| CatalogError::Rest { catalog: catalog.to_owned(), error })
    }

    /// What the grants of Polaris give to somebody in a catalog; none where grants don't decide there.
    ///
    /// # Errors
    /// The catalog has no answer.
    pub async fn granted(
        &self,
        subject: &Subject<'_>,
        catalog: &str,
    ) -> Result<Option<Granted>, CatalogError> {
        let Some(rest) = self.inner.rest.get(catalog) else { return Ok(None) };
        rest.granted(subject).await.map_err(|error| CatalogError::Rest { catalog: catalog.to_owned(), error })
    }

    /// One that knows relations, and definitions of the views among them, without anybody being asked.
    pub fn of(relations: Vec<Described>, definitions: Vec<(TableName, String)>) -> Self {
        let known = Cache::builder().max_capacity(relations.len() as u64 + 1).build();
        for relation in relations {
            known.insert(relation.name.clone(), Arc::new(relation));
        }
        let kept = Cache::builder().max_capacity(definitions.len() as u64 + 1).build();
        for (view, text) in definitions {
            kept.insert(view, text.into());
        }
        let inner = Inner {
            engine: Arc::new(engine::Nothing),
            known,
            definitions: kept,
            flights: Flights::default(),
            queries: Semaphore::new(1),
            shares: Shares::new(1),
            rest: Arc::default(),
            life: Duration::MAX,
            relations: 0,
            at_once: 1,
        };
        Self { inner: Arc::new(inner), noted: None, whose: None }
    }

    /// The same, asked for this principal, who has half of the turns at Trino and no more.
    #[must_use]
    pub fn asked_by(self, principal: &str) -> Self {
        Self { whose: Some(principal.into()), ..self }
    }

    /// The principal's turn to ask; the others wait for theirs before anybody else can wait for what they ask.
    async fn turn(&self) -> Option<Share<Arc<str>>> {
        let whose = self.whose.as_ref()?;
        self.inner.shares.take(Arc::clone(whose), 1).await
    }

    /// Describes relations, in the order of the names. Of several that can't be described the first one's error is
    /// given. Whoever asks for what is being asked for already waits for that answer; a caller that goes away
    /// disturbs nobody.
    pub async fn describe(&self, names: &[TableName]) -> Result<Vec<Arc<Described>>, CatalogError> {
        if let Some(name) = names.iter().find(|name| name.is_metadata()) {
            return Err(CatalogError::Hidden(name.clone()));
        }
        let is_known = names.iter().all(|name| self.inner.known.contains_key(name));
        let _turn = if is_known { None } else { self.turn().await };
        let mut waiting: BTreeMap<&TableName, flight::Waiter> = BTreeMap::new();
        let mut found: BTreeMap<&TableName, Arc<Described>> = BTreeMap::new();
        let mut departing: BTreeMap<(&str, &str), Vec<flight::Flight>> = BTreeMap::new();
        for name in names {
            if found.contains_key(name) || waiting.contains_key(name) {
                continue;
            }
            if let Some(known) = self.inner.known.get(name) {
                found.insert(name, known);
                continue;
            }
            let (waiter, flight) = self.inner.flights.board(name);
            waiting.insert(name, waiter);
            if let Some(flight) = flight {
                departing.entry((&name.catalog, &name.schema)).or_default().push(flight);
            }
        }
        for (_, mut flights) in departing {
            while !flights.is_empty() {
                let rest = flights.split_off(flights.len().min(BATCH));
                let inner = Arc::clone(&self.inner);
                tokio::spawn(About::current().scope(async move { inner.ask(flights).await }));
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
        if let Some(noted) = &self.noted {
            noted.described(&all);
        }
        Ok(all)
    }

    /// The query that a view or a materialized view is made of, as Trino keeps it.
    pub async fn definition(&self, view: &TableName) -> Result<Arc<str>, CatalogError> {
        let definition = self.definition_of(view).await?;
        if let Some(noted) = &self.noted {
            noted.defined(view, &definition);
        }
        Ok(definition)
    }

    async fn definition_of(&self, view: &TableName) -> Result<Arc<str>, CatalogError> {
        if let Some(known) = self.inner.definitions.get(view) {
            return Ok(known);
        }
        let rows = {
            let _turn = (self.turn().await, self.inner.queries.acquire().await);
            self.inner.engine.metadata(&describe::definition(view)).await.map_err(CatalogError::Engine)?
        };
        let [row] = &rows[..] else { return Err(CatalogError::NotFound(view.clone())) };
        let text = row.first().and_then(serde_json::Value::as_str);
        let text = text.ok_or_else(|| CatalogError::NotFound(view.clone()))?;
        let text: Arc<str> = text.into();
        self.inner.definitions.insert(view.clone(), Arc::clone(&text));
        Ok(text)
    }

    /// Forgets descriptions, since Trino did not agree with them. An answer that is under way is not kept.
    pub fn forget(&self, names: &[TableName]) {
        for name in names {
            self.inner.flights.cancel(name);
            self.inner.known.invalidate(name);
            self.inner.definitions.invalidate(name);
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

fn of_rest(name: &TableName, error: rest::RestError) -> CatalogError {
    CatalogError::Rest { catalog: name.catalog.clone(), error }
}
