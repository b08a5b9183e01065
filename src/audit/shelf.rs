//! The files of a log in a folder: tiles, bundles, long records, checkpoints.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::folder::sync_folder;
use super::tree::{WIDTH, bundle_path, tile_path};

/// The newest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// All checkpoints, a file for each day.
pub(super) const HISTORY: &str = "checkpoints";
/// What the checkpoints are verified with, as the gateway says.
pub(super) const VERIFIER: &str = "verifier";

/// Where a log can be read from.
pub(super) trait Source {
    /// A file, by its path in the layout; none if it is not there.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// The names of the files of checkpoints.
    fn history(&self) -> io::Result<Vec<String>>;

    /// The first `width` hashes of a tile, or more; a whole tile stands for those that were parts of it.
    fn tile(&self, level: u8, n: u64, width: u64) -> io::Result<Option<Vec<u8>>> {
        self.whole_or_part(width, &|width| tile_path(level, n, width))
    }

    /// A bundle with the first `width` entries, or more.
    fn bundle(&self, n: u64, width: u64) -> io::Result<Option<Vec<u8>>> {
        self.whole_or_part(width, &|width| bundle_path(n, width))
    }

    /// The first bytes of a bundle, or more.
    fn beginning(&self, n: u64, width: u64, _most: usize) -> io::Result<Option<Vec<u8>>> {
        self.bundle(n, width)
    }

    /// See [`Source::tile`].
    fn whole_or_part(&self, width: u64, path: &dyn Fn(u64) -> String) -> io::Result<Option<Vec<u8>>> {
        match self.read(&path(width))? {
            None if width < WIDTH => self.read(&path(WIDTH)),
            read => Ok(read),
        }
    }
}

/// A folder.
pub(super) struct Shelf {
    root: PathBuf,
    /// What was written and may not be durable yet.
    unsynced: Vec<PathBuf>,
    /// Bytes written by this process.
    written: u64,
}

