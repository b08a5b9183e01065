use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::secret::Secret;

const ID: &str = "20261123_033045_00005_xsgd7";
const HOST: &str = "http://127.0.0.1:18080";

fn context(restricted: bool) -> PageContext {
    PageContext {
        base: "https://gw:8443".to_owned(),
        sealer: Arc::new(Sealer::new(&[Secret::new(vec![7; 32])]).expect("a sealer")),
        principal: "alice".to_owned(),
        query: "20261123_033045_11111_abcde".to_owned(),
        origin: 7,
        cluster: "c1".to_owned(),
        restricted,
        collected: false,
        positions: None,
        limit: 64 * 1024,
    }
}

/// A page that is asked for again when its query has ended: the places in the sent text are nobody's any more.
#[test]
fn what_a_place_means_is_forgotten_with_the_query() {
    let page = error_page("TYPE_MISMATCH", Some((1, 40)));
    let (text, _) = chunked(page.as_bytes(), &[], context(true)).expect("a page");
    let error = serde_json::from_slice::<Value>(&text).expect("JSON")["error"].take();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("withheld")), "{error}");
    assert!(error.get("errorLocation").is_none(), "{error}");
}

fn chunked(page: &[u8], cuts: &[usize], context: PageContext) -> Result<(Vec<u8>, PageSummary), PageError> {
    let page = Bytes::copy_from_slice(page);
    let (mut out, mut rebuilder, mut from) = (Vec::new(), PageRebuilder::new(context), 0);
    for cut in cuts.iter().copied().chain([page.len()]) {
        rebuilder.push(&page.slice(from..cut), &mut out)?;
        from = cut;
    }
    let summary = rebuilder.finish(&mut out)?;
    Ok((out.concat(), summary))
}

fn whole(page: &str, restricted: bool) -> (Value, PageSummary) {
    let (text, summary) = chunked(page.as_bytes(), &[], context(restricted)).expect("a page");
    (serde_json::from_slice(&text).expect("JSON"), summary)
}

/// Opens the links of a page, so that pages can be compared.
fn opened(page: &mut Value, context: &PageContext) {
    if let Some(link) = page.get_mut("nextUri") {
        let text = link.as_str().expect("a string").strip_prefix("https://gw:8443/v1/statement/executing/");
        let link_to = context.sealer.open_link(text.expect("our link"), "alice").expect("a good link");
        assert_eq!((&*link_to.query, &*link_to.cluster), (&*context.query, "c1"));
        assert_eq!(link_to.restricted, context.restricted);
        let super::super::Target::Upstream { path } = link_to.target else { panic!("a local link") };
        *link = Value::String(path);
    }
}

/// The same by other means: the whole page as a tree.
fn reference(page: &str, restricted: bool) -> Value {
    let page: Map<String, Value> = serde_json::from_str(page).expect("JSON");
    let context = context(restricted);
    let known = [
        "id",
        "infoUri",
        "nextUri",
        "partialCancelUri",
        "columns",
        "data",
        "stats",
        "warnings",
        "updateType",
    ];
    let mut out = Map::new();
    for (name, value) in page {
        let value = match name.as_str() {
            "id" => Value::String(context.query.clone()),
            "infoUri" => Value::String(format!("https://gw:8443/ui/query.html?{}", context.query)),
            "partialCancelUri" => continue,
            "nextUri" => Value::String(value.as_str().expect("a link").replace(HOST, "")),
            "stats" if restricted => {
                let mut text = Vec::new();
                let (queued_ms, elapsed_ms) =
                    (value["queuedTimeMillis"].as_u64(), value["elapsedTimeMillis"].as_u64());
                let progress = super::super::json::Progress {
                    state: value["state"].as_str().expect("a state"),
                    queued: value["queued"].as_bool().unwrap_or(false),
                    scheduled: value["scheduled"].as_bool().unwrap_or(false),
                    queued_ms: queued_ms.unwrap_or(0),
                    elapsed_ms: elapsed_ms.unwrap_or(0),
                };
                super::super::json::stats(&mut text, &progress);
                serde_json::from_slice(&text).expect("JSON")
            }
            "warnings" if restricted => json!([]),
            name if restricted && !known.contains(&name) => continue,
            _ => value,
        };
        out.insert(name, value);
    }
    Value::Object(out)
}

