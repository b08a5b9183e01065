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

/// How often it is begun again where files of the journal are removed meanwhile: each time the checkpoint has gone on.
const LOOKS: usize = 10;

/// Reads the records from the one with the number `from` on; `record` has its number, its entry and its line, and says
/// whether to go on.
///
/// # Errors
/// A file cannot be read, is missing or torn. Whether it is the one that was written, only verifying tells.
pub(super) fn records(
    folder: &Path,
    from: u64,
    record: impl FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut reading = Reading { shelf: Shelf::new(folder), next: from, more: true, record };
    for look in 1..=LOOKS {
        let size = reading.shelf.read(CHECKPOINT)?.and_then(|note| told_size(&note)).unwrap_or(0);
        reading.bundles(size)?;
        match reading.journal(folder) {
            // What a checkpoint covers by now was taken off the journal.
            Err(error) if error.kind() == io::ErrorKind::NotFound && look < LOOKS => {}
            read => return read,
        }
    }
    Ok(())
}

struct Reading<R> {
    shelf: Shelf,
    next: u64,
    more: bool,
    record: R,
}

impl<R: FnMut(u64, &[u8]) -> io::Result<bool>> Reading<R> {
    /// Those under a checkpoint of this size.
    fn bundles(&mut self, size: u64) -> io::Result<()> {
        while self.more && self.next < size {
            let (n, width) = (self.next / WIDTH, (size - self.next / WIDTH * WIDTH).min(WIDTH));
            let gone = || {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is missing", bundle_path(n, width)))
            };
            let bundle = self.shelf.bundle(n, width)?.ok_or_else(gone)?;
            let within = usize::try_from(width).unwrap_or(0);
            for (at, entry) in (n * WIDTH..).zip(entries(&bundle).take(within)) {
                let torn = |_| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{} is torn", bundle_path(n, width)))
                };
                let entry = entry.map_err(torn)?;
                if at == self.next {
                    self.next += 1;
                    self.more = (self.record)(at, &line_of(&self.shelf, entry)?)?;
                    if !self.more {
                        return Ok(());
                    }
                }
            }
            if self.next < n * WIDTH + width {
                return Err(gone());
            }
        }
        Ok(())
    }

    /// Those that are in the journal only.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]: it begins, or goes on, behind what was read.
    fn journal(&mut self, folder: &Path) -> io::Result<()> {
        for stretch in read_stretches(folder)? {
            if !self.more {
                return Ok(());
            }
            if stretch.first > self.next {
                let gone = format!("the records {} to {} are missing", self.next, stretch.first);
                return Err(io::Error::new(io::ErrorKind::NotFound, gone));
            }
            let mut at = stretch.first;
            read_lines(&stretch, 0, stretch.records, |line| {
                if at == self.next && self.more {
                    self.next += 1;
                    self.more = (self.record)(at, line)?;
                }
                at += 1;
                Ok::<_, io::Error>(())
            })?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{config, intent};
    use super::super::{Audit, Config};
    use super::*;

    /// A file of the journal is taken away when a checkpoint covers it.
    #[tokio::test]
    async fn what_the_journal_had_is_found_under_the_checkpoint() {
        let temp = tempfile::tempdir().expect("a folder");
        let config = Config { folder: temp.path().join("audit"), ..config() };
        let audit = Audit::open(&config).expect("opened");
        for n in 0..300 {
            drop(audit.intend(intent(&n.to_string())).await.expect("recorded"));
        }
        audit.close().await.expect("closed");
        drop(audit);
        let journal =
            fs::read_dir(&config.folder).expect("read").map(|entry| entry.expect("an entry").path());
        let journal = journal.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let journal: Vec<_> = journal.collect();
        assert_eq!(journal.len(), 1);
        let checkpoint = config.folder.join(CHECKPOINT);
        let all: Vec<u64> = (0..601).collect();
        let name = journal[0].file_name().expect("a name").to_string_lossy().replace("-0.jsonl", "-1.jsonl");
        let later = config.folder.join(name.replace(&format!("{:020}", 0), &format!("{:020}", 601)));
        fs::rename(&journal[0], &later).expect("renamed");
        fs::write(&later, "").expect("emptied");
        let mut read = Vec::new();
        records(&config.folder, 0, |at, _| {
            read.push(at);
            Ok(true)
        })
        .expect("read");
        assert_eq!(read, all);
        fs::remove_file(&checkpoint).expect("removed");
        assert!(records(&config.folder, 0, |_, _| Ok(true)).is_err(), "nobody is told that this is all");
    }
}
