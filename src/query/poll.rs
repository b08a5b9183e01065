//! What a client does with a link: asks for the next page, says that it is still there, or cancels.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use super::people::Admitted;
use super::record::outcome;
use super::registry::{FirstPage, Running, Served};
use super::relay::{Cut, Relayed, relay};
use super::tally::EXECUTING;
use super::{Answer, Gateway, QueryError, StatementError, answer};
use crate::admission::{Reason, Standing, Used};
use crate::audit::{Outcome, State};
use crate::cache::Cache;
use crate::error::{ErrorCode, Failure};
use crate::identity::Authenticated;
use crate::replica::Report;
use crate::telemetry::{About, UpstreamOperation, UpstreamOutcome};
use crate::upstream::{UpstreamError, Verb};
use crate::wire::{
    self, Link, LinkMethod, Origin, PageContext, PageRebuilder, PageSummary, Positions, Target,
};

/// How long a poll of a query that waits is held before it is answered with "still waiting".
const LONG_POLL: Duration = Duration::from_secs(1);
/// A link with this in it ends one stage of a query; nothing can be fetched from it.
const PARTIAL: &str = "/executing/partialCancel/";

impl Gateway {
    /// Serves a sealed link. A link that is not the caller's is not found.
    pub(super) async fn link(
        self: &Arc<Self>,
        caller: &Authenticated,
        method: LinkMethod,
        sealed: &str,
    ) -> Result<Answer, QueryError> {
        self.rate.poll(caller.principal().name(), caller.call().peer().address.ip()).await;
        let link = self.sealer.open_link(sealed, login(caller)).ok_or(QueryError::NoSuchQuery)?;
        let running = self.registry.find(&link.query);
        let trace = running.as_ref().map(|running| running.admitted.trace.clone()).unwrap_or_default();
        About::query(&link.query, trace).scope(self.linked(caller, method, &link, running)).await
    }

    pub(super) async fn linked(
        self: &Arc<Self>,
        caller: &Authenticated,
        method: LinkMethod,
        link: &Link,
        running: Option<Arc<Running>>,
    ) -> Result<Answer, QueryError> {
        if running.is_none()
            && method == LinkMethod::Get
            && let Some(page) = self.registry.last(&link.query)
        {
            return Ok(first(page));
        }
        let served = running.as_ref().map(Running::serve);
        let answer = self.answer_to(caller, method, link, running.as_ref(), served).await;
        if let Some(running) = &running {
            // It may have ended meanwhile, and waited for this page to be counted.
            self.registry.settle(running, false);
        }
        answer
    }

    async fn answer_to(
        self: &Arc<Self>,
        caller: &Authenticated,
        method: LinkMethod,
        link: &Link,
        running: Option<&Arc<Running>>,
        served: Option<Served>,
    ) -> Result<Answer, QueryError> {
        match (method, &link.target) {
            (LinkMethod::Get, Target::Kept(kept)) => self.kept_page(caller, link, kept, running).await,
            (LinkMethod::Get, Target::Local { .. }) => self.waiting(caller, link, running).await,
            // Of an earlier version, which gave out links to stages.
            (_, Target::Upstream { path }) if path.contains(PARTIAL) => Err(QueryError::NoSuchQuery),
            (LinkMethod::Get, Target::Upstream { path }) => {
                if running.is_none() && self.is_known_elsewhere(link).await {
                    return Err(QueryError::UnknownCluster);
                }
                Ok(self.poll(caller, link, path, running, served).await)
            }
            (LinkMethod::Head, Target::Local { .. } | Target::Kept(_)) => {
                self.seen_elsewhere(link, running);
                Ok(Answer::empty(StatusCode::OK))
            }
            (LinkMethod::Head, Target::Upstream { path }) => {
                self.seen_elsewhere(link, running);
                // A heartbeat: Trino counts it, and what it says of it does not matter to the driver.
                if let Err(error) = self.follow(caller, &link.cluster, path, Verb::Head).await {
                    tracing::debug!(kind = error.kind(), "a heartbeat did not reach the cluster");
                }
                Ok(Answer::empty(StatusCode::OK))
            }
            (LinkMethod::Delete, _) => {
                self.cancel(caller, link, running).await;
                Ok(Answer::empty(StatusCode::NO_CONTENT))
            }
        }
    }

    /// Whether a link leads to a cluster that is not known here, while the gateway that knows it lives: one of the two has not
    /// read the newest configuration. Then the query goes on, and its client asks again.
    async fn is_known_elsewhere(&self, link: &Link) -> bool {
        self.replicas.is_another(link.origin)
            && self.fleet.cluster(&link.cluster).is_none()
            && !self.replicas.is_gone(link.origin).await
    }

