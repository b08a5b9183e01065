//! A link leads to a query's rows for the one who asked, and for nobody else.

use std::time::Duration;

use crate::harness::http::{Response, path_of};
use crate::harness::process::within;
use crate::harness::{gateway, trino};

/// Takes a few seconds unless it is cancelled.
const LONG: &str =
    "SELECT count(*) FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment";

/// The link of a fresh query of `eva`.
fn link() -> String {
    let page = gateway().signed_in("eva").submit("SELECT * FROM tpch.tiny.nation").page();
    path_of(page["nextUri"].as_str().expect("there is more"))
}

#[test]
fn a_link_of_somebody_else_is_not_found() {
    let link = link();
    let missing = gateway().signed_in("eva").get("/v1/statement/executing/nothing-of-the-kind");
    assert_eq!(missing.status, 404);
    for (who, client) in [("admin", gateway().signed_in("admin")), ("otto", gateway().signed_in("otto"))] {
        for method in ["GET", "HEAD", "DELETE"] {
            let response = client.send(method, &link, b"");
            assert_eq!(response.status, 404, "{method} by {who}");
            if method == "GET" {
                assert_eq!(response.body, missing.body, "it looks like a link that never was");
            }
        }
    }
    assert_eq!(gateway().client().get(&link).status, 401, "a link is no login");
    // None of that has hurt the query.
    assert_eq!(gateway().signed_in("eva").follow(gateway().signed_in("eva").get(&link)).rows().len(), 25);
}

#[test]
fn a_changed_link_is_not_found() {
    let link = link();
    let eva = gateway().signed_in("eva");
    let start = link.rfind('/').expect("a path") + 1;
    // Every eighth place keeps the test short; each is changed in its lowest bit, as far as the alphabet goes.
    for at in (start..link.len()).step_by(8).chain([link.len() - 1]) {
        let mut bytes = link.clone().into_bytes();
        bytes[at] = match bytes[at] {
            b'A' => b'B',
            b'-' => b'_',
            byte if byte.is_ascii_alphanumeric() && (byte ^ 1).is_ascii_alphanumeric() => byte ^ 1,
            _ => b'A',
        };
        let changed = String::from_utf8(bytes).expect("ASCII");
        assert_eq!(eva.get(&changed).status, 404, "changed at {at}: {changed}");
    }
    for changed in [
        format!("{link}A"),
        link[..link.len() - 1].to_owned(),
        format!("{link}/"),
        format!("{link}%00"),
        link.replace("executing", "queued"),
    ] {
        let status = eva.get(&changed).status;
        assert!(status == 404 || status == 400, "{changed}: {status}");
    }
    assert_eq!(eva.follow(eva.get(&link)).rows().len(), 25);
}

#[test]
fn links_name_the_gateway_and_tell_nothing() {
    let eva = gateway().signed_in("eva");
    let answer = eva.query("SELECT * FROM tpch.tiny.nation");
    let text = answer.everything();
    let trino_port = format!(":{}", trino().http);
    assert!(!text.contains(&trino_port), "Trino's address is in an answer: {text}");
    for page in &answer.pages {
        assert!(page.get("partialCancelUri").is_none(), "a stage of the plan could be cut short: {page}");
        for name in ["nextUri", "infoUri"] {
            if let Some(link) = page[name].as_str() {
                assert!(
                    link.starts_with(&format!("https://localhost:{}/", gateway().port)),
                    "{name}: {link}"
                );
            }
        }
    }
    // Whoever forges these headers gets no link to a host of theirs.
    let forged = eva
        .with("X-Forwarded-Host", "evil.example")
        .with("X-Forwarded-Proto", "http")
        .with("Forwarded", "host=evil.example");
    assert!(!forged.query("SELECT 1").everything().contains("evil.example"));
}

