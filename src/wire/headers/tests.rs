use super::*;

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect();
    lines.sort();
    lines
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn only_what_is_listed_goes_to_trino() {
    let session = Session {
        user: Some(text("mallory")),
        source: Some(text("cli")),
        catalog: Some(text("c\u{e9}")),
        schema: Some(text("s")),
        time_zone: Some(text("UTC")),
        language: Some(text("en")),
        trace_token: Some(text("t")),
        client_info: Some(text("i")),
        client_tags: vec!["a".to_owned(), "b".to_owned()],
        client_capabilities: vec!["PATH".to_owned()],
        cache: Some(text("off")),
        properties: vec![
            ("b".to_owned(), "1,2=3 4".to_owned()),
            ("a".to_owned(), "\u{e9}".to_owned()),
            ("b".to_owned(), "x".to_owned()),
        ],
        prepared: vec![("p".to_owned(), "select 1".to_owned())],
        transaction: Some(text("sealed")),
        transaction_aware: true,
        routing_group: Some(text("etl")),
        resource_estimates: vec![("CPU_TIME".to_owned(), "1h".to_owned())],
    };
    let headers = upstream_headers(&session, "alice", Some("40f03e42")).expect("headers");
    let expect = [
        "accept-encoding: identity",
        "content-type: text/plain; charset=utf-8",
        "x-trino-catalog: c\\xe9",
        "x-trino-client-capabilities: PATH",
        "x-trino-client-info: i",
        "x-trino-client-tags: a,b",
        "x-trino-language: en",
        "x-trino-schema: s",
        "x-trino-session: a=%C3%A9",
        "x-trino-session: b=1%2C2%3D3+4",
        "x-trino-session: b=x",
        "x-trino-source: cli",
        "x-trino-time-zone: UTC",
        "x-trino-trace-token: t",
        "x-trino-transaction-id: 40f03e42",
        "x-trino-user: alice",
    ];
    assert_eq!(lines(&headers), expect);
    let order: Vec<_> =
        headers.get_all("x-trino-session").iter().map(|v| v.to_str().expect("text")).collect();
    assert_eq!(order, ["b=1%2C2%3D3+4", "a=%C3%A9", "b=x"]);
    // What went out is read back as it was.
    let again = Session::read(&headers).expect("a session");
    assert_eq!((again.properties, again.catalog), (session.properties, session.catalog));
}

#[test]
fn a_session_of_nothing_has_a_user_only() {
    let headers = upstream_headers(&Session::default(), "alice", None).expect("headers");
    let expect =
        ["accept-encoding: identity", "content-type: text/plain; charset=utf-8", "x-trino-user: alice"];
    assert_eq!(lines(&headers), expect);
    let aware = Session { transaction_aware: true, transaction: Some(text("sealed")), ..Session::default() };
    let headers = upstream_headers(&aware, "alice", None).expect("headers");
    assert_eq!(headers["x-trino-transaction-id"], "NONE", "the client's own text went to Trino");
    let headers = upstream_poll_headers("alice").expect("headers");
    assert_eq!(lines(&headers), ["accept-encoding: identity", "x-trino-user: alice"]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let check = |user: &str, session: Session, expect: &'static str| {
        assert_eq!(upstream_headers(&session, user, None), Err(NotAHeader(expect)));
    };
    check("\u{142}ukasz", Session::default(), "x-trino-user");
    check("a\nx-trino-user: b", Session::default(), "x-trino-user");
    check("a", Session { catalog: Some(text("\u{212a}")), ..Session::default() }, "x-trino-catalog");
    check(
        "a",
        Session { client_tags: vec!["a\r\nb".to_owned()], ..Session::default() },
        "x-trino-client-tags",
    );
    check(
        "a",
        Session { properties: vec![("\u{142}".to_owned(), String::new())], ..Session::default() },
        "x-trino-session",
    );
}

