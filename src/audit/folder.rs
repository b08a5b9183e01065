//! The files of the journal.
//!
//! A file is named for the number of records before it (`audit-00000000000000000256-0.jsonl`); the last digits count files
//! that begin with the same record, of which the last one is meant. So what a file holds behind the first record of the
//! next one is not part of the journal: it was never made durable, and nobody was told that it was. A file is only ever
//! appended to, by one process: the folder is locked while it is in use.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AuditError;
use super::progress::Stretch;

/// Where files are made. The writer knows only this, so that tests can break it.
pub(super) trait Store: Send {
    /// A new, empty file that survives a crash as an empty file. `first` is the number of records before it.
    fn create(&mut self, first: u64) -> io::Result<Box<dyn Sink>>;
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
    /// Where it is.
    fn path(&self) -> &Path;
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Held by whoever writes to a folder.
pub(super) type Lock = Arc<File>;

/// A folder of the file system.
pub(super) struct Folder {
    path: PathBuf,
    /// The newest file: the records before it, and the file's number among those that begin with the same.
    last: Option<(u64, u64)>,
    lock: Lock,
}

impl Folder {
    /// Opens the folder, making it (0700) if there is none, and locks it. Also gives what of the journal is there: a line
    /// that a crash tore is taken off.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Stretch>), AuditError> {
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
        let files = files(path).map_err(wrong)?;
        let last = files.last().map(|(number, _)| *number);
        // What a checkpoint covers is held against it later: nothing of that is taken off here.
        let signed = super::shelf::Source::read(&super::shelf::Shelf::new(path), super::shelf::CHECKPOINT);
        let signed = signed.map_err(wrong)?.and_then(|note| super::reader::told_size(&note)).unwrap_or(0);
        let stretches = stretches(&files, Some(signed)).map_err(wrong)?;
        Ok((Self { path: path.to_owned(), last, lock: Arc::new(lock) }, stretches))
    }

    /// The lock, for who else writes to the folder.
    pub(super) fn lock(&self) -> Lock {
        Arc::clone(&self.lock)
    }
}

/// The files of a journal, in order: the records before each, its number among those that begin with the same, and where
/// it is.
type Files = Vec<((u64, u64), PathBuf)>;

