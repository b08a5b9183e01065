//! `northgate clusters`: the clusters of the gateway that runs on this machine, and whether they take queries.

use std::fmt::Write as _;

use clap::Subcommand;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Said, operator};
use crate::admin;

/// Names of clusters have nothing in them that is encoded; what is no such name is none.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// What `northgate clusters` does.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// Lets a cluster take no new queries. Those that it has go on to their end.
    Drain {
        /// Which.
        cluster: String,
    },
    /// Lets a cluster take queries.
    Activate {
        /// Which.
        cluster: String,
    },
    /// Leaves a cluster alone: it is not even asked how it is.
    Deactivate {
        /// Which.
        cluster: String,
    },
    /// Goes by the configuration again.
    Reset {
        /// Which.
        cluster: String,
    },
}

#[derive(Deserialize)]
struct Answered {
    clusters: Vec<Cluster>,
    #[serde(default)]
    without_active: Vec<String>,
}

#[derive(Deserialize)]
struct Cluster {
    name: String,
    groups: Vec<String>,
    state: String,
    configured: Option<String>,
    health: String,
    version: Option<String>,
    queries: usize,
}

/// Asks the gateway that runs with this configuration.
///
/// # Errors
/// What is wrong, in words.
pub fn clusters(command: Option<&ClusterCommand>, config: &admin::Config) -> Result<Said, String> {
    let (method, path) = request(command);
    said(&operator::ask(config, method, &path)?)
}

fn request(command: Option<&ClusterCommand>) -> (Method, String) {
    let (cluster, state) = match command {
        None => return (Method::GET, "/clusters".to_owned()),
        Some(ClusterCommand::Drain { cluster }) => (cluster, "draining"),
        Some(ClusterCommand::Activate { cluster }) => (cluster, "active"),
        Some(ClusterCommand::Deactivate { cluster }) => (cluster, "inactive"),
        Some(ClusterCommand::Reset { cluster }) => (cluster, "configured"),
    };
    (Method::POST, format!("/clusters/{}?state={state}", utf8_percent_encode(cluster, PLAIN)))
}

fn said(body: &str) -> Result<Said, String> {
    let answered: Answered = serde_json::from_str(body)
        .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
    let mut said = Said::default();
    for cluster in answered.clusters {
        let Cluster { name, groups, state, configured, health, version, queries } = cluster;
        let version = version.map_or_else(String::new, |version| format!(", Trino {version}"));
        let configured = configured.map_or_else(String::new, |state| format!(" (configured: {state})"));
        let groups = groups.join(", ");
        let _ = writeln!(
            said.out,
            "{name}: {state}{configured}, {health}{version}, queries: {queries}, groups: {groups}"
        );
    }
    for group in answered.without_active {
        let _ = writeln!(said.err, "no cluster of the group {group} is active: its queries are refused");
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers() {
        let named = |cluster: &str| ClusterCommand::Drain { cluster: cluster.to_owned() };
        assert_eq!(request(None), (Method::GET, "/clusters".to_owned()));
        assert_eq!(request(Some(&named("b-1"))).1, "/clusters/b-1?state=draining");
        assert_eq!(request(Some(&named("../reload?x"))).1, "/clusters/..%2Freload%3Fx?state=draining");
        let body = r#"{"clusters":[{"name":"blue","groups":["etl","adhoc"],"state":"draining","configured":"active",
            "health":"well","usable":false,"version":"476","queries":3,"ejections":0}],"without_active":["etl"]}"#;
        let said = said(body).expect("read");
        assert_eq!(
            said.out,
            "blue: draining (configured: active), well, Trino 476, queries: 3, groups: etl, adhoc\n"
        );
        assert_eq!(said.err, "no cluster of the group etl is active: its queries are refused\n");
    }
}
