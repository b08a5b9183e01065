//! The way to Trino: submits once, follows links, cancels, asks for metadata.
//!
//! **A statement is sent once.** It is sent again only when no connection could be made, when Trino can't have
//! seen it. Links are safe to ask for again, since Trino repeats a page until the next is asked for; that is
//! done a few times, so that a coordinator behind a balancer that hiccups costs no query.
//!
//! A caller that goes away while a statement is being sent leaves Trino with a query that nobody follows:
//! `query` therefore submits in a task of its own.

mod client;
mod config;
mod engine;
mod error;
mod examine;
mod fleet;
mod health;
mod history;
mod link;
mod member;
mod routing;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::rewrite::ScopedSql;
use crate::secret::Secret;

pub use client::{Body, Response};
pub use config::{Authentication, ClusterConfig, Config, DEFAULT_GROUP, State};
pub use error::UpstreamError;
pub use examine::{Examined, Refusal, TESTED_VERSION, examine};
pub use fleet::Fleet;
pub use history::{Heard, Known};
pub use link::{is_link, link_of};
pub use member::{Place, Report};
pub use routing::{RoutingConfig, Rule, Sender};

use client::{Client, Failed, is_json};
use health::{Health, Seen};
use token::Signer;

/// How often a statement is sent while no connection can be made.
const SUBMITS: u32 = 3;
/// How often a link is asked for.
const FOLLOWS: u32 = 6;
/// The first pause between two attempts; each is twice the one before, and then a random part of that.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The largest answer of `/v1/info`, in bytes, and how long it may take.
const MAX_INFO: usize = 64 << 10;
const INFO_TIME: Duration = Duration::from_secs(5);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("northgate/", env!("CARGO_PKG_VERSION")));
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a link is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The next page.
    Get,
    /// A heartbeat.
    Head,
    /// The end of the query, or of one stage.
    Delete,
}

/// What a cluster says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Trino's version.
    pub version: String,
    /// It does not take queries yet.
    pub starting: bool,
}

enum Proof {
    None,
    Basic(HeaderValue),
    Token(Signer),
}

/// One Trino cluster.
pub struct Cluster {
    client: Client,
    user: HeaderValue,
    proof: Proof,
    /// Trino takes passwords and tokens only from connections that it believes to be HTTPS.
    claims_https: bool,
    health: Health,
}

impl Cluster {
    /// Checks the section, reads its files, makes the key that signs tokens if there is none. No connection is made.
    pub fn new(config: &Config) -> Result<Self, UpstreamError> {
        let address = config.check()?;
        let proof = match config.authentication {
            Authentication::None | Authentication::Certificate => Proof::None,
            Authentication::Password => {
                let missing = || UpstreamError::Config("password_file: missing".to_owned());
                let source = config.password_file.as_ref().ok_or_else(missing)?;
                let password = source
                    .read()
                    .map_err(|error| UpstreamError::Config(format!("password_file {source}: {error}")))?;
                Proof::Basic(basic(&config.user, &password)?)
            }
            Authentication::Jwt => {
                let path = config.key_file.as_deref().unwrap_or(std::path::Path::new(""));
                Proof::Token(Signer::open(path, &config.user, config.audience.as_deref())?)
            }
        };
        let user = HeaderValue::from_str(&config.user)
            .map_err(|error| UpstreamError::Config(format!("user: {error}")))?;
        let claims_https = config.authentication != Authentication::None && !address.tls;
        let client = Client::new(config, address)?;
        if config.authentication == Authentication::None {
            tracing::warn!(
                cluster = client.cluster(),
                "the gateway does not authenticate to Trino: whoever can reach Trino can pass the gateway by"
            );
        }
        Ok(Self { client, user, proof, claims_https, health: Health::default() })
    }

    /// The name of the cluster, which is in links.
    pub fn name(&self) -> &str {
        self.client.cluster()
    }

    /// The public key set (RFC 7517) that Trino checks the gateway's tokens with, if it signs any. It is for
    /// `http-server.authentication.jwt.key-file` of Trino.
    pub fn jwks(&self) -> Option<String> {
        match &self.proof {
            Proof::Token(signer) => Some(signer.jwks()),
            Proof::None | Proof::Basic(_) => None,
        }
    }

