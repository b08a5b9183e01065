//! Where somebody who waits stands.

use std::sync::Arc;

use super::{Place, Scheduler};

/// Up to so many principals that wait, standings are those of this moment; above, of the last second.
const EXACT: usize = 64;
/// Before a query so many others of its principal are counted, at most.
const COUNTED: usize = 1_000;
/// Microseconds.
const FRESH: u64 = 1_000_000;

/// Whose limit a query waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The principal's own.
    Principal,
    /// That of the group at this place of the configuration.
    Group(usize),
    /// That of its class.
    Class,
    /// That of all together.
    All,
}

/// Where a query stands that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// At most so many queries of its class are let in before it, if nothing else comes; from 1,000 on, so many or more.
    pub ahead: usize,
    /// What it waits for.
    pub reason: Reason,
}

/// How long the queues of a class are: enough to say how many are let in before one that waits.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    made: Option<u64>,
    changed: bool,
    /// The lengths of principals' queues, the shortest first.
    lengths: Vec<usize>,
    /// The sum of the lengths up to each.
    sums: Vec<usize>,
    /// The stamps of their flows, the oldest first.
    stamps: Vec<u64>,
}

impl Rounds {
    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    /// How many are let in before the query behind `own` others of its principal, whose queue is `length` long and has the
    /// stamp. Principals take turns, so that each has as many let in as this one, and those before it one more.
    fn ahead(&self, own: usize, length: usize, stamp: u64) -> usize {
        let shorter = self.lengths.partition_point(|length| *length <= own);
        let within = shorter.checked_sub(1).map_or(0, |last| self.sums[last]);
        let turns = within + own * (self.lengths.len() - shorter);
        let longer = self.lengths.len() - shorter;
        let before = self.stamps.partition_point(|other| *other < stamp);
        // This principal is among them.
        let (turns, longer) =
            (turns.saturating_sub(length.min(own)), longer.saturating_sub(usize::from(length > own)));
        own + turns + before.min(longer)
    }
}

impl<T> Scheduler<T> {
    /// Where a query stands; `None` if it does not wait.
    pub(in super::super) fn standing(&mut self, now: u64, number: u64) -> Option<Standing> {
        self.advance(now);
        let entry = self.entries.get(&number)?;
        entry.waiting.as_ref()?;
        let (name, class) = (Arc::clone(&entry.principal), entry.class);
        self.count(class);
        let flow = &self.principals.get(&name)?.flows[class];
        let own = flow.queue.range(..number).take(COUNTED).count();
        let ready = matches!(flow.place, Place::Ready(_));
        let length = if ready { flow.queue.len() } else { 0 };
        let ahead = self.classes[class].rounds.ahead(own, length, flow.stamp);
        let reason = match flow.place {
            Place::Out => Reason::Principal,
            Place::Parked(group, _) => Reason::Group(group),
            Place::Ready(_) if self.runs(class) >= self.shared(self.plan.classes[class].running) => {
                Reason::Class
            }
            Place::Ready(_) => Reason::All,
        };
        Some(Standing { ahead, reason })
    }

    fn count(&mut self, class: usize) {
        let state = &self.classes[class];
        let stale = state.rounds.made.is_none_or(|made| {
            state.rounds.changed && (state.ready.len() <= EXACT || self.now.saturating_sub(made) >= FRESH)
        });
        if !stale {
            return;
        }
        let principals = &self.principals;
        let length = |name| principals.get(name).map_or(0, |principal| principal.flows[class].queue.len());
        let mut lengths: Vec<usize> = state.ready.values().map(length).collect();
        lengths.sort_unstable();
        let mut sum = 0;
        let sums = lengths.iter().map(|length| {
            sum += length;
            sum
        });
        let sums = sums.collect();
        let stamps = state.oldest.keys().copied().collect();
        self.classes[class].rounds = Rounds { made: Some(self.now), changed: false, lengths, sums, stamps };
    }
}
