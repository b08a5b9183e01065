//! Who waits and who runs, with the real Trino and the real clients.

use std::time::Duration;

use serde_json::Value;

use crate::harness::gateway::{binary, certificates, password_of};
use crate::harness::http::path_of;
use crate::harness::process::{run, within};
use crate::harness::{Client, Gateway, Settings, stack, trino};
use crate::several::{driver, finished};
use crate::tokens::Store;

/// Runs until it is cancelled.
const LONG: &str =
    "SELECT count(*) FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment";
/// Has more rows than anybody takes: it waits for its client, and takes no time of the machine's.
const ENDLESS: &str = "SELECT orderkey FROM tpch.sf100.lineitem";
const SHORT: &str = "SELECT count(*) FROM tpch.tiny.nation";

fn start(admission: &str) -> Gateway {
    let mut settings = Settings::new();
    settings.more = format!("[admission]\n{admission}\n");
    Gateway::start(settings)
}

/// Submits a query and follows it until Trino has it: the last link.
fn begun(client: &Client, sql: &str) -> String {
    let mut page = client.submit(sql).page();
    for _ in 0..100 {
        let link = path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}")));
        if page["stats"]["state"] == "RUNNING" {
            return link;
        }
        page = client.get(&link).page();
    }
    panic!("it does not begin: {page}");
}

fn message(page: &Value) -> Option<String> {
    let message = page["warnings"].as_array()?.first()?["message"].as_str()?;
    Some(message.to_owned())
}

/// As Python's client does with the query by which it learns what its server can.
#[test]
fn what_trino_has_done_with_holds_no_slot() {
    let gateway = start("running = 1\nrunning_per_principal = 1");
    let (admin, test) = (gateway.signed_in("admin"), gateway.signed_in("test"));
    let mut page = admin.submit("EXECUTE IMMEDIATE 'SELECT 1'").page();
    let mut link = String::new();
    while page["data"].is_null() {
        link = path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}")));
        page = admin.get(&link).page();
    }
    assert_ne!(link, "");
    assert!(page["nextUri"].is_string(), "there is more: {page}");
    // Nobody fetches the rest, and who waits has the slot long before that is given up.
    assert_eq!(test.query(SHORT).value(), 25);
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_admission_running{class=\"interactive\"} 0"), "{metrics}");
    // It can still be had.
    let mut last = admin.get(&path_of(page["nextUri"].as_str().expect("a link"))).page();
    while let Some(next) = last["nextUri"].as_str() {
        last = admin.get(&path_of(next)).page();
    }
    assert!(last["error"].is_null(), "{last}");
    let records = gateway.audit_of(page["id"].as_str().expect("an id"), |records| records.len() == 2);
    assert_eq!((&records[1]["state"], &records[1]["rows"]), (&"finished".into(), &1.into()), "{records:?}");
}

#[test]
fn who_waits_is_told_why_and_may_go() {
    let gateway = start("running = 1\nrunning_per_principal = 1");
    let (admin, test) = (gateway.signed_in("admin"), gateway.signed_in("test"));
    let held = begun(&admin, LONG);
    let mut waits = test.submit(SHORT).page();
    assert_eq!(waits["stats"]["state"], "QUEUED", "{waits}");
    let told = message(&waits).unwrap_or_else(|| panic!("nothing is said: {waits}"));
    assert_eq!(
        told,
        "The query waits: as many queries of the class 'interactive' are running as may. It is number 1 of the class 'interactive'."
    );
    let own = admin.submit(SHORT).page();
    let told = message(&own).unwrap_or_else(|| panic!("nothing is said: {own}"));
    assert!(told.contains("as many of your queries are running as may"), "{told}");
    // The same link leads back to the place in the queue, over another connection, too.
    for _ in 0..2 {
        let link = path_of(waits["nextUri"].as_str().expect("it waits"));
        let again = gateway.signed_in("test").get(&link).page();
        assert_eq!(again["stats"]["state"], "QUEUED", "{again}");
        waits = again;
    }
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_admission_queued{class=\"interactive\"} 2"), "{metrics}");
    // One who waits cancels, twice; the place is free.
    let link = path_of(own["nextUri"].as_str().expect("it waits"));
    assert_eq!(admin.send("DELETE", &link, b"").status, 204);
    let _ = admin.send("DELETE", &link, b"");
    let ended = admin.get(&link);
    assert!(ended.text().contains("canceled"), "{}", ended.text());
    // The slot is free the moment the query that has it is cancelled.
    let _ = admin.send("DELETE", &held, b"");
    let link = path_of(waits["nextUri"].as_str().expect("it waits"));
    assert_eq!(test.follow(test.get(&link)).value(), 25);
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_admission_running{class=\"interactive\"} 0"), "{metrics}");
    assert!(metrics.contains("northgate_admission_wait_seconds_count{class=\"interactive\"} 2"), "{metrics}");
}

