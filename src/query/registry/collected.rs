//! What becomes of a query's answer: collected to be given again, or one that was.

use std::sync::Arc;

use super::Running;
use crate::cache::Entry;
use crate::query::collector::{Collector, Part, Progress};
use crate::wire::PageSummary;

impl Running {
    /// Collects the answer from here on.
    pub(in crate::query) fn collect_in(&self, collector: Box<Collector>) {
        let mut state = self.state();
        if state.guard.is_some() {
            state.collector = Some(collector);
        }
    }

    /// How many bytes of rows may still be collected, if any are.
    pub(in crate::query) fn collects(&self) -> Option<usize> {
        self.state().collector.as_ref().map(|collector| collector.left())
    }

    /// Collects a page. With the last one, or where the answer cannot be kept, gives all there is.
    pub(in crate::query) fn collect(
        &self,
        page: Option<u64>,
        summary: &mut PageSummary,
    ) -> Option<(Box<Collector>, Progress)> {
        let mut state = self.state();
        match state.collector.as_mut()?.take(page, Part::of(summary)) {
            Progress::Partial => None,
            progress => state.collector.take().map(|collector| (collector, progress)),
        }
    }

    /// Collects no more; gives what there is, which may lack pages.
    pub(in crate::query) fn stop_collecting(&self) -> Option<Box<Collector>> {
        self.state().collector.take()
    }

    /// Whether an answer is collected that is looked for as one of another Trino.
    pub(in crate::query) fn collects_of_another(&self, version: Option<&str>) -> bool {
        self.state().collector.as_ref().is_some_and(|collector| version != Some(&*collector.wanted.trino))
    }

    /// Serves an answer that was given before.
    pub(in crate::query) fn serve_from(&self, entry: Arc<Entry>) {
        self.state().entry = Some(entry);
    }

    /// The answer that is served again.
    pub(in crate::query) fn entry(&self) -> Option<Arc<Entry>> {
        self.state().entry.clone()
    }
}
