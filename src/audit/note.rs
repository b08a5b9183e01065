//! The key that signs checkpoints, and checkpoints ([c2sp.org/tlog-checkpoint], [c2sp.org/signed-note]).
//!
//! [c2sp.org/tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [c2sp.org/signed-note]: https://c2sp.org/signed-note

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash};
use zeroize::Zeroizing;

use crate::secret::Source;

/// Ed25519, in keys of notes.
const ED25519: u8 = 1;

/// What is wrong with a key or a note.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The key file.
    #[error("the audit's key file {path} can't be used: {why}")]
    KeyFile {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A verifier key.
    #[error("not a verifier key, which `northgate audit key` prints: {0}")]
    Verifier(String),
    /// Bytes that are no note, or no checkpoint.
    #[error("not a checkpoint: {0}")]
    Malformed(String),
    /// The signature is not by this key, or not over this text.
    #[error("the checkpoint is not signed by the key {0}")]
    Signature(String),
    /// It can't be signed.
    #[error("the checkpoint can't be signed: {0}")]
    Sign(String),
}

/// The size of a log and its root at that size.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The log.
    pub origin: String,
    /// Records in it.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

/// The key of a log: its name is the log's origin.
pub(super) struct Key {
    signer: StandardSigner,
    origin: String,
    verifier: String,
}

impl Key {
    /// Reads the key file, or makes one (0600) where there is none and `may_make`.
    pub(super) fn open(source: &Source, origin: &str, may_make: bool) -> Result<Self, NoteError> {
        let wrong = |why: &dyn std::fmt::Display| NoteError::KeyFile {
            path: source.to_string(),
            why: why.to_string(),
        };
        if !signed_note::is_key_name_valid(origin) {
            return Err(wrong(&format!("the origin {origin:?} is empty, or has spaces or `+` in it")));
        }
        if let Some(path) = source.file()
            && !path.exists()
        {
            if !may_make {
                return Err(wrong(
                    &"it is not there, but the log has checkpoints; put the key back, or begin a new folder",
                ));
            }
            make(path, origin).map_err(|error| wrong(&error))?;
        }
        let text = source.read().map_err(|error| wrong(&error))?;
        Self::of(text.expose().trim(), origin).map_err(|why| wrong(&why))
    }

    fn of(text: &str, origin: &str) -> Result<Self, String> {
        let signer = StandardSigner::new(text).map_err(|error| error.to_string())?;
        let name = signed_note::Signer::name(&signer);
        if name != origin {
            return Err(format!("it is the key of {name:?}, and the log's origin is {origin:?}"));
        }
        let seed = text.splitn(5, '+').nth(4).and_then(|key| STANDARD.decode(key).ok()).map(Zeroizing::new);
        let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(seed.get(1..)?).ok());
        let public = public(&pair.ok_or("not an Ed25519 key")?);
        let verifier =
            format!("{origin}+{:08x}+{}", signed_note::key_id(origin, &public), STANDARD.encode(&public));
        Ok(Self { signer, origin: origin.to_owned(), verifier })
    }

    /// The name of the log.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// What others verify with.
    pub(super) fn verifier(&self) -> &str {
        &self.verifier
    }

    /// A checkpoint as it is handed out.
    pub(super) fn sign(&self, size: u64, root: Hash) -> Result<Vec<u8>, NoteError> {
        let checkpoint = Checkpoint::new(&self.origin, size, root, "")
            .map_err(|error| NoteError::Sign(error.to_string()))?;
        self.sign_text(&checkpoint.to_bytes())
    }

    /// A text, signed as a note. It must end with a newline.
    pub(super) fn sign_text(&self, text: &[u8]) -> Result<Vec<u8>, NoteError> {
        let wrong = |error: signed_note::NoteError| NoteError::Sign(error.to_string());
        let mut note = Note::new(text, &[]).map_err(wrong)?;
        note.add_sigs(&[&self.signer]).map_err(wrong)?;
        Ok(note.to_bytes())
    }
}

fn public(pair: &Ed25519KeyPair) -> Vec<u8> {
    [&[ED25519], pair.public_key().as_ref()].concat()
}