#[test]
fn a_full_queue_is_a_clear_refusal_and_a_failure_frees_the_slot() {
    let gateway = start("running = 1\nrunning_per_principal = 1\nqueued = 1\nqueued_per_principal = 1");
    let admin = gateway.signed_in("admin");
    // One that fails, and one that never polls and is forgotten, leave nothing behind.
    assert!(admin.query("SELECT 1 / 0").failure().contains("Division by zero"));
    let held = begun(&admin, LONG);
    assert_eq!(admin.submit(SHORT).page()["stats"]["state"], "QUEUED");
    let refused = admin.query(SHORT).failure();
    assert!(refused.starts_with("QUERY_QUEUE_FULL") && refused.contains("of your queries"), "{refused}");
    let refused = gateway.signed_in("test").query(SHORT).failure();
    assert!(refused.starts_with("QUERY_QUEUE_FULL") && refused.contains("class 'interactive'"), "{refused}");
    let _ = admin.send("DELETE", &held, b"");
}

#[test]
fn jobs_are_batch_and_people_do_not_wait_for_them() {
    let gateway = start("running = 10\nrunning_per_principal = 10");
    let job = gateway.signed_in("test").with("X-Trino-Source", "Apache Airflow");
    let jobs: Vec<Value> = (0..12).map(|_| job.submit(LONG).page()).collect();
    let waiting = jobs.iter().filter_map(message).count();
    assert!(waiting >= 3, "a slot is kept for people: {waiting}");
    assert_eq!(gateway.signed_in("admin").query(SHORT).value(), 25);
    for page in jobs {
        let _ = job.send("DELETE", &path_of(page["nextUri"].as_str().expect("it runs")), b"");
    }
    let explained = |source: &str| {
        let mut command = binary();
        command.args(["explain", "--config"]).arg(gateway.folder.path().join("northgate.toml"));
        run(command.args(["--user", "admin", "--source", source, SHORT]))
    };
    let text = explained("dbt-trino");
    assert!(text.contains("Class batch, by the rule of Northgate's own for jobs"), "{text}");
    let text = explained("DBeaver");
    assert!(text.contains("Class interactive, by no rule"), "{text}");
}

/// trino-jdbc and the Python client, as people and as a job, while jobs have every slot that they may have and more wait.
#[test]
fn drivers_of_people_are_served_while_jobs_have_every_slot() {
    let gateway = start(
        "running = 6\nrunning_per_principal = 6\n\
         [[admission.class]]\nname = 'interactive'\nweight = 8\nguaranteed = 3\nreserved = 2\n",
    );
    let figure = |name: &str, class: &str| {
        let metrics = gateway.admin().get("/metrics").text();
        let line = format!("northgate_admission_{name}{{class=\"{class}\"}} ");
        let found = metrics.lines().find_map(|metric| metric.strip_prefix(line.as_str()));
        found.map_or(0, |count| count.parse::<u32>().expect("a count"))
    };
    let begun = |class: &str| figure("wait_seconds_count", class);
    let job = gateway.signed_in("test").with("X-Trino-Source", "dbt-trino-1.9");
    let jobs: Vec<Value> = (0..8).map(|_| job.submit(ENDLESS).page()).collect();
    let full = || (figure("running", "batch") == 4 && figure("queued", "batch") == 4).then_some(());
    within(Duration::from_mins(1), full).expect("jobs have all but what is kept for people");
    let ca = certificates().join("ca.pem").display().to_string();
    let (port, password) = (gateway.port.to_string(), password_of("admin"));
    let load = stack().with_file_name("python").join("load.py").display().to_string();
    let jdbc_url = format!("jdbc:trino://localhost:{port}");
    let person = driver(&["jdbc", &jdbc_url, "admin", &password, &ca, "load"]);
    let other = driver(&["python", &load, &port, "admin", &password, &ca]);
    let late = driver(&["python", &load, &port, "test", &password_of("test"), &ca, "airflow"]);
    let waits = || (figure("queued", "batch") == 4 + 3).then_some(());
    within(Duration::from_mins(1), waits).expect("the third is a job, and waits");
    let served = || (begun("interactive") >= 12).then_some(());
    within(Duration::from_mins(2), served).expect("people are served");
    let counts = [finished(person), finished(other)];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!((begun("batch"), figure("queued", "batch")), (4, 7), "no job has begun since");
    for page in jobs {
        let _ = job.send("DELETE", &path_of(page["nextUri"].as_str().expect("it runs or waits")), b"");
    }
    let served = || (begun("batch") >= 4 + 3).then_some(());
    within(Duration::from_mins(1), served).expect("then jobs are");
    assert!(finished(late) >= 3);
    let gone = || (figure("running", "batch") + figure("running", "interactive") == 0).then_some(());
    within(Duration::from_secs(20), gone).expect("each slot is free again");
    let metrics = gateway.admin().get("/metrics").text();
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("northgate_admission_refusals_total{") && !line.ends_with(" 0"));
    assert_eq!(refused, None);
}

