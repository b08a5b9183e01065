//! Answers that are given again: whether there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::tz::TimeZone;

use super::Gateway;
use super::collector::Collector;
use super::plan::{Planned, Seen};
use super::registry::Running;
use crate::admission::Metered;
use crate::audit::Cached;
use crate::cache::{Boarding, Cache, Entry, Landed, Load, Looked, Nature, Parts, Purge, Reason, Stand, Stem};
use crate::catalog::rest::Subject;
use crate::catalog::{Catalog, TableName};
use crate::state::StoreError;
use crate::telemetry;

/// What became of a question to the cache.
pub(super) const CACHE: HeaderName = HeaderName::from_static("x-northgate-cache");
/// What begins the client tag by which a user says what they wish of the cache.
const WISH: &str = "cache=";
/// What may be wished by `SET SESSION`.
pub(super) const CACHE_WISHES: [&str; 3] = ["on", "off", "refresh"];
/// How long before and after midnight it is not sure which day Trino has.
const MIDNIGHT: i64 = 5 * 60;

/// How often a query waits for the answer of another before it is run as it is.
const MOST_FOLLOWED: usize = 3;
/// After what time in the queue it is looked again.
const LONG: Duration = Duration::from_millis(100);

/// A question that may have been asked before.
pub(super) struct Wanted {
    stem: Stem,
    pub(super) nature: Nature,
    /// What tells the states of tables.
    catalog: Catalog,
    /// The version of the Trino that is asked.
    pub(super) trino: String,
    pub(super) caller: Arc<Metered>,
    /// The zone of the day, if Trino is told one.
    zone: Option<TimeZone>,
    /// How long an answer holds at most.
    pub(super) life: Duration,
    /// Whether only a new answer will do.
    anew: bool,
    pub(super) tags: BTreeSet<String>,
    pub(super) revision: String,
}

/// What is done about an answer.
pub(super) enum Course {
    /// Trino is asked: there is no cache.
    Off,
    /// Trino is asked, and the answer is not kept.
    Bypass(Reason),
    /// It is here.
    Hit(Arc<Entry>),
    /// Trino is asked, and the answer may be kept.
    Lead(Box<Collector>),
}

impl Course {
    /// What the audit says of it.
    pub(super) fn record(&self) -> Cached {
        let said = |cache: &str, origin: Option<&str>, reason: Option<&str>| Cached {
            cache: Some(cache.to_owned()),
            cache_origin: origin.map(str::to_owned),
            cache_reason: reason.map(str::to_owned),
        };
        match self {
            Self::Off => Cached::default(),
            Self::Bypass(reason) => said("bypass", None, Some(reason.word())),
            Self::Hit(entry) => said("hit", Some(&entry.about().origin), None),
            Self::Lead(_) => said("miss", None, None),
        }
    }

    /// What the client is told of it, where Trino is asked.
    pub(super) fn told(&self) -> Option<HeaderValue> {
        match self {
            Self::Off => None,
            Self::Bypass(reason) => HeaderValue::try_from(format!("bypass; {}", reason.word())).ok(),
            _ => Some(HeaderValue::from_static("miss")),
        }
    }
}

/// What Trino is told of the session, as far as an answer may depend on it.
struct Told<'a> {
    time_zone: Option<&'a [u8]>,
    language: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    /// The client's, and that of its class: by these Trino may give a query properties of its own.
    tags: Vec<&'a [u8]>,
    properties: Vec<&'a [u8]>,
    capabilities: Vec<&'a str>,
}

impl<'a> Told<'a> {
    /// None where Trino is told something that is not on the list.
    fn of(headers: &'a HeaderMap, capabilities: &'a [String]) -> Option<Self> {
        let mut told = Self {
            time_zone: None,
            language: None,
            source: None,
            tags: Vec::new(),
            properties: Vec::new(),
            capabilities: capabilities.iter().map(String::as_str).collect(),
        };
        told.capabilities.sort_unstable();
        told.capabilities.dedup();
        for (name, value) in headers {
            let value = value.as_bytes();
            match name.as_str() {
                "x-trino-time-zone" => told.time_zone = Some(value),
                "x-trino-language" => told.language = Some(value),
                "x-trino-source" => told.source = Some(value),
                "x-trino-session" => told.properties.push(value),
                "x-trino-client-tags" => told.tags.extend(value.split(|byte| *byte == b',')),
                // Their own parts; or nothing that an answer depends on.
                "x-trino-client-capabilities"
                | "x-trino-user"
                | "x-trino-trace-token"
                | "x-trino-client-info"
                | "accept-encoding"
                | "content-type" => {}
                "x-trino-transaction-id" if value == b"NONE" => {}
                _ => return None,
            }
        }
        told.tags.retain(|tag| !tag.starts_with(WISH.as_bytes()));
        told.tags.sort_unstable();
        told.tags.dedup();
        Some(told)
    }
}

