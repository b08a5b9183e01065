//! Answers on a disk below the memory: more of them, sealed, bounded, and never in the way of a query.

use std::path::PathBuf;
use std::time::Duration;

use super::{Asked, ask_with, direct, settings};
use crate::harness::Gateway;
use crate::harness::barn::barn;
use crate::harness::process::within;

/// A share of the memory is a few of the answers here.
const DISK: &str = "[cache]\nmin_time = \"0s\"\nmemory = \"1MiB\"\nper_principal = \"128KiB\"\nmax_result = \"256kB\"\n\
                    [cache.disk]\nfolder = \"answers\"\nsize = \"64MiB\"\n";

/// A table with texts, and a query of each thousand of them.
fn questions(table: &str, count: u32) -> Vec<String> {
    assert!(barn().table(table));
    direct(&format!(
        "INSERT INTO barn.crm.{table} SELECT orderkey, comment, 'EU', orderdate, NULL FROM tpch.tiny.orders"
    ));
    let sql = |n| {
        format!(
            "SELECT id, name AS said_in_confidence FROM barn.crm.{table} WHERE id / 4000 = {n} ORDER BY id"
        )
    };
    (0..count).map(sql).collect()
}

fn ask(gateway: &Gateway, sql: &str) -> Asked {
    ask_with(gateway, "otto", sql, &[])
}

/// Asks each, and waits until so many answers were written.
fn filled(gateway: &Gateway, sqls: &[String]) -> Vec<Asked> {
    let asked = |(at, sql): (usize, &String)| {
        let asked = ask(gateway, sql);
        assert_eq!(asked.said, "miss");
        let there = || (gateway.metric("cache_disk_entries") == at as u64 + 1).then_some(());
        assert!(within(Duration::from_secs(20), there).is_some(), "{sql} is not written: {}", gateway.log());
        asked
    };
    sqls.iter().enumerate().map(asked).collect()
}

#[test]
fn what_memory_has_no_room_for_is_given_again() {
    let sqls = questions("on_disk", 15);
    let gateway = Gateway::start(settings(DISK));
    let first = filled(&gateway, &sqls);
    let in_memory = gateway.metric("cache_entries");
    assert!(in_memory < 10, "{in_memory} of 15");
    let files = |gateway: &Gateway| {
        let listed = std::fs::read_dir(gateway.folder.path().join("answers")).expect("a folder");
        let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| file.extension().is_some());
        files.sort_by_key(|file| {
            file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok())
        });
        files
    };
    let there = files(&gateway);
    assert_eq!(there.len(), 15);
    let sealed = std::fs::read(&there[0]).expect("a file");
    assert!(!sealed.windows(10).any(|part| part == b"confidence"), "it can be read");

    // The oldest are not in memory any more: one is whole, one is cut, one is changed, one is another's.
    let mut changed = std::fs::read(&there[2]).expect("a file");
    *changed.last_mut().expect("not empty") ^= 1;
    std::fs::write(&there[1], &sealed[..sealed.len() / 2]).expect("written");
    std::fs::write(&there[2], changed).expect("written");
    std::fs::write(&there[3], &sealed).expect("written");
    for (at, said) in ["hit", "miss", "miss", "miss"].into_iter().enumerate() {
        let asked = ask(&gateway, &sqls[at]);
        assert_eq!((asked.said.as_str(), asked.rows == first[at].rows), (said, true), "{at}");
    }
    assert_eq!(gateway.metric("cache_answers_total{outcome=\"corrupt\"}"), 3);

    // A commit makes nothing of it the answer.
    direct("DELETE FROM barn.crm.on_disk WHERE id = 1");
    let asked = ask(&gateway, &sqls[0]);
    assert_eq!((asked.said.as_str(), asked.rows.len() + 1), ("miss", first[0].rows.len()));
}

#[test]
fn a_full_disk_fails_no_query() {
    let sqls = questions("on_full_disk", 4);
    let mut settings = settings(DISK);
    settings.other_disk = Some(("answers", 64));
    let gateway = Gateway::start(settings);
    for sql in &sqls {
        let asked = ask(&gateway, sql);
        assert_eq!(asked.said, "miss");
        let again = || Some(ask(&gateway, sql)).filter(|asked| asked.said == "hit");
        assert_eq!(within(Duration::from_secs(20), again).expect("it is in memory").rows, asked.rows);
    }
    let failed = || (gateway.metric("cache_disk_failures_total") == 4).then_some(());
    assert!(within(Duration::from_secs(20), failed).is_some(), "{}", gateway.admin().get("/metrics").text());
    assert_eq!(gateway.metric("cache_disk_entries"), 0);
    // Once there is room, it is used.
    let pid = gateway.process.lock().expect("no panic in a lock").pid();
    let folder = format!("/proc/{pid}/root{}/answers", gateway.folder.path().display());
    let left: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert!(left.iter().all(|name| name == "lock" || name == "ballast"), "half an answer is left: {left:?}");
    std::fs::remove_file(format!("{folder}/ballast")).expect("room can be made");
    direct("DELETE FROM barn.crm.on_full_disk WHERE id = 1");
    filled(&gateway, &sqls[..1]);
}
