//! A statement on its way to Trino: parsed, decided, rewritten, audited, admitted, submitted once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Limited};

use super::cached::{CACHE, Course};
use super::people::Admitted;
use super::placed::Placed;
use super::plan::{Local, Plan, Planned, Seen};
use super::poll::{first, login, positions, upstream_outcome};
use super::registry::{Beginning, FirstPage, Running, Served};
use super::submission::{Submission, Text, packed, unpacked};
use super::warming::WARMING;
use super::{Answer, Gateway, QueryError, RelayError, StatementError, Texts, answer};
use crate::admission::{AdmissionError, Classified, Metered, Queued, Slot, Ticket};
use crate::audit::{Cached, Guard, Outcome, State};
use crate::cache::Entry;
use crate::catalog::Noted;
use crate::error::Failure;
use crate::identity::{Authenticated, Method, Principal};
use crate::rewrite::ScopedSql;
use crate::telemetry::{About, Stage, StatementKind, Trace, UpstreamOperation, UpstreamOutcome, Verdict};
use crate::upstream::{self, Place};
use crate::wire::{self, CACHE_PROPERTY, Link, Origin, PageRebuilder, SessionChange, Target};

/// How long the client's POST waits for Trino's first page before it is told that the query waits.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// Trino's answer to a POST has no rows; one above this is garbage. Bytes.
const FIRST_PAGE: usize = 8 << 20;
/// How many clusters are asked what a statement's relations are, if they have no answer.
const MOST_TRIED: usize = 3;

const TRACE: HeaderName = HeaderName::from_static("x-trino-trace-token");
const TIME_ZONE: HeaderName = HeaderName::from_static("x-trino-time-zone");
const PREPARED: HeaderName = HeaderName::from_static("x-trino-prepared-statement");

impl Gateway {
    /// Takes a statement. Whatever is wrong with it is told in a page.
    pub(super) async fn submit(
        self: &Arc<Self>,
        caller: Authenticated,
        trace: Trace,
    ) -> Result<Answer, QueryError> {
        let taken = self.taken.token();
        if self.is_draining() {
            return Err(QueryError::ShuttingDown);
        }
        let id = wire::new_query_id(jiff::Timestamp::now().as_second());
        // From here on the work goes on though the client's connection breaks.
        let gateway = Arc::clone(self);
        trace.of_query(&id);
        let task = self.work.spawn(About::query(&id, trace).scope(async move {
            let _taken = taken;
            gateway.take(caller, &id).await
        }));
        Ok(task.await.unwrap_or_else(|_| Answer::empty(http::StatusCode::INTERNAL_SERVER_ERROR)))
    }

    async fn take(self: &Arc<Self>, caller: Authenticated, id: &str) -> Answer {
        let mut seen = Seen { received_us: self.audit.tick_us(), ..Seen::default() };
        let caller = match self.rate.meter(caller) {
            Ok(metered) => Arc::new(metered),
            Err(refused) => {
                let (error, caller) = *refused;
                return self.refuse(&caller, id, &seen, &error.into()).await;
            }
        };
        // Apart: what it takes is free while its client waits for the first page.
        let result = Box::pin(self.decided(&caller, id, &mut seen)).await;
        match result {
            Ok(Taken::Answered(answer)) => answer,
            Ok(Taken::Begun(running, served)) => {
                drop(seen);
                self.begun(caller.authenticated(), &running, served).await
            }
            Err(error) => self.refuse(caller.authenticated(), id, &seen, &error).await,
        }
    }

    /// The page of a statement that is not sent, which is on record before the client has it.
    pub(super) async fn refuse(
        &self,
        caller: &Authenticated,
        id: &str,
        seen: &Seen,
        error: &StatementError,
    ) -> Answer {
        let verdict = if error.is_denial() { Verdict::Denied } else { Verdict::Refused };
        self.metrics.statement(seen.label.unwrap_or(StatementKind::Unreadable), verdict);
        tracing::info!(query = id, kind = error.kind(), "a statement was refused");
        let origin = Origin { id, base: caller.call().base(), elapsed_ms: 0 };
        if matches!(error, StatementError::Audit(_)) {
            // The audit keeps the refusal of what it could not record itself.
            self.metrics.audit_failure();
            tracing::error!(query = id, %error, "a statement could not be recorded");
            return Answer::page(wire::failure_page(&origin, error));
        }
        // Whoever asks too much may not fill the disk with it: what is above the rate is counted in the journal.
        let flood = matches!(error, StatementError::Admission(_));
        if flood && !self.rate.is_recorded(caller.principal().name()) {
            self.audit.pass_over();
            return Answer::page(wire::failure_page(&origin, error));
        }
        let event = self.refusal(caller, id, seen, error);
        if let Err(failure) = self.audit.record(&event).await {
            self.metrics.audit_failure();
            tracing::error!(query = id, %failure, "a refusal could not be recorded");
            return Answer::page(wire::failure_page(&origin, &failure));
        }
        Answer::page(wire::failure_page(&origin, error))
    }

