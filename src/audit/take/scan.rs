//! The records of a log that somebody asks for, one after another.
//!
//! A bundle is opened only where the times at its two ends say that it may hold something. A clock that jumps by less than
//! [`SLACK`] is allowed for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::row::Row;
use crate::audit::entry::Peek;
use crate::audit::reader::line_of;
use crate::audit::shelf::Source;
use crate::audit::shred::Opener;
use crate::audit::tree::{WIDTH, bundle_path, entries};

/// How far the time of a record may be from its place.
const SLACK: SignedDuration = SignedDuration::from_mins(10);
/// The first bytes of a bundle, in which the time of its first record is.
const BEGINNING: usize = 512;
/// The most queries whose outcome is awaited at a time.
const MOST_OPEN: usize = 1_000_000;

/// What is asked for. What is empty is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The first moment that is too late.
    pub to: Option<Timestamp>,
    /// Who did it, or as whom it was done.
    pub user: Option<String>,
    /// A table that is read, `catalog.schema.table`; `*` is any text.
    pub table: Option<String>,
    /// A tag of what is read.
    pub tag: Option<String>,
    /// Only what was denied or refused.
    pub denied: bool,
    /// The number of the record that is before the first one that is meant.
    pub after: Option<u64>,
    /// The folder of the keys that texts are opened with; without it they are shown as they are in the log.
    pub text_keys: Option<PathBuf>,
}

impl Selection {
    /// Whether all records of its time are meant.
    pub fn is_all(&self) -> bool {
        self.user.is_none() && self.table.is_none() && self.tag.is_none() && !self.denied
    }

    /// Whether a record's time is meant.
    pub(crate) fn is_then(&self, row: &Row<'_>) -> bool {
        let Some(at) = row.at() else { return false };
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    /// Whether what a record says of itself is meant; its time left out.
    pub(crate) fn is_it(&self, row: &Row<'_>) -> bool {
        let by = |user: &String| {
            [&row.principal, &row.identity, &row.impersonator, &row.claimed, &row.by]
                .iter()
                .any(|name| *name == user)
        };
        let reads = |pattern: &String| {
            let tables = row.tables.iter().map(|table| table.name.as_str());
            tables.chain(row.relations.iter().map(|name| &**name)).any(|name| matches(pattern, name))
        };
        self.user.as_ref().is_none_or(by)
            && self.table.as_ref().is_none_or(reads)
            && self.tag.as_ref().is_none_or(|tag| row.tags().contains(tag.to_lowercase().as_str()))
            && (!self.denied || row.is_denial())
    }

    /// What must be in the text of a record that is meant, if that can be said.
    fn needle(&self) -> Option<String> {
        self.user.as_ref().and_then(|user| serde_json::to_string(user).ok())
    }
}

/// Whether a name is one of a pattern's, in which `*` is any text.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// One record: its number, its entry in the tree, its line, that line with its texts opened, and what that says.
pub(crate) struct Found<'a> {
    pub(crate) n: u64,
    pub(crate) entry: &'a [u8],
    pub(crate) line: &'a [u8],
    pub(crate) shown: &'a [u8],
    pub(crate) row: &'a Row<'a>,
}

/// Which records are meant, in their order: also the outcomes of queries that are.
pub(crate) struct Filter<'s> {
    selection: &'s Selection,
    needle: Option<memchr::memmem::Finder<'static>>,
    open: HashSet<String>,
    opener: Option<Opener<'s>>,
}

impl<'s> Filter<'s> {
    pub(crate) fn new(selection: &'s Selection) -> Self {
        let needle = selection.needle().map(|text| memchr::memmem::Finder::new(text.as_bytes()).into_owned());
        let opener = selection.text_keys.as_deref().map(Opener::new);
        Self { selection, needle, open: HashSet::new(), opener }
    }

    /// A line with its texts opened.
    pub(crate) fn shown<'l>(&mut self, line: &'l [u8]) -> Cow<'l, [u8]> {
        self.opener.as_mut().map_or(Cow::Borrowed(line), |opener| opener.line(line))
    }

    /// Whether a record is behind those that are known already.
    pub(crate) fn is_after(&self, n: u64) -> bool {
        self.selection.after.is_none_or(|after| n > after)
    }

    /// Whether it can be left unread.
    pub(crate) fn skips(&self, line: &[u8]) -> bool {
        let Some(needle) = &self.needle else { return false };
        needle.find(line).is_none()
            && (self.open.is_empty()
                || memchr::memmem::find(line.get(..300).unwrap_or(line), b"\"type\":\"outcome\"").is_none())
    }

    pub(crate) fn takes(&mut self, row: &Row<'_>) -> bool {
        if row.kind == "outcome" {
            let ours = self.selection.is_all() || self.open.remove(&*row.query);
            return ours && self.selection.is_then(row);
        }
        let taken = self.selection.is_then(row) && self.selection.is_it(row);
        if taken && row.kind == "intent" && !self.selection.is_all() && self.open.len() < MOST_OPEN {
            self.open.insert(row.query.clone().into_owned());
        }
        taken
    }
}

