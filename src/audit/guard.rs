//! The record of one query that is under way.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::record::{Body, Ended, Outcome, State};
use super::shared::Line;
use super::writer::{Item, Message, Waiter};
use crate::units::{cut, hex};

/// A query whose intent is durable and whose outcome is owed.
///
/// Its place in the writer's memory was taken before the query began, so the outcome can't be refused:
/// while the disk is full it waits there. Dropped without [`Guard::finish`], it writes `abandoned`.
#[must_use = "a guard that is dropped records the query as abandoned"]
pub struct Guard {
    line: Line,
    query: String,
    began: Instant,
    /// Trino's id of it, and the cluster. Apart, as many queries wait that have none yet.
    started: OnceLock<Box<(String, String)>>,
    cache_origin: OnceLock<Box<str>>,
    rows: AtomicU64,
    bytes: AtomicU64,
    admitted: AtomicU64,
    submitted: AtomicU64,
    first_row: AtomicU64,
    uncertain: AtomicBool,
    room: std::sync::Mutex<Option<OwnedSemaphorePermit>>,
    done: AtomicBool,
}

impl Guard {
    pub(super) fn new(line: Line, query: String, room: OwnedSemaphorePermit) -> Self {
        Self {
            line,
            query,
            began: Instant::now(),
            started: OnceLock::new(),
            cache_origin: OnceLock::new(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            first_row: AtomicU64::new(0),
            uncertain: AtomicBool::new(false),
            room: std::sync::Mutex::new(Some(room)),
            done: AtomicBool::new(false),
        }
    }

    /// The gateway's id of the query.
    pub fn id(&self) -> &str {
        &self.query
    }

    /// Trino knows the query by this id, on this cluster. The first call counts.
    pub fn started(&self, trino_query: &str, cluster: &str) {
        let _ = self.started.set(Box::new((cut(trino_query, 64).to_owned(), cut(cluster, 64).to_owned())));
    }

    /// Its answer is that of another query, which ran while this one waited.
    pub fn given(&self, origin: &str) {
        let _ = self.cache_origin.set(cut(origin, 64).into());
    }

    /// It has its slot.
    pub fn admitted(&self) {
        self.mark(&self.admitted);
    }

    /// It is sent to Trino now.
    pub fn submitted(&self) {
        self.mark(&self.submitted);
    }

    /// Notes a moment, the first of several.
    fn mark(&self, at: &AtomicU64) {
        let now = self.line.shared.tick_us();
        _ = at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Counts rows, and bytes of row data, that went to the client.
    pub fn add(&self, rows: u64, bytes: u64) {
        if rows > 0 {
            self.mark(&self.first_row);
        }
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// More may have gone to the client than will be counted.
    pub fn doubt(&self) {
        self.uncertain.store(true, Ordering::Relaxed);
    }

    /// Rows and bytes so far.
    pub fn sent(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Queues the outcome and returns at once. The first call counts, so that a cancel and a last page that
    /// meet do no harm; true for the first.
    pub fn finish(&self, outcome: &Outcome) -> bool {
        if self.done.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (rows, bytes) = self.sent();
        let shared = &self.line.shared;
        let digest = outcome.message.as_ref().map(|message| {
            hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message.as_bytes()).as_ref())
        });
        let ended = Ended {
            query: &self.query,
            state: outcome.state,
            trino_query: self.started.get().map(|started| started.0.as_str()),
            cluster: self.started.get().map(|started| started.1.as_str()),
            cache_origin: self.cache_origin.get().map(|origin| &**origin),
            rows,
            bytes,
            rows_uncertain: self.uncertain.load(Ordering::Relaxed),
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            admitted_us: moment(&self.admitted),
            submitted_us: moment(&self.submitted),
            first_row_us: moment(&self.first_row),
            error: outcome.error.as_deref().map(|e| cut(e, 100)),
            message_sha256: digest,
        };
        let room = self.room.lock().ok().and_then(|mut room| room.take());
        let (Ok(body), Some(room)) = (Body::outcome(shared.tick_us(), ended), room) else {
            // Neither happens: the record is made of strings and numbers, and the room is taken once.
            shared.count_lost();
            tracing::error!(query = self.query, "the outcome of a query was not recorded");
            return true;
        };
        let item = Item { body, room, waiter: Waiter::Kept(None) };
        if self.line.sender.send(Message::Write(item)).is_err() {
            shared.count_lost();
            tracing::error!(query = self.query, "the audit was closed before the outcome of a query");
        }
        true
    }

    /// No outcome is owed: the intent was never written.
    pub(super) fn disarm(&self) {
        self.done.store(true, Ordering::Release);
    }
}

fn moment(at: &AtomicU64) -> Option<u64> {
    Some(at.load(Ordering::Relaxed)).filter(|&tick| tick > 0)
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish(&Outcome::of(State::Abandoned));
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("query", &self.query).finish_non_exhaustive()
    }
}
