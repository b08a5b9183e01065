//! The files of the journal.
//!
//! A file is named for the moment it was made (`audit-20261123T033447.123456Z.jsonl`), and each name sorts
//! behind all that were there before, also when the clock was put back. A file is only ever appended to,
//! by one process: the folder is locked while it is in use.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, civil, tz::TimeZone};

use super::AuditError;

/// Where files are made. The writer knows only this, so that tests can break it.
pub(super) trait Store: Send {
    /// A new, empty file that survives a crash as an empty file.
    fn create(&mut self, at: Timestamp) -> io::Result<Box<dyn Sink>>;
}

/// One file that is being written.
pub(super) trait Sink: Send {
    /// Puts bytes at its end. After an error some of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. After an error nothing is known about it.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes everything behind the first `length` bytes away.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Removes the file: it has no record in it.
    fn discard(self: Box<Self>);
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// A folder of the file system.
pub(super) struct Folder {
    path: PathBuf,
    /// When the newest file was made, by its name.
    last: Option<Timestamp>,
    /// Held for its lock.
    _lock: File,
}

impl Folder {
    /// Opens the folder, making it (0700) if there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let wrong = |source| AuditError::Folder { path: path.to_owned(), source };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(wrong)?;
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                sync_folder(parent).map_err(wrong)?;
            }
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).append(true).mode(0o600).open(path.join("lock")).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(wrong(source)),
        }
        let mut last = None;
        for entry in std::fs::read_dir(path).map_err(wrong)? {
            last = last.max(entry.map_err(wrong)?.file_name().to_str().and_then(moment));
        }
        Ok(Self { path: path.to_owned(), last, _lock: lock })
    }
}

/// When a file was made, by its name.
fn moment(name: &str) -> Option<Timestamp> {
    let stem = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let at = civil::DateTime::strptime("%Y%m%dT%H%M%S%.fZ", stem).ok()?;
    at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

impl Store for Folder {
    fn create(&mut self, at: Timestamp) -> io::Result<Box<dyn Sink>> {
        // A clock that was put back must not put a newer file before an older one.
        let at = self
            .last
            .map_or(at, |last| at.max(last.saturating_add(Duration::from_micros(1)).unwrap_or(last)));
        let path = self.path.join(format!("{PREFIX}{}{SUFFIX}", at.strftime("%Y%m%dT%H%M%S.%6fZ")));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = sync_folder(&self.path) {
            // Without an entry that lasts it's no journal. Nothing was written to it yet.
            drop(std::fs::remove_file(&path));
            return Err(error);
        }
        self.last = Some(at);
        Ok(Box::new(Journal { file, path }))
    }
}

struct Journal {
    file: File,
    path: PathBuf,
}

impl Sink for Journal {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn discard(self: Box<Self>) {
        // A file that stays is empty, and harms nothing.
        drop(std::fs::remove_file(&self.path));
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn files(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name().into_string().expect("a name"))
            .filter(|n| n != "lock")
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_sort_also_when_the_clock_goes_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("a/b");
        {
            let mut folder = Folder::open(&path).expect("opened");
            for (second, text) in [(1000, "1"), (1000, "2"), (500, "3"), (1001, "4")] {
                let mut file = folder.create(at(second)).expect("made");
                file.append(text.as_bytes()).expect("written");
                file.sync().expect("synced");
            }
        }
        let mut folder = Folder::open(&path).expect("opened again");
        folder.create(at(7)).expect("made").append(b"5").expect("written");
        let all: String =
            files(&path).iter().map(|name| std::fs::read_to_string(path.join(name)).expect("read")).collect();
        assert_eq!(all, "12345");
        for name in files(&path) {
            let mode = std::fs::metadata(path.join(&name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn one_process_at_a_time() {
        let temp = tempfile::tempdir().expect("a folder");
        let first = Folder::open(temp.path()).expect("opened");
        assert!(matches!(Folder::open(temp.path()), Err(AuditError::InUse { .. })));
        drop(first);
        assert!(Folder::open(temp.path()).is_ok());
    }
}