    async fn decided(
        self: &Arc<Self>,
        metered: &Arc<Metered>,
        id: &str,
        seen: &mut Seen,
    ) -> Result<Taken, StatementError> {
        let caller = metered.authenticated();
        match self.planned(caller, id, seen).await? {
            Plan::Local(local) => {
                let answer = local_answer(&local, id, caller)?;
                let timer = self.metrics.time(Stage::Audit);
                let guard = self.audit.intend(self.intent(caller, id, seen, None, Cached::default())).await?;
                drop(timer);
                guard.finish(&Outcome::of(State::Finished));
                self.metrics.statement(seen.label.unwrap_or(StatementKind::Other), Verdict::Answered);
                Ok(Taken::Answered(answer))
            }
            Plan::Submit(planned) => self.begin(metered, id, seen, *planned).await,
        }
    }

    /// Plans a statement. A cluster that cannot say what relations are has not taken it: then another is asked, if there is
    /// one.
    pub(super) async fn planned(
        &self,
        caller: &Authenticated,
        id: &str,
        seen: &mut Seen,
    ) -> Result<Plan, StatementError> {
        let (mut tried, mut before) = (Vec::new(), None);
        loop {
            let asked = tried.len();
            // A fault of ours is on record like any refusal.
            let plan = AssertUnwindSafe(self.plan(caller, seen, &mut tried)).catch_unwind().await;
            let was_asked = tried.len() > asked;
            match (plan.unwrap_or(Err(StatementError::Fault)), before.take()) {
                (Err(_), Some(error)) if !was_asked => return Err(error),
                (Err(error), _)
                    if was_asked
                        && error.is_of_cluster()
                        && tried.len() < MOST_TRIED
                        && caller.call().session().transaction.is_none() =>
                {
                    tracing::warn!(query = id, %error, "a cluster does not describe what a statement reads");
                    before = Some(error);
                }
                (plan, _) => return plan,
            }
        }
    }

    pub(super) async fn begin(
        self: &Arc<Self>,
        metered: &Arc<Metered>,
        id: &str,
        seen: &Seen,
        planned: Planned,
    ) -> Result<Taken, StatementError> {
        let caller = metered.authenticated();
        let headers = self.told_to_trino(caller, id, seen, &planned)?;
        let (class, payer) = self.admitted_as(caller, seen)?;
        // The text as it came, for a second, and as it is sent, with what, and the way back.
        let map = planned.sql.positions().map_or(0, |map| map.size());
        let head: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = planned.sql.text().len() + caller.call().body().len() + map + head;
        let texts = self.texts_of(payer.name(), bytes).ok_or(AdmissionError::TextsFull)?;
        self.rate.weigh(payer.name(), planned.sql.text().len())?;
        let account = if seen.spends {
            let classes = self.slots.classes();
            self.budgets.account(classes, &payer, &class, planned.sql.restricted())
        } else {
            None
        };
        let course = self.course(metered, &planned, seen, &headers).await;
        // What is not sent to Trino needs no slot, and costs nothing.
        let told = course.record();
        let way = match course {
            Course::Hit(entry) => Way::Given(entry),
            course => {
                if let Some(account) = &account {
                    account.check().await.inspect_err(|_| self.metrics.refused(&class.name))?;
                }
                Way::Sent(course, self.enter(&payer, &class)?)
            }
        };
        let timer = self.metrics.time(Stage::Audit);
        let guard = self.audit.intend(self.intent(caller, id, seen, Some(&planned), told)).await?;
        drop(timer);
        let lineage = self.telling(id, caller, seen, &planned);
        let Planned { sql, relations, permit, place, noted, .. } = planned;
        let verdict = if sql.restricted() { Verdict::Rewritten } else { Verdict::Passed };
        self.metrics.statement(seen.label.unwrap_or(StatementKind::Other), verdict);
        let running = self.registry.begin(Beginning {
            id: id.to_owned(),
            relations,
            writes: permit.writes(),
            base: caller.call().base().to_owned(),
            guard,
            texts,
            admitted: Admitted {
                class,
                queued: way.queued(),
                principal: payer.name().to_owned(),
                impersonator: caller.impersonator().map(Into::into),
                kind: seen.kind.unwrap_or("statement"),
                trace: Trace::current(),
                account,
                lineage,
            },
        });
        let served = running.serve();
        match way {
            Way::Given(entry) => self.serve_entry(&running, entry, &running.base, login(caller)),
            Way::Sent(course, ticket) => {
                let (headers, login) = (packed(&headers), login(caller).into());
                if let (true, Some(map)) = (self.replicas.are_several(), sql.positions().cloned()) {
                    let (replicas, id) = (Arc::clone(&self.replicas), id.to_owned());
                    tokio::spawn(async move { replicas.keep_positions(&id, &*map).await });
                }
                let sql = Text::Whole(sql);
                let submission = Box::new(Submission { sql, headers, ticket, course, login, place, noted });
                let gateway = Arc::clone(self);
                let submitted = Arc::clone(&running);
                tokio::spawn(
                    About::current().scope(async move { gateway.run(&submitted, submission).await }),
                );
            }
        }
        Ok(Taken::Begun(running, served))
    }

