//! What is known of a class, and whose turn it is by weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scheduler;
use super::standing::Rounds;

/// What a unit of slot time is divided by weights in.
const SCALE: u128 = 1 << 20;
/// What a query is taken to use, before it has: so much slot time is charged in advance. Microseconds.
const EXPECTED: u128 = 1_000_000;
/// For so long a class may make up for what it has not had, with all slots. Microseconds.
const CREDIT: u128 = 5_000_000;
/// No time between two events is taken for longer than this: a clock that jumps does not decide. Microseconds.
const LONGEST: u64 = 60_000_000;

#[derive(Debug, Default)]
pub(crate) struct Class {
    pub(super) running: usize,
    pub(super) queued: usize,
    /// How many were let in, ever.
    pub(super) granted: u64,
    /// When one was let in last, or the first of those who wait came.
    pub(super) since: u64,
    /// Slot time that it has had, divided by its weight.
    used: u128,
    /// The principals that may be next: the one with the fewest running first, then the longest without a grant.
    pub(super) ready: BTreeMap<(u32, u64), Arc<str>>,
    /// The same by how long they are without a grant.
    pub(super) oldest: BTreeMap<u64, Arc<str>>,
    pub(super) rounds: Rounds,
}

impl<T> Scheduler<T> {
    /// Brings the time, and what classes have had, up to date.
    pub(super) fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.outside).min(LONGEST);
        self.outside = now;
        self.now += passed;
        if passed == 0 {
            return;
        }
        for at in 0..self.classes.len() {
            let had = u128::from(passed) * self.runs(at) as u128 * self.step(at);
            self.classes[at].used += had;
        }
        let ahead = self.active().map(|at| self.classes[at].used).max().unwrap_or(0);
        let slots = self.plan.running as u128;
        for at in 0..self.classes.len() {
            let least = ahead.saturating_sub(CREDIT * slots * self.step(at));
            self.classes[at].used = self.classes[at].used.max(least);
        }
    }

    /// What a unit of slot time counts for.
    fn step(&self, class: usize) -> u128 {
        SCALE / u128::from(self.plan.classes[class].weight.max(1))
    }

    /// Whose turn it is by weights: the least.
    pub(super) fn turn(&self, class: usize) -> (u128, usize) {
        (self.classes[class].used + EXPECTED * self.runs(class) as u128 * self.step(class), class)
    }

    fn active(&self) -> impl Iterator<Item = usize> {
        (0..self.classes.len()).filter(|at| self.runs(*at) + self.classes[*at].queued > 0)
    }

    /// Before somebody comes to a class: where nobody was, the time of waiting begins, and nothing is made up for.
    pub(super) fn wake(&mut self, class: usize) {
        if self.classes[class].queued > 0 {
            return;
        }
        self.classes[class].since = self.now;
        if self.runs(class) == 0 {
            let least = self.active().map(|at| self.classes[at].used).min().unwrap_or(0);
            self.classes[class].used = self.classes[class].used.max(least);
        }
    }
}
