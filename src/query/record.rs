//! What the audit is told of a statement.

use std::collections::BTreeSet;

use super::plan::{Planned, Seen};
use super::{Gateway, StatementError};
use crate::audit::{Asked, Asker, Audit, Basis, Cached, Event, Intent, Outcome, Read, Reason, State};
use crate::catalog::TableName;
use crate::error::Failure;
use crate::identity::{Authenticated, Method, Refused, is_access_token};
use crate::lineage::{End, Input, Run, Telling};
use crate::policy::{Permit, Scoped};
use crate::rewrite;
use crate::sql::Statement;
use crate::telemetry::QueryEnd;
use crate::units::hex;
use crate::wire::{Credentials, PageSummary, Peer};

/// The text of a statement that is refused because there are too many is on record up to this length, else its hash.
const LONGEST_REFUSED: usize = 1_000;
/// From this code on an error is not the statement's (`USER_ERROR`).
const FIRST_INTERNAL: i64 = 0x1_0000;
/// What is in the names of session properties that hold secrets.
const SECRETS: [&str; 5] = ["password", "secret", "token", "credential", "key"];

pub(super) fn asker(caller: &Authenticated) -> Asker {
    let (principal, session, peer) = (caller.principal(), caller.call().session(), caller.call().peer());
    Asker {
        principal: principal.name().to_owned(),
        identity: Some(principal.identity())
            .filter(|identity| {
                !caller.is_warming() && *identity != caller.impersonator().unwrap_or(principal.name())
            })
            .map(str::to_owned),
        impersonator: caller.impersonator().map(str::to_owned),
        auth_method: method(principal.method()),
        token: match principal.method() {
            Method::Token { id, .. } => Some(id.clone()),
            _ => None,
        },
        token_name: match principal.method() {
            Method::Token { name, .. } => Some(name.clone()),
            _ => None,
        },
        issuer: match principal.method() {
            Method::Jwt { issuer } => Some(issuer.clone()),
            Method::Oidc { provider } | Method::Saml { provider } => Some(provider.clone()),
            _ => None,
        },
        groups: principal.groups().iter().cloned().collect(),
        // Nobody has asked what the gateway asks by itself.
        peer: if caller.is_warming() { String::new() } else { peer.origin() },
        proxy: proxy(peer),
        forwarded: peer.proxy.as_deref().and_then(|proxy| proxy.forwarded.clone()),
        tls: tls(peer),
        source: session.source.clone(),
        client_tags: session.client_tags.clone(),
        client_info: session.client_info.clone(),
        trace_token: session.trace_token.clone(),
    }
}

fn method(method: &Method) -> String {
    method.as_str().to_owned()
}

fn proxy(peer: &Peer) -> Option<String> {
    peer.proxy.as_deref().map(|proxy| proxy.address.to_string())
}

fn tls(peer: &Peer) -> Option<String> {
    peer.tls.map(|version| version.as_str().to_owned())
}

fn asked(audit: &Audit, caller: &Authenticated, seen: &Seen) -> Asked {
    let session = caller.call().session();
    let (mut text, mut parameters) = (caller.call().body().to_owned(), Vec::new());
    if let Some((values, before)) = &seen.values {
        parameters.clone_from(values);
        if !seen.harmless {
            text = format!("{before} ?");
            parameters.iter_mut().for_each(|value| *value = audit.conceal(value));
        }
    }
    let property = |(name, value): &(String, String)| {
        let lower = name.to_lowercase();
        let secret = SECRETS.iter().any(|word| lower.contains(word));
        (name.clone(), if secret { audit.conceal(value) } else { value.clone() })
    };
    Asked {
        received_us: seen.received_us,
        text,
        prepared: seen.prepared.clone(),
        kind: seen.kind.map(str::to_owned),
        catalog: session.catalog.clone(),
        schema: session.schema.clone(),
        properties: session.properties.iter().map(property).collect(),
        parameters,
        relations: seen.relations.iter().map(ToString::to_string).collect(),
        tables: seen.tables.clone(),
    }
}

