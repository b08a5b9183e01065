//! The outcomes that are missing because the process was killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Audit, Found};
use crate::upstream::{Fleet, Known};

/// How often, and how many times, Trino is asked before it is recorded that nothing is known.
const PAUSE: Duration = Duration::from_secs(5);
const TRIES: u32 = 12;

/// Records the outcomes of earlier runs that are missing, with what Trino still knows of their queries.
pub(super) async fn settle(audit: Arc<Audit>, fleet: Arc<Fleet>) {
    if audit.unfinished().is_empty() {
        return;
    }
    let mut known = HashMap::new();
    for turn in 1..=TRIES {
        let (list, whole) = fleet.remembered().await;
        known.extend(list.into_iter().map(|known| ((known.trace.clone(), known.user.clone()), known)));
        if whole {
            break;
        }
        tracing::warn!(turn, "not all clusters say what became of queries before the restart");
        tokio::time::sleep(PAUSE).await;
    }
    for unfinished in audit.unfinished() {
        let found = known.get(&(unfinished.query.clone(), unfinished.principal.clone())).map(
            |Known { query, state, error, .. }| Found {
                trino_query: Some(query.clone()),
                trino_state: Some(state.clone()),
                error: error.clone(),
            },
        );
        if let Err(error) = audit.settle(unfinished, found).await {
            // It is kept, or known again at the next start.
            tracing::error!(%error, query = unfinished.query, "an outcome could not be recorded");
        }
    }
    tracing::info!(
        queries = audit.unfinished().len(),
        "outcomes that were missing from before the restart are recorded"
    );
}