impl Wanted {
    /// The day that an answer is of; none where it does not matter.
    pub(super) fn date(&self) -> Result<Option<String>, Reason> {
        if !self.nature.date {
            return Ok(None);
        }
        let zone = self.zone.clone().ok_or(Reason::Day)?;
        let now = jiff::Timestamp::now().to_zoned(zone);
        let seconds = |day: jiff::Zoned| day.timestamp().as_second();
        let today = now.start_of_day().map_err(|_| Reason::Day)?;
        let tomorrow = now.tomorrow().and_then(|day| day.start_of_day()).map_err(|_| Reason::Day)?;
        let second = now.timestamp().as_second();
        if second - seconds(today) < MIDNIGHT || seconds(tomorrow) - second < MIDNIGHT {
            return Err(Reason::Day);
        }
        Ok(Some(now.date().to_string()))
    }
}

impl Gateway {
    /// Removes answers that are kept, at all gateways that share them, and says how many.
    ///
    /// # Errors
    /// The state that gateways share does not answer: some may still be there.
    pub async fn purge(&self, purge: &Purge) -> Result<usize, StoreError> {
        match &self.cache {
            Some(cache) => cache.purge(purge).await,
            None => Ok(0),
        }
    }

    /// How much is kept.
    pub fn cache_load(&self) -> Load {
        self.cache.as_ref().map(Cache::load).unwrap_or_default()
    }

    /// What is done about the answer to a statement that is ready to be sent.
    pub(super) async fn course(
        &self,
        caller: &Arc<Metered>,
        planned: &Planned,
        seen: &Seen,
        headers: &HeaderMap,
    ) -> Course {
        let Some(cache) = &self.cache else { return Course::Off };
        if self.replicas.are_several() && !cache.is_shared() {
            // Another gateway, where the next page may be asked for, does not have it.
            self.metrics.cache_lookup(telemetry::Cached::Bypass);
            return Course::Bypass(Reason::Several);
        }
        let course = match Self::wanted(cache, caller, planned, seen, headers) {
            Ok(wanted) => self.look(cache, Arc::new(wanted)).await,
            Err(reason) => Course::Bypass(reason),
        };
        if caller.authenticated().is_warming() {
            // Nobody has asked.
            return course;
        }
        self.metrics.cache_lookup(match &course {
            Course::Off | Course::Bypass(_) => telemetry::Cached::Bypass,
            Course::Hit(_) => telemetry::Cached::Hit,
            Course::Lead(_) => telemetry::Cached::Miss,
        });
        course
    }

    /// The question, if it is one that may have been asked before.
    pub(super) fn wanted(
        cache: &Cache,
        caller: &Arc<Metered>,
        planned: &Planned,
        seen: &Seen,
        headers: &HeaderMap,
    ) -> Result<Wanted, Reason> {
        let nature = match &planned.nature {
            Some(judged) => judged.clone()?,
            None => return Err(Reason::Kind(planned.sql.kind())),
        };
        let authenticated = caller.authenticated();
        let session = authenticated.call().session();
        if session.transaction.is_some() {
            return Err(Reason::Transaction);
        }
        let mut anew = false;
        let tags = session.client_tags.iter().filter_map(|tag| tag.strip_prefix(WISH));
        for wish in tags.chain(session.cache.as_deref()) {
            match wish {
                "on" => {}
                "refresh" => anew = true,
                // What is not understood is not meant to save time.
                _ => return Err(Reason::Wish),
            }
        }
        let trino = planned.place.version().ok_or(Reason::Cluster)?;
        let told = Told::of(headers, &session.client_capabilities).ok_or(Reason::Session)?;
        if planned.sql.prepared().is_some() {
            return Err(Reason::Session);
        }
        let revision = planned.permit.revision().to_string();
        let by_user = nature.user || !cache.config().shared;
        let parts = Parts {
            text: planned.sql.text(),
            kind: planned.sql.kind(),
            restricted: planned.sql.restricted(),
            catalog: session.catalog.as_deref(),
            schema: session.schema.as_deref(),
            time_zone: told.time_zone,
            language: told.language,
            source: told.source,
            tags: &told.tags,
            properties: &told.properties,
            capabilities: &told.capabilities,
            cluster: planned.place.group(),
            trino: &trino,
            revision: &revision,
            user: by_user.then(|| authenticated.principal().name()),
        };
        let zone = told.time_zone.and_then(|name| std::str::from_utf8(name).ok());
        let unversioned = nature.tables.values().filter(|table| !table.versioned);
        let life = unversioned.filter_map(|table| table.cached_for).min();
        Ok(Wanted {
            stem: parts.stem(),
            zone: zone.and_then(|name| TimeZone::get(name).ok()),
            life: life.unwrap_or(Duration::MAX).min(cache.config().life.0),
            nature,
            catalog: planned.place.catalog().clone(),
            trino,
            caller: Arc::clone(caller),
            anew,
            tags: seen.tables.iter().flat_map(|table| table.tags.values().flatten().cloned()).collect(),
            revision,
        })
    }

