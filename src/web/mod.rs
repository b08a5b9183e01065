//! The pages: sign-in, sign-out, access tokens, and the sign-in of drivers by a browser.
//!
//! HTML from the server, without scripts. A page that changes something is a form with the key of its session, sent from
//! our own origin. Cookies are `__Host-`, `HttpOnly` and `SameSite=Lax`; none is asked for by what drivers use, and none
//! signs a query in.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/style.css` | who is signed in |
//! | `/connect`, `/connect/FILE` | how each tool connects, and files that they open |
//! | `/login`, `/login/password`, `/login/oidc/NAME/…`, `/login/saml/NAME/…`, `/login/finish` | sign-in |
//! | `/logout` | sign-out, also at the identity provider |
//! | `/oauth2/token/initiate/TICKET` | what a driver shows its user |
//! | `/oauth2/token/TICKET` | what a driver asks for its token |
//! | `/oauth2/device`, `/oauth2/device/token` | sign-in at a terminal |
//! | `/history` | one's own queries |
//! | `/queries` | those that wait and run: one's own, or everybody's for operators, who cancel with a reason |
//! | `/status` | how the gateway does, for operators |
//! | `/audit`, `/audit/query/ID`, `/audit/records.jsonl` | the audit, for auditors |
//! | `/audit/reports`, `/audit/report.csv` | reports of it |
//! | `/audit/compliance` | the report of a month, to be printed and signed |
//! | `/audit/exports`, `/audit/exports/ID.tar` | exports of it with their proofs |
//! | `/tokens`, `/tokens/ID/revoke` | personal access tokens |

mod answer;
mod auditor;
pub mod compliance;
mod connect;
mod device;
mod driver;
mod exports;
mod history;
mod pages;
mod queries;
mod records;
mod reports;
mod request;
mod sign_in;
mod status;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response, StatusCode};

pub use self::answer::Body;

use self::answer::Reply;
use self::pages::{Frame, Place};
use self::request::{Asked, SESSION};
use crate::audit::{Audit, Auditors, Event};
use crate::error::Failure;
use crate::identity::{Identity, Login, Refused, Session};
use crate::query::Gateway;
use crate::status::Status;
use crate::wire::Peer;

/// Longest message of an identity provider, in bytes.
const LONGEST: u64 = 256 << 10;

/// The pages.
pub struct Web {
    identity: Arc<Identity>,
    audit: Arc<Audit>,
    auditors: Arc<Auditors>,
    queries: Option<Queries>,
}

/// The queries that there are pages of, and who sees everybody's.
pub struct Queries {
    /// Where they wait and run.
    pub gateway: Arc<Gateway>,
    /// The groups whose members see and cancel those of all.
    pub operators: Vec<String>,
    /// How the gateway does.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
}

impl Queries {
    fn admits(&self, session: &Session) -> bool {
        self.operators.iter().any(|group| session.principal().groups().contains(group))
    }
}

/// Why there is no page.
enum Failed {
    /// There is no such thing.
    NotFound,
    /// It is there for other methods.
    Method(&'static str),
    /// A form that no page of ours has sent in this session.
    Forged,
    /// A sign-in that did not work.
    Refused(Refused),
    /// Something else, that may be told.
    Because(StatusCode, String),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A redirect to a page of ours.
fn to(path: &str) -> Result {
    Reply::redirect(path).ok_or(Failed::NotFound)
}

type Result<T = Reply> = std::result::Result<T, Failed>;

/// What pages need, for one request.
struct Page<'p> {
    identity: &'p Arc<Identity>,
    audit: &'p Arc<Audit>,
    auditors: &'p Auditors,
    queries: Option<&'p Queries>,
    login: &'p Login,
    asked: Asked<'p>,
    /// Our address, as browsers see it.
    origin: String,
}

impl Web {
    /// Pages of these.
    pub fn new(identity: Arc<Identity>, audit: Arc<Audit>, auditors: Arc<Auditors>) -> Self {
        Self { identity, audit, auditors, queries: None }
    }

    /// The same, and of queries.
    #[must_use]
    pub fn with_queries(self, queries: Queries) -> Self {
        Self { queries: Some(queries), ..self }
    }

    /// Whether a request is for a page: everything but Trino's protocol.
    pub fn serves(path: &str) -> bool {
        !path.starts_with("/v1/")
    }

    /// Whether a request with a large body is not to be read: what it is answered. Only identity providers send such.
    pub fn screen(&self, parts: &Parts) -> Option<Response<Body>> {
        let segments: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let is_short = length.is_none_or(|length| length.parse().is_ok_and(|length: u64| length <= LONGEST));
        match segments.as_slice() {
            ["login", "saml", _, "acs" | "logout"] | ["login", "oidc", _, "logout"]
                if parts.method == Method::POST && is_short =>
            {
                None
            }
            _ => {
                let frame = Frame::new("That is too much", None);
                let page = pages::error(
                    &frame,
                    "What was sent is longer than any form of ours.",
                    &reference(),
                    None,
                );
                Some(Reply::page(StatusCode::PAYLOAD_TOO_LARGE, page).into_response())
            }
        }
    }