fn files(path: &Path) -> io::Result<Files> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number) {
            files.push((number, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// What of the journal in a folder is part of it. Nothing is changed.
pub(super) fn read_stretches(path: &Path) -> io::Result<Vec<Stretch>> {
    stretches(&files(path)?, None)
}

fn stretches(files: &Files, mend: Option<u64>) -> io::Result<Vec<Stretch>> {
    let mut stretches = Vec::with_capacity(files.len());
    let nexts = files.iter().skip(1).map(|((first, _), _)| Some(*first)).chain([None]);
    for (((first, _), path), next) in files.iter().zip(nexts) {
        let (records, bytes) = match next {
            Some(next) => (next - first, std::fs::metadata(path)?.len()),
            None => whole_lines(path, mend.map(|signed| signed.saturating_sub(*first)))?,
        };
        stretches.push(Stretch { path: path.clone(), first: *first, records, bytes, closed: true });
    }
    Ok(stretches)
}

/// The whole lines of the last file, and their bytes. What is behind them is taken away, and the rest made durable, where it
/// is told how many lines a checkpoint covers (`mend`): those are whole whatever is in them.
///
/// A line that is no record ends what is whole, too: of several blocks that were not made durable, a crash may leave the
/// later ones and zeros in the place of the first.
fn whole_lines(path: &Path, mend: Option<u64>) -> io::Result<(u64, u64)> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let covered = mend.unwrap_or(0);
    let (mut lines, mut whole, mut line) = (0, 0_u64, Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') || (lines >= covered && !is_record(&line)) {
            break;
        }
        lines += 1;
        whole += line.len() as u64;
    }
    if mend.is_some() {
        let file = OpenOptions::new().append(true).open(path)?;
        let bytes = file.metadata()?.len();
        if bytes > whole {
            tracing::warn!(
                path = %path.display(),
                bytes = bytes - whole,
                "what a crash tore is taken off the audit journal: nobody was told that it was written"
            );
            file.set_len(whole)?;
        }
        file.sync_all()?;
    }
    Ok((lines, whole))
}

/// Whether a line is one that we write.
fn is_record(line: &[u8]) -> bool {
    line.starts_with(b"{\"v\":") && super::entry::Peek::of(line).is_ok()
}

/// The numbers in a file's name.
fn number(name: &str) -> Option<(u64, u64)> {
    let (first, turn) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    (first.len() == 20).then_some(())?;
    Some((first.parse().ok()?, turn.parse().ok()?))
}

impl Store for Folder {
    fn create(&mut self, first: u64) -> io::Result<Box<dyn Sink>> {
        let turn = self.last.filter(|(last, _)| *last == first).map_or(0, |(_, turn)| turn + 1);
        let path = self.path.join(format!("{PREFIX}{first:020}-{turn}{SUFFIX}"));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = sync_folder(&self.path) {
            // Without an entry that lasts it's no journal. Nothing was written to it yet.
            drop(std::fs::remove_file(&path));
            return Err(error);
        }
        self.last = Some((first, turn));
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

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads the lines of a stretch of the journal behind the first `skip` bytes, without their ends; `line` says whether to go
/// on. Gives the bytes that were read.
pub(super) fn read_lines<E: From<io::Error>>(
    stretch: &Stretch,
    skip: u64,
    lines: u64,
    mut line: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut file = File::open(&stretch.path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(skip))?;
    let mut reader = BufReader::with_capacity(1 << 20, file.take(stretch.bytes.saturating_sub(skip)));
    let (mut read, mut text) = (0, Vec::new());
    for _ in 0..lines {
        text.clear();
        read += reader.read_until(b'\n', &mut text)? as u64;
        if text.pop() != Some(b'\n') {
            let gone = format!("{} has fewer records than it had", stretch.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, gone).into());
        }
        line(&text)?;
    }
    Ok(read)
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A record for each letter.
    fn lines(letters: &str) -> String {
        let line = |letter| {
            format!(
                "{{\"v\":1,\"run\":\"{letter}\",\"seq\":1,\"time\":\"t\",\"tick_us\":1,\"type\":\"stop\"}}\n"
            )
        };
        letters.chars().map(line).collect()
    }

    fn all(stretches: &[Stretch]) -> String {
        let mut text = String::new();
        for stretch in stretches {
            let line = |line: &[u8]| {
                text.push_str(&super::super::entry::Peek::of(line).expect("a record").run);
                Ok::<_, io::Error>(())
            };
            read_lines(stretch, 0, stretch.records, line).expect("read");
        }
        text
    }

    #[test]
    fn only_what_the_next_file_goes_on_from_counts() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("a/b");
        {
            let (mut folder, none) = Folder::open(&path).expect("opened");
            assert!(none.is_empty());
            // Records before the file; what is written; what of it the next file says was durable is seen below.
            for (first, numbers) in [(0, "12"), (2, "xy"), (2, "3z"), (3, "45")] {
                let mut file = folder.create(first).expect("made");
                file.append(lines(numbers).as_bytes()).expect("written");
                if first == 3 {
                    file.append(&lines("6").as_bytes()[..40]).expect("written");
                }
                file.sync().expect("synced");
            }
            assert_eq!(all(&read_stretches(&path).expect("read")), "12345");
        }
        let (mut folder, stretches) = Folder::open(&path).expect("opened again");
        assert_eq!(all(&stretches), "12345");
        let bytes = lines("45").len() as u64;
        let last = stretches.last().map(|s| (s.first, s.records, s.bytes));
        assert_eq!(last, Some((3, 2, bytes)), "the torn line is off");
        folder.create(5).expect("made").append(lines("6").as_bytes()).expect("written");
        assert_eq!(all(&read_stretches(&path).expect("read")), "123456");
        for (_, file) in files(&path).expect("files") {
            let mode = std::fs::metadata(&file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    }

    /// What a crash leaves of a write that was not made durable: its end, nothing of it, or zeros before its end.
    #[test]
    fn a_torn_write_is_taken_off_from_its_first_byte() {
        let check = |torn: &[u8]| {
            let temp = tempfile::tempdir().expect("a folder");
            let (mut folder, _) = Folder::open(temp.path()).expect("opened");
            let mut file = folder.create(0).expect("made");
            file.append(lines("12").as_bytes()).expect("written");
            file.append(torn).expect("written");
            drop((file, folder));
            let (_, stretches) = Folder::open(temp.path()).expect("opened again");
            let path = stretches[0].path.clone();
            assert_eq!(std::fs::read_to_string(path).expect("read"), lines("12"), "{torn:?}");
        };
        let write = lines("345").into_bytes();
        check(b"");
        check(&write[..1]);
        check(&write[..write.len() / 3 - 1]);
        for zeros in [1, 7, write.len() / 3 - 1, write.len() / 3, write.len() / 2] {
            let mut torn = write.clone();
            torn[..zeros].fill(0);
            check(&torn);
        }
        // What stands before a torn line is whole: it may have been made durable.
        let temp = tempfile::tempdir().expect("a folder");
        let (mut folder, _) = Folder::open(temp.path()).expect("opened");
        let mut file = folder.create(0).expect("made");
        file.append(&[lines("12").as_bytes(), &[0; 4096], lines("3").as_bytes()].concat()).expect("written");
        drop((file, folder));
        assert_eq!(all(&Folder::open(temp.path()).expect("opened").1), "12");
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