    /// Tells another gateway that the client of a query of its was here.
    fn seen_elsewhere(&self, link: &Link, running: Option<&Arc<Running>>) {
        if running.is_none() {
            self.replicas.report(link.origin, Report::of(&link.query));
        }
    }

    async fn follow(
        &self,
        caller: &Authenticated,
        cluster: &str,
        path: &str,
        verb: Verb,
    ) -> Result<crate::upstream::Response, StatementError> {
        let headers = wire::upstream_poll_headers(caller.principal().name())?;
        // A cluster that is not there any more has not the query either.
        let gone = || UpstreamError::Gone { cluster: cluster.to_owned(), status: StatusCode::GONE };
        let response = match self.fleet.cluster(cluster) {
            Some(cluster) => cluster.follow(path, verb, headers).await,
            None => Err(gone()),
        };
        let operation =
            if verb == Verb::Delete { UpstreamOperation::Cancel } else { UpstreamOperation::Poll };
        self.metrics
            .upstream(operation, response.as_ref().err().map_or(UpstreamOutcome::Ok, upstream_outcome));
        Ok(response?)
    }

    /// The first page, as soon as there is one.
    async fn waiting(
        self: &Arc<Self>,
        caller: &Authenticated,
        link: &Link,
        running: Option<&Arc<Running>>,
    ) -> Result<Answer, QueryError> {
        let page = match running {
            Some(running) => running.answered(LONG_POLL).await,
            None => match self.registry.ended(&link.query) {
                Some(page) => Some(page),
                None => return self.waiting_elsewhere(caller, link).await,
            },
        };
        Ok(match (page, running) {
            (Some(page), _) => first(page),
            (None, Some(running)) => self.still_waiting(caller, running),
            (None, None) => return Err(QueryError::NoSuchQuery),
        })
    }

    /// A page of our own for a query that waits here.
    pub(super) fn still_waiting(self: &Arc<Self>, caller: &Authenticated, running: &Arc<Running>) -> Answer {
        let before = running.is_linked();
        if let Some(page) = running.link() {
            return first(page);
        }
        if !before {
            self.publish(running);
        }
        let target = Target::Local { token: 0 };
        // Where it will run is not settled yet.
        let cluster = String::new();
        let (query, origin) = (running.id.clone(), self.replicas.id());
        let link = Link { query, origin, cluster, target, restricted: false, collected: false };
        let elapsed_ms = u64::try_from(running.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let origin = Origin { id: &running.id, base: caller.call().base(), elapsed_ms };
        match self.sealer.seal_link(&link, login(caller)) {
            Ok(sealed) => Answer::page(wire::queued_page(&origin, &sealed, waiting(running).as_deref())),
            Err(error) => Answer::page(wire::failure_page(&origin, &error)),
        }
    }

    async fn poll(
        self: &Arc<Self>,
        caller: &Authenticated,
        link: &Link,
        path: &str,
        running: Option<&Arc<Running>>,
        served: Option<Served>,
    ) -> Answer {
        let canceled = async {
            match running {
                Some(running) => running.until_canceled().await,
                None => std::future::pending().await,
            }
        };
        let followed = tokio::select! {
            biased;
            () = canceled => return self.cut_off(caller, link),
            followed = self.follow(caller, &link.cluster, path, Verb::Get) => followed,
        };
        let response = match followed {
            Ok(response) => response,
            Err(error) => return self.lost(caller, link, running, &error).await,
        };
        let headers = match self.answer_headers(login(caller), &link.cluster, &response.headers) {
            Ok(headers) => headers,
            Err(error) => return self.lost(caller, link, running, &error).await,
        };
        let map = match running {
            Some(running) => running.positions().cloned(),
            None => self.positions_elsewhere(link).await,
        };
        let positions = positions(map.as_ref());
        let context = self.page_context(caller.call().base(), login(caller), link, positions);
        let mut rebuilder = PageRebuilder::new(context);
        let collects = match running {
            Some(running) => running.collects(),
            None => self.cache.as_ref().filter(|_| link.collected).and_then(Cache::most_of_page),
        };
        if let Some(most) = collects {
            rebuilder = rebuilder.copying(most);
        }
        let page = page_number(path);
        let begun = Arc::new(OnceLock::new());
        let told = {
            let (gateway, begun) = (Arc::clone(self), Arc::clone(&begun));
            let running = running.cloned();
            let link = link.clone();
            Box::new(move |result: Result<PageSummary, Cut>| match running {
                Some(running) => {
                    gateway.told(&running, &link.cluster, page, result);
                    // The mark lives as long as the page is on its way.
                    drop(served);
                    gateway.registry.settle(&running, false);
                }
                None => gateway.told_elsewhere(&link, page, begun.get().copied(), result),
            })
        };
        match relay(response.body, rebuilder, told).await {
            Ok(Relayed::Whole(bytes, error)) => {
                if running.is_none()
                    && error.is_some_and(|error| error == ErrorCode::USER_CANCELED.name)
                    && let Some(page) = self.last_elsewhere(link).await
                {
                    return first(page);
                }
                Answer::with_headers(answer::whole(bytes), headers)
            }
            Ok(Relayed::Streaming(body)) => {
                // Before any of it is handed on.
                if running.is_none()
                    && let Some(sending) = self.begun_elsewhere(link, page)
                {
                    _ = begun.set(sending);
                }
                Answer::with_headers(body.boxed_unsync(), headers)
            }
            Err(error) => self.lost(caller, link, running, &error.into()).await,
        }
    }

    pub(super) fn page_context(
        &self,
        base: &str,
        login: &str,
        link: &Link,
        positions: Option<Arc<Positions>>,
    ) -> PageContext {
        PageContext {
            base: base.to_owned(),
            sealer: Arc::clone(&self.sealer),
            principal: login.to_owned(),
            query: link.query.clone(),
            origin: link.origin,
            cluster: link.cluster.clone(),
            restricted: link.restricted,
            collected: link.collected,
            positions,
            limit: wire::DEFAULT_LIMIT,
        }
    }

    /// The headers of Trino's answer that go to the client; a transaction that it started is sealed.
    pub(super) fn answer_headers(
        &self,
        login: &str,
        cluster: &str,
        upstream: &HeaderMap,
    ) -> Result<HeaderMap, StatementError> {
        let mut headers = wire::response_headers(upstream);
        if let Some(id) = wire::started_transaction(upstream) {
            let transaction = wire::Transaction { cluster: cluster.to_owned(), id: id.to_owned() };
            let sealed = self.sealer.seal_transaction(&transaction, login)?;
            wire::SessionChange::StartedTransaction(&sealed).write(&mut headers)?;
        }
        Ok(headers)
    }

    /// The end of a query that was cancelled while its client waited for a page.
    fn cut_off(&self, caller: &Authenticated, link: &Link) -> Answer {
        if let Some(page) = self.registry.last(&link.query) {
            return first(page);
        }
        let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms: 0 };
        Answer::page(wire::failure_page(&origin, &StatementError::Canceled))
    }