    /// The states of all tables that an answer depends on.
    pub(super) async fn stands(
        wanted: &Wanted,
        freshness: Duration,
    ) -> Result<BTreeMap<TableName, Stand>, Reason> {
        let caller = wanted.caller.authenticated();
        let told = wanted.nature.tables.iter().filter(|(_, table)| table.versioned);
        let tables: Vec<(TableName, Subject<'_>)> = told
            .map(|(name, table)| {
                let (principal, token) = (caller.principal(), caller.token());
                (name.clone(), Subject { principal, token, is_run_as: table.by_policy })
            })
            .collect();
        let versions = wanted.catalog.versions(&tables, freshness).await.map_err(|error| {
            tracing::info!(%error, "an answer is not looked for");
            Reason::CatalogSilent
        })?;
        let mut stands = BTreeMap::new();
        for ((name, _), version) in tables.into_iter().zip(versions) {
            let version = version.ok_or_else(|| Reason::NoVersion(name.clone()))?;
            stands.insert(name, Stand::At(version));
        }
        for (name, table) in &wanted.nature.tables {
            if !stands.contains_key(name) {
                if table.versioned || table.cached_for.is_none() {
                    return Err(Reason::NoVersion(name.clone()));
                }
                stands.insert(name.clone(), Stand::Unknown);
            }
        }
        Ok(stands)
    }

    /// Looks for an answer.
    pub(super) async fn look(&self, cache: &Cache, wanted: Arc<Wanted>) -> Course {
        let stands = match Self::stands(&wanted, cache.config().freshness.0).await {
            Ok(stands) => stands,
            Err(reason) => return Course::Bypass(reason),
        };
        let date = match wanted.date() {
            Ok(date) => date,
            Err(reason) => return Course::Bypass(reason),
        };
        let key = wanted.stem.key(date.as_deref(), &stands);
        let Ok(Looked { entry, corrupt, epoch }) = cache.look(&key).await else {
            return Course::Bypass(Reason::StateSilent);
        };
        if corrupt {
            self.metrics.cache_answer(telemetry::Kept::Corrupt);
        }
        if !wanted.anew {
            // Where the policies of another let it be given for longer, that is theirs.
            if let Some(entry) = entry.filter(|entry| entry.age() < wanted.life) {
                return Course::Hit(entry);
            }
            if cache.is_hopeless(&key) {
                return Course::Bypass(Reason::TooLarge);
            }
        }
        let most = usize::try_from(cache.config().max_result.0).unwrap_or(usize::MAX);
        let bounds = (epoch, cache.room(), most);
        Course::Lead(Box::new(Collector::new(key, wanted, stands, date, bounds)))
    }

    /// What is done about an answer now that Trino may be asked: it may be here by now, or be on its way, and is waited for then.
    /// None if the query is cancelled meanwhile.
    pub(super) async fn joined(&self, running: &Running, course: Course, waited: Duration) -> Option<Course> {
        let Some(cache) = &self.cache else { return Some(course) };
        let mut collector = match course {
            Course::Lead(collector) => collector,
            course => return Some(course),
        };
        let mut again = waited >= LONG;
        let mut follows = true;
        for _ in 0..MOST_FOLLOWED {
            if again {
                // What its tables were like is a while ago.
                match self.look(cache, Arc::clone(&collector.wanted)).await {
                    Course::Lead(newer) => collector = newer,
                    course => return Some(course),
                }
            }
            if !follows {
                break;
            }
            let key = collector.key;
            let boarding =
                if collector.wanted.anew { Boarding::Lead(cache.lead(key)) } else { cache.board(key) };
            let follow = match boarding {
                Boarding::Lead(lead) => {
                    // It may have come since it was looked for.
                    let wanted = &collector.wanted;
                    let here = cache.look(&key).await.ok().and_then(|looked| looked.entry);
                    if let Some(entry) = here.filter(|entry| !wanted.anew && entry.age() < wanted.life) {
                        return Some(Course::Hit(entry));
                    }
                    collector.lead = Some(lead);
                    break;
                }
                Boarding::Follow(follow) => follow,
            };
            let landed = tokio::select! {
                landed = follow.landed() => landed,
                () = running.until_canceled() => return None,
            };
            match landed {
                Landed::Answer(entry) if entry.age() < collector.wanted.life => {
                    return Some(Course::Hit(entry));
                }
                Landed::Answer(_) | Landed::Failed => follows = false,
                Landed::Lost => {}
            }
            again = true;
        }
        Some(Course::Lead(collector))
    }
}
