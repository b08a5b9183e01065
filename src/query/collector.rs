//! Collects the pages of an answer as they pass, to be given again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cached::Wanted;
use super::poll::page_number;
use super::tally::EXECUTING;
use crate::cache::{Key, Lead, Room, Stand};
use crate::catalog::TableName;
use crate::wire::PageSummary;

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
    pub(super) epoch: u64,
    pub(super) since: Instant,
    /// How long Trino took, as it says.
    pub(super) took: Duration,
    pub(super) columns: Option<Bytes>,
    pub(super) pages: Vec<(u64, Bytes)>,
    /// The number of the next page. Others are pages that were asked for twice.
    expects: u64,
    left: usize,
    room: Room,
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
        (epoch, room, most): (u64, Room, usize),
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
            left: most,
            room,
        }
    }

    /// How many bytes of rows may still come.
    pub(super) fn left(&self) -> usize {
        self.left.min(self.room.left())
    }

    /// Takes what a page had in it.
    pub(super) fn take(&mut self, number: Option<u64>, summary: &mut PageSummary) -> Progress {
        if let Some(lead) = &self.lead {
            // Whoever waits at Trino keeps nobody waiting.
            if number.is_some_and(|number| number >= EXECUTING) {
                lead.moved(summary.rows > 0);
            }
        }
        let copy = summary.copy.take();
        if summary.error.is_some() || summary.update_type.is_some() {
            return Progress::Spoiled;
        }
        if number != Some(self.expects) {
            return Progress::Partial;
        }
        self.took = Duration::from_millis(summary.processed.elapsed_time_millis);
        let Some(copy) = copy else { return Progress::TooLarge };
        if copy.warned {
            return Progress::Spoiled;
        }
        match (copy.columns, &self.columns) {
            (Some(columns), Some(known)) if columns != *known => return Progress::Spoiled,
            (Some(columns), None) => self.columns = Some(columns),
            _ => {}
        }
        if summary.rows > 0 {
            let bytes = copy.rows.len();
            if bytes > self.left || !self.room.take(bytes) {
                return Progress::TooLarge;
            }
            self.left -= bytes;
            self.pages.push((summary.rows, copy.rows));
        }
        match &summary.next {
            Some(path) => match page_number(path) {
                Some(next) => {
                    self.expects = next;
                    Progress::Partial
                }
                None => Progress::Spoiled,
            },
            None if summary.state == "FINISHED" && self.columns.is_some() => Progress::Whole,
            None => Progress::Spoiled,
        }
    }
}
