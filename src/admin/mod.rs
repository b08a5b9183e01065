//! The listener for operators: metrics, health, readiness, the gateway's public keys, and reload.
//!
//! Plain HTTP without a login, and so on the loopback interface unless it is told otherwise. What is here otherwise tells
//! nothing of users or data; the worst that a stranger can do is to have the files read again. Tokens, clusters and queries are on
//! the loopback interface only, and for who can read the key file, which is made anew at each start: `Authorization: Bearer KEY`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | all metrics (OpenMetrics) |
//! | `GET /health` | 200 while the process lives |
//! | `GET /ready` | 200 when it can do its work, else 503; each check by name (JSON) |
//! | `GET /status` | clusters, gateways, queues, revisions, audit, and what ends soon (JSON); for who has the key |
//! | `GET /jwks` | the keys by which Trino checks the gateway's tokens (JWK Set, RFC 7517) |
//! | `POST /explain?user=u&group=g&catalog=c&schema=s&source=airflow&tag=t` | what would be done with the statement in the body, and why; on the loopback interface only, as it tells of policies. With a token of the user's in `X-Northgate-User-Token` catalogs are asked in their name |
//! | `GET /tokens?user=u` | the personal access tokens, of all or of one owner (JSON) |
//! | `POST /tokens?user=u&name=n&life=30d&read_only=true&catalog=c&address=10.0.0.0/8&impersonate=true&audit=true` | makes one, and shows its secret |
//! | `DELETE /tokens?id=i`, `DELETE /tokens?user=u` | revokes one, or all of an owner, whose sessions end, too |
//! | `POST /cache/purge?table=c.s.t` | removes kept answers: of a `table`, a `tag`, a `principal`, or `all=true` |
//! | `GET /clusters` | the clusters and how they are (JSON) |
//! | `POST /clusters/NAME?state=draining` | says whether one takes queries: `active`, `draining`, `inactive`, or `configured` |
//! | `GET /queries?user=u` | the queries that wait and run here (JSON) |
//! | `DELETE /queries?id=i&reason=r` | cancels one; its user reads the reason |
//! | `POST /reload` | reads policies, users, certificates, and of the configuration the clusters again; 422 and what is wrong, if something is |

mod cache;
mod clusters;
mod door;
mod error;
mod queries;
#[cfg(test)]
mod tests;
mod tokens;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::clusters::ClusterRequest;
pub use self::error::AdminError;
pub use self::queries::QueryRequest;
pub use self::tokens::TokenRequest;

use self::door::Door;
use crate::cache::Purge;
use crate::secret::Secret;

/// The header with a token of whose statement is explained.
const USER_TOKEN: &str = "x-northgate-user-token";
/// The longest statement that is explained, in bytes.
const LONGEST_STATEMENT: usize = 1 << 20;
/// Most connections; more wait.
const MAX_CONNECTIONS: usize = 64;
/// The longest time for one connection, whatever it does.
const LIFETIME: Duration = Duration::from_mins(10);
/// The time for the head of a request, and between two.
const HEAD: Duration = Duration::from_secs(30);
/// The longest time that a check of readiness may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The `[admin]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. Trino must reach it if it is to fetch the gateway's keys from here.
    pub listen: SocketAddr,
    /// The file with the key for tokens, clusters, queries and kept answers. It is made at start, readable by its owner alone;
    /// `northgate token`, `northgate clusters`, `northgate queries` and `northgate cache` read it.
    pub key_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9443),
            key_file: PathBuf::from("admin.key"),
        }
    }
}

/// One of the things that must be in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is, such as `policies`.
    pub name: &'static str,
    /// What is wrong with it, for the operator. `None`: nothing.
    pub problem: Option<String>,
    /// What is to be known of it though it is in order.
    pub note: Option<String>,
}

/// A statement to be explained, and who would ask it in which session.
#[derive(Clone, Debug, Default)]
pub struct Explain {
    /// The user.
    pub user: String,
    /// A token of theirs, for catalogs that are asked in their name.
    pub token: Option<Secret<String>>,
    /// Groups; none: those that the users file knows.
    pub groups: Vec<String>,
    /// The session's catalog.
    pub catalog: Option<String>,
    /// The session's schema.
    pub schema: Option<String>,
    /// What the client would say that it is.
    pub source: Option<String>,
    /// The client's tags.
    pub tags: Vec<String>,
    /// The statement.
    pub sql: String,
}

