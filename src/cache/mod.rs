//! Stage 8: answers that are given again.
//!
//! An answer is given again to whoever asks the same ([`Parts`]) while all that it depends on is as it was: the text that
//! Trino would be sent, the session, the policies, and the state of each table that it reads, which is asked of the catalog
//! again each time. Which answers these can be is a list ([`judge`]); where anything is not sure, Trino is asked.
//!
//! The decision comes first, each time: who may not read does not come here. Filters and masks are in the text, so that two
//! principals share an answer exactly where policy gives them the same text and nothing in it depends on who asks.
//!
//! Below the memory is a [`tier`]: several gateways keep answers together in Redis, and each has those in memory that it has had to
//! do with; or one keeps them on a disk.

mod config;
mod entry;
mod flight;
mod judge;
mod key;
mod store;
mod tier;
mod warming;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use config::{Config, DiskConfig};
pub use entry::{About, Corrupt, Entry};
pub use flight::{Boarding, Follow, Landed, Lead};
pub use judge::{Nature, Reason, Table, judge};
pub use key::{Key, Parts, Stand, Stem};
pub use store::Purge;
pub use tier::DiskLoad;
pub use warming::Warming;

use flight::Flights;
use store::Store;
use tier::{Disk, Found, Shared, Tier};

use crate::state::{Scripts, StoreError};

/// How many questions with answers that are too large are remembered, and for how long.
const HOPELESS: u64 = 10_000;
const GIVEN_UP: Duration = Duration::from_mins(10);

/// All answers that are kept, and the questions that are under way.
pub struct Cache {
    config: Config,
    store: Store,
    tier: Option<Tier>,
    /// The epoch of the tier, when it was last looked at.
    seen: Mutex<Option<tier::Epoch>>,
    flights: Flights,
    /// Questions whose answers are too large: they are not collected in vain, and nobody waits for them.
    hopeless: moka::sync::Cache<Key, ()>,
    /// Rises when answers are purged: one that was begun before is not kept.
    epoch: Arc<AtomicU64>,
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
    /// The state that gateways share does not take it.
    Silent,
}

/// When an answer was begun: before a purge or after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    here: u64,
    shared: tier::Epoch,
}

/// What was found of a question.
#[derive(Debug, Default)]
pub struct Looked {
    /// The answer, if it is kept.
    pub entry: Option<Arc<Entry>>,
    /// Whether one was there that does not open. It is removed.
    pub corrupt: bool,
    /// When that was.
    pub epoch: Epoch,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Answers.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those on the disk, in memory or not.
    pub disk: DiskLoad,
}

impl Cache {
    /// An empty one. `scripts` lead to the Redis that gateways share, if they share one. A disk that cannot be used is not.
    pub fn new(config: Config, scripts: Option<Scripts>) -> Self {
        let epoch = Arc::new(AtomicU64::new(0));
        let shared = || Some(Tier::Shared(Shared::new(scripts?, config.redis?.0)));
        let disk = |DiskConfig { folder, size }: &DiskConfig| {
            let opened = Disk::open(folder, size.0, Arc::clone(&epoch));
            let failed = |error: &_| tracing::error!(%error, folder = %folder.display(), "no answers are kept on the disk");
            opened.inspect_err(failed).ok().map(Tier::Disk)
        };
        let tier = config.disk.as_ref().map_or_else(shared, disk);
        Self {
            store: Store::new(config.memory.0, config.of_one().0),
            tier,
            seen: Mutex::default(),
            config,
            flights: Flights::default(),
            hopeless: moka::sync::Cache::builder().max_capacity(HOPELESS).time_to_live(GIVEN_UP).build(),
            epoch,
            collecting: Arc::default(),
        }
    }

    /// The `[cache]` section.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether other gateways give the same answers again.
    pub fn is_shared(&self) -> bool {
        self.shared().is_some()
    }

    fn shared(&self) -> Option<&Shared> {
        self.tier.as_ref().and_then(Tier::shared)
    }

    fn disk(&self) -> Option<&Disk> {
        self.tier.as_ref().and_then(Tier::disk)
    }

    /// Looks for the answer to a question.
    ///
    /// # Errors
    /// The state that gateways share does not answer: what it would say is not known.
    pub async fn look(&self, key: &Key) -> Result<Looked, StoreError> {
        let here = self.epoch();
        let entry = self.store.get(key);
        let Some(tier) = &self.tier else {
            return Ok(Looked { entry, corrupt: false, epoch: Epoch { here, ..Epoch::default() } });
        };
        let source = entry.as_ref().map(|entry| entry.about().origin.as_str());
        let (found, shared) = tier.look(key, source).await?;
        self.saw(shared);
        let corrupt = matches!(found, Found::Corrupt);
        let entry = match found {
            Found::Same => entry,
            Found::Entry(entry) => {
                let entry: Arc<Entry> = entry.into();
                self.store.insert(Arc::clone(&entry));
                let stays = self.epoch() == here;
                if !stays {
                    // The purge may not have seen it.
                    self.store.remove(key);
                }
                Some(entry).filter(|_| stays)
            }
            Found::Nothing | Found::Corrupt => {
                if entry.is_some() {
                    self.store.remove(key);
                }
                None
            }
        };
        Ok(Looked { entry, corrupt, epoch: Epoch { here, shared } })
    }

