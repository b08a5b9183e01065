//! How far the journal is durable, which the writer says and the sealer reads.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One file of the journal, and what of it is durable.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) path: PathBuf,
    /// The number of records before it.
    pub(super) first: u64,
    /// Durable records in it.
    pub(super) records: u64,
    /// Their bytes, or more where nothing behind them counts.
    pub(super) bytes: u64,
    /// Nothing will be added to it.
    pub(super) closed: bool,
}

impl Stretch {
    /// The number of records up to its end.
    pub(super) fn end(&self) -> u64 {
        self.first + self.records
    }
}

/// The files of the journal that are there, all of them, in order: what a file holds is told by where the next one begins,
/// so that none may stay behind when a later one is removed. Their number is bounded by the limit of the folder's size.
#[derive(Default)]
pub(super) struct Progress(Mutex<Vec<Stretch>>);

impl Progress {
    pub(super) fn new(stretches: Vec<Stretch>) -> Self {
        Self(Mutex::new(stretches))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Stretch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of durable records.
    pub(super) fn size(&self) -> u64 {
        self.all().last().map_or(0, Stretch::end)
    }

    /// A new file is written to.
    pub(super) fn begin(&self, path: PathBuf, first: u64) {
        let mut all = self.all();
        all.iter_mut().for_each(|stretch| stretch.closed = true);
        // Files that nothing could be written to, and that are gone.
        all.retain(|stretch| stretch.records > 0 || stretch.path.exists());
        all.push(Stretch { path, first, records: 0, bytes: 0, closed: false });
    }

    /// More of the newest file is durable.
    pub(super) fn grew(&self, records: u64, bytes: u64) {
        if let Some(last) = self.all().last_mut() {
            last.records += records;
            last.bytes += bytes;
        }
    }

    /// The newest file is not written to any more.
    pub(super) fn end(&self) {
        if let Some(last) = self.all().last_mut() {
            last.closed = true;
        }
    }

    /// What is durable now.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        self.all().clone()
    }

    /// The files that hold nothing but the first `size` records, in order. The newest one stays, so that the number of
    /// records is known.
    pub(super) fn covered(&self, size: u64) -> Vec<PathBuf> {
        let all = self.all();
        let over = |stretch: &&Stretch| stretch.closed && stretch.end() <= size;
        let most = all.len().saturating_sub(1);
        all.iter().take(most).take_while(over).map(|stretch| stretch.path.clone()).collect()
    }

    /// The file is removed.
    pub(super) fn forget(&self, path: &Path) {
        self.all().retain(|stretch| stretch.path != path);
    }
}
