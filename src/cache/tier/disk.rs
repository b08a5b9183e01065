//! The tier below memory: answers on a disk, for this gateway alone, until it ends.
//!
//! They are sealed with a key that nobody has but this process: what a gateway of before has left opens nowhere, and is removed at
//! the start. Which there are is known in memory, so that the disk is asked for nothing that it does not have. A disk that is full, or
//! fails, keeps less; no query waits for it to write.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::Found;
use crate::cache::entry::{About, Corrupt, Entry};
use crate::cache::{Key, Purge};
use crate::state::{self, Kind, Vault};

/// What the names of answers' files end in.
const ENDING: &str = "answer";
/// Whoever holds it has the folder.
const LOCK: &str = "lock";
/// A file takes whole blocks.
const BLOCK: u64 = 4096;
/// The most answers: what is known of each is in memory.
const MOST_ENTRIES: u64 = 100_000;
/// How many answers may wait to be written. What comes when there are more is in memory alone.
const MOST_WAITING: usize = 32;
/// How many are read at once, and for how long one is waited for: then Trino is asked.
const MOST_READING: usize = 32;
const SLOW: Duration = Duration::from_secs(1);

/// Answers on a disk. Clones are the same.
#[derive(Clone)]
pub(in crate::cache) struct Disk(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    vault: Vault,
    kept: Cache<Key, Arc<Note>>,
    most: u64,
    /// Another after each purge.
    epoch: Arc<AtomicU64>,
    /// One writes at a time, so that the bound holds.
    writing: Mutex<()>,
    waiting: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    next: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
    _lock: File,
}

