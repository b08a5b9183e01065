//! Two real Trino servers behind one gateway: routing, draining under load, and one that is killed.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::gateway::binary;
use crate::harness::http::path_of;
use crate::harness::process::{Guarded, free_ports, within};
use crate::harness::{Answer, Client, Gateway, Settings, stack, trino};

/// Has more rows than anybody takes: it waits for its client, and takes no time of the machine's.
const LONG: &str = "SELECT orderkey FROM tpch.sf100.lineitem";
const QUICK: &str = "SELECT count(*) FROM tpch.tiny.orders";

/// A Trino of the test's own, which it may kill.
struct Second {
    http: u16,
    process: Guarded,
    _folder: tempfile::TempDir,
}

impl Second {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-trino-").tempdir().expect("a folder");
        let [http, https] = free_ports();
        let mut command = Command::new(stack());
        command.arg("trino").arg(folder.path()).args([http.to_string(), https.to_string()]);
        let log = folder.path().join("trino.log");
        let process = Guarded::spawn(&command, folder.path(), &log).expect("bash");
        let wait = Command::new(stack()).args(["wait", &http.to_string(), "240"]).status();
        assert!(wait.is_ok_and(|status| status.success()), "the second Trino does not start");
        Self { http, process, _folder: folder }
    }
}

fn gateway(green: u16) -> Gateway {
    let mut settings = Settings::for_upstream("");
    settings.more = format!(
        "[[trino.cluster]]\nname = \"blue\"\nurl = \"{}\"\ngroups = [\"adhoc\"]\n\
         [[trino.cluster]]\nname = \"green\"\nurl = \"http://127.0.0.1:{green}\"\ngroups = [\"adhoc\", \"etl\"]\n\
         [routing]\ndefault_group = \"adhoc\"\n\
         [[routing.rule]]\nsources = [\"airflow*\"]\ngroup = \"etl\"\n\
         [[routing.rule]]\nuser_groups = [\"admins\"]\nchoose = [\"etl\", \"adhoc\"]\n",
        trino().url()
    );
    Gateway::start(settings)
}

/// The cluster that ran a query, as the audit has it.
fn ran_at(gateway: &Gateway, query: &str) -> String {
    let records = gateway.audit_of(query, |records| records.len() >= 2);
    records.last().and_then(|record| record["cluster"].as_str()).unwrap_or("none").to_owned()
}

fn clusters(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut command = binary();
    command.arg("clusters").args(arguments).arg("--config").arg(gateway.folder.path().join("northgate.toml"));
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A link of a query that runs there.
fn running(gateway: &Gateway, client: &Client, cluster: &str) -> (String, String) {
    let mut page = client.submit(LONG).page();
    let id = page["id"].as_str().expect("an id").to_owned();
    let mut link = String::new();
    let runs = within(Duration::from_mins(1), || {
        link = path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}")));
        page = client.get(&link).page();
        (page["stats"]["state"] == "RUNNING").then_some(())
    });
    assert!(runs.is_some(), "it does not begin");
    let line = clusters(gateway, &[]).lines().find(|line| line.starts_with(cluster)).map(str::to_owned);
    assert!(line.is_some_and(|line| !line.contains("queries: 0,")), "{}", clusters(gateway, &[]));
    (id, link)
}

#[test]
fn routing_draining_and_a_cluster_that_dies() {
    let mut second = Second::start();
    let gateway = gateway(second.http);
    let admin = gateway.signed_in("admin");
    assert!(
        within(Duration::from_secs(30), || (gateway.admin().get("/ready").status == 200).then_some(()))
            .is_some()
    );

    // Rules, and what clients may choose.
    let etl = || gateway.signed_in("admin").with("X-Trino-Source", "Airflow 3");
    let chosen = || gateway.signed_in("admin").with("X-Trino-Routing-Group", "etl");
    for _ in 0..3 {
        for client in [etl(), chosen()] {
            let answer = client.query(QUICK);
            assert_eq!(ran_at(&gateway, &answer.id), "green", "{answer:?}");
        }
    }
    let spread: Vec<String> = (0..8).map(|_| ran_at(&gateway, &admin.query(QUICK).id)).collect();
    assert!(spread.iter().any(|cluster| cluster == "blue"), "{spread:?}");
    assert!(spread.iter().any(|cluster| cluster == "green"), "{spread:?}");

    // A transaction stays where it began.
    let begun = gateway.signed_in("admin").with("X-Trino-Transaction-Id", "NONE").submit("START TRANSACTION");
    let (mut transaction, mut page) =
        (begun.header("x-trino-started-transaction-id").map(str::to_owned), begun.page());
    while let Some(next) = page["nextUri"].as_str() {
        let response = admin.get(&path_of(next));
        transaction = transaction.or(response.header("x-trino-started-transaction-id").map(str::to_owned));
        page = response.page();
    }
    let began_at = ran_at(&gateway, page["id"].as_str().expect("an id"));
    let within_it = || {
        gateway.signed_in("admin").with("X-Trino-Transaction-Id", transaction.clone().expect("a transaction"))
    };
    for _ in 0..4 {
        assert_eq!(ran_at(&gateway, &within_it().query(QUICK).id), began_at);
    }
    let of_another =
        gateway.signed_in("eva").with("X-Trino-Transaction-Id", transaction.clone().expect("one"));
    assert!(of_another.query(QUICK).failure().contains("does not exist any more"));

    drained_under_load(&gateway, &etl());
    killed(&gateway, &mut second, &etl());
}

