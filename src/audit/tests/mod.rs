//! The audit's promises, on a disk that fails on command and on real ones.

mod disk;
mod real;
mod shredding;
mod starts;
mod tampering;

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;

use super::*;
use disk::Disk;

pub(super) fn config() -> Config {
    Config {
        timeout: Span(Duration::from_secs(30)),
        in_flight: ByteSize(4_000_000),
        kept: ByteSize(4_000_000),
        record_size: ByteSize(3_000_000),
        ..Config::default()
    }
}

pub(super) fn intent(query: &str) -> Intent {
    Intent {
        query: query.into(),
        asker: Asker { principal: "ann".into(), auth_method: "jwt".into(), ..Asker::default() },
        asked: Asked { text: "SELECT 1".into(), ..Asked::default() },
        decision: "allowed".into(),
        ..Intent::default()
    }
}

fn login_failed() -> Event {
    let reason = Reason { reason: "bad_credentials".into(), detail: String::new() };
    Event::LoginFailed {
        claimed: None,
        auth_method: "password".into(),
        peer: "[::1]:1".into(),
        proxy: None,
        reason,
    }
}

/// `type query` of each line, with the sequence numbers checked to have no gaps from `first`, and each to be as the schema
/// has it.
fn told(text: &str, first: u64) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text:?}");
    let schema = schema::schema();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
    lines
        .zip(first..)
        .map(|(line, seq)| {
            assert_eq!(line["seq"], seq, "{text}");
            schema::tests::holds(&schema, &line).expect("as the schema has it");
            let end = line["state"].as_str().or(line["reason"].as_str()).unwrap_or_default();
            format!(
                "{} {} {end}",
                line["type"].as_str().expect("a type"),
                line["query"].as_str().unwrap_or("-")
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn audit(disk: &Disk, config: &Config) -> Audit {
    Audit::with_store(Box::new(disk.clone()), config).expect("opened")
}

#[tokio::test]
async fn an_intent_is_durable_before_it_returns() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &config());
    disk.set(|s| s.frozen = true);
    let mut waiting = Box::pin(audit.intend(intent("q1")));
    assert!((&mut waiting).now_or_never().is_none());
    until("the line is written", || !disk.state().files[0].0.is_empty()).await;
    assert!((&mut waiting).now_or_never().is_none(), "it returned before the disk had it");
    assert_eq!(disk.durable(), [""]);
    disk.set(|s| s.frozen = false);
    let guard = waiting.await.expect("recorded");
    assert_eq!(told(&disk.durable()[0], 1), ["intent q1"]);
    guard.started("20261123_000000_00001_abcde", "main");
    guard.add(3, 70);
    guard.add(2, 30);
    assert!(guard.finish(&Outcome::failed("DIVISION_BY_ZERO", "Division by zero: 4711")));
    assert!(!guard.finish(&Outcome::of(State::Canceled)), "the first outcome counts");
    drop(guard);
    audit.close().await.expect("closed");
    let text = disk.durable().concat();
    assert_eq!(told(&text, 1), ["intent q1", "outcome q1 failed", "stop -"]);
    let outcome: Value = serde_json::from_str(text.lines().nth(1).expect("a line")).expect("JSON");
    assert_eq!(outcome["trino_query"], "20261123_000000_00001_abcde");
    assert_eq!((&outcome["rows"], &outcome["bytes"]), (&5.into(), &100.into()));
    assert_eq!(outcome["message_sha256"].as_str().map(str::len), Some(64));
    assert!(!text.contains("4711"), "a message may hold values of rows");
}

#[tokio::test]
async fn one_sync_serves_everybody_who_waits() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &config());
    disk.set(|s| s.frozen = true);
    let all = futures_util::future::join_all((0..100).map(|n| audit.intend(intent(&format!("q{n}")))));
    let mut all = Box::pin(all);
    assert!((&mut all).now_or_never().is_none());
    disk.set(|s| s.frozen = false);
    assert!(all.await.iter().all(Result::is_ok));
    assert!(disk.state().syncs <= 3, "{} syncs for 100 records", disk.state().syncs);
}

#[tokio::test]
async fn whoever_goes_away_is_recorded() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &config());
    drop(audit.intend(intent("q1")).await.expect("recorded"));
    disk.set(|s| s.frozen = true);
    let mut waiting = Box::pin(audit.intend(intent("q2")));
    assert!((&mut waiting).now_or_never().is_none());
    drop(waiting);
    disk.set(|s| s.frozen = false);
    audit.close().await.expect("closed");
    let mut all = told(&disk.durable().concat(), 1);
    all.sort();
    let expect = ["intent q1", "intent q2", "outcome q1 abandoned", "outcome q2 abandoned", "stop -"];
    assert_eq!(all, expect);
}

