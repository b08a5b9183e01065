//! What gateways behind one balancer tell each other, through the state that they share.
//!
//! A query belongs to the gateway that took it: that one has its record in the audit, its slot and its place in the queue.
//! Its pages are served by any, for a sealed link says all; but its own gateway must hear of it. So a link names the
//! gateway that it is of, and whoever serves a page of another's puts a report into that one's inbox. Reports are
//! gathered, and sent every half second; what ends a query, and that a long page is on its way, is sent at once.
//!
//! Of a query that waits, its gateway publishes how far it is, and at the end its first page. A gateway that lives renews
//! a lease; when that has run out for a while, what waited there is told to its clients as lost.
//!
//! Without a state that is shared there is one gateway, and nothing to tell.

mod outbox;
mod report;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::state::{Key, Kind, Shared, StoreError};
use crate::units::hex;

pub use report::{Ending, Page, Report, Sending, Waiting};

use outbox::Outbox;

/// How long a gateway that is not heard of is taken to live, and how often it says that it does.
const LEASE: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(5);
/// Whose leases are listed together.
const LIVING: &str = "gateways";
/// How long a lease must be seen to be missing: a store that has lost what it knew is told of it anew.
const MISSING: Duration = Duration::from_secs(10);
/// How long what is known of a lease is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// The most gateways that are remembered. Each start is another.
const MOST_REPLICAS: usize = 1_000;
/// How often reports are sent, and inboxes are looked into.
const GATHERED: Duration = Duration::from_millis(500);
const LOOKED: Duration = Duration::from_millis(50);
const LOOKED_IDLE: Duration = Duration::from_millis(500);
/// How long a report waits to be read; then nobody will.
const READ_WITHIN: Duration = Duration::from_mins(2);
/// The most reports in one message.
const BATCH: usize = 500;
/// How long a query may wait, and how long its first page is kept for its client.
const WAITS: Duration = Duration::from_hours(24);
const ANSWERED: Duration = Duration::from_mins(2);
/// The largest first page that is kept for others, in bytes.
const MAX_PAGE: usize = 1 << 20;
/// The largest map of positions that is kept for others, in bytes, and for how long: Trino says soon where a statement is
/// wrong, and what somebody sends in that time must not fill the store.
const MAX_POSITIONS: usize = 64 << 10;
const POSITIONS: Duration = Duration::from_mins(5);

/// A gateway that lives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Living {
    /// Its id. Each start has another.
    pub id: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
}

/// This gateway among those that it shares its state with.
pub struct Replicas {
    id: u64,
    started: Timestamp,
    shared: Option<Arc<Shared>>,
    outbox: Mutex<Outbox>,
    /// There is something that must be sent at once.
    urgent: Notify,
    others: Mutex<HashMap<u64, Other>>,
    /// Since when the inbox could be read each time.
    reading: Mutex<Option<Instant>>,
    /// When it was begun to read all that there was, of which all has been taken note of.
    heard: Mutex<Option<Instant>>,
    /// How many long pages were begun here.
    sendings: AtomicU64,
    /// When the lease was renewed last.
    renewed: Mutex<Option<Instant>>,
    /// Which others lived, and when that was asked.
    around: Mutex<Option<(Instant, Arc<[u64]>)>>,
}

/// Another gateway's lease.
#[derive(Clone, Copy)]
struct Other {
    asked: Instant,
    missing: Option<Instant>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replicas {
    /// With the state that gateways share, if they share one.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(shared: Option<Arc<Shared>>) -> Result<Self, String> {
        let mut id = [0; 8];
        rand::fill(&mut id).map_err(|_| "no random numbers".to_owned())?;
        Ok(Self {
            id: u64::from_be_bytes(id),
            started: Timestamp::now(),
            shared,
            outbox: Mutex::default(),
            urgent: Notify::new(),
            others: Mutex::default(),
            reading: Mutex::default(),
            heard: Mutex::default(),
            sendings: AtomicU64::new(0),
            renewed: Mutex::default(),
            around: Mutex::default(),
        })
    }

