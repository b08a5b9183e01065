//! A log held against its checkpoints, by whoever has the verifier key and a copy: no gateway is needed.
//!
//! Bundles are read one after another, and what is kept of them is the right edge of their tree, so that memory does not
//! grow with the log. Each checkpoint of the log's history, and each that somebody kept, must have the root that the
//! records had at its size.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use tlog_tiles::{HASH_SIZE, Hash, Tile, record_hash};

use super::entry::{Peek, large_path};
use super::folder::read_stretches;
use super::note::{Head, Verifier};
use super::proof::Prover;
use super::reader::checkpoints;
use super::shelf::{CHECKPOINT, Shelf, Source};
use super::tree::{Edge, Filled, WIDTH, bundle_path, entries, hashes, tile_path};
use super::witness::{self, COSIGNED};
use crate::units::hex;

/// The most faults that are told.
const MOST: usize = 1000;

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record is not the one that was written. Records are counted from 0.
    #[error("record {n} ({bundle}): {what}")]
    Record {
        /// Which.
        n: u64,
        /// The file that it is in.
        bundle: String,
        /// What became of it.
        what: String,
    },
    /// A file of the log.
    #[error("{path}: {what}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint that does not agree with the records.
    #[error("{checkpoint}: {what}")]
    Checkpoint {
        /// Where it is.
        checkpoint: String,
        /// What is wrong.
        what: String,
    },
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records under the checkpoint.
    pub records: u64,
    /// Records behind it, which are in the journal only: the gateway was running, or was killed.
    pub pending: u64,
    /// Checkpoints that agree with the records.
    pub checkpoints: u64,
    /// Whose word there is that the log only grew: the witness, the records then, and the time in seconds since 1970.
    pub witnessed: Vec<(String, u64, u64)>,
    /// What is wrong; at most a thousand.
    pub faults: Vec<Fault>,
}

/// A checkpoint that somebody kept, and where it is.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its name for messages.
    pub name: String,
    /// The note.
    pub note: Vec<u8>,
}

/// Verifies a folder.
///
/// # Errors
/// It can't be read. That something is wrong with it is in the verdict.
pub fn folder(
    path: &Path,
    verifier: &Verifier,
    kept: &[Kept],
    witnesses: &[witness::Key],
) -> io::Result<Verdict> {
    let mut verdict = verify(&Shelf::new(path), verifier, kept, witnesses)?;
    let end = read_stretches(path)?.last().map_or(0, super::progress::Stretch::end);
    verdict.pending = end.saturating_sub(verdict.records);
    Ok(verdict)
}

/// Verifies a copy in a bucket.
///
/// # Errors
/// It can't be read.
pub fn bucket(
    config: &super::s3::Config,
    verifier: &Verifier,
    kept: &[Kept],
    witnesses: &[witness::Key],
) -> io::Result<Verdict> {
    verify(&super::mirror::Remote::open(config)?, verifier, kept, witnesses)
}

fn verify(
    source: &impl Source,
    verifier: &Verifier,
    kept: &[Kept],
    witnesses: &[witness::Key],
) -> io::Result<Verdict> {
    let mut run = Run { source, verdict: Verdict::default(), agreed: 0, told: false };
    // While a gateway runs there is ever more. What witnesses signed had its line in the history before, and so is under a
    // checkpoint that is read after it.
    let cosigned = source.read(COSIGNED)?;
    let Some(head) = run.head(verifier)? else { return Ok(run.verdict) };
    let mut kept = kept.to_vec();
    if let Some(note) = cosigned {
        run.witnessed(&note, verifier, witnesses);
        kept.push(Kept { name: COSIGNED.to_owned(), note });
    } else if !witnesses.is_empty() {
        run.file(COSIGNED.to_owned(), "is missing: no witness vouches for the log");
    }
    let kept = kept.as_slice();
    let (head, mut heads) = run.heads(verifier, kept, head)?;
    run.verdict.records = head.size;
    let mut edge = Edge::default();
    run.agree(&edge, &mut heads);
    for n in 0..head.size.div_ceil(WIDTH) {
        let width = (head.size - n * WIDTH).min(WIDTH);
        let leaves = run.bundle(n, width, &head, &edge)?;
        if leaves.len() as u64 != width {
            // There is nothing to go on from.
            return Ok(run.verdict);
        }
        let mut filled = Vec::new();
        for leaf in leaves {
            edge.push(leaf, |tile| filled.push(tile));
            run.agree(&edge, &mut heads);
        }
        for tile in filled.iter().filter(|tile| tile.level > 0) {
            run.whole_tile(tile)?;
        }
    }
    for (level, n, bytes) in edge.partial().filter(|(level, ..)| *level > 0) {
        let width = (bytes.len() / HASH_SIZE) as u64;
        match run.source.tile(level, n, width)? {
            Some(tile) if tile.starts_with(bytes) => {}
            Some(_) => run.file(tile_path(level, n, width), "is not the tile of the records under it"),
            None => run.file(tile_path(level, n, width), "is missing"),
        }
    }
    Ok(run.verdict)
}

