//! A Trino that is down, slow, rude or talks nonsense.

mod fleet;
mod stub;

use std::sync::Arc;

use super::*;
use crate::catalog::{Catalog, CatalogError, RelationKind, TableName};
use crate::error::Failure;
use crate::units::Span;
use stub::{Act, Stub, page};

const LINK: &str = "/v1/statement/executing/20261123_000000_00001_abcde/y1f/7";

fn cluster(url: &str) -> Cluster {
    let short = Span(Duration::from_millis(300));
    let config = Config {
        connect_timeout: short,
        first_byte_timeout: short,
        pause_timeout: short,
        ..Config::plain(url)
    };
    Cluster::new(&config).expect("a sound configuration")
}

fn ok(body: &str) -> Act {
    Act::Say(page("200 OK", body))
}

async fn submit(cluster: &Cluster) -> Result<Response, UpstreamError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-trino-user", HeaderValue::from_static("ann"));
    cluster.send(Bytes::from_static(b"SELECT 'secret'"), headers).await
}

async fn read(answer: Result<Response, UpstreamError>) -> Result<String, UpstreamError> {
    let body = answer?.body.whole(1 << 20).await?.expect("not too large");
    Ok(String::from_utf8(body).expect("UTF-8"))
}

/// What a submit gives, whether Trino may have run it, and how often it was asked.
#[tokio::test]
async fn a_statement_is_sent_once_whatever_happens() {
    async fn check(act: Act, expect: Result<&str, (&str, bool)>) {
        let name = format!("{act:?}");
        let stub = Stub::start(vec![act]).await;
        let got = read(submit(&cluster(&stub.url)).await).await;
        let got = got.as_deref().map_err(|error| (error.kind(), error.may_have_run()));
        assert_eq!(got, expect, "{name}");
        let asked = stub.asked();
        assert_eq!(asked.len(), 1, "{name}: {asked:?}");
        assert!(
            asked[0].starts_with("POST /v1/statement HTTP/1.1\r\n") && asked[0].ends_with("SELECT 'secret'")
        );
    }
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let long = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"id\":";
    check(ok("{}"), Ok("{}")).await;
    check(Act::Close, Err(("upstream_lost", true))).await;
    check(Act::Hang, Err(("upstream_slow", true))).await;
    check(Act::SayAndClose("hello?\r\n\r\n".into()), Err(("upstream_lost", true))).await;
    check(Act::Say(html.into()), Err(("upstream_garbage", true))).await;
    check(Act::Say(page("503 Service Unavailable", "")), Err(("upstream_status", true))).await;
    check(Act::Say(page("500 Oops", "at io.trino")), Err(("upstream_status", true))).await;
    check(Act::Say(page("400 Bad Request", "")), Err(("upstream_status", false))).await;
    check(Act::Say(page("404 Not Found", "")), Err(("upstream_status", false))).await;
    check(Act::Say(page("302 Found", "")), Err(("upstream_status", true))).await;
    check(Act::Say(page("401 Unauthorized", "")), Err(("upstream_sign_in", false))).await;
    check(Act::Say(page("403 Forbidden", "")), Err(("upstream_sign_in", false))).await;
    check(Act::SayAndClose(long.into()), Err(("upstream_broken", false))).await;
    check(Act::SayAndHang(long.into()), Err(("upstream_slow", false))).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let stub = Stub::start(vec![Act::SayAndClose(page("200 OK", "{\"a\":1}")), ok("{\"a\":2}")]).await;
    let cluster = cluster(&stub.url);
    assert_eq!(read(submit(&cluster).await).await.expect("a page"), "{\"a\":1}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(read(submit(&cluster).await).await.expect("a page"), "{\"a\":2}");
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn a_connection_in_use_that_breaks_is_not_tried_again() {
    let stub = Stub::start(vec![ok("{}"), Act::Close, ok("{}")]).await;
    let cluster = cluster(&stub.url);
    read(submit(&cluster).await).await.expect("a page");
    assert!(submit(&cluster).await.expect_err("closed").may_have_run());
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn nobody_listens() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let cluster = cluster(&format!("http://127.0.0.1:{port}"));
    let error = submit(&cluster).await.expect_err("nobody");
    assert_eq!((error.kind(), error.may_have_run()), ("upstream_unreachable", false));
    assert!(!error.client_message().contains(&port.to_string()), "hosts and ports are for the log");
    assert!(error.to_string().contains("trino"));
}

/// What a GET of a link gives, and how often it was asked.
#[tokio::test]
async fn links_are_asked_for_again_a_few_times() {
    async fn check(acts: Vec<Act>, expect: Result<&str, &str>, asked: usize) {
        let name = format!("{acts:?}");
        let stub = Stub::start(acts).await;
        let got = read(cluster(&stub.url).follow(LINK, Verb::Get, HeaderMap::new()).await).await;
        assert_eq!(got.as_deref().map_err(Failure::kind), expect, "{name}");
        assert_eq!(stub.asked().len(), asked, "{name}");
        assert!(stub.asked()[0].starts_with(&format!("GET {LINK} HTTP/1.1\r\n")));
    }
    let busy = || Act::Say(page("503 Service Unavailable", "busy"));
    check(vec![ok("{}")], Ok("{}"), 1).await;
    check(vec![busy(), Act::Close, Act::Say(page("502 Bad Gateway", "")), ok("{}")], Ok("{}"), 4).await;
    check(vec![busy()], Err("upstream_status"), 6).await;
    check(vec![Act::Close], Err("upstream_broken"), 6).await;
    check(vec![Act::Hang], Err("upstream_slow"), 1).await;
    check(vec![Act::Say(page("410 Gone", ""))], Err("upstream_gone"), 1).await;
    check(vec![Act::Say(page("404 Not Found", ""))], Err("upstream_gone"), 1).await;
    check(vec![Act::Say(page("500 Oops", ""))], Err("upstream_status"), 1).await;
}

#[tokio::test]
async fn heartbeats_and_cancels() {
    let empty = |status: &str| Act::Say(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    let stub = Stub::start(vec![empty("200 OK"), empty("204 No Content"), empty("404 Not Found")]).await;
    let cluster = cluster(&stub.url);
    assert!(cluster.follow(LINK, Verb::Head, HeaderMap::new()).await.is_ok());
    assert!(cluster.cancel(LINK).await.is_ok());
    assert!(cluster.cancel(LINK).await.is_ok(), "gone already is as good");
    let asked: Vec<String> =
        stub.asked().iter().map(|a| a.split(' ').next().unwrap_or_default().into()).collect();
    assert_eq!(asked, ["HEAD", "DELETE", "DELETE"]);
    for path in ["/v1/query", "/v1/statement/../query/1", "http://127.0.0.1/v1/statement/queued/q/s/1"] {
        assert!(matches!(cluster.follow(path, Verb::Get, HeaderMap::new()).await, Err(UpstreamError::Path)));
    }
    assert_eq!(stub.asked().len(), 3, "nothing else is asked for");
}

#[tokio::test]
async fn the_gateways_sign_in_is_its_own() {
    let temp = tempfile::tempdir().expect("a folder");
    let password_file = temp.path().join("password");
    std::fs::write(&password_file, "open sesame\n").expect("written");
    let stub = Stub::start(vec![ok("{}")]).await;
    let base = Config::plain(&stub.url);
    let password = Config {
        authentication: Authentication::Password,
        password_file: Some(password_file.into()),
        ..base.clone()
    };
    let jwt = Config {
        authentication: Authentication::Jwt,
        key_file: Some(temp.path().join("key.pem")),
        ..base.clone()
    };
    for (config, expect) in [
        (base, None),
        (password, Some("authorization: Basic bm9ydGhnYXRlOm9wZW4gc2VzYW1l\r\n")),
        (jwt, Some("authorization: Bearer ey")),
    ] {
        let cluster = Cluster::new(&config).expect("sound");
        assert_eq!(cluster.jwks().is_some(), config.authentication == Authentication::Jwt);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer the-clients-own"));
        headers.insert(header::HOST, HeaderValue::from_static("gateway.example"));
        cluster.follow(LINK, Verb::Get, headers).await.expect("a page");
        let asked = stub.asked().pop().expect("asked");
        assert!(!asked.contains("the-clients-own") && !asked.contains("gateway.example"), "{asked}");
        assert_eq!(asked.contains("authorization:"), expect.is_some(), "{asked}");
        assert!(expect.is_none_or(|expect| asked.contains(expect)), "{asked}");
        // Trino answers 406 to this header where it was not told to expect it.
        assert_eq!(asked.contains("x-forwarded-proto: https\r\n"), expect.is_some(), "{asked}");
        assert!(!format!("{config:?}").contains("sesame"));
    }
}

#[tokio::test]
async fn health() {
    async fn check(act: Act, expect: Option<(&str, bool)>) {
        let stub = Stub::start(vec![act]).await;
        let found = cluster(&stub.url).check().await.ok();
        assert_eq!(found, expect.map(|(v, starting)| Info { version: v.into(), starting }));
        assert!(stub.asked()[0].starts_with("GET /v1/info "));
    }
    let info = r#"{"nodeVersion":{"version":"476"},"environment":"e","coordinator":true,"starting":true}"#;
    check(ok(info), Some(("476", true))).await;
    check(ok(&info.replace("true}", "false}")), Some(("476", false))).await;
    check(ok("{}"), None).await;
    check(Act::Say(page("503 Service Unavailable", "")), None).await;
}

#[tokio::test]
async fn tables_are_described_by_trino() {
    let next = r#"{"id":"q","nextUri":"https://elsewhere/v1/statement/executing/q/s/1","stats":{}}"#;
    let rows = r#"{"id":"q","data":[["table","t","BASE TABLE","",0],["column","t","b","varchar(3)",2],
        ["column","t","a","bigint",1]],"stats":{}}"#;
    let stub = Stub::start(vec![ok(next), ok(rows)]).await;
    let catalog =
        Catalog::new(Arc::new(cluster(&stub.url)), crate::catalog::Config::default()).expect("a catalog");
    let name = TableName::new("lake", "o'brien", "t").expect("a name");
    let found = catalog.describe(std::slice::from_ref(&name)).await.expect("described");
    assert_eq!(found[0].kind, RelationKind::Table);
    assert_eq!(found[0].columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let asked = stub.asked();
    assert!(
        asked[0].contains("x-trino-user: northgate\r\n") && asked[0].contains("table_schema = 'o''brien'")
    );
    assert!(asked[1].starts_with("GET /v1/statement/executing/q/s/1 "));
    catalog.describe(std::slice::from_ref(&name)).await.expect("remembered");
    assert_eq!(stub.asked().len(), 2);
}

/// What Trino answers to a metadata query, and what becomes of it.
#[tokio::test]
async fn metadata_that_fails_is_an_error() {
    async fn check(acts: Vec<Act>, expect: &str, last: &str) {
        let name = format!("{acts:?}");
        let stub = Stub::start(acts).await;
        let catalog =
            Catalog::new(Arc::new(cluster(&stub.url)), crate::catalog::Config::default()).expect("a catalog");
        let table = TableName::new("lake", "s", "t").expect("a name");
        let error = catalog.describe(&[table]).await.expect_err(&name);
        assert_eq!(error.kind(), expect, "{name}");
        assert!(matches!(error, CatalogError::NotFound(_)) == (expect == "catalog_not_found"));
        assert!(
            stub.asked().last().is_some_and(|asked| asked.starts_with(last)),
            "{name}: {:?}",
            stub.asked()
        );
    }
    let failed = |name: &str| ok(&format!(r#"{{"error":{{"errorName":"{name}","message":"m"}}}}"#));
    let foreign = r#"{"nextUri":"http://evil/v1/query/1"}"#;
    let next = r#"{"nextUri":"/v1/statement/queued/q/s/1"}"#;
    check(vec![failed("CATALOG_NOT_FOUND")], "catalog_not_found", "POST").await;
    check(vec![failed("SCHEMA_NOT_FOUND")], "catalog_not_found", "POST").await;
    check(vec![failed("PERMISSION_DENIED")], "catalog_engine", "POST").await;
    check(vec![ok("{}")], "catalog_not_found", "POST").await;
    check(vec![ok("[]")], "catalog_engine", "POST").await;
    check(vec![ok(foreign)], "catalog_engine", "POST").await;
    check(vec![Act::Close], "catalog_engine", "POST").await;
    // What was begun is ended.
    check(vec![ok(next), ok("garbage"), ok("{}")], "catalog_engine", "DELETE").await;
}

#[tokio::test]
async fn tls_needs_an_authority_that_is_trusted() {
    let ours = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let stub = Stub::start_tls(vec![ok("{}")], &ours).await;
    let temp = tempfile::tempdir().expect("a folder");
    let check =
        |name: &'static str, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>, url: String, expect: bool| {
            let ca_file = temp.path().join(name);
            std::fs::write(&ca_file, certificate.cert.pem()).expect("written");
            let config = Config { ca_file: Some(ca_file), ..Config::plain(url) };
            async move {
                let got = submit(&Cluster::new(&config).expect("sound")).await;
                match got {
                    Ok(_) => assert!(expect, "{name}"),
                    Err(error) => {
                        assert!(!expect, "{name}: {error}");
                        assert_eq!(
                            (error.kind(), error.may_have_run()),
                            ("upstream_unreachable", false),
                            "{name}"
                        );
                    }
                }
            }
        };
    check("ours", &ours, stub.url.clone(), true).await;
    check("another authority", &other, stub.url.clone(), false).await;
    check("another name", &ours, stub.url.replace("localhost", "127.0.0.1"), false).await;
    let empty = temp.path().join("empty");
    std::fs::write(&empty, "").expect("written");
    let config = Config { ca_file: Some(empty), ..Config::plain(&stub.url) };
    assert!(Cluster::new(&config).is_err_and(|error| error.to_string().contains("ca_file")));
}