/// What the listener shows, and can set off.
pub trait Operated: Send + Sync + 'static {
    /// All metrics, as `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    fn metrics(&self) -> String;

    /// What must be in order before clients are sent here. Called often: it should remember slow answers.
    fn ready(&self) -> impl Future<Output = Vec<Check>> + Send;

    /// How the gateway does (JSON).
    fn status(&self) -> String;

    /// The gateway's public keys, a JWK Set.
    fn keys(&self) -> String;

    /// What would be done with a statement, and why.
    fn explain(&self, asked: Explain) -> impl Future<Output = String> + Send;

    /// Makes, lists or revokes tokens: JSON, or a status and what is wrong.
    fn tokens(
        &self,
        asked: TokenRequest,
    ) -> impl Future<Output = Result<String, (StatusCode, String)>> + Send;

    /// Removes kept answers, and says how many; or a status and what is wrong.
    fn purge(&self, purge: Purge) -> impl Future<Output = Result<usize, (StatusCode, String)>> + Send;

    /// Tells of clusters, or says what one is to do: JSON, or a status and what is wrong.
    fn clusters(
        &self,
        asked: ClusterRequest,
    ) -> impl Future<Output = Result<String, (StatusCode, String)>> + Send;

    /// Tells of queries that wait and run, or cancels one: JSON, or a status and what is wrong.
    fn queries(
        &self,
        asked: QueryRequest,
    ) -> impl Future<Output = Result<String, (StatusCode, String)>> + Send;

    /// Reads again what can be read again; what was wrong, a line each. What is wrong stays as it was before.
    fn reload(&self) -> impl Future<Output = Result<(), Vec<String>>> + Send;
}

/// The listener.
pub struct Admin {
    listener: TcpListener,
    door: Option<Door>,
}

impl Admin {
    /// Opens the port. Needs a tokio runtime.
    pub async fn bind(config: &Config) -> Result<Self, AdminError> {
        let address = config.listen;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the admin listener is not on the loopback interface, and has no login");
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| AdminError::Listen { address, source })?;
        Ok(Self { listener, door: None })
    }

    /// The same with the requests that need a key, for who can read the one that is written to the file. On another
    /// interface than loopback there are none of these.
    pub fn with_key(self, key_file: &std::path::Path) -> Result<Self, AdminError> {
        let door =
            Door::new(key_file).map_err(|source| AdminError::Key { path: key_file.to_owned(), source })?;
        Ok(Self { door: Some(door), ..self })
    }

    /// Where it listens: the port that was given out, if 0 was asked for.
    pub fn address(&self) -> Result<SocketAddr, AdminError> {
        self.listener.local_addr().map_err(AdminError::Address)
    }

    /// Serves until it is dropped. It is meant to outlive the server, so that a drain can be watched.
    pub async fn serve<O: Operated>(self, operated: Arc<O>) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let local = self.listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let door = self.door.filter(|_| local).map(Arc::new);
        let connections = TaskTracker::new();
        // Connections end with the listener: the tasks are aborted when this future is dropped.
        let mut tasks: Vec<AbortOnDropHandle<()>> = Vec::new();
        loop {
            let Ok(room) = Arc::clone(&room).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tasks.retain(|task| !task.is_finished());
                    let (operated, door) = (Arc::clone(&operated), door.clone());
                    tasks.push(AbortOnDropHandle::new(connections.spawn(async move {
                        let _room = room;
                        let _ =
                            tokio::time::timeout(LIFETIME, connection(stream, operated, local, door)).await;
                    })));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept admin connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection<O: Operated>(stream: TcpStream, operated: Arc<O>, local: bool, door: Option<Arc<Door>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (operated, door) = (Arc::clone(&operated), door.clone());
        async move {
            let (parts, body) = request.into_parts();
            let mut response = if local && parts.uri.path() == "/explain" {
                explain(&parts, body, &*operated).await
            } else if let Some(door) = door.filter(|_| is_closed(parts.uri.path())) {
                behind(&door, &parts, &*operated).await
            } else {
                answer(&parts.method, parts.uri.path(), &parts.headers, &*operated).await
            };
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended");
    }
}

/// Whether a path is for who has the key.
fn is_closed(path: &str) -> bool {
    matches!(path, "/tokens" | "/queries" | "/status" | "/cache/purge") || clusters::is_about(path)
}

/// Answers who has the key.
async fn behind<O: Operated>(door: &Door, parts: &Parts, operated: &O) -> Answer {
    if is_from_page(&parts.headers) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    if !door.admits(&parts.headers) {
        return text(StatusCode::UNAUTHORIZED, "the key of admin.key_file is needed\n");
    }
    if parts.uri.path() == "/status" {
        return match parts.method {
            Method::GET | Method::HEAD => typed(StatusCode::OK, "application/json", operated.status()),
            _ => not_allowed("GET, HEAD"),
        };
    }
    if parts.uri.path() == "/queries" {
        return queries::answer(parts, operated).await;
    }
    if clusters::is_about(parts.uri.path()) {
        return clusters::answer(parts, operated).await;
    }
    if parts.uri.path() == "/cache/purge" {
        return cache::answer(parts, operated).await;
    }
    tokens::answer(parts, operated).await
}

/// A page in the operator's browser can send requests to the loopback interface too, and by a name that it points there
/// (DNS rebinding) read the answers. Browsers say so in these headers, and no tool does.
fn is_from_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "none") || headers.contains_key(header::ORIGIN)
}

