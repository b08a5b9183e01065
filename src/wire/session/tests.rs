use http::HeaderValue;

use super::*;

fn read(lines: &[(&'static str, &[u8])]) -> Result<Session, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    Session::read(&headers).map_err(told)
}

fn told(error: Malformed) -> String {
    match error {
        Malformed::Header { name, why } => format!("{name} {why:?}"),
        other => format!("{other:?}"),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn what_the_cli_sends() {
    let session = read(&[
        ("x-trino-user", b" alice "),
        ("x-trino-original-user", b"alice"),
        ("x-trino-source", b"trino-cli"),
        ("x-trino-catalog", b"tpch"),
        ("x-trino-schema", b"tiny"),
        ("x-trino-path", b"a.b"),
        ("x-trino-time-zone", b"Europe/Berlin"),
        ("x-trino-language", b"en-US"),
        ("x-trino-trace-token", b"t-1"),
        ("x-trino-client-info", b""),
        ("x-trino-client-tags", b"a, b,,c"),
        ("x-trino-client-capabilities", b"PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION"),
        ("x-trino-resource-estimate", b"EXECUTION_TIME=1h"),
        ("x-trino-routing-group", b"etl"),
        ("x-trino-extra-credential", b"k=secret"),
        ("x-trino-query-data-encoding", b"json+zstd"),
        ("x-trino-transaction-id", b"NONE"),
        ("x-trino-something-new", b"x"),
        ("x-forwarded-host", b"evil"),
        ("x-amzn-oidc-identity", b"bob"),
    ])
    .expect("a session");
    let some = |text: &str| Some(text.to_owned());
    let expect = Session {
        user: some("alice"),
        source: some("trino-cli"),
        catalog: some("tpch"),
        schema: some("tiny"),
        time_zone: some("Europe/Berlin"),
        language: some("en-US"),
        trace_token: some("t-1"),
        client_info: some(""),
        client_tags: ["a", "b", "c"].map(str::to_owned).to_vec(),
        client_capabilities: ["PATH", "PARAMETRIC_DATETIME", "SESSION_AUTHORIZATION"]
            .map(str::to_owned)
            .to_vec(),
        routing_group: Some("etl".to_owned()),
        resource_estimates: vec![pair("EXECUTION_TIME", "1h")],
        transaction_aware: true,
        ..Session::default()
    };
    assert_eq!(session, expect);
    assert_eq!(read(&[]), Ok(Session::default()));
}

#[test]
fn single_headers() {
    let check = |name: &'static str, values: &[&[u8]], expect: Result<Option<&str>, &str>| {
        let lines: Vec<_> = values.iter().map(|value| (name, *value)).collect();
        let got = read(&lines).map(|session| match name {
            "x-trino-user" => session.user,
            "x-trino-time-zone" => session.time_zone,
            "x-trino-language" => session.language,
            "x-trino-catalog" => session.catalog,
            "x-trino-transaction-id" => session.transaction,
            _ => unreachable!("{name}"),
        });
        let expect = expect.map(|text| text.map(str::to_owned)).map_err(|why| format!("{name} {why}"));
        assert_eq!(got, expect, "{name} {values:?}");
    };
    check("x-trino-user", &[b""], Ok(None));
    check("x-trino-user", &[b"  "], Ok(None));
    // Latin-1, not UTF-8: as Trino 476 has it.
    check("x-trino-user", &[b"jo\xe9"], Ok(Some("jo\u{e9}")));
    check("x-trino-user", &["jo\u{e9}".as_bytes()], Ok(Some("jo\u{c3}\u{a9}")));
    check("x-trino-user", &[b"alice", b"alice"], Err("Repeated"));
    check("x-trino-user", &[b"alice", b"bob"], Err("Repeated"));
    check("x-trino-user", &[&vec![b'a'; LONGEST + 1]], Err("TooLong"));
    check("x-trino-time-zone", &[b"America/Port-au-Prince"], Ok(Some("America/Port-au-Prince")));
    check("x-trino-time-zone", &[b"+05:30"], Ok(Some("+05:30")));
    check("x-trino-time-zone", &[b"Etc/GMT-1"], Ok(Some("Etc/GMT-1")));
    check("x-trino-time-zone", &[b"UTC'"], Err("Form"));
    check("x-trino-time-zone", &[b"UTC UTC"], Err("Form"));
    check("x-trino-language", &[b"de_DE"], Ok(Some("de_DE")));
    check("x-trino-language", &[b"de;q=1"], Err("Form"));
    check("x-trino-catalog", &[b" tpch "], Ok(Some("tpch")));
    check("x-trino-catalog", &[b""], Ok(None));
    check("x-trino-transaction-id", &[b"none"], Ok(None));
    check("x-trino-transaction-id", &[b" "], Ok(None));
    check("x-trino-transaction-id", &[b" aBc-_ "], Ok(Some("aBc-_")));
    check("x-trino-transaction-id", &[b"a", b"NONE"], Err("Repeated"));
    assert_eq!(read(&[("x-trino-schema", b"tiny")]), Err("x-trino-schema Form".to_owned()));
    assert_eq!(
        read(&[("x-trino-client-tags", b"a"), ("x-trino-client-tags", b"b")]).map(|_| ()),
        Err("x-trino-client-tags Repeated".to_owned())
    );
}

#[test]
fn presto_headers_are_refused() {
    assert_eq!(read(&[("x-presto-user", b"alice")]), Err("x-presto-* Presto".to_owned()));
    assert_eq!(read(&[("x-presto-anything", b"")]), Err("x-presto-* Presto".to_owned()));
}

#[test]
fn roles_stay_behind() {
    let check = |values: &[&[u8]], good: bool| {
        let lines: Vec<_> = values.iter().map(|value| ("x-trino-role", *value)).collect();
        let expect = if good { Ok(Session::default()) } else { Err("x-trino-role Unsupported".to_owned()) };
        assert_eq!(read(&lines), expect, "{values:?}");
    };
    check(&[b"system=ALL"], true);
    check(&[b"system=NONE", b"hive=ALL,tpch=NONE"], true);
    check(&[b"system=ROLE%7Badmin%7D"], false);
    check(&[b"system=ROLE{admin}"], false);
    check(&[b"system=ALL", b"hive=ROLE%7Badmin%7D"], false);
    check(&[b"system=all"], false);
    assert_eq!(read(&[("x-trino-role", b"ALL")]), Err("x-trino-role Form".to_owned()));
}

/// Trino knows of no such property: it does not get there.
#[test]
fn what_is_wished_of_the_cache_is_not_a_property_of_trinos() {
    let session =
        read(&[("x-trino-session", b"a=1,Northgate.Cache=on,northgate.cache=off,northgate.other=1")]);
    let session = session.expect("a session");
    assert_eq!(session.cache.as_deref(), Some("off"));
    assert_eq!(session.properties, [pair("a", "1"), pair("northgate.other", "1")]);
}

#[test]
fn properties_keep_their_order() {
    let check = |values: &[&[u8]], expect: Option<&[(&str, &str)]>| {
        let lines: Vec<_> = values.iter().map(|value| ("x-trino-session", *value)).collect();
        let expect = expect
            .map(|pairs| pairs.iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>())
            .ok_or("x-trino-session Form".to_owned());
        assert_eq!(read(&lines).map(|session| session.properties), expect, "{values:?}");
    };
    check(&[b"b=1", b"a=2", b"b=3"], Some(&[("b", "1"), ("a", "2"), ("b", "3")]));
    check(&[b"a=1, b=2,", b""], Some(&[("a", "1"), ("b", "2")]));
    check(&[b" tpch.p = x%2Cy%3Dz+%C3%A9 "], Some(&[("tpch.p", "x,y=z \u{e9}")]));
    check(&[b"a="], Some(&[("a", "")]));
    check(&[b"a"], None);
    check(&[b"=1"], None);
    check(&[b"a=1=2"], None);
    check(&[b"a.b.c=1"], None);
    check(&[b".a=1"], None);
    check(&[b"a.=1"], None);
    check(&[b"a b=1"], None);
    check(&[b"a=%"], None);
    check(&[b"a=%4"], None);
    check(&[b"a=%zz"], None);
    check(&[b"a=%+1"], None);
    check(&[b"a=%ff"], None);
}

fn zstd_header(name: &str, sql: &str) -> Vec<u8> {
    let packed = zstd::bulk::compress(sql.as_bytes(), 3).expect("compressed");
    format!("{name}={}", url_encode(&format!("{ZSTD}{}", BASE64.encode(packed)))).into_bytes()
}

#[test]
fn prepared_statements_are_unpacked() {
    let check = |values: &[&[u8]], expect: Result<&[(&str, &str)], &str>| {
        let lines: Vec<_> = values.iter().map(|value| ("x-trino-prepared-statement", *value)).collect();
        let expect = expect
            .map(|pairs| pairs.iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>())
            .map_err(|why| format!("x-trino-prepared-statement {why}"));
        let lengths: Vec<_> = values.iter().map(|value| value.len()).collect();
        let unpacked = read(&lines).and_then(|session| {
            let names: Vec<String> = session.prepared.iter().map(|(name, _)| name.clone()).collect();
            let unpack = |name: String| match session.prepared(&name, 10_000) {
                Ok(sql) => Ok((name, sql.expect("it is there"))),
                Err(malformed) => Err(told(malformed)),
            };
            names.into_iter().map(unpack).collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(unpacked, expect, "{lengths:?}");
    };
    check(
        &[b"a=SELECT+%3F%0AFROM%0A++tpch.tiny.nation%0A"],
        Ok(&[("a", "SELECT ?\nFROM\n  tpch.tiny.nation\n")]),
    );
    check(&[b"a%20b%3D=select%201"], Ok(&[("a b=", "select 1")]));
    check(&[b"a=1", b"b=2", b"a=3"], Ok(&[("a", "3"), ("b", "2")]));
    check(&[b"a=1,b=2"], Ok(&[("a", "1"), ("b", "2")]));
    check(&[b"=select+1"], Err("Form"));

    let long = "x".repeat(9_000);
    check(&[&zstd_header("p", &long)], Ok(&[("p", &long)]));
    // What Trino 476 answers to PREPARE of a constant of 3,000 letters.
    let real = format!("SELECT '{}'\n\n", "x".repeat(3_000));
    check(&[b"p=%24zstd%3AKLUv_WDDCp0AAGBTRUxFQ1QgJ3gnCgoBALTzwRE%3D"], Ok(&[("p", &real)]));
    // Java's encoder pads, and `=` becomes `%3D`; other clients do not.
    check(&[b"p=%24zstd%3AKLUv_SAFKQAAaGVsbG8%3D"], Ok(&[("p", "hello")]));
    check(&[b"p=%24zstd%3AKLUv_SAFKQAAaGVsbG8"], Ok(&[("p", "hello")]));
    check(&[b"p=%24zstd%3A"], Err("Form"));
    check(&[b"p=%24zstd%3A!!!"], Err("Form"));
    check(&[b"p=%24zstd%3AKLUv_SAFKQAAaGVsbA"], Err("Form"));
    check(&[b"p=%24zstd%3AaGVsbG8"], Err("Form"));
}

#[test]
fn a_bomb_does_not_go_off() {
    let bomb = zstd_header("p", &" ".repeat(200_000_000));
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let too_long = Err("x-trino-prepared-statement TooLong".to_owned());
    let unpacked = |header: &[u8]| {
        let session = read(&[("x-trino-prepared-statement", header)]).expect("a session");
        session.prepared("p", 10_000).map_err(told)
    };
    assert_eq!(unpacked(&bomb), too_long);
    assert_eq!(unpacked(&zstd_header("p", &"x".repeat(6_000))), Ok(Some("x".repeat(6_000))));
    assert_eq!(unpacked(format!("p={}", "x".repeat(10_001)).as_bytes()), too_long);
}

#[test]
fn texts_are_encoded_as_java_does() {
    let check = |text: &str, expect: &str| {
        assert_eq!(url_encode(text), expect);
        assert_eq!(url_decode(expect).as_deref(), Some(text));
    };
    check("SELECT ?\n", "SELECT+%3F%0A");
    check("a-b_c.d*e", "a-b_c.d*e");
    check("~!'()+%,=", "%7E%21%27%28%29%2B%25%2C%3D");
    check("\u{e9}\u{1F600}", "%C3%A9%F0%9F%98%80");
    assert_eq!(url_decode("%e9"), None, "Latin-1");
    assert_eq!(url_decode("%C3%a9").as_deref(), Some("\u{e9}"));
}

#[test]
fn nothing_secret_is_shown() {
    let lines: [(&str, &[u8]); 2] =
        [("x-trino-session", b"p=secret"), ("x-trino-prepared-statement", b"s=secret")];
    let shown = format!("{:?}", read(&lines).expect("a session"));
    assert!(shown.contains("[\"p\"]") && shown.contains("[\"s\"]") && !shown.contains("secret"), "{shown}");
}