struct Run<'a, S> {
    source: &'a S,
    verdict: Verdict,
    /// The size of the last checkpoint that agrees.
    agreed: u64,
    /// A checkpoint that does not agree was told of.
    told: bool,
}

type Heads = VecDeque<(Head, String)>;

impl<S: Source> Run<'_, S> {
    fn fault(&mut self, fault: Fault) {
        if self.verdict.faults.len() < MOST {
            self.verdict.faults.push(fault);
        }
    }

    fn file(&mut self, path: String, what: &str) {
        self.fault(Fault::File { path, what: what.to_owned() });
    }

    fn checkpoint(&mut self, checkpoint: &str, what: String) {
        self.fault(Fault::Checkpoint { checkpoint: checkpoint.to_owned(), what });
    }

    /// Which of the witnesses have signed.
    fn witnessed(&mut self, note: &[u8], verifier: &Verifier, witnesses: &[witness::Key]) {
        let size = verifier.open(note).map_or(0, |head| head.size);
        for witness in witnesses {
            match witness.signed(note) {
                Some(at) => self.verdict.witnessed.push((witness.name().to_owned(), size, at)),
                None => self.checkpoint(COSIGNED, format!("is not signed by the witness {}", witness.name())),
            }
        }
    }

    fn head(&mut self, verifier: &Verifier) -> io::Result<Option<Head>> {
        let Some(note) = self.source.read(CHECKPOINT)? else {
            self.file(CHECKPOINT.to_owned(), "is missing: nothing says which records there were");
            return Ok(None);
        };
        match verifier.open(&note) {
            Ok(head) => Ok(Some(head)),
            Err(error) => {
                self.checkpoint(CHECKPOINT, error.to_string());
                Ok(None)
            }
        }
    }

    /// The newest checkpoint of the log's own, and all of them by their size. Those of the history are few enough: 100 bytes for
    /// each interval with records. A checkpoint has its line there before it takes the place of the last one.
    fn heads(&mut self, verifier: &Verifier, kept: &[Kept], mut head: Head) -> io::Result<(Head, Heads)> {
        let mut heads = vec![(head.clone(), CHECKPOINT.to_owned())];
        for name in self.source.history()? {
            let bytes = self.source.read(&name)?.unwrap_or_default();
            // A file is only appended to. From one to the next the clock may have jumped.
            let mut last = 0;
            for (line, note) in (1..).zip(checkpoints(&bytes)) {
                let name = format!("{name}, checkpoint {line}");
                match verifier.open(&note) {
                    Ok(found) => {
                        if found.size < last {
                            let what = format!("it has {} records, and the one before it {last}", found.size);
                            self.checkpoint(&name, what);
                        }
                        last = found.size;
                        if found.size > head.size {
                            head = found.clone();
                        }
                        heads.push((found, name));
                    }
                    Err(error) => self.checkpoint(&name, error.to_string()),
                }
            }
        }
        for Kept { name, note } in kept {
            match verifier.open(note) {
                Ok(found) => heads.push((found, name.clone())),
                Err(error) => self.checkpoint(name, error.to_string()),
            }
        }
        heads.sort_by_key(|(head, _)| head.size);
        let (within, above): (Vec<_>, Vec<_>) =
            heads.into_iter().partition(|(found, _)| found.size <= head.size);
        for (found, name) in above {
            let what = format!(
                "the log was rolled back: this checkpoint has {} records, and the log's own has {}",
                found.size, head.size
            );
            self.checkpoint(&name, what);
        }
        Ok((head, within.into()))
    }

    /// Compares the root with that of each checkpoint of this size.
    fn agree(&mut self, edge: &Edge, heads: &mut Heads) {
        while let Some((head, name)) = heads.pop_front_if(|(head, _)| head.size == edge.size()) {
            if edge.root().ok() == Some(head.root) {
                self.agreed = head.size;
                self.verdict.checkpoints += 1;
            } else if name == CHECKPOINT || !self.told {
                self.told = true;
                let what = format!(
                    "the log was forked: the first {} records are not those that this checkpoint signed; the first {} are as signed",
                    head.size, self.agreed
                );
                self.checkpoint(&name, what);
            }
        }
    }

    fn whole_tile(&mut self, tile: &Filled) -> io::Result<()> {
        let path = tile_path(tile.level, tile.n, WIDTH);
        match self.source.read(&path)? {
            Some(bytes) if bytes == tile.bytes => {}
            Some(_) => self.file(path, "is not the tile of the records under it"),
            None => self.file(path, "is missing"),
        }
        Ok(())
    }

    /// Verifies a bundle and its tile against each other, and gives the hashes of the records that were written, as far as
    /// that can be told.
    fn bundle(&mut self, n: u64, width: u64, head: &Head, edge: &Edge) -> io::Result<Vec<Hash>> {
        let tile = self.source.tile(0, n, width)?;
        let bundle = self.source.bundle(n, width)?;
        let path = bundle_path(n, width);
        let all = usize::try_from(width).unwrap_or(0);
        let found = bundle.as_deref().map(|bytes| self.read(n, bytes, width));
        let told: Option<Vec<Hash>> = tile.as_deref().map(|tile| hashes(tile).take(all).collect());
        let whole = |leaves: &Vec<Hash>| leaves.len() == all;
        match (found, told) {
            (Some(found), Some(told)) if found == told && whole(&found) => Ok(found),
            (Some(found), told) if whole(&found) && self.authentic(n, &found, head, edge) => {
                let what =
                    if told.is_some() { "is damaged; the records under it are intact" } else { "is missing" };
                self.file(tile_path(0, n, width), what);
                Ok(found)
            }
            (Some(found), Some(told)) if whole(&told) => {
                if !self.authentic(n, &told, head, edge) {
                    self.file(
                        tile_path(0, n, width),
                        "and the records under it disagree, and neither is what was signed",
                    );
                }
                self.compare(n, &path, &found, &told);
                Ok(told)
            }
            (None, Some(told)) if whole(&told) => {
                self.file(
                    path,
                    &format!("is missing, with the records {} to {}", n * WIDTH, n * WIDTH + width - 1),
                );
                Ok(told)
            }
            (Some(found), _) => {
                self.file(tile_path(0, n, width), "is missing or damaged");
                if !whole(&found) {
                    self.file(path, "is torn, and nothing says what was in it");
                }
                Ok(found)
            }
            (None, _) => {
                self.file(path, "is missing, and so is its tile: what is behind it cannot be verified");
                Ok(Vec::new())
            }
        }
    }

    /// The hashes of a bundle's entries. Long records are held against the hashes that stand for them.
    fn read(&mut self, n: u64, bytes: &[u8], width: u64) -> Vec<Hash> {
        let mut leaves = Vec::new();
        // One that somebody added to a whole bundle is one too many.
        let most = if width == WIDTH { usize::MAX } else { usize::try_from(width).unwrap_or(0) };
        for (at, entry) in (n * WIDTH..).zip(entries(bytes).take(most)) {
            let Ok(entry) = entry else { break };
            leaves.push(record_hash(entry));
            if Peek::may_be_stub(entry)
                && let Some(large) = Peek::of(entry).ok().and_then(|peek| peek.large)
            {
                let path = large_path(&large.sha256);
                match self.source.read(&path) {
                    Ok(Some(line)) if hex(digest(&SHA256, &line).as_ref()) == large.sha256 => {}
                    Ok(Some(_)) => self.file(path, &format!("was changed: it is the record {at}")),
                    _ => self.file(path, &format!("is missing: it is the record {at}")),
                }
            }
        }
        leaves
    }

    /// Whether these are the leaves of the bundle, by the checkpoint and the tiles above.
    fn authentic(&self, n: u64, leaves: &[Hash], head: &Head, edge: &Edge) -> bool {
        if leaves.len() as u64 == WIDTH {
            let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
            let told =
                Prover::new(self.source, head.size, head.root, None).and_then(|prover| prover.subtree(0, n));
            return told.is_ok_and(|told| told == Some(Tile::subtree_hash(&bytes)));
        }
        let mut grown = edge.clone();
        leaves.iter().for_each(|leaf| grown.push(*leaf, |_| {}));
        grown.root().ok() == Some(head.root)
    }

    /// Says how the records that are there differ from those that were written.
    fn compare(&mut self, n: u64, bundle: &str, found: &[Hash], told: &[Hash]) {
        let first = n * WIDTH;
        let record =
            |at: usize, what: String| Fault::Record { n: first + at as u64, bundle: bundle.to_owned(), what };
        let places: HashMap<[u8; HASH_SIZE], usize> =
            told.iter().enumerate().rev().map(|(at, hash)| (hash.0, at)).collect();
        let place = |hash: &Hash| places.get(&hash.0).copied();
        let Some(at) = (0..told.len().max(found.len())).find(|&at| found.get(at) != told.get(at)) else {
            return;
        };
        let rest = |leaves: &[Hash], from: usize| leaves.get(from..).unwrap_or_default().to_vec();
        if found.len() < told.len() && rest(found, at) == rest(told, at + told.len() - found.len()) {
            for gone in at..at + told.len() - found.len() {
                self.fault(record(gone, "was removed".to_owned()));
            }
            return;
        }
        if found.len() > told.len() && rest(told, at) == rest(found, at + found.len() - told.len()) {
            for more in at..at + found.len() - told.len() {
                let what = match found.get(more).and_then(place) {
                    Some(of) => format!("a copy of record {} was put before it", first + of as u64),
                    None => "one that was never written was put before it".to_owned(),
                };
                self.fault(record(more, what));
            }
            return;
        }
        for at in 0..told.len().max(found.len()) {
            let what = match (found.get(at), told.get(at)) {
                (Some(found), Some(told)) if found == told => continue,
                (Some(there), Some(told)) => match place(there) {
                    Some(of) if found.iter().any(|other| other == told) => {
                        format!("was put in another place: here is record {}", first + of as u64)
                    }
                    Some(of) => format!("is gone: a copy of record {} is in its place", first + of as u64),
                    None => "was changed".to_owned(),
                },
                (Some(_), None) => "was never written".to_owned(),
                (None, _) => "was removed".to_owned(),
            };
            self.fault(record(at, what));
        }
    }
}
