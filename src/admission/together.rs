//! The limits of several gateways together: what each runs is counted in Redis, under a lease.
//!
//! Each gateway decides whom it would let in next, by what all run, and asks Redis, which grants the slot or says which
//! limit is reached; so no limit is passed while Redis answers, and reserved slots are kept. Guarantees, ageing, weights and
//! fair turns are of one gateway's queue. Of gateways that ask for a slot the one whose query has waited longest is first; but
//! a gateway asks when it sees a slot free, so one whose queue is never empty may keep the slots that it frees. What a gateway runs is counted under its lease, which each turn renews: when the gateway is
//! not heard of for that long, its slots are free again.
//!
//! When Redis does not answer, each gateway has its part of the limits (a limit divided by `admission.replicas`, at least
//! one), and counts alone. What ran before goes on. So in all at most so many run as the limit, and once more its parts for
//! all gateways but one: `limit + (replicas - 1) * max(1, limit / replicas)`, less than twice the limit where it is not
//! below `replicas`. The same bound holds when a gateway was cut off for longer than its lease and comes back.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::scheduler::Elsewhere;
use super::slots::{Sharing, Slots, State};
use crate::state::{Script, Scripts, StoreError};
use crate::units::hex;

/// How long a gateway whose queries wait for a slot waits before it asks again.
const POLL: Duration = Duration::from_millis(25);
/// How long a gateway waits before it asks a Redis that has not answered.
const RETRY: Duration = Duration::from_millis(500);
/// For so long after Redis has been found a gateway keeps to its part, until the others have found it, too, and said what
/// they run.
const GRACE: Duration = Duration::from_secs(2);
/// How long a principal is left out whose limit is used elsewhere.
const LEFT_OUT: Duration = Duration::from_millis(100);
/// Where the keys begin; in braces what a cluster of Redis places them by.
const KEYS: [&str; 3] =
    ["northgate:{admission}:leases", "northgate:{admission}:running", "northgate:{admission}:waiting"];
const OWN: &str = "northgate:{admission}:of:";
/// The field of all.
const ALL: &str = "all";

/// Counts with other gateways. One for a process, which has one task for it.
pub struct Together {
    slots: Slots,
    scripts: Scripts,
    script: Script,
    id: String,
    lease: Duration,
    /// What Redis was told that this gateway runs, by field; `None`: all of it is to be told anew.
    told: Option<HashMap<String, usize>>,
    /// When Redis was found again.
    found: Option<Instant>,
    /// The fields of classes and of groups.
    classes: Vec<String>,
    groups: Vec<String>,
    /// Principals whose limit is used elsewhere, until when.
    left_out: HashMap<Arc<str>, Instant>,
}

/// A query that is to be let in.
struct Candidate {
    number: u64,
    principal: Arc<str>,
    class: usize,
    groups: Arc<[usize]>,
    urgent: bool,
    waited: Duration,
}

/// How a turn went.
enum Went {
    /// Nobody may be let in.
    Idle,
    /// Somebody was, or somebody else may be: at once again.
    On,
    /// Those who wait do so for a slot.
    Waits,
}