    /// The first page of a query, or that it waits.
    pub(super) async fn begun(
        self: &Arc<Self>,
        caller: &Authenticated,
        running: &Arc<Running>,
        served: Served,
    ) -> Answer {
        let page = running.answered(FIRST_ANSWER).await;
        drop(served);
        self.registry.settle(running, false);
        match page {
            Some(page) => first(page),
            None => self.still_waiting(caller, running),
        }
    }

    /// All that Trino is told of a statement besides its text.
    pub(super) fn told_to_trino(
        &self,
        caller: &Authenticated,
        id: &str,
        seen: &Seen,
        planned: &Planned,
    ) -> Result<HeaderMap, StatementError> {
        let class = seen.class.as_ref().ok_or(StatementError::Fault)?;
        let mut headers = submit_headers(caller, planned)?;
        let of_class = self.slots.classes().told(class);
        let (properties, tag) = (&of_class.properties, of_class.tag.as_deref());
        wire::tell_class(&mut headers, properties, tag, |tag| self.slots.classes().is_tag(tag))?;
        if let Ok(id) = HeaderValue::from_str(id) {
            // By this a later start finds the query at Trino, should this process be killed while it runs.
            headers.entry(TRACE).or_insert(id);
        }
        Ok(headers)
    }

    /// The class that a statement waits in, and who pays for it. What the gateway asks in somebody's place takes nothing of theirs,
    /// and waits with jobs, though Trino is told what it would be told of their own.
    fn admitted_as(
        &self,
        caller: &Authenticated,
        seen: &Seen,
    ) -> Result<(Classified, Arc<Principal>), StatementError> {
        if caller.is_warming() {
            return Ok((self.slots.classes().jobs(), Arc::new(Principal::new(WARMING, Method::Warming))));
        }
        let class = seen.class.clone().ok_or(StatementError::Fault)?;
        Ok((class, Arc::clone(caller.principal())))
    }

    /// Takes memory for the texts of a query, if whoever pays for it may have as much.
    fn texts_of(&self, payer: &str, bytes: usize) -> Option<Texts> {
        let blocks = bytes / super::TEXT_BLOCK + 1;
        let share = self.texts_of_one.try_take(payer.to_owned(), blocks)?;
        let blocks = u32::try_from(blocks).ok()?;
        Some((Arc::clone(&self.texts).try_acquire_many_owned(blocks).ok()?, share))
    }

    /// Joins the queue of a class.
    fn enter(&self, payer: &Principal, class: &Classified) -> Result<Ticket, AdmissionError> {
        let entered = self.slots.enter(payer, class);
        entered.inspect_err(|_| self.metrics.refused(&class.name))
    }

    /// Waits for a slot and submits, once. Ends with a first page, whatever happens.
    async fn run(self: &Arc<Self>, running: &Arc<Running>, mut submission: Box<Submission>) {
        let waiting = self.metrics.queued();
        let slot = tokio::select! {
            slot = submission.slot() => slot,
            () = running.until_canceled() => return self.given_up(running),
        };
        // Apart, as below.
        let joined = Box::pin(self.joined(running, submission.course, slot.waited())).await;
        submission.course = match joined {
            Some(Course::Hit(entry)) => {
                self.serve_shared(running, entry, &running.base, &submission.login);
                return self.publish(running);
            }
            Some(course) => course,
            None => return self.given_up(running),
        };
        running.marked(Guard::admitted);
        running.count_running(self.metrics.running());
        drop(waiting);
        self.metrics.stage(Stage::Queue, slot.waited());
        self.metrics.waited(&running.admitted.class.name, slot.waited());
        // Apart, so that a query that waits takes little memory.
        let result = Box::pin(self.sent(running, *submission, slot)).await;
        if let Err(error) = result {
            self.failed(running, error);
        }
    }

