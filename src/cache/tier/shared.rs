//! The tier that several gateways share: answers in the Redis of `[state]`, for any gateway to give again.
//!
//! Redis is asked at each lookup which answer there is, also where it is in the memory of this gateway: so that what is purged
//! at one gateway is gone at all of them, and what one has asked anew takes the place of the old everywhere. Memory saves
//! fetching it. When Redis does not answer, Trino is asked.
//!
//! What is put there is sealed like all of `[state]`, under the name of its question: it opens whole, in its place, and with
//! a key of these gateways, or not at all.

use std::fmt;
use std::io::Read as _;
use std::time::Duration;

use aws_lc_rs::rand;

use super::{Epoch, Found};
use crate::cache::entry::{About, Corrupt, Entry, LEVEL};
use crate::cache::{Key, Purge};
use crate::state::{self, Kind, Script, Scripts, StoreError};

const KEYS: [&str; 4] = [
    "northgate:{answers}:order",
    "northgate:{answers}:sizes",
    "northgate:{answers}:bytes",
    "northgate:{answers}:epoch",
];
const PREFIX: &str = "northgate:{answers}:of:";
/// The largest answer, sealed, in bytes: it holds up whatever else gateways ask Redis over the same connection.
const LARGEST: u64 = 4 << 20;
/// Of how many answers the notes are read at once.
const CHUNK: usize = 500;
/// How long a page waits for the end of its query.
const PAGE_LIFE: Duration = Duration::from_mins(2);

/// Answers in Redis.
pub(in crate::cache) struct Shared {
    scripts: Scripts,
    script: Script,
    /// The bytes of all.
    most: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

impl Shared {
    pub(in crate::cache) fn new(scripts: Scripts, most: u64) -> Self {
        Self { scripts, script: Script::new(include_str!("shared.lua")), most }
    }

    /// The most bytes of one answer.
    pub(in crate::cache) fn largest(&self) -> usize {
        usize::try_from(LARGEST.min(self.most / 16)).unwrap_or(usize::MAX)
    }

    async fn run<T: redis::FromRedisValue>(&self, arguments: &[&[u8]]) -> Result<T, StoreError> {
        self.scripts.run(&self.script, &KEYS, &[&[PREFIX.as_bytes()], arguments].concat()).await
    }

    /// The answer to a question, unless it is that of the source which is here; and the epoch.
    pub(in crate::cache) async fn look(
        &self,
        key: &Key,
        here: Option<&str>,
    ) -> Result<(Found, Epoch), StoreError> {
        let here = here.unwrap_or_default().as_bytes();
        let found: Vec<Vec<u8>> = self.run(&[b"look", &key.0, here, &epoch()?]).await?;
        let mut found = found.into_iter();
        let epoch = found.next().and_then(|epoch| epoch.try_into().ok());
        let epoch = epoch.ok_or_else(|| StoreError::Form("no epoch of answers".to_owned()))?;
        let found = match (found.next(), found.next()) {
            (None, _) => Found::Nothing,
            (Some(_), None) => Found::Same,
            (Some(source), Some(sealed)) => match self.opened(key, &sealed) {
                Ok(Some(entry)) if entry.about().origin.as_bytes() == source => Found::Entry(Box::new(entry)),
                Ok(None) => Found::Nothing,
                Ok(Some(_)) | Err(Corrupt) => {
                    tracing::warn!("an answer of the state does not open, and is removed");
                    self.remove(&[key.0]).await?;
                    Found::Corrupt
                }
            },
        };
        Ok((found, epoch))
    }

    fn opened(&self, key: &Key, sealed: &[u8]) -> Result<Option<Entry>, Corrupt> {
        let place = state::Key { kind: Kind::Answer, hash: key.0 };
        super::opened(key, self.scripts.unseal(&place, sealed))
    }

    /// Keeps an answer that was begun in an epoch: false if that is over.
    ///
    /// # Errors
    /// Redis does not answer, or has no room for it.
    pub(in crate::cache) async fn keep(&self, entry: &Entry, epoch: &Epoch) -> Result<bool, StoreError> {
        let (key, life) = (entry.about().key, entry.left());
        let place = |kind| state::Key { kind, hash: key.0 };
        let sealed = self.scripts.seal(&place(Kind::Answer), &entry.written()?, life)?;
        let note = self.scripts.seal(&place(Kind::AnswerNote), &entry.about().written()?, life)?;
        self.put(&key.0, epoch, &entry.about().origin, [&sealed, &note], life).await
    }

    async fn put(
        &self,
        name: &[u8; 32],
        epoch: &[u8],
        source: &str,
        [sealed, note]: [&[u8]; 2],
        life: Duration,
    ) -> Result<bool, StoreError> {
        let millis = millis(life);
        let most = self.most.to_string();
        let arguments: [&[u8]; 8] =
            [b"keep", name, epoch, source.as_bytes(), sealed, note, millis.as_bytes(), most.as_bytes()];
        self.run::<u8>(&arguments).await.map(|kept| kept == 1)
    }

