//! Questions of dashboards that the gateway asks by itself, so that their viewers find the answers: when a table of theirs has
//! changed, as the users that the configuration names, among the jobs.
//!
//! What is asked is decided about like the user's own query, each time, and is on record as what it is. It takes part in the
//! cache as any query does; only its rows go nowhere. Of several gateways one asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::cached::{Course, Wanted};
use super::plan::{Plan, Planned, Seen};
use super::poll::login;
use super::submit::Taken;
use super::{Answer, Gateway, StatementError};
use crate::admission::Metered;
use crate::audit::{Outcome, State};
use crate::cache::{Cache, Key, Reason, Stand, Warming};
use crate::catalog::TableName;
use crate::error::Failure as _;
use crate::telemetry::{About, Trace, Warmed};
use crate::wire::{self, LinkMethod, Target};

/// Who asks, on record and among those who have slots.
pub(super) const WARMING: &str = "northgate:warming";
/// How many of them run at once, at one gateway.
const AT_ONCE: usize = 2;
/// The longest that one may take, with its time in the queue.
const LONGEST: Duration = Duration::from_mins(30);
/// When one is looked at again though no table of its has changed: after a failure, and otherwise. (Grants may be others.)
const AFTER_FAILURE: Duration = Duration::from_mins(5);
const AFTER_ALL: Duration = Duration::from_hours(1);
/// For how long one is another gateway's, unless that says so again.
const CLAIM: Duration = Duration::from_mins(1);
/// What a page may have besides the rows of an answer, in bytes.
const OF_PAGE: usize = 1 << 20;

/// One that is looked after: as one user.
struct Question<'a> {
    warming: &'a Warming,
    user: &'a str,
    /// How it was when it was looked at last.
    last: Option<Last>,
    /// Why it was refused then. That is on record once.
    refused: Option<&'static str>,
}

struct Last {
    /// None where that was not known.
    known: Option<Known>,
    due: Instant,
}

/// A question, and what its answer depended on.
struct Known {
    wanted: Arc<Wanted>,
    stands: BTreeMap<TableName, Stand>,
    date: Option<String>,
}

/// What of a page says how to go on.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "nextUri")]
    next: Option<String>,
    error: Option<IgnoredAny>,
}

/// One that is to be asked.
struct Ready {
    caller: Arc<Metered>,
    seen: Seen,
    planned: Planned,
    key: Key,
    /// How long an answer holds at most.
    life: Duration,
}

impl Question<'_> {
    fn is_due_after(&mut self, after: Duration) {
        if let Some(last) = &mut self.last {
            last.due = Instant::now() + after;
        }
    }
}

impl Gateway {
    /// Asks what `cache.warming` says when its tables have changed, for ever. For a task of its own.
    pub async fn warm(self: &Arc<Self>) {
        let Some(cache) = self.cache.as_ref().filter(|cache| !cache.config().warming.is_empty()) else {
            return;
        };
        if self.replicas.are_several() && !cache.is_shared() {
            tracing::warn!("cache.warming does nothing without cache.redis, as no answer is given again");
            return;
        }
        let mut questions = Vec::new();
        for warming in &cache.config().warming {
            for user in &warming.users {
                questions.push(Question { warming, user, last: None, refused: None });
            }
        }
        loop {
            tokio::time::sleep(cache.config().warming_every.0).await;
            let all = stream::iter(&mut questions);
            all.for_each_concurrent(AT_ONCE, |question| self.look_after(cache, question)).await;
        }
    }

    async fn look_after(self: &Arc<Self>, cache: &Cache, question: &mut Question<'_>) {
        if self.is_leaving() || self.is_unchanged(cache, question).await {
            return;
        }
        let id = wire::new_query_id(jiff::Timestamp::now().as_second());
        let outcome = About::query(&id, Trace::default()).scope(self.warmed(cache, question, &id)).await;
        tracing::debug!(
            name = question.warming.name,
            user = question.user,
            outcome = outcome.as_str(),
            "warmed"
        );
        self.metrics.cache_warming(outcome);
    }

    /// Whether all is as it was when it was looked at last. The catalog is asked once for all questions about a table.
    async fn is_unchanged(&self, cache: &Cache, question: &Question<'_>) -> bool {
        let Some(last) = question.last.as_ref().filter(|last| Instant::now() < last.due) else {
            return false;
        };
        let Some(Known { wanted, stands, date }) = &last.known else { return true };
        let revision = self.policies.load().revision().to_string();
        if wanted.revision != revision || wanted.date().as_ref() != Ok(date) {
            return false;
        }
        let believed = cache.config().freshness.0.max(cache.config().warming_every.0 / 2);
        Self::stands(wanted, believed).await.as_ref() == Ok(stands)
    }

    /// Looks for the answer, and asks if there is none.
    async fn warmed(self: &Arc<Self>, cache: &Cache, question: &mut Question<'_>, id: &str) -> Warmed {
        question.last = Some(Last { known: None, due: Instant::now() + AFTER_FAILURE });
        let ready = match self.ready(cache, question, id).await {
            Ok(ready) => ready,
            Err(outcome) => return outcome,
        };
        let gateway = self.replicas.id();
        match cache.claim(&ready.key, gateway, CLAIM).await {
            Ok(true) => {}
            Ok(false) => {
                question.is_due_after(CLAIM);
                return Warmed::Elsewhere;
            }
            Err(_) => return Warmed::Bypass,
        }
        let Ready { caller, seen, planned, key, life } = ready;
        let done = match self.begin(&caller, id, &seen, planned).await {
            Ok(Taken::Answered(answer)) => self.fetched(cache, &caller, (id, &key), answer).await,
            Ok(Taken::Begun(running, served)) => {
                let answer = self.begun(caller.authenticated(), &running, served).await;
                self.fetched(cache, &caller, (id, &key), answer).await
            }
            Err(error) => {
                self.refused_warming(question, &caller, id, &seen, &error).await;
                false
            }
        };
        let after = if done { life.min(AFTER_ALL) } else { AFTER_FAILURE };
        question.is_due_after(after);
        // The others need not ask either, also where the answer was not worth keeping.
        if let Err(error) = cache.claim(&key, gateway, after).await {
            tracing::debug!(%error, "other gateways may ask the same");
        }
        if done { Warmed::Asked } else { Warmed::Failed }
    }

