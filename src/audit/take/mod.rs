//! What somebody takes out of the audit: exports with their proofs, what a search finds, reports.
//!
//! An export is a folder: the records in one file, `checkpoint`, the tiles that prove each record under it, and
//! `manifest.json`, which says what was asked for and what the files are, with the log's signature in `manifest.note`. So
//! whoever has the verifier key can tell offline that each record is the one that was written, and that the gateway vouches
//! for none having been left out.

pub mod compliance;
mod jobs;
pub mod report;
mod row;
mod scan;
mod sheet;
#[cfg(test)]
mod tests;
mod verify;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};
use tlog_tiles::record_hash;

use super::folder::sync_folder;
use super::mirror::Remote;
use super::note::{Head, Key, NoteError, Verifier};
use super::s3;
use super::shelf::{CHECKPOINT, Shelf, Source, VERIFIER};
use super::tree::bundle_path;
use crate::units::hex;

pub use jobs::{Job, Jobs, Progress};
pub use scan::Selection;
pub use sheet::Format;
pub use verify::{export as verify_export, is_export};

use super::proof::Prover;
pub(super) use row::Row;
use scan::{Filter, Found, scan};
pub(super) use sheet::Columns;
use sheet::Sheet;

/// What an export is, and what was asked for.
const MANIFEST: &str = "manifest.json";
/// The log's signature over it.
const SIGNED: &str = "manifest.note";
/// What is signed begins with this line.
const SIGNED_AS: &str = "northgate audit export";

/// Why nothing could be taken out.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The checkpoint, or the key.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    /// What is there is not what was written.
    #[error("{0}; `northgate audit verify` tells more")]
    Altered(String),
    /// What was asked for cannot be answered.
    #[error("{0}")]
    Asked(String),
}

/// Where a log is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Box<s3::Config>),
}

impl Place {
    fn open(&self) -> io::Result<Box<dyn Source>> {
        Ok(match self {
            Self::Folder(path) => Box::new(Shelf::new(path)),
            Self::Bucket(config) => Box::new(Remote::open(config)?),
        })
    }

    /// The log and the size of its last checkpoint, whose signature is not looked at.
    fn begin(&self) -> Result<(Box<dyn Source>, u64), TakeError> {
        let source = self.open()?;
        let note = source.read(CHECKPOINT)?;
        let note = note
            .ok_or_else(|| TakeError::Asked("there is no checkpoint: nothing is recorded yet".to_owned()))?;
        let size = super::reader::told_size(&note);
        Ok((source, size.ok_or_else(|| TakeError::Altered("the checkpoint is none".to_owned()))?))
    }
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    /// The log.
    pub(crate) origin: String,
    /// When the export was made.
    pub(crate) made: String,
    /// The first moment that was asked for, and the first that is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) denied: bool,
    /// Records under the checkpoint.
    pub(crate) size: u64,
    /// Records in the export.
    pub(crate) records: u64,
    /// The number of the first one, and of the last one.
    pub(crate) first: Option<u64>,
    pub(crate) last: Option<u64>,
    /// The file with the records, its length, and its SHA-256 in hex.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// What an export came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Records in it.
    pub records: u64,
    /// Bytes of the file of records.
    pub bytes: u64,
    /// Records under the checkpoint that proves them.
    pub size: u64,
}

/// Writes an export into a new folder. `config` has the log's key. `progress` is told how many records are looked at, and of
/// how many; an error of its own ends the export.
///
/// # Errors
/// Something could not be read or written, or a record is not the one that was written.
pub fn export(
    place: &Place,
    config: &super::Config,
    selection: &Selection,
    format: Format,
    to: &Path,
    progress: &dyn Fn(u64, u64) -> io::Result<()>,
) -> Result<Summary, TakeError> {
    let key = Key::open(&config.key(), &config.origin, false)?;
    let verifier = Verifier::new(key.verifier())?;
    let source = place.open()?;
    let note = source.read(CHECKPOINT)?;
    let note =
        note.ok_or_else(|| TakeError::Asked("there is no checkpoint: nothing is recorded yet".to_owned()))?;
    let head = verifier.open(&note)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(to)?;
    if fs::read_dir(to)?.next().is_some() {
        return Err(TakeError::Asked(format!("{} is not empty", to.display())));
    }
    let path = to.join(format.file());
    let mut sheet = Sheet::create(format, &path)?;
    let (records, first, last) = write(&*source, &head, selection, &mut sheet, to, progress)?;
    sheet.finish()?;
    let (bytes, sha256) = sum(&path)?;
    let text = |at: Timestamp| super::clock::text(at);
    let manifest = Manifest {
        version: 1,
        origin: head.origin.clone(),
        made: text(Timestamp::now()),
        from: selection.from.map(text),
        to: selection.to.map(text),
        user: selection.user.clone(),
        table: selection.table.clone(),
        tag: selection.tag.clone(),
        denied: selection.denied,
        size: head.size,
        records,
        first,
        last,
        file: format.file().to_owned(),
        bytes,
        sha256,
    };
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
    let mut shelf = Shelf::new(to);
    shelf.write(CHECKPOINT, &note)?;
    shelf.write(VERIFIER, format!("{}\n", key.verifier()).as_bytes())?;
    shelf.write(MANIFEST, &manifest)?;
    shelf.write(SIGNED, &key.sign_text(&signed_text(&head.origin, &manifest))?)?;
    shelf.sync()?;
    sync_folder(to)?;
    Ok(Summary { records, bytes, size: head.size })
}

