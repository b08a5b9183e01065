//! Two gateways behind one balancer, without sticky sessions: polls anywhere, a store that is lost, one that is killed, and
//! each of them restarted under load.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::balancer::Balancer;
use crate::harness::gateway::{certificates, password_of};
use crate::harness::http::{Response, path_of};
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings, stack, trino};
use crate::tokens::Store;

const QUICK: &str = "SELECT count(*) FROM tpch.tiny.orders";
const ROWS: &str = "SELECT * FROM tpch.sf1.orders LIMIT 30000";
/// Has more rows than anybody takes: it waits for its client, and takes no time of the machine's.
const LONG: &str = "SELECT orderkey FROM tpch.sf100.lineitem";

fn settings(store: &Store, more: &str) -> Settings {
    let mut settings = Settings::for_upstream(&trino().url());
    settings.files.push(("links.key", STANDARD.encode([7; 32])));
    settings.more = format!("{}\n[links]\nkey_file = 'links.key'\n{more}", store.lines);
    settings.server_lines = "drain_delay = \"2s\"".to_owned();
    settings
}

/// One gateway's way to another's query: the same path.
fn at(gateways: &[Gateway; 2], user: &str) -> [Client; 2] {
    [0, 1].map(|number: usize| gateways[number].signed_in(user))
}

/// Follows a query with each request at the other gateway than the one before: the number of rows, and the last page.
pub(crate) fn follow(clients: &[Client; 2], mut turn: usize, first: Value) -> (usize, Value) {
    let (mut page, mut rows) = (first, 0);
    loop {
        rows += page["data"].as_array().map_or(0, Vec::len);
        let Some(next) = page["nextUri"].as_str() else { return (rows, page) };
        let response = clients[turn % 2].get(&path_of(next));
        assert_eq!(response.status, 200, "{}", response.text());
        page = response.page();
        turn += 1;
    }
}

fn outcome(gateway: &Gateway, id: &str) -> Value {
    gateway.audit_of(id, |records| records.len() >= 2).pop().expect("an outcome")
}

/// A query that runs: its id, and its last link.
fn under_way(client: &Client) -> (String, String) {
    let mut page = client.submit(LONG).page();
    let id = page["id"].as_str().expect("an id").to_owned();
    let begun = within(Duration::from_secs(30), || {
        page = client.get(&path_of(page["nextUri"].as_str().expect("it runs"))).page();
        (page["stats"]["state"] == "RUNNING").then_some(())
    });
    assert!(begun.is_some(), "{page}");
    (id, path_of(page["nextUri"].as_str().expect("it runs")))
}