/// Makes a key file that survives a crash.
fn make(path: &Path, origin: &str) -> io::Result<()> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *seed).map_err(|_| io::Error::other("no random numbers"))?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| io::Error::other("no key"))?;
    let private = Zeroizing::new([&[ED25519], seed.as_slice()].concat());
    let text = Zeroizing::new(format!(
        "PRIVATE+KEY+{origin}+{:08x}+{}\n",
        signed_note::key_id(origin, &public(&pair)),
        STANDARD.encode(&*private)
    ));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    super::folder::sync_folder(parent.unwrap_or(Path::new(".")))
}

/// A key that notes are checked with.
#[derive(Clone, Debug)]
pub struct Verifier(String);

impl Verifier {
    /// Of what `northgate audit key` prints.
    ///
    /// # Errors
    /// It is no such key.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        let text = text.trim();
        StandardVerifier::new(text).map_err(|error| NoteError::Verifier(error.to_string()))?;
        Ok(Self(text.to_owned()))
    }

    /// The log that it is the key of.
    pub fn origin(&self) -> &str {
        self.0.split('+').next().unwrap_or_default()
    }

    /// The key as text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text of a note that this key signed.
    pub(super) fn open_text(&self, note: &[u8]) -> Result<Vec<u8>, NoteError> {
        let note = Note::from_bytes(note).map_err(|error| NoteError::Malformed(error.to_string()))?;
        let verifier =
            StandardVerifier::new(&self.0).map_err(|error| NoteError::Verifier(error.to_string()))?;
        let (ours, _) = note
            .verify(&VerifierList::new(vec![Box::new(verifier)]))
            .map_err(|_| NoteError::Signature(self.0.clone()))?;
        if ours.is_empty() {
            return Err(NoteError::Signature(self.0.clone()));
        }
        Ok(note.text().to_vec())
    }

    /// What a checkpoint says that this key signed.
    ///
    /// # Errors
    /// It is no checkpoint, or somebody else's.
    pub fn open(&self, note: &[u8]) -> Result<Head, NoteError> {
        let text = self.open_text(note)?;
        let checkpoint =
            Checkpoint::from_bytes(&text).map_err(|error| NoteError::Malformed(error.to_string()))?;
        if checkpoint.origin() != self.origin() {
            return Err(NoteError::Malformed(format!("it is of the log {:?}", checkpoint.origin())));
        }
        Ok(Head { origin: checkpoint.origin().to_owned(), size: checkpoint.size(), root: *checkpoint.hash() })
    }
}

/// The notes in a file that holds one behind the other, each ended by an empty line.
pub(super) fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut parts = text.split("\n\n");
    std::iter::from_fn(move || {
        let text = parts.next().filter(|text| !text.is_empty())?;
        let signatures = parts.next().unwrap_or_default();
        Some(format!("{text}\n\n{}\n", signatures.trim_end_matches('\n')))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_signs_what_its_verifier_opens() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("audit.key");
        let source = Source::from(path.clone());
        assert!(
            Key::open(&source, "northgate/a", false).is_err(),
            "a key is made though there are checkpoints"
        );
        let key = Key::open(&source, "northgate/a", true).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let again = Key::open(&source, "northgate/a", false).expect("read");
        assert_eq!(key.verifier(), again.verifier());
        let error = Key::open(&source, "northgate/b", false).err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|e| e.contains("northgate/a")), "{error:?}");
        assert!(Key::open(&source, "with space", true).is_err());

        let verifier = Verifier::new(key.verifier()).expect("a key");
        let note = key.sign(7, Hash([3; 32])).expect("signed");
        let head = verifier.open(&note).expect("opened");
        assert_eq!(head, Head { origin: "northgate/a".into(), size: 7, root: Hash([3; 32]) });
        let other = Key::open(&temp.path().join("other").into(), "northgate/a", true).expect("made");
        let other = Verifier::new(other.verifier()).expect("a key");
        assert!(other.open(&note).is_err(), "another's key opens it");
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            assert!(verifier.open(&changed).is_err(), "byte {at} may be changed");
        }
        let both = [note.as_slice(), b"\n", &key.sign(9, Hash([4; 32])).expect("signed"), b"\n"].concat();
        let both = String::from_utf8(both).expect("text");
        let sizes: Vec<u64> =
            split(&both).map(|note| verifier.open(note.as_bytes()).expect("a note").size).collect();
        assert_eq!(sizes, [7, 9]);
    }
}