/// What is known of an answer on the disk.
struct Note {
    about: About,
    file: u64,
    /// Bytes of the disk.
    size: u64,
    /// Whether it is there in full.
    written: AtomicBool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLoad {
    /// Answers.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often one could not be written, or was not read in time, since the start.
    pub failures: u64,
}

impl Disk {
    /// Takes a folder, for at most so many bytes, and removes what a gateway of before has left there.
    ///
    /// # Errors
    /// It cannot be made or written to, or another gateway has it.
    pub(in crate::cache) fn open(folder: &Path, most: u64, epoch: Arc<AtomicU64>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(LOCK))?;
        lock.try_lock().map_err(|_| io::Error::other("another gateway has it"))?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if is_answer(&path) {
                fs::remove_file(path)?;
            }
        }
        let vault = Vault::of_process().map_err(|error| io::Error::other(error.to_string()))?;
        let at = folder.to_owned();
        // Each counts as its share of the most there may be, if it is less.
        let least = most / MOST_ENTRIES;
        let kept = Cache::builder()
            .weigher(move |_: &Key, note: &Arc<Note>| u32::try_from(note.size.max(least)).unwrap_or(u32::MAX))
            .max_capacity(most)
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, note: Arc<Note>, _| {
                // One that was not written is not there.
                _ = fs::remove_file(path(&at, note.file));
            })
            .build();
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            vault,
            kept,
            most,
            epoch,
            writing: Mutex::new(()),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            reading: Arc::new(Semaphore::new(MOST_READING)),
            next: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            _lock: lock,
        })))
    }

    /// The answer to a question, which may be here: then it is noted that it was asked for.
    pub(in crate::cache) async fn look(&self, key: &Key, is_here: bool) -> Found {
        let note = self.0.kept.get(key).filter(|note| note.written.load(Ordering::Acquire));
        if is_here {
            return Found::Same;
        }
        let Some(note) = note else { return Found::Nothing };
        // A disk that hangs holds up so many threads and no more.
        let Ok(turn) = Arc::clone(&self.0.reading).try_acquire_owned() else { return Found::Nothing };
        let (inner, key) = (Arc::clone(&self.0), *key);
        let read = tokio::task::spawn_blocking(move || {
            let found = inner.read(&key, &note);
            drop(turn);
            found
        });
        match tokio::time::timeout(SLOW, read).await {
            Ok(read) => read.unwrap_or(Found::Nothing),
            Err(slow) => {
                self.0.failed(&slow);
                Found::Nothing
            }
        }
    }

    /// Has an answer written that was begun in an epoch; nobody waits for it.
    pub(in crate::cache) fn keep(&self, entry: &Arc<Entry>, epoch: u64) {
        let Ok(turn) = Arc::clone(&self.0.waiting).try_acquire_owned() else {
            self.0.failed(&io::Error::other("too many answers wait to be written"));
            return;
        };
        let (inner, entry) = (Arc::clone(&self.0), Arc::clone(entry));
        tokio::task::spawn_blocking(move || {
            inner.keep(&entry, epoch);
            drop(turn);
        });
    }

    /// Removes answers, and says which.
    pub(in crate::cache) fn purge(&self, purge: &Purge) -> Vec<Key> {
        let kept = &self.0.kept;
        let found: Vec<Key> =
            kept.iter().filter(|(_, note)| purge.takes(&note.about)).map(|(key, _)| *key).collect();
        found.iter().for_each(|key| kept.invalidate(key));
        kept.run_pending_tasks();
        found
    }

    /// Whether the answer to a question has been written.
    #[cfg(test)]
    pub(in crate::cache) fn has(&self, key: &Key) -> bool {
        self.0.kept.get(key).is_some_and(|note| note.written.load(Ordering::Acquire))
    }

    /// How much there is.
    pub(in crate::cache) fn load(&self) -> DiskLoad {
        let Inner { kept, failures, .. } = &*self.0;
        kept.run_pending_tasks();
        DiskLoad {
            entries: kept.entry_count(),
            bytes: kept.weighted_size(),
            failures: failures.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn read(&self, key: &Key, note: &Note) -> Found {
        let mut sealed = Vec::new();
        // It is no more than what was written.
        let read = File::open(path(&self.folder, note.file))
            .and_then(|file| file.take(note.size).read_to_end(&mut sealed));
        match read {
            Ok(_) => {}
            // It had to go meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.kept.contains_key(key) => {
                return Found::Nothing;
            }
            Err(error) => return self.drop_unreadable(key, &error),
        }
        match self.opened(key, &sealed) {
            Ok(Some(entry)) if entry.about().origin == note.about.origin => Found::Entry(Box::new(entry)),
            Ok(None) => {
                self.kept.invalidate(key);
                Found::Nothing
            }
            Ok(Some(_)) | Err(Corrupt) => self.drop_unreadable(key, &io::Error::other("it does not open")),
        }
    }

    fn opened(&self, key: &Key, sealed: &[u8]) -> Result<Option<Entry>, Corrupt> {
        super::opened(key, self.vault.unseal(&place(key), sealed))
    }

    fn drop_unreadable(&self, key: &Key, error: &io::Error) -> Found {
        tracing::warn!(%error, "an answer on the disk is removed");
        self.kept.invalidate(key);
        Found::Corrupt
    }

    fn keep(&self, entry: &Entry, epoch: u64) {
        let key = entry.about().key;
        let plain = entry.written();
        let sealed = plain.and_then(|plain| self.vault.seal(&place(&key), &plain, entry.left()));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return self.failed(&error),
        };
        let size = (sealed.len() as u64).next_multiple_of(BLOCK);
        if size > self.most / 4 {
            return;
        }
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.next.fetch_add(1, Ordering::Relaxed);
        let about = entry.about().clone();
        let note = Arc::new(Note { about, file, size, written: AtomicBool::new(false) });
        // Others go first, so that there is room.
        self.kept.insert(key, Arc::clone(&note));
        self.kept.run_pending_tasks();
        if let Err(error) = write(&path(&self.folder, file), &sealed) {
            self.kept.invalidate(&key);
            _ = fs::remove_file(path(&self.folder, file));
            return self.failed(&error);
        }
        self.failing.store(false, Ordering::Relaxed);
        note.written.store(true, Ordering::Release);
        // It may have been too much after all, or be gone with a purge.
        let stays = self.kept.get(&key).is_some_and(|kept| kept.file == file);
        if !stays || self.epoch.load(Ordering::Acquire) != epoch {
            if stays {
                self.kept.invalidate(&key);
            }
            _ = fs::remove_file(path(&self.folder, file));
        }
    }

    /// Counts what could not be kept, and logs the first of a row.
    fn failed(&self, error: &dyn std::fmt::Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, folder = %self.folder.display(), "answers are not kept on the disk");
        }
    }
}

fn place(key: &Key) -> state::Key {
    state::Key { kind: Kind::Answer, hash: key.bytes() }
}

fn path(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("{file}.{ENDING}"))
}

/// Whether a file has a name that we give.
fn is_answer(path: &Path) -> bool {
    let parts = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
    parts.is_some_and(|(number, ending)| ending == ENDING && number.parse::<u64>().is_ok())
}

fn write(path: &Path, sealed: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(sealed)
}