#[test]
fn any_gateway_serves_any_poll() {
    let store = Store::start("redis");
    // One query at a time, so that a second one waits.
    let few = "[admission]\nrunning = 1\nrunning_per_principal = 1\n";
    let gateways = [(); 2].map(|()| Gateway::start(settings(&store, few)));
    let [one, two] = &gateways;
    let admin = at(&gateways, "admin");
    // Rows are counted once, by whom the query is of, and its slot is free as soon as the last page is out.
    for turn in [0, 1] {
        let first = admin[0].submit(ROWS).page();
        let id = first["id"].as_str().expect("an id").to_owned();
        let (rows, last) = follow(&admin, turn, first);
        assert_eq!((rows, &last["error"]), (30_000, &Value::Null));
        assert!(
            within(Duration::from_secs(2), || (one.metric("queries_running") == 0).then_some(())).is_some()
        );
        let record = outcome(one, &id);
        assert_eq!((&record["state"], &record["rows"]), (&"finished".into(), &30_000.into()), "{record}");
        assert!(two.audit().iter().all(|record| record["query"] != id.as_str()), "it has one record");
    }
    // Everything after the POST elsewhere: the same, and an error says where in the user's own text it is.
    let eva = at(&gateways, "eva");
    let failing = "SELECT\n  nope FROM lake.silver.customers";
    let first = eva[0].submit(failing).page();
    let (_, last) = follow(&[two.signed_in("eva"), two.signed_in("eva")], 0, first);
    assert_eq!(last["error"]["errorName"], "COLUMN_NOT_FOUND", "{last}");
    assert_eq!(last["error"]["errorLocation"]["lineNumber"], 2, "{last}");
    let restricted = eva[0].submit("SELECT * FROM lake.silver.customers WHERE 1 / (id - id) = 1").page();
    let (rows, last) = follow(&[two.signed_in("eva"), two.signed_in("eva")], 0, restricted);
    assert!(
        rows == 0 && last["error"]["message"].as_str().is_some_and(|text| !text.contains("zero")),
        "{last}"
    );
    // A link of somebody else is none at any.
    let link = path_of(eva[0].submit(QUICK).page()["nextUri"].as_str().expect("there is more"));
    assert_eq!(two.signed_in("otto").get(&link).status, 404);
    follow(&eva, 1, eva[1].get(&link).page());

    // A query that waits at one is waited for, answered and cancelled at the other.
    let mut page = admin[0].submit(LONG).page();
    let long = page["id"].as_str().expect("an id").to_owned();
    let begun = within(Duration::from_secs(30), || {
        page = admin[1].get(&path_of(page["nextUri"].as_str().expect("it runs"))).page();
        (page["stats"]["state"] == "RUNNING").then_some(())
    });
    assert!(begun.is_some());
    let waits = admin[0].submit(QUICK).page();
    let (waiting, link) = (waits["id"].clone(), path_of(waits["nextUri"].as_str().expect("it waits")));
    let page_elsewhere = admin[1].get(&link).page();
    assert_eq!((&page_elsewhere["stats"]["state"], &page_elsewhere["id"]), (&"QUEUED".into(), &waiting));
    let canceled = admin[0].submit(QUICK).page();
    let of_canceled = path_of(canceled["nextUri"].as_str().expect("it waits"));
    assert_eq!(admin[1].send("HEAD", &of_canceled, b"").status, 200);
    assert_eq!(admin[1].send("DELETE", &of_canceled, b"").status, 204);
    assert_eq!(outcome(one, canceled["id"].as_str().expect("an id"))["state"], "canceled");
    // The one that runs is cancelled elsewhere: its slot is free, and the one that waits gets it.
    let next = path_of(page["nextUri"].as_str().expect("it runs"));
    assert_eq!(admin[1].send("DELETE", &next, b"").status, 204);
    assert_eq!(outcome(one, &long)["state"], "canceled");
    let (rows, last) = follow(&[two.signed_in("admin"), two.signed_in("admin")], 0, page_elsewhere);
    assert_eq!((rows, &last["error"]), (1, &Value::Null), "{last}");
    assert_eq!(outcome(one, waiting.as_str().expect("an id"))["state"], "finished");

    // Why an operator has cancelled a query is read wherever its client asks next.
    let key = std::fs::read_to_string(one.folder.path().join("admin.key")).expect("a key");
    let operator = || one.admin().bearer(key.trim());
    let (canceled, link) = under_way(&admin[0]);
    let path = format!("/queries?id={canceled}&reason=it%20is%20too%20big");
    let told = operator().send("DELETE", &path, b"");
    assert_eq!(told.status, 200, "{}", told.text());
    let failed = admin[1].follow(admin[1].get(&link)).failure();
    assert_eq!(failed, "USER_CANCELED: The query was canceled by an operator: it is too big");

    // Its own user cancels it by its id at any, and nobody else does.
    let (canceled, link) = under_way(&admin[0]);
    let path = format!("/v1/query/{canceled}");
    assert_eq!(two.signed_in("eva").send("DELETE", &path, b"").status, 204);
    thread::sleep(Duration::from_secs(1));
    let page = admin[1].get(&link).page();
    assert_eq!(page["error"], Value::Null, "{page}");
    let link = path_of(page["nextUri"].as_str().expect("it runs"));
    assert_eq!(admin[1].send("DELETE", &path, b"").status, 204);
    let failed = admin[1].follow(admin[1].get(&link)).failure();
    assert!(failed.starts_with("USER_CANCELED: "), "{failed}");
    assert_eq!(outcome(one, &canceled)["state"], "canceled");

    // An operator's word on a cluster counts at both, and for what waits: one that is left alone is sent nothing.
    let (_, link) = under_way(&admin[0]);
    let waits = admin[0].submit(QUICK).page();
    assert_eq!(waits["stats"]["state"], "QUEUED", "{waits}");
    let told = operator().send("POST", "/clusters/trino?state=inactive", b"");
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(admin[0].send("DELETE", &link, b"").status, 204);
    let (_, last) = follow(&admin, 0, waits);
    assert!(last["error"]["message"].as_str().is_some_and(|text| text.contains("was not run")), "{last}");
    let refused =
        || two.signed_in("admin").query(QUICK).everything().contains("No Trino cluster").then_some(());
    assert!(within(Duration::from_secs(15), refused).is_some(), "the other has not heard");
    let told = operator().send("POST", "/clusters/trino?state=active", b"");
    assert_eq!(told.status, 200, "{}", told.text());
    let answered = || two.signed_in("admin").query(QUICK).everything().contains("15000").then_some(());
    assert!(within(Duration::from_secs(15), answered).is_some(), "the other has not heard");
    pages_on_their_way_elsewhere(&gateways, &admin);
}

