//! The queries that are running here: who owns the audit guard and the slot of each, and when its client
//! was last heard of.
//!
//! A poll does not need an entry: its sealed link says all. The entry is what must end: the outcome is
//! written and the slot freed when the last page passes, the query is cancelled, or nobody asks any more.

mod collected;
mod elsewhere;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Texts;
use super::collector::Collector;
pub(super) use super::first::{FirstPage, Start};
use super::names::Names;
use super::people::Admitted;
use super::tally::Tally;
use crate::admission::{Slot, Used};
use crate::audit::{Guard, Outcome, State as Ended};
use crate::cache::Entry;
use crate::catalog::TableName;
use crate::replica::Replicas;
use crate::sql::SourceMap;
use crate::telemetry::GaugeGuard;
use crate::upstream::Place;

/// One query that has an intent in the audit and no outcome yet.
pub(super) struct Running {
    pub(super) id: String,
    /// The relations that it reads, to be described afresh when Trino says that one has changed.
    relations: Names,
    /// From places in the text that Trino has to places in the text that the user wrote, once it is sent.
    positions: OnceLock<Arc<SourceMap>>,
    /// What its links are built on.
    pub(super) base: String,
    /// When it came.
    pub(super) began: Instant,
    /// How it is admitted.
    pub(super) admitted: Admitted,
    /// After how many seconds of waiting the client is told its place again.
    tell: AtomicU64,
    start: Mutex<Start>,
    /// Whether it changes a table, whose description is then to be had anew.
    pub(super) writes: bool,
    /// Whether a client was given a link to the first page.
    linked: AtomicBool,
    /// One at a time publishes how far it is.
    publishing: tokio::sync::Mutex<()>,
    /// The memory that its texts take.
    _texts: Texts,
    canceled: AtomicBool,
    /// Told when there is a first page, and when it is no longer wanted.
    told: Notify,
    state: Mutex<State>,
}

struct State {
    /// Both are taken when the query ends; a query without them has ended.
    guard: Option<Guard>,
    slot: Option<Slot>,
    gauge: Option<GaugeGuard>,
    /// Where Trino would take a cancel: the cluster and the path.
    upstream: Option<Box<(String, String)>>,
    /// Its place at its cluster.
    place: Option<Place>,
    tally: Tally,
    /// How it ended, while pages that were fetched elsewhere are still to be counted.
    ended: Option<Box<End>>,
    /// When its client was at Trino last, as that writes it, and when that was asked.
    heartbeat: Option<String>,
    asked: Option<Instant>,
    /// Trino could not be asked.
    doubt: bool,
    published: Option<Instant>,
    /// What the answer is collected in, to be given again.
    collector: Option<Box<Collector>>,
    /// The answer that is given again.
    entry: Option<Arc<Entry>>,
    seen: Instant,
    busy: u32,
}

/// How a query ended.
struct End {
    outcome: Outcome,
    when: Instant,
    /// Whether it may have pages that nobody has told of: it did not end with its last one.
    more: bool,
}

