//! The queries that are running here: who owns the audit guard and the slot of each, and when its client
//! was last heard of.
//!
//! A poll does not need an entry: its sealed link says all. The entry is what must end: the outcome is
//! written and the slot freed when the last page passes, the query is cancelled, or nobody asks any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::admission::Slot;
use crate::audit::{Guard, Outcome};
use crate::catalog::TableName;
use crate::sql::SourceMap;
use crate::telemetry::GaugeGuard;
use crate::upstream::Place;

/// How far the submission of a query is.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// No page yet: the query waits for a slot, or for Trino to take it.
    Waiting,
    /// Trino took it, or it failed before: the first page, ready to be sent any number of times.
    Answered(FirstPage),
}

/// The first page of a query, already rebuilt. Trino puts no rows in it.
#[derive(Clone, Debug)]
pub(super) struct FirstPage {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One query that has an intent in the audit and no outcome yet.
pub(super) struct Running {
    pub(super) id: String,
    /// The relations that it reads, to be described afresh when Trino says that one has changed.
    pub(super) relations: Vec<TableName>,
    /// From places in the text that Trino has to places in the text that the user wrote.
    pub(super) positions: Option<Arc<SourceMap>>,
    /// When it came.
    pub(super) began: Instant,
    start: watch::Sender<Start>,
    /// Whether it changes a table, whose description is then to be had anew.
    pub(super) writes: bool,
    /// Whether a client was given a link to the first page.
    linked: AtomicBool,
    /// The memory that its texts take.
    _texts: OwnedSemaphorePermit,
    canceled: AtomicBool,
    cancel_told: Notify,
    state: Mutex<State>,
}

struct State {
    /// Both are taken when the query ends; a query without them has ended.
    guard: Option<Guard>,
    slot: Option<Slot>,
    gauge: Option<GaugeGuard>,
    /// Where Trino would take a cancel: the cluster and the path.
    upstream: Option<(String, String)>,
    /// Its place at its cluster.
    place: Option<Place>,
    /// The last page whose rows were counted, and these and their bytes: a page that is fetched twice, or broke off
    /// and is fetched again, counts once.
    counted: Option<(u64, u64, u64)>,
    seen: Instant,
    busy: u32,
}

/// What is needed to begin an entry.
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) relations: Vec<TableName>,
    /// Whether it changes a table.
    pub(super) writes: bool,
    pub(super) positions: Option<Arc<SourceMap>>,
    pub(super) guard: Guard,
    pub(super) texts: OwnedSemaphorePermit,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first page, for as long as the caller cares to.
    pub(super) async fn answered(&self, patience: Duration) -> Option<FirstPage> {
        let mut receiver = self.start.subscribe();
        let page = receiver.wait_for(|start| matches!(start, Start::Answered(_)));
        match tokio::time::timeout(patience, page).await {
            Ok(Ok(start)) => match &*start {
                Start::Answered(page) => Some(page.clone()),
                Start::Waiting => None,
            },
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Makes the first page known to everybody who waits for it.
    pub(super) fn answer(&self, page: FirstPage) {
        self.start.send_replace(Start::Answered(page));
    }

    /// Counts the query as one that runs until it ends.
    pub(super) fn count_running(&self, gauge: GaugeGuard) {
        let mut state = self.state();
        if state.guard.is_some() {
            state.gauge = Some(gauge);
        }
    }

    /// Keeps the slot until the query ends; a query that has ended frees it at once.
    pub(super) fn hold(&self, slot: Slot) {
        let mut state = self.state();
        if state.guard.is_some() {
            state.slot = Some(slot);
        }
    }

    /// Notes Trino's name for the query.
    pub(super) fn started(&self, trino_query_id: &str, cluster: &str) {
        if let Some(guard) = &self.state().guard {
            guard.started(trino_query_id, cluster);
        }
    }

    /// Notes a moment of its life for the audit.
    pub(super) fn marked(&self, mark: impl FnOnce(&Guard)) {
        if let Some(guard) = &self.state().guard {
            mark(guard);
        }
    }

    /// Keeps the place at a cluster until the query ends.
    pub(super) fn stay(&self, place: Place) {
        let mut state = self.state();
        if state.guard.is_some() {
            state.place = Some(place);
        }
    }

    /// Notes where Trino would take a cancel.
    pub(super) fn follow(&self, cluster: &str, path: String) {
        self.state().upstream = Some((cluster.to_owned(), path));
    }

    /// Where Trino would take a cancel, if it has the query: the cluster and the path.
    pub(super) fn upstream(&self) -> Option<(String, String)> {
        self.state().upstream.clone()
    }

    /// Counts the rows and bytes of a page, once.
    pub(super) fn count(&self, page: Option<u64>, rows: u64, bytes: u64) {
        let mut state = self.state();
        let (rows, bytes) = match (page, state.counted) {
            (Some(page), Some((last, ..))) if page < last => return,
            (Some(page), Some((last, had_rows, had_bytes))) if page == last => {
                state.counted = Some((page, rows.max(had_rows), bytes.max(had_bytes)));
                (rows.saturating_sub(had_rows), bytes.saturating_sub(had_bytes))
            }
            (Some(page), _) => {
                state.counted = Some((page, rows, bytes));
                (rows, bytes)
            }
            (None, _) => (rows, bytes),
        };
        if let Some(guard) = &state.guard {
            guard.add(rows, bytes);
        }
    }

    /// Tells whoever submits the query that it is no longer wanted; who waits for the first page gets this one.
    pub(super) fn cancel(&self, page: FirstPage) {
        self.start.send_if_modified(|start| {
            let waiting = matches!(start, Start::Waiting);
            if waiting {
                *start = Start::Answered(page);
            }
            waiting
        });
        self.abandon();
    }

    /// Tells whoever submits the query that nobody wants it any more.
    pub(super) fn abandon(&self) {
        self.canceled.store(true, Ordering::Release);
        self.cancel_told.notify_waiters();
    }

    /// Whether the query is no longer wanted.
    pub(super) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    /// Ends when the query is no longer wanted.
    pub(super) async fn until_canceled(&self) {
        loop {
            let told = self.cancel_told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.is_canceled() {
                return;
            }
            told.await;
        }
    }

    /// Notes that a client is about to get a link to the first page, which is then kept for it. If there is the page
    /// by now, it is to be given instead: it may not have been kept.
    pub(super) fn link(&self) -> Option<FirstPage> {
        self.linked.store(true, Ordering::Release);
        match &*self.start.borrow() {
            Start::Answered(page) => Some(page.clone()),
            Start::Waiting => None,
        }
    }

    /// Marks that a client is being served; the query does not expire while the mark lives.
    pub(super) fn serve(self: &Arc<Self>) -> Served {
        let mut state = self.state();
        state.busy += 1;
        state.seen = Instant::now();
        Served(Arc::clone(self))
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.busy == 0).then_some(state.seen)
    }
}