    /// A question that is to be asked now: it is allowed, its answer may be given again, and is not there.
    async fn ready(
        self: &Arc<Self>,
        cache: &Cache,
        question: &mut Question<'_>,
        id: &str,
    ) -> Result<Ready, Warmed> {
        let (warming, user) = (question.warming, question.user);
        let named = warming.call(user, &self.request).ok().and_then(|call| {
            let by = format!("{WARMING} {}", warming.name);
            self.rate.meter_warming(self.identity.in_place_of(user, by, call)?)
        });
        let Some(caller) = named.map(Arc::new) else {
            tracing::warn!(
                name = warming.name,
                user,
                "what is to be warmed is not: the users file has no such user"
            );
            return Err(Warmed::Refused);
        };
        let mut seen = Seen { received_us: self.audit.tick_us(), ..Seen::default() };
        let planned = match self.planned(caller.authenticated(), id, &mut seen).await {
            Ok(Plan::Submit(planned)) => *planned,
            Ok(Plan::Local(_)) => return Err(Warmed::Bypass),
            Err(error) => {
                self.refused_warming(question, &caller, id, &seen, &error).await;
                return Err(Warmed::Refused);
            }
        };
        question.refused = None;
        let headers = self.told_to_trino(caller.authenticated(), id, &seen, &planned);
        let headers = headers.map_err(|_| Warmed::Refused)?;
        let bypass = |reason: Reason| {
            tracing::info!(name = warming.name, user, %reason, "what is to be warmed is not given again");
            Warmed::Bypass
        };
        let wanted = Self::wanted(cache, &caller, &planned, &seen, &headers).map_err(bypass)?;
        let wanted = Arc::new(wanted);
        // Before it is looked for: what changes then is seen the next time.
        let stands = Self::stands(&wanted, cache.config().freshness.0).await.map_err(bypass)?;
        let date = wanted.date().map_err(bypass)?;
        let life = wanted.life;
        let course = self.look(cache, Arc::clone(&wanted)).await;
        let last =
            |after| Some(Last { known: Some(Known { wanted, stands, date }), due: Instant::now() + after });
        match course {
            Course::Hit(entry) => {
                question.last = last(entry.left().min(AFTER_ALL));
                Err(Warmed::Fresh)
            }
            Course::Lead(collector) => {
                question.last = last(AFTER_FAILURE);
                Ok(Ready { key: collector.key, caller, seen, planned, life })
            }
            Course::Bypass(reason) => Err(bypass(reason)),
            Course::Off => Err(Warmed::Bypass),
        }
    }

    /// Notes why it is not asked: on record when that is new.
    async fn refused_warming(
        &self,
        question: &mut Question<'_>,
        caller: &Metered,
        id: &str,
        seen: &Seen,
        error: &StatementError,
    ) {
        tracing::warn!(name = question.warming.name, user = question.user, %error, "what is to be warmed is not");
        if question.refused.replace(error.kind()) != Some(error.kind()) {
            self.refuse(caller.authenticated(), id, seen, error).await;
        }
    }

    /// Fetches an answer to its end, for nobody; whether it has ended well. What is not kept is given up.
    async fn fetched(
        self: &Arc<Self>,
        cache: &Cache,
        caller: &Metered,
        (id, key): (&str, &Key),
        mut answer: Answer,
    ) -> bool {
        let caller = caller.authenticated();
        let most = usize::try_from(cache.config().max_result.0).unwrap_or(usize::MAX).saturating_add(OF_PAGE);
        let (end, mut claimed) = (Instant::now() + LONGEST, Instant::now());
        loop {
            let Answer::Page { body, .. } = answer else { break };
            let Ok(body) = Limited::new(body, most).collect().await else { break };
            let Ok(page) = serde_json::from_slice::<Page>(&body.to_bytes()) else { break };
            let Some(next) = page.next else { return page.error.is_none() };
            let sealed = next.rsplit('/').next().unwrap_or_default();
            let Some(link) = self.sealer.open_link(sealed, login(caller)) else { break };
            let running = self.registry.find(id);
            let is_sent = matches!(link.target, Target::Upstream { .. });
            let is_collected = running.as_ref().is_some_and(|running| running.collects().is_some());
            if is_sent && !is_collected || Instant::now() > end || self.is_leaving() {
                break;
            }
            if claimed.elapsed() > CLAIM / 3 {
                claimed = Instant::now();
                // Where that fails another may ask as well.
                _ = cache.claim(key, self.replicas.id(), CLAIM).await;
            }
            let Ok(next) = self.linked(caller, LinkMethod::Get, &link, running).await else { break };
            answer = next;
        }
        if let Some(running) = self.registry.find(id) {
            running.abandon();
            self.cancel_upstream(&running);
            self.end(&running, &Outcome::of(State::Abandoned));
        }
        false
    }
}
