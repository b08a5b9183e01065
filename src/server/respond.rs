//! The only place where answers and errors become HTTP.
//!
//! What is wrong with a query is told in a page (status 200 and an `error`), which drivers show to their users;
//! what is wrong with a login or a request in a status and a line of text. Drivers submit again on 502, 503 and
//! 504: those are only for requests of which Trino has seen nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::{Body, whole};
use crate::error::Failure;
use crate::identity::Refused;
use crate::wire::{self, Malformed, Origin};

/// On every answer: nobody keeps it, guesses at its type, frames it or runs anything in it.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn answer(status: StatusCode, kind: Option<HeaderValue>, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.reserve(ALWAYS.len() + 1);
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// A page of Trino's protocol, or other JSON, with these headers besides our own.
pub fn page(headers: HeaderMap, body: Body) -> Response<Body> {
    answer(StatusCode::OK, Some(JSON), headers, body)
}

/// JSON Lines.
pub fn lines(body: Body) -> Response<Body> {
    answer(StatusCode::OK, Some(HeaderValue::from_static("application/x-ndjson")), HeaderMap::new(), body)
}

/// JSON that is all there.
pub fn json(body: impl Into<Bytes>) -> Response<Body> {
    page(HeaderMap::new(), whole(body))
}

/// A status without a body, such as the 204 of a cancel.
pub fn empty(status: StatusCode) -> Response<Body> {
    answer(status, None, HeaderMap::new(), whole(Bytes::new()))
}

/// A status and a line of text.
pub fn text(status: StatusCode, line: &str) -> Response<Body> {
    answer(status, Some(TEXT), HeaderMap::new(), whole(format!("{line}\n")))
}

/// A failed query: a page that says so.
pub fn failed(origin: &Origin<'_>, failure: &(dyn Failure + 'static)) -> Response<Body> {
    json(wire::failure_page(origin, failure))
}

/// A failed request: a status, and what the client may know of the reason.
pub fn failure(status: StatusCode, failure: &(dyn Failure + 'static)) -> Response<Body> {
    text(status, &failure.client_message())
}

/// A refused login, with its challenges.
pub fn refused(refused: &Refused) -> Response<Body> {
    let mut response = failure(refused.http_status(), refused);
    for challenge in refused.challenges() {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = refused.retry_after() {
        retry_after(&mut response, after);
    }
    response
}

/// Puts a challenge in the place of those to bring a token.
pub fn challenge_bearer(response: &mut Response<Body>, challenge: &str) {
    let Ok(challenge) = HeaderValue::from_str(challenge) else { return };
    let headers = response.headers_mut();
    let others = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let others: Vec<_> = others.filter(|value| !value.as_bytes().starts_with(b"Bearer ")).cloned().collect();
    headers.insert(header::WWW_AUTHENTICATE, challenge);
    for other in others {
        headers.append(header::WWW_AUTHENTICATE, other);
    }
}

/// A request that could not be read: a page where that helps a user, else a status.
pub fn malformed(origin: &Origin<'_>, malformed: &Malformed) -> Response<Body> {
    if malformed.as_page() {
        return failed(origin, malformed);
    }
    let mut response = failure(malformed.http_status(), malformed);
    if let Malformed::Method { allowed } = malformed {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// Says when to try again, in whole seconds, rounded up.
pub fn retry_after(response: &mut Response<Body>, after: Duration) {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{By, Cause};
    use crate::wire::BodyFault;
    use http_body_util::BodyExt as _;

    const ORIGIN: Origin<'static> =
        Origin { id: "20260101_000000_00000_abcde", base: "https://gw:8443", elapsed_ms: 1 };

    async fn read(response: Response<Body>) -> (u16, HeaderMap, String) {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn every_answer_is_guarded() {
        for response in [json("{}"), empty(StatusCode::NO_CONTENT), text(StatusCode::OK, "x")] {
            let (_, headers, _) = read(response).await;
            for (name, value) in ALWAYS {
                assert_eq!(headers[name], value);
            }
        }
    }

    #[tokio::test]
    async fn a_refused_login_is_challenged() {
        let (status, headers, body) = read(refused(&Refused::BadCredentials(Cause::UnknownUser))).await;
        assert_eq!(status, 401);
        assert_eq!(headers.get_all(header::WWW_AUTHENTICATE).iter().count(), 2);
        assert!(!body.to_lowercase().contains("unknown"), "{body}");
        let many = Refused::TooManyAttempts { by: By::Name, retry_after: Duration::from_millis(2500) };
        let (status, headers, _) = read(refused(&many)).await;
        assert_eq!((status, &headers[header::RETRY_AFTER]), (429, &HeaderValue::from_static("3")));
    }

    #[tokio::test]
    async fn a_bad_statement_is_a_page_and_a_bad_request_is_not() {
        let (status, headers, body) = read(malformed(&ORIGIN, &Malformed::Body(BodyFault::Nul))).await;
        assert_eq!((status, &headers[header::CONTENT_TYPE]), (200, &JSON));
        let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(page["error"]["errorName"], "SYNTAX_ERROR");
        let (status, headers, body) = read(malformed(&ORIGIN, &Malformed::NotFound)).await;
        assert_eq!((status, &headers[header::CONTENT_TYPE], body.as_str()), (404, &TEXT, "Not found\n"));
        let method = Malformed::Method { allowed: "GET" };
        let (status, headers, _) = read(malformed(&ORIGIN, &method)).await;
        assert_eq!((status, &headers[header::ALLOW]), (405, &HeaderValue::from_static("GET")));
    }
}
