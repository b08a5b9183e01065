//! Texts of queries under keys that can be destroyed, so that what people wrote can be erased from a log that nobody can
//! change: the record stays as it is, and its tree verifies, but nobody can read the text any more.
//!
//! Each user has a key of their own for each month, in a file beside the log and never in it (`MONTH/ID`); what is typed by
//! one user, or through a tool, in the name of another has a third, which is destroyed with either's. A text is
//! AES-256-GCM-SIV under that key, with the id of the query and the name of the member authenticated, so that no text can be
//! shown as another's: `sealed:1:MONTH:ID:` and base64 of the nonce and what it seals.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::folder::sync_folder;
use super::record::{Asked, Asker, Event, Intent};
use crate::units::hex;

const SEALED: &str = "sealed:1:";
/// What is written where there is no key to seal with, and shown where the key is destroyed.
const WITHHELD: &str = "sealed:none";
const ERASED: &str = "[erased]";
/// The members whose texts are sealed.
const MEMBERS: [&str; 5] = ["text", "prepared", "rewritten", "parameters", "detail"];
/// What the name of a key ends with that is being written.
const NEW: &str = ".new";
/// Keys that a reader keeps at a time.
const MOST_KEPT: usize = 10_000;

/// Whose words a text may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(super) struct Author {
    /// Whom a query runs as.
    user: String,
    /// Who runs it, if that is somebody else: they wrote it, or it was written to them, as to a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl Author {
    pub(super) fn of(asker: &Asker) -> Self {
        Self { user: asker.principal.clone(), by: asker.impersonator.clone() }
    }

    fn may_be(&self, user: &str) -> bool {
        self.user == user || self.by.as_deref() == Some(user)
    }
}