    /// Sends a statement that the policies have been applied to. The answer is a 200 with JSON. `headers` are all that
    /// Trino gets but for the gateway's own sign-in; they hold the user that the query runs as.
    ///
    /// Of an error, [`UpstreamError::may_have_run`] says whether Trino may have the query.
    pub async fn submit(&self, sql: &ScopedSql, headers: HeaderMap) -> Result<Response, UpstreamError> {
        self.send(Bytes::copy_from_slice(sql.text().as_bytes()), headers).await
    }

    /// Sends a text once.
    async fn send(&self, text: Bytes, headers: HeaderMap) -> Result<Response, UpstreamError> {
        let sent = self.send_once(text, headers).await;
        self.note(&sent, true);
        sent
    }

    async fn send_once(&self, text: Bytes, headers: HeaderMap) -> Result<Response, UpstreamError> {
        let headers = self.signed(headers)?;
        let mut attempt = 1;
        let answer = loop {
            let exchange = self.client.exchange(&Method::POST, "/v1/statement", &headers, text.clone());
            match exchange.await {
                Ok(answer) => break answer,
                Err(Failed::Connect(detail)) if attempt < SUBMITS => {
                    tracing::warn!(cluster = self.name(), attempt, detail, "no connection to Trino");
                    pause(attempt).await;
                    attempt += 1;
                }
                Err(failed) => return Err(self.failed(failed, true)),
            }
        };
        self.page(answer, true).await
    }

    /// Asks for a link of Trino's. The answer to a GET is a 200 with JSON, that to a HEAD a 200, that to a DELETE any
    /// of 200 to 299.
    pub async fn follow(
        &self,
        path: &str,
        verb: Verb,
        headers: HeaderMap,
    ) -> Result<Response, UpstreamError> {
        if !is_link(path) {
            return Err(UpstreamError::Path);
        }
        let followed = self.follow_link(path, verb, headers).await;
        self.note(&followed, false);
        followed
    }

    async fn follow_link(
        &self,
        path: &str,
        verb: Verb,
        headers: HeaderMap,
    ) -> Result<Response, UpstreamError> {
        let headers = self.signed(headers)?;
        let method = match verb {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Delete => Method::DELETE,
        };
        let mut attempt = 1;
        let answer = loop {
            let detail = match self.client.exchange(&method, path, &headers, Bytes::new()).await {
                Ok(mut answer) if attempt < FOLLOWS && is_passing(answer.status) => {
                    format!("{}: {}", answer.status, answer.body.detail().await)
                }
                Ok(answer) => break answer,
                Err(Failed::Connect(detail) | Failed::Exchange(detail)) if attempt < FOLLOWS => detail,
                Err(failed) => return Err(self.failed(failed, false)),
            };
            tracing::warn!(cluster = self.name(), attempt, detail, "a link is asked for again");
            pause(attempt).await;
            attempt += 1;
        };
        if verb != Verb::Get && answer.status.is_success() {
            return Ok(answer);
        }
        self.page(answer, false).await
    }

    /// Ends a query at Trino. That it has ended already is no error.
    pub async fn cancel(&self, path: &str) -> Result<(), UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-trino-user", self.user.clone());
        match self.follow(path, Verb::Delete, headers).await {
            Ok(_) | Err(UpstreamError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the cluster how it is.
    pub async fn check(&self) -> Result<Info, UpstreamError> {
        self.checked().await.map(|(info, _)| info)
    }

    /// The same, and its clock: the `Date` of the answer.
    async fn checked(&self) -> Result<(Info, Option<String>), UpstreamError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Said {
            node_version: Version,
            #[serde(default)]
            starting: bool,
        }
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        // `/v1/info` is open to all, and no secret is sent to it.
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, AGENT);
        let asked = async {
            let exchange = self.client.exchange(&Method::GET, "/v1/info", &headers, Bytes::new());
            let answer = exchange.await.map_err(|failed| self.failed(failed, false))?;
            let mut answer = self.page(answer, false).await?;
            let date =
                answer.headers.get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
            answer.body.whole(MAX_INFO).await.map(|body| (body, date))
        };
        let (body, date) = tokio::time::timeout(INFO_TIME, asked).await.unwrap_or_else(|_| {
            Err(UpstreamError::Slow { cluster: self.name().to_owned(), waited: INFO_TIME, submitted: false })
        })?;
        let body = body.unwrap_or_default();
        let said: Said = serde_json::from_slice(&body).map_err(|e| self.garbage(e.to_string(), false))?;
        Ok((Info { version: said.node_version.version, starting: said.starting }, date))
    }

