//! One question to a REST catalog: bounded in time and size, asked again where that is harmless and may help.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use super::breaker::Breaker;
use super::error::RestError;
use crate::https::{Bounds, Client, ExchangeError};
use crate::secret::Secret;
use crate::telemetry::{TRACE_PARENT, Trace};

/// The first pause before a question is asked again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also where the catalog asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How much of an error's text is kept for the log, in characters.
const DETAIL: usize = 300;

/// A server and how it is asked.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    bounds: Bounds,
    retries: u32,
    breaker: Breaker,
}

/// A question.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// The whole address.
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Ask {
    /// A question without a body.
    pub(super) fn get(uri: String) -> Self {
        Self { method: Method::GET, uri, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A form, as OAuth has it.
    pub(super) fn form(uri: String, fields: &[(&str, &str)]) -> Self {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        Self { method: Method::POST, uri, headers, body: Bytes::from(fields.join("&")) }
    }

    /// A JSON document.
    pub(super) fn json(uri: String, body: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Bytes::from(body.to_string());
        Self { method: Method::POST, uri, headers, body }
    }

    fn request(&self, bearer: Option<&Secret<String>>) -> Result<Request<Bytes>, RestError> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.uri)
            .body(self.body.clone())
            .map_err(|error| RestError::Garbage(format!("the address cannot be made: {error}")))?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("northgate/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if let Some(parent) = Trace::current().header() {
            headers.insert(TRACE_PARENT, parent);
        }
        if let Some(bearer) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", bearer.expose()))
                .map_err(|_| RestError::NoToken("the token is not one for a header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

impl Transport {
    pub(super) fn new(client: Client, bounds: Bounds, retries: u32) -> Self {
        Self { client, bounds, retries, breaker: Breaker::default() }
    }

    /// Asks, and again where no answer came, or one that says to ask later. What changes something must not come
    /// here: see [`Self::once`].
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        bearer: Option<&Secret<String>>,
    ) -> Result<Response<Bytes>, RestError> {
        let mut pause = PAUSE;
        let mut left = self.retries;
        loop {
            let (error, wanted) = match self.attempt(ask, bearer).await {
                Ok(answer) => return Ok(answer),
                Err((error, _)) if left == 0 || !matches!(error, RestError::Unavailable(_)) => {
                    return Err(error);
                }
                Err((error, wanted)) => (error, wanted),
            };
            left -= 1;
            tracing::debug!(%error, uri = %ask.uri, "asked again");
            // Full jitter: that those who failed together don't come back together.
            let wait = wanted.unwrap_or_else(|| pause.mul_f64(fraction())).min(LONGEST_PAUSE);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks once.
    pub(super) async fn once(
        &self,
        ask: &Ask,
        bearer: Option<&Secret<String>>,
    ) -> Result<Response<Bytes>, RestError> {
        self.attempt(ask, bearer).await.map_err(|(error, _)| error)
    }

    /// One attempt; with an error, after how long the server wants to be asked again.
    async fn attempt(
        &self,
        ask: &Ask,
        bearer: Option<&Secret<String>>,
    ) -> Result<Response<Bytes>, (RestError, Option<Duration>)> {
        let request = ask.request(bearer).map_err(|error| (error, None))?;
        if !self.breaker.admits() {
            return Err((RestError::Resting, None));
        }
        let answer = match self.client.send(request, self.bounds).await {
            Ok(answer) => answer,
            Err(error @ ExchangeError::TooLong(_)) => {
                self.breaker.answered();
                return Err((RestError::Garbage(error.to_string()), None));
            }
            Err(error) => {
                self.breaker.failed();
                return Err((RestError::Unavailable(error.to_string()), None));
            }
        };
        let status = answer.status();
        if status.is_server_error() {
            self.breaker.failed();
        } else {
            self.breaker.answered();
        }
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let text = detail(&answer);
        let error = match status.as_u16() {
            401 | 419 => RestError::Unauthorized(text),
            403 => RestError::Forbidden(text),
            404 => RestError::NotFound(text),
            409 => RestError::Conflict(text),
            429 | 500..=599 => RestError::Unavailable(text),
            300..=399 => RestError::Garbage(format!("it sends elsewhere, which is not followed: {text}")),
            _ => RestError::Garbage(text),
        };
        Err((error, retry_after(answer.headers())))
    }
}

/// What an answer says, for the log.
fn detail(answer: &Response<Bytes>) -> String {
    let text: String =
        String::from_utf8_lossy(answer.body()).chars().filter(|c| !c.is_control()).take(DETAIL).collect();
    format!("{} {text}", answer.status().as_u16())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A number from 0 to 1; one half where the system has no random numbers.
fn fraction() -> f64 {
    let mut byte = [0];
    aws_lc_rs::rand::fill(&mut byte).map_or(0.5, |()| f64::from(byte[0]) / 255.0)
}

/// Reads a JSON answer.
pub(super) fn json<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, RestError> {
    serde_json::from_slice(answer.body())
        .map_err(|error| RestError::Garbage(format!("{}: {error}", answer.status().as_u16())))
}
