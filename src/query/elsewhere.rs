//! Queries of other gateways that are followed here, and queries of this one that are followed elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::collector::Part;
use super::poll::{first, login, used};
use super::record::outcome;
use super::registry::{FirstPage, Running, Start};
use super::relay::Cut;
use super::{Answer, Gateway, QueryError, StatementError};
use crate::admission::Used;
use crate::audit::{Outcome, State};
use crate::identity::Authenticated;
use crate::replica::{Ending, Page, Report, Sending, Waiting};
use crate::sql::SourceMap;
use crate::state::StoreError;
use crate::upstream::{Heard, UpstreamError};
use crate::wire::{self, Link, Origin, PageSummary, Target};

/// When, within a poll, it is looked whether another gateway has the first page: pauses before each look. Together they are
/// as long as a poll of one's own query is held.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(700)];
/// After so many polls of which nobody has heard anything, there is no such query.
const UNHEARD: u64 = 120;
/// A query that nobody has asked for here for that long may be followed elsewhere, by somebody whose reports get lost: its
/// cluster is asked, this often.
pub(super) const QUIET: Duration = Duration::from_secs(30);
/// How often it is looked whether all was heard of queries that have ended.
const SETTLED: Duration = Duration::from_millis(200);
/// How long it may take to hand on a page, of a gateway that lives.
const SENT_WITHIN: Duration = Duration::from_hours(1);
/// How much longer than others a query lives whose cluster cannot be asked.
const DOUBT: u32 = 4;
/// For how long it is believed that nothing was kept of a query's positions.
const NONE_FOR: Duration = Duration::from_secs(2);
/// How many clusters' answers are waited for at once, and for how long.
const ASKED_AT_ONCE: usize = 16;
const ASKED_FOR: Duration = Duration::from_secs(5);

impl Gateway {
    /// Publishes how far a query is that waits here, for a client that may ask elsewhere.
    pub(super) fn publish(self: &Arc<Self>, running: &Arc<Running>) {
        if !self.replicas.are_several() || !running.is_linked() {
            return;
        }
        let (gateway, running) = (Arc::clone(self), Arc::clone(running));
        self.work.spawn(async move {
            // That it fails is logged where the store is asked; it is published again.
            _ = gateway.published(&running).await;
        });
    }

    /// The same, and waits until it is done.
    ///
    /// # Errors
    /// The store has not taken it: others may believe what was published before.
    pub(super) async fn published(&self, running: &Running) -> Result<(), StoreError> {
        if !self.replicas.are_several() || !running.is_linked() {
            return Ok(());
        }
        // One after another, each with what is so by then: the last one stands.
        let _turn = running.publishing().await;
        let waiting = match running.start() {
            Start::Waiting => Waiting::Queued,
            Start::Sending => Waiting::Sent,
            Start::Answered(page) => {
                let Some(answered) = answered(&page) else { return Ok(()) };
                answered
            }
        };
        self.replicas.publish(&running.id, &waiting).await
    }

    /// Keeps what a query's client is told that somebody else cancels, for one that asks elsewhere.
    pub(super) async fn publish_last(&self, id: &str, page: &FirstPage) {
        if let (true, Some(page)) = (self.replicas.are_several(), answered(page)) {
            self.replicas.publish_last(id, &page).await;
        }
    }

    /// What the client of another gateway's query is told, if somebody else has cancelled it.
    pub(super) async fn last_elsewhere(&self, link: &Link) -> Option<FirstPage> {
        if !self.replicas.is_another(link.origin) {
            return None;
        }
        match self.replicas.published_last(&link.query).await {
            Ok(Some(Waiting::Answered { headers, body })) => Some(page(&headers, body)),
            Ok(_) | Err(_) => None,
        }
    }

