//! Which pages of a query were counted.

use std::collections::BTreeMap;

/// The number of the first page of a query that Trino has begun to execute; those before have no rows.
pub(super) const EXECUTING: u64 = 1 << 32;
/// The most pages that are remembered by number.
const REMEMBERED: usize = 1_024;

/// Which pages were counted: one that is fetched twice, or broke off and is fetched again, counts once, wherever that is.
/// They may be told of in any order, as they are fetched at several gateways.
pub(super) struct Tally {
    /// Rows and bytes by page.
    pages: BTreeMap<u64, (u64, u64)>,
    /// All pages before this one are counted, or will not be.
    next: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { pages: BTreeMap::new(), next: EXECUTING }
    }
}

impl Tally {
    /// How many rows and bytes of a page are new.
    pub(super) fn add(&mut self, page: u64, rows: u64, bytes: u64) -> (u64, u64) {
        let had = self.pages.get(&page).copied();
        if had.is_none() && (EXECUTING..self.next).contains(&page) {
            return (0, 0);
        }
        let (had_rows, had_bytes) = had.unwrap_or_default();
        self.pages.insert(page, (rows.max(had_rows), bytes.max(had_bytes)));
        while self.pages.contains_key(&self.next) {
            self.next += 1;
        }
        while self.pages.len() > REMEMBERED
            && let Some((first, _)) = self.pages.pop_first()
        {
            self.next = self.next.max(first + 1);
        }
        (rows.saturating_sub(had_rows), bytes.saturating_sub(had_bytes))
    }

    /// Whether no page is missing before the last that is known.
    pub(super) fn is_whole(&self) -> bool {
        self.pages.last_key_value().is_none_or(|(last, _)| *last < self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_once_in_whatever_order_it_is_told_of() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(1, 0, 0), (0, 0), "a page of the queue");
        assert!(tally.is_whole());
        assert_eq!(tally.add(EXECUTING, 10, 100), (10, 100));
        assert_eq!(tally.add(EXECUTING, 10, 100), (0, 0), "again");
        assert_eq!(tally.add(EXECUTING + 2, 3, 30), (3, 30));
        assert!(!tally.is_whole(), "one was fetched elsewhere");
        assert_eq!(tally.add(EXECUTING + 1, 2, 20), (2, 20), "it broke off");
        assert!(tally.is_whole());
        assert_eq!(tally.add(EXECUTING + 1, 5, 50), (3, 30), "and was fetched again");
        for page in 3..3 + REMEMBERED as u64 {
            assert_eq!(tally.add(EXECUTING + page, 1, 1), (1, 1));
        }
        assert_eq!(tally.add(EXECUTING, 10, 100), (0, 0), "long ago");
        assert!(tally.is_whole() && tally.pages.len() == REMEMBERED);
    }
}