/// What is in a file of a key.
#[derive(Deserialize, Serialize)]
struct Stored {
    #[serde(flatten)]
    author: Author,
    key: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The key of a user's month.
pub(super) struct TextKey {
    path: PathBuf,
    /// `MONTH:ID`
    name: String,
    key: LessSafeKey,
}

impl TextKey {
    /// A text of a query's record. None where it cannot be sealed, which does not happen.
    fn seal(&self, query: &str, member: &str, text: &str) -> Option<String> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = text.as_bytes().to_vec();
        let aad = Aad::from(format!("{query}\0{member}"));
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some(format!("{SEALED}{}:{}", self.name, STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    fn open(&self, query: &str, member: &str, sealed: &str) -> Option<String> {
        let mut bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.key.open_in_place(nonce, Aad::from(format!("{query}\0{member}")), text).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// The keys of a gateway.
pub(super) struct TextKeys {
    folder: PathBuf,
    /// Those of this month.
    known: Mutex<HashMap<Author, Arc<TextKey>>>,
    making: Mutex<()>,
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn month() -> String {
    jiff::Timestamp::now().strftime("%Y-%m").to_string()
}

impl TextKeys {
    /// Opens the folder, making it (0700) if there is none.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let keys = Self { folder: folder.to_owned(), known: Mutex::default(), making: Mutex::default() };
        let mut known = HashMap::new();
        for (path, name) in files(&folder.join(month()))? {
            if let Ok((author, key)) = load(&path, &name) {
                known.insert(author, Arc::new(key));
            }
        }
        *locked(&keys.known) = known;
        Ok(keys)
    }

    /// An author's key of this month, if there is one and nobody has destroyed it.
    pub(super) fn known(&self, author: &Author) -> Option<Arc<TextKey>> {
        let key = Arc::clone(locked(&self.known).get(author)?);
        (key.name.starts_with(&month()) && key.path.exists()).then_some(key)
    }

    /// An author's key of this month, made where there is none. It is durable when this returns.
    pub(super) fn made(&self, author: &Author) -> io::Result<Arc<TextKey>> {
        let _one_at_a_time = locked(&self.making);
        if let Some(key) = self.known(author) {
            return Ok(key);
        }
        let month = month();
        let folder = self.folder.join(&month);
        make_folder(&folder)?;
        let (mut id, mut secret) = ([0_u8; 16], Zeroizing::new([0_u8; 32]));
        let random = |_| io::Error::other("no random numbers");
        rand::fill(&mut id).map_err(random)?;
        rand::fill(&mut *secret).map_err(random)?;
        let path = folder.join(hex(&id));
        let stored = Stored { author: author.clone(), key: STANDARD_NO_PAD.encode(secret.as_slice()) };
        let text = Zeroizing::new(serde_json::to_vec(&stored)?);
        // A crash leaves no key that is torn.
        let new = folder.join(format!("{}{NEW}", hex(&id)));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&new, &path)) {
            drop(fs::remove_file(&new));
            return Err(error);
        }
        sync_folder(&folder)?;
        let key = Arc::new(load(&path, &hex(&id))?.1);
        let mut known = locked(&self.known);
        known.retain(|_, key| key.name.starts_with(&month));
        known.insert(author.clone(), Arc::clone(&key));
        Ok(key)
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// The keys in the folder of a month: where each is, and its id.
fn files(month: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = match fs::read_dir(month) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(NEW) {
            files.push((entry.path(), name));
        }
    }
    files.sort();
    Ok(files)
}

fn load(path: &Path, id: &str) -> io::Result<(Author, TextKey)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is no key", path.display()));
    let text = Zeroizing::new(fs::read(path)?);
    let stored: Stored = serde_json::from_slice(&text).map_err(|_| bad())?;
    let secret = Zeroizing::new(STANDARD_NO_PAD.decode(&stored.key).map_err(|_| bad())?);
    let key = UnboundKey::new(&AES_256_GCM_SIV, &secret).map(LessSafeKey::new).map_err(|_| bad())?;
    let month = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    Ok((stored.author.clone(), TextKey { path: path.to_owned(), name: format!("{month}:{id}"), key }))
}

/// Destroys the keys of a user, of one month or of all: also of what others typed in their name, and they in others'. Gives
/// their months. What a crash left of a key goes with them: nothing
/// is sealed with one that was never whole, and what was destroyed by half is to be gone.
///
/// # Errors
/// A key cannot be read or removed. All others of the user's are gone by then.
pub fn destroy(folder: &Path, user: &str, month: Option<&str>) -> io::Result<Vec<String>> {
    let (mut months, mut wrong) = (Vec::new(), Vec::new());
    for (path, name) in files(folder)? {
        if month.is_some_and(|month| month != name) || !path.is_dir() {
            continue;
        }
        for (path, id) in files(&path)? {
            match destroy_one(&path, &id, user) {
                Ok(true) => months.push(name.clone()),
                Ok(false) => {}
                Err(error) => wrong.push(error.to_string()),
            }
        }
        sync_folder(&path)?;
    }
    if wrong.is_empty() {
        return Ok(months);
    }
    let gone = if months.is_empty() { "none".to_owned() } else { months.join(", ") };
    Err(io::Error::other(format!(
        "{}; whose key that is, is not known; the months whose keys of {user} are destroyed: {gone}",
        wrong.join("; ")
    )))
}

/// Destroys a key if what is under it may be this user's, and says whether it was.
fn destroy_one(path: &Path, id: &str, user: &str) -> io::Result<bool> {
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let is_left_over = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    match load(path, id) {
        Ok((author, _)) if author.may_be(user) => {}
        Ok(_) => return Ok(false),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(_) if is_left_over(path) => return fs::remove_file(path).map(|()| false).map_err(wrong),
        // It is named already.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
        Err(error) => return Err(wrong(error)),
    }
    // Some file systems write over what is there. On others the removal has to do.
    let over = || {
        let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(0);
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    over().map(|()| true).map_err(wrong)
}

/// Seals the texts of a record, as far as there is a key; else they are left out.
fn asked(key: Option<&TextKey>, query: &str, asked: &mut Asked) {
    cover(key, query, "text", &mut asked.text);
    if let Some(prepared) = &mut asked.prepared {
        cover(key, query, "prepared", prepared);
    }
    asked.parameters.iter_mut().for_each(|value| cover(key, query, "parameters", value));
}

fn cover(key: Option<&TextKey>, query: &str, member: &str, text: &mut String) {
    if !text.is_empty() {
        *text = key.and_then(|key| key.seal(query, member, text)).unwrap_or_else(|| WITHHELD.to_owned());
    }
}

pub(super) fn intent(key: Option<&TextKey>, intent: &mut Intent) {
    asked(key, &intent.query, &mut intent.asked);
    cover(key, &intent.query, "rewritten", &mut intent.rewritten);
}

/// Whose texts an event has in it, if it has any.
pub(super) fn author(event: &Event) -> Option<Author> {
    match event {
        Event::Denied { asker, .. } | Event::Refused { asker, .. } => Some(Author::of(asker)),
        _ => None,
    }
}

pub(super) fn event(key: Option<&TextKey>, event: &mut Event) {
    match event {
        Event::Denied { query, asked, .. } => self::asked(key, query, asked),
        Event::Refused { query, asked, reason, .. } => {
            self::asked(key, query, asked);
            // What cannot be read is told with a piece of it.
            cover(key, query, "detail", &mut reason.detail);
        }
        _ => {}
    }
}

/// Opens texts for who reads the log.
pub(super) struct Opener<'f> {
    folder: &'f Path,
    keys: HashMap<String, Option<TextKey>>,
}

impl<'f> Opener<'f> {
    pub(super) fn new(folder: &'f Path) -> Self {
        Self { folder, keys: HashMap::new() }
    }

    /// A line with its texts as they were written. What cannot be opened is shown as `[erased]`.
    pub(super) fn line<'l>(&mut self, line: &'l [u8]) -> Cow<'l, [u8]> {
        if memchr::memmem::find(line, b"\"sealed:").is_none() {
            return line.into();
        }
        let Ok(Value::Object(mut record)) = serde_json::from_slice(line) else { return line.into() };
        let query = record.get("query").and_then(Value::as_str).unwrap_or_default().to_owned();
        for member in MEMBERS {
            match record.get_mut(member) {
                Some(Value::String(text)) => self.text(&query, member, text),
                Some(Value::Array(values)) => values.iter_mut().for_each(|value| {
                    if let Value::String(text) = value {
                        self.text(&query, member, text);
                    }
                }),
                _ => {}
            }
        }
        serde_json::to_vec(&record).map_or(line.into(), Cow::from)
    }

    fn text(&mut self, query: &str, member: &str, text: &mut String) {
        let Some(rest) = text.strip_prefix("sealed:") else { return };
        let opened = rest.strip_prefix("1:").and_then(|rest| {
            let (month, rest) = rest.split_once(':')?;
            let (id, sealed) = rest.split_once(':')?;
            self.key(month, id)?.open(query, member, sealed)
        });
        *text = opened.unwrap_or_else(|| ERASED.to_owned());
    }

    fn key(&mut self, month: &str, id: &str) -> Option<&TextKey> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !plain(month) || !plain(id) {
            return None;
        }
        if self.keys.len() >= MOST_KEPT {
            self.keys.clear();
        }
        let load = || load(&self.folder.join(month).join(id), id).ok().map(|(_, key)| key);
        self.keys.entry(format!("{month}:{id}")).or_insert_with(load).as_ref()
    }
}
