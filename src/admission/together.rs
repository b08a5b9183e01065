//! The limits of several gateways together: what each runs is counted in Redis, under a lease.
//!
//! Each gateway says who is first of each class in its queue, and asks for a slot for one of them. Redis, which knows what
//! all run, goes through those of all gateways in the order that one gateway has for its own: ageing, guarantees, weights,
//! then turns between principals; and lets one of the asking gateway's in if a slot is left when those before it have
//! theirs. So who waits at a gateway has their turn among all, whichever gateway a slot comes free at; those who wait for a
//! limit of their own have one in it. What is behind the first ones is each gateway's own affair. A gateway whose queries
//! wait asks each 25 ms, and is waited for so long; one that has not asked for 0.3 s is not.
//!
//! What a gateway runs is counted under its lease, which each turn renews: when the gateway is not heard of for that long,
//! its slots are free again. No limit is passed while Redis answers.
//!
//! When Redis does not answer, each gateway has its part of the limits (a limit divided by `admission.replicas`, at least
//! one), and counts alone. What ran before goes on. So in all at most so many run as the limit, and once more its parts for
//! all gateways but one: `limit + (replicas - 1) * max(1, limit / replicas)`, less than twice the limit where it is not
//! below `replicas`. The same bound holds when a gateway was cut off for longer than its lease and comes back.

#[cfg(test)]
mod counts;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::scheduler::{Elsewhere, Head, OLDEST_EACH};
use super::slots::{Sharing, Slots, State};
use crate::state::{Script, Scripts, StoreError};
use crate::units::hex;

/// How long a gateway whose queries wait for a slot waits before it asks again.
const POLL: Duration = Duration::from_millis(25);
/// A gateway whose queries wait, and that has not asked for this long, is not waited for.
const FRESH: Duration = Duration::from_millis(300);
/// How long a gateway waits before it asks a Redis that has not answered.
const RETRY: Duration = Duration::from_millis(500);
/// For so long after Redis has been found a gateway keeps to its part, until the others have found it, too, and said what
/// they run.
const GRACE: Duration = Duration::from_secs(2);
/// How long it is believed what a principal runs elsewhere.
const BELIEVED: Duration = Duration::from_millis(100);
/// Of those who wait for limits of their own so many are told of at most: principals', and groups'.
const BLOCKED: usize = 8;
/// Behind so many of these it is looked at once who else may be let in.
const MOST_OTHERS: usize = 64;
/// Where the keys begin; in braces what a cluster of Redis places them by.
const KEYS: [&str; 5] = [
    "northgate:{admission}:leases",
    "northgate:{admission}:running",
    "northgate:{admission}:heads",
    "northgate:{admission}:turns",
    "northgate:{admission}:last",
];
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
    fresh: Duration,
    /// What Redis was told that this gateway runs, by field; `None`: all of it is to be told anew.
    told: Option<HashMap<String, usize>>,
    /// When Redis was found again.
    found: Option<Instant>,
    /// The fields of classes and of groups.
    classes: Vec<String>,
    groups: Vec<String>,
    /// Principals of whom it is known what they run elsewhere: until when that is believed.
    known: HashMap<Arc<str>, Instant>,
}