/// What goes wrong, and what of the first file is there afterwards.
#[tokio::test]
async fn a_broken_disk_refuses_queries_and_loses_nothing() {
    async fn check(name: &str, fault: impl FnOnce(&mut disk::State), files: usize, first: u64) {
        let disk = Disk::new(usize::MAX);
        let audit = audit(&disk, &config());
        let running = audit.intend(intent("q1")).await.expect("recorded");
        disk.set(fault);
        let refused = audit.intend(intent("q2")).await.expect_err(name);
        assert_eq!(refused.kind(), "audit_unavailable", "{name}");
        assert!(!audit.healthy(), "{name}");
        assert!(matches!(audit.intend(intent("q3")).await, Err(AuditError::Unavailable)), "{name}");
        assert!(audit.record(&login_failed()).await.is_err(), "{name}");
        running.finish(&Outcome::of(State::Finished));
        until("the outcome is kept", || audit.status().held == 4).await;
        assert_eq!(audit.status().refused, 2, "{name}");
        disk.set(|s| (s.room, s.fail_sync, s.fail_cut) = (usize::MAX, false, false));
        until("it recovers", || audit.healthy()).await;
        assert_eq!(audit.status().held, 0, "{name}");
        drop(audit.intend(intent("q4")).await.expect("recorded again"));
        audit.close().await.expect("closed");
        let durable = disk.durable();
        assert_eq!(durable.len(), files, "{name}: {durable:?}");
        assert_eq!(told(&durable[0], 1)[..1], ["intent q1"], "{name}");
        let rest = durable.concat();
        let (_, rest) = rest.split_once('\n').expect("a line");
        let expect = [
            "gap -",
            "refused q2 audit_unavailable",
            "refused q3 audit_unavailable",
            "login_failed - bad_credentials",
            "outcome q1 finished",
            "intent q4",
            "outcome q4 abandoned",
            "stop -",
        ];
        assert_eq!(told(rest, first), expect, "{name}");
    }
    let full = |s: &mut disk::State| s.room = s.files[0].0.len() + 40;
    check("a full disk", full, 1, 2).await;
    check("a failing sync", |s| s.fail_sync = true, 2, 2).await;
    let stuck = |s: &mut disk::State| {
        full(s);
        s.fail_cut = true;
    };
    // The number of the half-written record is not given again. (Its own retries burn none: the disk is full.)
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &config());
    drop(audit.intend(intent("q1")).await.expect("recorded"));
    until("both are durable", || disk.durable()[0].lines().count() == 2).await;
    disk.set(stuck);
    assert!(audit.intend(intent("q2")).await.is_err());
    disk.set(|s| (s.room, s.fail_cut) = (usize::MAX, false));
    until("it recovers", || audit.healthy()).await;
    audit.close().await.expect("closed");
    let durable = disk.durable();
    assert_eq!(told(&durable[0], 1), ["intent q1", "outcome q1 abandoned"]);
    let last = durable.last().expect("a file");
    let first: Value = serde_json::from_str(last.lines().next().expect("a line")).expect("JSON");
    assert!(durable.len() > 1 && first["seq"].as_u64() > Some(3), "{durable:?}");
}

#[tokio::test]
async fn what_memory_cannot_hold_is_counted() {
    let disk = Disk::new(0);
    let small = Config { kept: ByteSize(3072), record_size: ByteSize(2048), ..config() };
    let audit = audit(&disk, &small);
    assert!(audit.intend(intent("q1")).await.is_err());
    for _ in 0..2 {
        assert!(audit.record(&login_failed()).await.is_err());
    }
    assert!(matches!(audit.record(&login_failed()).await, Err(AuditError::Full)));
    let mut large = intent("q2");
    large.asked.text = "x".repeat(3000);
    audit.keep(&Event::Refused {
        query: "q2".into(),
        asker: large.asker,
        asked: large.asked,
        reason: Reason::default(),
    });
    assert_eq!(audit.status().lost, 2);
    disk.set(|s| s.room = usize::MAX);
    until("it recovers", || audit.healthy()).await;
    audit.close().await.expect("closed");
    let text = disk.durable().concat();
    let gap: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&gap["type"], &gap["held"], &gap["lost"]), (&"gap".into(), &3.into(), &2.into()));
}

