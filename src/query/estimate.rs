//! What Trino expects a statement to read, where the rules of classes go by it.
//!
//! It is asked before the statement is of a class, and so before its intent is on record; nothing is run by it. Statements over
//! restricted tables have none: their class would tell of rows that their user may not see.

use std::time::Duration;

use http::HeaderMap;

use super::Gateway;
use super::plan::Planned;
use super::submit::submit_headers;
use crate::admission::{Classes, Facts};
use crate::identity::Authenticated;
use crate::rewrite::ScopedSql;
use crate::telemetry::StatementKind;
use crate::upstream::Cluster;
use crate::wire::Estimate;

/// How many are asked for at once, and how long a statement waits to be the next.
pub(super) const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

impl Gateway {
    /// What a statement is expected to read; `None` where no rule wants to know, or Trino does not say.
    pub(super) async fn estimate(
        &self,
        caller: &Authenticated,
        facts: &Facts<'_>,
        planned: &Planned,
    ) -> Option<Estimate> {
        // A question that fails would end the transaction.
        if caller.call().session().transaction.is_some() {
            return None;
        }
        let question = question(self.slots.classes(), facts, &planned.sql)?;
        let mut headers = submit_headers(caller, planned).ok()?;
        // By these a query is found again, and told from others: it is another than the statement's.
        for name in ["x-trino-trace-token", "x-trino-client-tags", "x-trino-client-info"] {
            headers.remove(name);
        }
        let _turn = tokio::time::timeout(PATIENCE, self.estimates.acquire()).await.ok()?.ok()?;
        asked(&planned.place, &question, headers).await
    }
}

/// What Trino is to be asked, if a rule goes by the answer.
pub(super) fn question(classes: &Classes, facts: &Facts<'_>, sql: &ScopedSql) -> Option<ScopedSql> {
    let reads = matches!(facts.kind, StatementKind::Query | StatementKind::Write);
    if reads && classes.wants_estimate(facts) { sql.estimate() } else { None }
}

/// What it answers.
pub(super) async fn asked(cluster: &Cluster, question: &ScopedSql, headers: HeaderMap) -> Option<Estimate> {
    match cluster.estimate(question, headers).await {
        Ok(estimate) => Some(estimate),
        Err(error) => {
            tracing::info!(%error, cluster = cluster.name(), "a statement has no estimate");
            None
        }
    }
}
