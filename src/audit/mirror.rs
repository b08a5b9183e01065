//! The thread that copies what is sealed to a place that the gateway's administrators do not control.
//!
//! It reads the folder behind the sealer: bundles, tiles, long records, then the checkpoint that covers them. What could not
//! be copied stays in the folder, which is the spool; when more waits than is allowed, queries are refused. **Where the copy
//! is not of this log, queries are refused until somebody has seen to it**: the folder was put back, or two gateways write
//! to one place.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;

use super::entry::{Peek, large_path};
use super::index;
use super::note::{NoteError, Verifier};
use super::partition::{self, Partition, Partitions};
use super::reader::told_size;
use super::s3::{Bucket, Config, S3Error};
use super::sealer::Stop;
use super::shared::Shared;
use super::shelf::{CHECKPOINT, HISTORY, Shelf, Source, VERIFIER};
use super::tree::{Edge, WIDTH, bundle_path, entries, tile_path};
use super::witness::COSIGNED;

/// How many objects are put at a time.
const AT_ONCE: usize = 32;
/// How soon it is tried again what failed, at first; the wait doubles each time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_mins(1);
/// Records that are copied; a number in a file.
const COPIED: &str = "copied";
/// How many bundles are copied before it is noted how far the copy is.
const STRIDE: u64 = 256;

#[derive(Debug, thiserror::Error)]
enum MirrorError {
    #[error(transparent)]
    S3(#[from] S3Error),
    #[error("the audit folder: {0}")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    #[error(
        "the copy has a checkpoint over {there} records, and this log has {here}: the folder was put back"
    )]
    Ahead { there: u64, here: u64 },
    #[error("the first {there} records of the copy are not those of this log: the log was forked")]
    Forked { there: u64 },
}

impl MirrorError {
    /// Whether somebody must see to it.
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::S3(S3Error::Conflict { .. })
                | Self::Ahead { .. }
                | Self::Forked { .. }
                | Self::Checkpoint(_)
        )
    }
}

pub(super) struct Mirror {
    bucket: Bucket,
    runtime: Runtime,
    shelf: Shelf,
    verifier: Verifier,
    shared: Arc<Shared>,
    every: Duration,
    spool: u64,
    /// Records in whole bundles that are copied.
    copied: u64,
    /// The size of the last checkpoint that is copied; none before the copy was looked at.
    signed: Option<u64>,
    /// Bytes of whole bundles that are not copied, and the bundle up to which they are counted.
    behind: (u64, u64),
    parquet_every: Duration,
    /// None before it was asked for those that are there, or where none are written.
    partitions: Option<Partitions>,
    /// Where this log is listed, and what is written there; none once it is.
    index: Option<(Bucket, Bytes)>,
    /// What witnesses signed, as it was copied last.
    cosigned: Option<Vec<u8>>,
}

