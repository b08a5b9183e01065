//! All records of a log in their order: those in bundles, then those that are in the journal only.

use std::io;
use std::path::Path;

use super::entry::{Peek, large_path};
use super::folder::{read_lines, read_stretches};
use super::note::split;
use super::shelf::{CHECKPOINT, Shelf, Source};
use super::tree::{WIDTH, bundle_path, entries};

/// The size that a checkpoint tells, without a look at its signature.
pub(super) fn told_size(note: &[u8]) -> Option<u64> {
    std::str::from_utf8(note).ok()?.lines().nth(1)?.parse().ok()
}

/// Reads the records from the one with the number `from` on; `record` has its number, its entry and its line, and says
/// whether to go on.
///
/// # Errors
/// A file cannot be read, is missing or torn. Whether it is the one that was written, only verifying tells.
pub(super) fn records(
    folder: &Path,
    from: u64,
    mut record: impl FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let shelf = Shelf::new(folder);
    let size = shelf.read(CHECKPOINT)?.and_then(|note| told_size(&note)).unwrap_or(0);
    let mut next = from;
    while next < size {
        let (n, width) = (next / WIDTH, (size - next / WIDTH * WIDTH).min(WIDTH));
        let gone =
            || io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", bundle_path(n, width)));
        let bundle = shelf.bundle(n, width)?.ok_or_else(gone)?;
        let within = usize::try_from(width).unwrap_or(0);
        for (at, entry) in (n * WIDTH..).zip(entries(&bundle).take(within)) {
            let torn =
                |_| io::Error::new(io::ErrorKind::InvalidData, format!("{} is torn", bundle_path(n, width)));
            let entry = entry.map_err(torn)?;
            if at == next {
                next += 1;
                if !record(at, &line_of(&shelf, entry)?)? {
                    return Ok(());
                }
            }
        }
        if next < (n * WIDTH + width) {
            return Err(gone());
        }
    }
    for stretch in read_stretches(folder)? {
        let mut at = stretch.first;
        let mut more = true;
        read_lines(&stretch, 0, stretch.records, |line| {
            if at == next && more {
                next += 1;
                more = record(at, line)?;
            }
            at += 1;
            Ok::<_, io::Error>(())
        })?;
        if !more {
            break;
        }
    }
    Ok(())
}

/// The line that an entry is, or stands for.
pub(super) fn line_of<'a>(source: &dyn Source, entry: &'a [u8]) -> io::Result<std::borrow::Cow<'a, [u8]>> {
    if Peek::may_be_stub(entry) {
        let peek = Peek::of(entry)?;
        if let Some(large) = peek.large {
            let path = large_path(&large.sha256);
            let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{path} is missing"));
            return Ok(source.read(&path)?.ok_or_else(gone)?.into());
        }
    }
    Ok(entry.into())
}

/// The checkpoints of a file of them.
pub(super) fn checkpoints(bytes: &[u8]) -> Vec<Vec<u8>> {
    split(&String::from_utf8_lossy(bytes)).map(String::into_bytes).collect()
}
