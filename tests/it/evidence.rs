//! What stays of the audit when the gateway is killed, and what an auditor can prove with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::double::{Double, json};
use crate::harness::gateway::binary;
use crate::harness::http::path_of;
use crate::harness::process::{run_stack, within};
use crate::harness::{Gateway, Settings};

/// Runs `northgate audit`.
fn audit(arguments: &[&str]) -> Output {
    binary().arg("audit").args(arguments).output().expect("the binary runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A gateway whose audit is in `folder`, and signs checkpoints often.
fn over(folder: &Path) -> Gateway {
    let mut settings = Settings::new();
    settings.audit = Some(folder.to_owned());
    settings.environment.push(("NORTHGATE__AUDIT__CHECKPOINT_EVERY", "200ms".to_owned()));
    Gateway::start(settings)
}

fn kill(gateway: &Gateway) {
    let mut process = gateway.process.lock().expect("no panic in a lock");
    process.signal("KILL");
    process.wait(Duration::from_secs(10)).expect("it is dead");
}

#[test]
fn a_query_that_a_kill_cut_off_gets_an_outcome_from_trino() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    let gateway = over(&folder);
    let sql = "SELECT count(*), 'cut-off' FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment";
    let admin = gateway.signed_in("admin");
    let mut page = admin.submit(sql).page();
    let id = page["id"].as_str().expect("an id").to_owned();
    // Trino begins a query when its first link is asked for.
    for _ in 0..3 {
        page = admin.get(&path_of(page["nextUri"].as_str().expect("it runs long"))).page();
    }
    gateway.signed_in("eva").query("SELECT 1").rows();
    let checkpoint = || fs::read(folder.join("checkpoint")).ok();
    let handed_out = within(Duration::from_secs(10), checkpoint).expect("a checkpoint");
    kill(&gateway);
    let kept = temp.path().join("kept");
    fs::write(&kept, handed_out).expect("written");
    drop(gateway);

    let again = over(&folder);
    let records = || {
        let records = again.audit_of(&id, |records| !records.is_empty());
        records.into_iter().find(|record| record["type"] == "outcome")
    };
    let outcome = within(Duration::from_secs(30), records).expect("an outcome");
    assert_eq!(outcome["state"], "unknown", "{outcome}");
    assert!(outcome["trino_query"].as_str().is_some_and(|id| id.contains('_')), "{outcome}");
    assert!(outcome["trino_state"].is_string(), "{outcome}");
    again.process.lock().expect("no panic in a lock").signal("TERM");
    again.process.lock().expect("no panic in a lock").wait(Duration::from_secs(30)).expect("it ends");
    let left: Vec<Value> = again.audit();
    let count = |kind: &str| left.iter().filter(|record| record["type"] == kind).count();
    assert_eq!(count("intent"), count("outcome"), "each intent has its outcome");
    let verified = audit(&["verify", text(&folder), "--checkpoint", text(&kept)]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.contains(" 0 faults"), "{said}");

    // And one byte of one record.
    let bundle = folder.join(format!("tile/entries/000.p/{}", left.len()));
    let mut bytes = fs::read(&bundle).expect("the last bundle");
    bytes[100] ^= 1;
    fs::write(&bundle, bytes).expect("written");
    let verified = audit(&["verify", text(&folder)]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    assert!(said.starts_with("record 0 (tile/entries/000.p/"), "{said}");
    trino_cancel(&outcome);
}

/// Ends what the killed gateway could not.
fn trino_cancel(outcome: &Value) {
    let id = outcome["trino_query"].as_str().expect("an id");
    let sql = format!("CALL system.runtime.kill_query(query_id => '{id}', message => 'a test is over')");
    crate::harness::trino().query(&sql);
}

/// Runs `northgate audit verify`, which must find nothing wrong, and gives what it says.
fn verified(place: &Path, more: &[PathBuf]) -> String {
    let mut arguments = vec!["verify", text(place)];
    more.iter().for_each(|note| arguments.extend(["--checkpoint", text(note)]));
    let output = audit(&arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains(" 0 faults"), "{said}");
    said
}

/// How often the gateway is killed: `NORTHGATE_KILLS`, else 20 times.
fn kills() -> u64 {
    std::env::var("NORTHGATE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

/// Puts a gateway under load, kills it that long after its first answer, and keeps the checkpoints that it handed out.
fn load(gateway: &Gateway, folder: &Path, next: &AtomicU64, moment: Duration, notes: &mut BTreeSet<Vec<u8>>) {
    let (over, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while over.load(Ordering::Relaxed) == 0 {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let client = gateway.signed_in("admin");
                    // It may be killed before it answers.
                    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        client.send("POST", "/v1/statement", format!("SELECT 'kill-{n}-'").as_bytes()).status
                    }));
                    if sent.is_err() {
                        return;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let load = || (answered.load(Ordering::Relaxed) > 0).then_some(());
        within(Duration::from_secs(20), load).expect("it answers");
        let until = Instant::now() + moment;
        while Instant::now() < until {
            notes.extend(fs::read(folder.join("checkpoint")));
            thread::sleep(Duration::from_millis(2));
        }
        notes.extend(fs::read(folder.join("checkpoint")));
        gateway.process.lock().expect("no panic in a lock").signal("KILL");
        over.store(1, Ordering::Relaxed);
    });
    gateway.process.lock().expect("no panic in a lock").wait(Duration::from_secs(10)).expect("it is dead");
}

/// Go's own implementation finds the same, and what is wrong, too.
fn others_agree(folder: &Path, said: &str) {
    let key = fs::read_to_string(folder.join("verifier")).expect("the key");
    let told = run_stack(&["tlog", text(folder), key.trim()]);
    assert!(said.contains(told.split(" and ").next().expect("a number")), "{said} {told}");
    let mut flipped = fs::read(folder.join("tile/entries/000")).expect("a bundle");
    flipped[50] ^= 1;
    fs::write(folder.join("tile/entries/000"), flipped).expect("written");
    let output =
        std::process::Command::new(crate::harness::stack()).args(["tlog", text(folder), key.trim()]).output();
    let output = output.expect("it runs");
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("record 0"),
        "{output:?}"
    );
}

#[test]
fn kills_at_any_moment_under_load_lose_nothing_that_trino_saw() {
    let double = Double::start(|request| {
        let body = r#"{"id":"20260101_000000_00000_aaaaa","columns":[],"stats":{"state":"FINISHED"}}"#;
        if request.starts_with("POST") { json("200 OK", body) } else { json("200 OK", "{}") }
    });
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    let start = || {
        let mut settings = Settings::for_upstream(&double.url());
        settings.audit = Some(folder.clone());
        settings.more = "[admission]\nsubmits_per_second = 100000\n".to_owned();
        settings.environment = vec![
            ("NORTHGATE__AUDIT__CHECKPOINT_EVERY", "50ms".to_owned()),
            ("NORTHGATE__AUDIT__FILE_SIZE", "20kB".to_owned()),
        ];
        Gateway::start(settings)
    };
    let next = AtomicU64::new(0);
    let mut notes: BTreeSet<Vec<u8>> = BTreeSet::new();
    // Moments that are spread by the golden ratio over more than half a second, from the first answer on.
    let moment = |turn: u64| Duration::from_millis(turn * 618 % 599);
    for turn in 0..kills() {
        let gateway = start();
        load(&gateway, &folder, &next, moment(turn), &mut notes);
    }
    let gateway = start();
    let outcomes = || {
        let records = gateway.audit();
        let count = |kind: &str| records.iter().filter(|record| record["type"] == kind).count();
        (count("intent") == count("outcome")).then_some(records)
    };
    let records = within(Duration::from_secs(90), outcomes).expect("each intent gets an outcome");
    let intended: BTreeMap<&str, u32> = records.iter().filter(|record| record["type"] == "intent").fold(
        BTreeMap::new(),
        |mut all, record| {
            *all.entry(record["text"].as_str().expect("text")).or_default() += 1;
            all
        },
    );
    let seen = double.requests();
    let seen: Vec<&str> = seen
        .iter()
        .filter(|request| request.starts_with("POST /v1/statement"))
        .filter_map(|request| Some(&request[request.find("SELECT 'kill-")?..]))
        .collect();
    assert!(seen.len() as u64 > kills(), "there was no load: {}", seen.len());
    for statement in &seen {
        let intents =
            intended.iter().filter(|(text, _)| statement.starts_with(*text)).map(|(_, n)| n).sum::<u32>();
        assert_eq!(intents, 1, "Trino saw {statement:?}");
    }
    gateway.process.lock().expect("no panic in a lock").signal("TERM");
    gateway.process.lock().expect("no panic in a lock").wait(Duration::from_secs(30)).expect("it ends");
    let kept: Vec<PathBuf> = notes
        .iter()
        .enumerate()
        .map(|(at, note)| {
            let path = temp.path().join(format!("note-{at}"));
            fs::write(&path, note).expect("written");
            path
        })
        .collect();
    assert!(!kept.is_empty(), "no checkpoint was handed out");
    let said = verified(&folder, &kept);
    others_agree(&folder, &said);
}

#[test]
fn an_export_is_read_by_others() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    let gateway = over(&folder);
    gateway.signed_in("eva").query("SELECT id, ssn FROM lake.silver.customers WHERE id < 50").rows();
    gateway.signed_in("eva").query("SELECT * FROM lake.bronze.customers").failure();
    gateway.signed_in("admin").query("SELECT 'ü, \"quoted\"\n' FROM lake.silver.customers").rows();
    gateway.process.lock().expect("no panic in a lock").signal("TERM");
    gateway.process.lock().expect("no panic in a lock").wait(Duration::from_secs(30)).expect("it ends");
    let config = gateway.folder.path().join("northgate.toml");
    let run = |arguments: &[&str]| {
        let output = audit(&[arguments, &["--config", text(&config)]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for format in ["jsonl", "csv", "parquet"] {
        let to = temp.path().join(format);
        run(&["export", "--format", format, "--from", "2026-01-01", "--output", text(&to)]);
        verified(&to, &[folder.join("checkpoint")]);
    }
    let read: Value =
        serde_json::from_str(&run_stack(&["parquet", text(&temp.path().join("parquet/records.parquet"))]))
            .expect("JSON");
    assert_eq!(read["rows"], gateway.audit().len(), "{read}");
    assert_eq!(
        (&read["numbers"], &read["same"], &read["denied"]),
        (&true.into(), &true.into(), &1.into()),
        "{read}"
    );
    assert_eq!(read["types"]["time"], "timestamp[us, tz=UTC]", "{read}");

    let found = run(&["search", "--user", "eva", "--table", "lake.silver.*"]);
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(run(&["report", "denials"]).contains("lake.bronze.customers"));
    assert!(run(&["report", "pii", "--tag", "contact"]).lines().count() == 1, "nobody asked for it");
    let who = run(&["report", "access", "--table", "lake.silver.customers", "--csv"]);
    assert!(who.contains("\"eva\",\"lake.silver.customers\",\"id,ssn\",\"1\",\"25\""), "{who}");
    assert!(run(&["report", "privileged"]).contains("start"));
    // Who did that is on record when the gateway runs again, and while it does.
    let mut settings = Settings::new();
    settings.audit = Some(folder.clone());
    let again = Gateway::start(settings);
    let noted = |action: &str, detail: &str| {
        let is_it = |record: &Value| {
            record["action"] == action && record["detail"].as_str().is_some_and(|text| text.contains(detail))
        };
        again.audit().into_iter().find(|record| is_it(record))
    };
    for (action, detail) in
        [("audit_export", "from 2026-01-01"), ("audit_search", "user eva"), ("audit_report", "Denials")]
    {
        let record = within(Duration::from_secs(10), || noted(action, detail))
            .unwrap_or_else(|| panic!("no {action}"));
        assert!(record["by"].as_str().is_some_and(|by| by.starts_with("uid ")), "{record}");
    }
    run(&["search", "--user", "nora"]);
    assert!(
        within(Duration::from_secs(10), || noted("audit_search", "user nora")).is_some(),
        "while it runs"
    );
}

#[test]
fn two_gateways_do_not_share_a_folder() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    let _first = over(&folder);
    let mut settings = Settings::new();
    settings.audit = Some(folder.clone());
    let mut second = Gateway::launch(settings);
    let status = second.process.get_mut().expect("no panic in a lock").wait(Duration::from_secs(20));
    assert!(status.is_some_and(|status| status != 0), "it runs");
    assert!(second.log().contains("another process uses the audit folder"), "{}", second.log());
}
