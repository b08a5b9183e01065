//! Collects the pages of an answer as they pass, to be given again.
//!
//! Where several gateways share answers, each page that another gateway serves is kept for the query's own, which takes them when
//! the query has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Gateway;
use super::cached::Wanted;
use super::poll::page_number;
use super::registry::Running;
use super::tally::EXECUTING;
use crate::cache::{About, Entry, Epoch, Kept, Key, Lead, Room, Stand};
use crate::catalog::TableName;
use crate::replica::Report;
use crate::telemetry;
use crate::wire::{Link, PageSummary};

/// How often, and after what pauses, it is looked for a page that another gateway has served.
const MOST_LOOKS: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// An answer that is on its way, and what is known of the question.
pub(super) struct Collector {
    pub(super) key: Key,
    /// Others may wait for it.
    pub(super) lead: Option<Lead>,
    pub(super) wanted: Arc<Wanted>,
    /// The states of the tables, before it was asked.
    pub(super) stands: BTreeMap<TableName, Stand>,
    /// The day, where it matters.
    pub(super) date: Option<String>,
    /// The cache's epoch when it was asked.
    pub(super) epoch: Epoch,
    pub(super) since: Instant,
    /// How long Trino took, as it says.
    pub(super) took: Duration,
    pub(super) columns: Option<Bytes>,
    pub(super) pages: Vec<(u64, Bytes)>,
    /// The number of the next page. Those before it were asked for twice.
    expects: u64,
    /// Pages behind one that another gateway has served.
    ahead: BTreeMap<u64, Part>,
    left: usize,
    room: Room,
}

/// What a page had in it, as far as an answer is made of it. Gateways give it to each other.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Part {
    rows: u64,
    /// The JSON array of the columns, if the page has it.
    columns: Option<String>,
    /// The JSON array of the rows; empty if there are none.
    data: String,
    /// It is more than was to be copied.
    too_large: bool,
    /// It has something that is not given again.
    spoiled: bool,
    /// The number of the next page; none on the last.
    next: Option<u64>,
    /// How long Trino took so far, in milliseconds, as it says.
    took_ms: u64,
}

impl Part {
    /// Takes the copy out of a page.
    pub(super) fn of(summary: &mut PageSummary) -> Self {
        let copy = summary.copy.take();
        let next = summary.next.as_deref().map(page_number);
        let ends_badly = next.is_none() && summary.state != "FINISHED";
        let mut part = Self {
            rows: summary.rows,
            too_large: copy.is_none(),
            spoiled: summary.error.is_some()
                || summary.update_type.is_some()
                || next == Some(None)
                || ends_badly,
            next: next.flatten(),
            took_ms: summary.processed.elapsed_time_millis,
            ..Self::default()
        };
        if let Some(copy) = copy {
            let text = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
            part.columns = copy.columns.map(|columns| text(columns).unwrap_or_default());
            let data = text(copy.rows);
            part.spoiled |= copy.warned || data.is_none();
            part.data = data.unwrap_or_default();
        }
        part
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to come.
    Partial,
    /// All is there.
    Whole,
    /// It cannot be kept.
    Spoiled,
    /// It is too large to be kept.
    TooLarge,
}

impl Collector {
    /// Nothing yet; for at most so many bytes.
    pub(super) fn new(
        key: Key,
        wanted: Arc<Wanted>,
        stands: BTreeMap<TableName, Stand>,
        date: Option<String>,
        (epoch, room, most): (Epoch, Room, usize),
    ) -> Self {
        let (since, took) = (Instant::now(), Duration::ZERO);
        let (columns, pages, expects) = (None, Vec::new(), 0);
        Self {
            key,
            lead: None,
            wanted,
            stands,
            date,
            epoch,
            since,
            took,
            columns,
            pages,
            expects,
            ahead: BTreeMap::new(),
            left: most,
            room,
        }
    }

    /// How many bytes of rows may still come.
    pub(super) fn left(&self) -> usize {
        self.left.min(self.room.left())
    }

    /// The number of the page that is missing.
    pub(super) fn expects(&self) -> u64 {
        self.expects
    }

    /// Notes that a page was served, here or elsewhere, for those who wait.
    pub(super) fn moved(&self, number: u64, rows: u64) {
        // Whoever waits at Trino keeps nobody waiting.
        if let Some(lead) = self.lead.as_ref().filter(|_| number >= EXECUTING) {
            lead.moved(rows > 0);
        }
    }