    /// Removes answers at all gateways, and says how many. What was begun before is not kept.
    pub(in crate::cache) async fn purge(&self, purge: &Purge) -> Result<usize, StoreError> {
        let names: Vec<[u8; 32]> = self.run(&[b"purge", &epoch()?]).await?;
        let mut removed = 0;
        for names in names.chunks(CHUNK) {
            let notes: Vec<Option<Vec<u8>>> = self.run(&of(b"notes", names)).await?;
            let known: Vec<_> = names
                .iter()
                .zip(notes)
                .map(|(name, note)| (*name, note.and_then(|note| self.note(*name, &note))))
                .collect();
            let goes = |(name, about): &([u8; 32], Option<About>)| {
                about.as_ref().is_some_and(|about| purge.takes(about)).then_some(*name)
            };
            removed += self.remove(&known.iter().filter_map(goes).collect::<Vec<_>>()).await?;
            // Of what has no note that opens it is not known what it is.
            let junk = known.iter().filter(|(_, about)| about.is_none()).map(|(name, _)| *name);
            self.remove(&junk.collect::<Vec<_>>()).await?;
        }
        Ok(removed)
    }

    fn note(&self, hash: [u8; 32], sealed: &[u8]) -> Option<About> {
        let place = state::Key { kind: Kind::AnswerNote, hash };
        let plain = self.scripts.unseal(&place, sealed).ok()??;
        About::read(Key(hash), &plain).ok()
    }

    async fn remove(&self, names: &[[u8; 32]]) -> Result<usize, StoreError> {
        if names.is_empty() { Ok(0) } else { self.run(&of(b"drop", names)).await }
    }

    /// The epoch.
    pub(in crate::cache) async fn epoch(&self) -> Result<Epoch, StoreError> {
        // Of no question.
        self.look(&Key([0; 32]), None).await.map(|(_, epoch)| epoch)
    }

    /// Claims a question for a gateway; false if it is another's.
    pub(in crate::cache) async fn claim(
        &self,
        key: &Key,
        gateway: u64,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let life = millis(life);
        self.run::<u8>(&[b"claim", &key.0, &gateway.to_be_bytes(), life.as_bytes()])
            .await
            .map(|theirs| theirs == 1)
    }

    /// Keeps a page of an answer that another gateway collects.
    pub(in crate::cache) async fn put_page(
        &self,
        query: &str,
        number: u64,
        plain: &[u8],
    ) -> Result<(), StoreError> {
        let packed =
            zstd::bulk::compress(plain, LEVEL).map_err(|error| StoreError::Form(error.to_string()))?;
        if packed.len() > self.largest() {
            return Ok(());
        }
        let place = page(query, number);
        let sealed = self.scripts.seal(&place, &packed, PAGE_LIFE)?;
        self.put(&place.hash, b"", query, [&sealed, b""], PAGE_LIFE).await.map(drop)
    }

    /// Takes a page that was kept so; of at most so many bytes.
    pub(in crate::cache) async fn page(
        &self,
        query: &str,
        number: u64,
        most: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let place = page(query, number);
        let found: Vec<Vec<u8>> = self.run(&[b"look", &place.hash, b"", &epoch()?]).await?;
        let Some(sealed) = found.into_iter().nth(2) else { return Ok(None) };
        self.remove(&[place.hash]).await?;
        let Some(packed) = self.scripts.unseal(&place, &sealed)? else { return Ok(None) };
        let mut plain = Vec::new();
        let read = zstd::Decoder::new(&packed[..])
            .and_then(|packed| packed.take(most as u64 + 1).read_to_end(&mut plain));
        match read {
            Ok(read) if read <= most => Ok(Some(plain)),
            _ => Err(StoreError::Form("a page that is too large, or no page".to_owned())),
        }
    }
}

/// Redis takes no life of nothing.
fn millis(life: Duration) -> String {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 48).to_string()
}

fn page(query: &str, number: u64) -> state::Key {
    state::Key::new(Kind::AnswerPage, &format!("{query} {number}"))
}

/// What is to be done with answers.
fn of<'a>(verb: &'a [u8], names: &'a [[u8; 32]]) -> Vec<&'a [u8]> {
    [verb].into_iter().chain(names.iter().map(<[u8; 32]>::as_slice)).collect()
}

fn epoch() -> Result<Epoch, StoreError> {
    let mut epoch = Epoch::default();
    rand::fill(&mut epoch).map_err(|_| StoreError::Form("no random numbers".to_owned()))?;
    Ok(epoch)
}