/// How a turn went.
enum Went {
    /// Nobody waits.
    Idle,
    /// Somebody was let in: at once again.
    On,
    /// Some wait for limits of their own, and others are behind them: at once again, a few times.
    Others,
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
        let (told, known) = (None, HashMap::new());
        Ok(Self {
            slots,
            scripts,
            script,
            id: hex(&id),
            lease,
            fresh: FRESH,
            told,
            found: None,
            classes,
            groups,
            known,
        })
    }

    /// Counts with the others, for ever. For a task of its own.
    pub async fn run(mut self) {
        let mut others = 0;
        loop {
            let pause = match self.turn().await {
                Ok(Went::On) => {
                    others = 0;
                    continue;
                }
                Ok(Went::Others) if others < MOST_OTHERS => {
                    others += 1;
                    continue;
                }
                Ok(Went::Others | Went::Waits) => POLL,
                Ok(Went::Idle) => self.lease / 4,
                Err(error) => {
                    self.alone(&error);
                    RETRY
                }
            };
            others = 0;
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
        self.known.clear();
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
        let (fields, heads, places) = {
            let slots = self.slots.clone();
            let mut state = slots.state();
            let fields = self.fields(&mut state);
            // Not before Redis knows what runs here.
            let heads = if state.sharing == Sharing::Together { self.heads(&mut state) } else { Vec::new() };
            (fields, heads, state.scheduler.places())
        };
        let arguments = self.arguments(&fields, &heads, &places);
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let answer: Vec<usize> = match self.scripts.run(&self.script, &KEYS, &arguments).await {
            Ok(answer) => answer,
            Err(error) => {
                self.told = None;
                return Err(error);
            }
        };
        let Some((_, [which, rest @ ..])) = answer.split_first() else {
            // The lease had ended: all is told anew.
            self.told = None;
            return Ok(Went::On);
        };
        let told = self.told.get_or_insert_default();
        told.extend(fields);
        told.retain(|_, runs| *runs > 0);
        let (of_heads, all) = rest.split_at((2 * heads.len()).min(rest.len()));
        Ok(self.learned(*which, of_heads, all, &heads))
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

    /// The limits of a query's own, and the fields that they are counted in: of its principal, in its class, of its groups.
    fn limits(&self, head: &Head) -> Vec<(String, usize)> {
        let (plan, at) = (&self.slots.0.plan, head.class);
        let own = self.principal(&head.principal);
        let mut limits = vec![(own.clone(), plan.running_per_principal)];
        if self.limits_principals(at) {
            limits.push((self.in_class(&own, at), plan.classes[at].running_per_principal));
        }
        let groups = head.groups.iter();
        limits.extend(groups.map(|at| (self.groups[*at].clone(), plan.groups[*at].running)));
        limits
    }

    /// Whom this gateway would let in next of each class, and some who wait for limits of their own.
    fn heads(&mut self, state: &mut State) -> Vec<Head> {
        let over = Instant::now();
        self.known.retain(|name, until| {
            let is_known = *until > over;
            if !is_known {
                state.scheduler.learn_of(name, 0);
            }
            is_known
        });
        let mut heads = state.scheduler.heads(self.slots.now());
        let of_principals = self.known.keys().filter_map(|name| state.scheduler.head_of(name));
        heads.extend(of_principals.take(BLOCKED));
        heads.extend(state.scheduler.parked().take(BLOCKED));
        heads
    }

    fn arguments(&self, fields: &[(String, usize)], heads: &[Head], places: &[usize]) -> Vec<String> {
        let plan = &self.slots.0.plan;
        let again = if self.told.is_none() { "1" } else { "0" };
        let mut words =
            vec![self.id.clone(), self.lease.as_millis().to_string(), OWN.to_owned(), again.to_owned()];
        words.push(fields.len().to_string());
        for (field, runs) in fields {
            words.extend([field.clone(), runs.to_string()]);
        }
        words.extend([plan.running.to_string(), (plan.ageing / 1_000).to_string(), OLDEST_EACH.to_string()]);
        words.push(self.fresh.as_millis().to_string());
        words.push(plan.classes.len().to_string());
        for (at, limits) in plan.classes.iter().enumerate() {
            words.push(self.classes[at].clone());
            let numbers = [limits.reserved, limits.guaranteed, limits.running, places[at]];
            words.extend(numbers.map(|number| number.to_string()));
        }
        words.push(plan.groups.len().to_string());
        words.extend(self.groups.iter().cloned());
        words.push(heads.len().to_string());
        for head in heads {
            words.extend([self.classes[head.class].clone(), self.principal(&head.principal)]);
            words.extend([head.waited, head.passed_over].map(|time| time.as_millis().to_string()));
            let limits = self.limits(head);
            words.push(limits.len().to_string());
            for (field, limit) in limits {
                words.extend([field, limit.to_string()]);
            }
        }
        words
    }

    fn principal(&self, name: &str) -> String {
        format!("p:{}", self.scripts.name(name))
    }

    /// Does what an answer says: which query was let in, what of each that was asked for, and what all run.
    fn learned(&mut self, which: usize, of_heads: &[usize], all: &[usize], heads: &[Head]) -> Went {
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
        let granted = which.checked_sub(1).and_then(|which| heads.get(which));
        if let Some(head) = granted {
            let mut fields = vec![ALL.to_owned(), self.classes[head.class].clone()];
            fields.extend(self.limits(head).into_iter().map(|(field, _)| field));
            let told = self.told.get_or_insert_default();
            fields.into_iter().for_each(|field| *told.entry(field).or_default() += 1);
        }
        self.count(&mut state, now, all);
        for (at, (head, figures)) in heads.iter().zip(of_heads.chunks_exact(2)).enumerate() {
            if at + 1 != which {
                self.know(&mut state, head, figures[0], figures[1]);
            }
        }
        if let Some(head) = granted {
            // One that has left meanwhile is told with the next turn.
            state.changed.insert(Arc::clone(&head.principal));
            if let Some(told) = state.scheduler.grant(now, head.number) {
                _ = told.send(());
            }
        }
        if state.scheduler.load().1 == 0 {
            return Went::Idle;
        }
        if granted.is_some() {
            return Went::On;
        }
        let asked = |head: &Head| heads.iter().any(|other| other.number == head.number);
        let are_blocked = of_heads.chunks_exact(2).any(|figures| figures[0] > 0);
        if (are_blocked || heads.is_empty()) && state.scheduler.heads(now).iter().any(|head| !asked(head)) {
            return Went::Others;
        }
        Went::Waits
    }

    /// How many run elsewhere where so many run in all.
    fn elsewhere(&self, field: &str, runs: usize) -> usize {
        let own = self.told.as_ref().and_then(|told| told.get(field).copied());
        runs.saturating_sub(own.unwrap_or(0))
    }

    /// Takes note of what all run: in all, by class, and by group.
    fn count(&self, state: &mut State, now: u64, all: &[usize]) {
        let Some((running, rest)) = all.split_first() else { return };
        if rest.len() != self.classes.len() + self.groups.len() {
            return;
        }
        let (of_classes, of_groups) = rest.split_at(self.classes.len());
        let each = |fields: &[String], all: &[usize]| {
            fields.iter().zip(all).map(|(field, runs)| self.elsewhere(field, *runs)).collect()
        };
        let counted = Elsewhere {
            running: self.elsewhere(ALL, *running),
            classes: each(&self.classes, of_classes),
            groups: each(&self.groups, of_groups),
        };
        state.scheduler.learn(now, counted);
    }

    /// Takes note of what the principal of a query runs, and which limit of the query's own is reached: of its principal,
    /// the first, or in the class, the second if there is one, others come before it; the limit of a group is known from
    /// what all run.
    fn know(&mut self, state: &mut State, head: &Head, reached: usize, runs: usize) {
        let is_full = reached == 1 || (reached == 2 && self.limits_principals(head.class));
        let elsewhere = if is_full {
            self.slots.0.plan.running_per_principal
        } else {
            self.elsewhere(&self.principal(&head.principal), runs)
        };
        state.scheduler.learn_of(&head.principal, elsewhere);
        if elsewhere == 0 {
            self.known.remove(&head.principal);
        } else {
            self.known.insert(Arc::clone(&head.principal), Instant::now() + BELIEVED);
        }
    }
}