    /// Looks for an answer that is being given again, by the query whose answer it is.
    ///
    /// # Errors
    /// It is not here, and the state that gateways share does not answer.
    pub async fn given(&self, key: &Key, source: &str) -> Result<Looked, StoreError> {
        let is_it = |entry: &Arc<Entry>| entry.about().origin == source;
        if let Some(entry) = self.store.get(key).filter(is_it) {
            return Ok(Looked { entry: Some(entry), ..Looked::default() });
        }
        let looked = self.look(key).await?;
        Ok(Looked { entry: looked.entry.filter(is_it), ..looked })
    }

    /// After a purge at another gateway nothing stays in memory here: what is left can be fetched again.
    fn saw(&self, epoch: tier::Epoch) {
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(epoch);
        if before.is_some_and(|before| before != epoch) {
            self.store.clear();
        }
    }

    /// Notices purges at other gateways, also where nobody asks.
    pub async fn notice(&self) {
        let Some(tier) = self.shared() else { return };
        // That it fails is logged where the state is asked: then nothing is given again either.
        if let Ok(epoch) = tier.epoch().await {
            self.saw(epoch);
        }
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

    /// Claims a question for a gateway, for so long: of several that warm the same one does. False if it is another's.
    ///
    /// # Errors
    /// The state that gateways share does not answer.
    pub async fn claim(&self, key: &Key, gateway: u64, life: Duration) -> Result<bool, StoreError> {
        match self.shared() {
            Some(tier) => tier.claim(key, gateway, life).await,
            None => Ok(true),
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer that was begun in an epoch.
    pub async fn keep(&self, entry: &Arc<Entry>, epoch: Epoch) -> Kept {
        let key = entry.about().key;
        if self.epoch() != epoch.here {
            return Kept::Purged;
        }
        if let Some(tier) = self.shared() {
            // Also one that Trino gave fast, for those who wait for it: any gateway may be asked for its pages.
            if entry.size() > tier.largest() {
                return Kept::TooLarge;
            }
            match tier.keep(entry, &epoch.shared).await {
                Ok(true) => {}
                Ok(false) => return Kept::Purged,
                Err(error) => {
                    tracing::info!(%error, "an answer is not kept");
                    return Kept::Silent;
                }
            }
        } else if entry.about().took < self.config.min_time.0 {
            return Kept::Cheap;
        }
        if !self.store.insert(Arc::clone(entry)) {
            // Others may have the room.
            return if self.is_shared() { Kept::Yes } else { Kept::TooLarge };
        }
        if self.epoch() != epoch.here {
            // The purge may not have seen it.
            self.store.remove(&key);
            return Kept::Purged;
        }
        if let Some(disk) = self.disk() {
            disk.keep(entry, epoch.here);
        }
        Kept::Yes
    }

    /// Removes answers, at all gateways, and says how many. What is under way is not kept either.
    ///
    /// # Errors
    /// The state that gateways share does not answer: some may still be there.
    pub async fn purge(&self, purge: &Purge) -> Result<usize, StoreError> {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let here = self.store.purge(purge);
        if let Some(tier) = self.shared() {
            return tier.purge(purge).await;
        }
        let mut gone: BTreeSet<Key> = here.into_iter().collect();
        if let Some(disk) = self.disk().cloned() {
            let purge = purge.clone();
            let on_disk = tokio::task::spawn_blocking(move || disk.purge(&purge)).await;
            gone.extend(on_disk.map_err(|error| StoreError::Form(error.to_string()))?);
        }
        Ok(gone.len())
    }

    /// The most bytes of one page that is kept for the gateway that collects it; none if there are no others.
    pub fn most_of_page(&self) -> Option<usize> {
        self.shared().map(Shared::largest)
    }

    /// Keeps a page of a query for the gateway that collects its answer.
    pub async fn put_page(&self, query: &str, number: u64, page: &[u8]) {
        if let Some(tier) = self.shared()
            && let Err(error) = tier.put_page(query, number, page).await
        {
            tracing::info!(%error, "an answer will not be kept");
        }
    }

    /// Takes a page of a query that another gateway has served.
    ///
    /// # Errors
    /// The state that gateways share does not answer, or what it has is no such page.
    pub async fn page(&self, query: &str, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.shared() {
            // Within the page its rows are a string: that may double them.
            Some(tier) => tier.page(query, number, 4 * tier.largest()).await,
            None => Ok(None),
        }
    }

    /// Room for an answer that is being collected.
    pub fn room(&self) -> Room {
        let most = usize::try_from(self.config.memory.0 / 4).unwrap_or(usize::MAX);
        Room { collecting: Arc::clone(&self.collecting), taken: 0, most }
    }

    /// How much there is now.
    pub fn load(&self) -> Load {
        let (entries, bytes) = self.store.load();
        Load { entries, bytes, disk: self.disk().map(Disk::load).unwrap_or_default() }
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
