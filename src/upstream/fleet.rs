//! All clusters: which one takes a query, and where links lead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::config::Described;
use super::health::Fitness;
use super::member::{Member, Place, Report, Set};
use super::{Cluster, Config, Info, Known, RoutingConfig, Sender, State, UpstreamError};
use crate::catalog::{self, Catalog, TableName};

/// All clusters.
pub struct Fleet {
    members: ArcSwap<Vec<Arc<Member>>>,
    routing: ArcSwap<RoutingConfig>,
    /// What new members' catalogs are made from.
    catalog: Catalog,
    /// Of several that have as little to do, each gets its turn.
    turn: AtomicUsize,
}

impl Fleet {
    /// Checks the sections and reads their files. No connection is made.
    ///
    /// # Errors
    /// [`UpstreamError::Config`]: what is wrong, and where.
    pub fn new(
        config: &Config,
        routing: RoutingConfig,
        catalog: catalog::Config,
    ) -> Result<Self, UpstreamError> {
        let mut of_rest = Some(catalog);
        let mut members = Vec::new();
        let mut first: Option<Catalog> = None;
        for described in config.described()? {
            let cluster = Arc::new(Cluster::new(&described.config)?);
            let engine = Arc::<Cluster>::clone(&cluster);
            let catalog = match (&first, of_rest.take()) {
                (Some(first), _) => first.beside(engine),
                (None, config) => {
                    Catalog::new(engine, config.unwrap_or_default()).map_err(UpstreamError::Config)?
                }
            };
            first.get_or_insert_with(|| catalog.clone());
            members.push(Arc::new(Member::new(described, cluster, catalog)));
        }
        let catalog = first.ok_or_else(|| UpstreamError::Config("there is no cluster".to_owned()))?;
        Ok(Self {
            members: ArcSwap::from_pointee(members),
            routing: ArcSwap::from_pointee(routing),
            catalog,
            turn: AtomicUsize::new(0),
        })
    }

    /// The group that a query goes to.
    pub fn group(&self, sender: &Sender<'_>) -> String {
        self.routing.load().group(sender).to_owned()
    }

    /// A place for a query in a group: at the cluster that has the least to do for its share, of those that are well and
    /// were not `tried`.
    ///
    /// # Errors
    /// [`UpstreamError::NoCluster`].
    pub fn place(&self, group: &str, tried: &[String]) -> Result<Place, UpstreamError> {
        let members = self.members.load();
        let open = |member: &&Arc<Member>| {
            member.state() == State::Active
                && member.is_in(group)
                && !tried.iter().any(|name| name == member.name())
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (before, behind) = members.split_at(turn % members.len().max(1));
        let mut best: Option<(bool, f64, &Arc<Member>)> = None;
        for member in behind.iter().chain(before).filter(open) {
            let (doubtful, share) = match member.fitness() {
                Fitness::Fit(share) => (false, share),
                Fitness::Doubtful => (true, 1.0),
                Fitness::Trial | Fitness::Out => continue,
            };
            #[expect(clippy::cast_precision_loss, reason = "there are far fewer queries than 2^52")]
            let load = (member.placed() + 1) as f64 / share;
            if best.is_none_or(|(other, least, _)| (doubtful, load) < (other, least)) {
                best = Some((doubtful, load, member));
            }
        }
        let (.., member) = best.ok_or_else(|| UpstreamError::NoCluster { group: group.to_owned() })?;
        Ok(Place::at(Arc::clone(member)))
    }

    /// A place at a cluster that must be this one, as a transaction is open there. `None` if it is not there any more, or
    /// left alone.
    pub fn place_at(&self, cluster: &str) -> Option<Place> {
        let member = self.member(cluster)?;
        (member.state() != State::Inactive).then(|| Place::at(member))
    }

    /// The cluster that a link leads to, whatever its state.
    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.member(name).map(|member| Arc::clone(&member.cluster))
    }

    fn member(&self, name: &str) -> Option<Arc<Member>> {
        self.members.load().iter().find(|member| member.name() == name).cloned()
    }

    /// Forgets descriptions, at all clusters.
    pub fn forget(&self, names: &[TableName]) {
        if !names.is_empty() {
            self.members.load().iter().for_each(|member| member.catalog.forget(names));
        }
    }

