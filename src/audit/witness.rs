//! Witnesses: others who sign what we signed, after they have seen for themselves that the log only grew
//! ([c2sp.org/tlog-witness], [c2sp.org/tlog-cosignature]). With their word, a log that was forked or put back is found out
//! though whoever did it has the log's key.
//!
//! A thread of its own shows them each new checkpoint, with the proof that it goes on from the last one that they have seen.
//! Those that enough of them signed are kept beside the log (`cosigned`). A witness that is away holds up nothing.
//!
//! [c2sp.org/tlog-witness]: https://c2sp.org/tlog-witness
//! [c2sp.org/tlog-cosignature]: https://c2sp.org/tlog-cosignature

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use signed_note::{Note, Verifier as NoteVerifier, VerifierList};
use tlog_tiles::{Error, HASH_SIZE, Tile, TileHashReader, TileReader, prove_tree};
use tokio::runtime::Runtime;

use super::note::{Head, NoteError, Verifier};
use super::sealer::Stop;
use super::shared::Shared;
use super::shelf::{CHECKPOINT, Shelf, Source};
use super::tree::{HEIGHT, WIDTH};
use crate::https::{Bounds, Client};

/// The newest checkpoint that enough witnesses signed.
pub(super) const COSIGNED: &str = "cosigned";
/// What is under a checkpoint has a proof of at most so many hashes.
const MOST_HASHES: usize = 63;
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 16 << 10 };
/// Ed25519 over a checkpoint and the time, in keys of notes.
const COSIGNATURE: u8 = 4;
/// The most that a witness may be ahead of us, in seconds: its clock is its own.
const AHEAD: u64 = 300;

/// The `[[audit.witness]]` tables.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it takes checkpoints: `add-checkpoint` is put behind it.
    pub url: String,
    /// Its verifier key.
    pub key: String,
    /// The authorities of its certificate, if they are not the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// What is wrong with it, by key.
    pub fn problem(&self) -> Option<String> {
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Some("url: it begins with https://".to_owned());
        }
        Key::new(&self.key).err().map(|error| format!("key: {error}"))
    }
}

/// The key of a witness.
#[derive(Clone, Debug)]
pub struct Key {
    name: String,
    id: u32,
    public: Vec<u8>,
}

impl Key {
    /// Of its text: a name, a number, and the key, with `+` between them.
    ///
    /// # Errors
    /// It is not the key of a witness.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        let bad = || NoteError::Verifier(format!("{text:?} is not the verifier key of a witness"));
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) =
            (parts.next().unwrap_or_default(), parts.next().ok_or_else(bad)?, parts.next().ok_or_else(bad)?);
        let key = STANDARD.decode(key).map_err(|_| bad())?;
        let id = u32::from_str_radix(id, 16).map_err(|_| bad())?;
        let [COSIGNATURE, public @ ..] = key.as_slice() else { return Err(bad()) };
        if public.len() != 32
            || !signed_note::is_key_name_valid(name)
            || signed_note::key_id(name, &key) != id
        {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), id, public: public.to_vec() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it signed a note (seconds since 1970), if it did.
    pub(super) fn signed(&self, note: &[u8]) -> Option<u64> {
        let note = Note::from_bytes(note).ok()?;
        let (ours, _) = note.verify(&VerifierList::new(vec![Box::new(self.clone())])).ok()?;
        ours.iter().find_map(|signature| Self::time(signature.signature()))
    }

    fn time(signature: &[u8]) -> Option<u64> {
        signature.first_chunk::<8>().map(|time| u64::from_be_bytes(*time))
    }
}

impl NoteVerifier for Key {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let mut message = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time)).into_bytes();
        message.extend_from_slice(text);
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &self.public);
        key.verify(&message, signature).is_ok()
    }
}

struct Witness {
    key: Key,
    url: String,
    http: Client,
    /// The size of the log that it saw last, as far as we know.
    seen: u64,
}

#[derive(Debug, thiserror::Error)]
enum WitnessError {
    #[error("the audit folder: {0}")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    #[error("{name} does not answer: {why}")]
    Silent { name: String, why: String },
    #[error("{name} answers {status}: {text}")]
    Status { name: String, status: StatusCode, text: String },
    #[error("{name} has seen a log of {theirs} records, and this one has {ours}: the folder was put back")]
    Ahead { name: String, theirs: u64, ours: u64 },
    #[error("{name} sent something that is not its signature")]
    Signature { name: String },
}

pub(super) struct Witnesses {
    all: Vec<Witness>,
    needed: usize,
    runtime: Runtime,
    shelf: Shelf,
    verifier: Verifier,
    shared: Arc<Shared>,
    every: Duration,
    /// The size of the last checkpoint that enough of them signed.
    done: u64,
}

