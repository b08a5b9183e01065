//! Who may read the audit through the gateway, and how much of that is done at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

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
    text_keys: Option<std::path::PathBuf>,
    searches: Arc<Semaphore>,
    own: Arc<Semaphore>,
    jobs: Arc<Jobs>,
}

impl Auditors {
    /// Members of the groups of the configuration; without any, nobody.
    pub fn new(config: &Config) -> Self {
        Self {
            groups: config.auditors.clone(),
            place: Place::Folder(config.folder.clone()),
            text_keys: config.text_keys.clone(),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            own: Arc::new(Semaphore::new(OWN)),
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

    /// The right to look for one's own records, if nobody else does just now; waits for it a little.
    pub async fn own_turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.own).acquire_owned();
        tokio::time::timeout(std::time::Duration::from_secs(5), turn).await.ok()?.ok()
    }
}
