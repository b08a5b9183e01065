//! Stage 8: answers that are given again.
//!
//! An answer is given again to whoever asks the same ([`Parts`]) while all that it depends on is as it was: the text that
//! Trino would be sent, the session, the policies, and the state of each table that it reads, which is asked of the catalog
//! again each time. Which answers these can be is a list ([`judge`]); where anything is not sure, Trino is asked.
//!
//! The decision comes first, each time: who may not read does not come here. Filters and masks are in the text, so that two
//! principals share an answer exactly where policy gives them the same text and nothing in it depends on who asks.

mod config;
mod entry;
mod flight;
mod judge;
mod key;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use config::Config;
pub use entry::{About, Corrupt, Entry};
pub use flight::{Boarding, Follow, Landed, Lead};
pub use judge::{Nature, Reason, Table, judge};
pub use key::{Key, Parts, Stand, Stem};
pub use store::Purge;

use flight::Flights;
use store::Store;

/// How many questions with answers that are too large are remembered, and for how long.
const HOPELESS: u64 = 10_000;
const GIVEN_UP: Duration = Duration::from_mins(10);

/// All answers that are kept, and the questions that are under way.
pub struct Cache {
    config: Config,
    store: Store,
    flights: Flights,
    /// Questions whose answers are too large: they are not collected in vain, and nobody waits for them.
    hopeless: moka::sync::Cache<Key, ()>,
    /// Rises when answers are purged: one that was begun before is not kept.
    epoch: AtomicU64,
    /// Bytes of answers that are being collected.
    collecting: Arc<AtomicUsize>,
}

/// Room for an answer that is being collected. Dropped, it is free.
#[derive(Debug)]
pub struct Room {
    collecting: Arc<AtomicUsize>,
    taken: usize,
    most: usize,
}

/// What became of an answer that could be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// Trino was fast enough.
    Cheap,
    /// It is more than a principal's share.
    TooLarge,
    /// It was begun before a purge.
    Purged,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Answers.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Cache {
    /// An empty one.
    pub fn new(config: Config) -> Self {
        Self {
            store: Store::new(config.memory.0, config.of_one().0),
            config,
            flights: Flights::default(),
            hopeless: moka::sync::Cache::builder().max_capacity(HOPELESS).time_to_live(GIVEN_UP).build(),
            epoch: AtomicU64::new(0),
            collecting: Arc::default(),
        }
    }

    /// The `[cache]` section.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The answer to a question, if it is kept.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.store.get(key)
    }

    /// Joins whoever asks the same, or becomes the one who asks.
    pub fn board(&self, key: Key) -> Boarding {
        self.flights.board(key)
    }

    /// Asks, whoever else does.
    pub fn lead(&self, key: Key) -> Lead {
        self.flights.lead(key)
    }

    /// Whether an answer turned out too large a while ago.
    pub fn is_hopeless(&self, key: &Key) -> bool {
        self.hopeless.contains_key(key)
    }

    /// Notes that an answer is too large.
    pub fn give_up(&self, key: Key) {
        self.hopeless.insert(key, ());
    }

    /// How often answers have been purged.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer that was begun in an epoch.
    pub fn keep(&self, key: Key, entry: &Arc<Entry>, epoch: u64) -> Kept {
        if entry.about().took < self.config.min_time.0 {
            return Kept::Cheap;
        }
        if self.epoch() != epoch {
            return Kept::Purged;
        }
        if !self.store.insert(key, Arc::clone(entry)) {
            return Kept::TooLarge;
        }
        if self.epoch() != epoch {
            // The purge may not have seen it.
            self.store.remove(&key);
            return Kept::Purged;
        }
        Kept::Yes
    }

    /// Forgets an answer.
    pub fn remove(&self, key: &Key) {
        self.store.remove(key);
    }

    /// Removes answers, and says how many. What is under way is not kept either.
    pub fn purge(&self, purge: &Purge) -> usize {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.store.purge(purge)
    }

    /// Room for an answer that is being collected.
    pub fn room(&self) -> Room {
        let most = usize::try_from(self.config.memory.0 / 4).unwrap_or(usize::MAX);
        Room { collecting: Arc::clone(&self.collecting), taken: 0, most }
    }

    /// How much there is now.
    pub fn load(&self) -> Load {
        let (entries, bytes) = self.store.load();
        Load { entries, bytes }
    }
}

impl Room {
    /// How many bytes more there would be room for now.
    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.collecting.load(Ordering::Acquire))
    }

    /// Takes so many bytes more; false if there is no room for them.
    pub fn take(&mut self, bytes: usize) -> bool {
        let before = self.collecting.fetch_add(bytes, Ordering::AcqRel);
        self.taken += bytes;
        before.saturating_add(bytes) <= self.most
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.collecting.fetch_sub(self.taken, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
