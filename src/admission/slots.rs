//! Who runs, and who waits: the scheduler with its clock, and the guards of those who wait and run.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Config;
use super::classes::{Classes, Classified};
use super::error::{AdmissionError, Whose};
use super::scheduler::{Arrival, Full, Plan, Scheduler, Standing};
use crate::identity::Principal;

/// Whether the limits hold for several gateways together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This gateway has them alone.
    Alone,
    /// They are counted with others.
    Together,
    /// They would be, but the others cannot be asked: this gateway has its part of them.
    Divided,
}

/// The slots of the cluster. Clones are the same slots.
#[derive(Clone)]
pub struct Slots(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) classes: Classes,
    pub(super) plan: Plan,
    began: Instant,
    pub(super) state: Mutex<State>,
    /// Told when something has come or gone, where grants are given by [`super::together`].
    pub(super) wake: Notify,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler<oneshot::Sender<()>>,
    pub(super) sharing: Sharing,
    /// Principals whose running queries are others than the gateways' common count has been told.
    pub(super) changed: HashSet<Arc<str>>,
}

/// How many run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Queries with a slot.
    pub running: usize,
    /// Queries without.
    pub queued: usize,
}

/// The right to run one query; dropped, it is free for the next.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free for somebody else"]
pub struct Slot {
    _held: Held,
    waited: Duration,
}

/// A place in the queue, or the slot that has come of it. Dropped, it is given up.
#[derive(Debug)]
#[must_use = "a ticket that is dropped is given up"]
pub struct Ticket {
    held: Held,
    since: Instant,
    /// `None` once the grant was taken.
    grant: Option<oneshot::Receiver<()>>,
}

/// Where a query stands, for who asks while its ticket is elsewhere.
#[derive(Clone, Debug)]
pub struct Queued {
    slots: Slots,
    number: u64,
}

/// What is given back when dropped.
struct Held {
    slots: Slots,
    /// Nought when it has been passed on.
    number: u64,
}

impl Slots {
    /// All free. Refuses limits that let nobody in, and limits that contradict each other.
    ///
    /// # Errors
    /// [`AdmissionError::Config`] says which.
    pub fn new(config: &Config) -> Result<Self, AdmissionError> {
        let (classes, plan) = Classes::read(config)?;
        // Until the others are found, each has its part.
        let sharing = if plan.replicas > 1 { Sharing::Divided } else { Sharing::Alone };
        let mut scheduler = Scheduler::new(plan.clone());
        scheduler.divide(plan.replicas);
        let state = State { scheduler, sharing, changed: HashSet::new() };
        let wake = Notify::new();
        let began = Instant::now();
        Ok(Self(Arc::new(Shared { classes, plan, began, state: Mutex::new(state), wake })))
    }

    /// The classes.
    pub fn classes(&self) -> &Classes {
        &self.0.classes
    }

    /// Joins the queue. Where a slot is free and nobody is before it, the ticket is good at once.
    ///
    /// # Errors
    /// [`AdmissionError::QueueFull`]
    pub fn enter(&self, principal: &Principal, class: &Classified) -> Result<Ticket, AdmissionError> {
        self.enter_as(principal.name(), &self.0.classes.groups_of(principal), class.class)
    }

    /// The same by name alone.
    pub(super) fn enter_as(
        &self,
        principal: &str,
        groups: &[usize],
        class: usize,
    ) -> Result<Ticket, AdmissionError> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let mut state = self.state();
        let number = state.scheduler.enter(now, &Arrival { class, principal, groups }, sender);
        let number = number.map_err(|full| self.refused(full))?;
        self.grant(&mut state, now);
        drop(state);
        let held = Held { slots: self.clone(), number };
        Ok(Ticket { held, since: Instant::now(), grant: Some(receiver) })
    }

    fn refused(&self, full: Full) -> AdmissionError {
        let name = match full.whose {
            Whose::Group => self.0.classes.group_names().get(full.place),
            Whose::Class => self.0.classes.names().get(full.place),
            Whose::Principal | Whose::All => None,
        };
        let name = name.cloned().unwrap_or_default();
        AdmissionError::QueueFull { whose: full.whose, name, limit: full.limit }
    }

    /// How many run and wait now, here.
    pub fn load(&self) -> Load {
        let (running, queued) = self.state().scheduler.load();
        Load { running, queued }
    }

    /// How many of each class run and wait now, here.
    pub fn class_loads(&self) -> Vec<(Arc<str>, Load)> {
        let state = self.state();
        let loads = self.0.classes.names().iter().enumerate().map(|(at, name)| {
            let (running, queued) = state.scheduler.class_load(at);
            (Arc::clone(name), Load { running, queued })
        });
        loads.collect()
    }

    /// Whether the limits hold for several gateways together.
    pub fn sharing(&self) -> Sharing {
        self.state().sharing
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Gives free slots to those whose turn it is, or has them given. A grant counts as running from here; a ticket that
    /// is dropped afterwards gives it back.
    pub(super) fn grant(&self, state: &mut State, now: u64) {
        if state.sharing == Sharing::Together {
            self.0.wake.notify_one();
            return;
        }
        for (number, told) in state.scheduler.fill(now) {
            if let (Sharing::Divided, Some((name, _))) = (state.sharing, state.scheduler.whose(number)) {
                state.changed.insert(Arc::clone(name));
            }
            // The receiver is there: a ticket takes itself off the queue, under this lock, before it goes.
            _ = told.send(());
        }
    }

    fn leave(&self, number: u64) {
        let now = self.now();
        let mut state = self.state();
        if state.sharing != Sharing::Alone
            && let Some((name, _)) = state.scheduler.whose(number)
        {
            let name = Arc::clone(name);
            state.changed.insert(name);
        }
        if state.scheduler.leave(now, number) {
            self.grant(&mut state, now);
        }
    }
}

impl Ticket {
    /// Where the query stands; `None` if it has its slot.
    pub fn standing(&self) -> Option<Standing> {
        self.grant.as_ref()?;
        self.queued().standing()
    }

    /// Where to ask for its standing from elsewhere.
    pub fn queued(&self) -> Queued {
        Queued { slots: self.held.slots.clone(), number: self.held.number }
    }

    /// How long it has waited so far.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits for the slot. Given up (in a `select`, by a timeout), the place in the queue is kept, and so is a
    /// slot that came in that moment. Once only: afterwards it waits for ever.
    pub async fn slot(&mut self) -> Slot {
        if let Some(grant) = &mut self.grant
            // The sender is dropped only with its ticket.
            && grant.await.is_ok()
        {
            self.grant = None;
            let number = std::mem::take(&mut self.held.number);
            let held = Held { slots: self.held.slots.clone(), number };
            return Slot { _held: held, waited: self.since.elapsed() };
        }
        std::future::pending().await
    }
}

impl Queued {
    /// Where the query stands; `None` if it does not wait any more.
    pub fn standing(&self) -> Option<Standing> {
        let now = self.slots.now();
        self.slots.state().scheduler.standing(now, self.number)
    }

    /// The name of the group that a standing is about.
    pub fn group(&self, at: usize) -> Arc<str> {
        self.slots.0.classes.group_names().get(at).cloned().unwrap_or_default()
    }
}

impl Slot {
    /// How long the query waited for it.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.number != 0 {
            self.slots.leave(self.number);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("number", &self.number).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slots").field(&self.load()).finish()
    }
}
