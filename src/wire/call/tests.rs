use std::net::{IpAddr, Ipv4Addr};

use http::Request;
use http::request::Builder;

use super::*;

fn peer(tls: Option<TlsVersion>) -> Peer {
    Peer::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1), tls)
}

fn read(builder: Builder, body: &[u8]) -> Result<Call, Malformed> {
    let (parts, ()) = builder.body(()).expect("a request").into_parts();
    Call::read(parts, Bytes::copy_from_slice(body), peer(Some(TlsVersion::V1_3)), &Limits::default())
}

fn request(method: &str, uri: &str) -> Builder {
    Request::builder().method(method).uri(uri).header("host", "gw.example:8443")
}

fn submit() -> Builder {
    request("POST", "/v1/statement")
}

#[test]
fn routes() {
    let check = |method: &str, uri: &str, expect: &str| {
        let body: &[u8] = if method == "POST" { b"select 1" } else { b"" };
        let got = match read(request(method, uri), body) {
            Ok(call) => format!("{:?}", call.route()),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{method} {uri}");
    };
    let link = |method: &str| format!("Link {{ method: {method}, sealed: \"aB-_9\" }}");
    check("POST", "/v1/statement", "Submit");
    check("HEAD", "/v1/statement", "Probe");
    check("GET", "/v1/info", "Info");
    check("HEAD", "/v1/info", "Info");
    check("GET", "/v1/statement/executing/aB-_9", &link("Get"));
    check("HEAD", "/v1/statement/executing/aB-_9", &link("Head"));
    check("DELETE", "/v1/statement/executing/aB-_9", &link("Delete"));
    check("GET", "/v1/statement/executing/aB-_9?maxWait=1.00s", &link("Get"));
    check("GET", "/v1/statement/executing/aB-_9?maxWait=1s&targetResultSize=16MB", &link("Get"));

    let cancel = r#"Cancel { query: "20260101_000000_00000_aaaaa" }"#;
    check("DELETE", "/v1/query/20260101_000000_00000_aaaaa", cancel);

    check("GET", "/v1/query/20260101_000000_00000_aaaaa", "method not allowed; allowed: DELETE");
    check("GET", "/v1/statement", "method not allowed; allowed: POST, HEAD");
    check("PUT", "/v1/statement", "method not allowed; allowed: POST, HEAD");
    check("POST", "/v1/info", "method not allowed; allowed: GET, HEAD");
    check("POST", "/v1/statement/executing/aB-_9", "method not allowed; allowed: GET, HEAD, DELETE");
    check("PATCH", "/v1/statement/executing/aB-_9", "method not allowed; allowed: GET, HEAD, DELETE");

    for uri in [
        "/",
        "/ui",
        "/ui/",
        "/v1/query",
        "/v1/query/",
        "/v1/query/a-b",
        "/v1/query/a%5f",
        "/v1/query/a/b",
        "/v1/query/a/killed",
        "/v1/query/a?pruned=true",
        "/v1/query/..",
        "/v1/node",
        "/v1/jmx/mbean",
        "/v1/task",
        "/v1/statement/",
        "//v1/statement",
        "/v1//statement",
        "/v1/./statement",
        "/v1/x/../statement",
        "/v1/statement;x=1",
        "/v1;x/statement",
        "/v1%2fstatement",
        "/V1/statement",
        "/v1/%73tatement",
        "/v1/statement?x=1",
        "/v1/statement?",
        "/v1/info?x",
        "/v1/info/state",
        "/v1/statement/executing",
        "/v1/statement/executing/",
        "/v1/statement/executing/a/b",
        "/v1/statement/executing/a%2fb",
        "/v1/statement/executing/a;b",
        "/v1/statement/executing/a.b",
        "/v1/statement/executing/a=",
        "/v1/statement/executing/../x",
        "/v1/statement/queued/abc",
        "/v1/statement/executing/partialCancel/abc",
        "/v1/statement/executing/abc?",
        "/v1/statement/executing/abc?x=1",
        "/v1/statement/executing/abc?maxWait",
        "/v1/statement/executing/abc?maxWait=%31",
        "/v1/statement/executing/abc?maxWait=1s&maxWait=1s&maxWait=1s",
        "/v1/spooled/download/x",
        "/oauth2/token/x",
    ] {
        for method in ["GET", "POST", "DELETE", "HEAD", "OPTIONS"] {
            check(method, uri, "no such route");
        }
    }
    check("GET", &format!("/v1/statement/executing/{}", "a".repeat(LONGEST_LINK + 1)), "no such route");
    check("DELETE", &format!("/v1/query/{}", "a".repeat(LONGEST_ID + 1)), "no such route");
}

#[test]
fn hosts() {
    let check = |uri: &str, hosts: &[&str], expect: Option<&str>| {
        let mut builder = Request::builder().method("GET").uri(uri);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        let got = read(builder, b"").map(|call| call.base().to_owned());
        assert_eq!(got.ok().as_deref(), expect, "{uri} {hosts:?}");
    };
    check("/v1/info", &["gw.example"], Some("https://gw.example"));
    check("/v1/info", &["GW.example:8443"], Some("https://gw.example:8443"));
    check("/v1/info", &["10.0.0.1:1"], Some("https://10.0.0.1:1"));
    check("/v1/info", &["[::1]"], Some("https://[::1]"));
    check("/v1/info", &["[2001:db8::1]:8443"], Some("https://[2001:db8::1]:8443"));
    check("https://gw.example:8443/v1/info", &[], Some("https://gw.example:8443"));
    check("https://gw.example/v1/info", &["gw.example"], Some("https://gw.example"));
    check("https://gw.example/v1/info", &["other.example"], None);
    check("/v1/info", &[], None);
    check("/v1/info", &["a", "a"], None);
    for host in [
        "",
        "a b",
        "a/b",
        "a@b",
        "user:pw@h",
        "h:0",
        "h:65536",
        "h:",
        "h:8x",
        "h:+8",
        "[::1",
        "[::1]x",
        "[x]",
        "a\"b",
    ] {
        check("/v1/info", &[host], None);
    }
    let (parts, ()) = request("GET", "/v1/info").body(()).expect("a request").into_parts();
    let plain = Call::read(parts, Bytes::new(), peer(None), &Limits::default()).expect("a call");
    assert_eq!(plain.base(), "http://gw.example:8443");
}

#[test]
fn forwarded_headers_change_nothing() {
    let forwarded = request("GET", "/v1/info")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "http")
        .header("x-forwarded-prefix", "/x")
        .header("forwarded", "host=evil.example");
    assert_eq!(read(forwarded, b"").expect("a call").base(), "https://gw.example:8443");
}