/// Goes through the first `size` records of a log. `each` is told of those that are meant, and says whether to go on;
/// `bundle` is told of the end of a bundle, and whether there were some in it.
pub(crate) fn scan<E: From<io::Error>>(
    source: &dyn Source,
    size: u64,
    filter: &mut Filter<'_>,
    mut each: impl FnMut(Found<'_>) -> Result<bool, E>,
    mut bundle: impl FnMut(u64, bool) -> Result<(), E>,
) -> Result<(), E> {
    let selection = filter.selection;
    let count = size.div_ceil(WIDTH);
    let width = |n: u64| (size - n * WIDTH).min(WIDTH);
    // Whose outcome is meant is known only from the queries before it, where not all are.
    let first = selection.after.filter(|_| selection.is_all()).map_or(0, |after| (after + 1) / WIDTH);
    let mut next = if first < count { began(source, first, width(first))? } else { None };
    for n in first..count {
        let this = next;
        next = if n + 1 < count { began(source, n + 1, width(n + 1))? } else { None };
        if !may_hold(selection, this, next) {
            bundle(n, false)?;
            continue;
        }
        let path = bundle_path(n, width(n));
        let bytes = source
            .bundle(n, width(n))?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} is missing")))?;
        let mut any = false;
        for (at, entry) in (n * WIDTH..n * WIDTH + width(n)).zip(entries(&bytes)) {
            let torn = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is torn"));
            let entry = entry.map_err(torn)?;
            // What a stub stands for is longer than what it says.
            if !Peek::may_be_stub(entry) && filter.skips(entry) {
                continue;
            }
            let wrong = |error: serde_json::Error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("record {at} ({path}): {error}"))
            };
            let line = line_of(source, entry)?;
            let row = Row::of(&line).map_err(wrong)?;
            if !filter.takes(&row) || !filter.is_after(at) {
                continue;
            }
            any = true;
            let shown = filter.shown(&line);
            let opened = match &shown {
                Cow::Owned(shown) => Some(Row::of(shown).map_err(wrong)?),
                Cow::Borrowed(_) => None,
            };
            let row = opened.as_ref().unwrap_or(&row);
            if !each(Found { n: at, entry, line: &line, shown: &shown, row })? {
                return Ok(());
            }
        }
        bundle(n, any)?;
    }
    Ok(())
}

/// When the first record of a bundle was written.
fn began(source: &dyn Source, n: u64, width: u64) -> io::Result<Option<Timestamp>> {
    let Some(bytes) = source.beginning(n, width, BEGINNING)? else { return Ok(None) };
    let text = bytes.get(2..).unwrap_or_default();
    let Some(at) = memchr::memmem::find(text, b"\"time\":\"") else { return Ok(None) };
    let time = text.get(at + 8..).and_then(|rest| rest.split(|byte| *byte == b'"').next());
    Ok(time.and_then(|time| std::str::from_utf8(time).ok()?.parse().ok()))
}

/// Whether a bundle that began then, and the next one then, may hold what is asked for.
fn may_hold(selection: &Selection, this: Option<Timestamp>, next: Option<Timestamp>) -> bool {
    let Some(this) = this else { return true };
    let (first, last) = next.map_or((this, Timestamp::MAX), |next| (this.min(next), this.max(next)));
    let late = |to: Timestamp| first.saturating_sub(SLACK).is_ok_and(|first| first >= to);
    let early = |from: Timestamp| last.saturating_add(SLACK).is_ok_and(|last| last < from);
    !selection.to.is_some_and(late) && !selection.from.is_some_and(early)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, name: &str, expect| {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        };
        check("lake.silver.customers", "lake.silver.customers", true);
        check("lake.silver.customers", "lake.silver.customers2", false);
        check("lake.*", "lake.silver.customers", true);
        check("lake.*.customers", "lake.silver.customers", true);
        check("lake.*.customers", "lake.silver.branches", false);
        check("*", "anything", true);
        check("*.silver.*", "lake.silver.customers", true);
        check("a*a", "a", false);
    }
}