/// What one gateway hands on is in the outcome that another owes, though the query ends before; or the outcome says that it may
/// not be. The second gateway is killed.
fn pages_on_their_way_elsewhere([one, two]: &[Gateway; 2], admin: &[Client; 2]) {
    // More than a connection takes while nobody reads.
    let sql = "SELECT rpad(name, 12000000, 'x') FROM tpch.tiny.nation WHERE nationkey = 3";
    let begun = || {
        let first = admin[0].submit(sql).page();
        let id = first["id"].as_str().expect("an id").to_owned();
        let (link, answer) = admin[1].until_long(first);
        (id, link, answer)
    };
    let outcome_of = |id: &str| {
        one.audit().into_iter().find(|record| record["query"] == id && record["type"] == "outcome")
    };
    let (id, link, answer) = begun();
    assert_eq!(admin[0].send("DELETE", &link, b"").status, 204);
    // For longer than it waits for pages that nobody has told of.
    thread::sleep(Duration::from_secs(7));
    assert_eq!(outcome_of(&id), None, "the page is not counted yet");
    assert_eq!(Response::read(answer, false).page()["data"].as_array().map(Vec::len), Some(1));
    let record = outcome(one, &id);
    assert_eq!(
        (&record["state"], &record["rows"], &record["rows_uncertain"]),
        (&"canceled".into(), &1.into(), &Value::Null),
        "{record}"
    );
    let (id, link, answer) = begun();
    thread::sleep(Duration::from_secs(1));
    two.process.lock().expect("no panic in a lock").signal("KILL");
    assert_eq!(admin[0].send("DELETE", &link, b"").status, 204);
    let record = within(Duration::from_mins(1), || outcome_of(&id)).expect("an outcome");
    assert_eq!((&record["state"], &record["rows_uncertain"]), (&"canceled".into(), &true.into()), "{record}");
    drop(answer);
}

