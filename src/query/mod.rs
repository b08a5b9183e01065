//! The pipeline: the only module that knows the order of the stages.
//!
//! A statement goes through all of them ([`Gateway::handle`] with a POST); a poll, a heartbeat or a cancel opens
//! its sealed link and does the last stage alone.

mod answer;
mod auditor;
mod cached;
mod collector;
mod config;
mod elsewhere;
mod error;
mod estimate;
mod explain;
mod first;
mod kept;
mod names;
mod people;
mod placed;
mod plan;
mod poll;
mod record;
mod registry;
mod relay;
mod submission;
mod submit;
mod tally;
mod target;
mod unread;
mod view;
mod warming;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

pub use answer::{Answer, Body};
pub use config::Config;
pub use error::{QueryError, StatementError};
pub use explain::{Admitting, Claims, Explanation, Question};
pub use people::{Shown, reason};
pub use relay::RelayError;

use crate::admission::{Budgets, Rate, Slots};
use crate::audit::{Audit, Auditors};
use crate::cache::Cache;
use crate::identity::{Authenticated, Identity, Refused};
use crate::lineage::Lineage;
use crate::replica::Replicas;
use crate::shares::{Share, Shares};
use crate::telemetry::{Metrics, Parent, QueryEnd, RequestRoute, Stage, Traces};
use crate::upstream::Fleet;
use crate::wire::{self, Call, LinkMethod, Peer, Route, Sealer};
use crate::{policy, sql};

/// How often queries that nobody follows are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How long the cluster has to take the cancels of queries that are abandoned at the end.
const CANCELS: Duration = Duration::from_secs(5);

/// The memory for positions in other gateways' queries, what one takes besides its text (about), and how long it is kept.
const FOREIGN: u64 = 32 << 20;
const FOREIGN_OVERHEAD: usize = 128;
const FOREIGN_FOR: Duration = Duration::from_mins(5);

/// What was kept of a query's positions, if anything was, and when that was asked.
type Positions = (Option<Arc<sql::SourceMap>>, tokio::time::Instant);

/// The part of the memory for queries' texts that one principal may have.
const PART: usize = 4;

/// The unit in which the memory of queries' texts is counted, in bytes.
const TEXT_BLOCK: usize = 4096;

/// The memory that a query's texts take: of all, and of what its principal may have.
type Texts = (OwnedSemaphorePermit, Share<String>);

/// The parts that the pipeline is made of.
pub struct Components {
    /// The `[query]` section.
    pub config: Config,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// How fast they may ask.
    pub rate: Rate,
    /// How many of their queries may run.
    pub slots: Slots,
    /// What they may use in a day.
    pub budgets: Budgets,
    /// Who may see what.
    pub policies: Arc<ArcSwap<policy::Set>>,
    /// Answers that are given again, if any are.
    pub cache: Option<Cache>,
    /// Where queries are recorded.
    pub audit: Arc<Audit>,
    /// Who may read what is recorded.
    pub auditors: Arc<Auditors>,
    /// Where they run, and what relations are there.
    pub fleet: Arc<Fleet>,
    /// The other gateways.
    pub replicas: Arc<Replicas>,
    /// What seals their links.
    pub sealer: Arc<Sealer>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who is told what was made of what.
    pub lineage: Lineage,
    /// Where traces come from.
    pub traces: Traces,
    /// The limits of requests.
    pub request: wire::Limits,
    /// The limits of statements.
    pub limits: sql::Limits,
    /// Where statements are read and rewritten, which may take long: not on the threads that serve connections.
    pub work: tokio::runtime::Handle,
}

/// The gateway: requests in, answers out.
pub struct Gateway {
    parts: Components,
    registry: registry::Registry,
    draining: AtomicBool,
    /// Statements that were taken and have not begun.
    taken: TaskTracker,
    /// What the texts of queries that wait or run may take, in blocks.
    texts: Arc<Semaphore>,
    /// What of it one principal may have.
    texts_of_one: Shares<String>,
    /// No more queries are to be sent here, though they are still taken.
    leaving: AtomicBool,
    /// Turns to ask Trino what statements would read.
    estimates: Semaphore,
    /// What was looked up of positions in other gateways' queries.
    foreign: moka::sync::Cache<String, Positions>,
}

