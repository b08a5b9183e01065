//! The HTTP client: connections, times, and how an answer is read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thread_local::ThreadLocal;
use tokio::time::Sleep;

use super::config::Address;
use super::{Authentication, Config, UpstreamError};
use crate::https::{self, OwnCertificate, chain};
use crate::telemetry::{TRACE_PARENT, Trace};

/// Idle connections are closed before Trino closes them (after 200 s), so that a statement is not
/// sent into one that is being closed.
const IDLE: Duration = Duration::from_secs(20);
/// How much of an unexpected answer is kept for the log, in bytes.
const DETAIL: usize = 512;

pub(super) struct Client {
    /// A pool to each thread: what a connection brings is then read where it is waited for.
    pools: ThreadLocal<ConnectionPool>,
    connector: HttpsConnector<HttpConnector>,
    address: Address,
    cluster: Arc<str>,
    first_byte: Duration,
    pause: Duration,
}

type ConnectionPool = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An answer whose body has yet to be read.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// All headers that Trino sent.
    pub headers: HeaderMap,
    /// The body, which must be read to its end for the connection to be used again.
    pub body: Body,
}

/// A body as it arrives. It is an error if it breaks off, or pauses for longer than `pause_timeout`.
#[derive(Debug)]
pub struct Body {
    inner: Incoming,
    cluster: Arc<str>,
    pause: Duration,
    /// Runs while the next piece is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| UpstreamError::Broken {
                    cluster: this.cluster.to_string(),
                    detail: chain(&error),
                })
            }));
        }
        let pause = this.pause;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        ready!(waiting.as_mut().poll(context));
        let cluster = this.cluster.to_string();
        Poll::Ready(Some(Err(UpstreamError::Slow { cluster, waited: pause, submitted: false })))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

impl Body {
    /// The next piece, as large as it came; `None` at the end. An error if the body breaks off, or pauses for
    /// longer than `pause_timeout`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        while let Some(frame) = self.frame().await {
            // Trailers are none of Trino's.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, or `None` if it is longer than `most` bytes.
    pub(super) async fn whole(&mut self, most: usize) -> Result<Option<Vec<u8>>, UpstreamError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > most {
                return Ok(None);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(Some(all))
    }

    /// Its first line or so, for the log.
    pub(super) async fn detail(&mut self) -> String {
        let mut begin = Vec::new();
        while begin.len() < DETAIL
            && let Ok(Some(chunk)) = self.chunk().await
        {
            begin.extend_from_slice(&chunk[..chunk.len().min(DETAIL - begin.len())]);
        }
        let text: String = String::from_utf8_lossy(&begin).chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() { "(nothing)".to_owned() } else { text }
    }
}

/// Why there is no answer.
pub(super) enum Failed {
    /// No connection: nothing was sent.
    Connect(String),
    /// The connection broke before the answer began.
    Exchange(String),
    /// The time for the answer to begin is over.
    Timeout,
}

impl Client {
    pub(super) fn new(config: &Config, address: Address) -> Result<Self, UpstreamError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout.0));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let own = match (config.authentication, &config.cert_file, &config.key_file) {
            (Authentication::Certificate, Some(cert_file), Some(key_file)) => {
                Some(OwnCertificate { cert_file, key_file })
            }
            _ => None,
        };
        let tls = https::tls(config.ca_file.as_deref(), address.tls, own).map_err(UpstreamError::Config)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Ok(Self {
            pools: ThreadLocal::new(),
            connector: connector.wrap_connector(tcp),
            address,
            cluster: Arc::from(config.name.as_str()),
            first_byte: config.first_byte_timeout.0,
            pause: config.pause_timeout.0,
        })
    }

    fn pool(&self) -> &ConnectionPool {
        self.pools.get_or(|| {
            Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                // The pool sends a request again only if the connection closed before a byte of it was written.
                .retry_canceled_requests(true)
                .build(self.connector.clone())
        })
    }

    /// One exchange, up to the head of the answer.
    pub(super) async fn exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, Failed> {
        let made = self
            .address
            .at(path)
            .and_then(|uri| Request::builder().method(method).uri(uri).body(Full::new(body)));
        // Only links that were checked come here.
        let mut request = made.map_err(|error| Failed::Connect(error.to_string()))?;
        *request.headers_mut() = headers.clone();
        if let Some(parent) = Trace::current().header() {
            request.headers_mut().insert(TRACE_PARENT, parent);
        }
        let Ok(answer) = tokio::time::timeout(self.first_byte, self.pool().request(request)).await else {
            return Err(Failed::Timeout);
        };
        let answer = answer.map_err(|error| {
            let detail = chain(&error);
            if error.is_connect() { Failed::Connect(detail) } else { Failed::Exchange(detail) }
        })?;
        let (head, inner) = answer.into_parts();
        let body = Body { inner, cluster: Arc::clone(&self.cluster), pause: self.pause, waiting: None };
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn first_byte(&self) -> Duration {
        self.first_byte
    }
}

/// Whether the answer says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}
