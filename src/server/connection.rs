//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::body::Memory;
use super::config::{Config, size};
use super::gzip::compress;
use super::head::{HeadTimer, Heads};
use super::progress::{InFlight, Progress, Tracked};
use super::respond;
use super::trust::Shown;
use super::{Handler, UNSCREENED};
use crate::wire::{Peer, Proxies};

/// The version of HTTP that the TLS handshake settled on. There is no guessing from the first bytes, and no
/// upgrade from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What all connections share.
pub(super) struct Shared<H> {
    pub(super) handler: Arc<H>,
    pub(super) config: Config,
    pub(super) proxies: Proxies,
    /// For heads that are long.
    pub(super) heads: Heads,
    /// For statements.
    pub(super) memory: Memory,
    /// For pages that anybody may ask for.
    pub(super) forms: Memory,
    /// For those that bring more.
    pub(super) messages: Memory,
    /// Cancelled when connections shall end after the requests that they are serving.
    pub(super) closing: CancellationToken,
}

/// Serves a connection until it ends, is idle too long, or its client takes nothing any more.
pub(super) async fn serve<IO, H>(
    io: IO,
    protocol: Protocol,
    peer: Peer,
    shown: Option<Shown>,
    shared: Arc<Shared<H>>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let progress = Progress::new();
    let address = peer.address.ip();
    let caller = Arc::new((peer, shown));
    let service = service_fn({
        let (shared, progress) = (Arc::clone(&shared), Arc::clone(&progress));
        move |request: Request<Incoming>| {
            let (shared, begun) = (Arc::clone(&shared), progress.begin());
            let caller = Arc::clone(&caller);
            async move { Ok::<_, Infallible>(exchange(request, &caller, &shared, begun).await) }
        }
    });
    let config = &shared.config;
    match protocol {
        Protocol::Http1 => {
            let from = Some(address).filter(|address| !shared.proxies.trusts(*address));
            let limit = config.header_timeout.0;
            let io = HeadTimer::new(io, Arc::clone(&progress), limit, shared.heads.clone(), from);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(config.idle_timeout.0.max(config.header_timeout.0))
                .max_headers(usize::from(config.max_header_lines))
                .max_header_size(size(config.max_header))
                // The read buffer has to hold a whole head, and some of the body that comes with it.
                .max_buf_size(size(config.max_header).saturating_add(64 * 1024))
                .serve_connection(TokioIo::new(io), service);
            drive(connection, http1::Connection::graceful_shutdown, &progress, &shared).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(config.max_streams)
                .max_header_list_size(u32::try_from(config.max_header.0).unwrap_or(u32::MAX))
                // Statements are small. What clients may send ahead is what they can make us hold.
                .initial_stream_window_size(256 * 1024)
                .initial_connection_window_size(1024 * 1024)
                .keep_alive_interval(Duration::from_secs(30))
                .keep_alive_timeout(Duration::from_secs(20))
                .serve_connection(TokioIo::new(io), service);
            drive(connection, http2::Connection::graceful_shutdown, &progress, &shared).await;
        }
    }
}

/// Runs the connection, and ends it: kindly when it is idle or the server closes, otherwise when it is stalled.
async fn drive<C, H>(connection: C, close: fn(Pin<&mut C>), progress: &Progress, shared: &Shared<H>)
where
    C: Future<Output = hyper::Result<()>>,
{
    let config = &shared.config;
    let shortest = config.write_timeout.0.min(config.idle_timeout.0);
    let mut look = tokio::time::interval((shortest / 4).max(Duration::from_millis(1)));
    let mut connection = pin!(connection);
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                close(connection.as_mut());
            }
            _ = look.tick() => {
                if progress.stalled() >= config.write_timeout.0 {
                    tracing::debug!("a client takes nothing of its answer; closing its connection");
                    return;
                }
                if progress.idle() >= config.idle_timeout.0 {
                    if closing {
                        return;
                    }
                    closing = true;
                    close(connection.as_mut());
                }
            }
        }
    }
}

/// One request and its answer.
async fn exchange<H: Handler>(
    request: Request<Incoming>,
    (peer, shown): &(Peer, Option<Shown>),
    shared: &Shared<H>,
    begun: InFlight,
) -> Response<Tracked> {
    let (parts, body) = request.into_parts();
    // Two of our kind may read a request with a chunked body differently, and so take what follows for another
    // request (smuggling). hyper refuses most such, but not a Content-Length beside it: nothing may follow.
    let chunked = parts.headers.contains_key(TRANSFER_ENCODING);
    let mut peer = peer.clone();
    let withdrawn = shown.as_ref().is_some_and(|shown| !shown.holds());
    if withdrawn {
        peer.certificate = None;
    }
    let last = parts.version == Version::HTTP_11 && (chunked || withdrawn);
    let peer = match shared.proxies.client(&parts.headers, peer) {
        Ok(peer) => peer,
        Err(malformed) => {
            shared.memory.discard(body).await;
            return respond::failure(malformed.http_status(), &malformed).map(|body| begun.track(body));
        }
    };
    let address = peer.address;
    let wants_gzip = shared.config.compress && accepts_gzip(&parts);
    let large = is_large(&body);
    let open = shared.handler.is_open(&parts);
    let memory = match (open, large) {
        (false, _) => &shared.memory,
        (true, false) => &shared.forms,
        (true, true) => &shared.messages,
    };
    let unknown = large || (!open && !body.is_end_stream() && memory.is_crowded());
    let screened = if unknown { shared.handler.screen(&parts, &peer).await } else { None };
    let collected = match screened {
        Some(refused) => {
            memory.discard(body).await;
            Err(refused)
        }
        None => Ok(memory.collect(body, peer.address.ip()).await),
    };
    let mut response = match collected {
        Err(refused) => refused,
        Ok(Ok(collected)) => {
            let _memory = collected.memory;
            shared.handler.handle(parts, collected.bytes, peer).await
        }
        Ok(Err(unread)) => {
            tracing::debug!(%unread, %address, "a request was not read");
            respond::failure(unread.http_status(), &unread)
        }
    };
    // Pages have the key of their forms, and what somebody else may have put into their address: how far it can be
    // compressed would tell of the key.
    if wants_gzip && !open {
        response = compress(response);
    }
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| begun.track(body))
}

/// Whether a body may take up so much room that whoever sends it must be known first.
fn is_large(body: &Incoming) -> bool {
    !body.is_end_stream() && body.size_hint().upper().is_none_or(|upper| upper > UNSCREENED as u64)
}

/// Whether `Accept-Encoding` names gzip, and not with a weight of zero (RFC 9110, 12.5.3).
fn accepts_gzip(parts: &http::request::Parts) -> bool {
    let lines = parts.headers.get_all(http::header::ACCEPT_ENCODING).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|choice| {
        let (coding, weight) = choice.split_once(';').unwrap_or((choice, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        coding.trim().eq_ignore_ascii_case("gzip")
            && weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_gzip() {
        let check = |values: &[&str], expect: bool| {
            let mut request = Request::builder();
            for value in values {
                request = request.header("accept-encoding", *value);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(accepts_gzip(&parts), expect, "{values:?}");
        };
        check(&[], false);
        check(&["gzip"], true);
        check(&["deflate, GZIP;q=0.5"], true);
        check(&["br", "gzip"], true);
        check(&["gzip;q=0"], false);
        check(&["gzip; q=0.000"], false);
        check(&["gzipped"], false);
        check(&["identity"], false);
        check(&["*"], false);
    }
}