    /// A poll of a query that waits at another gateway.
    pub(super) async fn waiting_elsewhere(
        &self,
        caller: &Authenticated,
        link: &Link,
    ) -> Result<Answer, QueryError> {
        let Target::Local { token } = link.target else { return Err(QueryError::NoSuchQuery) };
        if !self.replicas.is_another(link.origin) || token > UNHEARD {
            return Err(QueryError::NoSuchQuery);
        }
        self.replicas.report(link.origin, Report::of(&link.query));
        let mut token = token;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let found = match self.replicas.published(&link.query).await {
                Ok(Some(Waiting::Answered { headers, body })) => return Ok(first(page(&headers, body))),
                Ok(found) => found.is_some(),
                // Without the store nothing is known, and nothing is lost by waiting.
                Err(_) => continue,
            };
            token = if found { 0 } else { token };
            if self.replicas.is_gone(link.origin).await {
                // Should that gateway come to itself, it will not send the query any more; it may have before.
                if self.replicas.give_up(&link.query).await.is_err() {
                    continue;
                }
                let sent = match self.replicas.published(&link.query).await {
                    Ok(Some(Waiting::Answered { headers, body })) => return Ok(first(page(&headers, body))),
                    Ok(Some(Waiting::Queued)) => false,
                    Ok(Some(Waiting::Sent) | None) | Err(_) => true,
                };
                tracing::warn!(query = %link.query, sent, "a query waited at a gateway that is gone");
                let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms: 0 };
                return Ok(Answer::page(wire::failure_page(&origin, &StatementError::Orphaned { sent })));
            }
            if !found && pause == LOOKS[LOOKS.len() - 1] {
                token += 1;
            }
        }
        let link = Link { target: Target::Local { token }, ..link.clone() };
        let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms: 0 };
        Ok(match self.sealer.seal_link(&link, login(caller)) {
            Ok(sealed) => Answer::page(wire::queued_page(&origin, &sealed, None)),
            Err(error) => Answer::page(wire::failure_page(&origin, &error)),
        })
    }

    /// From which places in the user's text the places are that Trino has of another gateway's query.
    pub(super) async fn positions_elsewhere(&self, link: &Link) -> Option<Arc<SourceMap>> {
        if !self.replicas.is_another(link.origin) {
            return None;
        }
        // They may be on their way when the first page is asked for.
        if let Some((map, asked)) = self.foreign.get(&link.query)
            && (map.is_some() || asked.elapsed() < NONE_FOR)
        {
            return map;
        }
        let map = self.replicas.positions::<SourceMap>(&link.query).await.ok()?.map(Arc::new);
        self.foreign.insert(link.query.clone(), (map.clone(), Instant::now()));
        map
    }

    /// Tells the gateway whose query it is that a long page of it begins to be handed on here: it is to be counted, however the
    /// query ends meanwhile.
    pub(super) fn begun_elsewhere(&self, link: &Link, page: Option<u64>) -> Option<Sending> {
        let sending = self.replicas.sending();
        let page = Page { number: page?, rows: 0, bytes: 0, sending: Some(sending) };
        self.replicas.report(link.origin, Report { pages: vec![page], ..Report::of(&link.query) });
        Some(Sending { open: false, ..sending })
    }

    /// Tells the gateway whose query it is what a page said, of which it was told, if it is a long one, that it had begun.
    pub(super) fn told_elsewhere(
        self: &Arc<Self>,
        link: &Link,
        page: Option<u64>,
        sending: Option<Sending>,
        result: Result<PageSummary, Cut>,
    ) {
        let mut report = Report::of(&link.query);
        let mut part = None;
        let (rows, bytes) = match result {
            Ok(mut summary) => {
                part = page.filter(|_| link.collected).map(|number| (number, Part::of(&mut summary)));
                self.metrics.page(summary.rows, summary.data_bytes);
                let Used { scanned, rows, cpu_ms } = used(&summary);
                report.used = (scanned, rows, cpu_ms);
                report.next = summary.next.clone().map(|path| (link.cluster.clone(), path));
                report.ending = summary.done().then(|| ending(outcome(&summary)));
                (summary.rows, summary.data_bytes)
            }
            Err(Cut { error, rows, bytes }) => {
                tracing::warn!(query = %link.query, %error, "a page broke off");
                (rows, bytes)
            }
        };
        report.pages = page.map(|number| Page { number, rows, bytes, sending }).into_iter().collect();
        match part {
            // Before its gateway hears that the query has ended.
            Some((number, part)) => self.collect_elsewhere(link, number, part, report),
            None => self.replicas.report(link.origin, report),
        }
    }

    /// Tells the gateway whose query it is that it has ended here.
    pub(super) fn ended_elsewhere(&self, link: &Link, outcome: Outcome) {
        let ending = Some(ending(outcome));
        self.replicas.report(link.origin, Report { ending, ..Report::of(&link.query) });
    }

    /// Hears from other gateways what becomes of queries of this one, for ever. For a task of its own.
    pub async fn hear(self: Arc<Self>) {
        let settled = async {
            loop {
                tokio::time::sleep(SETTLED).await;
                self.registry.settle_all();
            }
        };
        tokio::join!(self.listen(), settled);
    }

    async fn listen(self: &Arc<Self>) {
        loop {
            for report in self.replicas.reports(|| !self.registry.is_empty()).await {
                self.heard(report);
            }
        }
    }

    fn heard(self: &Arc<Self>, report: Report) {
        let Some(running) = self.registry.find(&report.query) else { return };
        let is_of_client = report.is_of_client();
        if !report.cancel_for.is_empty() {
            self.cancel_for_others(report.query, report.cancel_for);
        }
        if !is_of_client {
            return;
        }
        drop(running.serve());
        report.pages.into_iter().for_each(|page| running.count_elsewhere(page));
        let (scanned, rows, cpu_ms) = report.used;
        running.pay(Used { scanned, rows, cpu_ms });
        self.registry.settle(&running, false);
        if let Some((cluster, path)) = report.next {
            running.follow(&cluster, path);
        }
        match report.ending {
            None if running.is_to_be_published_again() => self.publish(&running),
            None => {}
            Some(Ending::Finished) => {
                self.assemble(&running);
                self.end(&running, &Outcome::of(State::Finished));
            }
            Some(Ending::Failed { error, message }) => {
                self.forget_after(&running, &error);
                // It may be that only its page could not be had.
                self.cancel_upstream(&running);
                self.end(&running, &Outcome::failed(error, message));
            }
            Some(Ending::Canceled) => {
                self.canceled(&running);
                self.cancel_upstream(&running);
                self.end(&running, &Outcome::of(State::Canceled));
            }
        }
    }

    /// Tells who waits for a query's first page that it was cancelled.
    pub(super) fn canceled(self: &Arc<Self>, running: &Arc<Running>) {
        let origin = Origin { id: &running.id, base: &running.base, elapsed_ms: 0 };
        let body = wire::failure_page(&origin, &StatementError::Canceled).into();
        running.cancel(FirstPage { headers: HeaderMap::new(), body });
        self.publish(running);
    }

    /// Looks whether the gateways live that hand on pages of queries of this one: nobody else tells that a page has ended.
    pub(super) async fn look_for_senders(&self) {
        for running in self.registry.all() {
            for (by, since) in running.senders() {
                if since.elapsed() >= SENT_WITHIN || self.replicas.is_gone(by).await {
                    tracing::warn!(query = %running.id, "another gateway has not told of a page to its end");
                    running.give_up_pages(by);
                }
            }
        }
    }

    /// Asks clusters about queries that nobody has asked for here for a while: they may be followed elsewhere, and who
    /// follows them may not have been able to say so, or that they have ended.
    pub(super) async fn look_elsewhere(&self) {
        if !self.replicas.are_several() {
            return;
        }
        let idle = futures_util::stream::iter(self.registry.idle(QUIET));
        idle.for_each_concurrent(ASKED_AT_ONCE, |running| self.look_for(running)).await;
    }

    async fn look_for(&self, running: Arc<Running>) {
        let Some((cluster, path)) = running.upstream().filter(|_| running.is_to_be_asked_about()) else {
            return;
        };
        let Some(cluster) = self.fleet.cluster(&cluster) else { return };
        let Ok(heard) = tokio::time::timeout(ASKED_FOR, cluster.heard(&path)).await else {
            running.is_in_doubt();
            return;
        };
        match heard {
            Ok(Heard { ended: true, error: None, .. }) => {
                self.end(&running, &Outcome::of(State::Finished));
            }
            Ok(Heard { ended: true, error: Some(error), .. }) => {
                let message = "Trino says so; the page that did got lost".to_owned();
                self.end(&running, &Outcome::failed(error, message));
            }
            Ok(Heard { client, .. }) if running.client_was_there(&client) => drop(running.serve()),
            Ok(_) => {}
            // Trino no longer knows it: nobody can have more of it.
            Err(UpstreamError::Gone { .. }) => self.end(&running, &Outcome::of(State::Abandoned)),
            Err(error) => {
                tracing::debug!(%error, query = %running.id, "it is not known whether a query is followed");
                running.is_in_doubt();
            }
        }
    }

    /// How long nobody must have asked for a query, here or elsewhere, until it is given up.
    pub(super) fn patience(&self) -> Duration {
        let limit = self.config.client_timeout.0;
        let shorter = self.config.drain_client_timeout.0.min(limit);
        if self.is_draining() && self.replicas.hears_since(shorter) { shorter } else { limit }
    }

    /// Whether a query that nobody has asked for here for so long is given up. One that waits may be followed elsewhere
    /// where that was not heard; one whose cluster could not be asked has more time.
    pub(super) fn gives_up(&self, running: &Running) -> bool {
        let limit = self.patience();
        if !self.replicas.are_several() {
            return true;
        }
        match running.upstream() {
            None => self.replicas.hears_since(limit),
            Some(_) => !running.doubted() || running.is_idle_for(limit.saturating_mul(DOUBT)),
        }
    }
}

fn ending(outcome: Outcome) -> Ending {
    match outcome.state {
        State::Finished => Ending::Finished,
        State::Canceled => Ending::Canceled,
        _ => Ending::Failed {
            error: outcome.error.unwrap_or_default(),
            message: outcome.message.unwrap_or_default(),
        },
    }
}

/// A page as it is published for other gateways.
fn answered(page: &FirstPage) -> Option<Waiting> {
    let body = String::from_utf8(page.body.to_vec()).ok()?;
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    Some(Waiting::Answered { headers: page.headers.iter().map(header).collect(), body })
}

/// A page as another gateway has published it.
fn page(headers: &[(String, Vec<u8>)], body: String) -> FirstPage {
    let header = |(name, value): &(String, Vec<u8>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter_map(header) {
        map.append(name, value);
    }
    FirstPage { headers: map, body: body.into() }
}