    /// Which one this is. Each start is another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether a query may be another's.
    pub fn is_another(&self, origin: u64) -> bool {
        self.shared.is_some() && origin != self.id
    }

    /// Whether there may be others.
    pub fn are_several(&self) -> bool {
        self.shared.is_some()
    }

    /// A long page that this gateway begins to hand on.
    pub fn sending(&self) -> Sending {
        Sending { by: self.id, nth: self.sendings.fetch_add(1, Ordering::Relaxed), open: true }
    }

    /// Tells a gateway of a query of its. What ends it, and that a page is on its way, is sent at once.
    pub fn report(&self, origin: u64, report: Report) {
        if !self.is_another(origin) {
            return;
        }
        let begins = |page: &Page| page.sending.is_some_and(|sending| sending.open);
        let urgent = report.ending.is_some() || report.pages.iter().any(begins);
        locked(&self.outbox).add(origin, report);
        if urgent {
            self.urgent.notify_one();
        }
    }

    /// Tells all other gateways that somebody wants a query cancelled, which is not known here: the one whose it is looks
    /// whether it is theirs.
    ///
    /// # Errors
    /// The store does not answer: nobody is told.
    pub async fn ask_to_cancel(&self, query: &str, login: &str) -> Result<(), StoreError> {
        let others = self.around().await?;
        for origin in others.iter() {
            locked(&self.outbox).add(*origin, Report::cancel(query, login));
        }
        self.urgent.notify_one();
        Ok(())
    }

    /// The other gateways that live, as they were a moment ago.
    async fn around(&self) -> Result<Arc<[u64]>, StoreError> {
        let known = locked(&self.around).clone();
        if let Some((_, around)) = known.filter(|(asked, _)| asked.elapsed() < BELIEVED) {
            return Ok(around);
        }
        let now = Instant::now();
        let ids = self.living().await?.into_iter().filter_map(|one| u64::from_str_radix(&one.id, 16).ok());
        let around: Arc<[u64]> = ids.filter(|id| self.is_another(*id)).collect();
        *locked(&self.around) = Some((now, Arc::clone(&around)));
        Ok(around)
    }

    /// Sends reports, for ever. For a task of its own.
    pub async fn send(&self) {
        if self.shared.is_none() {
            return;
        }
        loop {
            _ = tokio::time::timeout(GATHERED, self.urgent.notified()).await;
            if !self.sent().await {
                tokio::time::sleep(RENEWED.min(GATHERED)).await;
            }
        }
    }

    /// Sends what there is; false if that could not be done, and is kept.
    pub async fn sent(&self) -> bool {
        let Some(shared) = &self.shared else { return true };
        let all = locked(&self.outbox).take();
        let mut failed = Vec::new();
        for (origin, mut reports) in all {
            while !reports.is_empty() {
                let rest = reports.split_off(reports.len().min(BATCH));
                if let Err(error) = self.put(shared, origin, &reports).await {
                    tracing::warn!(%error, "reports of queries wait to be sent");
                    failed.extend(reports.into_iter().map(|report| (origin, report)));
                }
                reports = rest;
            }
        }
        let sent = failed.is_empty();
        locked(&self.outbox).put_back(failed);
        sent
    }

    async fn put(&self, shared: &Shared, origin: u64, reports: &[Report]) -> Result<(), StoreError> {
        let mut name = [0; 16];
        rand::fill(&mut name).map_err(|_| StoreError::Form("no random numbers".to_owned()))?;
        shared.put_of(Key::new(Kind::Report, &hex(&name)), &inbox(origin), &reports, READ_WITHIN).await
    }