impl Mirror {
    pub(super) fn new(
        config: &Config,
        shelf: Shelf,
        verifier: &str,
        entry: &[u8],
        shared: Arc<Shared>,
    ) -> Result<Self, String> {
        let index = config.index.clone().map(|prefix| {
            let config = Config { prefix, ..config.clone() };
            let bucket = Bucket::new(&config).map_err(|error| error.to_string())?;
            Ok::<_, String>((bucket, Bytes::copy_from_slice(entry)))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let copied = shelf.read(COPIED).ok().flatten();
        let copied = copied.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        let copied = copied.unwrap_or(0) / WIDTH * WIDTH;
        Ok(Self {
            bucket: Bucket::new(config).map_err(|error| error.to_string())?,
            runtime,
            shelf,
            verifier: Verifier::new(verifier).map_err(|error| error.to_string())?,
            shared,
            every: config.every.0,
            spool: config.spool.0,
            copied,
            signed: None,
            behind: (0, copied / WIDTH),
            parquet_every: config.parquet_every.0,
            partitions: None,
            index: index.transpose()?,
            cosigned: None,
        })
    }

    /// Runs until it is told to stop, or until nobody can tell it any more.
    pub(super) fn run(mut self, inbox: &Receiver<Stop>) {
        let (mut pause, mut failing, mut bare) = (RETRY, false, false);
        let mut due = Instant::now();
        loop {
            let stop = match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Stop(reply)) => Some(Some(reply)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(None),
            };
            let done = self.turn();
            self.measure();
            if done.is_ok() {
                // What is for convenience does not stop what is evidence.
                match self.beside(stop.is_some()) {
                    Ok(()) => bare = false,
                    Err(error) if !std::mem::replace(&mut bare, true) => {
                        tracing::error!(%error, "the audit is copied, but not its Parquet or its place in the index");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "still not beside the audit's copy: its Parquet or its place in the index");
                    }
                }
            }
            match &done {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the audit is copied again");
                    }
                    pause = RETRY;
                    due = Instant::now() + self.every;
                }
                Err(error) => {
                    if !failing || error.is_conflict() {
                        tracing::error!(%error, "the audit cannot be copied; it waits on the local disk");
                    } else {
                        tracing::warn!(%error, "the audit still cannot be copied");
                    }
                    failing = true;
                    due = Instant::now() + pause;
                    pause = (pause * 2).min(RETRY_MOST);
                }
            }
            let conflict = done.as_ref().err().is_some_and(MirrorError::is_conflict);
            self.shared.set_copying(!failing, conflict);
            if let Some(reply) = stop {
                drop(self);
                if let Some(reply) = reply {
                    _ = reply.send(!failing);
                }
                return;
            }
        }
    }

    /// Copies what is new.
    fn turn(&mut self) -> Result<(), MirrorError> {
        let Some(note) = self.shelf.read(CHECKPOINT)? else { return Ok(()) };
        let here = self.verifier.open(&note)?.size;
        let signed = match self.signed {
            Some(signed) => signed,
            None => self.look(here)?,
        };
        self.signed = Some(signed);
        if here == signed {
            return self.cosigned(signed);
        }
        while self.copied + WIDTH <= here {
            let first = self.copied / WIDTH;
            let end = (here / WIDTH).min(first + STRIDE);
            self.whole(first, end)?;
            self.copied = end * WIDTH;
            self.shelf.replace(COPIED, format!("{}\n", self.copied).as_bytes())?;
            self.behind = (0, end);
        }
        // Meanwhile there may be a newer checkpoint, and what of the tree was not full under this one is gone.
        let Some(note) = self.shelf.read(CHECKPOINT)? else { return Ok(()) };
        let here = self.verifier.open(&note)?.size;
        if self.copied + WIDTH <= here {
            return Err(io::Error::other("the log grows faster than it is copied").into());
        }
        self.edge(here)?;
        let note = Bytes::from(note);
        let name = format!("{HISTORY}/{here:020}");
        let Self { bucket, runtime, .. } = self;
        runtime.block_on(async {
            bucket.put_once(&name, &note).await?;
            bucket.put_over(CHECKPOINT, &note).await
        })?;
        self.signed = Some(here);
        self.cosigned(here)
    }

    /// Copies the newest checkpoint that witnesses signed, if it is not newer than the copy's own: else it would tell of a copy
    /// that was put back.
    fn cosigned(&mut self, signed: u64) -> Result<(), MirrorError> {
        let Some(note) = self.shelf.read(COSIGNED)? else { return Ok(()) };
        let is_covered = told_size(&note).is_some_and(|size| size <= signed);
        if !is_covered || self.cosigned.as_ref() == Some(&note) {
            return Ok(());
        }
        self.runtime.block_on(self.bucket.put_over(COSIGNED, &Bytes::from(note.clone())))?;
        self.cosigned = Some(note);
        Ok(())
    }

    /// Lists the log in the index, and writes what is copied as Parquet, too.
    fn beside(&mut self, last: bool) -> Result<(), MirrorError> {
        // Before there is a checkpoint, nobody has looked at the copy.
        if self.signed.is_none() {
            return Ok(());
        }
        let listed = self.list();
        let written = self.partition(last);
        listed.and(written)
    }

    fn list(&mut self) -> Result<(), MirrorError> {
        if let Some((index, entry)) = &self.index {
            self.runtime.block_on(index.put_once(&index::name(entry), entry))?;
            self.index = None;
        }
        Ok(())
    }

    /// Writes what is copied as Parquet, too, if that is due.
    fn partition(&mut self, last: bool) -> Result<(), MirrorError> {
        if self.parquet_every > Duration::ZERO && self.partitions.is_none() {
            let names = self.runtime.block_on(self.bucket.list(&format!("{}/", partition::FOLDER)))?;
            self.partitions = Some(Partitions::behind(&names, self.parquet_every));
        }
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        while let Some(Partition { name, bytes, end }) = partitions.next(&self.shelf, self.copied, last)? {
            self.runtime.block_on(self.bucket.put_once(&name, &Bytes::from(bytes)))?;
            partitions.put(end, self.copied);
        }
        Ok(())
    }

    /// Holds the copy's last checkpoint against the log. Gives its size.
    fn look(&self, here: u64) -> Result<u64, MirrorError> {
        let verifier = Bytes::from(format!("{}\n", self.verifier.text()));
        let last = self.runtime.block_on(async {
            self.bucket.put_once(VERIFIER, &verifier).await?;
            let names = self.bucket.list(&format!("{HISTORY}/")).await?;
            match names.last() {
                Some(name) => self.bucket.get(name).await,
                None => Ok(None),
            }
        })?;
        let Some(last) = last else { return Ok(0) };
        let head = self.verifier.open(&last)?;
        let there = head.size;
        if there > here {
            return Err(MirrorError::Ahead { there, here });
        }
        // What of a tile is there now, which may be more than there was.
        let width = |level: u8, n: u64| ((here >> (8 * u32::from(level))) - n * WIDTH).min(WIDTH);
        let edge = Edge::load(there, |level, n, _| {
            let gone = || io::Error::new(io::ErrorKind::NotFound, tile_path(level, n, width(level, n)));
            self.shelf.tile(level, n, width(level, n))?.ok_or_else(gone)
        })?;
        if there > 0 && edge.root().ok() != Some(head.root) {
            return Err(MirrorError::Forked { there });
        }
        Ok(there)
    }

    /// Copies whole bundles, their tiles, and the tiles above that they fill.
    fn whole(&self, first: u64, end: u64) -> Result<(), MirrorError> {
        let mut paths = Vec::new();
        for n in first..end {
            let path = bundle_path(n, WIDTH);
            let bundle = self.read(&path)?;
            paths.extend(large(&bundle));
            paths.push(path);
        }
        let (mut from, mut to, mut level) = (first, end, 0);
        while to > from {
            paths.extend((from..to).map(|n| tile_path(level, n, WIDTH)));
            (from, to, level) = (from / WIDTH, to / WIDTH, level + 1);
        }
        self.put(paths.into_iter().map(|path| (path, None)).collect())
    }

    /// Copies what of the tree is not full under a checkpoint.
    fn edge(&self, size: u64) -> Result<(), MirrorError> {
        let mut paths = Vec::new();
        let width = size % WIDTH;
        if width > 0 {
            let path = bundle_path(size / WIDTH, width);
            let bundle = self.read(&path)?;
            paths.extend(large(&bundle).into_iter().map(|path| (path, None)));
            paths.push((path, Some(bundle)));
        }
        let (mut count, mut level) = (size, 0);
        while count > 0 {
            if count % WIDTH > 0 {
                let path = tile_path(level, count / WIDTH, count % WIDTH);
                let tile = self.read(&path)?;
                paths.push((path, Some(tile)));
            }
            (count, level) = (count / WIDTH, level + 1);
        }
        self.put(paths)
    }

    /// A file, which a newer checkpoint may have taken away: then it is tried again with that one.
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{path} is not there any more"));
        self.shelf.read(path)?.ok_or_else(gone)
    }

    /// Copies files, of which some were read already.
    fn put(&self, files: Vec<(String, Option<Vec<u8>>)>) -> Result<(), MirrorError> {
        let put = |(path, bytes): (String, Option<Vec<u8>>)| async move {
            let bytes = Bytes::from(bytes.map_or_else(|| self.read(&path), Ok)?);
            self.bucket.put_once(&path, &bytes).await.map_err(MirrorError::from)
        };
        let all = futures_util::stream::iter(files).map(put).buffer_unordered(AT_ONCE);
        self.runtime.block_on(all.try_collect::<Vec<()>>()).map(|_| ())
    }

    /// Tells how much waits on the disk.
    fn measure(&mut self) {
        let size = self.shared.sealed() / WIDTH;
        let (bytes, counted) = &mut self.behind;
        while *counted < size {
            let path = self.shelf.root().join(bundle_path(*counted, WIDTH));
            *bytes += std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            *counted += 1;
        }
        if self.shared.set_behind(*bytes, self.spool) {
            tracing::error!(
                bytes,
                limit = self.spool,
                "too much of the audit waits to be copied: queries are refused"
            );
        }
    }
}

