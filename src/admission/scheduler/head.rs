//! Who may be next of each class, for gateways that decide together which of them is.

use std::sync::Arc;
use std::time::Duration;

use super::{OLDEST_EACH, Place, Scheduler};

/// A query that may be next.
#[derive(Clone, Debug)]
pub(in super::super) struct Head {
    pub(in super::super) number: u64,
    pub(in super::super) class: usize,
    pub(in super::super) principal: Arc<str>,
    /// The groups with limits that its principal is in.
    pub(in super::super) groups: Arc<[usize]>,
    /// How long it has been here.
    pub(in super::super) waited: Duration,
    /// For how long nothing of its class was let in here.
    pub(in super::super) passed_over: Duration,
}

impl<T> Scheduler<T> {
    /// The first query of each class, whether there is a slot for it or not.
    pub(in super::super) fn heads(&mut self, now: u64) -> Vec<Head> {
        self.advance(now);
        let classes = 0..self.classes.len();
        classes.filter_map(|class| self.head(class)).collect()
    }

    fn head(&mut self, class: usize) -> Option<Head> {
        let oldest = self.classes[class].granted % OLDEST_EACH == OLDEST_EACH - 1;
        let name = self.peek(class, oldest)?;
        self.head_in(&name, class)
    }

    /// The first query of a principal whose limit is used elsewhere; `None` if it is used here, or nothing waits.
    pub(in super::super) fn head_of(&self, principal: &str) -> Option<Head> {
        let (name, found) = self.principals.get_key_value(principal)?;
        if found.running >= self.shared(self.plan.running_per_principal) {
            return None;
        }
        let mut flows = found.flows.iter().enumerate();
        let may = |class: usize| self.shared(self.plan.classes[class].running_per_principal);
        let class = flows.position(|(class, flow)| {
            !flow.queue.is_empty() && flow.place == Place::Out && (flow.running as usize) < may(class)
        })?;
        self.head_in(name, class)
    }

    /// The first queries that wait for the limits of their groups, of each group and class.
    pub(in super::super) fn parked(&self) -> impl Iterator<Item = Head> {
        let all = self.groups.iter().flat_map(|group| group.parked.iter().enumerate());
        all.filter_map(|(class, parked)| {
            let (_, name) = parked.first_key_value()?;
            self.head_in(name, class)
        })
    }

    fn head_in(&self, name: &Arc<str>, class: usize) -> Option<Head> {
        let principal = self.principals.get(name)?;
        let number = *principal.flows[class].queue.first()?;
        let came = self.entries.get(&number)?.came;
        let since = |time: u64| Duration::from_micros(self.now.saturating_sub(time));
        Some(Head {
            number,
            class,
            principal: Arc::clone(name),
            groups: Arc::clone(&principal.groups),
            waited: since(came),
            passed_over: since(self.classes[class].since),
        })
    }

    /// The place of each class among all by weights, 0 for the one that is next.
    pub(in super::super) fn places(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order.sort_by_key(|class| self.turn(*class));
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, class)| places[*class] = place);
        places
    }
}
