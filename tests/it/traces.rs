//! A trace from the client through the gateway into Trino, and to a collector.

use std::time::Duration;

use serde_json::Value;

use crate::harness::double::{Double, json};
use crate::harness::process::within;
use crate::harness::{Gateway, Settings};

/// The client's trace: its bytes are letters, so that they are seen in what the collector gets.
const TRACE: &str = "4e4f5254484741544554524143453031"; // NORTHGATETRACE01

/// Answers statements at once, and says that it is well.
fn engine() -> Double {
    Double::start(|request| {
        if request.starts_with("GET /v1/info") {
            return json("200 OK", r#"{"nodeVersion": {"version": "476"}, "starting": false}"#);
        }
        json("200 OK", r#"{"id": "q", "infoUri": "http://t/q", "stats": {"state": "FINISHED"}}"#)
    })
}

#[test]
fn a_trace_goes_from_the_client_into_trino_and_to_the_collector() {
    let (engine, collector) = (engine(), Double::start(|_| json("200 OK", "{}")));
    let mut settings = Settings::for_upstream(&engine.url());
    settings.environment.push(("NORTHGATE__TELEMETRY__FORMAT", "json".to_owned()));
    settings.more = format!("[telemetry.traces]\nendpoint = '{}/v1/traces'\nsample = 0.0\n", collector.url());
    let gateway = Gateway::start(settings);
    let client = gateway.client().with("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    // Nobody who is unknown makes a trace.
    assert_eq!(client.clone().basic("eva", "wrong").submit("SELECT 'stranger'").status, 401);
    assert_eq!(client.basic("eva", "eva-secret").submit("SELECT 'traced'").status, 200);
    // One that begins here is not sent, as `sample` says.
    assert_eq!(gateway.signed_in("eva").submit("SELECT 'alone'").status, 200);

    let header = |statement: &str| {
        let requests = engine.requests();
        let request =
            requests.iter().find(|request| request.contains(statement)).expect("it was sent").clone();
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with("traceparent:"));
        line.map(|line| line["traceparent:".len()..].trim().to_owned()).unwrap_or_default()
    };
    let sent = header("'traced'");
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-01"), "{sent}");
    assert!(!sent.contains("00f067aa0ba902b7"), "{sent}: a span of ours");
    let alone = header("'alone'");
    assert!(!alone.contains(TRACE) && alone.ends_with("-00"), "{alone}");

    let spans = ["query", "authenticate", "rewrite", "audit", "queue", "upstream"];
    let got = || {
        let all = collector.requests().concat();
        spans.iter().all(|span| all.contains(span)).then_some(all)
    };
    let all = within(Duration::from_secs(20), got).unwrap_or_else(|| panic!("{:?}", collector.requests()));
    assert!(all.starts_with("POST /v1/traces"), "{all}");
    assert!(all.contains("NORTHGATETRACE01") && all.contains("northgate.query"), "{all}");
    for secret in ["eva", "SELECT", "traced", "alone"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    // What the log says of a query names it, and its trace.
    let client = gateway.signed_in("eva").with("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let refused: Value =
        serde_json::from_slice(&client.submit("SELECT * FROM lake.none.t").body).expect("a page");
    let log = gateway.log();
    let line = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["query"] == refused["id"]);
    assert_eq!(line.unwrap_or_default()["trace"], TRACE, "{log}");
    // The time of the query has its trace as an example.
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains(&format!("# {{trace_id=\"{TRACE}\"}}")), "{metrics}");
}
