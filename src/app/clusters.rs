//! What operators ask about clusters, and say of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::operated::ordered;
use super::{App, CHECK};
use crate::admin::ClusterRequest;
use crate::audit::Audit;
use crate::state::{Key, Kind, Store};
use crate::upstream::{Fleet, Report, State};

/// How long what an operator says of a cluster counts.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// Does it; what changes something is on record before.
pub(super) async fn answer(
    fleet: &Fleet,
    store: &Store,
    audit: &Audit,
    asked: ClusterRequest,
) -> Result<String, (StatusCode, String)> {
    let (cluster, state) = match asked {
        ClusterRequest::List => {
            let reports = fleet.reports();
            return Ok(told(&reports, &reports));
        }
        ClusterRequest::Tell { cluster, state } => (cluster, state),
    };
    let reports = fleet.reports();
    let Some(before) = reports.iter().find(|report| report.name == cluster) else {
        let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
        let why = format!("there is no cluster '{cluster}'; there are {}", names.join(", "));
        return Err((StatusCode::NOT_FOUND, why));
    };
    let word = state.map_or("as configured", |state| state.as_str());
    let detail = format!("{cluster}: {word}; it was {}", before.state.as_str());
    ordered(audit, "cluster", detail, "changed").await?;
    // Other gateways that share the state look there, and so does this one when it starts again.
    let key = place(&cluster);
    let kept = match state {
        Some(state) => store.put(key, &state, KEPT).await,
        None => store.remove(key).await,
    };
    if let Err(error) = kept {
        let why = format!("nothing is changed, as the other gateways cannot be told: {error}");
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let report = fleet.tell(&cluster, state);
    tracing::info!(cluster, state = word, "an operator says what a cluster is to do");
    Ok(told(report.as_slice(), &fleet.reports()))
}

fn place(cluster: &str) -> Key {
    Key::new(Kind::Cluster, cluster)
}

impl App {
    /// Goes by what operators have said of clusters, here or at other gateways, for ever. For a task of its own.
    pub(super) async fn hear_of_clusters(self: Arc<Self>) {
        if self.store.shared().is_none() {
            // It was told here, where it counts already.
            return;
        }
        loop {
            for report in self.fleet.reports() {
                // While the store does not answer, what it said last goes on to count.
                let Ok(state) = self.store.find::<State>(place(&report.name)).await else { continue };
                let was = report.configured.map(|_| report.state);
                if state != was
                    && self.fleet.tell(&report.name, state).is_some_and(|now| now.state != report.state)
                {
                    tracing::info!(
                        cluster = report.name,
                        ?state,
                        "an operator has said what a cluster is to do"
                    );
                }
            }
            tokio::time::sleep(CHECK).await;
        }
    }
}

/// What is told: clusters, and the groups whose queries no cluster takes.
fn told(clusters: &[Report], all: &[Report]) -> String {
    let groups: BTreeSet<&String> = all.iter().flat_map(|report| &report.groups).collect();
    let takes = |group: &String| {
        all.iter().any(|report| report.state == State::Active && report.groups.contains(group))
    };
    let empty: Vec<&String> = groups.into_iter().filter(|group| !takes(group)).collect();
    serde_json::json!({ "clusters": clusters, "without_active": empty }).to_string()
}