/// Explains the statement in a body. Other than the rest, the answer tells of policies.
async fn explain<O: Operated>(parts: &Parts, body: Incoming, operated: &O) -> Answer {
    if is_from_page(&parts.headers) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    if parts.method != Method::POST {
        return not_allowed("POST");
    }
    let mut asked = Explain::default();
    for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "user" => asked.user = value,
            "group" => asked.groups.push(value),
            "catalog" => asked.catalog = Some(value),
            "schema" => asked.schema = Some(value),
            "source" => asked.source = Some(value),
            "tag" => asked.tags.push(value),
            _ => {
                let known = "known are user, group, catalog, schema, source and tag\n";
                return text(StatusCode::BAD_REQUEST, known);
            }
        }
    }
    if asked.user.is_empty() {
        return text(StatusCode::BAD_REQUEST, "who would ask? say ?user=\n");
    }
    // Not in the address, which is kept in many places.
    if let Some(token) = parts.headers.get(USER_TOKEN) {
        let Some(token) = token.to_str().ok().filter(|token| !token.is_empty()) else {
            return text(StatusCode::BAD_REQUEST, "the user's token cannot be read\n");
        };
        asked.token = Some(Secret::new(token.to_owned()));
    }
    let body = Limited::new(body, LONGEST_STATEMENT).collect().await;
    let Ok(Ok(sql)) = body.map(|body| String::from_utf8(body.to_bytes().into())) else {
        return text(StatusCode::BAD_REQUEST, "the statement cannot be read\n");
    };
    asked.sql = sql;
    text(StatusCode::OK, &operated.explain(asked).await)
}

type Answer = Response<Full<Bytes>>;

async fn answer<O: Operated>(method: &Method, path: &str, headers: &HeaderMap, operated: &O) -> Answer {
    if is_from_page(headers) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    let read = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/metrics" if read => typed(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            operated.metrics(),
        ),
        "/health" if read => text(StatusCode::OK, "ok\n"),
        "/ready" if read => readiness(operated).await,
        "/jwks" if read => typed(StatusCode::OK, "application/jwk-set+json", operated.keys()),
        "/reload" if *method == Method::POST => match operated.reload().await {
            Ok(()) => text(StatusCode::OK, "reloaded\n"),
            Err(problems) => text(StatusCode::UNPROCESSABLE_ENTITY, &(problems.join("\n") + "\n")),
        },
        "/reload" => not_allowed("POST"),
        "/metrics" | "/health" | "/ready" | "/jwks" => not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// `{"ready":false,"checks":{"policies":"ok","trino":"cannot be reached"}}`
async fn readiness<O: Operated>(operated: &O) -> Answer {
    let checks = tokio::time::timeout(PATIENCE, operated.ready()).await.unwrap_or_else(|_| {
        vec![Check {
            name: "checks",
            problem: Some(format!("took longer than {} s", PATIENCE.as_secs())),
            note: None,
        }]
    });
    let ready = checks.iter().all(|check| check.problem.is_none());
    let checks: serde_json::Map<String, serde_json::Value> = checks
        .into_iter()
        .map(|check| {
            (check.name.to_owned(), check.problem.or(check.note).unwrap_or_else(|| "ok".to_owned()).into())
        })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    typed(status, "application/json", serde_json::json!({ "ready": ready, "checks": checks }).to_string())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