type Span = (u64, Option<u64>, Option<u64>);

/// Writes the records, each held against the checkpoint, and the tiles that this needs.
fn write(
    source: &dyn Source,
    head: &Head,
    selection: &Selection,
    sheet: &mut Sheet,
    to: &Path,
    progress: &dyn Fn(u64, u64) -> io::Result<()>,
) -> Result<Span, TakeError> {
    let prover = Prover::new(source, head.size, head.root, Some(Shelf::new(to)))?;
    let pending = std::cell::RefCell::new(Vec::new());
    let (mut records, mut first, mut last) = (0_u64, None, None);
    let each = |Found { n, entry, line, shown, row }: Found<'_>| {
        pending.borrow_mut().push((n, record_hash(entry)));
        first = first.or(Some(n));
        last = Some(n);
        records += 1;
        sheet.add(n, line, shown, row)?;
        Ok::<_, TakeError>(true)
    };
    let bundle = |n: u64, any: bool| {
        progress(((n + 1) * super::tree::WIDTH).min(head.size), head.size)?;
        if !any {
            return Ok(());
        }
        let wrong = prover.check(&pending.take())?;
        wrong.map_or(Ok(()), |at| {
            let path = bundle_path(n, super::tree::WIDTH);
            Err(TakeError::Altered(format!("record {at} ({path}) is not the one that was written")))
        })
    };
    scan(source, head.size, &mut Filter::new(selection), each, bundle)?;
    Ok((records, first, last))
}

/// What the log's key signs.
fn signed_text(origin: &str, manifest: &[u8]) -> Vec<u8> {
    let sum = hex(aws_lc_rs::digest::digest(&SHA256, manifest).as_ref());
    format!("{SIGNED_AS}\n{origin}\nsha256 {sum}\n").into_bytes()
}

/// The length and the SHA-256 of a file.
fn sum(path: &Path) -> io::Result<(u64, String)> {
    let mut file = fs::File::open(path)?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0);
    let mut piece = vec![0_u8; 1 << 20];
    loop {
        let read = io::Read::read(&mut file, &mut piece)?;
        if read == 0 {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
    Ok((bytes, hex(context.finish().as_ref())))
}

/// The newest checkpoint of a log, as it is.
///
/// # Errors
/// It cannot be read, or there is none yet.
pub fn checkpoint(place: &Place) -> Result<Vec<u8>, TakeError> {
    let note = place.open()?.read(CHECKPOINT)?;
    note.ok_or_else(|| TakeError::Asked("there is no checkpoint: nothing is recorded yet".to_owned()))
}

/// A moment, or the beginning of a day in UTC.
///
/// # Errors
/// It is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let day = text.parse::<civil::Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    day.map(|at| at.timestamp()).ok_or_else(|| {
        format!("{text:?} is neither a day, such as 2026-11-01, nor a moment, such as 2026-11-01T08:00:00Z")
    })
}

/// Gives what is found to `line`, with its number and its texts opened; it says whether to go on. Of a folder also what no
/// checkpoint covers yet.
///
/// # Errors
/// Something could not be read.
pub fn search(
    place: &Place,
    selection: &Selection,
    mut line: impl FnMut(u64, &[u8]) -> bool,
) -> Result<(), TakeError> {
    let each = |n: u64, shown: &[u8], _: &Row<'_>| Ok(line(n, shown));
    walk(place, &mut Filter::new(selection), each)
}

/// Goes through the records that are meant, also those of a folder that no checkpoint covers yet. `each` has the number, the
/// line and what it says, with the texts opened, and says whether to go on.
fn walk(
    place: &Place,
    filter: &mut Filter<'_>,
    mut each: impl FnMut(u64, &[u8], &Row<'_>) -> Result<bool, TakeError>,
) -> Result<(), TakeError> {
    let (source, size) = match place.begin() {
        Err(TakeError::Asked(_)) if matches!(place, Place::Folder(_)) => (place.open()?, 0),
        begun => begun?,
    };
    let mut more = true;
    let found = |found: Found<'_>| {
        more = each(found.n, found.shown, found.row)?;
        Ok::<_, TakeError>(more)
    };
    scan(&*source, size, filter, found, |_, _| Ok(()))?;
    let Place::Folder(folder) = place else { return Ok(()) };
    if !more {
        return Ok(());
    }
    let mut failed = None;
    super::reader::records(folder, size, |n, text| {
        if !Row::of(text).is_ok_and(|row| filter.takes(&row)) || !filter.is_after(n) {
            return Ok(true);
        }
        let shown = filter.shown(text);
        let row = Row::of(&shown).map_err(io::Error::from)?;
        Ok(each(n, &shown, &row).unwrap_or_else(|error| {
            failed = Some(error);
            false
        }))
    })?;
    failed.map_or(Ok(()), Err)
}
