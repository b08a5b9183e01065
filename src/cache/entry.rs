//! An answer that is kept: the pages as Trino sent them, compressed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zstd::bulk::Decompressor;

use super::Key;
use crate::catalog::TableName;
use crate::state::StoreError;

/// How much harder the compressor tries; 1 is the fastest.
pub(super) const LEVEL: i32 = 1;
/// Rows of fewer bytes are kept as they are.
const LEAST: usize = 1024;
/// What an entry takes besides its bytes, in the cache and its ledgers; measured, and rounded up.
pub(super) const OVERHEAD: usize = 1024;
/// What a page takes besides its rows.
const OF_PAGE: usize = 96;

thread_local! {
    /// To make one takes longer than to unpack a page.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What can be said of an answer before it is packed.
#[derive(Clone, Debug)]
pub struct About {
    /// The question that it is the answer to.
    pub key: Key,
    /// The gateway's id of the query that it is the answer to.
    pub origin: String,
    /// For whom that query ran.
    pub principal: String,
    /// The tables that were read.
    pub tables: BTreeSet<TableName>,
    /// The tags of the columns that were read.
    pub tags: BTreeSet<String>,
    /// The policies that decided.
    pub revision: String,
    /// When the query was sent: the answer is as old.
    pub since: Instant,
    /// How long it took.
    pub took: Duration,
    /// For how long from `since` it may be given again.
    pub life: Duration,
}

/// The same for other gateways, but for the question, which names the place.
#[derive(Deserialize, Serialize)]
struct Note {
    origin: String,
    principal: String,
    tables: Vec<[String; 3]>,
    tags: BTreeSet<String>,
    revision: String,
    /// Milliseconds since 1970; the others are milliseconds, too.
    since: u64,
    took: u64,
    life: u64,
}

/// What comes before the rows of an answer that is written for other gateways.
#[derive(Deserialize, Serialize)]
struct Head {
    note: Note,
    columns: String,
    /// Of each page: its rows, their bytes unpacked, and as they are; they are packed if these are fewer.
    pages: Vec<(u64, usize, usize)>,
}

/// An answer.
#[derive(Debug)]
pub struct Entry {
    about: About,
    columns: Bytes,
    pages: Vec<Page>,
    size: usize,
}

/// The rows of one page.
#[derive(Debug)]
struct Page {
    rows: u64,
    /// Bytes of the rows, unpacked.
    length: usize,
    data: Bytes,
    packed: bool,
}

/// Rows that cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page of a kept answer cannot be unpacked")]
pub struct Corrupt;

impl Entry {
    /// Packs an answer: the columns, and of each page the number of its rows and the rows, both as JSON arrays. It takes the
    /// time of a compression.
    pub fn pack(about: About, columns: Bytes, pages: Vec<(u64, Bytes)>) -> Self {
        Self::of(about, columns, pages.into_iter().map(|(rows, data)| Page::pack(rows, &data)).collect())
    }

    fn of(about: About, columns: Bytes, pages: Vec<Page>) -> Self {
        let of_pages: usize = pages.iter().map(|page| page.data.len() + OF_PAGE).sum();
        let names: usize = about
            .tables
            .iter()
            .map(|name| name.catalog.len() + name.schema.len() + name.table.len() + OF_PAGE)
            .sum();
        let tags: usize = about.tags.iter().map(|tag| tag.len() + OF_PAGE).sum();
        let size = OVERHEAD + columns.len() + of_pages + names + tags + about.principal.len();
        Self { about, columns, pages, size }
    }

    /// The answer as bytes, for other gateways.
    pub(super) fn written(&self) -> Result<Vec<u8>, StoreError> {
        let head = Head {
            note: self.about.note(),
            columns: String::from_utf8(self.columns.to_vec()).map_err(unwritable)?,
            pages: self.pages.iter().map(|page| (page.rows, page.length, page.data.len())).collect(),
        };
        let head = serde_json::to_vec(&head).map_err(unwritable)?;
        let length = u32::try_from(head.len()).map_err(unwritable)?;
        let data = self.pages.iter().map(|page| &page.data[..]);
        Ok([&length.to_be_bytes()[..], &head].into_iter().chain(data).collect::<Vec<_>>().concat())
    }

    /// The answer to a question from such bytes.
    pub(super) fn read(key: Key, written: &[u8]) -> Result<Self, Corrupt> {
        let (length, rest) = written.split_first_chunk::<4>().ok_or(Corrupt)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Corrupt)?;
        let (head, mut rest) = rest.split_at_checked(length).ok_or(Corrupt)?;
        let head: Head = serde_json::from_slice(head).map_err(|_| Corrupt)?;
        let mut pages = Vec::with_capacity(head.pages.len());
        for (rows, length, size) in head.pages {
            let (data, after) = rest.split_at_checked(size).ok_or(Corrupt)?;
            // Bytes of their own: they may be served for longer than the rest.
            pages.push(Page { rows, length, data: Bytes::copy_from_slice(data), packed: size < length });
            rest = after;
        }
        let about = head.note.about(key).filter(|_| rest.is_empty()).ok_or(Corrupt)?;
        Ok(Self::of(about, head.columns.into(), pages))
    }

    /// What is known of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The columns, a JSON array.
    pub fn columns(&self) -> &Bytes {
        &self.columns
    }

    /// How many pages have rows.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The rows of a page as a JSON array, and their number.
    ///
    /// # Errors
    /// They cannot be unpacked.
    pub fn page(&self, number: usize) -> Result<(Bytes, u64), Corrupt> {
        let page = self.pages.get(number).ok_or(Corrupt)?;
        Ok((page.unpack()?, page.rows))
    }

    /// How old it is.
    pub fn age(&self) -> Duration {
        self.about.since.elapsed()
    }

    /// How much longer it may be given again.
    pub fn left(&self) -> Duration {
        self.about.life.saturating_sub(self.age())
    }

    /// The memory that it takes, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Form(error.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl About {
    fn note(&self) -> Note {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let parts = |name: &TableName| [&name.catalog, &name.schema, &name.table].map(Clone::clone);
        Note {
            origin: self.origin.clone(),
            principal: self.principal.clone(),
            tables: self.tables.iter().map(parts).collect(),
            tags: self.tags.clone(),
            revision: self.revision.clone(),
            since: millis(since.saturating_sub(self.since.elapsed())),
            took: millis(self.took),
            life: millis(self.life),
        }
    }

    /// What is known of it as bytes, for other gateways.
    pub(super) fn written(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(&self.note()).map_err(unwritable)
    }

    /// The same from such bytes.
    pub(super) fn read(key: Key, written: &[u8]) -> Result<Self, Corrupt> {
        let note: Note = serde_json::from_slice(written).map_err(|_| Corrupt)?;
        note.about(key).ok_or(Corrupt)
    }
}

