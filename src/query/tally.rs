//! Which pages of a query were counted.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::replica::Sending;

/// The number of the first page of a query that Trino has begun to execute; those before have no rows.
pub(super) const EXECUTING: u64 = 1 << 32;
/// The most pages that are remembered by number.
const REMEMBERED: usize = 1_024;
/// The most pages that are known to be on their way at once, or to have ended before it was heard that they had begun.
const MOST_SENDINGS: usize = 64;

/// Which pages were counted: one that is fetched twice, or broke off and is fetched again, counts once, wherever that is.
/// They may be told of in any order, as they are fetched at several gateways.
pub(super) struct Tally {
    /// Rows and bytes by page.
    pages: BTreeMap<u64, (u64, u64)>,
    /// All pages before this one are counted, or will not be.
    next: u64,
    /// Long pages that other gateways hand on, by gateway and number there: since when it is known; `None` of one whose end was
    /// heard of first.
    sendings: BTreeMap<(u64, u64), Option<Instant>>,
    /// A page was on its way whose end nobody will tell.
    lost: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { pages: BTreeMap::new(), next: EXECUTING, sendings: BTreeMap::new(), lost: false }
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

    /// Takes note that a page is on its way at another gateway, or is no more, in whatever order.
    pub(super) fn sending(&mut self, sending: Sending) {
        let key = (sending.by, sending.nth);
        match self.sendings.get(&key) {
            Some(known) if known.is_some() != sending.open => drop(self.sendings.remove(&key)),
            Some(_) => {}
            None if self.sendings.len() >= MOST_SENDINGS => self.lost = true,
            None => drop(self.sendings.insert(key, sending.open.then(Instant::now))),
        }
    }

    /// Whether another gateway is handing on a page.
    pub(super) fn is_open(&self) -> bool {
        self.sendings.values().any(Option::is_some)
    }

    /// The gateways that hand on pages, and since when at least.
    pub(super) fn senders(&self) -> BTreeMap<u64, Instant> {
        let mut senders = BTreeMap::new();
        for ((by, _), since) in &self.sendings {
            if let Some(since) = since {
                let first = senders.entry(*by).or_insert(*since);
                *first = (*first).min(*since);
            }
        }
        senders
    }

    /// Waits no longer for pages that a gateway hands on.
    pub(super) fn give_up(&mut self, by: u64) {
        let before = self.sendings.len();
        self.sendings.retain(|(other, _), since| *other != by || since.is_none());
        self.lost |= self.sendings.len() < before;
    }

    /// Whether no page is missing before the last that is known, and none is on its way or was lost on it.
    pub(super) fn is_whole(&self) -> bool {
        let last = self.pages.last_key_value();
        !self.lost && !self.is_open() && last.is_none_or(|(last, _)| *last < self.next)
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

    #[test]
    fn a_page_that_another_gateway_hands_on_is_waited_for() {
        let mut tally = Tally::default();
        let page = |nth, open| Sending { by: 7, nth, open };
        tally.sending(page(0, true));
        assert!(!tally.is_whole() && tally.senders().contains_key(&7));
        tally.sending(page(0, true));
        tally.sending(page(0, false));
        assert!(tally.is_whole() && tally.sendings.is_empty());
        // Its end is heard of first, and it is asked for again.
        tally.sending(page(2, false));
        tally.sending(page(1, true));
        tally.sending(page(2, true));
        assert!(!tally.is_whole());
        tally.sending(page(1, false));
        assert!(tally.is_whole() && tally.sendings.is_empty());
        // The gateway is gone.
        tally.give_up(7);
        assert!(tally.is_whole(), "it had nothing on its way");
        tally.sending(page(3, true));
        tally.sending(Sending { by: 8, nth: 3, open: true });
        tally.give_up(7);
        assert_eq!(tally.senders().into_keys().collect::<Vec<_>>(), [8]);
        tally.sending(Sending { by: 8, nth: 3, open: false });
        assert!(!tally.is_open() && !tally.is_whole(), "it is not known what was handed on");
        // More than are remembered.
        let mut tally = Tally::default();
        for nth in 0..=MOST_SENDINGS as u64 {
            tally.sending(page(nth, false));
        }
        assert!(!tally.is_whole() && tally.sendings.len() == MOST_SENDINGS);
    }
}