impl Source for Shelf {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn history(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        match std::fs::read_dir(self.root.join(HISTORY)) {
            Ok(entries) => {
                for entry in entries {
                    names.push(format!("{HISTORY}/{}", entry?.file_name().to_string_lossy()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        names.sort();
        Ok(names)
    }

    fn beginning(&self, n: u64, width: u64, most: usize) -> io::Result<Option<Vec<u8>>> {
        let read = |width| begin(&self.root.join(bundle_path(n, width)), most);
        self.grown(width, &|width| bundle_path(n, width), &read)
    }

    fn whole_or_part(&self, width: u64, path: &dyn Fn(u64) -> String) -> io::Result<Option<Vec<u8>>> {
        self.grown(width, path, &|width| self.read(&path(width)))
    }
}

/// Files that are made durable at once: the file system has one commit for all of them.
const AT_ONCE: usize = 16;

fn sync_files(paths: &[PathBuf]) -> io::Result<()> {
    let sync = |paths: &[PathBuf]| {
        paths.iter().try_for_each(|path| match File::open(path) {
            Ok(file) => file.sync_all(),
            // Written over by a wider one, and removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
    };
    if paths.len() <= AT_ONCE {
        return sync(paths);
    }
    std::thread::scope(|scope| {
        let begin = |paths| std::thread::Builder::new().spawn_scoped(scope, move || sync(paths));
        let threads: Vec<_> = paths.chunks(paths.len().div_ceil(AT_ONCE)).map(begin).collect();
        let panicked = |_| Err(io::Error::other("a thread that syncs panicked"));
        threads.into_iter().try_for_each(|thread| thread?.join().unwrap_or_else(panicked))
    })
}

/// How often it is looked for what of a tile is there. It changes with each checkpoint, which are seconds apart.
const LOOKS: usize = 3;

fn begin(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::with_capacity(most);
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl Shelf {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), unsynced: Vec::new(), written: 0 }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A tile of this width or, where a checkpoint since then has taken its place, what it has grown to.
    fn grown(
        &self,
        width: u64,
        path: &dyn Fn(u64) -> String,
        read: &dyn Fn(u64) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        if width >= WIDTH {
            return read(width);
        }
        for _ in 0..LOOKS {
            for there in [width, WIDTH] {
                if let Some(bytes) = read(there)? {
                    return Ok(Some(bytes));
                }
            }
            // It is written before what it takes the place of is removed.
            if let Some(there) = self.narrowest(width, &path(width))?
                && let Some(bytes) = read(there)?
            {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The least width, of at least this, of what is there of a tile.
    fn narrowest(&self, width: u64, path: &str) -> io::Result<Option<u64>> {
        let path = self.root.join(path);
        let entries = match std::fs::read_dir(path.parent().unwrap_or(&self.root)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let mut least: Option<u64> = None;
        for entry in entries {
            // What is being written has another ending.
            let there = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            let fits = there.filter(|there| (width..WIDTH).contains(there));
            least = least.into_iter().chain(fits).min();
        }
        Ok(least)
    }

    /// Bytes that were written so far, less those that were removed since.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes a file in the place of the one that is there: a crash leaves either of them, whole.
    pub(super) fn replace(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes, true)?;
        self.sync()
    }

    /// Writes a file. It is durable after the next [`Shelf::sync`]; a crash before that may leave it empty.
    pub(super) fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes, false)
    }

    fn put(&mut self, path: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
        let to = self.root.join(path);
        let made = to.with_file_name(format!(
            "{}.new",
            to.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()
        ));
        let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&made);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
                open()?
            }
            file => file?,
        };
        let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        if let Err(error) = written {
            drop(std::fs::remove_file(&made));
            return Err(error);
        }
        std::fs::rename(&made, &to)?;
        self.written += bytes.len() as u64;
        self.unsynced.push(to);
        Ok(())
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        sync_files(&self.unsynced)?;
        let mut folders = BTreeSet::new();
        for path in &self.unsynced {
            // New folders are entries of those above them.
            let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
            folders.extend(above.map(Path::to_owned));
        }
        for folder in folders.iter().rev() {
            match sync_folder(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Appends to a file and makes it durable.
    pub(super) fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        let new = !path.exists();
        if new {
            std::fs::create_dir_all(&folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
            drop(file.set_len(length));
            return Err(error);
        }
        if new {
            sync_folder(&folder)?;
            sync_folder(&self.root)?;
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// The last checkpoint of each file of them. What a crash tore off its end is taken away: nobody was handed that one.
    pub(super) fn last_checkpoints(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut notes = Vec::new();
        for name in self.history()? {
            let path = self.root.join(name);
            let mut file = File::open(&path)?;
            let length = file.metadata()?.len();
            let from = length.saturating_sub(TAIL);
            file.seek(io::SeekFrom::Start(from))?;
            let mut tail = Vec::new();
            file.take(TAIL).read_to_end(&mut tail)?;
            let (whole, note) = last_note(&tail);
            if from + whole < length {
                tracing::warn!(path = %path.display(), "a checkpoint that a crash tore is taken off; it was not handed out");
                let file = OpenOptions::new().append(true).open(&path)?;
                file.set_len(from + whole)?;
                file.sync_all()?;
            }
            notes.extend(note.map(<[u8]>::to_vec));
        }
        Ok(notes)
    }

    /// Tries whether files here can be made immutable.
    ///
    /// # Errors
    /// The file system has no such attribute, or this process may not give it.
    pub(super) fn try_immutable(&mut self) -> io::Result<()> {
        const TRIED: &str = "immutable";
        let refused = |error: io::Error| {
            let kind = error.kind();
            let why = "immutable = true needs a file system with that attribute, such as ext4 or XFS, and CAP_LINUX_IMMUTABLE";
            io::Error::new(kind, format!("{why}: {error}"))
        };
        self.write(TRIED, b"")?;
        let path = self.root.join(TRIED);
        let tried = self.set_immutable(TRIED, true).and_then(|()| self.set_immutable(TRIED, false));
        self.remove(&path);
        tried.map_err(refused)
    }

    /// Has the file system refuse whatever would change or remove a file, or no more.
    pub(super) fn set_immutable(&self, path: &str, immutable: bool) -> io::Result<()> {
        let file = File::open(self.root.join(path))?;
        let mut flags = ioctl_getflags(&file)?;
        flags.set(IFlags::IMMUTABLE, immutable);
        Ok(ioctl_setflags(&file, flags)?)
    }

    /// Whether a file is there, and immutable.
    pub(super) fn is_immutable(&self, path: &str) -> io::Result<bool> {
        match File::open(self.root.join(path)) {
            Ok(file) => Ok(ioctl_getflags(&file)?.contains(IFlags::IMMUTABLE)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a file that nothing needs any more, and its folder if that is then empty.
    pub(super) fn remove(&mut self, path: &Path) {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if std::fs::remove_file(path).is_ok() {
            self.written = self.written.saturating_sub(bytes);
            if let Some(folder) = path.parent().filter(|folder| *folder != self.root) {
                drop(std::fs::remove_dir(folder));
            }
        }
    }
}

/// How much of the end of a file of checkpoints is looked at: more than any two have.
const TAIL: u64 = 64 << 10;

/// Where the last whole note at the end of a file of them ends, and the note. Each is a text and its signatures, with an empty
/// line behind each of the two.
fn last_note(tail: &[u8]) -> (u64, Option<&[u8]>) {
    let ends: Vec<usize> = memchr::memmem::find_iter(tail, b"\n\n").map(|at| at + 2).collect();
    let begins = |at: usize| at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    for (at, &end) in ends.iter().enumerate().rev() {
        // Signatures begin with a dash, which the name of no log does.
        if tail.get(begins(at)..end).is_some_and(|block| block.starts_with("\u{2014} ".as_bytes())) {
            return (end as u64, tail.get(begins(at.saturating_sub(1))..end - 1));
        }
    }
    (0, None)
}

/// The bytes of all files under a folder.
pub(super) fn size_of(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_stands_for_what_it_was() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut shelf = Shelf::new(temp.path());
        let check = |shelf: &Shelf, width: u64, expect: Option<&[u8]>| {
            assert_eq!(shelf.bundle(0, width).expect("read").as_deref(), expect, "{width}");
            assert_eq!(shelf.beginning(0, width, 9).expect("read").as_deref(), expect, "{width}");
        };
        check(&shelf, 5, None);
        for (width, bytes) in [(4, "4"), (9, "9"), (120, "120")] {
            shelf.write(&bundle_path(0, width), bytes.as_bytes()).expect("written");
        }
        shelf.write("tile/entries/000.p/7.new", b"torn").expect("written");
        check(&shelf, 4, Some(b"4"));
        check(&shelf, 5, Some(b"9"));
        check(&shelf, 10, Some(b"120"));
        check(&shelf, 121, None);
        shelf.write(&bundle_path(0, WIDTH), b"whole").expect("written");
        check(&shelf, 9, Some(b"9"));
        check(&shelf, 10, Some(b"whole"));
    }

    #[test]
    fn a_torn_checkpoint_is_left_out() {
        let note = |size| format!("northgate/a\n{size}\nAAAA\n\n\u{2014} northgate/a BBBB\n");
        let file = [note(1), note(22)].map(|note| note + "\n").concat();
        let first = note(1).len() + 1;
        for end in 0..=file.len() {
            let (whole, found) = last_note(&file.as_bytes()[..end]);
            let expect = if end == file.len() {
                (end, Some(note(22)))
            } else if end >= first {
                (first, Some(note(1)))
            } else {
                (0, None)
            };
            let found = found.map(|note| String::from_utf8(note.to_vec()).expect("UTF-8"));
            assert_eq!((usize::try_from(whole).expect("small"), found), expect, "{end}");
        }
    }
}
