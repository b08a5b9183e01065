//! What people see of the queries that wait and run here, and how they cancel one.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;

use super::poll::login;
use super::registry::{FirstPage, Running};
use super::{Answer, Gateway, QueryError, StatementError};
use crate::admission::{Account, Classified, Queued, Spent};
use crate::audit::{Outcome, State};
use crate::error::Failure as _;
use crate::identity::Authenticated;
use crate::lineage::Telling;
use crate::telemetry::Trace;
use crate::wire::{self, Origin};

/// The longest reason of a cancel, in characters.
const LONGEST_REASON: usize = 300;

/// Of so many principals it is listed what they have used.
const SPENT: usize = 100;

/// The reason of a cancel, as a user reads it and the audit has it; none if it is empty or too long, or has characters that
/// change how the text around it is shown.
pub fn reason(text: &str) -> Option<String> {
    let text = text.trim();
    let sound = !text.is_empty() && text.chars().count() <= LONGEST_REASON && !text.chars().any(hides);
    sound.then(|| text.to_owned())
}

/// Characters that control, break lines, turn the direction of text, or are not seen.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// How a query is admitted.
pub(super) struct Admitted {
    /// Its class, and by which rule.
    pub(super) class: Classified,
    /// Its place among those who wait.
    pub(super) queued: Option<Queued>,
    /// Whose it is.
    pub(super) principal: String,
    /// Who has signed in, if that is somebody else who may run queries as them.
    pub(super) impersonator: Option<Box<str>>,
    /// What kind of statement it is.
    pub(super) kind: &'static str,
    /// The trace of it.
    pub(super) trace: Trace,
    /// Who pays for what it uses, if anybody has a budget.
    pub(super) account: Option<Account>,
    /// Whom its end is told.
    pub(super) lineage: Telling,
}

impl Admitted {
    /// Whose the links are.
    fn login(&self) -> &str {
        self.impersonator.as_deref().unwrap_or(&self.principal)
    }
}

/// A query that waits or runs at this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub principal: String,
    /// What kind of statement it is.
    pub kind: &'static str,
    /// Its class.
    pub class: String,
    /// By which rule.
    pub rule: String,
    /// Its place among those of its class that wait, from 1; none if it has its slot.
    pub position: Option<usize>,
    /// Seconds since it came.
    pub age: u64,
}

impl Gateway {
    /// The queries of a principal that wait and run here, or of all, the oldest first.
    pub fn queries(&self, of: Option<&str>) -> Vec<Shown> {
        let mut all = self.registry.all();
        all.retain(|running| of.is_none_or(|of| running.admitted.principal == of));
        all.sort_by_key(|running| running.began);
        all.iter().map(|running| shown(running)).collect()
    }

    /// The budgets of today of which something is used, as far as is known here; of principals the first hundred.
    pub fn spent(&self) -> Vec<Spent> {
        self.budgets.spent(SPENT)
    }

    /// What a principal has used today of their own budget, if there is one.
    pub async fn spent_by(&self, principal: &str) -> Option<Spent> {
        self.budgets.own(principal).await
    }

    /// Cancels a query, of that principal if one is named; whose it was, if it was there. Its client reads who has cancelled
    /// it, and why: see [`reason`].
    pub async fn cancel_for(&self, id: &str, of: Option<&str>, by: &str, reason: &str) -> Option<String> {
        let running = self.registry.find(id)?;
        let principal = &running.admitted.principal;
        if of.is_some_and(|of| of != principal) {
            return None;
        }
        let error = StatementError::CanceledBy { by: by.to_owned(), reason: reason.to_owned() };
        let told = Outcome::failed(error.code().name, error.to_string());
        self.cancel_with(&running, &error, &Outcome { state: State::Canceled, ..told }).await;
        Some(principal.clone())
    }

    async fn cancel_with(&self, running: &Running, error: &StatementError, outcome: &Outcome) {
        let origin = Origin { id: &running.id, base: &running.base, elapsed_ms: 0 };
        let body = wire::failure_page(&origin, error).into();
        let page = FirstPage { headers: http::HeaderMap::new(), body };
        // Before it is cancelled: a poll that is under way is given this page then.
        self.registry.keep_last(&running.id, page.clone());
        self.publish_last(&running.id, &page).await;
        running.cancel(page);
        self.cancel_upstream(running);
        self.end(running, outcome);
    }

    /// Cancels a query of the caller's by its id, at whichever gateway it is. It is not told whether there was one: the answer
    /// to the id of somebody else's is that to an id that never was.
    pub(super) async fn cancel_by_id(&self, caller: &Authenticated, id: &str) -> Result<Answer, QueryError> {
        self.rate.poll(caller.principal().name(), caller.call().peer().address.ip()).await;
        if !self.cancel_of(id, login(caller)).await
            && let Err(error) = self.replicas.ask_to_cancel(id, login(caller)).await
        {
            tracing::warn!(%error, "other gateways cannot be asked to cancel a query");
            return Err(QueryError::Unasked);
        }
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    /// Cancels a query that is here, if it is of that login.
    async fn cancel_of(&self, id: &str, login: &str) -> bool {
        let Some(running) = self.registry.find(id).filter(|running| running.admitted.login() == login) else {
            return false;
        };
        // What has ended keeps its last page.
        if !running.has_ended() {
            self.cancel_with(&running, &StatementError::Canceled, &Outcome::of(State::Canceled)).await;
        }
        true
    }

    /// Cancels a query of this gateway for whoever wanted that at another, if it is theirs.
    pub(super) fn cancel_for_others(self: &Arc<Self>, id: String, logins: Vec<String>) {
        let gateway = Arc::clone(self);
        self.work.spawn(async move {
            for login in logins {
                gateway.cancel_of(&id, &login).await;
            }
        });
    }
}

fn shown(running: &Running) -> Shown {
    let Admitted { class, queued, principal, kind, .. } = &running.admitted;
    Shown {
        id: running.id.clone(),
        principal: principal.clone(),
        kind,
        class: class.name.to_string(),
        rule: class.rule.to_string(),
        position: queued.as_ref().and_then(Queued::standing).map(|standing| standing.ahead + 1),
        age: running.began.elapsed().as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn reasons() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(reason(text).as_deref(), expect, "{}", text.escape_debug());
        };
        check(" too big ", Some("too big"));
        check("zu groß", Some("zu groß"));
        check(&"ß".repeat(300), Some(&"ß".repeat(300)));
        check(&"a".repeat(301), None);
        for wrong in ["", "  ", "a\nb", "a\u{1b}[2Jb", "a\u{202e}b", "a\u{2066}b", "a\u{200b}b"] {
            check(wrong, None);
        }
    }
}