    /// Answers a request.
    pub async fn handle(&self, parts: &Parts, body: &Bytes, peer: &Peer) -> Response<Body> {
        let asked = Asked::new(parts, body, peer);
        let Some(login) = self.identity.login() else {
            let frame = Frame::new(pages::heading(StatusCode::NOT_FOUND), None);
            let page = pages::error(&frame, "Northgate has no pages here.", "-", None);
            return Reply::page(StatusCode::NOT_FOUND, page).into_response();
        };
        let origin = login.origin();
        let page = Page {
            identity: &self.identity,
            audit: &self.audit,
            auditors: &self.auditors,
            queries: self.queries.as_ref(),
            login,
            asked,
            origin,
        };
        let reply = match page.answer().await {
            Ok(reply) => reply,
            Err(failed) => page.failed(&failed),
        };
        reply.into_response()
    }
}

impl Page<'_> {
    async fn answer(&self) -> Result {
        let path = self.asked.path;
        let (get, post) =
            (matches!(*self.asked.method, Method::GET | Method::HEAD), self.asked.method == Method::POST);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["style.css"] if get => Ok(Reply::style()),
            [""] if get => self.home().await,
            ["connect"] if get => self.connect().await,
            ["connect", name] if get => self.connect_file(name).await,
            ["login"] if get => self.choose().await,
            ["login", "password"] if get => self.password_form().await,
            ["login", "password"] if post => self.password().await,
            ["login", "finish"] if get => self.finish().await,
            ["login", "oidc", name] if get => self.begin_oidc(name).await,
            ["login", "oidc", name, "callback"] if get => self.oidc_answered(name).await,
            ["login", "oidc", name, "logout"] if post => self.oidc_logged_out(name).await,
            ["login", "saml", name] if get => self.begin_saml(name).await,
            ["login", "saml", name, "metadata"] if get => self.saml_metadata(name),
            ["login", "saml", name, "acs"] if post => self.saml_answered(name).await,
            ["login", "saml", name, "logout"] if get || post => self.saml_logout(name).await,
            ["logout"] if post => self.sign_out().await,
            ["logout"] if get => to("/"),
            ["oauth2", "token", "initiate", ticket] if get => self.initiate(ticket).await,
            ["oauth2", "token", "initiate", ticket] if post => self.decide(ticket).await,
            ["oauth2", "device"] if post => self.begin_terminal().await,
            ["oauth2", "device", "token"] if post => self.ask_terminal().await,
            // What is told once is not told to who asks for its head alone.
            ["oauth2", "token", ticket] if self.asked.method == Method::GET => self.poll(ticket).await,
            ["oauth2", "token", ticket] if self.asked.method == Method::DELETE => self.forget(ticket).await,
            ["audit"] if get => self.audit_records().await,
            ["audit", "records.jsonl"] if get => self.audit_download().await,
            ["audit", "query", id] if get => self.audit_query(id).await,
            ["audit", "reports"] if get => self.reports().await,
            ["audit", "report.csv"] if get => self.report_csv().await,
            ["audit", "compliance"] if get => self.compliance().await,
            ["audit", "exports"] if get => self.exports().await,
            ["audit", "exports"] if post => self.begin_export().await,
            ["audit", "exports", name] if get => self.fetch_export(name).await,
            ["history"] if get => self.history().await,
            ["queries"] if get => self.queries().await,
            ["status"] if get => self.status().await,
            ["queries", id, "cancel"] if post => self.cancel_query(id).await,
            ["tokens"] if get => self.tokens().await,
            ["tokens"] if post => self.make_token().await,
            ["tokens", id, "revoke"] if post => self.revoke_token(id).await,
            ["audit", "exports"] => Err(Failed::Method("GET, POST")),
            ["style.css" | "" | "login" | "history" | "queries" | "status"]
            | ["connect" | "audit", ..]
            | ["login", "finish" | "saml" | "oidc", ..] => Err(Failed::Method("GET")),
            ["login", "password"] | ["logout" | "tokens"] | ["oauth2", "token", "initiate", _] => {
                Err(Failed::Method("GET, POST"))
            }
            ["oauth2", "token", _] => Err(Failed::Method("GET, DELETE")),
            ["oauth2", "device"]
            | ["oauth2", "device", "token"]
            | ["tokens", _, "revoke"]
            | ["queries", _, "cancel"] => Err(Failed::Method("POST")),
            _ => Err(Failed::NotFound),
        }
    }

    async fn home(&self) -> Result {
        let Some(session) = self.session().await? else { return to("/login") };
        let mut frame = self.frame("Overview", Some(&session));
        frame.place = Place::Home;
        Ok(Reply::page(StatusCode::OK, pages::home(&frame, &session)))
    }

    fn frame<'f>(&self, title: &'f str, session: Option<&'f Session>) -> Frame<'f> {
        let audit = session.is_some_and(|session| self.auditors.admits(session.principal().groups()));
        Frame {
            tokens: self.identity.access_tokens().is_some(),
            queries: self.queries.is_some(),
            operates: session
                .is_some_and(|session| self.queries.is_some_and(|queries| queries.admits(session))),
            audit,
            ..Frame::new(title, session)
        }
    }

    async fn session(&self) -> Result<Option<Session>> {
        match self.asked.cookie(SESSION) {
            Some(cookie) => Ok(self.login.session(cookie.expose()).await?),
            None => Ok(None),
        }
    }

    /// The session of a form that a page of ours has sent in it.
    async fn session_of_form(&self) -> Result<Option<Session>> {
        if !self.asked.is_own(&self.origin) {
            return Err(Failed::Forged);
        }
        let Some(session) = self.session().await? else { return Ok(None) };
        self.holds_key_of(&session)?;
        Ok(Some(session))
    }

    /// Whether the form is one of the session's.
    fn holds_key_of(&self, session: &Session) -> Result<()> {
        let key = self.asked.form();
        // What is sent twice would count as not sent, and a limit that is not sent as none.
        if !key.is_clear() {
            return Err(Failed::Forged);
        }
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            key.text("key").as_bytes(),
            session.form_key().as_bytes(),
        );
        same.map_err(|_| Failed::Forged)
    }

    /// Where the one who asks is.
    fn address(&self) -> std::net::IpAddr {
        self.asked.peer.address.ip()
    }

    fn event(&self, method: &str, outcome: &str, principal: Option<&str>, detail: Option<String>) -> Event {
        event(self.asked.peer, method, outcome, principal, detail)
    }

    /// Records something before it takes effect.
    async fn recorded(&self, event: &Event) -> Result<()> {
        self.audit.record(event).await.map_err(|error| {
            tracing::error!(%error, "a sign-in could not be recorded");
            Failed::Refused(Refused::Unavailable("the audit cannot be written".to_owned()))
        })
    }

    /// The page of what went wrong. Its reference is in the log beside the reason.
    fn failed(&self, failed: &Failed) -> Reply {
        let reference = reference();
        let (status, message, retry) = match failed {
            Failed::NotFound => (StatusCode::NOT_FOUND, "Look at the address again.".to_owned(), None),
            Failed::Method(_) => {
                let message = "Go back, and use the buttons of the page.".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, message, None)
            }
            Failed::Forged => {
                let message = "This form is not from your present sign-in. Go back to the page, load it again, and send \
                               it once more.";
                (StatusCode::FORBIDDEN, message.to_owned(), None)
            }
            Failed::Refused(refused) => {
                let status = match refused.http_status() {
                    // There is no way to sign in by a header here.
                    StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
                    status => status,
                };
                (status, told(refused), refused.retry_after())
            }
            Failed::Because(status, message) => (*status, message.clone(), None),
        };
        if let Failed::Refused(refused) = failed {
            // Not the whole path: who reads the log must not find there what a driver asks for its token with.
            let page = self.asked.path.rsplit_once('/').map_or("", |(before, _)| before);
            tracing::info!(reference, %refused, page, "a sign-in with a browser failed");
        }
        let (title, again) = match (failed, status) {
            (Failed::Refused(_), StatusCode::FORBIDDEN) => ("You could not be signed in", Some("/login")),
            (Failed::Forged, _) => ("Nothing was done", None),
            (Failed::Because(..), StatusCode::FORBIDDEN) => ("This is not for you", None),
            (Failed::Because(..), _) => ("That did not work", None),
            (_, status) => (pages::heading(status), None),
        };
        let page = pages::error(&self.frame(title, None), &message, &reference, again);
        let reply = Reply::page(status, page).retry_after(retry);
        match failed {
            Failed::Method(allowed) => reply.allow(allowed),
            _ => reply,
        }
    }
}

/// What somebody at a browser is told.
fn told(refused: &Refused) -> String {
    use crate::identity::Cause;
    match refused {
        Refused::BadCredentials(Cause::Attempt | Cause::Overage | Cause::Expired | Cause::Declined(_)) => {
            refused.client_message()
        }
        Refused::BadCredentials(_) => {
            "Your identity provider's answer cannot be used. Sign in again; if that does \
                                       not help, tell Northgate's operators the reference below."
                .to_owned()
        }
        refused => refused.client_message(),
    }
}

/// A record of a sign-in.
fn event(peer: &Peer, method: &str, outcome: &str, principal: Option<&str>, detail: Option<String>) -> Event {
    Event::SignIn {
        auth_method: method.to_owned(),
        outcome: outcome.to_owned(),
        principal: principal.map(str::to_owned),
        peer: peer.origin(),
        detail,
    }
}

/// A number to ask about.
fn reference() -> String {
    let mut bytes = [0; 5];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => crate::units::hex(&bytes),
        Err(_) => "none".to_owned(),
    }
}
