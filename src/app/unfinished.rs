//! The outcomes that are missing because the process was killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Audit, Found, Unfinished};
use crate::upstream::{Fleet, Known};

/// How often Trino is asked; how many times before it is recorded that nothing is known of a query; and of one that still
/// runs, as others follow it.
const PAUSE: Duration = Duration::from_secs(5);
const TRIES: u32 = 12;
const TRIES_RUNNING: u32 = 12 * 60 * 24;

/// Records the outcomes of earlier runs that are missing, with what Trino still knows of their queries. One that still runs
/// there, since another gateway serves its pages, is recorded when it has ended.
pub(super) async fn settle(audit: Arc<Audit>, fleet: Arc<Fleet>) {
    let mut open: Vec<&Unfinished> = audit.unfinished().iter().collect();
    for turn in 1..=TRIES_RUNNING {
        if open.is_empty() {
            return;
        }
        let (list, whole) = fleet.remembered().await;
        let known: HashMap<(&str, &str), &Known> =
            list.iter().map(|known| ((known.trace.as_str(), known.user.as_str()), known)).collect();
        if !whole {
            tracing::warn!(turn, "not all clusters say what became of queries before the restart");
        }
        let mut still = Vec::new();
        let all = open.len();
        for unfinished in open {
            let found = known.get(&(unfinished.query.as_str(), unfinished.principal.as_str())).copied();
            let runs = found.is_some_and(|known| !known.is_final()) && turn < TRIES_RUNNING;
            let unasked = found.is_none() && !whole && turn < TRIES;
            if runs || unasked {
                still.push(unfinished);
                continue;
            }
            let found = found.map(|Known { query, state, error, .. }| Found {
                trino_query: Some(query.clone()),
                trino_state: Some(state.clone()),
                error: error.clone(),
            });
            if let Err(error) = audit.settle(unfinished, found).await {
                // It is kept, or known again at the next start.
                tracing::error!(%error, query = unfinished.query, "an outcome could not be recorded");
            }
        }
        open = still;
        let queries = all - open.len();
        if queries > 0 {
            tracing::info!(queries, "outcomes that were missing from before the restart are recorded");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
