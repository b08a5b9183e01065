//! A cluster as a member of the fleet: what is set of it, how it does, and what it has to do.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::config::Described;
use super::health::Fitness;
use super::{Cluster, Config, Info, State};
use crate::catalog::Catalog;

/// What is set of a cluster in the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) groups: Vec<String>,
    pub(super) state: State,
}

/// One cluster of the fleet.
pub(super) struct Member {
    pub(super) cluster: Arc<Cluster>,
    /// What relations are, as this cluster has them.
    pub(super) catalog: Catalog,
    /// How it is reached: not changed while the gateway runs.
    reached: Config,
    set: ArcSwap<Set>,
    /// What an operator has said since, which counts before what is set.
    told: Mutex<Option<State>>,
    /// Queries of ours that are here, or wait to be sent here.
    placed: AtomicUsize,
    info: Mutex<Option<Info>>,
    /// What its clock said last, and when.
    clock: Mutex<Option<(String, Timestamp)>>,
    looking: AtomicBool,
    /// Whether a check has ever found it well.
    answered: AtomicBool,
}

/// What is told of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Whether it takes queries.
    pub state: State,
    /// What the configuration says of that, if an operator has said something else since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured: Option<State>,
    /// How it does: `well`, `coming back`, `not answering`, `left out`.
    pub health: &'static str,
    /// Whether queries can be sent there, as far as is known: it has answered a check, and does. One that does not answer is tried
    /// all the same where there is no other.
    pub usable: bool,
    /// Trino's version, as it last said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Queries of this gateway that are there, or wait to be sent there.
    pub queries: usize,
    /// How often it was left out since the gateway started.
    pub ejections: u64,
    /// What its clock said last (`Date`), and when that was by ours.
    #[serde(skip)]
    pub clock: Option<(String, Timestamp)>,
}

impl Member {
    pub(super) fn new(described: Described, cluster: Arc<Cluster>, catalog: Catalog) -> Self {
        let Described { config, groups, state } = described;
        Self {
            cluster,
            catalog,
            reached: config,
            set: ArcSwap::from_pointee(Set { groups, state }),
            told: Mutex::new(None),
            placed: AtomicUsize::new(0),
            info: Mutex::new(None),
            clock: Mutex::new(None),
            looking: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.cluster.name()
    }

    /// Whether it is reached in the same way.
    pub(super) fn is_at(&self, config: &Config) -> bool {
        self.reached.same(config)
    }

    /// Whether that is new.
    pub(super) fn set(&self, set: Set) -> bool {
        let set = Arc::new(set);
        *self.set.swap(Arc::clone(&set)) != *set
    }

    pub(super) fn tell(&self, state: Option<State>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn told(&self) -> Option<State> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.told().unwrap_or_else(|| self.set.load().state)
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.set.load().groups.iter().any(|own| own == group)
    }

    pub(super) fn fitness(&self) -> Fitness {
        self.cluster.health.fitness(Instant::now())
    }

    pub(super) fn placed(&self) -> usize {
        self.placed.load(Ordering::Relaxed)
    }

    pub(super) fn info(&self) -> Option<Info> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it takes queries, and the last check found it well.
    pub(super) fn is_ready(&self) -> bool {
        let well = self.info().is_some_and(|info| !info.starting);
        well && self.state() == State::Active && matches!(self.fitness(), Fitness::Fit(_))
    }

    /// Looks how it is, and tries whether it is well again if it was left out. One look at a time.
    pub(super) async fn look(&self) {
        if self.state() == State::Inactive || self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let found = self.cluster.checked().await.map(|(info, date)| {
            let clock = date.map(|date| (date, Timestamp::now()));
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
            info
        });
        let well = found.as_ref().is_ok_and(|info| !info.starting);
        self.cluster.health.checked(well, Instant::now());
        self.answered.fetch_or(well, Ordering::AcqRel);
        let before = {
            let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *info, found.as_ref().ok().cloned())
        };
        match found {
            Ok(info) if before.as_ref() != Some(&info) => {
                let Info { version, starting } = info;
                tracing::info!(cluster = self.name(), version, starting, "the cluster answers");
            }
            Err(error) if before.is_some() => {
                tracing::warn!(%error, cluster = self.name(), "the cluster is not well");
            }
            _ => {}
        }
        if well && self.fitness() == Fitness::Trial {
            match self.cluster.try_out().await {
                Ok(()) => tracing::info!(cluster = self.name(), "the cluster is well again"),
                Err(error) => {
                    tracing::warn!(%error, cluster = self.name(), "the cluster does not take queries");
                }
            }
        }
        self.looking.store(false, Ordering::Release);
    }

    pub(super) fn report(&self) -> Report {
        let (set, told, fitness) = (self.set.load(), self.told(), self.fitness());
        let state = told.unwrap_or(set.state);
        let (info, answered) = (self.info(), self.answered.load(Ordering::Acquire));
        let health = match fitness {
            _ if state == State::Inactive => "not asked",
            Fitness::Fit(_) if info.as_ref().is_some_and(|info| info.starting) => "starting",
            Fitness::Fit(_) if !answered => "not answering",
            Fitness::Fit(share) if share < 1.0 => "coming back",
            Fitness::Fit(_) => "well",
            Fitness::Doubtful => "not answering",
            Fitness::Trial | Fitness::Out => "left out",
        };
        Report {
            name: self.name().to_owned(),
            groups: set.groups.clone(),
            state,
            configured: told.filter(|told| *told != set.state).map(|_| set.state),
            health,
            usable: answered && state == State::Active && matches!(fitness, Fitness::Fit(_)),
            version: info.map(|info| info.version),
            queries: self.placed(),
            ejections: self.cluster.health.ejections(),
            clock: self.clock.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A query's place at a cluster, which counts there while it lives.
#[must_use = "a place that is dropped is free"]
pub struct Place(Arc<Member>);

impl Place {
    pub(super) fn at(member: Arc<Member>) -> Self {
        member.placed.fetch_add(1, Ordering::Relaxed);
        Self(member)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        self.0.name()
    }

    /// What relations are there.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The version of its Trino, as it last said.
    pub fn version(&self) -> Option<String> {
        self.0.info().map(|info| info.version)
    }

    /// Whether the cluster still takes queries.
    pub fn is_open(&self) -> bool {
        self.0.state() == State::Active && matches!(self.0.fitness(), Fitness::Fit(_) | Fitness::Doubtful)
    }

    /// Whether the cluster is left alone.
    pub fn is_left_alone(&self) -> bool {
        self.0.state() == State::Inactive
    }
}

impl Deref for Place {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.0.cluster
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.cluster()).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.placed.fetch_sub(1, Ordering::Relaxed);
    }
}