    /// Takes what a page had in it. What comes too early waits for what is missing.
    pub(super) fn take(&mut self, number: Option<u64>, part: Part) -> Progress {
        if part.spoiled {
            return Progress::Spoiled;
        }
        let Some(number) = number.filter(|number| *number >= self.expects) else { return Progress::Partial };
        if self.ahead.contains_key(&number) {
            return Progress::Partial;
        }
        let bytes = part.data.len();
        if part.too_large || bytes > self.left || !self.room.take(bytes) {
            return Progress::TooLarge;
        }
        self.left -= bytes;
        self.ahead.insert(number, part);
        while let Some(part) = self.ahead.remove(&self.expects) {
            self.took = Duration::from_millis(part.took_ms);
            match (part.columns.map(Bytes::from), &self.columns) {
                (Some(columns), Some(known)) if columns != *known => return Progress::Spoiled,
                (Some(columns), None) => self.columns = Some(columns),
                _ => {}
            }
            if part.rows > 0 {
                self.pages.push((part.rows, part.data.into()));
            }
            match part.next {
                Some(next) if next > self.expects => self.expects = next,
                None if self.columns.is_some() => return Progress::Whole,
                _ => return Progress::Spoiled,
            }
        }
        Progress::Partial
    }
}

impl Gateway {
    /// Keeps a page of another gateway's query for that one, which collects the answer; then tells it of the page.
    pub(super) fn collect_elsewhere(self: &Arc<Self>, link: &Link, number: u64, part: Part, report: Report) {
        let (gateway, link) = (Arc::clone(self), link.clone());
        // A gateway that stops tells of it before.
        let taken = self.taken.token();
        self.work.spawn(async move {
            let _taken = taken;
            if let (Some(cache), Ok(part)) = (&gateway.cache, serde_json::to_vec(&part)) {
                cache.put_page(&link.query, number, &part).await;
            }
            gateway.replicas.report(link.origin, report);
        });
    }

    /// Puts an answer together of which pages were served elsewhere, now that its query has ended.
    pub(super) fn assemble(self: &Arc<Self>, running: &Running) {
        if !self.replicas.are_several() {
            return;
        }
        let Some(collector) = running.stop_collecting() else { return };
        let (gateway, id) = (Arc::clone(self), running.id.clone());
        self.work.spawn(async move {
            let mut collector = collector;
            let progress = gateway.assembled(&mut collector, &id).await;
            gateway.collected(*collector, progress, &id);
        });
    }

    async fn assembled(&self, collector: &mut Collector, query: &str) -> Progress {
        let Some(cache) = &self.cache else { return Progress::Partial };
        let mut looks = 0;
        while looks < MOST_LOOKS {
            let number = collector.expects();
            let part = match cache.page(query, number).await {
                // It may be on its way.
                Ok(None) => {
                    looks += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(Some(bytes)) => serde_json::from_slice(&bytes).ok(),
                Err(_) => None,
            };
            let Some(part) = part else { return Progress::Partial };
            match collector.take(Some(number), part) {
                Progress::Partial => {}
                progress => return progress,
            }
        }
        Progress::Partial
    }

    /// An answer is whole, or cannot be kept.
    pub(super) fn collected(self: &Arc<Self>, collector: Collector, progress: Progress, id: &str) {
        match progress {
            Progress::Whole => self.keep_answer(collector, id),
            Progress::TooLarge => {
                if let Some(cache) = &self.cache {
                    cache.give_up(collector.key);
                }
                fail(collector.lead);
                self.metrics.cache_answer(telemetry::Kept::TooLarge);
            }
            Progress::Spoiled | Progress::Partial => {
                fail(collector.lead);
                self.metrics.cache_answer(telemetry::Kept::Failed);
            }
        }
    }

    /// Keeps an answer that has come to its end, if all that it depends on is as it was before.
    fn keep_answer(self: &Arc<Self>, collector: Collector, id: &str) {
        let (gateway, origin) = (Arc::clone(self), id.to_owned());
        self.work.spawn(async move { gateway.keep(collector, origin).await });
    }

    async fn keep(&self, collector: Collector, origin: String) {
        let Some(cache) = &self.cache else { return };
        let Collector { key, lead, wanted, stands, date, epoch, since, took, columns, pages, .. } = collector;
        if took < cache.config().min_time.0 && !lead.as_ref().is_some_and(Lead::is_followed) {
            self.metrics.cache_answer(telemetry::Kept::Cheap);
            return;
        }
        let unchanged = Self::stands(&wanted, Duration::ZERO).await.is_ok_and(|now| now == stands)
            && wanted.date().is_ok_and(|now| now == date);
        let Some(columns) = columns.filter(|_| unchanged) else {
            self.metrics.cache_answer(telemetry::Kept::Changed);
            return;
        };
        let about = About {
            key,
            origin,
            principal: wanted.caller.authenticated().principal().name().to_owned(),
            tables: stands.into_keys().collect(),
            tags: wanted.tags.clone(),
            revision: wanted.revision.clone(),
            since,
            took,
            life: wanted.life,
        };
        let packed = tokio::task::spawn_blocking(move || Entry::pack(about, columns, pages)).await;
        let Ok(entry) = packed.map(Arc::new) else { return };
        let kept = cache.keep(&entry, epoch).await;
        self.metrics.cache_answer(match kept {
            Kept::Yes => telemetry::Kept::Kept,
            Kept::Cheap => telemetry::Kept::Cheap,
            Kept::TooLarge => telemetry::Kept::TooLarge,
            Kept::Purged => telemetry::Kept::Changed,
            Kept::Silent => telemetry::Kept::Failed,
        });
        match kept {
            Kept::Yes => {}
            // What other gateways cannot have is not given at this one either.
            Kept::TooLarge if cache.is_shared() => {
                cache.give_up(key);
                return fail(lead);
            }
            Kept::Cheap | Kept::TooLarge => {}
            Kept::Purged | Kept::Silent => return,
        }
        if let Some(lead) = lead {
            lead.land(entry);
        }
    }
}

/// Tells those who wait that there will be no answer.
fn fail(lead: Option<Lead>) {
    if let Some(lead) = lead {
        lead.fail();
    }
}