impl Note {
    /// None if it is older than this machine runs.
    fn about(self, key: Key) -> Option<About> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(self.since));
        let name = |[catalog, schema, table]: [String; 3]| TableName { catalog, schema, table };
        Some(About {
            key,
            origin: self.origin,
            principal: self.principal,
            tables: self.tables.into_iter().map(name).collect(),
            tags: self.tags,
            revision: self.revision,
            since: Instant::now().checked_sub(age)?,
            took: Duration::from_millis(self.took),
            life: Duration::from_millis(self.life),
        })
    }
}

impl Page {
    fn pack(rows: u64, whole: &[u8]) -> Self {
        let length = whole.len();
        if length >= LEAST
            && let Ok(packed) = zstd::bulk::compress(whole, LEVEL)
            && packed.len() < length - length / 10
        {
            return Self { rows, length, data: Bytes::from(packed.into_boxed_slice()), packed: true };
        }
        // Without what it may have been given to grow.
        Self { rows, length, data: Bytes::copy_from_slice(whole), packed: false }
    }

    fn unpack(&self) -> Result<Bytes, Corrupt> {
        if !self.packed {
            return Ok(self.data.clone());
        }
        let whole = UNPACKER.with_borrow_mut(|unpacker| {
            let unpacker = match unpacker {
                Some(unpacker) => unpacker,
                None => unpacker.insert(Decompressor::new().map_err(|_| Corrupt)?),
            };
            unpacker.decompress(&self.data, self.length).map_err(|_| Corrupt)
        })?;
        if whole.len() == self.length { Ok(whole.into()) } else { Err(Corrupt) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::key::tests::any_key;
    use super::*;

    pub(in crate::cache) fn about(principal: &str, table: &str) -> About {
        About {
            key: any_key(1),
            origin: "q1".to_owned(),
            principal: principal.to_owned(),
            tables: BTreeSet::from([TableName::new("lake", "gold", table).expect("a name")]),
            tags: BTreeSet::from(["pii.email".to_owned()]),
            revision: "r1".to_owned(),
            since: Instant::now(),
            took: Duration::from_secs(1),
            life: Duration::from_hours(1),
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let check = |pages: Vec<(u64, &'static str)>| {
            let data = |(rows, data): &(u64, &'static str)| (*rows, Bytes::from_static(data.as_bytes()));
            let entry = Entry::pack(about("ann", "t"), "[1]".into(), pages.iter().map(data).collect());
            assert_eq!(entry.pages(), pages.len());
            assert_eq!(entry.columns(), "[1]");
            for (number, (rows, expect)) in pages.iter().enumerate() {
                let (data, count) = entry.page(number).expect("unpacked");
                assert_eq!((data, count), (Bytes::from_static(expect.as_bytes()), *rows));
            }
            assert!(entry.page(pages.len()).is_err());
            entry.size()
        };
        let none = check(vec![]);
        assert!(none > OVERHEAD);
        check(vec![(1, "[[1]]"), (2, "[[1],[2]]")]);
        let long: &'static str = Box::leak("[\"abcdefgh\"],".repeat(10_000).into_boxed_str());
        assert!(check(vec![(10_000, long)]) < none + 2_000, "it is compressed");
    }

    #[test]
    fn what_was_changed_is_noticed() {
        let long = Bytes::from("[\"abcdefgh\"],".repeat(1_000));
        let mut entry = Entry::pack(about("ann", "t"), "[1]".into(), vec![(1, long)]);
        entry.pages[0].length -= 1;
        assert_eq!(entry.page(0), Err(Corrupt));
        entry.pages[0].length += 2;
        assert_eq!(entry.page(0), Err(Corrupt));
        let cut = entry.pages[0].data.len() - 1;
        entry.pages[0].data.truncate(cut);
        assert_eq!(entry.page(0), Err(Corrupt));
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "[\"abcdefgh\"],".repeat(1_000);
        let pages = vec![(1, Bytes::from_static(b"[[1]]")), (1_000, Bytes::from(long))];
        let entry = Entry::pack(about("ann", "t"), "[1]".into(), pages);
        let written = entry.written().expect("written");
        let read = Entry::read(any_key(1), &written).expect("read");
        assert_eq!((read.columns(), read.pages(), read.size()), (entry.columns(), 2, entry.size()));
        assert!((0..2).all(|number| read.page(number) == entry.page(number)));
        let (one, other) = (read.about(), entry.about());
        assert_eq!((&one.origin, &one.tables, &one.tags), (&other.origin, &other.tables, &other.tags));
        assert_eq!(
            (&one.principal, &one.revision, one.life),
            (&other.principal, &other.revision, other.life)
        );
        assert!(one.since.elapsed() < Duration::from_mins(1));
        for cut in 0..written.len() {
            assert!(Entry::read(any_key(1), &written[..cut]).is_err(), "{cut}");
        }
        assert!(Entry::read(any_key(1), &[&written[..], b"x"].concat()).is_err());
    }
}
