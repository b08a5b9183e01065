//! The queries of one principal in one class, and where they stand among those of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Scheduler;

/// Where a principal stands in a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing waits, or its own limit is reached.
    Out,
    /// May be next, under this key.
    Ready((u32, u64)),
    /// Waits for the limit of a group, under this key.
    Parked(usize, (u32, u64)),
}

#[derive(Debug)]
pub(crate) struct Flow {
    /// Those who wait, by their numbers.
    pub(super) queue: BTreeSet<u64>,
    pub(super) running: u32,
    /// When it was let in last, or came: a count, not a time.
    pub(super) stamp: u64,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(crate) struct Principal {
    pub(super) running: usize,
    pub(super) queued: usize,
    /// Queries of theirs that other replicas run, as far as is known.
    pub(super) elsewhere: usize,
    /// Their groups with limits.
    pub(super) groups: Arc<[usize]>,
    /// By class.
    pub(super) flows: Box<[Flow]>,
}

impl Principal {
    pub(super) fn new(classes: usize) -> Self {
        let flow = || Flow { queue: BTreeSet::new(), running: 0, stamp: 0, place: Place::Out };
        Self {
            running: 0,
            queued: 0,
            elsewhere: 0,
            groups: Arc::default(),
            flows: std::iter::repeat_with(flow).take(classes).collect(),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.running + self.queued == 0
    }
}

impl<T> Scheduler<T> {
    /// Brings a principal to its places in all classes.
    pub(super) fn place_all(&mut self, name: &Arc<str>) {
        for class in 0..self.classes.len() {
            self.place(name, class);
        }
    }

    /// Brings a principal to its place in a class.
    pub(super) fn place(&mut self, name: &Arc<str>, class: usize) {
        let own = self.shared(self.plan.running_per_principal);
        let of_class = self.shared(self.plan.classes[class].running_per_principal);
        let Some(principal) = self.principals.get(name) else { return };
        let flow = &principal.flows[class];
        let elsewhere = u32::try_from(principal.elsewhere).unwrap_or(u32::MAX);
        let key = (flow.running.saturating_add(elsewhere), flow.stamp);
        let free = principal.running + principal.elsewhere < own && (flow.running as usize) < of_class;
        let wanted = !flow.queue.is_empty() && free;
        match flow.place {
            // It stays parked until its group has room.
            Place::Ready(at) | Place::Parked(_, at) if wanted && at == key => {}
            _ => self.put(name, class, if wanted { Place::Ready(key) } else { Place::Out }),
        }
    }

    /// Puts a principal in a place, and out of the one before.
    pub(super) fn put(&mut self, name: &Arc<str>, class: usize, place: Place) {
        let Some(principal) = self.principals.get_mut(name) else { return };
        let before = std::mem::replace(&mut principal.flows[class].place, place);
        let groups = Arc::clone(&principal.groups);
        let state = &mut self.classes[class];
        state.rounds.change();
        match before {
            Place::Out => {}
            Place::Ready(key) => {
                state.ready.remove(&key);
                state.oldest.remove(&key.1);
                groups.iter().for_each(|group| self.groups[*group].ready[class] -= 1);
            }
            Place::Parked(group, key) => drop(self.groups[group].parked[class].remove(&key)),
        }
        match place {
            Place::Out => {}
            Place::Ready(key) => {
                let state = &mut self.classes[class];
                state.ready.insert(key, Arc::clone(name));
                state.oldest.insert(key.1, Arc::clone(name));
                groups.iter().for_each(|group| self.groups[*group].ready[class] += 1);
            }
            Place::Parked(group, key) => {
                drop(self.groups[group].parked[class].insert(key, Arc::clone(name)));
            }
        }
    }

    /// The principal of a class that is next. Those whose group is at its limit are parked on the way.
    pub(super) fn peek(&mut self, class: usize, oldest: bool) -> Option<Arc<str>> {
        loop {
            let state = &self.classes[class];
            let found = if oldest {
                state.oldest.first_key_value().map(|(_, name)| name)
            } else {
                state.ready.first_key_value().map(|(_, name)| name)
            };
            let name = Arc::clone(found?);
            let principal = self.principals.get(&name)?;
            let groups = Arc::clone(&principal.groups);
            let full = groups.iter().copied().find(|group| self.group_room(*group) == 0);
            let (Some(full), Place::Ready(key)) = (full, principal.flows[class].place) else {
                return Some(name);
            };
            self.put(&name, class, Place::Parked(full, key));
            self.settle(&groups);
        }
    }
}