    /// Notes for [`Health`] what became of a request.
    fn note(&self, outcome: &Result<Response, UpstreamError>, submitted: bool) {
        let seen = match outcome {
            Ok(_) | Err(UpstreamError::Gone { .. }) => Seen::Good,
            // Whom Trino does not let be impersonated may not get a cluster left out.
            Err(UpstreamError::SignIn { status: StatusCode::FORBIDDEN, .. }) => Seen::Good,
            Err(UpstreamError::Status { status, .. }) if !status.is_server_error() => Seen::Good,
            Err(UpstreamError::Slow { .. }) if submitted => Seen::Silent,
            // Nor may who makes a query whose pages are long in the making.
            Err(UpstreamError::Slow { .. }) => return,
            Err(
                UpstreamError::Unreachable { .. }
                | UpstreamError::Lost { .. }
                | UpstreamError::Broken { .. }
                | UpstreamError::Garbage { .. }
                | UpstreamError::SignIn { .. }
                | UpstreamError::Status { .. },
            ) => Seen::Bad,
            Err(UpstreamError::Config(_) | UpstreamError::NoCluster { .. } | UpstreamError::Path) => return,
        };
        self.health.seen(seen, Instant::now());
    }

    /// Adds who the gateway is. What a caller may have put in their place is replaced.
    fn signed(&self, mut headers: HeaderMap) -> Result<HeaderMap, UpstreamError> {
        headers.remove(header::AUTHORIZATION);
        headers.remove(header::HOST);
        headers.insert(header::USER_AGENT, AGENT);
        match &self.proof {
            Proof::None => {}
            Proof::Basic(value) => {
                headers.insert(header::AUTHORIZATION, value.clone());
            }
            Proof::Token(signer) => {
                headers.insert(header::AUTHORIZATION, signer.header()?);
            }
        }
        if self.claims_https {
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        }
        Ok(headers)
    }

    /// Only a 200 with JSON passes.
    async fn page(&self, mut answer: Response, submitted: bool) -> Result<Response, UpstreamError> {
        let cluster = self.name().to_owned();
        let status = answer.status;
        if status == StatusCode::OK {
            if is_json(&answer.headers) {
                return Ok(answer);
            }
            let detail = answer.body.detail().await;
            return Err(self.garbage(detail, submitted));
        }
        let detail = answer.body.detail().await;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                UpstreamError::SignIn { cluster, status, detail }
            }
            StatusCode::NOT_FOUND | StatusCode::GONE if !submitted => UpstreamError::Gone { cluster, status },
            // What is the request's fault was not run.
            _ => UpstreamError::Status {
                cluster,
                status,
                detail,
                submitted: submitted && !status.is_client_error(),
            },
        })
    }

    fn failed(&self, failed: Failed, submitted: bool) -> UpstreamError {
        let cluster = self.name().to_owned();
        match failed {
            Failed::Connect(detail) => UpstreamError::Unreachable { cluster, detail },
            Failed::Exchange(detail) if submitted => UpstreamError::Lost { cluster, detail },
            Failed::Exchange(detail) => UpstreamError::Broken { cluster, detail },
            Failed::Timeout => UpstreamError::Slow { cluster, waited: self.client.first_byte(), submitted },
        }
    }

    fn garbage(&self, detail: String, submitted: bool) -> UpstreamError {
        UpstreamError::Garbage { cluster: self.name().to_owned(), detail, submitted }
    }
}

/// Statuses of a balancer, or of a Trino that is overloaded, that the next attempt may not meet.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Waits longer before each attempt; the random part keeps many callers from coming back together.
async fn pause(attempt: u32) {
    let whole = PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
    let mut random = [0_u8; 1];
    // Without random numbers the pause is the longest.
    let part = aws_lc_rs::rand::fill(&mut random).map_or(256, |()| u32::from(random[0]));
    tokio::time::sleep(whole / 2 + whole * part / 512).await;
}

fn basic(user: &str, password: &Secret<String>) -> Result<HeaderValue, UpstreamError> {
    let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|error| UpstreamError::Config(format!("password_file: {error}")))?;
    value.set_sensitive(true);
    Ok(value)
}