/// Pages of Trino 476, shortened.
fn pages() -> Vec<String> {
    let head = format!(r#""id":"{ID}","infoUri":"{HOST}/ui/query.html?{ID}""#);
    let links = format!(
        r#""partialCancelUri":"{HOST}/v1/statement/executing/partialCancel/{ID}/0/yac07/1","nextUri":"{HOST}/v1/statement/executing/{ID}/yac07/1""#
    );
    let columns = r#""columns":[{"name":"a\"x","type":"integer","typeSignature":{"rawType":"integer","arguments":[]}},{"name":"data","type":"varchar(4)","typeSignature":{"rawType":"varchar","arguments":[{"kind":"LONG","value":4}]}}]"#;
    let stats = r#""stats":{"state":"RUNNING","queued":false,"scheduled":true,"progressPercentage":40.0,"nodes":1,"totalSplits":5,"cpuTimeMillis":75,"queuedTimeMillis":7,"elapsedTimeMillis":476,"processedRows":16153,"processedBytes":9,"physicalInputBytes":8,"peakMemoryBytes":2264,"rootStage":{"stageId":"0","subStages":[{"state":"X","processedRows":3}]}}"#;
    vec![
        format!(
            r#"{{{head},{links},{columns},"data":[[1,"h]i\""],[2,{{"1":[1,"x"]}}]],{stats},"warnings":[]}}"#
        ),
        format!(
            r#"{{{head},"nextUri":"{HOST}/v1/statement/queued/{ID}/y58d8/1",{stats},"warnings":[{{"warningCode":{{"code":1,"name":"W"}},"message":"m"}}]}}"#
        ),
        format!(
            r#"{{{stats},"data":[],{columns},"new":{{"a":[1,"]"]}},{links},{head},"updateType":"X \"y","updateCount":25}}"#
        ),
        format!(
            " {{ {head} ,\n\t{stats}\r\n, \"data\" : [ [ 1 , \"a\" ] , [ 2 , \"]}}\" ] ] , \"n\\u0065w\" : -1.5e3 }} \n"
        ),
    ]
}

#[test]
fn pages_are_rebuilt() {
    for page in pages() {
        for restricted in [false, true] {
            let (mut got, summary) = whole(&page, restricted);
            opened(&mut got, &context(restricted));
            let mut expect = reference(&page, restricted);
            if restricted
                && let Some(count) = serde_json::from_str::<Value>(&page).expect("JSON").get("updateCount")
            {
                expect["updateCount"] = count.clone();
            }
            assert_eq!(got, expect);
            let data = serde_json::from_str::<Value>(&page).expect("JSON")["data"].clone();
            assert_eq!(summary.rows, data.as_array().map_or(0, Vec::len) as u64);
            assert_eq!(summary.id, ID);
        }
    }
}

#[test]
fn a_page_says_what_the_query_did() {
    let (_, summary) = whole(&pages()[2], true);
    let expect = PageSummary {
        copy: None,
        id: ID.to_owned(),
        state: "RUNNING".to_owned(),
        next: Some(format!("/v1/statement/executing/{ID}/yac07/1")),
        rows: 0,
        data_bytes: 2,
        error: None,
        processed: Processed {
            rows: 16153,
            bytes: 9,
            physical_input_bytes: 8,
            cpu_time_millis: 75,
            queued_time_millis: 7,
            elapsed_time_millis: 476,
            peak_memory_bytes: 2264,
        },
        update_type: Some("X \"y".to_owned()),
        update_count: Some(25),
    };
    assert_eq!(summary, expect);
    assert!(!summary.done());
    assert!(whole(&pages()[3], false).1.done());
}

/// A page in which statistics and rows are the given texts.
fn page(fields: &str) -> String {
    format!(r#"{{"id":"{ID}","stats":{{"state":"RUNNING"}}{fields}}}"#)
}

#[test]
fn large_rows_are_not_copied() {
    let rows = format!("[{}[1]]", r#"[1,"abcdefghijklmnop"],"#.repeat(1_000));
    let chunk = Bytes::from(page(&format!(r#","data":{rows}"#)));
    let at = chunk.len() - rows.len() - 1;
    let (mut out, mut rebuilder) = (Vec::new(), PageRebuilder::new(context(false)));
    rebuilder.push(&chunk, &mut out).expect("a page");
    let summary = rebuilder.finish(&mut out).expect("a page");
    assert_eq!((summary.rows, summary.data_bytes), (1_001, rows.len() as u64));
    let passed = out.iter().find(|piece| piece.len() == rows.len()).expect("the rows in one piece");
    assert_eq!(passed.as_ptr(), chunk[at..].as_ptr(), "the rows were copied");
}

#[test]
fn rows_in_drips_do_not_pile_up() {
    let (mut out, mut rebuilder) = (Vec::new(), PageRebuilder::new(context(false)));
    rebuilder.push(&Bytes::from_static(b"{\"data\":[[1]"), &mut out).expect("a page");
    for _ in 0..10_000 {
        rebuilder.push(&Bytes::from_static(b",[12345678901234567890]"), &mut out).expect("a page");
        assert!(rebuilder.text.len() < 5 * SMALL);
    }
    assert!(out.len() > 10);
}

#[test]
fn texts_that_look_like_a_page_confuse_nobody() {
    let trick =
        r#"],\"stats\":{\"state\":\"FINISHED\"},\"nextUri\":\"http://evil/v1/statement/x\",\"data\":[["#;
    for fields in [
        format!(r#","columns":[{{"name":"{trick}"}}],"data":[["{trick}"],["\\"],["\\\""]]"#),
        format!(r#","data":[["{trick}\\"],["[[[{{"]],"columns":[{{"name":"\\{trick}"}}]"#),
        format!(r#","new":"{trick}","{trick}":1,"data":[[null]]"#),
        r#","new":{"data":[[1]],"nextUri":"http://evil/x","error":{}},"data":[[1]]"#.to_owned(),
        r#","data":[[{"data":[[1],[2]],"stats":1}]]"#.to_owned(),
    ] {
        let page = page(&fields);
        let (got, summary) = whole(&page, false);
        assert_eq!(got, reference(&page, false));
        let rows = got["data"].as_array().expect("rows").len() as u64;
        assert_eq!((summary.rows, summary.next, &*summary.state), (rows, None, "RUNNING"));
    }
}

#[test]
fn what_is_no_page_is_an_error() {
    let check = |text: &str, expect: PageError| {
        for cuts in [vec![], (1..text.len()).filter(|at| text.is_char_boundary(*at)).collect()] {
            let got = chunked(text.as_bytes(), &cuts, context(false)).map(|_| ());
            assert_eq!(got, Err(expect), "{}", text.chars().take(80).collect::<String>());
        }
    };
    check("", PageError::Truncated);
    check("  ", PageError::Truncated);
    check("<html>502 Bad Gateway</html>", PageError::Garbage);
    check("[]", PageError::Garbage);
    check("null", PageError::Garbage);
    check("\u{feff}{}", PageError::Garbage);
    check("{}", PageError::Field("id"));
    check("{", PageError::Truncated);
    check("{\"id\"", PageError::Truncated);
    check("{\"id\":\"x\"", PageError::Truncated);
    check("{\"id\":\"x\"}", PageError::Field("stats"));
    check("{\"stats\":{\"state\":\"X\"}}", PageError::Field("id"));
    check("{,}", PageError::Garbage);
    check("{id:1}", PageError::Garbage);
    check("{\"a\":1,}", PageError::Garbage);
    check("{\"a\":}", PageError::Garbage);
    check("{\"a\":1 2}", PageError::Garbage);
    check("{\"a\":tru}", PageError::Garbage);
    check("{\"a\":01}", PageError::Garbage);
    check("{\"a\":[1,]}", PageError::Garbage);
    check("{\"a\":[}", PageError::Garbage);
    check("{\"a\":{\"b\"]}", PageError::Garbage);
    check("{\"a\":\"\\x\"}", PageError::Garbage);
    check("{\"\\x\":1}", PageError::Garbage);
    check("{\"a\" 1}", PageError::Garbage);
    check("{'a':1}", PageError::Garbage);
    check(&format!("{}x", page("")), PageError::Garbage);
    check(&format!("{}{}", page(""), page("")), PageError::Garbage);
    check(&page(",\"data\":{\"encoding\":\"json\",\"segments\":[]}"), PageError::Spooled);
    check(&page(",\"data\":[[1]"), PageError::Truncated);
    check(&page(",\"data\":[[1],y]"), PageError::Garbage);
    check(&page(",\"data\":\"x\""), PageError::Field("data"));
    check(&page(",\"data\":nul"), PageError::Field("data"));
    check(&page(",\"data\":[]]"), PageError::Garbage);
    check(&page(&format!(",\"id\":\"{ID}\"")), PageError::Duplicate("id"));
    check(&page(",\"data\":[],\"d\\u0061ta\":[]"), PageError::Duplicate("data"));
    check(&page(",\"stats\":{\"state\":\"X\"}"), PageError::Duplicate("stats"));
    check(&page(",\"error\":null,\"error\":null"), PageError::Duplicate("error"));
    check("{\"id\":\"a b\"}", PageError::Field("id"));
    check("{\"id\":\"a\\u003cb\"}", PageError::Field("id"));
    check("{\"id\":null}", PageError::Field("id"));
    check("{\"stats\":{}}", PageError::Field("stats"));
    check("{\"stats\":null}", PageError::Field("stats"));
    check("{\"stats\":{\"state\":\"a b\"}}", PageError::Field("stats"));
    check("{\"stats\":{\"state\":\"A\",\"state\":\"B\"}}", PageError::Field("stats"));
    check(&page(",\"updateCount\":-1"), PageError::Field("updateCount"));
    check(&page(",\"columns\":{}"), PageError::Field("columns"));
    check(&page(",\"columns\":[1,]"), PageError::Field("columns"));
    check(&page(",\"warnings\":1"), PageError::Field("warnings"));
    check(&page(",\"error\":{}"), PageError::Field("error"));
    check(&page(",\"error\":\"x\""), PageError::Field("error"));
}

#[test]
fn a_page_that_ends_early_is_an_error() {
    for page in pages() {
        let end = page.trim_end().len();
        for at in 0..end {
            assert!(chunked(&page.as_bytes()[..at], &[], context(false)).is_err(), "cut to {at} of {page}");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for field in ["data", "columns", "new"] {
        let text = page(&format!(",\"{field}\":{}", nested(1_000)));
        assert!(chunked(text.as_bytes(), &[], context(false)).is_ok(), "{field}");
        for depth in [1_200, 30_000] {
            let text = page(&format!(",\"{field}\":{}", nested(depth)));
            for cuts in [vec![], (1..text.len()).collect()] {
                let got = chunked(text.as_bytes(), &cuts, context(false)).map(|_| ());
                assert_eq!(got, Err(PageError::TooDeep), "{field}");
            }
        }
    }
}

#[test]
fn what_is_not_rows_is_bounded() {
    let limit = 64 * 1024;
    let long = "x".repeat(limit);
    for fields in [
        format!(",\"columns\":[\"{long}\"]"),
        format!(",\"new\":\"{long}\""),
        format!(",\"{long}\":1"),
        format!(",\"new\":{}", "1".repeat(limit)),
        ",\"12345\":1".repeat(limit / 5),
    ] {
        let got = chunked(page(&fields).as_bytes(), &[], context(false)).map(|_| ());
        assert_eq!(got, Err(PageError::TooLarge(limit)));
    }
    let (_, summary) = whole(&page(&format!(",\"data\":[[\"{long}\"],[\"{long}\"]]")), false);
    assert_eq!(summary.rows, 2);
}

#[test]
fn links_lead_to_statements_only() {
    let check = |uri: &str, expect: Option<&str>| {
        let got = chunked(page(&format!(",\"nextUri\":{}", json!(uri))).as_bytes(), &[], context(false));
        match expect {
            Some(path) => assert_eq!(got.expect("a page").1.next.as_deref(), Some(path), "{uri}"),
            None => assert_eq!(got.map(|_| ()), Err(PageError::Link), "{uri}"),
        }
    };
    check("http://h:1/v1/statement/queued/q/s/1", Some("/v1/statement/queued/q/s/1"));
    check(
        "https://other/v1/statement/executing/q/s/1?a=b&c=d.e",
        Some("/v1/statement/executing/q/s/1?a=b&c=d.e"),
    );
    check("/v1/statement/queued/q/s/1", Some("/v1/statement/queued/q/s/1"));
    for bad in [
        "",
        "http://h",
        "http://h/",
        "http://h/v1/statement",
        "http://h/v1/statement/",
        "http://h/v1/query/x",
        "http://h/ui/v1/statement/x",
        "http://h/v1/statement/../query/x",
        "http://h/v1/statement/./x",
        "http://h/v1/statement//x",
        "http://h/v1/statement/x/",
        "http://h/v1/statement/%2e%2e/x",
        "http://h/v1/statement/x y",
        "http://h/v1/statement/x\r\nhost: y",
        "http://h/v1/statement/x#y",
        "http://h/v1/statement/x;y",
        "http://h/v1/statement/\u{e9}",
        "//h/v1/statement/x",
        "x",
    ] {
        check(bad, None);
    }
    check(&format!("http://h/v1/statement/{}", "x".repeat(2_000)), None);
}

/// An error page of Trino 476, its stack shortened.
fn error_page(name: &str, location: Option<(u32, u32)>) -> String {
    let (mut message, mut at) = ("secret 'abc'".to_owned(), String::new());
    if let Some((line, column)) = location {
        message = format!("line {line}:{column}: {message}");
        at = format!(r#","errorLocation":{{"lineNumber":{line},"columnNumber":{column}}}"#);
    }
    page(&format!(
        r#","error":{{"message":"{message}","errorCode":9,"errorName":"{name}","errorType":"USER_ERROR"{at},"failureInfo":{{"type":"io.trino.spi.TrinoException","message":"{message}","cause":{{"type":"x","suppressed":[],"stack":["secret"]}},"suppressed":[],"stack":["io.trino.Secret.f(Secret.java:1)"],"errorInfo":{{"code":9}}}}}}"#
    ))
}

#[test]
fn errors_are_told_as_far_as_they_may() {
    const WITHHELD: &str = "The query failed: INVALID_CAST_ARGUMENT. Details are withheld because it reads restricted \
                            data. (query 20261123_033045_11111_abcde)";
    // Northgate wrote line 9; line 1 is the user's, moved by 10 columns.
    let positions: Arc<Positions> =
        Arc::new(|at: Location| (at.line == 1).then(|| Location { line: 1, column: at.column - 10 }));
    let check = |name: &str,
                 at: Option<(u32, u32)>,
                 restricted: bool,
                 message: &str,
                 place: Option<(u32, u32)>| {
        let context = PageContext { positions: Some(positions.clone()), ..context(restricted) };
        let (text, summary) = chunked(error_page(name, at).as_bytes(), &[], context).expect("a page");
        let error = serde_json::from_slice::<Value>(&text).expect("JSON")["error"].take();
        let mut expect = json!({
            "message": message, "errorCode": 9, "errorName": name, "errorType": "USER_ERROR",
            "failureInfo": {"type": "io.trino.spi.TrinoException", "message": message, "suppressed": [], "stack": []},
        });
        if let Some((line, column)) = place {
            expect["errorLocation"] = json!({"lineNumber": line, "columnNumber": column});
        }
        assert_eq!(error, expect, "{name} {at:?} {restricted}");
        let told = summary.error.expect("an error");
        assert!(told.message.contains("secret") && told.name == name && told.code == 9);
    };
    let here = Some((1, 5));
    check("COLUMN_NOT_FOUND", Some((1, 15)), false, "line 1:5: secret 'abc'", here);
    check("COLUMN_NOT_FOUND", Some((1, 15)), true, "line 1:5: secret 'abc'", here);
    check("INVALID_CAST_ARGUMENT", None, false, "secret 'abc'", None);
    check("INVALID_CAST_ARGUMENT", None, true, WITHHELD, None);
    check("INVALID_CAST_ARGUMENT", Some((1, 15)), true, WITHHELD, None);
    // A place that Northgate wrote: the user has no such place, and if restricted gets no such text.
    check("COLUMN_NOT_FOUND", Some((9, 1)), false, "secret 'abc'", None);
    let other = WITHHELD.replace("INVALID_CAST_ARGUMENT", "COLUMN_NOT_FOUND");
    check("COLUMN_NOT_FOUND", Some((9, 1)), true, &other, None);
    check("COLUMN_NOT_FOUND", None, true, &other, None);
    check("USER_CANCELED", None, true, "Query was canceled", None);
    check("USER_CANCELED", None, false, "secret 'abc'", None);
    for name in
        ["DIVISION_BY_ZERO", "GENERIC_USER_ERROR", "INVALID_FUNCTION_ARGUMENT", "GENERIC_INTERNAL_ERROR"]
    {
        check(name, Some((1, 15)), true, &WITHHELD.replace("INVALID_CAST_ARGUMENT", name), None);
    }
}

#[test]
fn an_error_must_look_like_one() {
    for name in ["", "A B", "<b>", "\u{e9}", &"A".repeat(65)] {
        let got = chunked(error_page(name, None).as_bytes(), &[], context(true)).map(|_| ());
        assert_eq!(got, Err(PageError::Field("error")), "{name}");
    }
}

#[test]
fn nothing_of_a_restricted_page_tells_what_was_read() {
    let page = format!(
        r#"{{"id":"{ID}","secret":"secret","stats":{{"state":"RUNNING","secret":"secret","nodes":7777,"totalSplits":7777,"progressPercentage":77.77,"processedRows":7777,"processedBytes":7777,"physicalInputBytes":7777,"cpuTimeMillis":7777,"peakMemoryBytes":7777,"rootStage":{{"state":"secret"}}}},"warnings":[{{"message":"secret"}}],"error":{{"message":"secret","errorCode":8,"errorName":"DIVISION_BY_ZERO","errorType":"USER_ERROR","secret":"secret","failureInfo":{{"message":"secret"}}}}}}"#
    );
    let (text, _) = chunked(page.as_bytes(), &[], context(true)).expect("a page");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(!text.contains("secret") && !text.contains("77"), "{text}");
    let (text, _) = chunked(page.as_bytes(), &[], context(false)).expect("a page");
    assert!(String::from_utf8(text).expect("UTF-8").contains("7777"), "the page to check has no secret");
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = proptest::collection::vec(
        prop_oneof![
            Just("\"".to_owned()),
            Just("\\".to_owned()),
            Just("],\"stats\":{".to_owned()),
            Just("[[{".to_owned()),
            Just("]]}".to_owned()),
            Just("y_\u{7f}Y".to_owned()),
            "[a-z]{0,70}",
            any::<char>().prop_map(String::from),
        ],
        0..6,
    )
    .prop_map(|parts| Value::String(parts.concat()));
    let leaf = prop_oneof![
        text,
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\"\\\\]{0,3}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_page() -> impl Strategy<Value = String> {
    let row = proptest::collection::vec(json_value(), 0..5).prop_map(Value::from);
    let rows = proptest::collection::vec(row, 0..40).prop_map(Value::from);
    let extra = ("x[a-z\"\\\\]{0,5}", json_value());
    (rows, extra, 0..5_usize, any::<bool>(), any::<bool>()).prop_map(
        |(rows, (name, value), turn, last, pretty)| {
            let mut fields = vec![
                ("id".to_owned(), json!(ID)),
                ("infoUri".to_owned(), json!("http://h/ui")),
                ("stats".to_owned(), json!({"state": "RUNNING", "processedRows": 5, "x": value})),
                ("data".to_owned(), rows),
                (name, value),
            ];
            if !last {
                fields
                    .push(("nextUri".to_owned(), json!(format!("{HOST}/v1/statement/executing/{ID}/y1/1"))));
            }
            fields.rotate_left(turn);
            let page = Value::Object(fields.into_iter().collect());
            if pretty { serde_json::to_string_pretty(&page) } else { serde_json::to_string(&page) }
                .expect("JSON")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn chunks_make_no_difference(page in any_page(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8), restricted: bool) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len())).collect();
        cuts.sort_unstable();
        let context = context(restricted);
        let (text, summary) = chunked(page.as_bytes(), &cuts, context.clone()).expect("a page");
        let mut got: Value = serde_json::from_slice(&text).expect("JSON");
        opened(&mut got, &context);
        let expect = reference(&page, restricted);
        prop_assert_eq!(&got, &expect);
        prop_assert_eq!(summary.rows, expect["data"].as_array().expect("rows").len() as u64);
        // The rows are the bytes that came.
        let raw: std::collections::HashMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(&page).expect("JSON");
        let text = String::from_utf8(text).expect("UTF-8");
        prop_assert!(text.contains(raw["data"].get()));
        prop_assert_eq!(summary.data_bytes, raw["data"].get().len() as u64);
    }

    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(prop::sample::select(br#"{}[]":,\ yntf10ad"#.to_vec()), 0..900), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        let result = |cuts: &[usize]| chunked(&bytes, cuts, context(false)).map(|(text, summary)| (text.len(), summary)).ok();
        prop_assert_eq!(result(&[]), result(&[cut]));
        let mut rows = br#"{"id":"a","stats":{"state":"A"},"data":["#.to_vec();
        rows.extend_from_slice(&bytes);
        let result = |cuts: &[usize]| chunked(&rows, cuts, context(false)).map(|(text, _)| text).ok();
        let each: Vec<usize> = (1..rows.len()).collect();
        prop_assert_eq!(result(&[]), result(&[cut]));
        prop_assert_eq!(result(&[]), result(&each));
    }

    #[test]
    fn a_changed_byte_does_no_harm(page in any_page(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = page.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let each: Vec<usize> = (1..bytes.len()).collect();
        let result = |cuts: &[usize]| chunked(&bytes, cuts, context(true)).map(|(_, summary)| summary).ok();
        prop_assert_eq!(result(&[]), result(&each));
    }
}

#[test]
fn a_page_is_copied_as_it_came() {
    let page = |warnings: &str| {
        format!(
            "{{\"id\":\"{ID}\",\"infoUri\":\"{HOST}/ui\",\"columns\":[{{\"name\":\"a\"}}],\"data\":[[1],\n [\"]\"]],\
             \"stats\":{{\"state\":\"FINISHED\"}},\"warnings\":{warnings}}}"
        )
    };
    let copied = |page: &str, cut: usize, most: usize| {
        let page = Bytes::copy_from_slice(page.as_bytes());
        let (mut out, mut rebuilder) = (Vec::new(), PageRebuilder::new(context(false)).copying(most));
        rebuilder.push(&page.slice(..cut), &mut out).expect("a page");
        rebuilder.push(&page.slice(cut..), &mut out).expect("a page");
        rebuilder.finish(&mut out).expect("a page").copy
    };
    let plain = page("[]");
    for cut in 0..plain.len() {
        let copy = copied(&plain, cut, 1000).expect("a copy");
        assert_eq!(copy.columns.as_deref(), Some(&b"[{\"name\":\"a\"}]"[..]));
        assert_eq!(&copy.rows[..], b"[[1],\n [\"]\"]]");
        assert!(!copy.warned);
    }
    assert!(copied(&page("[{\"message\":\"x\"}]"), 3, 1000).expect("a copy").warned);
    assert!(copied(&plain, 3, 26).is_none(), "too large");
    assert!(copied(&plain, 3, 27).is_some());
    let (_, summary) = whole(&plain, false);
    assert_eq!(summary.copy, None);
}
