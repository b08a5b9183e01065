//! What is malformed gets a message that its user understands, and nothing hangs or falls over.

use std::io::Write as _;
use std::time::Duration;

use crate::harness::{Gateway, Response, Settings, gateway, http};

/// Sends raw bytes on a fresh TLS connection and gives the status of the answer; `None` if there was none.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let answer = gateway().client().raw(bytes);
    if answer.is_empty() { None } else { Some(Response::read(answer.as_slice(), true).status) }
}

/// The gateway still answers.
fn still_well() {
    assert_eq!(gateway().signed_in("admin").query("SELECT 1").value(), 1);
}

#[test]
fn malformed_http_is_refused() {
    let cases: [&[u8]; 13] = [
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE\0\x01\x02\xff\xfe\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: evil host\r\n\r\n",
        b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nSELEC",
        b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense nonsense nonsense",
    ];
    for bytes in cases {
        let status = status_of(bytes);
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{:?}: {status:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    still_well();
}

/// Of two lengths the wrong one may be believed somewhere: whoever is answered, it is with an error, and the
/// connection is not used again.
#[test]
fn two_lengths_end_the_connection() {
    let request = "POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
                   0\r\n\r\nGET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = gateway().client().raw(request.as_bytes());
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("nodeVersion"), "what follows is read as a request: {text}");
}

#[test]
fn plain_http_on_the_tls_port_is_refused() {
    let answer = crate::harness::Client::plain(gateway().port)
        .raw(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!String::from_utf8_lossy(&answer).contains("nodeVersion"));
    still_well();
}

#[test]
fn headers_have_bounds() {
    let long = "x".repeat(70_000);
    let many: String = (0..5_000).fold(String::new(), |all, i| all + &format!("X-Filler-{i}: y\r\n"));
    for head in
        [format!("X-Trino-Source: {long}\r\n"), many, format!("Cookie: {}\r\n", "x".repeat(3_000_000))]
    {
        let request = format!("GET /v1/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n");
        let status = status_of(request.as_bytes());
        assert!(status.is_none_or(|status| matches!(status, 400 | 401 | 413 | 431)), "{status:?}");
    }
    let target = format!(
        "GET /v1/statement/executing/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(2_000_000)
    );
    assert!(status_of(target.as_bytes()).is_none_or(|status| matches!(status, 400 | 401 | 404 | 414 | 431)));
    still_well();
}

#[test]
fn hundreds_of_prepared_statements_are_fine() {
    let mut client = gateway().signed_in("admin");
    for i in 0..300 {
        client = client.with(
            "X-Trino-Prepared-Statement",
            format!("p{i}={}", crate::pipeline::percent(&format!("SELECT {i}, '{}'", "x".repeat(1000)))),
        );
    }
    let rows = client.query("EXECUTE p299").rows();
    assert_eq!(rows[0][0], 299);
}

#[test]
fn statements_of_many_words_can_be_kept_from_trino() {
    let mut settings = Settings::new();
    settings.more = "[query]\nmax_words = 1000\n".to_owned();
    let gateway = Gateway::start(settings);
    let admin = gateway.signed_in("admin");
    let of_words = |count: usize| format!("SELECT 1{}", ", 1".repeat(count / 2 - 1));
    assert_eq!(admin.query(&of_words(1000)).rows()[0].len(), 500);
    let failure = admin.query(&of_words(1002)).failure();
    assert!(failure.contains("longer than 1000 words"), "{failure}");
}

/// A large statement of somebody who cannot sign in is not kept, and its sender is told.
#[test]
fn strangers_take_up_no_memory() {
    let sql = format!("SELECT '{}'", "x".repeat(500_000));
    let response = gateway().client().basic("eva", "wrong").submit(&sql);
    assert_eq!(response.status, 401, "{}", response.text());
    let response = gateway().client().submit(&sql);
    assert_eq!(response.status, 401, "{}", response.text());
    assert_eq!(gateway().signed_in("eva").query(&sql).lines().len(), 1);
}

#[test]
fn a_prepared_statement_is_unpacked_when_it_is_executed() {
    let packed = || gateway().signed_in("admin").with("X-Trino-Prepared-Statement", "p=$zstd:AAAA");
    assert_eq!(packed().query("SELECT 1").value(), 1);
    assert!(packed().query("EXECUTE p").failure().contains("x-trino-prepared-statement"));
}

#[test]
fn headers_that_lie_or_are_twice_are_refused() {
    let admin = || gateway().signed_in("admin");
    for (client, what) in [
        (admin().with("X-Trino-User", "admin").with("X-Trino-User", "eva"), "two users"),
        (admin().with("Authorization", "Basic !!!"), "two logins"),
        (admin().with("X-Presto-User", "admin"), "the old prefix"),
        (admin().with("X-Trino-Role", "system=ROLE{admin}"), "a role"),
        (admin().with("X-Trino-Catalog", "a").with("X-Trino-Catalog", "b"), "two catalogs"),
        (admin().with("X-Trino-Session", "no-equals-sign"), "a property without a value"),
        (admin().with("X-Trino-Prepared-Statement", "p=%ff%fe"), "a prepared statement that is not UTF-8"),
        (admin().with("Content-Encoding", "gzip"), "a packed body"),
        (admin().with("Content-Type", "text/plain; charset=utf-16"), "another character set"),
    ] {
        let response = client.submit("SELECT 1");
        let page = response.status == 200 && response.page()["error"].is_object();
        assert!(
            page || matches!(response.status, 400 | 401 | 403 | 415),
            "{what}: {} {}",
            response.status,
            response.text()
        );
        assert!(!response.text().is_empty(), "{what}: without a word");
    }
}

#[test]
fn a_client_cannot_name_another_user() {
    for user in ["admin", "otto", "northgate", "EVA", "eva "] {
        let response = gateway().signed_in("eva").with("X-Trino-User", user).submit("SELECT current_user");
        if response.status == 200 {
            let answer = gateway().signed_in("eva").follow(response);
            match &answer.error {
                Some(_) => assert!(!answer.failure().is_empty()),
                // Optional white space round a header's value is none of it.
                None => assert_eq!((user, answer.value()), ("eva ", "eva".into())),
            }
        } else {
            assert!(matches!(response.status, 400 | 401 | 403), "{user}: {}", response.status);
        }
    }
    for header in [
        "X-Trino-Original-User",
        "X-Trino-Extra-Credential",
        "X-Trino-Original-Role",
        "X-Forwarded-User",
        "X-Trino-Path",
    ] {
        let answer = gateway().signed_in("eva").with(header, "admin=admin").query("SELECT current_user");
        assert!(answer.error.is_some() || answer.value() == "eva", "{header}");
    }
}

#[test]
fn bodies_that_are_no_statement() {
    let admin = gateway().signed_in("admin");
    let huge = format!("SELECT '{}'", "x".repeat(3_000_000));
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let nots = format!("SELECT {} true", "NOT ".repeat(10_000));
    let cases: [(&[u8], &str); 14] = [
        (b"", "empty"),
        (b"   \n\t ", "white space"),
        (b"-- only a comment", "a comment"),
        (b"\xff\xfe\xfd", "not UTF-8"),
        (b"SELECT '\xc3\x28'", "broken UTF-8 in a literal"),
        (b"SELECT 1\0", "NUL"),
        (b"SELECT 'a\0b'", "NUL in a literal"),
        (b"\xef\xbb\xbfSELECT 1", "a byte order mark"),
        (b"SELECT 'never ends", "an open literal"),
        (b"SELECT /* never ends", "an open comment"),
        (b"FROBNICATE THE TABLES", "an unknown statement"),
        (huge.as_bytes(), "huge"),
        (deep.as_bytes(), "deep"),
        (nots.as_bytes(), "deep without brackets"),
    ];
    for (body, what) in cases {
        let response = admin.send("POST", "/v1/statement", body);
        match response.status {
            200 => {
                let answer = admin.follow(response);
                let failure = answer.failure();
                assert!(failure.len() > 20, "{what}: {failure}");
                assert!(!failure.contains("panicked") && !failure.contains("src/"), "{what}: {failure}");
            }
            400 | 413 => assert!(response.text().len() > 10, "{what}: {}", response.text()),
            status => panic!("{what}: {status} {}", response.text()),
        }
    }
    still_well();
}

#[test]
fn a_slow_client_is_sent_away() {
    // The gateway's own time limit for heads is longer than a test should take; what matters here is that
    // clients which send nothing, or stop half-way, keep nobody else waiting.
    let mut idle: Vec<_> = (0..50)
        .map(|i| {
            let mut wire = gateway().client().connect();
            let part: &[u8] = if i % 2 == 0 {
                b""
            } else {
                b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nSELECT"
            };
            wire.write_all(part).and_then(|()| wire.flush()).expect("the gateway accepts");
            wire
        })
        .collect();
    still_well();
    std::thread::sleep(Duration::from_millis(200));
    still_well();
    idle.clear();
}

#[test]
fn cancelling_twice_or_too_late_is_harmless() {
    let eva = gateway().signed_in("eva");
    let page = eva.submit("SELECT * FROM tpch.tiny.nation").page();
    let link = http::path_of(page["nextUri"].as_str().expect("there is more"));
    let answer = eva.follow(eva.get(&link));
    assert_eq!(answer.rows.len(), 25);
    for _ in 0..2 {
        let status = eva.send("DELETE", &link, b"").status;
        assert!(matches!(status, 200 | 204 | 404 | 410), "{status}");
    }
    // A page that was read already is gone, or is given again; it is never a hang or another's page.
    let again = eva.get(&link);
    assert!(matches!(again.status, 200 | 404 | 410), "{}", again.status);
}