    /// The reports about queries of this gateway, as they come in; all that were given before have been taken note of when this
    /// is called again. Looks seldom while there are none that run. Ends never
    /// where there are no others.
    pub async fn reports(&self, is_busy: impl Fn() -> bool) -> Vec<Report> {
        let Some(shared) = &self.shared else { return std::future::pending().await };
        let inbox = inbox(self.id);
        loop {
            tokio::time::sleep(if is_busy() { LOOKED } else { LOOKED_IDLE }).await;
            let began = Instant::now();
            let listed = shared.list::<Vec<Report>>(Kind::Report, Some(&inbox)).await;
            let Ok(listed) = listed else {
                *locked(&self.reading) = None;
                continue;
            };
            locked(&self.reading).get_or_insert_with(Instant::now);
            let mut all = Vec::new();
            for (hash, reports) in listed {
                let key = Key { kind: Kind::Report, hash };
                // One that could not be removed comes again, and says nothing new then.
                _ = shared.remove_of(key, &inbox).await;
                all.extend(reports);
            }
            if !all.is_empty() {
                return all;
            }
            *locked(&self.heard) = Some(began);
        }
    }

    /// Whether this gateway would have heard, for that long, of queries that are followed elsewhere.
    pub fn hears_since(&self, time: Duration) -> bool {
        self.shared.is_none() || locked(&self.reading).is_some_and(|since| since.elapsed() >= time)
    }

    /// Whether all was taken note of that others had told of queries of this gateway by a moment.
    pub fn has_heard(&self, by: Instant) -> bool {
        self.shared.is_none() || locked(&self.heard).is_some_and(|heard| heard >= by)
    }

    /// Says that this gateway lives, for ever. For a task of its own.
    pub async fn live(&self) {
        let Some(shared) = &self.shared else { return };
        let this = self.this();
        loop {
            let began = Instant::now();
            // That it fails is logged where the store is asked.
            if shared.put_of(lease(self.id), LIVING, &this, LEASE).await.is_ok() {
                *locked(&self.renewed) = Some(began);
            }
            tokio::time::sleep(RENEWED).await;
        }
    }

    fn this(&self) -> Living {
        Living {
            id: hex(&self.id.to_be_bytes()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
        }
    }

    /// The gateways that live, this one among them.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn living(&self) -> Result<Vec<Living>, StoreError> {
        let Some(shared) = &self.shared else { return Ok(vec![self.this()]) };
        let mut all: Vec<Living> =
            shared.list(Kind::Replica, Some(LIVING)).await?.into_iter().map(|(_, one)| one).collect();
        all.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        Ok(all)
    }

