//! Queries that Trino has done with, and whose last page nobody fetches: Python's client, for one, leaves the query behind by which
//! it learns what its server can, as soon as there is a row.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::Gateway;
use super::registry::Running;
use crate::upstream::Heard;

/// How long nobody has asked for a query before its cluster is asked whether it still works on it.
const SILENT: Duration = Duration::from_secs(5);
/// How many are asked about at once, and what each may take.
const ASKED_AT_ONCE: usize = 16;
const ASKED_FOR: Duration = Duration::from_secs(5);

impl Gateway {
    /// Frees the slots of queries that Trino has done with. Their clients may still come for what is left; where there are
    /// several gateways they may be at another one, which is asked about by itself.
    pub(super) async fn free_unread(&self) {
        if self.replicas.are_several() {
            return;
        }
        let silent = futures_util::stream::iter(self.registry.idle(SILENT));
        silent.for_each_concurrent(ASKED_AT_ONCE, |running| self.free_if_done(running)).await;
    }

    async fn free_if_done(&self, running: Arc<Running>) {
        let asked = |_: &_| running.has_slot() && running.is_to_be_asked_about();
        let Some((cluster, path)) = running.upstream().filter(asked) else { return };
        let Some(cluster) = self.fleet.cluster(&cluster) else { return };
        if let Ok(Ok(Heard { ended: true, .. })) = tokio::time::timeout(ASKED_FOR, cluster.heard(&path)).await
        {
            running.free();
        }
    }
}
