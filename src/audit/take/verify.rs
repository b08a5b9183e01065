//! An export held against its manifest and its checkpoint, offline.

use std::fs;
use std::io;
use std::path::Path;

use tlog_tiles::{Hash, record_hash};

use super::sheet::{Format, read};
use super::{MANIFEST, Manifest, SIGNED, signed_text, sum};
use crate::audit::entry::Entry;
use crate::audit::note::Verifier;
use crate::audit::proof::Prover;
use crate::audit::shelf::{CHECKPOINT, Shelf, Source as _};
use crate::audit::tree::WIDTH;
use crate::audit::verify::{Fault, Kept, Verdict};

/// The most faults that are told.
const MOST: usize = 1000;

/// Whether a folder is an export.
pub fn is_export(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}

/// Verifies an export.
///
/// # Errors
/// It can't be read. That something is wrong with it is in the verdict.
pub fn export(folder: &Path, verifier: &Verifier, kept: &[Kept]) -> io::Result<Verdict> {
    let mut verdict = Verdict::default();
    let shelf = Shelf::new(folder);
    let file = |path: &str, what: String| Fault::File { path: path.to_owned(), what };
    let manifest = fs::read(folder.join(MANIFEST))?;
    match shelf.read(SIGNED)?.map(|note| verifier.open_text(&note)) {
        Some(Ok(text)) if text == signed_text(verifier.origin(), &manifest) => {}
        Some(Ok(_)) => {
            verdict.faults.push(file(MANIFEST, "was changed: the signature is over another".to_owned()));
        }
        Some(Err(error)) => verdict.faults.push(file(SIGNED, error.to_string())),
        None => {
            verdict.faults.push(file(SIGNED, "is missing: nobody vouches for what is not here".to_owned()));
        }
    }
    let manifest: Manifest = match serde_json::from_slice(&manifest) {
        Ok(manifest) => manifest,
        Err(error) => {
            verdict.faults.push(file(MANIFEST, error.to_string()));
            return Ok(verdict);
        }
    };
    let head = match shelf.read(CHECKPOINT)?.map(|note| verifier.open(&note)) {
        Some(Ok(head)) => head,
        Some(Err(error)) => {
            let checkpoint = CHECKPOINT.to_owned();
            verdict.faults.push(Fault::Checkpoint { checkpoint, what: error.to_string() });
            return Ok(verdict);
        }
        None => {
            verdict.faults.push(file(CHECKPOINT, "is missing".to_owned()));
            return Ok(verdict);
        }
    };
    if manifest.size != head.size {
        let what = format!("it has {} records, and the manifest says {}", head.size, manifest.size);
        verdict.faults.push(Fault::Checkpoint { checkpoint: CHECKPOINT.to_owned(), what });
    }
    verdict.checkpoints = 1;
    for Kept { name, note } in kept {
        // Of others no more can be told than whether they are of this moment: the records between are not here.
        let what = match verifier.open(note) {
            Ok(found) if found.size != head.size => {
                format!(
                    "it has {} records, and the export's {}: verify the log itself against it",
                    found.size, head.size
                )
            }
            Ok(found) if found.root != head.root => "the log was forked: it is over other records".to_owned(),
            Ok(_) => {
                verdict.checkpoints += 1;
                continue;
            }
            Err(error) => error.to_string(),
        };
        verdict.faults.push(Fault::Checkpoint { checkpoint: name.clone(), what });
    }
    let Some(format) = Format::of(&manifest.file) else {
        verdict.faults.push(file(MANIFEST, format!("names the file {:?}", manifest.file)));
        return Ok(verdict);
    };
    let path = folder.join(&manifest.file);
    if !path.exists() {
        verdict.faults.push(file(&manifest.file, "is missing".to_owned()));
        return Ok(verdict);
    }
    let changed = sum(&path)? != (manifest.bytes, manifest.sha256.clone());
    if changed {
        verdict.faults.push(file(&manifest.file, "is not the file that the manifest is of".to_owned()));
    }
    let prover = match Prover::new(&shelf, head.size, head.root, None) {
        Ok(prover) => prover,
        Err(error) => {
            verdict.faults.push(file("tile", error.to_string()));
            return Ok(verdict);
        }
    };
    let mut run = Run { prover, file: manifest.file.clone(), pending: Vec::new(), last: None, verdict };
    let read = read(format, &path, |record| run.record(record)).and_then(|()| run.check());
    if let Err(error) = read {
        run.fault(Fault::File { path: manifest.file.clone(), what: error.to_string() });
    }
    let mut verdict = run.verdict;
    if verdict.records != manifest.records {
        let what = format!("has {} records, and the manifest says {}", verdict.records, manifest.records);
        verdict.faults.push(file(&manifest.file, what));
    }
    Ok(verdict)
}

struct Run<'a> {
    prover: Prover<'a>,
    file: String,
    /// Records of one bundle.
    pending: Vec<(u64, Hash)>,
    last: Option<u64>,
    verdict: Verdict,
}

impl Run<'_> {
    fn fault(&mut self, fault: Fault) {
        if self.verdict.faults.len() < MOST {
            self.verdict.faults.push(fault);
        }
    }

    fn wrong(&mut self, n: u64, what: &str) {
        let fault = Fault::Record { n, bundle: self.file.clone(), what: what.to_owned() };
        self.fault(fault);
    }

    fn record(&mut self, record: Result<(u64, &[u8]), String>) -> io::Result<()> {
        let (n, line) = match record {
            Ok(record) => record,
            Err(what) => {
                self.fault(Fault::File { path: self.file.clone(), what });
                return Ok(());
            }
        };
        self.verdict.records += 1;
        if self.last.is_some_and(|last| n <= last) {
            self.wrong(n, "is not in its place, or is there twice");
            return Ok(());
        }
        if self.last.is_some_and(|last| last / WIDTH != n / WIDTH) {
            self.check()?;
        }
        self.last = Some(n);
        match Entry::of(line) {
            Ok(entry) => self.pending.push((n, record_hash(entry.bytes()))),
            Err(_) => self.wrong(n, "was changed: it is no record"),
        }
        Ok(())
    }

    /// Holds what was read of a bundle against the checkpoint.
    fn check(&mut self) -> io::Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        loop {
            match self.prover.check(&pending) {
                Ok(None) => return Ok(()),
                Ok(Some(n)) => {
                    self.wrong(n, "was changed, or was never written");
                    pending.retain(|(other, _)| *other > n);
                }
                Err(error) => {
                    self.fault(Fault::File { path: self.file.clone(), what: error.to_string() });
                    return Ok(());
                }
            }
        }
    }
}
