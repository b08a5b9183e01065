//! Limits of groups. Principals whose group is at its limit are parked: as many come back as there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Place, Scheduler};

#[derive(Debug)]
pub(crate) struct Group {
    pub(super) running: usize,
    pub(super) queued: usize,
    /// Principals of it that may be next, by class.
    pub(super) ready: Vec<usize>,
    /// Principals of it that wait for its limit, by class.
    pub(super) parked: Vec<BTreeMap<(u32, u64), Arc<str>>>,
}

impl Group {
    pub(super) fn new(classes: usize) -> Self {
        Self { running: 0, queued: 0, ready: vec![0; classes], parked: vec![BTreeMap::new(); classes] }
    }
}

impl<T> Scheduler<T> {
    /// How many more of a group may run.
    pub(super) fn group_room(&self, group: usize) -> usize {
        let runs = self.groups[group].running + self.elsewhere.groups[group];
        self.shared(self.plan.groups[group].running).saturating_sub(runs)
    }

    /// Brings back those who are parked, as far as their groups have room. In each class, as any may be the next.
    pub(super) fn settle(&mut self, groups: &[usize]) {
        for group in groups {
            let room = self.group_room(*group);
            for class in 0..self.classes.len() {
                while self.groups[*group].ready[class] < room
                    && let Some((key, name)) = self.groups[*group].parked[class].first_key_value()
                {
                    let (key, name) = (*key, Arc::clone(name));
                    self.put(&name, class, Place::Ready(key));
                }
            }
        }
    }

    pub(super) fn settle_all(&mut self) {
        let all: Vec<usize> = (0..self.groups.len()).collect();
        self.settle(&all);
    }
}
