//! A Trino that is down, slow or answers garbage; a disk that is full; an end in the middle.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::double::{Double, Reply, json};
use crate::harness::process::within;
use crate::harness::{Answer, Client, Gateway, Settings, trino};

/// No fault may keep a client longer than this, however it is configured to wait for its answer.
const BOUND: Duration = Duration::from_secs(50);

fn before(upstream: &str) -> Gateway {
    let mut settings = Settings::for_upstream(upstream);
    settings.upstream_lines =
        "connect_timeout = \"2s\"\nfirst_byte_timeout = \"3s\"\npause_timeout = \"3s\"\n".to_owned();
    Gateway::start(settings)
}

/// Runs a statement that must fail, in time, with a message for its user, and in the audit.
fn fails(gateway: &Gateway, what: &str) -> Answer {
    let client = gateway.signed_in("admin");
    let start = Instant::now();
    let answer = client.query("SELECT 1");
    assert!(start.elapsed() < BOUND, "{what}: {:?}", start.elapsed());
    let failure = answer.failure();
    assert!(failure.len() > 30, "{what}: {failure}");
    for detail in ["127.0.0.1", "hyper", "tokio", "os error", "src/", "panicked"] {
        assert!(!failure.contains(detail), "{what} tells {detail}: {failure}");
    }
    let records = gateway.audit_of(&answer.id, |records| records.len() >= 2);
    assert_eq!(records.last().expect("records")["type"], "outcome", "{what}: {records:#?}");
    answer
}

#[test]
fn trino_is_down() {
    let gateway = before("http://127.0.0.1:1");
    fails(&gateway, "nothing listens");
    let ready = gateway.admin().get("/ready").status;
    assert_ne!(ready, 200, "a gateway without a Trino is not ready");
    assert_eq!(gateway.admin().get("/health").status, 200, "it is well all the same");
}

#[test]
fn trino_is_silent() {
    let double = Double::start(|_| Reply::Silence);
    fails(&before(&double.url()), "silence");
    assert_eq!(double.submissions("SELECT 1"), 1, "a statement is never sent twice");
}

#[test]
fn trino_answers_garbage() {
    let page = |body: &str| json("200 OK", body);
    let cases = [
        ("the connection closes", Reply::Close),
        ("half a head", Reply::Bytes(b"HTTP/1.1 200 O".to_vec())),
        ("no HTTP", Reply::Bytes(b"220 mail.example ESMTP\r\n".to_vec())),
        ("HTML", page("<html><body>secret-detail</body></html>")),
        ("nothing", page("")),
        ("not an object", page("[1, 2, 3]")),
        ("half a page", page(r#"{"id": "20260101_000000_00000_aaaaa", "data": [[1"#)),
        ("no id", page("{}")),
        (
            "a link elsewhere",
            page(
                r#"{"id":"20260101_000000_00000_aaaaa","nextUri":"http://evil.example/steal","stats":{"state":"RUNNING"}}"#,
            ),
        ),
        (
            "a link to another path",
            page(
                r#"{"id":"20260101_000000_00000_aaaaa","nextUri":"http://127.0.0.1/v1/query","stats":{"state":"RUNNING"}}"#,
            ),
        ),
        (
            "two links",
            page(
                r#"{"id":"20260101_000000_00000_aaaaa","nextUri":"http://h/v1/statement/a","nextUri":"http://h/v1/statement/b","stats":{}}"#,
            ),
        ),
        ("a short body", Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"id\":".to_vec())),
        (
            "a server error",
            json("500 Internal Server Error", "secret-detail at com.example.Foo(Foo.java:12)"),
        ),
        ("a bad gateway", json("502 Bad Gateway", "secret-detail")),
        ("unavailable", json("503 Service Unavailable", "secret-detail")),
        (
            "a redirect",
            Reply::Bytes(
                b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ),
        ),
        ("no login", json("401 Unauthorized", "secret-detail")),
    ];
    for (what, reply) in cases {
        let double = Double::start(move |_| reply.clone());
        let gateway = before(&double.url());
        let answer = fails(&gateway, what);
        let everything = answer.everything();
        assert!(
            !everything.contains("secret-detail") && !everything.contains("evil.example"),
            "{what}: {everything}"
        );
        assert_eq!(double.submissions("SELECT 1"), 1, "{what}: sent more than once");
    }
}

#[test]
fn trino_breaks_off_in_the_middle() {
    let double = Double::start(|request| {
        if request.starts_with("POST") {
            json(
                "200 OK",
                r#"{"id":"20260101_000000_00000_aaaaa","nextUri":"http://h/v1/statement/executing/q/s/1","stats":{"state":"RUNNING"}}"#,
            )
        } else {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"id\":\"20260101_000000_00000_aaaaa\",\"columns\":[],\"data\":[[1],[2]".to_vec())
        }
    });
    let gateway = before(&double.url());
    let client = gateway.signed_in("admin");
    let first = client.submit("SELECT 1");
    let id = first.page()["id"].as_str().expect("an id").to_owned();
    // Whatever the client gets, it can't take for a whole answer: an error page, an error status, or a body that breaks off.
    let outcome = catch_unwind(AssertUnwindSafe(|| client.follow(first)));
    assert!(outcome.as_ref().map_or(true, |answer| answer.error.is_some()), "{outcome:?}");
    gateway.audit_of(&id, |records| {
        records.iter().any(|record| record["type"] == "outcome" && record["state"] != "finished")
    });
}

