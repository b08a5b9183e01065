//! What operators ask about clusters, and say of them.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::admin::ClusterRequest;
use crate::audit::{Audit, Event};
use crate::upstream::{Fleet, Report, State};

/// Does it; what changes something is on record before.
pub(super) async fn answer(
    fleet: &Fleet,
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
    let event = Event::Administration {
        action: "cluster".to_owned(),
        by: "operator, by the key of the admin listener".to_owned(),
        peer: None,
        detail: format!("{cluster}: {word}; it was {}", before.state.as_str()),
    };
    if let Err(error) = audit.record(&event).await {
        return Err((
            StatusCode::SERVICE_UNAVAILABLE,
            format!("nothing is changed, as it is not recorded: {error}"),
        ));
    }
    let report = fleet.tell(&cluster, state);
    tracing::info!(cluster, state = word, "an operator says what a cluster is to do");
    Ok(told(report.as_slice(), &fleet.reports()))
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
