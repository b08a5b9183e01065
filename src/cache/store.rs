//! Where answers are kept: in memory, by how often they are asked for (TinyLFU), within a bound for all and one for each
//! principal.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::{About, Entry, Key};
use crate::catalog::TableName;

/// The answers.
pub(super) struct Store {
    entries: Cache<Key, Arc<Entry>>,
    ledger: Arc<Mutex<Ledger>>,
    per_principal: usize,
}

/// What is kept of whose queries: the oldest of one's goes first where they have too many.
#[derive(Debug, Default)]
struct Ledger(HashMap<String, Account>);

#[derive(Debug, Default)]
struct Account {
    bytes: usize,
    /// Oldest first. Those that are gone are still there, until their turn comes or they are more than the others.
    entries: VecDeque<(Key, usize)>,
    gone: HashMap<Key, usize>,
}

/// Which answers are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All.
    All,
    /// Those that read a table.
    Table(TableName),
    /// Those that read a column with a tag.
    Tag(String),
    /// Those of the queries of a principal.
    Principal(String),
    /// Those that other policies than these decided about.
    Revision(String),
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Table(table) => write!(f, "table {table}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Principal(name) => write!(f, "principal {name}"),
            Self::Revision(revision) => write!(f, "all but revision {revision}"),
        }
    }
}

impl Purge {
    pub(super) fn takes(&self, about: &About) -> bool {
        match self {
            Self::All => true,
            Self::Table(table) => about.tables.contains(table),
            Self::Tag(tag) => about.tags.contains(tag),
            Self::Principal(name) => about.principal == *name,
            Self::Revision(revision) => about.revision != *revision,
        }
    }
}

/// An answer goes when its time is over.
struct Life;

impl Expiry<Key, Arc<Entry>> for Life {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.left())
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.left())
    }
}

impl Store {
    /// For at most so many bytes, and so many of one principal's queries.
    pub(super) fn new(most: u64, per_principal: u64) -> Self {
        let ledger: Arc<Mutex<Ledger>> = Arc::default();
        let gone = Arc::clone(&ledger);
        let entries = Cache::builder()
            .weigher(|_: &Key, entry: &Arc<Entry>| u32::try_from(entry.size()).unwrap_or(u32::MAX))
            .max_capacity(most)
            .expire_after(Life)
            .eviction_listener(move |_, entry: Arc<Entry>, _| locked(&gone).remove(&entry))
            .build();
        Self { entries, ledger, per_principal: usize::try_from(per_principal).unwrap_or(usize::MAX) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key).filter(|entry| !entry.left().is_zero())
    }

    /// Keeps an answer; false if it is too large for its principal's share. That it is kept for long is not said: where the
    /// others are asked for more often, it is not.
    pub(super) fn insert(&self, entry: Arc<Entry>) -> bool {
        let key = entry.about().key;
        let Some(room) = self.per_principal.checked_sub(entry.size()) else { return false };
        // The lock is not held while entries go: that calls for it.
        let victims = locked(&self.ledger).add(&entry, room);
        victims.iter().for_each(|victim| self.entries.invalidate(victim));
        self.entries.insert(key, entry);
        true
    }

    pub(super) fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// Removes answers, and says which.
    pub(super) fn purge(&self, purge: &Purge) -> Vec<Key> {
        let found: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| purge.takes(entry.about()))
            .map(|(key, _)| *key)
            .collect();
        found.iter().for_each(|key| self.entries.invalidate(key));
        self.entries.run_pending_tasks();
        found
    }

    /// Removes all, for now.
    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
        self.entries.run_pending_tasks();
    }

    /// The number of answers and their bytes.
    pub(super) fn load(&self) -> (u64, u64) {
        // What was kept a moment ago is counted only then.
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    #[cfg(test)]
    fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Adds an entry, and gives those that must go so that what was there before has at most `room` bytes.
    fn add(&mut self, entry: &Entry, room: usize) -> Vec<Key> {
        let account = self.0.entry(entry.about().principal.clone()).or_default();
        let mut victims = Vec::new();
        let mut left = account.bytes;
        for (known, size) in &account.entries {
            if left <= room {
                break;
            }
            if !account.gone.contains_key(known) {
                victims.push(*known);
                left = left.saturating_sub(*size);
            }
        }
        account.bytes += entry.size();
        account.entries.push_back((entry.about().key, entry.size()));
        victims
    }

    fn remove(&mut self, entry: &Entry) {
        let About { key, principal, .. } = entry.about();
        let Some(account) = self.0.get_mut(principal) else { return };
        account.bytes = account.bytes.saturating_sub(entry.size());
        *account.gone.entry(*key).or_default() += 1;
        if account.gone.len() * 2 > account.entries.len() || account.entries.len() < 16 {
            account.tidy();
        }
        if account.entries.is_empty() {
            self.0.remove(principal);
        }
    }
}