#[test]
fn heads_are_answered_and_keep_the_place() {
    let link = link();
    let eva = gateway().signed_in("eva");
    for _ in 0..3 {
        let head = eva.send("HEAD", &link, b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    assert_eq!(eva.follow(eva.get(&link)).rows().len(), 25);
    let hello = eva.send("HEAD", "/v1/statement", b"");
    assert_eq!(hello.status, 200, "the JDBC driver asks so whether a login is good");
    assert_eq!(gateway().client().basic("eva", "wrong").send("HEAD", "/v1/statement", b"").status, 401);
}

#[test]
fn a_cancel_ends_the_query_at_trino() {
    let admin = gateway().signed_in("admin");
    let page =
        admin.submit(&LONG.replacen("SELECT count(*) FROM", "SELECT count(*), 'cancel-me' FROM", 1)).page();
    let mut link = path_of(page["nextUri"].as_str().expect("there is more"));
    // Far enough that Trino has it.
    for _ in 0..3 {
        let page = admin.get(&link).page();
        link = path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}")));
    }
    let cancelled = admin.send("DELETE", &link, b"");
    assert!(cancelled.status == 204 || cancelled.status == 200, "{cancelled:?}");
    let states = || {
        let sql = "SELECT state FROM system.runtime.queries WHERE query LIKE '%cancel-me%' AND query NOT LIKE '%runtime%'";
        Some(trino().query(sql).lines())
            .filter(|states| !states.is_empty() && states.iter().all(|state| state == "FAILED"))
    };
    assert!(within(Duration::from_secs(20), states).is_some(), "Trino still runs it");
}

/// As the client for JavaScript does, which keeps no link.
#[test]
fn a_query_is_cancelled_by_its_id_by_whose_it_is() {
    let admin = gateway().signed_in("admin");
    let mut page = admin.submit("SELECT orderkey FROM tpch.sf100.lineitem").page();
    let id = page["id"].as_str().expect("an id").to_owned();
    let mut next = || {
        page = admin
            .get(&path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}"))))
            .page();
        page.clone()
    };
    assert!(
        within(Duration::from_secs(30), || (next()["stats"]["state"] == "RUNNING").then_some(())).is_some()
    );
    let (theirs, none) = (format!("/v1/query/{id}"), "/v1/query/20260101_000000_00000_aaaaa");
    for who in ["eva", "otto"] {
        let [foreign, unknown] =
            [theirs.as_str(), none].map(|path| gateway().signed_in(who).send("DELETE", path, b""));
        let without_date = |mut response: Response| {
            response.headers.retain(|(name, _)| name != "date");
            (response.status, response.headers, response.body)
        };
        assert_eq!(foreign.status, 204);
        assert_eq!(
            without_date(foreign),
            without_date(unknown),
            "{who} can tell it from a query that never was"
        );
    }
    assert_eq!(gateway().client().send("DELETE", &theirs, b"").status, 401);
    assert_eq!(gateway().client().basic("admin", "wrong").send("DELETE", &theirs, b"").status, 401);
    assert_eq!(admin.get(&theirs).status, 405, "what Trino says of a query is not for its clients");
    assert_eq!(next()["error"], serde_json::Value::Null);
    assert_eq!(admin.send("DELETE", &theirs, b"").status, 204);
    let link = path_of(page["nextUri"].as_str().expect("it ran"));
    assert_eq!(admin.follow(admin.get(&link)).failure(), "USER_CANCELED: The query was canceled.");
    let outcome = gateway().audit_of(&id, |records| records.len() >= 2).pop().expect("an outcome");
    assert_eq!(outcome["state"], "canceled", "{outcome}");
    let at_trino = outcome["trino_query"].as_str().expect("Trino had it").to_owned();
    let failed = || {
        let sql = format!("SELECT state FROM system.runtime.queries WHERE query_id = '{at_trino}'");
        (trino().query(&sql).lines() == ["FAILED"]).then_some(())
    };
    assert!(within(Duration::from_secs(20), failed).is_some(), "Trino still runs it");
    // One that has ended stays as it ended, and can be cancelled again.
    let done = admin.query("SELECT count(*) FROM tpch.tiny.nation");
    assert_eq!(admin.send("DELETE", &format!("/v1/query/{}", done.id), b"").status, 204);
    let outcome = gateway().audit_of(&done.id, |records| records.len() >= 2).pop().expect("an outcome");
    assert_eq!(outcome["state"], "finished", "{outcome}");
}

/// The client has all of it, though its query has ended before.
#[test]
fn a_page_that_is_on_its_way_when_its_query_is_cancelled_is_on_record() {
    let admin = gateway().signed_in("admin");
    // More than a connection takes while nobody reads.
    let sql = "SELECT rpad(name, 12000000, 'x') FROM tpch.tiny.nation WHERE nationkey = 3";
    let first = admin.submit(sql).page();
    let id = first["id"].as_str().expect("an id").to_owned();
    let (link, answer) = admin.until_long(first);
    assert_eq!(admin.send("DELETE", &link, b"").status, 204);
    assert_eq!(Response::read(answer, false).page()["data"].as_array().map(Vec::len), Some(1));
    let outcome = gateway().audit_of(&id, |records| records.len() >= 2).pop().expect("an outcome");
    assert_eq!(
        (outcome["state"].as_str(), outcome["rows"].as_u64()),
        (Some("canceled"), Some(1)),
        "{outcome}"
    );
}

#[test]
fn nothing_else_is_there() {
    let admin = gateway().signed_in("admin");
    for path in [
        "/",
        "/ui",
        "/ui/",
        "/ui/api/query",
        "/v1/query",
        "/v1/query/20260101_000000_00000_aaaaa",
        "/v1/node",
        "/v1/status",
        "/v1/cluster",
        "/v1/info/state",
        "/v1/task",
        "/v1/memory",
        "/v1/resourceGroupState",
        "/v1/jmx/mbean",
        "/v1/spooled/download/x",
        "/v1/service",
        "/v1/thread",
        "/metrics",
        "/health",
        "/v1/statement/queued/x/y/1",
        "/v1//statement",
        "/v1/statement/",
        "/v1/Statement",
        "/v1/./statement",
        "/v1/x/../statement",
        "/v1/statement;x=1",
        "/v1%2fstatement",
        "/v1/statement/../../ui/",
        "/oauth2/token",
        "/%2e%2e/ui",
    ] {
        for client in [&admin, &gateway().client()] {
            let response = client.get(path);
            // A known route without a login may say that a login is needed first, and a known path its methods.
            assert!(matches!(response.status, 404 | 400 | 405 | 401), "{path}: {}", response.status);
            assert!(!response.text().to_lowercase().contains("trino-"), "{path}: {}", response.text());
        }
        assert!(matches!(admin.get(path).status, 404 | 400 | 405), "{path} is there");
    }
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "DELETE", "GET"] {
        let status = admin.send(method, "/v1/statement", b"").status;
        assert!(matches!(status, 404 | 405 | 400), "{method} /v1/statement: {status}");
    }
    let info = gateway().signed_in("eva").get("/v1/info");
    assert_eq!(info.status, 200);
    assert!(
        serde_json::from_slice::<serde_json::Value>(&info.body).expect("JSON")["nodeVersion"]["version"]
            .is_string()
    );
}
