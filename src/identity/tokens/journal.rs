//! Tokens in a file of this gateway: a journal that is read at start, one JSON object to a line.
//!
//! Whatever takes effect is on disk before: a token that was revoked stays so. The file is written anew, without what is
//! over, at start and when it has grown. A lock file beside it keeps a second gateway away, since what that one revokes
//! would go on working here.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::TokenError;
use super::secret::Hash;
use super::token::{Entry, Person, Use};
use crate::identity::error::SetupError;
use crate::units::hex;

/// What the first line says.
const VERSION: u32 = 1;
/// Most tokens.
const MOST: usize = 200_000;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;
/// The file is written anew when it has grown by this many bytes, and to twice its size.
const GROWTH: u64 = if cfg!(test) { 4 << 10 } else { 16 << 20 };

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Tokens(u32),
    Made { hash: String, entry: Entry },
    Revoked(String),
    Seen(Person),
    Used(Use),
}

/// What the file says.
#[derive(Debug, Default)]
struct Book {
    tokens: HashMap<Hash, Entry>,
    of: HashMap<String, Vec<Hash>>,
    people: HashMap<String, Person>,
    used: HashMap<String, Timestamp>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    book: RwLock<Book>,
    writer: Mutex<Writer>,
    groups_life: Duration,
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its length when it was last written anew.
    compact: u64,
    /// Why nothing may be written any more: what the file holds is not known.
    broken: Option<String>,
}

impl Journal {
    /// Reads the file, which is made if there is none, and writes it anew.
    pub(super) fn open(path: &Path, groups_life: Duration) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File { path: path.to_owned(), source };
        let lock = lock(path)?;
        let mut book = Book::read(path)?;
        let now = Timestamp::now();
        book.drop_over(now, groups_life);
        let writer = Writer::anew(path, &book).map_err(failed)?;
        Ok(Self { book: RwLock::new(book), writer: Mutex::new(writer), groups_life, _lock: lock })
    }

    /// Whether the file can be read.
    pub(super) fn check(path: &Path) -> Result<(), SetupError> {
        Book::read(path).map(drop)
    }

    fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes lines, and lets them take effect. `sync` is whether they must be on disk before.
    fn write(&self, writer: &mut Writer, lines: Vec<Line>, sync: bool) -> Result<(), TokenError> {
        writer.append(&lines, sync)?;
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            // Lines of our own are sound.
            book.apply(line).map_err(|why| TokenError::Unavailable(why.to_owned()))?;
        }
        if writer.length > writer.compact.saturating_mul(2).saturating_add(GROWTH) {
            book.drop_over(Timestamp::now(), self.groups_life);
            // The lines are written, however this goes.
            writer.renew(&book);
        }
        Ok(())
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a token, if its owner has fewer than `per_user` that have not ended. Blocks.
    pub(super) fn add(&self, hash: Hash, entry: Entry, per_user: usize) -> Result<(), TokenError> {
        let mut writer = self.writer();
        let now = Timestamp::now();
        let live = self.look(|book| {
            (book.tokens.len() < MOST)
                .then(|| book.of(&entry.token.owner).filter(|(_, one)| !one.token.is_expired(now)).count())
        });
        if live.ok_or(TokenError::Full)? >= per_user {
            return Err(TokenError::TooMany(per_user));
        }
        self.write(&mut writer, vec![Line::Made { hash: hex(&hash), entry }], true)
    }

    /// Drops a token; whether it was there. Blocks.
    pub(super) fn remove(&self, hash: Hash) -> Result<bool, TokenError> {
        let mut writer = self.writer();
        if !self.look(|book| book.tokens.contains_key(&hash)) {
            return Ok(false);
        }
        self.write(&mut writer, vec![Line::Revoked(hex(&hash))], true).map(|()| true)
    }

    /// Keeps how somebody last signed in. Blocks.
    pub(super) fn see(&self, person: Person) -> Result<(), TokenError> {
        self.write(&mut self.writer(), vec![Line::Seen(person)], true)
    }

    /// Keeps that tokens were used. Blocks.
    pub(super) fn note(&self, uses: Vec<Use>) -> Result<(), TokenError> {
        self.write(&mut self.writer(), uses.into_iter().map(Line::Used).collect(), false)
    }

    pub(super) fn find(&self, hash: &Hash) -> Option<Entry> {
        self.look(|book| book.tokens.get(hash).cloned())
    }

    pub(super) fn person(&self, name: &str) -> Option<Person> {
        self.look(|book| book.people.get(name).cloned())
    }

    /// The tokens of an owner, or of all.
    pub(super) fn list(&self, owner: Option<&str>) -> Vec<(Hash, Entry)> {
        let shown = |book: &Book, (hash, entry): (&Hash, &Entry)| {
            let mut entry = entry.clone();
            entry.token.last_used = book.used.get(&entry.token.id).copied();
            (*hash, entry)
        };
        self.look(|book| match owner {
            Some(owner) => book.of(owner).map(|one| shown(book, one)).collect(),
            None => book.tokens.iter().map(|one| shown(book, one)).collect(),
        })
    }
}