    /// Whether another gateway is gone for good. While the store does not answer, none is.
    pub async fn is_gone(&self, origin: u64) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| origin != self.id) else { return false };
        let now = Instant::now();
        let known = locked(&self.others).get(&origin).copied();
        if let Some(known) = known.filter(|known| now.saturating_duration_since(known.asked) < BELIEVED) {
            return known.missing.is_some_and(|since| now.saturating_duration_since(since) >= MISSING);
        }
        let missing = match shared.find(lease(origin)).await {
            Ok(Some(_)) | Err(_) => None,
            Ok(None) => Some(known.and_then(|known| known.missing).unwrap_or(now)),
        };
        let mut others = locked(&self.others);
        if others.len() >= MOST_REPLICAS {
            others.retain(|_, other| now.saturating_duration_since(other.asked) < LEASE);
        }
        others.insert(origin, Other { asked: now, missing });
        missing.is_some_and(|since| now.saturating_duration_since(since) >= MISSING)
    }

    /// Notes that a client is told that its query is lost, as the gateway where it waited is gone.
    ///
    /// # Errors
    /// The store does not answer: then the client must not be told.
    pub async fn give_up(&self, query: &str) -> Result<(), StoreError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.put(given_up(query), b"given up", WAITS).await
    }

    /// Whether the client of a query of this gateway may have been told elsewhere that it is lost: a gateway that stood
    /// still, or could not reach the store, is taken to be gone. To be asked when [`Waiting::Sent`] has been published:
    /// who gives a query up looks for that afterwards, so that one of the two sees the other.
    pub async fn may_be_given_up(&self, query: &str) -> bool {
        let Some(shared) = &self.shared else { return false };
        match shared.find(given_up(query)).await {
            Ok(found) => found.is_some(),
            // Within its lease nobody takes this gateway to be gone.
            Err(_) => locked(&self.renewed).is_none_or(|renewed| renewed.elapsed() >= LEASE),
        }
    }

    /// Publishes how far a query is that waits here.
    ///
    /// # Errors
    /// The store has not taken it.
    pub async fn publish(&self, query: &str, waiting: &Waiting) -> Result<(), StoreError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let life = match waiting {
            Waiting::Queued | Waiting::Sent => WAITS,
            Waiting::Answered { body, .. } if body.len() > MAX_PAGE => return Ok(()),
            Waiting::Answered { .. } => ANSWERED,
        };
        let bytes = serde_json::to_vec(waiting).map_err(|error| StoreError::Form(error.to_string()))?;
        shared.put(Key::new(Kind::Waiting, query), &bytes, life).await
    }

    /// How far a query is that waits at another gateway.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn published(&self, query: &str) -> Result<Option<Waiting>, StoreError> {
        self.found(Key::new(Kind::Waiting, query)).await
    }

    /// Keeps for others what the client of a query is told that somebody else cancels, however far it is.
    pub async fn publish_last(&self, query: &str, page: &Waiting) {
        if let (Some(shared), Ok(bytes)) = (&self.shared, serde_json::to_vec(page)) {
            // That it fails is logged where the store is asked: then the client reads no reason.
            _ = shared.put(last(query), &bytes, ANSWERED).await;
        }
    }

    /// What the client of another gateway's query is told that somebody else has cancelled.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn published_last(&self, query: &str) -> Result<Option<Waiting>, StoreError> {
        self.found(last(query)).await
    }

    /// Keeps for others from which places in the user's text the places of the sent one are.
    pub async fn keep_positions<T: serde::Serialize + Sync>(&self, query: &str, map: &T) {
        let Some(shared) = &self.shared else { return };
        if let Ok(bytes) = serde_json::to_vec(map)
            && bytes.len() <= MAX_POSITIONS
        {
            _ = shared.put(Key::new(Kind::Positions, query), &bytes, POSITIONS).await;
        }
    }

    /// What was kept of a query's positions by another gateway.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn positions<T: DeserializeOwned>(&self, query: &str) -> Result<Option<T>, StoreError> {
        self.found(Key::new(Kind::Positions, query)).await
    }

    async fn found<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, StoreError> {
        let Some(shared) = &self.shared else { return Ok(None) };
        let found = shared.find(key).await?;
        found
            .map(|bytes| serde_json::from_slice(&bytes).map_err(|error| StoreError::Form(error.to_string())))
            .transpose()
    }
}

/// Whose reports a gateway reads.
fn inbox(id: u64) -> String {
    format!("inbox {id:016x}")
}

fn given_up(query: &str) -> Key {
    Key::new(Kind::Waiting, &format!("given up {query}"))
}

fn last(query: &str) -> Key {
    Key::new(Kind::Waiting, &format!("last of {query}"))
}

fn lease(id: u64) -> Key {
    Key::new(Kind::Replica, &format!("{id:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_gateway_has_nothing_to_tell() {
        let alone = Replicas::new(None).expect("random numbers");
        assert!(!alone.is_another(alone.id()) && !alone.is_another(7) && !alone.are_several());
        alone.report(7, Report::of("q"));
        assert!(locked(&alone.outbox).is_empty());
        assert!(alone.sent().await && alone.hears_since(Duration::MAX) && !alone.is_gone(7).await);
        assert_eq!(alone.published("q").await, Ok(None));
        assert!(alone.give_up("q").await.is_ok() && !alone.may_be_given_up("q").await);
        assert!(alone.ask_to_cancel("q", "ann").await.is_ok() && locked(&alone.outbox).is_empty());
        alone.send().await;
        alone.live().await;
        let read = tokio::time::timeout(Duration::from_hours(1), alone.reports(|| true)).await;
        assert!(read.is_err(), "there are no reports");
    }
}