#[test]
fn bodies() {
    let check = |body: &[u8], headers: &[(&str, &str)], expect: Result<&str, BodyFault>| {
        let mut builder = submit();
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let got = read(builder, body).map(|call| call.body().to_owned());
        assert_eq!(got, expect.map(str::to_owned).map_err(Malformed::Body), "{headers:?} {body:?}");
    };
    check(b" select 1\n", &[], Ok(" select 1\n"));
    check("select 'é'".as_bytes(), &[("content-type", "text/plain; charset=utf-8")], Ok("select 'é'"));
    for good in [
        "text/plain",
        "TEXT/PLAIN;charset=UTF-8",
        "text/plain; charset=\"utf-8\"",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain;",
    ] {
        check(b"x", &[("content-type", good)], Ok("x"));
    }
    for bad in [
        "text/plain; charset=utf-16",
        "text/plain; charset=iso-8859-1",
        "text/plain; charset=utf-8; charset=utf-16",
        "text/plain; charset=utf-7",
        "text/html",
        "multipart/form-data; boundary=x",
        "application/",
        "",
        "text",
    ] {
        check(b"x", &[("content-type", bad)], Err(BodyFault::Charset));
    }
    check(b"x", &[("content-encoding", "identity")], Ok("x"));
    check(b"x", &[("content-encoding", "gzip")], Err(BodyFault::Encoded));
    check(b"x", &[("content-encoding", "identity"), ("content-encoding", "br")], Err(BodyFault::Encoded));
    check(b"", &[], Err(BodyFault::Empty));
    check(b" \r\n\t", &[], Err(BodyFault::Empty));
    check(b"select '\0'", &[], Err(BodyFault::Nul));
    check(b"select '\xff'", &[], Err(BodyFault::NotUtf8));
    check(b"select '\xed\xa0\x80'", &[], Err(BodyFault::NotUtf8));
    let limit = Limits::default().body;
    check(&vec![b'x'; limit + 1], &[], Err(BodyFault::TooLarge { limit }));
    assert!(read(submit(), &vec![b'x'; limit]).is_ok());
    let poll = request("GET", "/v1/statement/executing/abc");
    assert_eq!(read(poll, b"x").err(), Some(Malformed::Body(BodyFault::Unexpected)));
    let twice = submit().header("content-type", "text/plain").header("content-type", "text/plain");
    let why = HeaderFault::Repeated;
    assert_eq!(read(twice, b"x").err(), Some(Malformed::Header { name: "content-type", why }));
}