impl Witnesses {
    pub(super) fn new(
        configs: &[Config],
        needed: Option<usize>,
        every: Duration,
        shelf: Shelf,
        verifier: &str,
        shared: Arc<Shared>,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let witness = |config: &Config| {
            Ok(Witness {
                key: Key::new(&config.key).map_err(|error| error.to_string())?,
                url: format!("{}/add-checkpoint", config.url.trim_end_matches('/')),
                http: Client::new(config.ca_file.as_deref(), config.url.starts_with("https://"))?,
                seen: 0,
            })
        };
        Ok(Self {
            all: configs.iter().map(witness).collect::<Result<_, String>>()?,
            needed: needed.unwrap_or(configs.len()),
            runtime: runtime.map_err(|error| error.to_string())?,
            shelf,
            verifier: Verifier::new(verifier).map_err(|error| error.to_string())?,
            shared,
            every,
            done: 0,
        })
    }

    /// Runs until it is told to stop, or until nobody can tell it any more.
    pub(super) fn run(mut self, inbox: &Receiver<Stop>) {
        let mut due = Instant::now();
        loop {
            let stop = match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Stop(reply)) => Some(Some(reply)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(None),
            };
            let done = self.turn();
            if let Err(error) = &done {
                tracing::warn!(%error, "a checkpoint of the audit is not cosigned");
            }
            due = Instant::now() + self.every;
            if let Some(reply) = stop {
                if let Some(reply) = reply {
                    _ = reply.send(done.is_ok());
                }
                return;
            }
        }
    }

    /// Has the newest checkpoint signed, if it is not.
    fn turn(&mut self) -> Result<(), WitnessError> {
        let Some(note) = self.shelf.read(CHECKPOINT)? else { return Ok(()) };
        let head = self.verifier.open(&note)?;
        if head.size == self.done {
            return Ok(());
        }
        let (mut signed, mut count, mut failed) = (note.clone(), 0, None);
        for witness in &mut self.all {
            match show(witness, &self.runtime, &self.shelf, &head, &note) {
                Ok(line) => {
                    signed.extend_from_slice(&line);
                    count += 1;
                }
                Err(error) => {
                    tracing::warn!(%error, "a witness has not signed");
                    failed = Some(error);
                }
            }
        }
        if count >= self.needed {
            self.shelf.replace(COSIGNED, &signed)?;
            self.done = head.size;
            self.shared.set_witnessed(head.size);
            return Ok(());
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Shows a witness a checkpoint. Gives its signature, a line of the note.
fn show(
    witness: &mut Witness,
    runtime: &Runtime,
    shelf: &Shelf,
    head: &Head,
    note: &[u8],
) -> Result<Vec<u8>, WitnessError> {
    let name = || witness.key.name.clone();
    // The second time with the size that it says that it has seen.
    for _ in 0..2 {
        let body = request(shelf, head, witness.seen, note)?;
        let request = Request::post(&witness.url).body(Bytes::from(body));
        let request =
            request.map_err(|error| WitnessError::Silent { name: name(), why: error.to_string() })?;
        let answer = runtime.block_on(witness.http.send(request, BOUNDS));
        let answer = answer.map_err(|error| WitnessError::Silent { name: name(), why: error.to_string() })?;
        let text = String::from_utf8_lossy(answer.body());
        match answer.status() {
            StatusCode::OK => {
                let both = [note, answer.body()].concat();
                let at = witness.key.signed(&both).ok_or_else(|| WitnessError::Signature { name: name() })?;
                let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
                if at > now + AHEAD {
                    return Err(WitnessError::Signature { name: name() });
                }
                // What else is in its answer is none of ours.
                let own = format!("\u{2014} {} ", witness.key.name);
                let line = text.lines().find(|line| line.starts_with(&own));
                let line = line.ok_or_else(|| WitnessError::Signature { name: name() })?;
                witness.seen = head.size;
                return Ok(format!("{line}\n").into_bytes());
            }
            StatusCode::CONFLICT => {
                let theirs = text.trim().parse::<u64>().map_err(|_| status(&witness.key.name, &answer))?;
                if theirs > head.size {
                    return Err(WitnessError::Ahead { name: name(), theirs, ours: head.size });
                }
                witness.seen = theirs;
            }
            _ => return Err(status(&witness.key.name, &answer)),
        }
    }
    Err(WitnessError::Silent { name: name(), why: "it does not say what it has seen".to_owned() })
}

fn status(name: &str, answer: &http::Response<Bytes>) -> WitnessError {
    let text = String::from_utf8_lossy(answer.body());
    WitnessError::Status {
        name: name.to_owned(),
        status: answer.status(),
        text: crate::units::cut(&text, 300).to_owned(),
    }
}

/// What a witness is sent: the size that it has seen, the proof that the log went on from there, the checkpoint.
fn request(shelf: &Shelf, head: &Head, seen: u64, note: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = format!("old {seen}\n");
    if seen > 0 && seen < head.size {
        let tiles = Tiles { shelf, size: head.size };
        let reader = TileHashReader::new(head.size, head.root, &tiles);
        let proof = prove_tree(head.size, seen, &reader).map_err(io::Error::other)?;
        for hash in proof.iter().take(MOST_HASHES) {
            let _ = writeln!(text, "{}", STANDARD.encode(hash.0));
        }
    }
    text.push('\n');
    let mut body = text.into_bytes();
    body.extend_from_slice(note);
    Ok(body)
}

/// The tiles of a folder, as `tlog_tiles` asks for them.
struct Tiles<'s> {
    shelf: &'s Shelf,
    size: u64,
}

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            let (level, n) = (tile.level(), tile.level_index());
            // Of tiles that are not full there are those of this checkpoint.
            let there = ((self.size >> (8 * u32::from(level))) - n * WIDTH).min(WIDTH);
            let length = usize::try_from(tile.width()).unwrap_or(0) * HASH_SIZE;
            let mut bytes = self.shelf.tile(level, n, there).ok().flatten().ok_or(Error::InvalidTile)?;
            if bytes.len() < length {
                return Err(Error::InvalidTile);
            }
            bytes.truncate(length);
            Ok(bytes)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use tlog_tiles::{Hash, check_tree, record_hash};

    use super::*;
    use crate::audit::tree::{Edge, tile_path};

    /// A witness of the tests: its key, and what it signs.
    fn pair(name: &str, seed: u8) -> (Key, Ed25519KeyPair) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let key = [&[COSIGNATURE], pair.public_key().as_ref()].concat();
        let text = format!("{name}+{:08x}+{}", signed_note::key_id(name, &key), STANDARD.encode(&key));
        (Key::new(&text).expect("a key"), pair)
    }

    fn cosign(key: &Key, pair: &Ed25519KeyPair, text: &str, time: u64) -> String {
        let signature = pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let bytes = [&key.id.to_be_bytes()[..], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", key.name, STANDARD.encode(bytes))
    }

    #[test]
    fn a_cosignature_is_over_the_text_and_its_time() {
        let (key, keys) = pair("witness.example/w", 7);
        let text = "northgate\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        let note = format!("{text}\n{}", cosign(&key, &keys, text, 1_795_404_887));
        assert_eq!(key.signed(note.as_bytes()), Some(1_795_404_887));
        let (other, _) = pair("witness.example/w", 8);
        assert_eq!(other.signed(note.as_bytes()), None);
        for at in 0..note.len() {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(key.signed(&changed), None, "byte {at} may be changed");
        }
        for bad in ["", "a+b", "w+00000000+BAAA", "northgate+2c3f6f8e+ATEST"] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
    }

    /// The proofs are those that the crate's own check takes, for each size before.
    #[test]
    fn a_witness_gets_the_proof_that_the_log_went_on() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut shelf = Shelf::new(temp.path());
        let (mut edge, mut roots) = (Edge::default(), vec![Hash([0; 32])]);
        let size = 256 * 3 + 17_u64;
        for n in 0..size {
            let mut filled = Vec::new();
            edge.push(record_hash(&n.to_be_bytes()), |tile| filled.push(tile));
            for tile in filled {
                shelf.write(&tile_path(tile.level, tile.n, WIDTH), &tile.bytes).expect("written");
            }
            roots.push(edge.root().expect("a root"));
        }
        for (level, n, bytes) in edge.partial() {
            shelf.write(&tile_path(level, n, bytes.len() as u64 / 32), bytes).expect("written");
        }
        let head = Head { origin: "northgate".into(), size, root: edge.root().expect("a root") };
        for seen in [1, 2, 100, 255, 256, 257, 600, 768, size - 1] {
            let body = request(&shelf, &head, seen, b"NOTE").expect("a request");
            let text = String::from_utf8(body).expect("UTF-8");
            let (head_text, note) = text.split_once("\n\n").expect("an empty line");
            assert_eq!(note, "NOTE");
            let mut lines = head_text.lines();
            assert_eq!(lines.next(), Some(format!("old {seen}").as_str()));
            let proof: Vec<Hash> = lines
                .map(|line| Hash(STANDARD.decode(line).expect("base64").try_into().expect("32 bytes")))
                .collect();
            let root = roots[usize::try_from(seen).expect("small")];
            assert!(check_tree(&proof, size, head.root, seen, root).is_ok(), "{seen}");
        }
        assert_eq!(request(&shelf, &head, 0, b"NOTE").expect("a request"), b"old 0\n\nNOTE");
    }
}
