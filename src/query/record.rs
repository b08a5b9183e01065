//! What the audit is told of a statement.

use super::plan::{Planned, Seen};
use super::{Gateway, StatementError};
use crate::audit::{Asked, Asker, Basis, Event, Intent, Outcome, Reason, State};
use crate::error::Failure;
use crate::identity::{Authenticated, Method, Refused};
use crate::policy::Permit;
use crate::units::hex;
use crate::wire::{Credentials, PageSummary, Peer};

/// The text of a statement that is refused because there are too many is on record up to this length, else its hash.
const LONGEST_REFUSED: usize = 1_000;

pub(super) fn asker(caller: &Authenticated) -> Asker {
    let (principal, session, peer) = (caller.principal(), caller.call().session(), caller.call().peer());
    Asker {
        principal: principal.name().to_owned(),
        impersonator: caller.impersonator().map(str::to_owned),
        auth_method: method(principal.method()),
        groups: principal.groups().iter().cloned().collect(),
        peer: peer.address.to_string(),
        tls: tls(peer),
        source: session.source.clone(),
        client_tags: session.client_tags.clone(),
        client_info: session.client_info.clone(),
    }
}

fn method(method: &Method) -> String {
    method.as_str().to_owned()
}

fn tls(peer: &Peer) -> Option<String> {
    peer.tls.map(|version| version.as_str().to_owned())
}

pub(super) fn asked(caller: &Authenticated, seen: &Seen) -> Asked {
    let session = caller.call().session();
    Asked {
        text: caller.call().body().to_owned(),
        kind: seen.kind.map(str::to_owned),
        catalog: session.catalog.clone(),
        schema: session.schema.clone(),
        properties: session.properties.iter().cloned().collect(),
        parameters: Vec::new(),
        relations: seen.relations.iter().map(ToString::to_string).collect(),
    }
}

fn basis(permit: &Permit) -> Basis {
    Basis {
        policy_revision: permit.revision().to_string(),
        documents: permit.sources().map(ToString::to_string).collect(),
        sensitive: permit.is_sensitive(),
    }
}

impl Gateway {
    /// The record of a statement that is allowed.
    pub(super) fn intent(
        &self,
        caller: &Authenticated,
        id: &str,
        seen: &Seen,
        planned: Option<&Planned>,
    ) -> Intent {
        let rewritten = planned.map(|planned| match planned.sql.prepared() {
            // What Trino is told besides the statement is part of what it is asked.
            Some((name, text)) => format!("{}\n-- {name}: {text}", planned.sql.text()),
            None => planned.sql.text().to_owned(),
        });
        let restricted = planned.is_some_and(|planned| planned.sql.restricted());
        Intent {
            query: id.to_owned(),
            asker: asker(caller),
            asked: asked(caller, seen),
            rewritten: rewritten.unwrap_or_default(),
            basis: planned.map_or_else(
                || Basis { policy_revision: self.policies.load().revision().to_string(), ..Basis::default() },
                |planned| basis(&planned.permit),
            ),
            decision: if restricted { "restricted" } else { "allowed" }.to_owned(),
        }
    }

    /// The record of a statement that is not sent.
    pub(super) fn refusal(
        &self,
        caller: &Authenticated,
        id: &str,
        seen: &Seen,
        error: &StatementError,
    ) -> Event {
        let reason = Reason { reason: error.kind().to_owned(), detail: error.to_string() };
        let (query, asker, mut asked) = (id.to_owned(), asker(caller), asked(caller, seen));
        if matches!(error, StatementError::Admission(_)) && asked.text.len() > LONGEST_REFUSED {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, asked.text.as_bytes());
            let digest = hex(digest.as_ref());
            asked.text = format!("-- {} bytes, SHA-256 {digest}", asked.text.len());
        }
        if error.is_denial() {
            let basis =
                Basis { policy_revision: self.policies.load().revision().to_string(), ..Basis::default() };
            return Event::Denied { query, asker, asked, basis, reason };
        }
        Event::Refused { query, asker, asked, reason }
    }
}

/// The record of a call whose sender is not known, or is not let in.
pub(super) fn login_failed(credentials: &Credentials, peer: &Peer, refused: &Refused) -> Option<Event> {
    let (claimed, auth_method) = match credentials {
        // A driver that has not been asked yet, and a browser that looks around: nothing was tried.
        Credentials::None => return None,
        Credentials::Basic { user, .. } => (Some(user.clone()), "password"),
        Credentials::Bearer(_) => (None, "jwt"),
    };
    Some(Event::LoginFailed {
        claimed,
        auth_method: auth_method.to_owned(),
        peer: peer.address.to_string(),
        reason: Reason { reason: refused.kind().to_owned(), detail: refused.to_string() },
    })
}

/// The outcome that the last page tells.
pub(super) fn outcome(summary: &PageSummary) -> Outcome {
    match &summary.error {
        None => Outcome::of(State::Finished),
        Some(error) if error.name == "USER_CANCELED" => Outcome::of(State::Canceled),
        Some(error) => Outcome::failed(error.name.clone(), error.message.clone()),
    }
}
