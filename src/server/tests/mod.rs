//! The server against clients that behave, and clients that do not.

mod clients;
mod drain;
mod http;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::{Response, StatusCode, Version};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncRead, AsyncReadExt as _, DuplexStream};
use tokio::sync::Notify;

use super::connection::{Protocol, serve};
use super::*;

/// Answers by path, and counts what it saw.
#[derive(Default)]
struct Echo {
    requests: AtomicUsize,
    /// `/wait` waits for this; so does `drain`.
    go: Notify,
    draining: Notify,
}

impl Handler for Echo {
    async fn handle(&self, parts: Parts, body: Bytes, peer: Peer) -> Response<Body> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let version = if parts.version == Version::HTTP_2 { "2" } else { "1" };
        let tls = peer.tls.map_or("none", TlsVersion::as_str);
        match parts.uri.path() {
            "/wait" => self.go.notified().await,
            "/rows" | "/form" => return respond::json("[1,\"name\"],".repeat(1000)),
            "/endless" => {
                let chunk = || Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])));
                let endless = futures_util::stream::repeat_with(chunk);
                return respond::page(::http::HeaderMap::new(), StreamBody::new(endless).boxed_unsync());
            }
            "/broken" => {
                let half = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"half")))]);
                let cut = futures_util::stream::once(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Err(BodyError::Source("cut".to_owned()))
                });
                let broken = half.chain(cut);
                return respond::page(::http::HeaderMap::new(), StreamBody::new(broken).boxed_unsync());
            }
            "/who" => {
                let certificate = peer.certificate.as_deref();
                let name = certificate.and_then(|certificate| certificate.common_names().first().cloned());
                return respond::text(StatusCode::OK, name.as_deref().unwrap_or("nobody"));
            }
            "/panic" => panic!("a handler that fails"),
            _ => {}
        }
        respond::text(
            StatusCode::OK,
            &format!("http {version} tls {tls} lines {} body {}", parts.headers.len(), body.len()),
        )
    }

    async fn screen(&self, parts: &Parts, _peer: &Peer) -> Option<Response<Body>> {
        let stranger = parts.headers.contains_key("stranger");
        stranger.then(|| respond::text(StatusCode::UNAUTHORIZED, "who are you?"))
    }

    fn is_open(&self, parts: &Parts) -> bool {
        parts.uri.path() == "/form"
    }

    async fn drain(&self) {
        self.draining.notify_one();
        self.go.notified().await;
    }
}

fn peer() -> Peer {
    Peer::new(([127, 0, 0, 1], 1).into(), None)
}

/// Serves one connection in memory; the other end of it.
fn connect(config: Config, protocol: Protocol) -> (DuplexStream, Arc<Echo>, CancellationToken) {
    let handler = Arc::new(Echo::default());
    let closing = CancellationToken::new();
    let timeout = config.body_timeout.0;
    let memory = Memory::new(size(config.max_statement_memory), size(config.max_statement), timeout);
    let shared = Shared {
        handler: Arc::clone(&handler),
        config,
        proxies: Proxies::default(),
        heads: Heads::new(HEADS),
        memory,
        forms: Memory::new(0, UNSCREENED, timeout),
        messages: Memory::new(0, LONGEST_MESSAGE, timeout),
        closing: closing.clone(),
    };
    let (client, server) = tokio::io::duplex(16 * 1024);
    tokio::spawn(serve(server, protocol, peer(), None, Arc::new(shared)));
    (client, handler, closing)
}

/// Reads until the other side ends, or for a virtual minute.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}
