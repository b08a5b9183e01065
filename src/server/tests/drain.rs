use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::units::Span;

type Sender = http1::SendRequest<Empty<Bytes>>;

struct Running {
    address: SocketAddr,
    handler: Arc<Echo>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn start(drain_timeout: Duration) -> Running {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        plain_http: true,
        drain_timeout: Span(drain_timeout),
        ..Config::default()
    };
    let server = Server::bind(config).await.expect("bound");
    let (address, handler) = (server.address(), Arc::new(Echo::default()));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(server.serve(Arc::clone(&handler), Arc::new(Metrics::new()), stopped));
    Running { address, handler, stop, ended }
}

async fn client(address: SocketAddr) -> std::io::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn get(sender: &mut Sender, path: &str) -> hyper::Result<StatusCode> {
    let request = ::http::Request::get(path).header("host", "x").body(Empty::new()).expect("a request");
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

#[tokio::test]
async fn running_queries_end_first_then_connections() {
    let running = start(Duration::from_mins(5)).await;
    let mut polling = client(running.address).await.expect("connected");
    assert_eq!(get(&mut polling, "/").await.expect("an answer"), StatusCode::OK);
    running.stop.send(()).expect("running");
    running.handler.draining.notified().await;
    // Running queries are polled meanwhile, on old connections and on new ones.
    assert!(get(&mut polling, "/").await.is_ok());
    let mut late = client(running.address).await.expect("the port is open");
    assert!(get(&mut late, "/").await.is_ok());
    running.handler.go.notify_one();
    running.ended.await.expect("ended");
    assert!(get(&mut polling, "/").await.is_err());
    assert!(client(running.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let running = start(Duration::ZERO).await;
    let mut waiting = client(running.address).await.expect("connected");
    let answer = tokio::spawn(async move { get(&mut waiting, "/wait").await });
    while running.handler.requests.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    running.stop.send(()).expect("running");
    // With no time to drain, the port closes at once; the request is served all the same.
    while client(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    running.handler.go.notify_waiters();
    assert_eq!(answer.await.expect("joined").expect("an answer"), StatusCode::OK);
    running.ended.await.expect("ended");
}

#[tokio::test]
async fn what_does_not_end_is_cut() {
    let running = start(Duration::ZERO).await;
    let mut endless = client(running.address).await.expect("connected");
    let request = ::http::Request::get("/endless").header("host", "x").body(Empty::new()).expect("a request");
    let answer = endless.send_request(request).await.expect("an answer");
    running.stop.send(()).expect("running");
    tokio::time::pause();
    running.ended.await.expect("ended, though the answer has no end");
    assert!(answer.into_body().collect().await.is_err(), "cut, and seen to be");
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_connection_only() {
    let running = start(Duration::ZERO).await;
    let mut unlucky = client(running.address).await.expect("connected");
    assert!(get(&mut unlucky, "/panic").await.is_err());
    let mut other = client(running.address).await.expect("connected");
    assert!(get(&mut other, "/").await.is_ok());
}

#[tokio::test]
async fn more_connections_than_allowed_wait() {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        plain_http: true,
        max_connections: 1,
        ..Config::default()
    };
    let server = Server::bind(config).await.expect("bound");
    let address = server.address();
    let handler = Arc::new(Echo::default());
    let task = server.serve(Arc::clone(&handler), Arc::new(Metrics::new()), std::future::pending());
    let _task = AbortOnDropHandle::new(tokio::spawn(task));
    let mut first = client(address).await.expect("connected");
    assert!(get(&mut first, "/").await.is_ok());
    let mut second = client(address).await.expect("in the system's queue");
    let waiting = tokio::spawn(async move { get(&mut second, "/").await.is_ok() });
    assert!(get(&mut first, "/").await.is_ok());
    assert_eq!(handler.requests.load(Ordering::Relaxed), 2, "the second waits");
    drop(first);
    assert!(waiting.await.expect("joined"), "and is served when the first is gone");
}

/// Somebody opens all the connections that there may be: others get theirs.
#[tokio::test]
async fn one_address_does_not_have_all_connections() {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        plain_http: true,
        max_connections: 4,
        ..Config::default()
    };
    let server = Server::bind(config).await.expect("bound");
    let address = server.address();
    let serving = tokio::spawn(server.serve(
        Arc::new(Echo::default()),
        Arc::new(Metrics::new()),
        std::future::pending::<()>(),
    ));
    let mut two = [client(address).await.expect("connected"), client(address).await.expect("connected")];
    for sender in &mut two {
        assert_eq!(get(sender, "/").await.expect("an answer"), StatusCode::OK);
    }
    let third = client(address).await;
    let answer = async { get(&mut third?, "/").await.map_err(std::io::Error::other) };
    assert!(answer.await.is_err(), "it has half of them");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 2], 0).into()).expect("an address of this machine");
    let stream = socket.connect(address).await.expect("connected");
    let (mut elsewhere, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    assert_eq!(get(&mut elsewhere, "/").await.expect("an answer"), StatusCode::OK);
    drop(two);
    serving.abort();
}
