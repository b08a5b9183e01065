//! Who is let in next. Pure: events and times go in, grants come out; no clock, no tasks.
//!
//! Between classes, in this order: a class that has waited for longer than the ageing, but only each second time; a class
//! below what it is guaranteed; then by weights, as the shares of slot time that they have had. Within a class the
//! principal with the fewest running queries comes first, of those the one that was longest without a grant, so that a
//! principal's thousandth query waits behind everybody's first; each sixteenth grant of a class goes to the one that was
//! longest without, whatever it runs. Within a principal, first in, first out.
//!
//! Each step takes time that grows with the logarithm of how many wait, times the number of classes and of groups with
//! limits, which the configuration bounds.

mod class;
mod flow;
mod group;
mod head;
mod plan;
#[cfg(test)]
mod simulation;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use self::class::Class;
pub(super) use self::flow::{Place, Principal};
pub(super) use self::group::Group;
pub(super) use self::head::Head;
pub(super) use self::plan::{ClassPlan, GroupPlan, Plan};
pub use self::standing::{Reason, Standing};

use super::Whose;

/// Each so many grants of a class, the principal that was longest without one is next, whatever it runs.
pub(super) const OLDEST_EACH: u64 = 16;

/// Where somebody would enter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// The class, by its place in the plan.
    pub(super) class: usize,
    /// Whose query it is.
    pub(super) principal: &'a str,
    /// Their groups that have limits, by their places in the plan.
    pub(super) groups: &'a [usize],
}

/// A query that waits, with what its owner is told by, or runs.
#[derive(Debug)]
struct Entry<T> {
    principal: Arc<str>,
    class: usize,
    /// When.
    came: u64,
    /// `None` while it runs.
    waiting: Option<T>,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Whose queue.
    pub(super) whose: Whose,
    /// The class or group, by its place in the plan, if it is one's.
    pub(super) place: usize,
    /// How many may.
    pub(super) limit: usize,
}

/// What other replicas run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// In all.
    pub(super) running: usize,
    /// By class.
    pub(super) classes: Vec<usize>,
    /// By group.
    pub(super) groups: Vec<usize>,
}

/// The queries that wait and run. Times are microseconds from any beginning.
#[derive(Debug)]
pub(super) struct Scheduler<T> {
    plan: Plan,
    /// Among how many the limits are divided.
    share: usize,
    /// The time by this clock: it never goes back, and no jump of the one outside takes it far.
    now: u64,
    /// The last time outside.
    outside: u64,
    stamp: u64,
    last: u64,
    running: usize,
    elsewhere: Elsewhere,
    queued: usize,
    classes: Vec<Class>,
    groups: Vec<Group>,
    principals: HashMap<Arc<str>, Principal>,
    entries: HashMap<u64, Entry<T>>,
    /// Whom the last look found, and whether by age.
    found: Option<(u64, bool)>,
    /// Whether the last grant was by age.
    aged: bool,
}

impl<T> Scheduler<T> {
    /// Nobody there.
    pub(super) fn new(plan: Plan) -> Self {
        let classes = plan.classes.iter().map(|_| Class::default()).collect();
        let groups = plan.groups.iter().map(|_| Group::new(plan.classes.len())).collect();
        let elsewhere = Elsewhere {
            running: 0,
            classes: vec![0; plan.classes.len()],
            groups: vec![0; plan.groups.len()],
        };
        Self {
            plan,
            share: 1,
            now: 0,
            outside: 0,
            stamp: 0,
            last: 0,
            running: 0,
            elsewhere,
            queued: 0,
            classes,
            groups,
            principals: HashMap::new(),
            entries: HashMap::new(),
            found: None,
            aged: false,
        }
    }