/// Where the long records of a bundle are.
fn large(bundle: &[u8]) -> Vec<String> {
    let stub = |entry: Result<&[u8], _>| {
        let entry = entry.ok().filter(|entry| Peek::may_be_stub(entry))?;
        Some(large_path(&Peek::of(entry).ok()?.large?.sha256))
    };
    entries(bundle).filter_map(stub).collect()
}

/// A copy, to be read.
pub(super) struct Remote {
    bucket: Bucket,
    runtime: Runtime,
    history: Vec<String>,
    /// What was read ahead.
    ahead: std::cell::RefCell<std::collections::BTreeMap<String, Option<Vec<u8>>>>,
}

impl Remote {
    /// # Errors
    /// It can't be asked for its checkpoints.
    pub(super) fn open(config: &Config) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bucket = Bucket::new(config).map_err(io::Error::other)?;
        let history = runtime.block_on(bucket.list(&format!("{HISTORY}/"))).map_err(io::Error::other)?;
        Ok(Self { bucket, runtime, history, ahead: std::cell::RefCell::default() })
    }

    /// Reads a file, and with it those that will be asked for next.
    fn read_with(&self, path: &str, next: impl Iterator<Item = String>) -> io::Result<Option<Vec<u8>>> {
        if let Some(read) = self.ahead.borrow_mut().remove(path) {
            return Ok(read);
        }
        let paths: Vec<String> = std::iter::once(path.to_owned()).chain(next).collect();
        let get = |path: String| async move {
            let bytes = self.bucket.get(&path).await?;
            Ok::<_, S3Error>((path, bytes.map(|bytes| bytes.to_vec())))
        };
        let all = futures_util::stream::iter(paths).map(get).buffer_unordered(AT_ONCE);
        let read: Vec<_> = self.runtime.block_on(all.try_collect()).map_err(io::Error::other)?;
        let mut ahead = self.ahead.borrow_mut();
        if ahead.len() > 16 * AT_ONCE {
            ahead.clear();
        }
        ahead.extend(read);
        Ok(ahead.remove(path).flatten())
    }
}

impl Source for Remote {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let at = self.history.binary_search_by(|name| name.as_str().cmp(path));
        let next = at.map_or(&[][..], |at| self.history.get(at + 1..).unwrap_or_default());
        self.read_with(path, next.iter().take(AT_ONCE - 1).cloned())
    }

    fn history(&self) -> io::Result<Vec<String>> {
        Ok(self.history.clone())
    }

    fn tile(&self, level: u8, n: u64, width: u64) -> io::Result<Option<Vec<u8>>> {
        if width < WIDTH || level > 0 {
            return self.whole_or_part(width, &|width| tile_path(level, n, width));
        }
        self.read_with(&tile_path(0, n, WIDTH), (n + 1..n + 32).map(|n| tile_path(0, n, WIDTH)))
    }

    fn bundle(&self, n: u64, width: u64) -> io::Result<Option<Vec<u8>>> {
        if width < WIDTH {
            return self.whole_or_part(width, &|width| bundle_path(n, width));
        }
        self.read_with(&bundle_path(n, WIDTH), (n + 1..n + 32).map(|n| bundle_path(n, WIDTH)))
    }
}
