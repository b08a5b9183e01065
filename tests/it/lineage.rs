//! What a server that keeps lineage is told of queries on the real Trino.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::double::{Double, json};
use crate::harness::process::within;
use crate::harness::{Gateway, Settings, stack};

/// How many events and facets of the specification its own classes take.
fn read_by_others(events: &[Value]) -> String {
    let mut command = Command::new(stack());
    command.arg("lineage").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    events.iter().for_each(|event| writeln!(input, "{event}").expect("it reads"));
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{events:#?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn runs_tell_what_they_read_and_what_was_masked() {
    let server = Double::start(|_| json("201 Created", "{}"));
    let mut settings = Settings::new();
    settings.files.push(("lineage.token", "lineage-token\n".to_owned()));
    settings.more = format!(
        "[lineage]\nurl = '{}/api/v1/lineage'\nnamespace = 'bank'\ntoken_file = 'lineage.token'\n",
        server.url()
    );
    let gateway = Gateway::start(settings);
    let eva = gateway.signed_in("eva");
    let good = eva.query("SELECT name, ssn FROM lake.silver.customers");
    assert!(!good.rows.is_empty());
    let bad = eva.query("SELECT 1 / (id - id) FROM lake.silver.customers");
    assert!(bad.error.is_some());
    eva.query("SELECT 1").rows();

    let events = || -> Vec<Value> {
        let bodies = server.requests();
        bodies
            .iter()
            .filter_map(|request| serde_json::from_str(request.split_once("\r\n\r\n")?.1).ok())
            .collect()
    };
    let of = |id: &str| -> Vec<Value> {
        let events = events().into_iter();
        events.filter(|event| event["run"]["facets"]["northgate_query"]["query"] == id).collect()
    };
    let both = |id: &str| within(Duration::from_secs(20), || Some(of(id)).filter(|events| events.len() == 2));
    let told = both(&good.id).expect("its beginning and its end");
    assert_eq!((&told[0]["eventType"], &told[1]["eventType"]), (&"START".into(), &"COMPLETE".into()));
    assert_eq!(told[0]["run"]["runId"], told[1]["run"]["runId"]);
    let input = &told[0]["inputs"][0];
    assert_eq!((&input["namespace"], &input["name"]), (&"bank".into(), &"lake.silver.customers".into()));
    let access = &input["inputFacets"]["northgate_access"];
    assert_eq!((&access["maskedColumns"][0], &access["rowFilters"]), (&"ssn".into(), &1.into()), "{input}");
    let failed = both(&bad.id).expect("its beginning and its end");
    assert_eq!(failed[1]["eventType"], "FAIL", "{}", failed[1]);
    // What reads nothing is no lineage; who asked, and what, is the audit's alone.
    assert_eq!(events().len(), 4);
    // What they are made of is what OpenLineage publishes: two facets of a table and one of a job in each, one of an error.
    assert_eq!(read_by_others(&events()), "4 13\n");
    let all = server.requests().concat();
    assert!(all.contains("uthorization: Bearer lineage-token"), "{all}");
    for left_out in ["\"eva\"", "SELECT name", "id - id"] {
        assert!(!all.contains(left_out), "{left_out}: {all}");
    }
}