    /// A page that cannot be had, after all retries: the end of the query.
    async fn lost(
        &self,
        caller: &Authenticated,
        link: &Link,
        running: Option<&Arc<Running>>,
        error: &StatementError,
    ) -> Answer {
        if running.is_none()
            && let Some(page) = self.last_elsewhere(link).await
        {
            return first(page);
        }
        tracing::warn!(query = %link.query, %error, "a page is lost");
        if let Some(running) = running {
            self.cancel_upstream(running);
            self.end(running, &Outcome::failed(error.code().name, error.to_string()));
        } else {
            if let Target::Upstream { path } = &link.target {
                self.cancel_at(&link.cluster, path.clone(), About::current());
            }
            self.ended_elsewhere(link, Outcome::failed(error.code().name, error.to_string()));
        }
        let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms: 0 };
        Answer::page(wire::failure_page(&origin, error))
    }

    /// What a page said of its query.
    pub(super) fn told(
        self: &Arc<Self>,
        running: &Running,
        cluster: &str,
        page: Option<u64>,
        result: Result<PageSummary, Cut>,
    ) {
        match result {
            Ok(mut summary) => {
                let collected = running.collect(page, &mut summary);
                self.metrics.page(summary.rows, summary.data_bytes);
                running.count(page, summary.rows, summary.data_bytes);
                running.pay(used(&summary));
                if let Some(next) = &summary.next {
                    running.follow(cluster, next.clone());
                }
                if let Some(error) = &summary.error {
                    self.forget_after(running, &error.name);
                }
                if summary.done() {
                    if summary.error.is_none() {
                        self.assemble(running);
                    }
                    self.end(running, &outcome(&summary));
                }
                if let Some((collector, progress)) = collected {
                    self.collected(*collector, progress, &running.id);
                }
            }
            // The client has had half a page. It asks again, or goes away and the query expires.
            Err(Cut { error, rows, bytes }) => {
                running.count(page, rows, bytes);
                tracing::warn!(query = %running.id, %error, "a page broke off");
            }
        }
    }

    /// Forgets descriptions that an error of Trino's shows to be old.
    pub(super) fn forget_after(&self, running: &Running, error: &str) {
        let stale = ["COLUMN_NOT_FOUND", "TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "TYPE_MISMATCH"];
        if stale.contains(&error) {
            self.fleet.forget(&running.relations());
        }
    }

    async fn cancel(self: &Arc<Self>, caller: &Authenticated, link: &Link, running: Option<&Arc<Running>>) {
        if let Some(running) = running {
            self.canceled(running);
        }
        let place = match &link.target {
            Target::Upstream { path } => Some((link.cluster.clone(), path.clone())),
            Target::Local { .. } | Target::Kept(_) => running.and_then(|running| running.upstream()),
        };
        if let Some((cluster, path)) = place
            && let Err(error) = self.follow(caller, &cluster, &path, Verb::Delete).await
        {
            tracing::warn!(kind = error.kind(), "a cancel did not reach the cluster");
        }
        if let Target::Kept(_) = &link.target {
            // Other gateways would go on to give it.
            let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms: 0 };
            let body = wire::failure_page(&origin, &StatementError::Canceled).into();
            self.publish_last(&link.query, &FirstPage { headers: HeaderMap::new(), body }).await;
        }
        match running {
            Some(running) => self.end(running, &Outcome::of(State::Canceled)),
            None => self.ended_elsewhere(link, Outcome::of(State::Canceled)),
        }
    }

    /// Cancels a query at Trino, if that has it, without waiting for the answer.
    pub(super) fn cancel_upstream(&self, running: &Running) {
        if let Some((cluster, path)) = running.upstream() {
            self.cancel_at(&cluster, path, About::query(&running.id, running.admitted.trace.clone()));
        }
    }

    fn cancel_at(&self, cluster: &str, path: String, about: About) {
        let Some(cluster) = self.fleet.cluster(cluster) else { return };
        self.work.spawn(about.scope(async move {
            if let Err(error) = cluster.cancel(&path).await {
                tracing::warn!(kind = error.kind(), "a cancel did not reach the cluster");
            }
        }));
    }
}