/// What a statement can read. `direct` are the relations that it names itself.
pub(super) fn read(statement: &Statement, direct: &[TableName], permit: &Permit) -> Vec<Read> {
    let mut columns = rewrite::read_columns(rewrite::subject(statement), direct, permit);
    let views: Vec<_> =
        permit.tables().filter_map(|scoped| Some((&scoped.described().name, scoped.view()?))).collect();
    let read = |scoped: &Scoped| {
        let name = &scoped.described().name;
        let columns: Vec<&str> = columns.remove(name).unwrap_or_default().into_iter().collect();
        let tags = |column: &&str| {
            let tags: BTreeSet<String> = scoped.tags(column).map(str::to_owned).collect();
            (!tags.is_empty()).then(|| ((*column).to_owned(), tags.into_iter().collect()))
        };
        let through = views.iter().filter(|(_, view)| view.reads.contains(name));
        Read {
            name: name.to_string(),
            tags: columns.iter().filter_map(tags).collect(),
            masked: columns
                .iter()
                .filter(|column| scoped.mask(column).is_some())
                .map(ToString::to_string)
                .collect(),
            columns: columns.into_iter().map(str::to_owned).collect(),
            snapshot: None,
            filters: scoped.filters().len(),
            through: through.map(|(view, _)| view.to_string()).collect(),
        }
    };
    permit.tables().map(read).collect()
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
        cached: Cached,
    ) -> Intent {
        let rewritten = planned.map(|planned| match planned.sql.prepared() {
            // What Trino is told besides the statement is part of what it is asked.
            Some((name, text)) => format!("{}\n-- {name}: {text}", planned.sql.text()),
            None if seen.harmless => planned.sql.text().to_owned(),
            None => planned.sql.without_values().into_owned(),
        });
        let restricted = planned.is_some_and(|planned| planned.sql.restricted());
        Intent {
            query: id.to_owned(),
            asker: asker(caller),
            asked: asked(&self.audit, caller, seen),
            rewritten: rewritten.unwrap_or_default(),
            basis: planned.map_or_else(
                || Basis { policy_revision: self.policies.load().revision().to_string(), ..Basis::default() },
                |planned| basis(&planned.permit),
            ),
            cached,
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
        let (query, asker, mut asked) = (id.to_owned(), asker(caller), asked(&self.audit, caller, seen));
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
pub(super) fn login_failed(
    credentials: &Credentials,
    asserted: bool,
    peer: &Peer,
    refused: &Refused,
) -> Option<Event> {
    if let Refused::Renewed { user, .. } = refused {
        return Some(Event::SignIn {
            auth_method: "driver".to_owned(),
            outcome: "driver_renewed".to_owned(),
            principal: Some(user.clone()),
            peer: peer.origin(),
            detail: None,
        });
    }
    let is_token = is_access_token(credentials);
    let (claimed, auth_method) = match credentials {
        // A driver that has not been asked yet, and a browser that looks around: nothing was tried.
        Credentials::None if asserted => (None, "alb"),
        Credentials::None => match &peer.certificate {
            Some(certificate) => (Some(certificate.subject().to_owned()), "certificate"),
            None => return None,
        },
        Credentials::Basic { user, .. } => (Some(user.clone()), if is_token { "token" } else { "password" }),
        Credentials::Bearer(_) => (None, if is_token { "token" } else { "jwt" }),
    };
    Some(Event::LoginFailed {
        claimed,
        auth_method: auth_method.to_owned(),
        peer: peer.origin(),
        proxy: proxy(peer),
        reason: Reason { reason: refused.kind().to_owned(), detail: refused.to_string() },
    })
}

impl Gateway {
    /// Tells that a query begins which reads or changes something, and gives what its end is told to.
    pub(super) fn telling(
        &self,
        id: &str,
        caller: &Authenticated,
        seen: &Seen,
        planned: &Planned,
    ) -> Telling {
        if seen.tables.is_empty() && seen.targets.is_empty() {
            return Telling::default();
        }
        let input = |read: &Read| Input {
            name: read.name.clone(),
            columns: read.columns.clone(),
            tags: read.tags.clone(),
            masked: read.masked.clone(),
            filters: read.filters,
        };
        self.lineage.begin(|| Run {
            query: id.to_owned(),
            kind: seen.kind.unwrap_or("statement").to_owned(),
            source: caller.call().session().source.clone(),
            inputs: seen.tables.iter().map(input).collect(),
            outputs: seen.targets.iter().map(ToString::to_string).collect(),
            policy_revision: planned.permit.revision().to_string(),
            decision: if planned.sql.restricted() { "restricted" } else { "allowed" }.to_owned(),
        })
    }
}

/// What lineage is told of how a query ended.
pub(super) fn lineage_end(outcome: &Outcome) -> End<'_> {
    match outcome.state {
        State::Finished => End::Complete,
        State::Failed => End::Fail(outcome.error.as_deref().unwrap_or("unknown")),
        State::Canceled | State::Abandoned | State::Unknown => End::Abort,
    }
}

/// The outcome that the last page tells.
pub(super) fn outcome(summary: &PageSummary) -> Outcome {
    match &summary.error {
        None => Outcome::of(State::Finished),
        Some(error) if error.name == "USER_CANCELED" => Outcome::of(State::Canceled),
        Some(error) => Outcome::failed(error.name.clone(), error.message.clone())
            .with_users_fault(error.code < FIRST_INTERNAL),
    }
}

/// How a query ended, as a label.
pub(super) fn end(outcome: &Outcome) -> QueryEnd {
    match outcome.state {
        State::Finished => QueryEnd::Finished,
        State::Failed if outcome.users_fault => QueryEnd::UserError,
        State::Failed | State::Unknown => QueryEnd::Failed,
        State::Canceled => QueryEnd::Canceled,
        State::Abandoned => QueryEnd::Abandoned,
    }
}