    /// The end of a query that its user does not want any more.
    fn given_up(self: &Arc<Self>, running: &Arc<Running>) {
        let origin = Origin { id: &running.id, base: &running.base, elapsed_ms: 0 };
        let body = wire::failure_page(&origin, &StatementError::Canceled).into();
        let canceled = FirstPage { headers: HeaderMap::new(), body };
        running.answer(self.registry.last(&running.id).unwrap_or(canceled));
        self.publish(running);
        self.end(running, &Outcome::of(State::Canceled));
    }

    /// The end of a query that could not be submitted.
    fn failed(self: &Arc<Self>, running: &Arc<Running>, error: StatementError) {
        tracing::warn!(query = %running.id, %error, "a query could not be submitted");
        self.cancel_upstream(running);
        let origin = Origin { id: &running.id, base: &running.base, elapsed_ms: 0 };
        let body = wire::failure_page(&origin, &error).into();
        let failed = FirstPage { headers: HeaderMap::new(), body };
        running.answer(self.registry.last(&running.id).unwrap_or(failed));
        self.publish(running);
        let outcome = match error {
            StatementError::Canceled => Outcome::of(State::Canceled),
            error => Outcome::failed(error.code().name, error.to_string()),
        };
        self.end(running, &outcome);
    }

    async fn sent(
        self: &Arc<Self>,
        running: &Arc<Running>,
        submission: Submission,
        slot: Slot,
    ) -> Result<(), StatementError> {
        let Submission { sql, headers, place, noted, login, course, ticket } = submission;
        drop(ticket);
        let sql = sql.whole().ok_or(StatementError::Fault)?;
        running.find_places(sql.positions());
        if let Some(account) = &running.admitted.account {
            // Others may have used it up while this one waited.
            account.check().await?;
        }
        let cache = course.told();
        if let Course::Lead(collector) = course {
            running.collect_in(collector);
        }
        let headers = unpacked(&headers).ok_or(StatementError::Fault)?;
        let (place, response) = self.submitted(running, &sql, headers, place, &noted).await?;
        let cluster = place.cluster().to_owned();
        running.hold(slot);
        if running.collects_of_another(place.version().as_deref()) {
            // It has moved to a cluster with another Trino.
            running.stop_collecting();
        }
        running.stay(place);
        let mut headers = self.answer_headers(&login, &cluster, &response.headers)?;
        if !headers.is_empty() {
            // What changes the session is more than its rows.
            running.stop_collecting();
        }
        headers.extend(cache.map(|said| (CACHE, said)));
        let body = Limited::new(response.body, FIRST_PAGE)
            .collect()
            .await
            .map_err(|error| RelayError::Broken(error.to_string()))?
            .to_bytes();
        let collects = running.collects();
        let link = Link {
            query: running.id.clone(),
            origin: self.replicas.id(),
            cluster,
            target: Target::Local { token: 0 },
            restricted: sql.restricted(),
            collected: collects.is_some() && self.replicas.are_several(),
        };
        let positions = positions(running.positions());
        let mut rebuilder = PageRebuilder::new(self.page_context(&running.base, &login, &link, positions));
        let cluster = link.cluster;
        if let Some(most) = collects {
            rebuilder = rebuilder.copying(most);
        }
        let mut parts = Vec::new();
        rebuilder.push(&body, &mut parts).map_err(RelayError::from)?;
        let summary = rebuilder.finish(&mut parts).map_err(RelayError::from)?;
        running.started(&summary.id, &cluster);
        if let Some(next) = &summary.next {
            running.follow(&cluster, next.clone());
            if running.is_canceled() {
                self.cancel_upstream(running);
            }
        }
        running.answer(FirstPage { headers, body: parts.concat().into() });
        self.publish(running);
        self.told(running, &cluster, Some(0), Ok(summary));
        Ok(())
    }

