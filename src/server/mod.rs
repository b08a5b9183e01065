//! The listener for clients: TLS, HTTP/1.1 and HTTP/2, limits, timeouts, and a graceful end.
//!
//! The server knows nothing of queries. It hands whole requests to a [`Handler`] and streams back what that
//! answers; [`respond`] makes the answers.

mod body;
mod config;
mod connection;
mod error;
mod gzip;
mod head;
mod lanes;
mod progress;
pub mod respond;
#[cfg(test)]
mod tests;
mod tls;
mod trust;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::body::{Body, whole};
pub use self::config::Config;
pub use self::error::{BodyError, ServerError, Unread};
pub use self::tls::Certificates;

use self::body::Memory;
use self::config::size;
use self::connection::{Protocol, Shared};
use self::head::Heads;
use self::lanes::Lanes;
use self::trust::{Clients, Shown};
use crate::shares::{Share, Shares, network};
use crate::telemetry::{Metrics, Tls};
use crate::wire::{Peer, Proxies, TlsVersion};

/// How long connections have to end after the last request, before they are cut.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bodies up to this size are read before it is known who sends them. Bytes.
const UNSCREENED: usize = 16 << 10;
/// The memory for those of pages that anybody may ask for. Bytes.
const FORMS: usize = 64 << 20;
/// The longest body of such a page: what an identity provider says of a user who is in many groups. Bytes.
const LONGEST_MESSAGE: usize = 256 << 10;
/// What the heads that are long and not all there may take together. Bytes.
const HEADS: usize = 256 << 20;
/// The memory for those that are longer than `UNSCREENED`. Bytes.
const MESSAGES: usize = 64 << 20;
/// How long to wait after a failed accept: it means that there are no more file descriptors, or the like.
const BREATH: Duration = Duration::from_millis(100);

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. The body is whole, but for one that is longer than `max_statement`: that ends one
    /// byte after it. The future may be dropped when the client goes away.
    fn handle(&self, parts: Parts, body: Bytes, peer: Peer) -> impl Future<Output = Response<Body>> + Send;

    /// Whether a request whose body is large is to be read: an answer where it is not. Asked before the body takes up
    /// room, which strangers could otherwise use up.
    fn screen(&self, _parts: &Parts, _peer: &Peer) -> impl Future<Output = Option<Response<Body>>> + Send {
        std::future::ready(None)
    }

    /// Whether anybody may ask for this. What such requests bring is held in memory of their own, so that those without
    /// a login take none from those with one.
    fn is_open(&self, _parts: &Parts) -> bool {
        false
    }

    /// The server is about to end: take nothing new on, and return when nothing is running any more. Requests,
    /// on new connections too, are answered meanwhile, as clients have to fetch the rest of their results.
    fn drain(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Checks the section and the certificate that it names, if it names one.
///
/// # Errors
///
/// [`ServerError`] as [`Server::bind`] would give it.
pub fn check(config: &Config) -> Result<(), ServerError> {
    if config.plain_http || config.certificate.is_none() {
        return Clients::of(config).map(drop);
    }
    Certificates::load(config).map(drop)
}

/// The server, listening.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<Certificates>>,
    lanes: Lanes,
    config: Config,
}

impl Server {
    /// Reads the certificate and opens the port. Needs a tokio runtime.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        let tls = if config.plain_http {
            tracing::warn!("plain HTTP: passwords and rows can be read on the network");
            None
        } else {
            Some(Arc::new(Certificates::load(&config)?))
        };
        let address = config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        let lanes = Lanes::start().map_err(ServerError::Threads)?;
        Ok(Self { listener, tls, lanes, config })
    }

    /// Where it listens: the port that was given out, if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.config.listen)
    }

    /// The certificate, for reloading it; `None` for plain HTTP.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.tls.clone()
    }

    /// Serves until `stop` is ready, then ends gracefully: [`Handler::drain`] for at most `drain_timeout`, with
    /// the port still open; then the port closes, and connections end after the request that they are serving.
    /// What is left a few seconds later is cut.
    pub async fn serve<H: Handler>(
        self,
        handler: Arc<H>,
        metrics: Arc<Metrics>,
        stop: impl Future<Output = ()>,
    ) {
        let Self { listener, tls, lanes, config } = self;
        let _watch = tls
            .as_ref()
            .map(|certificates| AbortOnDropHandle::new(tokio::spawn(Arc::clone(certificates).watch())));
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let acceptor = Acceptor {
            tls,
            lanes,
            room: Arc::new(Semaphore::new(config.max_connections as usize)),
            shares: Shares::new((config.max_connections as usize / 2).max(1)),
            connections: connections.clone(),
            cut: cut.clone(),
            metrics,
            shared: Arc::new(Shared {
                heads: Heads::new(HEADS),
                memory: Memory::new(
                    size(config.max_statement_memory),
                    size(config.max_statement),
                    config.body_timeout.0,
                ),
                forms: Memory::new(FORMS, UNSCREENED, config.body_timeout.0),
                messages: Memory::new(MESSAGES, LONGEST_MESSAGE, config.body_timeout.0),
                closing: CancellationToken::new(),
                handler: Arc::clone(&handler),
                proxies: Proxies::new(config.trusted_proxies.clone()),
                config: config.clone(),
            }),
        };
        let end = async {
            stop.await;
            let deadline = Instant::now() + config.drain_timeout.0;
            tracing::info!(limit = %config.drain_timeout, "stopping: waiting for running queries");
            if tokio::time::timeout_at(deadline, handler.drain()).await.is_err() {
                tracing::warn!("queries are still running at the end of server.drain_timeout");
            }
        };
        tokio::select! {
            () = end => {}
            never = acceptor.accept(&listener) => match never {},
        }
        drop(listener);
        acceptor.shared.closing.cancel();
        connections.close();
        if tokio::time::timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting connections that do not end");
            cut.cancel();
            connections.wait().await;
        }
    }
}

