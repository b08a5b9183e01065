//! Who may read the audit through the gateway, and how much of that is done at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Config;
use super::take::{Jobs, Place, Selection};

/// Searches and reports of auditors at a time, and of everybody in their own history: each reads many files.
const SEARCHES: usize = 2;
const OWN: usize = 1;

/// Who may read the audit, and where it is.
pub struct Auditors {
    groups: BTreeSet<String>,
    place: Place,
    origin: String,
    text_keys: Option<std::path::PathBuf>,
    searches: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// Who looks, or waits to look, for their own records.
    looking: Arc<Mutex<BTreeSet<String>>>,
    jobs: Arc<Jobs>,
}

impl Auditors {
    /// Members of the groups of the configuration; without any, nobody.
    pub fn new(config: &Config) -> Self {
        Self {
            groups: config.auditors.clone(),
            place: Place::Folder(config.folder.clone()),
            origin: config.origin.clone(),
            text_keys: config.text_keys.clone(),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            own: Arc::new(Semaphore::new(OWN)),
            looking: Arc::default(),
            jobs: Arc::new(Jobs::new(config.clone())),
        }
    }

    /// Whether somebody in these groups is one.
    pub fn admits(&self, groups: &BTreeSet<String>) -> bool {
        !self.groups.is_disjoint(groups)
    }

    /// Where the log is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the log is called.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A selection whose texts are opened.
    pub fn opening(&self, selection: Selection) -> Selection {
        Selection { text_keys: self.text_keys.clone(), ..selection }
    }

    /// Exports that are prepared.
    pub fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// The right to search, if not too many do.
    pub fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.searches).try_acquire_owned().ok()
    }

    /// The right to look for one's own records, if nobody else does just now; waits for it a little, with one request of each
    /// principal.
    pub async fn own_turn(&self, principal: &str) -> Option<OwnTurn> {
        let looking = Looking::begin(&self.looking, principal)?;
        let turn = Arc::clone(&self.own).acquire_owned();
        let turn = tokio::time::timeout(std::time::Duration::from_secs(5), turn).await.ok()?.ok()?;
        Some(OwnTurn { _looking: looking, _turn: turn })
    }
}

/// The right to look for one's own records, while this is held.
pub struct OwnTurn {
    _looking: Looking,
    _turn: OwnedSemaphorePermit,
}

/// That a principal is one of those who look.
struct Looking {
    all: Arc<Mutex<BTreeSet<String>>>,
    principal: String,
}

impl Looking {
    fn begin(all: &Arc<Mutex<BTreeSet<String>>>, principal: &str) -> Option<Self> {
        let new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(principal.to_owned());
        new.then(|| Self { all: Arc::clone(all), principal: principal.to_owned() })
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.principal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_looks_twice_at_a_time() {
        let temp = tempfile::tempdir().expect("a folder");
        let auditors = Auditors::new(&Config { folder: temp.path().join("audit"), ..Config::default() });
        let turn = auditors.own_turn("ann").await.expect("free");
        assert!(auditors.own_turn("ann").await.is_none(), "twice");
        assert!(auditors.own_turn("bob").await.is_none(), "two at a time");
        drop(turn);
        // Who waited in vain waits no more.
        drop(auditors.own_turn("bob").await.expect("free"));
        drop(auditors.own_turn("ann").await.expect("free"));
    }
}