    /// Submits to one cluster after another until one has taken the statement, or may have.
    async fn submitted(
        &self,
        running: &Running,
        sql: &ScopedSql,
        headers: HeaderMap,
        mut placed: Placed,
        noted: &Noted,
    ) -> Result<(Place, upstream::Response), StatementError> {
        running.sending();
        // If this gateway dies now, others know that Trino may have it.
        let told = self.published(running).await;
        // A statement that only reads does no harm by running, whatever its client was told. One that writes is not sent where
        // others would say of it that it was not.
        if running.writes
            && running.is_linked()
            && (told.is_err() || self.replicas.may_be_given_up(&running.id).await)
        {
            return Err(StatementError::Orphaned { sent: false });
        }
        let mut tried = vec![placed.cluster().to_owned()];
        if !placed.is_open() {
            // While it waited its cluster was taken out, or failed.
            match self.moved(&placed, noted, running.writes, &mut tried).await {
                Ok(other) => placed = other,
                Err(error) if placed.is_left_alone() => return Err(error),
                // One that is drained takes what waited for it, and one that has failed may be well again.
                Err(_) => {}
            }
        }
        loop {
            // Its outcome may be on record.
            if running.is_canceled() {
                return Err(StatementError::Canceled);
            }
            let timer = self.metrics.time(Stage::Upstream);
            running.marked(Guard::submitted);
            let response = placed.submit(sql, headers.clone()).await;
            drop(timer);
            self.metrics.upstream(
                UpstreamOperation::Submit,
                response.as_ref().err().map_or(UpstreamOutcome::Ok, upstream_outcome),
            );
            let error = match response {
                Ok(response) => return Ok((placed.into(), response)),
                Err(error) => error,
            };
            if !error.may_move() {
                return Err(error.into());
            }
            tracing::warn!(query = %running.id, %error, "a cluster has not taken a query");
            match self.moved(&placed, noted, running.writes, &mut tried).await {
                Ok(other) => placed = other,
                Err(_) => return Err(error.into()),
            }
        }
    }
}

/// What has become of a statement.
pub(super) enum Taken {
    /// It was answered here.
    Answered(Answer),
    /// It waits for its slot, or for its first page; its client is served.
    Begun(Arc<Running>, Served),
}

/// Where an answer comes from.
enum Way {
    /// It was given before.
    Given(Arc<Entry>),
    /// Trino, once there is a slot.
    Sent(Course, Ticket),
}

impl Way {
    fn queued(&self) -> Option<Queued> {
        match self {
            Self::Given(_) => None,
            Self::Sent(_, ticket) => Some(ticket.queued()),
        }
    }
}

/// All that Trino is told besides the statement.
pub(super) fn submit_headers(caller: &Authenticated, planned: &Planned) -> Result<HeaderMap, StatementError> {
    let (sql, session, user) = (&planned.sql, caller.call().session(), caller.principal().name());
    let transaction = planned.place.transaction.as_deref();
    let mut headers = wire::upstream_headers(session, user, transaction)?;
    // Every name that is sent has three parts. One that was overlooked is an error at Trino, and no table.
    headers.remove("x-trino-catalog");
    headers.remove("x-trino-schema");
    if sql.pins_time_zone() {
        headers.insert(TIME_ZONE, HeaderValue::from_static("UTC"));
    }
    if sql.restricted() {
        // Names of months and the like are in it: what a policy computes is not the user's to choose.
        headers.remove("x-trino-language");
    }
    if let Some((name, text)) = sql.prepared() {
        let mut told = HeaderMap::new();
        SessionChange::AddedPrepare { name, sql: text }.write(&mut told)?;
        headers.extend(told.into_iter().map(|(_, value)| (PREPARED, value)));
    }
    Ok(headers)
}

/// The page of a statement that only changes what the client remembers.
fn local_answer(local: &Local, id: &str, caller: &Authenticated) -> Result<Answer, StatementError> {
    let (change, update) = match local {
        Local::Prepare { name, sql } => (SessionChange::AddedPrepare { name, sql }, "PREPARE"),
        Local::Deallocate { name } => (SessionChange::DeallocatedPrepare(name), "DEALLOCATE"),
        Local::Cache { wish: Some(value) } => {
            (SessionChange::SetProperty { name: CACHE_PROPERTY, value }, "SET SESSION")
        }
        Local::Cache { wish: None } => (SessionChange::ClearProperty(CACHE_PROPERTY), "RESET SESSION"),
    };
    let mut headers = HeaderMap::new();
    change.write(&mut headers)?;
    let origin = Origin { id, base: caller.call().base(), elapsed_ms: 0 };
    let page = wire::finished_page(&origin, Some(update), &[], &[]);
    Ok(Answer::with_headers(answer::whole(page.into()), headers))
}