#[test]
fn what_trino_expects_to_read_much_is_batch() {
    let gateway = start("[[admission.rule]]\nclass = 'batch'\nrows_above = 20\n");
    let explained = |user: &str, sql: &str| {
        let text = gateway.admin().send("POST", &format!("/explain?user={user}"), sql.as_bytes()).text();
        text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let small = "SELECT name FROM tpch.tiny.region LIMIT 1";
    let large = "SELECT comment FROM tpch.sf1.lineitem LIMIT 1";
    let told = explained("admin", large);
    assert_eq!(told[1], "Class batch, by rule 1 of the configuration, for the class 'batch'", "{told:?}");
    assert!(
        told[2].starts_with("Expected to read: bytes: ") && told[2].ends_with("rows: 6001215"),
        "{told:?}"
    );
    let told = explained("admin", small);
    assert_eq!(told[1], "Class interactive, by no rule", "{told:?}");
    assert!(told[2].ends_with("rows: 5"), "{told:?}");
    let ran = || {
        let metrics = gateway.admin().get("/metrics").text();
        ["batch", "interactive"].map(|class| {
            let line = format!("northgate_admission_wait_seconds_count{{class=\"{class}\"}} ");
            let found = metrics.lines().find_map(|metric| metric.strip_prefix(line.as_str()));
            found.map_or(0, |count| count.parse::<u32>().expect("a count"))
        })
    };
    let admin = gateway.signed_in("admin");
    for (sql, expect) in [(large, [1, 0]), (small, [1, 1])] {
        assert_eq!((admin.query(sql).rows().len(), ran()), (1, expect), "{sql}");
    }
    // What is executed counts, with its parameters. What only lists has no estimate, and is not asked about.
    let text = "q=SELECT+comment+FROM+tpch.sf1.lineitem+WHERE+orderkey+%3E+%3F+LIMIT+1";
    let prepared = gateway.signed_in("admin").with("X-Trino-Prepared-Statement", text);
    assert_eq!((prepared.query("EXECUTE q USING 7").rows().len(), ran()), (1, [2, 1]));
    assert!(!admin.query("SHOW SCHEMAS FROM tpch").rows().is_empty());
    assert_eq!(ran(), [2, 2]);
    let asked = |user: &str| {
        let sql = "SELECT count(*) FROM system.runtime.queries WHERE source = 'northgate-estimate' AND state = 'FINISHED'";
        trino().query(&format!("{sql} AND \"user\" = '{user}'")).value()
    };
    assert_eq!(asked("admin"), 5, "as the user, and each time");
    // Of restricted tables nothing is asked: the class would tell of rows that eva may not see.
    let told = explained("eva", "SELECT name FROM lake.silver.customers");
    assert_eq!(told[1..], ["Class interactive, by no rule"], "{told:?}");
    assert!(!gateway.signed_in("eva").query("SELECT name FROM lake.silver.customers").rows().is_empty());
    assert_eq!((ran(), asked("eva")), ([2, 3], 0.into()));
}

#[test]
fn a_budget_that_is_used_up_is_a_clear_refusal() {
    let gateway = start("budget_per_principal = { rows = 20000 }");
    let admin = gateway.signed_in("admin");
    let orders = "SELECT count(*) FROM tpch.tiny.orders";
    assert_eq!(admin.query(orders).value(), 15_000);
    // What runs when it is used up goes on to its end.
    assert_eq!(admin.query(orders).value(), 15_000);
    let why = "EXCEEDED_SCAN_LIMIT: Your budget of rows read is used up for today. It is whole again at midnight (UTC).";
    assert_eq!(admin.query(SHORT).failure(), why);
    assert!(!admin.query("SHOW SCHEMAS FROM tpch").rows().is_empty(), "it reads no data");
    assert_eq!(gateway.signed_in("test").query(SHORT).value(), 25);
    let mut command = binary();
    command.args(["queries", "--config"]).arg(gateway.folder.path().join("northgate.toml"));
    let listed = run(&mut command);
    assert!(listed.contains("principal admin\t0\t30000 of 20000\t"), "{listed}");
    let explained = gateway.admin().send("POST", "/explain?user=admin", SHORT.as_bytes()).text();
    assert!(explained.contains("Not run today: Your budget of rows read is used up"), "{explained}");
    let told = "Budget of principal admin, used today: 30000 of 20000 rows read\n";
    assert!(explained.contains(told), "{explained}");
}

#[test]
fn slots_hold_across_gateways_and_return_when_one_dies() {
    let store = Store::start("redis");
    let shared = || {
        let mut settings = Settings::new();
        settings.more = format!(
            "[admission]\nrunning = 2\nrunning_per_principal = 2\nreplicas = 2\nlease = \"3s\"\n{}",
            store.lines
        );
        Gateway::start(settings)
    };
    let (one, two) = (shared(), shared());
    let together = |gateway: &Gateway| {
        let text = gateway.admin().get("/metrics").text();
        text.contains("northgate_admission_together 1").then_some(())
    };
    for gateway in [&one, &two] {
        within(Duration::from_mins(1), || together(gateway)).expect("they count together");
    }
    let (mine, yours) = (one.signed_in("admin"), two.signed_in("admin"));
    let _held = (begun(&mine, LONG), begun(&mine, LONG));
    let waits = yours.submit(SHORT).page();
    assert_eq!(waits["stats"]["state"], "QUEUED", "{waits}");
    // The one is killed: its slots are the other's when its lease has ended.
    one.process.lock().expect("no panic in a lock").signal("KILL");
    let link = path_of(waits["nextUri"].as_str().expect("it waits"));
    assert_eq!(yours.follow(yours.get(&link)).value(), 25);
    // Redis is lost: queries go on, and the operator is told.
    store.process.lock().expect("no panic in a lock").signal("KILL");
    let told = || two.admin().get("/metrics").text().contains("northgate_admission_together 0").then_some(());
    within(Duration::from_secs(30), told).expect("it is noticed");
    assert_eq!(yours.query(SHORT).value(), 25);
    let ready = two.admin().get("/ready");
    assert!(ready.status == 200 && ready.text().contains("its part of the limits"), "{}", ready.text());
}

#[test]
fn who_is_cancelled_by_an_operator_reads_why() {
    let gateway = start("running = 1\nrunning_per_principal = 1");
    let (admin, test) = (gateway.signed_in("admin"), gateway.signed_in("test"));
    let held = begun(&admin, LONG);
    let waits = test.submit(SHORT).page();
    let queries = |arguments: &[&str]| {
        let mut command = binary();
        command.arg("queries").args(arguments).arg("--config");
        run(command.arg(gateway.folder.path().join("northgate.toml")))
    };
    let listed = queries(&[]);
    let line = |user: &str| {
        let mut lines = listed.lines().filter(|line| line.split('\t').nth(1) == Some(user));
        lines.next().unwrap_or_else(|| panic!("{user} is not there: {listed}")).to_owned()
    };
    let id = |user: &str| line(user).split('\t').next().expect("an id").to_owned();
    assert!(line("admin").contains("\tinteractive\truns\t"), "{listed}");
    assert!(line("test").contains("\tinteractive\twaits, number 1\t"), "{listed}");
    assert!(!queries(&["--user", "test"]).contains("admin"));
    // One that waits, and one that runs, whose client waits for its next page.
    let (waiting, running) = (id("test"), id("admin"));
    queries(&["cancel", &waiting, "--reason", "not now"]);
    let failed = test.follow(test.get(&path_of(waits["nextUri"].as_str().expect("it waits")))).failure();
    assert_eq!(failed, "USER_CANCELED: The query was canceled by an operator: not now");
    let polled = std::thread::spawn(move || admin.follow(admin.get(&held)).failure());
    std::thread::sleep(Duration::from_millis(300));
    queries(&["cancel", &running, "--reason", "it is too big"]);
    let failed = polled.join().expect("no panic");
    assert_eq!(failed, "USER_CANCELED: The query was canceled by an operator: it is too big");
    assert_eq!(test.query(SHORT).value(), 25, "the slot is free");
    let records = gateway.audit();
    let cancels = records.iter().filter(|record| record["action"] == "cancel").count();
    assert_eq!(cancels, 2);
}
