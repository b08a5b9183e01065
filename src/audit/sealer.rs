//! The thread that puts what is durable into the tree, and signs checkpoints.
//!
//! It reads the journal behind the writer, so that no query waits for it. **A checkpoint is signed only when the records
//! under it, and their tiles, are durable**; a file of the journal is removed only when a checkpoint covers it. So whatever
//! a crash leaves, the tree up to each checkpoint that was ever handed out can be made again, and is held against it at
//! the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tlog_tiles::record_hash;
use tokio::sync::oneshot;

use super::AuditError;
use super::entry::{Entry, Peek};
use super::folder::{Lock, read_lines, sync_folder};
use super::note::{Head, Key, Verifier};
use super::progress::{Progress, Stretch};
use super::shared::Shared;
use super::shelf::{CHECKPOINT, HISTORY, Shelf, Source, VERIFIER};
use super::tree::{Edge, WIDTH, bundle_path, entries, push_entry, tile_path};

/// How often the journal is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How soon it is tried again what failed.
const RETRY: Duration = Duration::from_secs(1);
/// Intents without an outcome, at removed files of the journal.
const UNFINISHED: &str = "unfinished.json";

/// A query of an earlier run whose outcome is not on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The gateway's id of the query.
    pub query: String,
    /// The run that its intent is of.
    pub run: String,
    /// When the intent was written.
    pub time: String,
    /// The principal.
    #[serde(default)]
    pub principal: String,
}

/// Ends the thread after a last checkpoint, and says whether that was made.
pub(super) struct Stop(pub(super) oneshot::Sender<bool>);

pub(super) struct Sealer {
    shelf: Shelf,
    key: Key,
    progress: Arc<Progress>,
    shared: Arc<Shared>,
    edge: Edge,
    /// The entries of the bundle that is not full.
    bundle: Vec<u8>,
    /// Where in the journal the next record is: the file, and the bytes before it.
    at: (PathBuf, u64),
    signed: u64,
    every: Duration,
    /// The bytes that the folder may have; 0 for any number.
    most: u64,
    /// The bytes that it had at the start, the journal left out.
    had: u64,
    partials: BTreeSet<String>,
    /// Whether what is whole and under a checkpoint is made immutable, and what will be under the next one.
    immutable: bool,
    whole: Vec<String>,
    /// What was written since the last checkpoint may not be what a later sync says is durable: a sync of it failed, and the kernel
    /// may have dropped it.
    dropped: bool,
    unfinished: BTreeMap<String, Unfinished>,
    _lock: Lock,
}

/// What a sealer is made of.
pub(super) struct Parts {
    pub(super) shelf: Shelf,
    pub(super) key: Key,
    pub(super) progress: Arc<Progress>,
    pub(super) shared: Arc<Shared>,
    pub(super) every: Duration,
    pub(super) most: u64,
    pub(super) immutable: bool,
    pub(super) lock: Lock,
}

impl Sealer {
    /// Holds what is there against the last checkpoint, and goes on from it.
    pub(super) fn resume(parts: Parts) -> Result<Self, AuditError> {
        let Parts { mut shelf, key, progress, shared, every, most, immutable, lock } = parts;
        let stretches = progress.stretches();
        let head = newest(&shelf, &key)?;
        let (signed, edge) = check(&shelf, &stretches, head.as_ref())?;
        let wrong = |source| AuditError::Folder { path: shelf.root().to_owned(), source };
        let bundle = first_entries(&shelf, &edge, signed).map_err(wrong)?;
        let unfinished = match shelf.read(UNFINISHED).map_err(wrong)? {
            None => Vec::<Unfinished>::new(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(io::Error::other(error)))?,
        };
        let had = super::shelf::size_of(shelf.root()).map_err(wrong)?;
        let journal = stretches.iter().map(|stretch| stretch.bytes).sum();
        let root = shelf.root().to_owned();
        if immutable {
            let tried = shelf.try_immutable();
            tried.map_err(|source| AuditError::Folder { path: root.clone(), source })?;
        }
        let verifier = format!("{}\n", key.verifier());
        if shelf.read(VERIFIER).ok().flatten().is_none_or(|there| there != verifier.as_bytes()) {
            let written = shelf.write(VERIFIER, verifier.as_bytes()).and_then(|()| shelf.sync());
            written.map_err(|source| AuditError::Folder { path: root.clone(), source })?;
        }
        let mut sealer = Self {
            shelf,
            key,
            progress,
            shared,
            edge,
            bundle,
            at: (PathBuf::new(), 0),
            signed,
            every,
            most,
            had: had.saturating_sub(journal),
            partials: BTreeSet::new(),
            immutable,
            whole: Vec::new(),
            dropped: false,
            unfinished: unfinished.into_iter().map(|query| (query.query.clone(), query)).collect(),
            _lock: lock,
        };
        sealer.shared.set_sealed(signed);
        // Tiles that a crash may have torn are written again, since all of them that matter come from what is here.
        sealer.take_in().map_err(|source| AuditError::Folder { path: root, source })?;
        Ok(sealer)
    }