    /// Whether a query could be run now: an active cluster is well.
    pub fn is_ready(&self) -> bool {
        self.members.load().iter().any(|member| member.is_ready())
    }

    /// What an active cluster said of itself last.
    pub fn info(&self) -> Option<Info> {
        let members = self.members.load();
        let mut active = members.iter().filter(|member| member.state() == State::Active);
        active.find_map(|member| member.info())
    }

    /// The public keys by which clusters check the gateway's tokens: a JWK Set.
    pub fn jwks(&self) -> String {
        let mut keys: Vec<serde_json::Value> = Vec::new();
        for member in self.members.load().iter() {
            let set =
                member.cluster.jwks().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            for key in set.iter().filter_map(|set| set["keys"].as_array()).flatten() {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
        }
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// What all clusters remember of queries, and whether all of them said.
    pub async fn remembered(&self) -> (Vec<Known>, bool) {
        let (mut all, mut whole) = (Vec::new(), true);
        for member in self.members.load_full().iter() {
            match member.cluster.remembered().await {
                Ok(known) => all.extend(known),
                Err(error) => {
                    whole &= member.state() == State::Inactive;
                    tracing::warn!(%error, cluster = member.name(), "the cluster does not say what it remembers");
                }
            }
        }
        (all, whole)
    }

    /// What there is to tell of each cluster.
    pub fn reports(&self) -> Vec<Report> {
        self.members.load().iter().map(|member| member.report()).collect()
    }

    /// Says for a cluster whether it takes queries, in the place of what is configured, or `None` for that again. `None` if
    /// there is no such cluster.
    pub fn tell(&self, cluster: &str, state: Option<State>) -> Option<Report> {
        let member = self.member(cluster)?;
        member.tell(state);
        Some(member.report())
    }

    /// Puts another configuration in force: states, groups and rules, and clusters that are new. One that is no longer
    /// there takes no more queries. Whether anything is new.
    ///
    /// # Errors
    /// [`UpstreamError::Config`]: nothing has changed. How a cluster is reached changes with a restart only.
    pub fn reload(&self, config: &Config, routing: RoutingConfig) -> Result<bool, UpstreamError> {
        let now = self.members.load_full();
        let (mut members, mut sets) = (Vec::new(), Vec::new());
        for described in config.described()? {
            if let Some(member) = now.iter().find(|member| member.name() == described.config.name) {
                if !member.is_at(&described.config) {
                    let why = "how it is reached has changed, which needs a restart, or another name";
                    return Err(UpstreamError::Config(format!("cluster '{}': {why}", member.name())));
                }
                let Described { groups, state, .. } = described;
                sets.push((Arc::clone(member), Set { groups, state }));
                members.push(Arc::clone(member));
            } else {
                let cluster = Arc::new(Cluster::new(&described.config)?);
                let catalog = self.catalog.beside(Arc::<Cluster>::clone(&cluster));
                members.push(Arc::new(Member::new(described, cluster, catalog)));
            }
        }
        let is_kept = |member: &&Arc<Member>| members.iter().any(|kept| kept.name() == member.name());
        let gone: Vec<Arc<Member>> = now.iter().filter(|member| !is_kept(member)).cloned().collect();
        for member in gone {
            sets.push((Arc::clone(&member), Set { groups: Vec::new(), state: State::Draining }));
            members.push(member);
        }
        let mut changed = members.len() != now.len() || **self.routing.load() != routing;
        for (member, set) in sets {
            changed |= member.set(set);
        }
        self.members.store(Arc::new(members));
        self.routing.store(Arc::new(routing));
        Ok(changed)
    }

    #[cfg(test)]
    pub(super) async fn look(&self, cluster: &str) {
        if let Some(member) = self.member(cluster) {
            member.look().await;
        }
    }

    /// Looks how the clusters are, for ever, with this pause between two looks. For a task of its own.
    pub async fn watch(&self, every: Duration) {
        loop {
            for member in self.members.load_full().iter() {
                let member = Arc::clone(member);
                tokio::spawn(async move { member.look().await });
            }
            tokio::time::sleep(every).await;
        }
    }
}