impl Book {
    fn read(path: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File { path: path.to_owned(), source };
        let mut book = Self::default();
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                if file.metadata().map_err(failed)?.len() > LARGEST {
                    return Err(failed(std::io::Error::other("larger than 1 GiB")));
                }
                file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(book),
            Err(error) => return Err(failed(error)),
        }
        // What follows the last line end was being written when the gateway ended: nobody was told that it took effect.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for (number, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            // A line that cannot be read may be one that revokes a token.
            let read = serde_json::from_slice(line).map_err(|error| error.to_string());
            let applied = read.and_then(|line| match (number, line) {
                (0, Line::Tokens(VERSION)) => Ok(()),
                (0, _) | (_, Line::Tokens(_)) => {
                    Err("it is not a journal of tokens of this version".to_owned())
                }
                (_, line) => book.apply(line).map_err(str::to_owned),
            });
            applied.map_err(|why| SetupError::Users {
                path: path.to_owned(),
                message: format!("line {}: {why}", number + 1),
            })?;
        }
        Ok(book)
    }

    fn apply(&mut self, line: Line) -> Result<(), &'static str> {
        match line {
            Line::Tokens(_) => {}
            Line::Made { hash, entry } => {
                let hash = unhex(&hash).ok_or("no hash")?;
                self.of.entry(entry.token.owner.clone()).or_default().push(hash);
                self.tokens.insert(hash, entry);
            }
            Line::Revoked(hash) => {
                let hash = unhex(&hash).ok_or("no hash")?;
                self.drop(&hash);
            }
            Line::Seen(person) => drop(self.people.insert(person.name.clone(), person)),
            Line::Used(used) => drop(self.used.insert(used.id, used.at)),
        }
        Ok(())
    }

    fn drop(&mut self, hash: &Hash) {
        let Some(entry) = self.tokens.remove(hash) else { return };
        self.used.remove(&entry.token.id);
        if let Some(hashes) = self.of.get_mut(&entry.token.owner) {
            hashes.retain(|other| other != hash);
            if hashes.is_empty() {
                self.of.remove(&entry.token.owner);
            }
        }
    }

    fn drop_over(&mut self, now: Timestamp, groups_life: Duration) {
        let over: Vec<Hash> =
            self.tokens.iter().filter(|(_, entry)| entry.is_over(now)).map(|(hash, _)| *hash).collect();
        for hash in over {
            self.drop(&hash);
        }
        self.people.retain(|_, person| person.age(now) < groups_life);
        let ids: std::collections::HashSet<&str> =
            self.tokens.values().map(|entry| entry.token.id.as_str()).collect();
        self.used.retain(|id, _| ids.contains(id.as_str()));
    }

    fn of(&self, owner: &str) -> impl Iterator<Item = (&Hash, &Entry)> {
        let hashes = self.of.get(owner).map_or(&[][..], Vec::as_slice);
        hashes.iter().filter_map(|hash| self.tokens.get_key_value(hash))
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let made =
            self.tokens.iter().map(|(hash, entry)| Line::Made { hash: hex(hash), entry: entry.clone() });
        let seen = self.people.values().cloned().map(Line::Seen);
        let used = self.used.iter().map(|(id, at)| Line::Used(Use { id: id.clone(), at: *at }));
        std::iter::once(Line::Tokens(VERSION)).chain(made).chain(seen).chain(used)
    }
}

impl Writer {
    /// Puts a file with what the book says in the place of the one that is there.
    fn anew(path: &Path, book: &Book) -> std::io::Result<Self> {
        let draft = Self::draft(path, book)?;
        draft.place()?;
        draft.settle()?;
        Ok(draft)
    }

    /// The same while it is in use.
    fn renew(&mut self, book: &Book) {
        let placed = Self::draft(&self.path, book).and_then(|draft| draft.place().map(|()| draft));
        match placed {
            Ok(draft) => {
                let settled = draft.settle();
                *self = draft;
                if let Err(error) = settled {
                    // After a crash the file of before may be back, without what is written from now on.
                    self.broken = Some(format!("{}: {error}", self.path.display()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, file = %self.path.display(), "the file could not be written anew; it grows on");
                self.compact = self.length;
            }
        }
    }

    fn draft(path: &Path, book: &Book) -> std::io::Result<Self> {
        let new = beside(path, ".new");
        let mut out = Vec::new();
        for line in book.lines() {
            put(&line, &mut out)?;
        }
        // One that is left over may be readable by others.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&out)?;
        file.sync_all()?;
        let length = out.len() as u64;
        Ok(Self { path: path.to_owned(), file, length, compact: length, broken: None })
    }

    fn place(&self) -> std::io::Result<()> {
        std::fs::rename(beside(&self.path, ".new"), &self.path)
    }

    fn settle(&self) -> std::io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn append(&mut self, lines: &[Line], sync: bool) -> Result<(), TokenError> {
        if let Some(why) = &self.broken {
            return Err(TokenError::Unavailable(why.clone()));
        }
        let mut out = Vec::new();
        let written = lines
            .iter()
            .try_for_each(|line| put(line, &mut out))
            .and_then(|()| self.file.write_all(&out))
            .and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.length += out.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A part of a line must not stand before the next one.
                if let Err(second) = self.file.set_len(self.length).and_then(|()| self.file.sync_data()) {
                    self.broken = Some(format!("{}: {second}", self.path.display()));
                }
                Err(TokenError::Unavailable(format!("{}: {error}", self.path.display())))
            }
        }
    }
}

fn put(line: &Line, out: &mut Vec<u8>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Takes the lock of a journal, for as long as the file is open.
fn lock(path: &Path) -> Result<File, SetupError> {
    let path = beside(path, ".lock");
    let failed = |source| SetupError::File { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(std::io::Error::other(
            "another gateway has these tokens; several share them by [state]",
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn unhex(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(hash)
}

/// Reads and writes that block, away from the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    journal: &Arc<Journal>,
    act: impl FnOnce(&Journal) -> Result<T, TokenError> + Send + 'static,
) -> Result<T, TokenError> {
    let journal = Arc::clone(journal);
    let done = tokio::task::spawn_blocking(move || act(&journal)).await;
    done.unwrap_or_else(|error| Err(TokenError::Unavailable(error.to_string())))
}