    /// The queries whose outcome is missing.
    pub(super) fn unfinished(&self) -> Vec<Unfinished> {
        self.unfinished.values().cloned().collect()
    }

    /// Runs until it is told to stop, or until nobody can tell it any more.
    pub(super) fn run(mut self, inbox: &Receiver<Stop>) {
        let mut due = Instant::now() + self.every;
        let mut failing = false;
        loop {
            let stop = match inbox.recv_timeout(if failing { RETRY } else { TICK }) {
                Ok(Stop(reply)) => Some(Some(reply)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(None),
            };
            let mut done = self.begin_again().and_then(|()| self.take_in());
            if done.is_ok() && (stop.is_some() || due <= Instant::now()) {
                done = self.seal();
                self.dropped = done.is_err();
                due = Instant::now() + self.every;
            }
            if let Err(error) = &done
                && !failing
            {
                tracing::error!(%error, "the audit's tree can't be written: queries are refused until it can");
            }
            failing = done.is_err();
            self.shared.set_sealing(!failing);
            self.watch_size();
            if let Some(reply) = stop {
                // The folder is free when the answer is there.
                drop(self);
                if let Some(reply) = reply {
                    _ = reply.send(!failing);
                }
                return;
            }
        }
    }

    /// Makes the tree again from the journal, whose files are there until a checkpoint covers them, if what was written of it may
    /// have been dropped.
    fn begin_again(&mut self) -> io::Result<()> {
        if !self.dropped {
            return Ok(());
        }
        let head = newest(&self.shelf, &self.key).map_err(io::Error::other)?;
        let (signed, edge) =
            check(&self.shelf, &self.progress.stretches(), head.as_ref()).map_err(io::Error::other)?;
        self.bundle = first_entries(&self.shelf, &edge, signed)?;
        self.edge = edge;
        self.at = (PathBuf::new(), 0);
        self.whole.clear();
        self.dropped = false;
        Ok(())
    }

    /// Puts what is durable into the tree. What fills a tile is written.
    fn take_in(&mut self) -> io::Result<()> {
        for stretch in self.progress.stretches() {
            let left = stretch.end().saturating_sub(self.edge.size());
            if left == 0 {
                continue;
            }
            if self.at.0 != stretch.path {
                if stretch.first != self.edge.size() {
                    return Err(io::Error::other("the journal does not go on where the tree ends"));
                }
                self.at = (stretch.path.clone(), 0);
            }
            let skip = self.at.1;
            let mut read = 0;
            let taken = read_lines(&stretch, skip, left, |line| {
                self.add(line)?;
                read += line.len() as u64 + 1;
                Ok::<_, io::Error>(())
            });
            self.at.1 += read;
            taken?;
        }
        Ok(())
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        self.follow(line)?;
        let entry = Entry::of(line)?;
        if let Entry::Stub(_, path) = &entry {
            self.keep(path, line)?;
        }
        let leaf = record_hash(entry.bytes());
        if !(self.edge.size() + 1).is_multiple_of(WIDTH) {
            self.edge.push(leaf, |_| {});
            push_entry(&mut self.bundle, entry.bytes());
            return Ok(());
        }
        // Nothing is kept where a file can't be written: it is then tried again from here.
        let (mut edge, mut bundle, mut filled) = (self.edge.clone(), self.bundle.clone(), Vec::new());
        push_entry(&mut bundle, entry.bytes());
        edge.push(leaf, |tile| filled.push(tile));
        self.keep(&bundle_path(self.edge.size() / WIDTH, WIDTH), &bundle)?;
        for tile in filled {
            self.keep(&tile_path(tile.level, tile.n, WIDTH), &tile.bytes)?;
        }
        self.edge = edge;
        self.bundle.clear();
        Ok(())
    }

    /// Writes what will never change.
    fn keep(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if self.immutable {
            // After a start the journal may begin before the last checkpoint.
            if self.shelf.is_immutable(path)? {
                let there = self.shelf.read(path)?;
                let altered =
                    || io::Error::other(format!("{path} is immutable, and is not what the journal says"));
                return there.filter(|there| there == bytes).map(drop).ok_or_else(altered);
            }
            self.whole.push(path.to_owned());
        }
        self.shelf.write(path, bytes)
    }

    /// Notes which queries began and ended.
    fn follow(&mut self, line: &[u8]) -> io::Result<()> {
        let peek = Peek::of(line)?;
        let Some(query) = peek.query else { return Ok(()) };
        if peek.kind == "outcome" {
            self.unfinished.remove(query.as_ref());
        } else if peek.kind == "intent" {
            #[derive(Deserialize)]
            struct Asked {
                #[serde(default)]
                principal: String,
            }
            let asked: Asked = serde_json::from_slice(line)?;
            let unfinished = Unfinished {
                query: query.into_owned(),
                run: peek.run.into_owned(),
                time: peek.time.into_owned(),
                principal: asked.principal,
            };
            self.unfinished.insert(unfinished.query.clone(), unfinished);
        }
        Ok(())
    }

    /// Signs a checkpoint over what is in the tree, if that is more than the last one covers.
    fn seal(&mut self) -> io::Result<()> {
        let size = self.edge.size();
        if size == self.signed {
            return Ok(());
        }
        let mut partials = BTreeSet::new();
        for (level, n, bytes) in self.edge.partial() {
            let path = tile_path(level, n, bytes.len() as u64 / 32);
            self.shelf.write(&path, bytes)?;
            partials.insert(path);
        }
        if !self.bundle.is_empty() {
            let path = bundle_path(size / WIDTH, size % WIDTH);
            self.shelf.write(&path, &self.bundle)?;
            partials.insert(path);
        }
        self.shelf.sync()?;
        let root = self.edge.root().map_err(io::Error::other)?;
        let note = self.key.sign(size, root).map_err(io::Error::other)?;
        let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        self.shelf.append(&format!("{HISTORY}/{day}"), &[note.as_slice(), b"\n"].concat())?;
        self.shelf.replace(CHECKPOINT, &note)?;
        self.signed = size;
        self.shared.set_sealed(size);
        for path in self.whole.drain(..) {
            if let Err(error) = self.shelf.set_immutable(&path, true) {
                tracing::warn!(%error, %path, "a file of the audit can't be made immutable");
            }
        }
        for path in std::mem::replace(&mut self.partials, partials) {
            if !self.partials.contains(&path) {
                self.shelf.remove(&self.shelf.root().join(path));
            }
        }
        let over = self.progress.covered(size);
        if !over.is_empty() {
            let open: Vec<&Unfinished> = self.unfinished.values().collect();
            self.shelf.replace(UNFINISHED, &serde_json::to_vec(&open)?)?;
            self.retire(over);
        }
        Ok(())
    }

    /// Removes files of the journal from the oldest on: at any moment, also one at which the power fails, those that are
    /// there follow each other. One that cannot be removed stays, and with it those behind it, until the next checkpoint.
    fn retire(&self, over: Vec<PathBuf>) {
        for path in over {
            let removed = match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => sync_folder(self.shelf.root()),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "a file of the audit journal stays for now");
                return;
            }
            self.progress.forget(&path);
        }
    }

    /// Refuses queries while the folder has more bytes than it may.
    fn watch_size(&self) {
        let journal: u64 = self.progress.stretches().iter().map(|stretch| stretch.bytes).sum();
        let bytes = self.had + self.shelf.written() + journal;
        let over = self.most > 0 && bytes > self.most;
        if self.shared.set_over(over) {
            if over {
                tracing::error!(
                    bytes,
                    limit = self.most,
                    "the audit folder is over its limit: queries are refused"
                );
            } else {
                tracing::info!(bytes, limit = self.most, "the audit folder is within its limit again");
            }
        }
    }
}

