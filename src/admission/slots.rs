//! Who runs, and who waits.
//!
//! A query that finds no slot free waits in its principal's queue, first in, first out; the principals take
//! turns. A principal whose own limit is reached is left out until one of its queries ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{AdmissionError, Config, Metered, Whose};

/// The slots of the cluster. Clones are the same slots.
#[derive(Clone)]
pub struct Slots(Arc<Shared>);

struct Shared {
    running: usize,
    running_per_principal: usize,
    queued: usize,
    queued_per_principal: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    queued: usize,
    last: u64,
    /// Only principals with something running or waiting.
    principals: BTreeMap<Arc<str>, Account>,
    /// The principals that wait and are below their own limit, the next one first.
    turns: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct Account {
    running: usize,
    /// In order of their numbers.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    grant: oneshot::Sender<()>,
}

/// How many run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Queries with a slot.
    pub running: usize,
    /// Queries without.
    pub queued: usize,
}

/// Where a waiting query stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many will be let in before it, if nothing else comes or goes.
    pub ahead: usize,
    /// Whose limit it waits for.
    pub whose: Whose,
}

/// The right to run one query; dropped, it is free for the next.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free for somebody else"]
pub struct Slot {
    held: Held,
    waited: Duration,
}

/// A place in the queue, or the slot that has come of it. Dropped, it is given up.
#[derive(Debug)]
#[must_use = "a ticket that is dropped is given up"]
pub struct Ticket {
    shared: Slots,
    principal: Arc<str>,
    number: u64,
    since: Instant,
    /// `None` once the grant was taken.
    grant: Option<oneshot::Receiver<()>>,
}

/// What is given back when dropped.
struct Held {
    shared: Slots,
    principal: Arc<str>,
}

impl Slots {
    /// All free. Refuses limits of nought, and limits of one that are above those of all.
    pub fn new(config: &Config) -> Result<Self, AdmissionError> {
        let wrong = |why| Err(AdmissionError::Config(why));
        if config.running == 0 || config.running_per_principal == 0 {
            return wrong("running and running_per_principal must be at least 1");
        }
        if config.running_per_principal > config.running {
            return wrong("running_per_principal must not be above running");
        }
        if config.queued_per_principal > config.queued {
            return wrong("queued_per_principal must not be above queued");
        }
        Ok(Self(Arc::new(Shared {
            running: config.running,
            running_per_principal: config.running_per_principal,
            queued: config.queued,
            queued_per_principal: config.queued_per_principal,
            state: Mutex::new(State::default()),
        })))
    }

    /// Joins the queue. Where a slot is free and nobody is before it, the ticket is good at once.
    pub fn enter(&self, metered: &Metered) -> Result<Ticket, AdmissionError> {
        self.enter_as(metered.authenticated().principal().name())
    }

    /// The same by name alone.
    pub(super) fn enter_as(&self, principal: &str) -> Result<Ticket, AdmissionError> {
        let mut state = self.state();
        let known = state.principals.get_key_value(principal);
        let (own_waiting, own_running) = known.map_or((0, 0), |(_, a)| (a.waiting.len(), a.running));
        let principal = known.map_or_else(|| Arc::from(principal), |(name, _)| Arc::clone(name));
        // Those who wait for nothing but their own limit don't keep others from a free slot.
        let free = state.running < self.0.running && state.turns.is_empty();
        if !(free && own_waiting == 0 && own_running < self.0.running_per_principal) {
            if own_waiting >= self.0.queued_per_principal {
                let limit = self.0.queued_per_principal;
                return Err(AdmissionError::QueueFull { whose: Whose::Principal, limit });
            }
            if state.queued >= self.0.queued {
                return Err(AdmissionError::QueueFull { whose: Whose::All, limit: self.0.queued });
            }
        }
        state.last += 1;
        let number = state.last;
        let (sender, receiver) = oneshot::channel();
        let account = state.principals.entry(Arc::clone(&principal)).or_default();
        account.waiting.push_back(Waiting { number, grant: sender });
        if account.waiting.len() == 1 && account.running < self.0.running_per_principal {
            state.turns.push_back(Arc::clone(&principal));
        }
        state.queued += 1;
        let ticket =
            Ticket { shared: self.clone(), principal, number, since: Instant::now(), grant: Some(receiver) };
        self.grant(&mut state);
        Ok(ticket)
    }

