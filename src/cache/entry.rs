//! An answer that is kept: the pages as Trino sent them, compressed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::catalog::TableName;

/// How much harder the compressor tries; 1 is the fastest.
const LEVEL: i32 = 1;
/// Rows of fewer bytes are kept as they are.
const LEAST: usize = 1024;
/// What an entry takes besides its bytes, in the cache and its ledgers; measured, and rounded up.
pub(super) const OVERHEAD: usize = 1024;
/// What a page takes besides its rows.
const OF_PAGE: usize = 96;

/// What can be said of an answer before it is packed.
#[derive(Clone, Debug)]
pub struct About {
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
        let pages: Vec<Page> = pages.into_iter().map(|(rows, data)| Page::pack(rows, &data)).collect();
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
        let whole = zstd::bulk::decompress(&self.data, self.length).map_err(|_| Corrupt)?;
        if whole.len() == self.length { Ok(whole.into()) } else { Err(Corrupt) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cache) fn about(principal: &str, table: &str) -> About {
        About {
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
}