#[test]
fn only_what_is_listed_comes_back() {
    let mut upstream = HeaderMap::new();
    for (name, value) in [
        ("x-trino-set-catalog", "tpch"),
        ("x-trino-set-schema", "tiny"),
        ("x-trino-set-session", "b=1"),
        ("x-trino-set-session", "a=2"),
        ("x-trino-clear-session", "c"),
        ("x-trino-added-prepare", "p=rewritten"),
        ("x-trino-deallocated-prepare", "p"),
        ("x-trino-started-transaction-id", "40f03e42"),
        ("x-trino-clear-transaction-id", "true"),
        ("x-trino-set-path", "a.b"),
        ("x-trino-set-role", "system=ALL"),
        ("x-trino-set-authorization-user", "bob"),
        ("x-trino-reset-authorization-user", "true"),
        ("x-trino-set-original-roles", "x"),
        ("x-trino-query-data-encoding", "json"),
        ("x-trino-something-new", "x"),
        ("set-cookie", "x=y"),
        ("server", "Trino"),
        ("content-length", "5"),
    ] {
        upstream.append(name, HeaderValue::from_static(value));
    }
    let headers = response_headers(&upstream);
    let expect = [
        "x-trino-clear-session: c",
        "x-trino-clear-transaction-id: true",
        "x-trino-deallocated-prepare: p",
        "x-trino-set-catalog: tpch",
        "x-trino-set-schema: tiny",
        "x-trino-set-session: a=2",
        "x-trino-set-session: b=1",
    ];
    assert_eq!(lines(&headers), expect);
    assert_eq!(headers.get("x-trino-set-session").expect("a value"), "b=1", "the order changed");
    assert_eq!(started_transaction(&upstream), Some("40f03e42"));
    assert_eq!(started_transaction(&headers), None);
}

#[test]
fn changes_of_the_session_are_told() {
    let check = |change: SessionChange<'_>, expect: &str| {
        let mut headers = HeaderMap::new();
        change.write(&mut headers).expect("a header");
        assert_eq!(lines(&headers), [expect], "{change:?}");
    };
    check(SessionChange::Catalog("tpch"), "x-trino-set-catalog: tpch");
    check(SessionChange::Schema("tiny"), "x-trino-set-schema: tiny");
    check(SessionChange::SetProperty { name: "a.b", value: "1 h" }, "x-trino-set-session: a.b=1+h");
    check(SessionChange::ClearProperty("a.b"), "x-trino-clear-session: a.b");
    // As Trino 476 answers to PREPARE.
    check(
        SessionChange::AddedPrepare { name: "a b", sql: "SELECT ?\nFROM\n  t\n" },
        "x-trino-added-prepare: a+b=SELECT+%3F%0AFROM%0A++t%0A",
    );
    check(SessionChange::DeallocatedPrepare("a b"), "x-trino-deallocated-prepare: a+b");
    check(SessionChange::StartedTransaction("aB-_"), "x-trino-started-transaction-id: aB-_");
    check(SessionChange::ClearTransaction, "x-trino-clear-transaction-id: true");
    assert!(SessionChange::Schema("a\nb").write(&mut HeaderMap::new()).is_err());
}

#[test]
fn a_prepared_statement_comes_back_as_it_went() {
    let check = |sql: &str, packed: bool| {
        let mut headers = HeaderMap::new();
        SessionChange::AddedPrepare { name: "n\u{e4}me, =", sql }.write(&mut headers).expect("a header");
        let line = headers.remove("x-trino-added-prepare").expect("the header");
        assert_eq!(line.to_str().expect("text").contains("zstd"), packed);
        headers.append("x-trino-prepared-statement", line);
        let session = Session::read(&headers).expect("a session");
        assert_eq!(session.prepared("n\u{e4}me, =", 1 << 20).expect("sound").as_deref(), Some(sql));
        assert_eq!(session.prepared("other", 1 << 20).expect("sound"), None);
    };
    check("select '\u{e9}', ?", false);
    check(&"x".repeat(2_047), false);
    check(&"x".repeat(2_048), true);
    check(&"select a, b from t union all ".repeat(30_000), true);
    // Nothing is won here.
    let mut seed = 1_u64;
    let noise = (0..2_500).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + (seed >> 58) as u8)
    });
    check(&noise.collect::<String>(), false);
}

#[test]
fn a_classs_properties_come_after_the_clients() {
    // Trino takes the last of a name: SET SESSION changes nothing of what a class sets.
    let mut headers = HeaderMap::new();
    headers.append("x-trino-session", "query_max_run_time=9h".parse().expect("a value"));
    headers.insert("x-trino-client-tags", "mine,northgate-batch".parse().expect("a value"));
    let properties = [("query_max_run_time".to_owned(), "4h".to_owned())];
    let is_tag = |tag: &str| tag == "northgate-batch";
    tell_class(&mut headers, &properties, Some("northgate-batch"), is_tag).expect("headers");
    let told: Vec<_> = headers.get_all("x-trino-session").iter().collect();
    assert_eq!(told, ["query_max_run_time=9h", "query_max_run_time=4h"]);
    assert_eq!(headers["x-trino-client-tags"], "mine,northgate-batch");
    tell_class(&mut headers, &[], None, is_tag).expect("headers");
    assert_eq!(headers["x-trino-client-tags"], "mine");
}