impl Account {
    /// Forgets those that are gone.
    fn tidy(&mut self) {
        let gone = &mut self.gone;
        self.entries.retain(|(key, _)| match gone.get_mut(key) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        gone.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::entry::tests::about;
    use super::super::key::tests::any_key;
    use super::*;

    fn entry(number: u64, principal: &str, table: &str, bytes: usize) -> Arc<Entry> {
        // Not to be compressed: each byte is another.
        let mut state = 7_u32;
        let byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let rows: Vec<u8> = std::iter::repeat_with(byte).take(bytes).collect();
        let about = About { key: any_key(number), ..about(principal, table) };
        Arc::new(Entry::pack(about, "[]".into(), vec![(1, Bytes::from(rows))]))
    }

    #[test]
    fn answers_stay_within_the_bounds() {
        let store = Store::new(1_000_000, 200_000);
        let mut size = 0;
        for n in 0..200 {
            let one = entry(n, if n % 2 == 0 { "ann" } else { "bob" }, "t", 20_000);
            size = one.size();
            assert!(store.insert(one));
            store.settle();
        }
        let (count, bytes) = store.load();
        let each = 200_000 / size as u64;
        assert_eq!((count, bytes), (2 * each, 2 * each * size as u64));
        // The latest of each is there.
        assert!(store.get(&any_key(199)).is_some() && store.get(&any_key(198)).is_some());
        assert!(store.get(&any_key(0)).is_none());
        assert!(!store.insert(entry(500, "carl", "t", 300_000)), "more than a share");
        for n in 1000..1300 {
            store.insert(entry(n, &format!("user{n}"), "t", 20_000));
        }
        store.settle();
        assert!(store.load().1 <= 1_000_000, "{:?}", store.load());
    }

    #[test]
    fn what_is_gone_is_not_counted() {
        let store = Store::new(1_000_000, 100_000);
        for n in 0..50 {
            store.insert(entry(n % 3, "ann", "t", 30_000));
            store.settle();
        }
        assert_eq!(store.load().0, 3);
        store.purge(&Purge::All);
        assert_eq!(store.load(), (0, 0));
        assert!(locked(&store.ledger).0.is_empty(), "{:?}", locked(&store.ledger));
    }

    #[test]
    fn answers_are_purged() {
        let store = Store::new(10_000_000, 10_000_000);
        let fill = || {
            store.insert(entry(1, "ann", "t", 10));
            store.insert(entry(2, "bob", "t", 10));
            store.insert(entry(3, "bob", "u", 10));
            store.settle();
        };
        let check = |purge: Purge, expect: usize| {
            fill();
            assert_eq!(store.purge(&purge).len(), expect, "{purge:?}");
        };
        check(Purge::Table(TableName::new("lake", "gold", "t").expect("a name")), 2);
        check(Purge::Table(TableName::new("lake", "gold", "v").expect("a name")), 0);
        check(Purge::Principal("bob".to_owned()), 2);
        check(Purge::Tag("pii.email".to_owned()), 3);
        check(Purge::Tag("pii".to_owned()), 0);
        check(Purge::Revision("r1".to_owned()), 0);
        check(Purge::Revision("r2".to_owned()), 3);
        check(Purge::All, 3);
    }

    #[test]
    fn answers_have_their_time() {
        let store = Store::new(1_000_000, 1_000_000);
        let mut short = about("ann", "t");
        short.life = Duration::ZERO;
        store.insert(Arc::new(Entry::pack(short, "[]".into(), vec![])));
        assert!(store.get(&any_key(1)).is_none());
    }
}
