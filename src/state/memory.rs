//! Entries in this process: gone with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Key, Kind, StoreError};

/// Most entries of a kind.
const MOST: usize = 100_000;

/// Entries of this process.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<Kind, Shelf>>);

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(..)")
    }
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<[u8; 32], Entry>,
    /// When it was last looked through for what has ended.
    swept: Option<Instant>,
}

struct Entry {
    bytes: Vec<u8>,
    ends: Instant,
}

impl Shelf {
    /// Makes room. What has not ended is never dropped for what is new: a thing that was used would be usable again, and
    /// somebody who signed in would be signed out by a stranger's attempts.
    fn room(&mut self, now: Instant, kind: Kind) -> Result<(), StoreError> {
        const PAUSE: Duration = Duration::from_secs(10);
        let due = self.swept.is_none_or(|swept| now.duration_since(swept) >= PAUSE);
        if due {
            self.entries.retain(|_, entry| entry.ends > now);
            self.swept = Some(now);
        }
        if self.entries.len() < MOST { Ok(()) } else { Err(StoreError::Full(kind.as_str())) }
    }
}

impl Memory {
    fn on<T>(&self, kind: Kind, act: impl FnOnce(&mut Shelf) -> T) -> T {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(shelves.entry(kind).or_default())
    }

    pub(super) fn put(&self, key: Key, bytes: Vec<u8>, life: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        self.on(key.kind, |shelf| {
            // What is there already takes up no more room.
            if !shelf.entries.contains_key(&key.hash) {
                shelf.room(now, key.kind)?;
            }
            shelf.entries.insert(key.hash, Entry { bytes, ends: now + life });
            Ok(())
        })
    }

    pub(super) fn add(&self, key: Key, bytes: Vec<u8>, life: Duration) -> Result<bool, StoreError> {
        let now = Instant::now();
        self.on(key.kind, |shelf| {
            if shelf.entries.get(&key.hash).is_some_and(|entry| entry.ends > now) {
                return Ok(false);
            }
            shelf.room(now, key.kind)?;
            shelf.entries.insert(key.hash, Entry { bytes, ends: now + life });
            Ok(true)
        })
    }

    pub(super) fn find(&self, key: &Key) -> Option<Vec<u8>> {
        let now = Instant::now();
        self.on(key.kind, |shelf| {
            shelf.entries.get(&key.hash).filter(|entry| entry.ends > now).map(|entry| entry.bytes.clone())
        })
    }

    pub(super) fn take(&self, key: &Key) -> Option<Vec<u8>> {
        let now = Instant::now();
        self.on(key.kind, |shelf| {
            shelf.entries.remove(&key.hash).filter(|entry| entry.ends > now).map(|entry| entry.bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_end_and_are_taken_once() {
        let memory = Memory::default();
        let key = Key::new(Kind::Used, "a");
        let second = Duration::from_secs(1);
        assert_eq!(memory.add(key, vec![1], second), Ok(true));
        assert_eq!(memory.add(key, vec![2], second), Ok(false));
        assert_eq!(memory.find(&Key::new(Kind::Session, "a")), None, "another kind");
        assert_eq!(memory.find(&key), Some(vec![1]));
        tokio::time::advance(second).await;
        assert_eq!(memory.find(&key), None);
        assert_eq!(memory.add(key, vec![3], second), Ok(true));
        assert_eq!(memory.take(&key), Some(vec![3]));
        assert_eq!(memory.take(&key), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lives_is_not_dropped_for_what_is_new() {
        let memory = Memory::default();
        for n in 0..MOST {
            memory
                .put(Key::new(Kind::Used, &n.to_string()), Vec::new(), Duration::from_mins(1))
                .expect("room");
        }
        let late = Key::new(Kind::Used, "late");
        assert_eq!(memory.add(late, Vec::new(), Duration::from_mins(1)), Err(StoreError::Full("used")));
        assert_eq!(
            memory.put(Key::new(Kind::Used, "7"), vec![1], Duration::from_mins(1)),
            Ok(()),
            "there already"
        );
        assert_eq!(memory.put(Key::new(Kind::Attempt, "x"), Vec::new(), Duration::from_mins(1)), Ok(()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(memory.add(late, Vec::new(), Duration::from_mins(1)), Ok(true));
    }
}