impl std::ops::Deref for Gateway {
    type Target = Components;
    fn deref(&self) -> &Components {
        &self.parts
    }
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(parts: Components) -> Self {
        let blocks = usize::try_from(parts.config.text_memory.0).unwrap_or(usize::MAX) / TEXT_BLOCK;
        Self {
            registry: registry::Registry::new(Arc::clone(&parts.replicas)),
            parts,
            draining: AtomicBool::new(false),
            taken: TaskTracker::new(),
            texts: Arc::new(Semaphore::new(blocks.min(Semaphore::MAX_PERMITS))),
            texts_of_one: Shares::new((blocks / PART).max(config::LARGEST / TEXT_BLOCK)),
            leaving: AtomicBool::new(false),
            estimates: Semaphore::new(estimate::AT_ONCE),
            foreign: moka::sync::Cache::builder()
                .weigher(|query: &String, (map, _): &Positions| {
                    let size = query.len() + map.as_ref().map_or(0, |map| map.size()) + FOREIGN_OVERHEAD;
                    u32::try_from(size).unwrap_or(u32::MAX)
                })
                .max_capacity(FOREIGN)
                .time_to_idle(FOREIGN_FOR)
                .build(),
        }
    }

    /// Serves one request.
    ///
    /// # Errors
    ///
    /// [`QueryError`] for what is told by a status. What is wrong with a statement is told in a page, which is
    /// an answer.
    pub async fn handle(
        self: &Arc<Self>,
        parts: Parts,
        body: Bytes,
        peer: Peer,
    ) -> (RequestRoute, Result<Answer, QueryError>) {
        let parent = self.traces.parent(&parts.headers);
        let call = match Call::read(parts, body, peer, &self.request) {
            Ok(call) => call,
            Err(malformed) => return (RequestRoute::Unknown, Err(malformed.into())),
        };
        let route = call.route().clone();
        match route {
            Route::Audit { path, query } => (RequestRoute::Audit, self.read_audit(call, &path, &query).await),
            Route::Info => (RequestRoute::Info, Ok(self.info())),
            Route::Submit => (RequestRoute::Submit, self.statement(call, &parent).await),
            Route::Probe => (RequestRoute::Probe, self.probe(call).await),
            Route::Cancel { query } => {
                let answer = match self.authenticated(call).await {
                    Ok(caller) => self.cancel_by_id(&caller, &query).await,
                    Err(error) => Err(error),
                };
                (RequestRoute::Cancel, answer)
            }
            Route::Link { method, sealed } => {
                let label = match method {
                    LinkMethod::Get => RequestRoute::Poll,
                    LinkMethod::Head => RequestRoute::Heartbeat,
                    LinkMethod::Delete => RequestRoute::Cancel,
                };
                let answer = match self.authenticated(call).await {
                    Ok(caller) => self.link(&caller, method, &sealed).await,
                    Err(error) => Err(error),
                };
                (label, answer)
            }
        }
    }

    async fn statement(self: &Arc<Self>, call: Call, parent: &Parent) -> Result<Answer, QueryError> {
        let began = SystemTime::now();
        let caller = self.authenticated(call).await?;
        // Whoever is unknown makes no traces.
        let trace = self.traces.begin(parent, began);
        trace.stage(Stage::Authenticate.as_str(), began.elapsed().unwrap_or_default());
        self.submit(caller, trace).await
    }

    async fn probe(self: &Arc<Self>, call: Call) -> Result<Answer, QueryError> {
        self.authenticated(call).await?;
        Ok(Answer::empty(http::StatusCode::OK))
    }

    /// Whether a request may be read on, before its body takes up room: who sends it can sign in.
    pub async fn screen(self: &Arc<Self>, headers: &http::HeaderMap, peer: &Peer) -> Result<(), QueryError> {
        let credentials = wire::read_credentials(headers)?;
        let assertion = wire::read_assertion(headers, peer)?;
        let (gateway, peer) = (Arc::clone(self), peer.clone());
        let screened = self.work.spawn(async move {
            let result = gateway.identity.screen(&credentials, assertion.as_ref(), &peer).await;
            if let Err(refused) = &result {
                gateway.login_failed(&credentials, assertion.is_some(), &peer, refused);
            }
            result
        });
        Ok(screened
            .await
            .unwrap_or_else(|_| Err(Refused::Unavailable("the check was cut off".to_owned())))?)
    }