#[test]
fn headers_are_bounded() {
    let limits = Limits::default();
    // The host is one line.
    let lines = |count: usize| {
        (0..count).fold(submit(), |builder, number| builder.header("x-trino-session", format!("p{number}=1")))
    };
    assert_eq!(read(lines(999), b"x").expect("a call").session().properties.len(), 999);
    assert_eq!(read(lines(limits.header_lines), b"x").err(), Some(Malformed::HeadersTooLarge));
    let sized =
        |size: usize| submit().header("x-trino-prepared-statement", format!("p={}", "x".repeat(size)));
    assert!(read(sized(limits.headers - 100), b"x").is_ok());
    assert_eq!(read(sized(limits.headers), b"x").err(), Some(Malformed::HeadersTooLarge));
}

#[test]
fn gzip_is_asked_for() {
    let check = |values: &[&str], expect: bool| {
        let mut builder = request("GET", "/v1/info");
        for value in values {
            builder = builder.header("accept-encoding", *value);
        }
        assert_eq!(read(builder, b"").expect("a call").accepts_gzip(), expect, "{values:?}");
    };
    check(&[], false);
    check(&["gzip"], true);
    check(&["deflate, GZIP;q=0.5"], true);
    check(&["br", "gzip"], true);
    check(&["gzip;q=0"], false);
    check(&["gzip; q=0.0, br"], false);
    check(&["identity"], false);
    check(&["xgzip"], false);
}

#[test]
fn failures_say_how_they_are_told() {
    use crate::error::{ErrorCode, Failure};
    let check = |error: Malformed, status: u16, page: bool, code: ErrorCode| {
        let got = (error.http_status().as_u16(), error.as_page(), error.code());
        assert_eq!(got, (status, page, code), "{error:?}");
    };
    let header = Malformed::Header { name: "x-trino-role", why: HeaderFault::Unsupported };
    check(Malformed::NotFound, 404, false, ErrorCode::NOT_FOUND);
    check(Malformed::Method { allowed: "GET" }, 405, false, ErrorCode::GENERIC_USER_ERROR);
    check(Malformed::Body(BodyFault::TooLarge { limit: 1 }), 413, true, ErrorCode::GENERIC_USER_ERROR);
    check(Malformed::Body(BodyFault::NotUtf8), 400, true, ErrorCode::SYNTAX_ERROR);
    check(Malformed::Body(BodyFault::Charset), 415, false, ErrorCode::GENERIC_USER_ERROR);
    check(Malformed::HeadersTooLarge, 431, false, ErrorCode::GENERIC_USER_ERROR);
    check(header.clone(), 400, false, ErrorCode::GENERIC_USER_ERROR);
    assert_eq!(header.client_message(), "The request header x-trino-role is not supported by Northgate");
}

#[test]
fn nothing_secret_is_shown() {
    let call = read(submit().header("authorization", "Bearer secret"), b"select 'secret'").expect("a call");
    let shown = format!("{call:?}");
    assert!(shown.contains("Submit") && !shown.contains("secret"), "{shown}");
}
