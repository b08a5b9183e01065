//! How a gateway does, as its operators are told: on the admin listener, by `northgate status` and on a page. Nothing of users or
//! data is in it.

mod finding;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use finding::{Area, Finding, Level};

/// All of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Status {
    /// The gateway's version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// When this was so.
    pub now: Timestamp,
    /// Why it is not ready; nothing: it is.
    pub not_ready: Vec<String>,
    /// What should not stay so.
    pub findings: Vec<Finding>,
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// The gateways that share the state, this one among them; none while the store does not answer.
    pub gateways: Vec<Gateway>,
    /// What runs and waits, by class.
    pub classes: Vec<Class>,
    /// Whose limits the gateway counts by: `alone`, `together`, or `divided` while the others cannot be counted with.
    pub limits: String,
    /// The policies in force.
    pub policies: Policies,
    /// The Iceberg REST catalogs that are asked.
    pub catalogs: Vec<Catalog>,
    /// The audit.
    pub audit: Audit,
    /// What ends, the next one first.
    pub ends: Vec<End>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Whether it takes queries: `active`, `draining`, `inactive`.
    pub state: String,
    /// How it does.
    pub health: String,
    /// Trino's version, if it has said.
    pub version: Option<String>,
    /// Queries of this gateway there.
    pub queries: usize,
    /// By how many seconds its clock is ahead of ours.
    pub clock_ahead: Option<f64>,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Gateway {
    /// Its id. Each start has another.
    pub id: String,
    /// Whether it is the one that tells.
    pub this: bool,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
}

/// A class of queries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Those that have a slot.
    pub running: usize,
    /// Those that wait.
    pub queued: usize,
}

/// The policies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Policies {
    /// Their revision, which the audit names with each decision.
    pub revision: String,
    /// How many there are.
    pub count: usize,
    /// When they were loaded.
    pub loaded: Timestamp,
}

/// A catalog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Catalog {
    /// Trino's name of it.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// Whether its word on who may read holds.
    pub decides: bool,
}

/// The audit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Audit {
    /// The log's name.
    pub origin: String,
    /// Whether records can be written.
    pub writable: bool,
    /// Records under the last checkpoint: its position.
    pub sealed: u64,
    /// Those of them that enough witnesses signed; `None` without witnesses.
    pub witnessed: Option<u64>,
    /// Records that wait in memory.
    pub held: usize,
    /// Records of refusals that there was no memory for.
    pub lost: u64,
    /// Whether it is copied to its bucket; `None` without one.
    pub copying: Option<bool>,
    /// Bytes that wait to be copied: its lag.
    pub behind: u64,
    /// Bytes that are free for it.
    pub free: Option<u64>,
}

/// Something that ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct End {
    /// What it is.
    pub what: String,
    /// When.
    pub at: Timestamp,
}

/// A time, as people read it.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// For a terminal.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, started, policies, audit, .. } = self;
        let ready = if self.not_ready.is_empty() { "ready".to_owned() } else { self.not_ready.join("; ") };
        writeln!(f, "Northgate {version} since {}: {ready}", time(*started))?;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        writeln!(f, "\nclusters")?;
        for cluster in &self.clusters {
            let Cluster { name, state, health, version, queries, clock_ahead } = cluster;
            let version = version.as_deref().unwrap_or("of an unknown version");
            write!(f, "  {name}: {state}, {health}, Trino {version}, queries: {queries}")?;
            match clock_ahead {
                Some(ahead) => writeln!(f, ", clock ahead of ours by {ahead:.1} s")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "gateways")?;
        for gateway in &self.gateways {
            let this = if gateway.this { " (this one)" } else { "" };
            writeln!(
                f,
                "  {}: version {} since {}{this}",
                gateway.id,
                gateway.version,
                time(gateway.started)
            )?;
        }
        writeln!(f, "queries (limits: {})", self.limits)?;
        for Class { name, running, queued } in &self.classes {
            writeln!(f, "  {name}: {running} run, {queued} wait")?;
        }
        let Policies { revision, count, loaded } = policies;
        writeln!(f, "policies\n  {count} of revision {revision}, since {}", time(*loaded))?;
        for Catalog { name, uri, decides } in &self.catalogs {
            let word = if *decides { "decides" } else { "is asked for tags" };
            writeln!(f, "  the catalog {name} at {uri} {word}")?;
        }
        write!(f, "audit\n  {}: {} records sealed", audit.origin, audit.sealed)?;
        if let Some(witnessed) = audit.witnessed {
            write!(f, ", {witnessed} witnessed")?;
        }
        if let Some(copying) = audit.copying {
            let copied = if copying { "copied" } else { "NOT COPIED" };
            write!(f, ", {copied}, {} bytes behind", audit.behind)?;
        }
        let written = if audit.writable { "writable" } else { "NOT WRITABLE" };
        writeln!(f, ", {written}, {} held, {} lost", audit.held, audit.lost)?;
        writeln!(f, "ends next")?;
        for End { what, at } in self.ends.iter().take(5) {
            writeln!(f, "  {}: {what}", time(*at))?;
        }
        Ok(())
    }
}
