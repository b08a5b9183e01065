use ::http::Request;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::units::ByteSize;

fn small() -> Config {
    Config { max_header: ByteSize(16 << 10), max_header_lines: 50, ..Config::default() }
}

/// What an HTTP/1.1 client that sends these bytes reads, on a clock that runs ahead when nobody does anything.
async fn raw(config: Config, bytes: &[u8]) -> (String, usize) {
    let (mut client, handler, _) = connect(config, Protocol::Http1);
    let (mut reader, mut writer) = tokio::io::split(&mut client);
    let write = async {
        let _ = writer.write_all(bytes).await;
    };
    let (answer, ()) = tokio::join!(read_all(&mut reader), write);
    (answer, handler.requests.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn malformed_requests_reach_no_handler() {
    let check = async |bytes: &[u8], status: &str| {
        let (answer, requests) = raw(small(), bytes).await;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(answer.starts_with(status), "{text:?} gave {answer:?}");
        assert_eq!(requests, 0, "{text:?}");
    };
    let bad = "HTTP/1.1 400 Bad Request\r\n";
    check(b"GARBAGE\r\n\r\n", bad).await;
    check(b"\x16\x03\x01\x00\x05hello", bad).await;
    check(b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", bad).await;
    check(b"GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", bad).await;
    check(b"GET / HTTP/1.1\r\nhost: x\x00\r\n\r\n", bad).await;
    check(b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", bad).await;
    check(b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\na", bad).await;
    check(b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", bad).await;
    check(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf", "HTTP/1.1 408 Request Timeout\r\n")
        .await;
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "").await;
    let large = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    check(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17 << 10)).as_bytes(), large).await;
    check(format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(51)).as_bytes(), large).await;
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_lines_and_a_megabyte_of_headers_pass() {
    let lines: String = (0..20).fold(String::new(), |all, _| all + "x: " + &"y".repeat(50_000) + "\r\n");
    let more = "x: y\r\n".repeat(900);
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}{more}\r\n");
    let (answer, requests) = raw(Config::default(), request.as_bytes()).await;
    assert!(answer.contains("lines 922 body 0"), "{answer}");
    assert_eq!(requests, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_a_chunked_request() {
    let smuggled = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /other HTTP/1.1\r\nhost: x\r\n\r\n";
    let (answer, requests) = raw(small(), smuggled.as_bytes()).await;
    assert_eq!(requests, 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let two = "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(small(), two.as_bytes()).await.1, 2, "without a body, requests may follow each other");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_answered() {
    let config = || Config { max_statement: ByteSize(10), ..small() };
    let check = async |length: usize, expect: &str| {
        let head =
            format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; length]].concat();
        let (answer, _) = raw(config(), &request).await;
        assert!(answer.contains(expect), "{length}: {answer}");
    };
    check(10, "body 10").await;
    check(11, "body 11").await;
    check(1_000_000, "body 11").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut_off() {
    let (mut client, handler, _) = connect(small(), Protocol::Http1);
    let mut sent = 0;
    for byte in b"GET / HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat_n(&b'x', 1000)) {
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(sent < 40, "{sent} bytes, one each second, at 30 seconds allowed");
    assert_eq!(handler.requests.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_nothing_is_closed() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (mut client, _, _) = connect(small(), protocol);
        let mut bytes = Vec::new();
        let limit = Duration::from_hours(1);
        let ended = tokio::time::timeout(limit, client.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "{protocol:?} is open after an hour");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let (client, handler, _) = connect(small(), Protocol::Http1);
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(client)).await.expect("HTTP");
    let connection = tokio::spawn(connection);
    let mut request = async || {
        let request = Request::get("/").header("host", "x").body(Empty::new()).expect("a request");
        sender.ready().await?;
        sender.send_request(request).await.map(|response| response.status())
    };
    assert!(request().await.is_ok());
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert!(request().await.is_ok(), "longer than a head may take, shorter than a connection may rest");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(request().await.is_err(), "the connection was closed");
    assert_eq!(handler.requests.load(Ordering::Relaxed), 2);
    let _ = connection.await;
}

#[tokio::test(start_paused = true)]
async fn http2_serves_requests_and_limits_them() {
    let (client, handler, _) = connect(Config { max_header: ByteSize(16 << 10), ..small() }, Protocol::Http2);
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(client))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let mut send = async |header: usize, body: usize| {
        let request = Request::post("http://x/echo").header("x", "y".repeat(header));
        let request = request.body(Full::new(Bytes::from(vec![b'x'; body]))).expect("a request");
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok::<_, String>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let (status, body) = send(10, 9).await.expect("answered");
    assert_eq!((status, body.as_str()), (200, "http 2 tls none lines 2 body 9\n"));
    let (_, body) = send(10, 1_500_000).await.expect("answered");
    assert!(body.contains("body 1000001"), "{body}");
    let large = send(20 << 10, 0).await.map(|(status, _)| status);
    assert_eq!(large, Ok(431));
    assert_eq!(handler.requests.load(Ordering::Relaxed), 2);
}

/// Short statements are read before it is known who sends them, while there is room.
#[tokio::test(start_paused = true)]
async fn where_half_of_the_memory_is_taken_strangers_get_none() {
    let config = Config { max_statement_memory: small().max_statement, ..small() };
    let (client, _, _) = connect(config, Protocol::Http2);
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let send = |request: ::http::request::Builder| {
        let never = futures_util::stream::pending::<Result<Frame<Bytes>, BodyError>>();
        let request = request.body(http_body_util::StreamBody::new(never)).expect("a request");
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.expect("an answer").status().as_u16() }
    };
    let stranger = || Request::post("http://x/").header("content-length", "5").header("stranger", "yes");
    assert_eq!(send(stranger()).await, 408, "there is room: its body is waited for");
    // How long this one is nobody says: it gets all the room.
    let held = tokio::spawn(send(Request::post("http://x/")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(send(stranger()).await, 401);
    assert_eq!(held.await.expect("it ends"), 408);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_off() {
    let (mut client, handler, _) = connect(small(), Protocol::Http1);
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    // Time passes; the client has read nothing, and the connection's buffers are full.
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(handler.requests.load(Ordering::Relaxed), 1);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(1), client.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the endless answer ended");
}

#[tokio::test(start_paused = true)]
async fn a_http2_client_that_takes_nothing_is_cut_off() {
    let (client, _, _) = connect(small(), Protocol::Http2);
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(client))
            .await
            .expect("HTTP/2");
    // The client answers pings and takes frames; what it does not do is make room for more of the answer.
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/endless").body(Empty::new()).expect("a request");
    let _answer = sender.send_request(request).await.expect("an answer");
    let ended = tokio::time::timeout(Duration::from_mins(10), connection).await;
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_cut_off() {
    let (mut client, _, _) = connect(small(), Protocol::Http1);
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        client.read_exact(&mut buffer).await.expect("still served");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let (answer, _) = raw(small(), b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn answers_are_compressed_for_who_wants_it() {
    let check = async |path: &str, accept: &str, compress: bool, expect: bool| {
        let config = Config { compress, ..small() };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}\r\n");
        let (answer, _) = raw(config, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(answer.contains("content-encoding: gzip"), expect, "{path} {accept} {compress}");
        assert_eq!(answer.len() < 2000, expect, "{path} {accept} {compress}");
    };
    check("/rows", "accept-encoding: gzip\r\n", true, true).await;
    check("/rows", "accept-encoding: gzip\r\n", false, false).await;
    check("/rows", "", true, false).await;
    // A page has the key of its forms, and what others put into its address.
    check("/form", "accept-encoding: gzip\r\n", true, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_request_gets_no_body() {
    let (answer, _) = raw(small(), b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: ") && answer.ends_with("\r\n\r\n"), "{answer}");
}