    /// How many run and wait now.
    pub fn load(&self) -> Load {
        let state = self.state();
        Load { running: state.running, queued: state.queued }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free slots to those whose turn it is. A grant counts as running from here; a ticket that is dropped
    /// afterwards gives it back.
    fn grant(&self, state: &mut State) {
        while state.running < self.0.running
            && let Some(principal) = state.turns.pop_front()
        {
            let Some(account) = state.principals.get_mut(&principal) else { continue };
            let Some(next) = account.waiting.pop_front() else { continue };
            account.running += 1;
            state.running += 1;
            state.queued -= 1;
            if !account.waiting.is_empty() && account.running < self.0.running_per_principal {
                state.turns.push_back(principal);
            }
            // The receiver is there: a ticket takes itself off the queue, under this lock, before it goes.
            _ = next.grant.send(());
        }
    }

    fn release(&self, principal: &Arc<str>) {
        let mut state = self.state();
        state.running -= 1;
        if let Some(account) = state.principals.get_mut(principal) {
            // From here on it is below its limit: if it wasn't before, it comes back into the round.
            let was_left_out = account.running >= self.0.running_per_principal;
            account.running -= 1;
            if account.waiting.is_empty() {
                if account.running == 0 {
                    state.principals.remove(principal);
                }
            } else if was_left_out {
                state.turns.push_back(Arc::clone(principal));
            }
        }
        self.grant(&mut state);
    }

    /// Takes a ticket off the queue; false if it is not there because it has been granted.
    fn leave(&self, principal: &Arc<str>, number: u64) -> bool {
        let mut state = self.state();
        let Some(account) = state.principals.get_mut(principal) else {
            return false;
        };
        let Ok(at) = account.waiting.binary_search_by_key(&number, |waiting| waiting.number) else {
            return false;
        };
        account.waiting.remove(at);
        if account.waiting.is_empty() {
            if account.running == 0 {
                state.principals.remove(principal);
            }
            state.turns.retain(|name| name != principal);
        }
        state.queued -= 1;
        true
    }

    fn standing(&self, principal: &Arc<str>, number: u64) -> Option<Standing> {
        let state = self.state();
        let account = state.principals.get(principal)?;
        let own = account.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        let turn = state.turns.iter().position(|name| name == principal);
        let others = state.turns.iter().enumerate().filter(|(_, name)| *name != principal);
        // Each round lets one of each principal in; those before us in the round are one ahead.
        let before: usize = others
            .map(|(at, name)| {
                let rounds = own + usize::from(turn.is_none_or(|turn| at < turn));
                state.principals.get(name).map_or(0, |other| other.waiting.len().min(rounds))
            })
            .sum();
        let whose = if turn.is_none() { Whose::Principal } else { Whose::All };
        Some(Standing { ahead: own + before, whose })
    }
}

impl Ticket {
    /// Where the query stands; `None` if it has its slot.
    pub fn standing(&self) -> Option<Standing> {
        self.grant.as_ref()?;
        self.shared.standing(&self.principal, self.number)
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
            let held = Held { shared: self.shared.clone(), principal: Arc::clone(&self.principal) };
            return Slot { held, waited: self.since.elapsed() };
        }
        std::future::pending().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.grant.is_some() && !self.shared.leave(&self.principal, self.number) {
            self.shared.release(&self.principal);
        }
    }
}

impl Slot {
    /// How long the query waited for it.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whose it is.
    pub fn principal(&self) -> &str {
        &self.held.principal
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.release(&self.principal);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slots").field(&self.load()).finish()
    }
}
