//! Parquet beside the tiles of a copy, for queries by Athena or Trino: `parquet/day=2026-11-30/FIRST-END.parquet`, records
//! FIRST up to END. A file is of whole bundles, and of the day of its first record; a bundle around midnight has records of
//! both days. What is proved is in the tiles: these are for convenience.

use std::io;
use std::time::Instant;

use super::reader::line_of;
use super::shelf::{Shelf, Source as _};
use super::take::{Columns, Row};
use super::tree::{WIDTH, bundle_path, entries};

/// Where they are.
pub(super) const FOLDER: &str = "parquet";
/// The most records of a file, and the most bytes before they are compressed.
const MOST: u64 = 1 << 16;
const MOST_BYTES: usize = 64 << 20;

/// How far they are written.
#[derive(Debug)]
pub(super) struct Partitions {
    /// Records in files, whole bundles.
    done: u64,
    due: Instant,
    every: std::time::Duration,
}

/// One file.
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The records up to its end.
    pub(super) end: u64,
}

impl Partitions {
    /// Goes on behind those that are there, of which these are the names.
    pub(super) fn behind(names: &[String], every: std::time::Duration) -> Self {
        let end = |name: &String| name.strip_suffix(".parquet")?.rsplit('-').next()?.parse().ok();
        let done = names.iter().filter_map(end).max().unwrap_or(0);
        Self { done, due: Instant::now() + every, every }
    }

    /// The next file, if one is due: there is enough for it, or it is time, or this is the `last` chance. `copied` are the
    /// records that may be in it.
    pub(super) fn next(&mut self, shelf: &Shelf, copied: u64, last: bool) -> io::Result<Option<Partition>> {
        let is_due = last || self.due <= Instant::now() || copied.saturating_sub(self.done) >= MOST;
        if copied <= self.done || !is_due {
            return Ok(None);
        }
        let mut columns = Columns::to(Vec::new())?;
        let (mut day, mut bytes, mut at) = (None, 0, self.done);
        while at < copied && at - self.done < MOST && bytes < MOST_BYTES {
            let path = bundle_path(at / WIDTH, WIDTH);
            let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{path} is missing"));
            let bundle = shelf.read(&path)?.ok_or_else(gone)?;
            for (n, entry) in (at..).zip(entries(&bundle)) {
                let torn = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is torn"));
                let line = line_of(shelf, entry.map_err(torn)?)?;
                let row = Row::of(&line).map_err(io::Error::from)?;
                if n == at {
                    let of = row.time.get(..10).unwrap_or("unknown").to_owned();
                    if day.as_ref().is_some_and(|day| *day != of) {
                        return self.made(day, columns, at).map(Some);
                    }
                    day = Some(of);
                }
                bytes += line.len();
                columns.add(n, std::str::from_utf8(&line).map_err(io::Error::other)?, &row)?;
            }
            at += WIDTH;
        }
        self.made(day, columns, at).map(Some)
    }

    fn made(&self, day: Option<String>, columns: Columns<Vec<u8>>, end: u64) -> io::Result<Partition> {
        let name = format!("{FOLDER}/day={}/{:020}-{end:020}.parquet", day.unwrap_or_default(), self.done);
        Ok(Partition { name, bytes: columns.into_inner()?, end })
    }

    /// A file is where it is to be.
    pub(super) fn put(&mut self, end: u64, copied: u64) {
        self.done = end;
        if copied.saturating_sub(end) < WIDTH {
            self.due = Instant::now() + self.every;
        }
    }
}