impl Together {
    /// Counts with other gateways, once it [runs](Self::run).
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(slots: Slots, scripts: Scripts, lease: Duration) -> Result<Self, String> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| "no random numbers".to_owned())?;
        let script = Script::new(include_str!("together.lua"));
        // By name: a gateway that has another configuration counts the same.
        let classes = slots.0.classes.names().iter().map(|name| format!("c:{name}")).collect();
        let groups = slots.0.classes.group_names().iter().map(|name| format!("g:{}", scripts.name(name)));
        let groups = groups.collect();
        let (told, left_out) = (None, HashMap::new());
        Ok(Self { slots, scripts, script, id: hex(&id), lease, told, found: None, classes, groups, left_out })
    }

    /// Counts with the others, for ever. For a task of its own.
    pub async fn run(mut self) {
        loop {
            let pause = match self.turn().await {
                Ok(Went::On) => continue,
                Ok(Went::Waits) => POLL,
                Ok(Went::Idle) => self.lease / 4,
                Err(error) => {
                    self.alone(&error);
                    RETRY
                }
            };
            let woken = self.slots.0.wake.notified();
            if self.told.is_none() {
                tokio::time::sleep(pause).await;
            } else {
                let _ = tokio::time::timeout(pause, woken).await;
            }
        }
    }

    /// Redis does not answer: this gateway has its part.
    fn alone(&mut self, error: &StoreError) {
        (self.told, self.found) = (None, None);
        self.left_out.clear();
        let now = self.slots.now();
        let mut state = self.slots.state();
        if state.sharing == Sharing::Together {
            tracing::warn!(%error, "admission: Redis is lost; this gateway has its part of the limits");
            state.sharing = Sharing::Divided;
            state.scheduler.divide(self.slots.0.plan.replicas);
            self.slots.grant(&mut state, now);
        }
    }

    async fn turn(&mut self) -> Result<Went, StoreError> {
        let (fields, candidate) = {
            let slots = self.slots.clone();
            let mut state = slots.state();
            let fields = self.fields(&mut state);
            // Not before Redis knows what runs here.
            let candidate =
                if state.sharing == Sharing::Together { self.candidate(&mut state) } else { None };
            (fields, candidate)
        };
        let arguments = self.arguments(&fields, candidate.as_ref());
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let answer: Vec<usize> = match self.scripts.run(&self.script, &KEYS, &arguments).await {
            Ok(answer) => answer,
            Err(error) => {
                self.told = None;
                return Err(error);
            }
        };
        let Some((went, [which, rest @ ..])) = answer.split_first() else {
            // The lease had ended: all is told anew.
            self.told = None;
            return Ok(Went::On);
        };
        let told = self.told.get_or_insert_default();
        told.extend(fields);
        told.retain(|_, runs| *runs > 0);
        Ok(self.learned(*went, *which, rest, candidate))
    }

    /// What this gateway runs, by field, where it is not as Redis was told.
    fn fields(&mut self, state: &mut State) -> Vec<(String, usize)> {
        let changed: HashSet<Arc<str>> = std::mem::take(&mut state.changed);
        let mut now: Vec<(String, usize)> = vec![(ALL.to_owned(), state.scheduler.load().0)];
        let classes = self.classes.iter().enumerate();
        now.extend(classes.map(|(at, field)| (field.clone(), state.scheduler.class_load(at).0)));
        let groups = self.groups.iter().enumerate();
        now.extend(groups.map(|(at, field)| (field.clone(), state.scheduler.group_running(at))));
        if let Some(told) = &self.told {
            now.extend(changed.iter().flat_map(|name| self.of(name, state)));
            now.retain(|(field, runs)| told.get(field).copied().unwrap_or(0) != *runs);
        } else {
            let running = state.scheduler.principals();
            now.extend(running.flat_map(|name| self.of(name, state)));
            now.retain(|(_, runs)| *runs > 0);
        }
        now
    }

    /// What a principal runs here.
    fn of(&self, name: &Arc<str>, state: &State) -> Vec<(String, usize)> {
        let own = self.principal(name);
        let limited = (0..self.classes.len()).filter(|at| self.limits_principals(*at));
        let of_classes = limited.map(|at| (self.in_class(&own, at), state.scheduler.runs_of_in(name, at)));
        let mut of: Vec<(String, usize)> = of_classes.collect();
        of.push((own, state.scheduler.runs_of(name)));
        of
    }

    /// Whether a class has a limit of its own for each principal.
    fn limits_principals(&self, class: usize) -> bool {
        let plan = &self.slots.0.plan;
        plan.classes[class].running_per_principal < plan.running_per_principal
    }

    fn in_class(&self, principal: &str, class: usize) -> String {
        format!("{principal}:{}", self.classes[class])
    }

    /// The limits of a query, and the fields that they are counted in: of all, of its class, of its principal, and more.
    fn limits(&self, candidate: &Candidate) -> Vec<(String, usize)> {
        let (plan, at) = (&self.slots.0.plan, candidate.class);
        let own = self.principal(&candidate.principal);
        let mut limits = vec![
            (ALL.to_owned(), plan.running),
            (self.classes[at].clone(), plan.classes[at].running),
            (own.clone(), plan.running_per_principal),
        ];
        if self.limits_principals(at) {
            limits.push((self.in_class(&own, at), plan.classes[at].running_per_principal));
        }
        let groups = candidate.groups.iter();
        limits.extend(groups.map(|at| (self.groups[*at].clone(), plan.groups[*at].running)));
        limits
    }

    /// Whom this gateway would let in next.
    fn candidate(&mut self, state: &mut State) -> Option<Candidate> {
        let over = Instant::now();
        self.left_out.retain(|name, until| {
            let left_out = *until > over;
            if !left_out {
                state.scheduler.learn_of(name, 0);
            }
            left_out
        });
        let now = self.slots.now();
        let number = state.scheduler.next(now)?;
        let (principal, class) = state.scheduler.whose(number)?;
        let (principal, class) = (Arc::clone(principal), class);
        Some(Candidate {
            groups: state.scheduler.groups_of(&principal),
            urgent: state.scheduler.is_urgent(class),
            waited: state.scheduler.waited(number),
            number,
            principal,
            class,
        })
    }

    fn arguments(&self, fields: &[(String, usize)], candidate: Option<&Candidate>) -> Vec<String> {
        let plan = &self.slots.0.plan;
        let again = if self.told.is_none() { "1" } else { "0" };
        let mut words =
            vec![self.id.clone(), self.lease.as_millis().to_string(), OWN.to_owned(), again.to_owned()];
        words.push(fields.len().to_string());
        for (field, runs) in fields {
            words.extend([field.clone(), runs.to_string()]);
        }
        words.push(plan.classes.len().to_string());
        for (at, limits) in plan.classes.iter().enumerate() {
            words.extend([self.classes[at].clone(), limits.reserved.to_string()]);
        }
        words.push(plan.groups.len().to_string());
        words.extend(self.groups.iter().cloned());
        let Some(candidate) = candidate else { return words };
        words.push(self.classes[candidate.class].clone());
        words.push(if candidate.urgent { "0" } else { "1" }.to_owned());
        words.push(candidate.waited.as_millis().to_string());
        for (field, limit) in self.limits(candidate) {
            words.extend([field, limit.to_string()]);
        }
        words
    }

    fn principal(&self, name: &str) -> String {
        format!("p:{}", self.scripts.name(name))
    }

    /// Does what an answer says.
    fn learned(&mut self, went: usize, which: usize, all: &[usize], candidate: Option<Candidate>) -> Went {
        let slots = self.slots.clone();
        let now = slots.now();
        let mut state = slots.state();
        if state.sharing != Sharing::Together {
            if self.found.get_or_insert_with(Instant::now).elapsed() < GRACE {
                return Went::Waits;
            }
            tracing::info!("admission: the limits hold for all gateways together");
            state.sharing = Sharing::Together;
            state.scheduler.divide(1);
        }
        // What Redis counts includes what it was told of this gateway, and the slot that it has just granted.
        let granted = went == 1;
        let own = |told: &Self, field: &str| told.told.as_ref().and_then(|told| told.get(field).copied());
        if granted && let Some(candidate) = &candidate {
            let limits = self.limits(candidate);
            let told = self.told.get_or_insert_default();
            limits.into_iter().for_each(|(field, _)| *told.entry(field).or_default() += 1);
        }
        let elsewhere = |field: &str, runs: usize| runs.saturating_sub(own(self, field).unwrap_or(0));
        if let Some((running, rest)) = all.split_first() {
            let (of_classes, of_groups) = rest.split_at(self.classes.len().min(rest.len()));
            let count = |fields: &[String], all: &[usize]| {
                fields.iter().zip(all).map(|(field, runs)| elsewhere(field, *runs)).collect()
            };
            let counted = Elsewhere {
                running: elsewhere(ALL, *running),
                classes: count(&self.classes, of_classes),
                groups: count(&self.groups, of_groups),
            };
            if counted.classes.len() == self.classes.len() && counted.groups.len() == self.groups.len() {
                state.scheduler.learn(now, counted);
            }
        }
        let Some(candidate) = candidate else {
            // Found to be together only now: somebody may wait.
            return if state.scheduler.load().1 > 0 && state.scheduler.next(now).is_some() {
                Went::On
            } else {
                idle(&state)
            };
        };
        match went {
            1 => {
                // One that has left meanwhile is told with the next turn.
                state.changed.insert(Arc::clone(&candidate.principal));
                if let Some(told) = state.scheduler.grant(now, candidate.number) {
                    _ = told.send(());
                }
                Went::On
            }
            // The principal's own limit, the third, or in the class, the fourth if there is one: others may come.
            4 if which == 3 || (which == 4 && self.limits_principals(candidate.class)) => {
                state.scheduler.learn_of(&candidate.principal, slots.0.plan.running_per_principal);
                self.left_out.insert(candidate.principal, Instant::now() + LEFT_OUT);
                Went::On
            }
            // The limit of the class or of a group, which is known now.
            4 if state.scheduler.next(now) != Some(candidate.number) => Went::On,
            _ => Went::Waits,
        }
    }
}

/// Who waits though nothing was asked for does so for a limit that is used elsewhere, which is looked at again soon.
fn idle(state: &State) -> Went {
    if state.scheduler.load().1 > 0 { Went::Waits } else { Went::Idle }
}