#[test]
fn a_store_that_is_lost_and_a_gateway_that_is_killed() {
    let store = Store::start("redis");
    let few = "[admission]\nrunning = 1\nrunning_per_principal = 1\n";
    let gateways = [(); 2].map(|()| Gateway::start(settings(&store, few)));
    let [one, two] = &gateways;
    let admin = at(&gateways, "admin");
    let mut page = admin[0].submit(LONG).page();
    let begun = within(Duration::from_secs(30), || {
        page = admin[0].get(&path_of(page["nextUri"].as_str().expect("it runs"))).page();
        (page["stats"]["state"] == "RUNNING").then_some(())
    });
    assert!(begun.is_some());
    let waits = admin[0].submit(QUICK).page();
    let mut link = path_of(waits["nextUri"].as_str().expect("it waits"));
    let poll = |link: &mut String| {
        let page = two.signed_in("admin").get(link).page();
        if let Some(next) = page["nextUri"].as_str() {
            *link = path_of(next);
        }
        page
    };
    assert_eq!(poll(&mut link)["stats"]["state"], "QUEUED");
    // Polls of what runs need no store, and what waits goes on to wait.
    store.process.lock().expect("no panic in a lock").signal("STOP");
    for _ in 0..3 {
        page = admin[1].get(&path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("{page}")))).page();
        assert_eq!(page["error"], Value::Null);
        assert_eq!(poll(&mut link)["stats"]["state"], "QUEUED");
    }
    store.process.lock().expect("no panic in a lock").signal("CONT");
    // The one that holds both is killed. What runs at Trino is served by the other; what waited is told so, and when.
    one.process.lock().expect("no panic in a lock").signal("KILL");
    page = admin[1].get(&path_of(page["nextUri"].as_str().expect("it runs"))).page();
    assert_eq!((&page["error"], &page["stats"]["state"]), (&Value::Null, &"RUNNING".into()), "{page}");
    let start = Instant::now();
    let last =
        within(Duration::from_mins(1), || Some(poll(&mut link)).filter(|page| page["nextUri"].is_null()));
    let last = last.expect("it is told");
    let message = last["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("has stopped") && message.contains("run it again"), "{last}");
    assert!(start.elapsed() > Duration::from_secs(5), "not before the lease has run out");
    let next = path_of(page["nextUri"].as_str().expect("it runs"));
    assert_eq!(admin[1].send("DELETE", &next, b"").status, 204);
}