/// A connection that is being served.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes connections.
struct Acceptor<H> {
    tls: Option<Arc<Certificates>>,
    lanes: Lanes,
    room: Arc<Semaphore>,
    /// Half of the room is what one address may have, unless it is a trusted proxy.
    shares: Shares<IpAddr>,
    connections: TaskTracker,
    /// Cancelled to drop all connections.
    cut: CancellationToken,
    metrics: Arc<Metrics>,
    shared: Arc<Shared<H>>,
}

impl<H: Handler> Acceptor<H> {
    async fn accept(&self, listener: &TcpListener) -> std::convert::Infallible {
        loop {
            // Room first: whoever comes when there is none waits in the system's queue.
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { std::future::pending().await };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let share = if self.shared.proxies.trusts(address.ip()) {
                        None
                    } else {
                        let Some(share) = self.shares.try_take(network(address.ip()), 1) else {
                            self.metrics.connection_failed();
                            tracing::debug!(peer = %address, "half of the connections are from this address");
                            continue;
                        };
                        Some(share)
                    };
                    let serve = self.connection(address, (share, room));
                    let cut = self.cut.clone();
                    let serve = |stream| async move {
                        cut.run_until_cancelled_owned(serve(stream)).await;
                    };
                    if let Err(error) = self.lanes.serve(stream, &self.connections, serve) {
                        tracing::warn!(%error, "a connection cannot be served");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn connection(
        &self,
        address: SocketAddr,
        // The share is given back first: whoever gets the room may be of the same address.
        room: (Option<Share<IpAddr>>, OwnedSemaphorePermit),
    ) -> impl FnOnce(TcpStream) -> Serving + Send + 'static {
        let (tls, shared, metrics) = (self.tls.clone(), Arc::clone(&self.shared), Arc::clone(&self.metrics));
        move |stream| {
            Box::pin(async move {
                let _room = room;
                // Answers are written whole: waiting to fill a packet only adds time.
                let _ = stream.set_nodelay(true);
                let Some(tls) = tls else {
                    let peer = Peer::new(address, None);
                    let _open = metrics.connection(Tls::None);
                    return connection::serve(stream, Protocol::Http1, peer, None, shared).await;
                };
                let settings = tls.settings();
                let accept = TlsAcceptor::from(Arc::clone(&settings.tls)).accept(stream);
                let handshake = tokio::time::timeout(shared.config.handshake_timeout.0, accept).await;
                let stream = match handshake {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        metrics.connection_failed();
                        if trust::is_refusal(&error) {
                            tracing::info!(peer = %address, %error, "a client certificate is refused");
                        } else {
                            tracing::debug!(peer = %address, %error, "a TLS handshake failed");
                        }
                        return;
                    }
                    Err(_) => {
                        metrics.connection_failed();
                        tracing::debug!(peer = %address, "a TLS handshake took too long");
                        return;
                    }
                };
                let (_, session) = stream.get_ref();
                let (version, label) = match session.protocol_version() {
                    Some(rustls::ProtocolVersion::TLSv1_3) => (TlsVersion::V1_3, Tls::V1_3),
                    _ => (TlsVersion::V1_2, Tls::V1_2),
                };
                let _open = metrics.connection(label);
                let protocol =
                    if session.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
                let mut peer = Peer::new(address, Some(version));
                let shown = match (session.peer_certificates(), tls.clients(), &settings.trust) {
                    (Some(chain), Some(clients), Some(trust)) => {
                        match Shown::new(chain, clients, Arc::clone(trust)) {
                            Ok((shown, certificate)) => {
                                peer.certificate = Some(Arc::new(certificate));
                                Some(shown)
                            }
                            Err(error) => {
                                metrics.connection_failed();
                                tracing::info!(peer = %address, %error, "a client certificate is refused");
                                return;
                            }
                        }
                    }
                    _ => None,
                };
                connection::serve(stream, protocol, peer, shown, shared).await;
            })
        }
    }
}