#[test]
fn a_slow_query_is_no_fault() {
    let double = Double::start(|request| {
        thread::sleep(Duration::from_millis(700));
        let waited = request.contains("/9 ");
        let next =
            request.split("/s/").nth(1).and_then(|rest| rest[..1].parse::<u32>().ok()).unwrap_or(0) + 1;
        if waited {
            json(
                "200 OK",
                r#"{"id":"20260101_000000_00000_aaaaa","columns":[{"name":"_col0","type":"integer","typeSignature":{"rawType":"integer","arguments":[]}}],"data":[[1]],"stats":{"state":"FINISHED"}}"#,
            )
        } else {
            json(
                "200 OK",
                &format!(
                    r#"{{"id":"20260101_000000_00000_aaaaa","nextUri":"http://h/v1/statement/executing/q/s/{next}","stats":{{"state":"RUNNING"}}}}"#
                ),
            )
        }
    });
    assert_eq!(before(&double.url()).signed_in("admin").query("SELECT 1").value(), 1);
}

#[test]
fn a_full_disk_refuses_queries_and_recovers() {
    let mut settings = Settings::new();
    settings.disk_kib = Some(1600);
    let gateway = Gateway::start(settings);
    let admin = gateway.signed_in("admin");
    assert_eq!(admin.query("SELECT 1").value(), 1, "while there is room");
    // Each of these leaves some 20 KiB in the audit.
    let filler = format!("SELECT length('{}')", "x".repeat(20_000));
    let failures: Vec<String> = (0..30)
        .filter_map(|_| {
            let answer = admin.query(&filler);
            answer.error.is_some().then(|| answer.failure())
        })
        .collect();
    let last = failures.last().expect("the disk never filled up");
    assert!(last.to_lowercase().contains("audit"), "it says why: {last}");
    assert!(!last.contains("os error") && !last.contains('/'), "it says too much: {last}");
    let ran = trino().query("SELECT count(*) FROM system.runtime.queries WHERE query LIKE 'SELECT length(%' AND state = 'FINISHED'").value();
    let written = ran.as_u64().expect("a count");
    assert!(written < 30, "queries ran that the audit could not hold: {written}");
    // Room is made: it goes on without a restart.
    let pid = gateway.process.lock().expect("no panic in a lock").pid();
    let folder = gateway.folder.path().join("audit");
    fs::remove_file(format!("/proc/{pid}/root{}/ballast", folder.display())).expect("room can be made");
    let again = || admin.query("SELECT 2").error.is_none().then_some(());
    assert!(within(Duration::from_secs(30), again).is_some(), "it does not recover: {}", gateway.log());
}

#[test]
fn running_queries_end_before_the_gateway_does() {
    let mut settings = Settings::new();
    settings.more = "[query]\ndrain_client_timeout = \"10s\"\n".to_owned();
    let mut gateway = Gateway::start(settings);
    let client = gateway.signed_in("admin");
    // Its client has left, which is not waited for: otherwise it would be for five minutes.
    let left = client.submit("SELECT orderkey FROM tpch.sf100.lineitem").page();
    let first =
        client.submit("SELECT count(*) FROM tpch.sf1.lineitem a JOIN tpch.sf1.orders b USING (orderkey)");
    gateway.process.get_mut().expect("no panic in a lock").signal("TERM");
    let answer = client.follow(first);
    assert_eq!(answer.value(), 6_001_215);
    let status = gateway.process.get_mut().expect("no panic in a lock").wait(Duration::from_mins(1));
    assert_eq!(status, Some(0), "it ends well:\n{}", gateway.log());
    let open = |record: &&Value| record["type"] == "intent";
    let records = gateway.audit();
    let ends = records.iter().filter(|record| record["type"] == "outcome").count();
    assert_eq!(records.iter().filter(open).count(), ends, "each intent has its outcome");
    let of_left = records.iter().find(|record| record["query"] == left["id"] && record["type"] == "outcome");
    assert_eq!(of_left.map(|record| &record["state"]), Some(&"abandoned".into()));
}

#[test]
fn a_client_that_goes_away_is_recorded_and_its_query_ended() {
    let mut settings = Settings::new();
    settings.more = "[query]\nclient_timeout = \"10s\"\n".to_owned();
    let gateway = Gateway::start(settings);
    let client: Client = gateway.signed_in("admin");
    let sql = "SELECT count(*), 'left-alone' FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment";
    let first = client.submit(sql).page();
    let mut link = crate::harness::http::path_of(first["nextUri"].as_str().expect("there is more"));
    for _ in 0..3 {
        link = crate::harness::http::path_of(
            client.get(&link).page()["nextUri"].as_str().expect("it runs long"),
        );
    }
    let id = first["id"].as_str().expect("an id");
    let records = || {
        Some(gateway.audit_of(id, |records| !records.is_empty()))
            .filter(|records| records.iter().any(|r| r["state"] == "abandoned"))
    };
    assert!(within(Duration::from_secs(40), records).is_some(), "{:#?}", gateway.audit());
    let ended = || {
        let sql = "SELECT state FROM system.runtime.queries WHERE query LIKE '%left-alone%' AND query NOT LIKE '%runtime%'";
        let states = trino().query(sql).lines();
        (!states.is_empty() && states.iter().all(|state| state == "FAILED")).then_some(())
    };
    assert!(within(Duration::from_secs(20), ended).is_some(), "Trino still runs it");
}