/// Runs `act` while many queries run, some before it and some after; none may fail.
fn under_load(gateway: &Gateway, act: impl FnOnce()) -> Vec<String> {
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let client = gateway.signed_in("admin");
                    let mut ids = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.query(QUICK);
                        ids.push(answer.id.clone());
                        assert_eq!(answer.value(), 15_000);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    ids
                })
            })
            .collect();
        let more = |number: usize| {
            let enough = count.load(Ordering::Relaxed) + number;
            let done = || (count.load(Ordering::Relaxed) >= enough).then_some(());
            assert!(within(Duration::from_mins(2), done).is_some(), "queries do not end");
        };
        more(6);
        act();
        more(12);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().flat_map(|worker| worker.join().expect("no query fails")).collect()
    })
}

fn drained_under_load(gateway: &Gateway, etl: &Client) {
    let (long, link) = running(gateway, etl, "green");
    let ids = under_load(gateway, || {
        let said = clusters(gateway, &["drain", "green"]);
        assert!(said.contains("green: draining (configured: active)"), "{said}");
        assert!(said.contains("no cluster of the group etl is active"), "{said}");
    });
    assert!(ids.len() >= 18, "{} queries", ids.len());
    let refused = etl.query(QUICK);
    assert!(refused.failure().contains("No Trino cluster can take the query"), "{}", refused.failure());
    let admin = gateway.signed_in("admin");
    for _ in 0..5 {
        assert_eq!(ran_at(gateway, &admin.query(QUICK).id), "blue");
    }
    // What it has goes on, until its client has had enough.
    assert_eq!(etl.get(&link).page()["id"], long.as_str());
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_cluster_usable{cluster=\"green\"} 0"), "{metrics}");
    assert!(metrics.contains("northgate_cluster_usable{cluster=\"blue\"} 1"));
    let next = path_of(etl.get(&link).page()["nextUri"].as_str().expect("it runs"));
    assert_eq!(etl.send("DELETE", &next, b"").status, 204);
    let empty = || {
        clusters(gateway, &[]).contains("green: draining (configured: active), well, Trino 476, queries: 0,")
    };
    assert!(
        within(Duration::from_secs(20), || empty().then_some(())).is_some(),
        "{}",
        clusters(gateway, &[])
    );
    let on_record = gateway.audit().into_iter().any(|record| {
        record["type"] == "administration" && record["detail"] == "green: draining; it was active"
    });
    assert!(on_record, "it is in the audit");
    // By the configuration, and back.
    clusters(gateway, &["reset", "green"]);
    assert_eq!(ran_at(gateway, &etl.query(QUICK).id), "green");
    let file = gateway.folder.path().join("northgate.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let rewrite = |from: &str, to: &str| replace(&file, &text, from, to);
    rewrite("groups = [\"adhoc\", \"etl\"]", "groups = [\"adhoc\", \"etl\"]\nstate = \"draining\"");
    let rejected = gateway.admin().send("POST", "/reload", b"");
    assert_eq!(rejected.status, 422);
    assert!(rejected.text().contains("no cluster of the group 'etl' is active"), "{}", rejected.text());
    rewrite("sources = [\"airflow*\"]\ngroup = \"etl\"", "sources = [\"airflow*\"]\ngroup = \"adhoc\"");
    assert_eq!(gateway.admin().send("POST", "/reload", b"").status, 200);
    let spread: Vec<String> = (0..8).map(|_| ran_at(gateway, &etl.query(QUICK).id)).collect();
    assert!(spread.iter().any(|cluster| cluster == "blue"), "{spread:?}");
    std::fs::write(&file, &text).expect("the folder is ours");
    assert_eq!(gateway.admin().send("POST", "/reload", b"").status, 200);
    let key = std::fs::read_to_string(gateway.folder.path().join("admin.key")).expect("a key");
    let path = "/clusters/green?state=inactive";
    assert_eq!(gateway.admin().send("POST", path, b"").status, 401, "not without the key");
    let wrong = gateway.admin().bearer(key.trim()).send("POST", "/clusters/grey?state=inactive", b"");
    assert_eq!(
        (wrong.status, wrong.text().trim()),
        (404, "there is no cluster 'grey'; there are blue, green")
    );
}

fn replace(file: &Path, text: &str, from: &str, to: &str) {
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).expect("the folder is ours");
}

fn killed(gateway: &Gateway, second: &mut Second, etl: &Client) {
    let (_, link) = running(gateway, etl, "green");
    second.process.signal("KILL");
    let admin = gateway.signed_in("admin");
    // None of those that come now has been taken by anybody: all of them run at the other.
    for _ in 0..20 {
        let answer = admin.query(QUICK);
        let id = answer.id.clone();
        assert_eq!(answer.value(), 15_000);
        assert_eq!(ran_at(gateway, &id), "blue");
    }
    // The one that was taken fails, in time, and says so.
    let start = Instant::now();
    let lost: Answer = etl.follow(etl.get(&link));
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    let failure = lost.failure();
    assert!(failure.contains("Trino"), "{failure}");
    let refused = etl.query(QUICK).failure();
    assert!(refused.contains("was not run"), "{refused}");
    let doubtful = || {
        let said = clusters(gateway, &[]);
        (said.contains("green: active, not answering") || said.contains("green: active, left out"))
            .then_some(())
    };
    assert!(within(Duration::from_secs(30), doubtful).is_some(), "{}", clusters(gateway, &[]));
    assert_eq!(gateway.admin().get("/ready").status, 200, "the other is well");
    let outcomes = gateway.audit().into_iter().filter(|record| record["type"] == "outcome").count();
    let intents = gateway.audit().into_iter().filter(|record: &Value| record["type"] == "intent").count();
    assert_eq!(outcomes, intents, "each intent has its outcome");
}