/// Whose the links are: who signed in, whomever the query runs as.
pub(super) fn login(caller: &Authenticated) -> &str {
    caller.impersonator().unwrap_or_else(|| caller.principal().name())
}

/// Where a query stands that waits for a slot, in words for its client, if they are due.
fn waiting(running: &Running) -> Option<String> {
    let Admitted { class, queued, .. } = &running.admitted;
    let queued = queued.as_ref()?;
    let Standing { ahead, reason } = queued.standing().filter(|_| running.is_told())?;
    let why = match reason {
        Reason::Principal => "as many of your queries are running as may".to_owned(),
        Reason::Group(at) => {
            format!("as many queries of the group '{}' are running as may", queued.group(at))
        }
        Reason::Class => format!("as many queries of the class '{}' are running as may", class.name),
        Reason::All => "all slots are taken".to_owned(),
    };
    Some(format!("The query waits: {why}. It is number {} of the class '{}'.", ahead + 1, class.name))
}

/// The answer that a first page makes.
pub(super) fn first(page: FirstPage) -> Answer {
    Answer::with_headers(answer::whole(page.body), page.headers)
}

pub(super) fn positions(map: Option<&Arc<crate::sql::SourceMap>>) -> Option<Arc<Positions>> {
    let map = Arc::clone(map?);
    Some(Arc::new(move |at| map.original(at)))
}

pub(super) fn upstream_outcome(error: &UpstreamError) -> UpstreamOutcome {
    match error {
        UpstreamError::Unreachable { .. }
        | UpstreamError::NoCluster { .. }
        | UpstreamError::Config(_)
        | UpstreamError::Path => UpstreamOutcome::Connect,
        UpstreamError::Lost { .. } | UpstreamError::Broken { .. } => UpstreamOutcome::Broken,
        UpstreamError::Slow { .. } => UpstreamOutcome::Timeout,
        UpstreamError::Gone { .. } => UpstreamOutcome::Gone,
        UpstreamError::SignIn { .. } | UpstreamError::Status { .. } => UpstreamOutcome::Status,
        UpstreamError::Garbage { .. } => UpstreamOutcome::Garbage,
    }
}

/// What a query has used so far, as a page says.
pub(super) fn used(summary: &PageSummary) -> Used {
    let processed = &summary.processed;
    Used { scanned: processed.physical_input_bytes, rows: processed.rows, cpu_ms: processed.cpu_time_millis }
}

/// The number of a page is the last part of its path. Trino counts from 0 again when a query leaves its queue.
pub(super) fn page_number(path: &str) -> Option<u64> {
    let number: u64 = path.split('?').next()?.rsplit('/').next()?.parse().ok()?;
    let executing = path.starts_with("/v1/statement/executing/");
    Some(number.saturating_add(if executing { EXECUTING } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_numbers() {
        let check = |path: &str, expect| assert_eq!(page_number(path), expect, "{path}");
        check("/v1/statement/executing/20260101_000000_00000_abcde/y1/17", Some((1 << 32) + 17));
        check("/v1/statement/executing/20260101_000000_00000_abcde/y1/17?maxWait=1s", Some((1 << 32) + 17));
        check("/v1/statement/queued/20260101_000000_00000_abcde/y1/2", Some(2));
        check("/v1/statement/executing/20260101_000000_00000_abcde/y1/x", None);
    }
}