/// What is needed to begin an entry.
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) relations: Vec<TableName>,
    /// Whether it changes a table.
    pub(super) writes: bool,
    /// What its links are built on.
    pub(super) base: String,
    pub(super) guard: Guard,
    pub(super) texts: Texts,
    pub(super) admitted: Admitted,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started_so_far(&self) -> MutexGuard<'_, Start> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first page, if there is one by now.
    fn page(&self) -> Option<FirstPage> {
        match &*self.started_so_far() {
            Start::Answered(page) => Some((**page).clone()),
            Start::Waiting | Start::Sending => None,
        }
    }

    /// Waits for the first page, for as long as the caller cares to.
    pub(super) async fn answered(&self, patience: Duration) -> Option<FirstPage> {
        tokio::time::timeout(patience, until(&self.told, || self.page())).await.ok()
    }

    /// Makes the first page known to everybody who waits for it. One that is there stays: a cancel's is the last.
    pub(super) fn answer(&self, page: FirstPage) {
        {
            let mut start = self.started_so_far();
            if matches!(*start, Start::Answered(_)) {
                return;
            }
            *start = Start::Answered(Box::new(page));
        }
        self.told.notify_waiters();
    }

    /// Notes that it is about to be sent.
    pub(super) fn sending(&self) {
        let mut start = self.started_so_far();
        if matches!(*start, Start::Waiting) {
            *start = Start::Sending;
        }
    }

    /// The relations that it reads.
    pub(super) fn relations(&self) -> Vec<TableName> {
        self.relations.all()
    }

    /// Notes the way from places in the text that is sent to those in the user's, if there is one.
    pub(super) fn find_places(&self, map: Option<&Arc<SourceMap>>) {
        if let Some(map) = map {
            _ = self.positions.set(Arc::clone(map));
        }
    }

    /// From places in the text that Trino has to places in the text that the user wrote, if it was sent.
    pub(super) fn positions(&self) -> Option<&Arc<SourceMap>> {
        self.positions.get()
    }

    /// How far it is.
    pub(super) fn start(&self) -> Start {
        self.started_so_far().clone()
    }

    /// Whether a client was given a link to the first page.
    pub(super) fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Acquire)
    }

    /// Whether nobody has asked for it here for that long.
    pub(super) fn is_idle_for(&self, limit: Duration) -> bool {
        self.idle_since().is_some_and(|seen| seen.elapsed() >= limit)
    }

    /// Counts the query as one that runs until it ends.
    pub(super) fn count_running(&self, gauge: GaugeGuard) {
        let mut state = self.state();
        if state.guard.is_some() && state.ended.is_none() {
            state.gauge = Some(gauge);
        }
    }

    /// Keeps the slot until the query ends; a query that has ended frees it at once.
    pub(super) fn hold(&self, slot: Slot) {
        let mut state = self.state();
        if state.guard.is_some() && state.ended.is_none() {
            state.slot = Some(slot);
        }
    }

    /// Whether it has ended, though pages of it may still be counted.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(&*self.state(), State { guard: Some(_), ended: None, .. })
    }

    /// Whether it has a slot.
    pub(super) fn has_slot(&self) -> bool {
        self.state().slot.is_some()
    }

    /// Frees its slot before its end: Trino has nothing more to do for it.
    pub(super) fn free(&self) {
        let slot = self.state().slot.take();
        drop(slot);
    }

    /// Notes Trino's name for the query.
    pub(super) fn started(&self, trino_query_id: &str, cluster: &str) {
        self.marked(|guard| guard.started(trino_query_id, cluster));
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
        if state.guard.is_some() && state.ended.is_none() {
            state.place = Some(place);
        }
    }

    /// Notes where Trino would take a cancel.
    pub(super) fn follow(&self, cluster: &str, path: String) {
        self.state().upstream = Some(Box::new((cluster.to_owned(), path)));
    }

    /// Where Trino would take a cancel, if it has the query: the cluster and the path.
    pub(super) fn upstream(&self) -> Option<(String, String)> {
        self.state().upstream.as_deref().cloned()
    }

    /// Pays for what the query has used so far.
    pub(super) fn pay(&self, used: Used) {
        if let Some(account) = &self.admitted.account {
            account.pay(used);
        }
    }

    /// Counts the rows and bytes of a page, once.
    pub(super) fn count(&self, page: Option<u64>, rows: u64, bytes: u64) {
        let mut state = self.state();
        if let (Some(collector), Some(page)) = (&state.collector, page) {
            collector.moved(page, rows);
        }
        let (rows, bytes) = page.map_or((rows, bytes), |page| state.tally.add(page, rows, bytes));
        if let Some(guard) = &state.guard {
            guard.add(rows, bytes);
        }
    }

    /// Milliseconds since it came.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells whoever submits the query that it is no longer wanted; who waits for the first page gets this one.
    pub(super) fn cancel(&self, page: FirstPage) {
        self.answer(page);
        self.abandon();
    }

    /// Tells whoever submits the query that nobody wants it any more.
    pub(super) fn abandon(&self) {
        self.canceled.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Whether the query is no longer wanted.
    pub(super) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    /// Ends when the query is no longer wanted.
    pub(super) async fn until_canceled(&self) {
        until(&self.told, || self.is_canceled().then_some(())).await;
    }

    /// Notes that a client is about to get a link to the first page, which is then kept for it. If there is the page
    /// by now, it is to be given instead: it may not have been kept.
    pub(super) fn link(&self) -> Option<FirstPage> {
        self.linked.store(true, Ordering::Release);
        self.page()
    }

    /// Whether the client is told now where the query stands: at first, and after twice as long each time, as drivers keep
    /// what they are told.
    pub(super) fn is_told(&self) -> bool {
        let waited = self.began.elapsed().as_secs();
        let due = self.tell.load(Ordering::Relaxed);
        waited >= due
            && self
                .tell
                .compare_exchange(due, (2 * waited).max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
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
        (state.busy == 0 && !state.tally.is_open()).then_some(state.seen)
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

/// How long pages that were fetched elsewhere, and of which nothing is known, are waited for after a query's end.
const MISSING_PAGES: Duration = Duration::from_secs(5);
/// By so long after the end of a query that did not come with its last page others have told that they have pages of it.
const TOLD_BY: Duration = Duration::from_secs(1);
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
    /// Last pages of queries that somebody else has cancelled, by the queries' names.
    last: moka::sync::Cache<String, FirstPage>,
    /// Answers that were given again to their end: the last page may be asked for once more.
    ended_entries: moka::sync::Cache<String, Arc<Entry>>,
    changed: Notify,
    replicas: Arc<Replicas>,
    /// Queries that have ended, and whose outcome is not written yet.
    unsettled: Mutex<HashSet<String>>,
}

impl Registry {
    pub(super) fn new(replicas: Arc<Replicas>) -> Self {
        let kept = || {
            moka::sync::Cache::builder()
                .weigher(|id: &String, page: &FirstPage| {
                    u32::try_from(id.len() + page.body.len() + OVERHEAD).unwrap_or(u32::MAX)
                })
                .max_capacity(KEPT_AT_MOST)
                .time_to_live(KEPT_FOR)
                .build()
        };
        let ended_entries = moka::sync::Cache::builder()
            .weigher(|id: &String, entry: &Arc<Entry>| {
                u32::try_from(id.len() + entry.size()).unwrap_or(u32::MAX)
            })
            .max_capacity(KEPT_AT_MOST)
            .time_to_live(KEPT_FOR)
            .build();
        let (ended, last, changed) = (kept(), kept(), Notify::new());
        let (entries, unsettled) = (Mutex::default(), Mutex::default());
        Self { entries, ended, last, ended_entries, changed, replicas, unsettled }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a query.
    pub(super) fn begin(&self, beginning: Beginning) -> Arc<Running> {
        let running = Arc::new(Running {
            id: beginning.id,
            relations: Names::of(&beginning.relations),
            writes: beginning.writes,
            positions: OnceLock::new(),
            began: Instant::now(),
            admitted: beginning.admitted,
            tell: AtomicU64::new(0),
            start: Mutex::new(Start::Waiting),
            linked: AtomicBool::new(false),
            publishing: tokio::sync::Mutex::default(),
            base: beginning.base,
            _texts: beginning.texts,
            canceled: AtomicBool::new(false),
            told: Notify::new(),
            state: Mutex::new(State {
                guard: Some(beginning.guard),
                slot: None,
                gauge: None,
                upstream: None,
                place: None,
                tally: Tally::default(),
                ended: None,
                heartbeat: None,
                asked: None,
                doubt: false,
                published: None,
                collector: None,
                entry: None,
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

    /// Ends a query: writes its outcome and frees its slot. The first to end it decides the outcome, and is told so. While
    /// pages that were fetched elsewhere are still to be counted, only the slot is free: see [`Registry::settle`].
    pub(super) fn end(&self, running: &Running, outcome: &Outcome) -> bool {
        let (first, freed, entry) = {
            let mut state = running.state();
            let first = state.guard.is_some() && state.ended.is_none();
            if first {
                let more =
                    outcome.state != Ended::Finished && (state.upstream.is_some() || state.entry.is_some());
                state.ended = Some(Box::new(End { outcome: outcome.clone(), when: Instant::now(), more }));
            }
            let held = (state.slot.take(), state.gauge.take(), state.place.take(), state.collector.take());
            (first, held, state.entry.take())
        };
        drop(freed);
        if let Some(entry) = entry.filter(|_| outcome.state == Ended::Finished) {
            self.ended_entries.insert(running.id.clone(), entry);
        }
        self.settle(running, false);
        first
    }

    /// Writes the outcome of a query that has ended, if all of its pages are counted, or `now`, or if what is missing has not
    /// come for a while: then the outcome says that it may be. While a page is on its way to the client it is not counted yet.
    pub(super) fn settle(&self, running: &Running, now: bool) {
        let (guard, outcome) = {
            let mut state = running.state();
            let (Some(ended), true) = (&state.ended, state.guard.is_some()) else { return };
            let End { outcome, when, more } = &**ended;
            let heard = !more || self.replicas.has_heard(*when + TOLD_BY);
            let counted = heard && state.tally.is_whole() && state.busy == 0;
            let waited = when.elapsed() >= MISSING_PAGES && state.busy == 0 && !state.tally.is_open();
            if !counted && !waited && !now {
                self.unsettled().insert(running.id.clone());
                return;
            }
            let outcome = outcome.clone();
            let guard = state.guard.take();
            if let (false, Some(guard)) = (counted, &guard) {
                guard.doubt();
            }
            (guard, outcome)
        };
        if let Some(guard) = guard {
            guard.finish(&outcome);
        }
        if running.linked.load(Ordering::Acquire)
            && let Some(page) = running.page()
        {
            self.ended.insert(running.id.clone(), page);
        }
        self.unsettled().remove(&running.id);
        self.entries().remove(&running.id);
        self.changed.notify_waiters();
    }

    /// The same of all queries that have ended.
    pub(super) fn settle_all(&self) {
        let ids: Vec<String> = self.unsettled().iter().cloned().collect();
        for running in ids.iter().filter_map(|id| self.find(id)) {
            self.settle(&running, false);
        }
    }

    fn unsettled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none runs.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Keeps what the client of a query that is about to be cancelled is told, however far it is.
    pub(super) fn keep_last(&self, id: &str, page: FirstPage) {
        self.last.insert(id.to_owned(), page);
    }

    /// What the client of a query is told that somebody else has cancelled.
    pub(super) fn last(&self, id: &str) -> Option<FirstPage> {
        self.last.get(id)
    }

    /// The first page of a query that ended a moment ago.
    pub(super) fn ended(&self, id: &str) -> Option<FirstPage> {
        self.ended.get(id)
    }

    /// The answer of a query that was given again a moment ago.
    pub(super) fn ended_entry(&self, id: &str) -> Option<Arc<Entry>> {
        self.ended_entries.get(id)
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
        writing.flat_map(|running| running.relations()).collect()
    }

    /// All queries there are.
    pub(super) fn all(&self) -> Vec<Arc<Running>> {
        self.entries().values().cloned().collect()
    }

    /// Ends when no query runs any more.
    pub(super) async fn until_empty(&self) {
        until(&self.changed, || self.is_empty().then_some(())).await;
    }
}

/// Waits until something is so, of whose changes is `told`.
async fn until<T>(told: &Notify, is: impl Fn() -> Option<T>) -> T {
    loop {
        let changed = told.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(it) = is() {
            return it;
        }
        changed.await;
    }
}