    async fn authenticated(self: &Arc<Self>, call: Call) -> Result<Authenticated, QueryError> {
        if !self.identity.is_slow(call.credentials()) {
            return self.identified(call).await;
        }
        // An attempt counts, and is on record, though its connection is closed while it is looked at.
        let gateway = Arc::clone(self);
        let identified = self.work.spawn(async move { gateway.identified(call).await });
        identified
            .await
            .unwrap_or_else(|_| Err(Refused::Unavailable("the check was cut off".to_owned()).into()))
    }

    async fn identified(&self, call: Call) -> Result<Authenticated, QueryError> {
        let credentials = call.credentials().clone();
        let (asserted, peer) = (call.assertion().is_some(), call.peer().clone());
        let timer = self.metrics.time(Stage::Authenticate);
        let result = self.identity.authenticate(call).await;
        drop(timer);
        if let Err(refused) = &result {
            self.login_failed(&credentials, asserted, &peer, refused);
        }
        Ok(result?)
    }

    /// Records a failed sign-in. Those above the limit are counted, and their number is recorded: nobody may fill the
    /// disk by guessing.
    fn login_failed(&self, credentials: &wire::Credentials, asserted: bool, peer: &Peer, refused: &Refused) {
        let Some(event) = record::login_failed(credentials, asserted, peer, refused) else { return };
        if self.identity.is_recorded(refused, peer.address.ip()) {
            self.audit.keep(&event);
        } else {
            self.audit.pass_over();
        }
    }

    /// What `/v1/info` says: that this speaks the protocol of a Trino of this version.
    fn info(&self) -> Answer {
        let version = self.fleet.info().map_or_else(|| "476".to_owned(), |info| info.version);
        let body = serde_json::json!({
            "nodeVersion": {"version": version},
            "environment": "northgate",
            "coordinator": true,
            "starting": false,
        });
        Answer::page(body.to_string())
    }

    /// Says that the gateway is about to stop: it is not to be sent queries any more, and takes those that come.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether the gateway is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.is_draining()
    }

    /// Whether no new queries are taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Takes no new queries, and ends when those that run have ended. Their pages are served meanwhile.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.taken.close();
        self.taken.wait().await;
        self.registry.until_empty().await;
        self.tell_the_last().await;
    }

    /// Tells other gateways what they have yet to hear of their queries.
    async fn tell_the_last(&self) {
        _ = tokio::time::timeout(CANCELS, self.replicas.sent()).await;
    }

    /// Cancels what still runs, for an end that cannot wait. Each gets its outcome: `abandoned`.
    pub async fn abandon(&self) {
        let mut cancels = tokio::task::JoinSet::new();
        for running in self.registry.all() {
            running.abandon();
            // The outcomes first: the process may be ended before a cluster that does not answer is given up.
            self.end(&running, &crate::audit::Outcome::of(crate::audit::State::Abandoned));
            self.registry.settle(&running, true);
            if let Some((cluster, path)) = running.upstream()
                && let Some(cluster) = self.fleet.cluster(&cluster)
            {
                cancels.spawn(async move {
                    if let Err(error) = cluster.cancel(&path).await {
                        tracing::warn!(query = %running.id, %error, "a query could not be cancelled");
                    }
                });
            }
        }
        if tokio::time::timeout(CANCELS, async { while cancels.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::warn!("the cluster did not take all cancels in time");
        }
        self.tell_the_last().await;
    }

    /// Ends a query. What it changed, or may have changed, is asked for anew.
    fn end(&self, running: &registry::Running, outcome: &crate::audit::Outcome) {
        if running.writes {
            self.fleet.forget(&running.relations());
        }
        if self.registry.end(running, outcome) {
            let (end, trace) = (record::end(outcome), &running.admitted.trace);
            self.metrics.query(end, running.began.elapsed(), trace);
            trace.end(end.as_str(), matches!(end, QueryEnd::Failed));
            running.admitted.lineage.end(&record::lineage_end(outcome));
        }
    }

    /// Ends queries that nobody follows any more, for ever. For a task of its own.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.look_for_senders().await;
            self.registry.settle_all();
            self.look_elsewhere().await;
            self.free_unread().await;
            if let Some(cache) = &self.cache {
                cache.notice().await;
            }
            for running in self.registry.idle(self.patience()) {
                if !self.gives_up(&running) {
                    continue;
                }
                tracing::info!(query = %running.id, "nobody asks for this query any more");
                running.abandon();
                self.cancel_upstream(&running);
                self.end(&running, &crate::audit::Outcome::of(crate::audit::State::Abandoned));
            }
        }
    }
}