#[test]
fn a_gateway_that_stood_still_runs_nothing_that_was_given_up() {
    let store = Store::start("redis");
    let few = "[admission]\nrunning = 1\nrunning_per_principal = 1\n";
    let gateways = [(); 2].map(|()| Gateway::start(settings(&store, few)));
    let [one, two] = &gateways;
    let admin = at(&gateways, "admin");
    let mut page = admin[0].submit(LONG).page();
    let begun = within(Duration::from_secs(30), || {
        page = admin[1].get(&path_of(page["nextUri"].as_str().expect("it runs"))).page();
        (page["stats"]["state"] == "RUNNING").then_some(())
    });
    assert!(begun.is_some());
    let mut waits =
        one.signed_in("eva").submit("CREATE TABLE memory.scratch.eva_given_up AS SELECT 1 AS n").page();
    let id = waits["id"].as_str().expect("an id").to_owned();
    let told = within(Duration::from_mins(2), || {
        let next = path_of(waits["nextUri"].as_str()?);
        waits = two.signed_in("eva").get(&next).page();
        if waits["stats"]["state"] == "QUEUED" && waits["nextUri"].is_string() {
            one.process.lock().expect("no panic in a lock").signal("STOP");
        }
        waits["nextUri"].is_null().then_some(())
    });
    assert!(told.is_some(), "it is told: {waits}");
    let message = waits["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("It was not run"), "{waits}");
    // It comes to itself, and the slot that the statement has waited for is free.
    one.process.lock().expect("no panic in a lock").signal("CONT");
    let next = path_of(page["nextUri"].as_str().expect("it runs"));
    assert_eq!(admin[1].send("DELETE", &next, b"").status, 204);
    let record = outcome(one, &id);
    assert_eq!((&record["state"], &record["trino_query"]), (&"failed".into(), &Value::Null), "{record}");
    let made = trino()
        .query("SELECT count(*) FROM memory.information_schema.tables WHERE table_name = 'eva_given_up'");
    assert_eq!(made.value(), 0);
}

/// A driver that runs queries until it is told to stop, and how it ended.
pub(crate) fn driver(arguments: &[&str]) -> std::process::Child {
    let mut command = Command::new(stack());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the driver starts")
}

/// What a driver says at the end of its work, which is the end of its input.
fn said_by(mut driver: std::process::Child) -> String {
    drop(driver.stdin.take());
    let ended = within(Duration::from_mins(1), || driver.try_wait().expect("it can be asked"));
    if ended.is_none() {
        driver.kill().expect("it is killed");
    }
    let output = driver.wait_with_output().expect("it has ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// How many queries a driver has run at the end of its work, none of which has failed.
pub(crate) fn finished(driver: std::process::Child) -> u32 {
    let said = said_by(driver);
    let count = said.lines().find_map(|line| line.strip_prefix("queries ")?.parse().ok());
    count.filter(|_| said.starts_with("exit status: 0")).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn each_is_restarted_and_no_query_fails() {
    let store = Store::start("redis");
    // What is kept over a restart: the ports, and the audit.
    let audits = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let of = |number: usize| {
        let audit: &tempfile::TempDir = &audits[number];
        Settings { audit: Some(audit.path().join("audit")), ..settings(&store, "") }
    };
    let mut gateways = [0, 1].map(|number| Gateway::start(of(number)));
    let balancer = Balancer::start(&[&gateways[0], &gateways[1]]);
    let client = balancer.client().basic("admin", &password_of("admin"));
    let answered = || client.query(QUICK).everything().contains("15000").then_some(());
    assert!(within(Duration::from_mins(1), answered).is_some());
    let ca = certificates().join("ca.pem").display().to_string();
    let (port, password) = (balancer.port.to_string(), password_of("admin"));
    let jdbc_url = format!("jdbc:trino://localhost:{port}");
    let load = stack().with_file_name("python").join("load.py").display().to_string();
    let drivers = vec![
        ("JDBC", driver(&["jdbc", &jdbc_url, "admin", &password, &ca, "load"])),
        ("Python", driver(&["python", &load, &port, "admin", &password, &ca])),
    ];
    thread::sleep(Duration::from_secs(8));
    for (number, gateway) in gateways.iter_mut().enumerate() {
        gateway.process.lock().expect("no panic in a lock").signal("TERM");
        let ended = gateway.process.lock().expect("no panic in a lock").wait(Duration::from_mins(1));
        if ended != Some(0) {
            let said = drivers.into_iter().map(|(name, driver)| (name, said_by(driver)));
            panic!("{ended:?}: {:?}\n{}", said.collect::<Vec<_>>(), gateway.log());
        }
        *gateway = Gateway::start_at(of(number), [gateway.port, gateway.admin_port]);
        let ready = || (gateway.admin().get("/ready").status == 200).then_some(());
        assert!(within(Duration::from_mins(1), ready).is_some(), "{}", gateway.log());
        thread::sleep(Duration::from_secs(3));
    }
    for (name, driver) in drivers {
        let count = finished(driver);
        assert!(count >= 3, "{name}: {count}");
    }
    // Each intent has one outcome, and it is a good one.
    for gateway in &gateways {
        let audit = gateway.audit();
        let of_type = |wanted: &'static str| audit.iter().filter(move |record| record["type"] == wanted);
        assert!(of_type("intent").count() > 0);
        let complete = || {
            let audit = gateway.audit();
            let count = |wanted: &str| audit.iter().filter(|record| record["type"] == wanted).count();
            (count("intent") == count("outcome")).then_some(())
        };
        assert!(within(Duration::from_secs(20), complete).is_some());
        for record in of_type("outcome") {
            assert_eq!(record["state"], "finished", "{record}");
        }
    }
}