/// A mark that a client is being served.
pub(super) struct Served(Arc<Running>);

impl Drop for Served {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        state.seen = Instant::now();
    }
}

/// How long the first page of a query that has ended can still be fetched by a client whose connection
/// broke while it came, and how many bytes of such pages are kept at most.
const KEPT_FOR: Duration = Duration::from_mins(2);
const KEPT_AT_MOST: u64 = 16 << 20;
/// What a kept page takes besides its text, in bytes; about.
const OVERHEAD: usize = 512;

/// All queries that are running here.
pub(super) struct Registry {
    entries: Mutex<HashMap<String, Arc<Running>>>,
    /// First pages of queries that ended before their client had one. The key is the query's name; the
    /// link that leads here is sealed to the login.
    ended: moka::sync::Cache<String, FirstPage>,
    changed: Notify,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::default(),
            ended: moka::sync::Cache::builder()
                .weigher(|id: &String, page: &FirstPage| {
                    u32::try_from(id.len() + page.body.len() + OVERHEAD).unwrap_or(u32::MAX)
                })
                .max_capacity(KEPT_AT_MOST)
                .time_to_live(KEPT_FOR)
                .build(),
            changed: Notify::new(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a query.
    pub(super) fn begin(&self, beginning: Beginning) -> Arc<Running> {
        let (start, _) = watch::channel(Start::Waiting);
        let running = Arc::new(Running {
            id: beginning.id,
            relations: beginning.relations,
            writes: beginning.writes,
            positions: beginning.positions,
            began: Instant::now(),
            start,
            linked: AtomicBool::new(false),
            _texts: beginning.texts,
            canceled: AtomicBool::new(false),
            cancel_told: Notify::new(),
            state: Mutex::new(State {
                guard: Some(beginning.guard),
                slot: None,
                gauge: None,
                upstream: None,
                place: None,
                counted: None,
                seen: Instant::now(),
                busy: 0,
            }),
        });
        self.entries().insert(running.id.clone(), Arc::clone(&running));
        running
    }

    /// The query of that name, if it runs here.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Running>> {
        self.entries().get(id).cloned()
    }

    /// Ends a query: writes its outcome and frees its slot. The first to end it decides the outcome, and is told so.
    pub(super) fn end(&self, running: &Running, outcome: &Outcome) -> bool {
        let (guard, slot, gauge, place) = {
            let mut state = running.state();
            (state.guard.take(), state.slot.take(), state.gauge.take(), state.place.take())
        };
        drop((slot, gauge, place));
        let first = guard.is_some();
        if let Some(guard) = guard {
            guard.finish(outcome);
        }
        if running.linked.load(Ordering::Acquire)
            && let Start::Answered(page) = &*running.start.borrow()
        {
            self.ended.insert(running.id.clone(), page.clone());
        }
        self.entries().remove(&running.id);
        self.changed.notify_waiters();
        first
    }

    /// The first page of a query that ended a moment ago.
    pub(super) fn ended(&self, id: &str) -> Option<FirstPage> {
        self.ended.get(id)
    }

    /// The queries whose client has not been heard of for that long.
    pub(super) fn idle(&self, limit: Duration) -> Vec<Arc<Running>> {
        let now = Instant::now();
        self.entries()
            .values()
            .filter(|running| {
                running.idle_since().is_some_and(|seen| now.saturating_duration_since(seen) >= limit)
            })
            .cloned()
            .collect()
    }

    /// What queries that have not ended change.
    pub(super) fn being_changed(&self) -> Vec<TableName> {
        let entries = self.entries();
        let writing = entries.values().filter(|running| running.writes);
        writing.flat_map(|running| running.relations.iter().cloned()).collect()
    }

    /// All queries there are.
    pub(super) fn all(&self) -> Vec<Arc<Running>> {
        self.entries().values().cloned().collect()
    }

    /// Ends when no query runs any more.
    pub(super) async fn until_empty(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.entries().is_empty() {
                return;
            }
            changed.await;
        }
    }
}