/// The newest checkpoint of a folder.
fn newest(shelf: &Shelf, key: &Key) -> Result<Option<Head>, AuditError> {
    let wrong = |source| AuditError::Folder { path: shelf.root().to_owned(), source };
    let verifier = Verifier::new(key.verifier()).map_err(AuditError::Checkpoint)?;
    let mut notes = Vec::new();
    if let Some(note) = shelf.read(CHECKPOINT).map_err(wrong)? {
        notes.push(note);
    }
    // One that was handed out has its line here before it is there. Which file is the newest, a clock that jumped hides.
    notes.extend(shelf.last_checkpoints().map_err(wrong)?);
    let mut head: Option<Head> = None;
    for note in notes {
        let found = verifier.open(&note).map_err(AuditError::Checkpoint)?;
        if head.as_ref().is_none_or(|head| head.size < found.size) {
            head = Some(found);
        }
    }
    Ok(head)
}

/// Holds tiles and journal against the checkpoint. Gives its size, and the edge of the tree before the journal.
fn check(shelf: &Shelf, stretches: &[Stretch], head: Option<&Head>) -> Result<(u64, Edge), AuditError> {
    let signed = head.map_or(0, |head| head.size);
    let (first, end) = match (stretches.first(), stretches.last()) {
        (Some(first), Some(last)) => (first.first, last.end()),
        _ => (signed, signed),
    };
    let altered = |what: String| AuditError::Altered { path: shelf.root().to_owned(), what };
    if signed > end {
        return Err(altered(format!("its last checkpoint has {signed} records, and there are {end}")));
    }
    if first > signed {
        return Err(altered(format!(
            "the records {signed} to {first} are missing: a file of the journal is gone"
        )));
    }
    // Of tiles that are not full there are those of the last checkpoint.
    let there = |level: u8, n: u64| ((signed >> (8 * u32::from(level))) - n * WIDTH).min(WIDTH);
    let edge = Edge::load(first, |level, n, width| match shelf.tile(level, n, there(level, n)) {
        Ok(Some(tile)) if tile.len() as u64 >= width * 32 => Ok(tile),
        Ok(_) => Err(altered(format!("{} is missing or too short", tile_path(level, n, width)))),
        Err(source) => Err(AuditError::Folder { path: shelf.root().to_owned(), source }),
    })?;
    let Some(head) = head else { return Ok((signed, edge)) };
    let mut grown = edge.clone();
    for stretch in stretches {
        let left = signed.saturating_sub(grown.size()).min(stretch.records);
        read_lines(stretch, 0, left, |line| {
            grown.push(record_hash(Entry::of(line)?.bytes()), |_| {});
            Ok::<_, io::Error>(())
        })
        .map_err(|source| AuditError::Folder { path: shelf.root().to_owned(), source })?;
    }
    if grown.root().ok() != Some(head.root) {
        return Err(altered(format!(
            "the first {signed} records are not those that its last checkpoint was made of; \
             `northgate audit verify` says which"
        )));
    }
    Ok((signed, edge))
}

