//! What an entry knows of its query's life at other gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Running, Start};
use crate::query::elsewhere::QUIET;
use crate::replica::Page;

/// How often it is published anew how far a query is that is followed elsewhere.
const AGAIN: Duration = Duration::from_secs(30);

impl Running {
    /// The turn to publish how far it is.
    pub(in crate::query) async fn publishing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.publishing.lock().await;
        self.state().published = Some(Instant::now());
        turn
    }

    /// Whether it waits, and was not published for a while: the store may have lost it.
    pub(in crate::query) fn is_to_be_published_again(&self) -> bool {
        self.is_linked()
            && !matches!(*self.started_so_far(), Start::Answered(_))
            && self.state().published.is_none_or(|published| published.elapsed() >= AGAIN)
    }

    /// Whether it is time to ask its cluster whether it is followed.
    pub(in crate::query) fn is_to_be_asked_about(&self) -> bool {
        let mut state = self.state();
        let due = state.asked.is_none_or(|asked| asked.elapsed() >= QUIET);
        if due {
            state.asked = Some(Instant::now());
        }
        due
    }

    /// Whether its client was at Trino since that was last asked.
    pub(in crate::query) fn client_was_there(&self, heartbeat: &str) -> bool {
        let mut state = self.state();
        state.doubt = false;
        let before = state.heartbeat.replace(heartbeat.to_owned());
        before.is_some_and(|before| before != heartbeat)
    }

    /// Notes that its cluster could not be asked.
    pub(in crate::query) fn is_in_doubt(&self) {
        self.state().doubt = true;
    }

    /// Whether its cluster could not be asked, the last time.
    pub(in crate::query) fn doubted(&self) -> bool {
        self.state().doubt
    }

    /// Counts a page that another gateway hands on, or has.
    pub(in crate::query) fn count_elsewhere(&self, page: Page) {
        let Page { number, rows, bytes, sending } = page;
        if let Some(sending) = sending {
            let mut state = self.state();
            state.tally.sending(sending);
            if sending.open {
                // That there is one is known from here on.
                state.tally.add(number, 0, 0);
                return;
            }
        }
        self.count(Some(number), rows, bytes);
    }

    /// The gateways that hand on pages of it, and since when.
    pub(in crate::query) fn senders(&self) -> BTreeMap<u64, Instant> {
        self.state().tally.senders()
    }

    /// Waits no longer for pages that a gateway hands on: its outcome says so.
    pub(in crate::query) fn give_up_pages(&self, by: u64) {
        self.state().tally.give_up(by);
    }
}
