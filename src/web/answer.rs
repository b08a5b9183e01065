//! What a browser is answered.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use maud::Markup;
use tokio_util::io::ReaderStream;

use super::request::{SESSION, SIGN_IN};
use crate::identity::Carried;

/// On every page: nobody keeps it, frames it, or runs anything in it.
const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Other sites learn nothing of our addresses; our own forms tell where they are from.
    (header::REFERRER_POLICY, "same-origin"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    // Windows and pages of other sites have no hold of ours.
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What is sent: a page, or a file while it is read.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer.
pub(super) struct Reply(Response<Body>);

impl Reply {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        for (name, value) in ALWAYS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Self(response).forms_to(None)
    }

    /// A page.
    pub(super) fn page(status: StatusCode, page: Markup) -> Self {
        Self::new(status, "text/html; charset=utf-8", page.into_string())
    }

    /// Something for a program.
    pub(super) fn json(body: &serde_json::Value) -> Self {
        Self::new(StatusCode::OK, "application/json", body.to_string())
    }

    /// Something else.
    pub(super) fn other(kind: &'static str, body: String) -> Self {
        Self::new(StatusCode::OK, kind, body)
    }

    /// A file to keep.
    pub(super) fn download(kind: &'static str, name: &str, body: Vec<u8>) -> Self {
        let mut reply = Self::new(StatusCode::OK, kind, body);
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            reply.0.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
        reply
    }

    /// A file to keep, that is sent while it is read.
    pub(super) fn file(kind: &'static str, name: &str, file: tokio::fs::File) -> Self {
        let mut reply = Self::download(kind, name, Vec::new());
        let pieces = ReaderStream::with_capacity(file, 64 << 10).map_ok(Frame::data);
        *reply.0.body_mut() = StreamBody::new(pieces).boxed_unsync();
        reply
    }

    /// The style sheet. It may be kept.
    pub(super) fn style() -> Self {
        let mut reply =
            Self::new(StatusCode::OK, "text/css; charset=utf-8", &include_bytes!("style.css")[..]);
        let kept = HeaderValue::from_static("public, max-age=3600");
        reply.0.headers_mut().insert(header::CACHE_CONTROL, kept);
        reply
    }

    /// No content.
    pub(super) fn empty() -> Self {
        Self::new(StatusCode::NO_CONTENT, "text/plain; charset=utf-8", Bytes::new())
    }

    /// Sends the browser to an address (303: it is got, whatever was done here). None if it cannot be one.
    pub(super) fn redirect(to: &str) -> Option<Self> {
        let to = HeaderValue::from_str(to).ok()?;
        let mut reply = Self::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
        reply.0.headers_mut().insert(header::LOCATION, to);
        Some(reply)
    }

    /// Forms of the page are for us, or for this origin.
    pub(super) fn forms_to(mut self, origin: Option<&str>) -> Self {
        let to = origin.map_or_else(|| "'self'".to_owned(), |origin| format!("'self' {origin}"));
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action {to}; base-uri 'none'; frame-ancestors 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            self.0.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        self
    }

    fn set(mut self, name: &str, value: &str, life: Duration) -> Self {
        let cookie =
            format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", life.as_secs());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            self.0.headers_mut().append(header::SET_COOKIE, cookie);
        }
        self
    }

    /// The browser carries a session from now on.
    pub(super) fn with_session(self, secret: &str, life: Duration) -> Self {
        self.set(SESSION, secret, life)
    }

    /// It carries none any more, and forgets what it has of our pages: some browsers keep those to go back to, although they
    /// are told not to.
    pub(super) fn without_session(mut self) -> Self {
        let forget = HeaderValue::from_static("\"cache\"");
        self.0.headers_mut().insert(HeaderName::from_static("clear-site-data"), forget);
        self.set(SESSION, "", Duration::ZERO)
    }

    /// The browser carries a sign-in that is under way.
    pub(super) fn with_sign_in(self, carried: &Carried) -> Self {
        self.set(&format!("{SIGN_IN}{}", carried.label), carried.value.expose(), carried.life)
    }

    /// It carries that no more.
    pub(super) fn without_sign_in(self, label: &str) -> Self {
        self.set(&format!("{SIGN_IN}{label}"), "", Duration::ZERO)
    }

    /// Other methods there are.
    pub(super) fn allow(mut self, methods: &'static str) -> Self {
        self.0.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        self
    }

    /// When to come back.
    pub(super) fn retry_after(mut self, after: Option<Duration>) -> Self {
        if let Some(after) = after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            self.0.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.0
    }
}