/// The entries of the last bundle that is not full.
fn first_entries(shelf: &Shelf, edge: &Edge, signed: u64) -> io::Result<Vec<u8>> {
    let (n, width) = (edge.size() / WIDTH, edge.size() % WIDTH);
    let mut bundle = Vec::new();
    if width == 0 {
        return Ok(bundle);
    }
    let missing = || io::Error::other(format!("{} is missing or too short", bundle_path(n, width)));
    let bytes = shelf.bundle(n, (signed - n * WIDTH).min(WIDTH))?.ok_or_else(missing)?;
    let mut read = entries(&bytes);
    let mut hashes = Edge::load(edge.size() - width, |_, _, _| Ok::<_, io::Error>(Vec::new()))?;
    for _ in 0..width {
        let entry = read.next().and_then(Result::ok).ok_or_else(missing)?;
        push_entry(&mut bundle, entry);
        hashes.push(record_hash(entry), |_| {});
    }
    // They are written again under tiles that are believed.
    let lowest =
        |edge: &Edge| edge.partial().find(|(level, ..)| *level == 0).map(|(.., bytes)| bytes.to_vec());
    if lowest(&hashes) != lowest(edge) {
        return Err(io::Error::other(format!("{} is not what its tile says", bundle_path(n, width))));
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::super::tests::{config, intent};
    use super::super::{Audit, Config, Event, verify};
    use super::*;

    #[tokio::test]
    async fn what_a_failed_sync_may_have_dropped_is_made_again() {
        let temp = tempfile::tempdir().expect("a folder");
        let config = Config { folder: temp.path().join("audit"), ..config() };
        let (folder, stretches) = Folder::open(&config.folder).expect("opened");
        let (progress, shared) =
            (Arc::new(Progress::new(stretches)), Audit::shared(&config).expect("shared"));
        let mut sealer = Sealer::resume(Parts {
            shelf: Shelf::new(&config.folder),
            key: Key::open(&config.key(), &config.origin, true).expect("a key"),
            progress: Arc::clone(&progress),
            shared: Arc::clone(&shared),
            every: config.checkpoint_every.0,
            most: 0,
            immutable: false,
            lock: folder.lock(),
        })
        .expect("resumed");
        let verifier = Verifier::new(sealer.key.verifier()).expect("a key");
        let audit = Audit::with(Box::new(folder), &config, shared, progress).expect("begun");
        for round in 0..2 {
            for n in 0..300 {
                drop(audit.intend(intent(&format!("{round}-{n}"))).await.expect("recorded"));
            }
            // Whatever was queued without anybody who waits is written before this.
            audit.record(&Event::Stop {}).await.expect("recorded");
            sealer.take_in().expect("taken in");
            // What the kernel dropped is not there after a crash.
            for tile in [bundle_path(2 * round, WIDTH), tile_path(0, 1, WIDTH)] {
                std::fs::write(config.folder.join(tile), "").expect("written over");
            }
            sealer.dropped = true;
            sealer.begin_again().and_then(|()| sealer.take_in()).expect("made again");
            sealer.seal().expect("sealed");
            let verdict = verify::folder(&config.folder, &verifier, &[], &[]).expect("read");
            assert_eq!(verdict.faults, []);
            assert_eq!(verdict.records, (round + 1) * 601);
        }
    }
}