    /// How many run here and wait here.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.running, self.queued)
    }

    /// How many of a class run here and wait here.
    pub(super) fn class_load(&self, class: usize) -> (usize, usize) {
        self.classes.get(class).map_or((0, 0), |class| (class.running, class.queued))
    }

    /// Whether a query waits, and not runs.
    #[cfg(test)]
    pub(super) fn is_waiting(&self, number: u64) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.waiting.is_some())
    }

    /// Joins the queue. Grants nothing by itself. One that would be let in next is not refused, however full it is.
    pub(super) fn enter(&mut self, now: u64, arrival: &Arrival<'_>, told: T) -> Result<u64, Full> {
        self.advance(now);
        let full = self.full(arrival);
        self.last += 1;
        let number = self.last;
        let name = match self.principals.get_key_value(arrival.principal) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(arrival.principal),
        };
        let classes = self.plan.classes.len();
        let principal = self.principals.entry(Arc::clone(&name)).or_insert_with(|| Principal::new(classes));
        if principal.running + principal.queued == 0 {
            // One who has something here keeps the groups that it came with.
            principal.groups = arrival.groups.into();
        }
        principal.queued += 1;
        let flow = &mut principal.flows[arrival.class];
        if flow.queue.is_empty() && flow.place == Place::Out {
            self.stamp += 1;
            flow.stamp = self.stamp;
        }
        flow.queue.insert(number);
        let groups = Arc::clone(&principal.groups);
        groups.iter().for_each(|group| self.groups[*group].queued += 1);
        self.queued += 1;
        self.wake(arrival.class);
        let class = &mut self.classes[arrival.class];
        class.queued += 1;
        class.rounds.change();
        let entry =
            Entry { principal: Arc::clone(&name), class: arrival.class, came: self.now, waiting: Some(told) };
        self.entries.insert(number, entry);
        self.place(&name, arrival.class);
        if let Some(full) = full
            && self.next(now) != Some(number)
        {
            self.leave(now, number);
            return Err(full);
        }
        Ok(number)
    }

    /// Takes a query out, whether it waits or runs: whether it was there. Grants nothing by itself.
    pub(super) fn leave(&mut self, now: u64, number: u64) -> bool {
        self.advance(now);
        let Some(entry) = self.entries.remove(&number) else { return false };
        let Some(principal) = self.principals.get_mut(&entry.principal) else { return false };
        let groups = Arc::clone(&principal.groups);
        let class = &mut self.classes[entry.class];
        let flow = &mut principal.flows[entry.class];
        class.rounds.change();
        if entry.waiting.is_some() {
            flow.queue.remove(&number);
            principal.queued -= 1;
            class.queued -= 1;
            self.queued -= 1;
            groups.iter().for_each(|group| self.groups[*group].queued -= 1);
        } else {
            flow.running -= 1;
            principal.running -= 1;
            class.running -= 1;
            self.running -= 1;
            groups.iter().for_each(|group| self.groups[*group].running -= 1);
        }
        self.place_all(&entry.principal);
        self.settle(&groups);
        if self.principals.get(&entry.principal).is_some_and(Principal::is_gone) {
            self.principals.remove(&entry.principal);
        }
        true
    }

    /// Whom to let in next; `None` if nobody may be.
    pub(super) fn next(&mut self, now: u64) -> Option<u64> {
        self.advance(now);
        let (class, by_age) = self.choose()?;
        let oldest = self.classes[class].granted % OLDEST_EACH == OLDEST_EACH - 1;
        let name = self.peek(class, oldest)?;
        let number = *self.principals.get(&name)?.flows[class].queue.first()?;
        self.found = Some((number, by_age));
        Some(number)
    }

    /// Lets a query in: what its owner is told by. `None` if it does not wait any more.
    pub(super) fn grant(&mut self, now: u64, number: u64) -> Option<T> {
        self.advance(now);
        let entry = self.entries.get_mut(&number)?;
        let told = entry.waiting.take()?;
        let (name, at) = (Arc::clone(&entry.principal), entry.class);
        self.aged = self.found.take().is_some_and(|(found, by_age)| found == number && by_age);
        self.stamp += 1;
        let principal = self.principals.get_mut(&name)?;
        principal.queued -= 1;
        principal.running += 1;
        let flow = &mut principal.flows[at];
        flow.queue.remove(&number);
        flow.running += 1;
        flow.stamp = self.stamp;
        for group in principal.groups.iter() {
            self.groups[*group].queued -= 1;
            self.groups[*group].running += 1;
        }
        let class = &mut self.classes[at];
        class.queued -= 1;
        class.running += 1;
        class.granted += 1;
        class.since = self.now;
        class.rounds.change();
        self.queued -= 1;
        self.running += 1;
        self.place_all(&name);
        let groups = self.principals.get(&name).map(|principal| Arc::clone(&principal.groups));
        self.settle(&groups.unwrap_or_default());
        Some(told)
    }

    /// Lets in whoever may be.
    pub(super) fn fill(&mut self, now: u64) -> Vec<(u64, T)> {
        let mut granted = Vec::new();
        while let Some(number) = self.next(now) {
            let Some(told) = self.grant(now, number) else { break };
            granted.push((number, told));
        }
        granted
    }

    /// The class that is next, and whether by age.
    fn choose(&mut self) -> Option<(usize, bool)> {
        let mut open = Vec::with_capacity(self.classes.len());
        for class in 0..self.classes.len() {
            if self.has_room(class) && self.peek(class, false).is_some() {
                open.push(class);
            }
        }
        let aged = open
            .iter()
            .copied()
            .filter(|class| self.now.saturating_sub(self.classes[*class].since) >= self.plan.ageing);
        let aged = aged.min_by_key(|class| self.classes[*class].since);
        if let Some(class) = aged
            && !(self.aged && open.len() > 1)
        {
            return Some((class, open.len() > 1));
        }
        // By how much of the guarantee is used: running / guaranteed, without fractions.
        let below = open.iter().copied().filter(|class| self.runs(*class) < self.guaranteed(*class));
        let below = below.min_by(|a, b| {
            let (first, second) = (self.runs(*a) * self.guaranteed(*b), self.runs(*b) * self.guaranteed(*a));
            first.cmp(&second).then_with(|| self.turn(*a).cmp(&self.turn(*b)))
        });
        if let Some(class) = below {
            return Some((class, false));
        }
        open.into_iter().min_by_key(|class| self.turn(*class)).map(|class| (class, false))
    }

    /// Whether there is a slot that a class may have.
    fn has_room(&self, class: usize) -> bool {
        let limit = self.shared(self.plan.running);
        let free = limit.saturating_sub(self.running + self.elsewhere.running);
        let kept: usize = (0..self.classes.len())
            .filter(|other| *other != class)
            .map(|other| self.shared_down(self.plan.classes[other].reserved).saturating_sub(self.runs(other)))
            .sum();
        free > kept && self.runs(class) < self.shared(self.plan.classes[class].running)
    }

    /// How many of a class run, here and elsewhere.
    fn runs(&self, class: usize) -> usize {
        self.classes[class].running + self.elsewhere.classes[class]
    }

    fn guaranteed(&self, class: usize) -> usize {
        self.shared_down(self.plan.classes[class].guaranteed)
    }

    /// A limit as it holds here: divided where others count for themselves, and at least one.
    fn shared(&self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (limit / self.share).max(1) }
    }

    fn shared_down(&self, limit: usize) -> usize {
        limit / self.share
    }

    /// Divides the limits among so many, each of which counts for itself; 1: they hold for all together.
    pub(super) fn divide(&mut self, share: usize) {
        if self.share != share.max(1) {
            self.share = share.max(1);
            if share > 1 {
                // What others run is not known.
                let nothing = |all: &mut Vec<usize>| all.iter_mut().for_each(|count| *count = 0);
                self.elsewhere.running = 0;
                nothing(&mut self.elsewhere.classes);
                nothing(&mut self.elsewhere.groups);
                self.principals.values_mut().for_each(|principal| principal.elsewhere = 0);
            }
            let names: Vec<Arc<str>> = self.principals.keys().cloned().collect();
            names.iter().for_each(|name| self.place_all(name));
            self.settle_all();
        }
    }

    /// Says what other replicas run.
    pub(super) fn learn(&mut self, now: u64, elsewhere: Elsewhere) {
        self.advance(now);
        if self.elsewhere != elsewhere {
            self.elsewhere = elsewhere;
            self.settle_all();
        }
    }

    /// Says how many queries of a principal other replicas run.
    pub(super) fn learn_of(&mut self, principal: &str, running: usize) {
        let Some((name, found)) = self.principals.get_key_value(principal) else { return };
        if found.elsewhere != running {
            let name = Arc::clone(name);
            if let Some(found) = self.principals.get_mut(&name) {
                found.elsewhere = running;
            }
            self.place_all(&name);
            self.settle_all();
        }
    }

    /// The principal and the class of a query.
    pub(super) fn whose(&self, number: u64) -> Option<(&Arc<str>, usize)> {
        self.entries.get(&number).map(|entry| (&entry.principal, entry.class))
    }

    /// How many queries of a principal run here.
    pub(super) fn runs_of(&self, principal: &str) -> usize {
        self.principals.get(principal).map_or(0, |found| found.running)
    }

    /// How many of them are of a class.
    pub(super) fn runs_of_in(&self, principal: &str, class: usize) -> usize {
        let flow = self.principals.get(principal).and_then(|found| found.flows.get(class));
        flow.map_or(0, |flow| flow.running as usize)
    }

    /// The principals who have something here.
    pub(super) fn principals(&self) -> impl Iterator<Item = &Arc<str>> {
        self.principals.keys()
    }

    /// How many queries of the members of a group run here.
    pub(super) fn group_running(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.running)
    }

    /// Whose queue would be too long with one more.
    fn full(&self, arrival: &Arrival<'_>) -> Option<Full> {
        let own = self.principals.get(arrival.principal).map_or(0, |principal| principal.queued);
        let over = |whose, place, waiting: usize, limit: usize| {
            // Of a queue of nought nobody has a part.
            let limit = if limit == 0 { 0 } else { (limit / self.plan.replicas).max(1) };
            (waiting >= limit).then_some(Full { whose, place, limit })
        };
        let class = &self.classes[arrival.class];
        over(Whose::Principal, 0, own, self.plan.queued_per_principal)
            .or_else(|| {
                let mut groups = arrival.groups.iter();
                groups.find_map(|at| {
                    over(Whose::Group, *at, self.groups[*at].queued, self.plan.groups[*at].queued)
                })
            })
            .or_else(|| {
                let limit = self.plan.classes[arrival.class].queued;
                over(Whose::Class, arrival.class, class.queued, limit)
            })
            .or_else(|| over(Whose::All, 0, self.queued, self.plan.queued))
    }
}