#[tokio::test]
async fn outcomes_have_their_place_before_the_query_runs() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &Config { kept: ByteSize(3072), record_size: ByteSize(2048), ..config() });
    let mut guards = Vec::new();
    for n in 0..3 {
        guards.push(audit.intend(intent(&format!("q{n}"))).await.expect("recorded"));
    }
    assert!(matches!(audit.intend(intent("q3")).await, Err(AuditError::Full)));
    guards.clear();
    // The refusal found no room: the journal says that one record is missing.
    until("their outcomes are durable", || disk.durable()[0].lines().count() == 7).await;
    assert!(disk.durable()[0].contains("\"lost\":1"), "{}", disk.durable()[0]);
    assert!(audit.intend(intent("q4")).await.is_ok());
}

#[tokio::test]
async fn a_large_record_is_refused_and_a_hanging_disk_is_not_waited_for() {
    let disk = Disk::new(usize::MAX);
    let hasty = Config { timeout: Span(Duration::from_millis(50)), ..config() };
    let audit = audit(&disk, &hasty);
    let mut large = intent("q1");
    large.rewritten = "x".repeat(3_000_000);
    let error = audit.intend(large).await.expect_err("too large");
    assert_eq!(error.kind(), "audit_too_large");
    disk.set(|s| s.frozen = true);
    assert!(matches!(audit.intend(intent("q2")).await, Err(AuditError::Slow(_))));
    until("it is not healthy", || !audit.healthy()).await;
    disk.set(|s| s.frozen = false);
    until("it is healthy again", || audit.healthy()).await;
    drop(audit);
    until("all is written", || disk.durable().concat().contains("AUDIT_SLOW")).await;
    let mut all = told(&disk.durable().concat(), 1);
    all.sort();
    let expect = ["intent q2", "outcome q2 failed", "refused q1 audit_too_large", "refused q2 audit_slow"];
    assert_eq!(all, expect);
}

#[tokio::test]
async fn a_dead_writer_refuses() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &config());
    disk.set(|s| s.panic = true);
    assert!(matches!(audit.intend(intent("q1")).await, Err(AuditError::Unavailable)));
    until("it is not healthy", || !audit.healthy()).await;
    assert!(audit.intend(intent("q2")).await.is_err());
    assert!(audit.close().await.is_err());
}

#[tokio::test]
async fn files_are_turned_by_size() {
    let disk = Disk::new(usize::MAX);
    let audit = audit(&disk, &Config { file_size: ByteSize(1), ..config() });
    for n in 0..3 {
        std::mem::forget(audit.intend(intent(&format!("q{n}"))).await.expect("recorded"));
    }
    let durable = disk.durable();
    assert_eq!(durable.iter().map(|f| f.lines().count()).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(told(&durable.concat(), 1), ["intent q0", "intent q1", "intent q2"]);
}

#[test]
fn text_survives_json_lines() {
    let check = |text: &str| {
        let mut given = intent("q\"1");
        given.asked.text = text.to_owned();
        given.asker.groups = vec![text.to_owned()];
        let mut line = Vec::new();
        Body::intent(7, &given).expect("a body").write("ab", 9, &mut line);
        let line = String::from_utf8(line).expect("UTF-8");
        assert_eq!(line.matches(['\n', '\r', '\0']).count(), 1, "one line: {line:?}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["text"], text);
        assert_eq!(value["groups"][0], text);
        assert_eq!(value["query"], "q\"1");
        let keys: Vec<&str> =
            value.as_object().expect("an object").keys().map(String::as_str).take(6).collect();
        assert_eq!(keys, ["v", "run", "seq", "time", "tick_us", "type"]);
    };
    check("SELECT 'a\"b\\c'\r\n-- \u{2028}\0\u{1b}[31m\u{7f}");
    check("\"}\n{\"v\":1,\"type\":\"intent\"}");
    check("\u{fffd}💥");
    check(&"\u{1}".repeat(1_000_000));
}

#[test]
fn a_claimed_name_is_cut() {
    let reason = Reason::default();
    let event = |name: String| Event::LoginFailed {
        claimed: Some(name),
        auth_method: "password".into(),
        peer: String::new(),
        proxy: None,
        reason: reason.clone(),
    };
    let short = Body::event(1, &event("\u{e9}".repeat(256))).expect("a body");
    let long = Body::event(1, &event("\u{e9}".repeat(100_000))).expect("a body");
    assert_eq!(short.len(), long.len());
}

#[test]
fn limits_must_fit() {
    let wrong = Config { in_flight: ByteSize(10), ..config() };
    let disk = Disk::new(0);
    assert!(matches!(Audit::with_store(Box::new(disk), &wrong), Err(AuditError::Config(_))));
}
