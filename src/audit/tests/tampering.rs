//! A log that somebody laid hands on, and what verifying says of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::audit::tree::{entries, push_entry};
use crate::audit::verify::{self, Kept};

/// A log of `count` queries, closed; with the verifier.
async fn log(folder: &Path, count: u64) -> Verifier {
    let config = Config { folder: folder.to_owned(), ..config() };
    let audit = Audit::open(&config).expect("opened");
    for n in 0..count {
        audit.keep(&Event::Reload {
            what: format!("{n}"),
            accepted: true,
            policy_revision: None,
            configuration: None,
            detail: None,
        });
    }
    let verifier = Verifier::new(audit.verifier()).expect("a key");
    audit.close().await.expect("closed");
    verifier
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

fn kept(name: &str, folder: &Path) -> Kept {
    Kept { name: name.to_owned(), note: fs::read(folder.join("checkpoint")).expect("read") }
}

#[tokio::test]
async fn each_way_of_tampering_is_named() {
    let temp = tempfile::tempdir().expect("a folder");
    let old = temp.path().join("old");
    let log_folder = temp.path().join("audit");
    let verifier = log(&log_folder, 10).await;
    copy(&log_folder, &old);
    // Another 600, so that there are two whole bundles and a third that is not: 11 + 601 + 1.
    assert_eq!(log(&log_folder, 600).await.text(), verifier.text());
    let older = kept("kept.note", &old);
    let newer = kept("newer.note", &log_folder);
    let good = verify::folder(&log_folder, &verifier, &[older.clone(), newer.clone()], &[]).expect("read");
    assert_eq!(good.faults, []);
    assert_eq!((good.records, good.pending), (612, 0));
    assert!(good.checkpoints >= 5, "{good:?}");

    let mut turn = 0;
    let mut check = |change: &dyn Fn(&Path), expect: &[&str]| {
        turn += 1;
        let folder = temp.path().join(format!("changed-{turn}"));
        copy(&log_folder, &folder);
        change(&folder);
        let verdict = verify::folder(&folder, &verifier, &[], &[]).expect("read");
        let told: Vec<String> = verdict.faults.iter().map(ToString::to_string).collect();
        assert_eq!(told, expect);
    };
    let rewrite = |path: &'static str, change: fn(&mut Vec<Vec<u8>>)| {
        move |folder: &Path| {
            let path: PathBuf = folder.join(path);
            let bytes = fs::read(&path).expect("read");
            let mut all: Vec<Vec<u8>> = entries(&bytes).map(|entry| entry.expect("whole").to_vec()).collect();
            change(&mut all);
            let mut out = Vec::new();
            all.iter().for_each(|entry| push_entry(&mut out, entry));
            fs::write(path, out).expect("written");
        }
    };
    let first = "tile/entries/000";
    check(&rewrite(first, |all| all[7][20] ^= 1), &["record 7 (tile/entries/000): was changed"]);
    check(
        &rewrite("tile/entries/001", |all| drop(all.remove(4))),
        &["record 260 (tile/entries/001): was removed"],
    );
    let added = |all: &mut Vec<Vec<u8>>| all.insert(4, b"{}".to_vec());
    check(
        &rewrite(first, added),
        &["record 4 (tile/entries/000): one that was never written was put before it"],
    );
    let replayed = |all: &mut Vec<Vec<u8>>| all.insert(9, all[3].clone());
    check(&rewrite(first, replayed), &["record 9 (tile/entries/000): a copy of record 3 was put before it"]);
    let replaced = |all: &mut Vec<Vec<u8>>| all[9] = all[3].clone();
    check(
        &rewrite(first, replaced),
        &["record 9 (tile/entries/000): is gone: a copy of record 3 is in its place"],
    );
    check(
        &rewrite(first, |all| all.swap(5, 6)),
        &[
            "record 5 (tile/entries/000): was put in another place: here is record 6",
            "record 6 (tile/entries/000): was put in another place: here is record 5",
        ],
    );
    let partial = "tile/entries/002.p/100";
    check(&rewrite(partial, |all| all[99][30] ^= 1), &["record 611 (tile/entries/002.p/100): was changed"]);
    let flip = |path: &'static str, at: usize| {
        move |folder: &Path| {
            let path = folder.join(path);
            let mut bytes = fs::read(&path).expect("read");
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("written");
        }
    };
    check(&flip("tile/0/001", 40), &["tile/0/001: is damaged; the records under it are intact"]);
    check(&flip("tile/1/000.p/2", 40), &["tile/1/000.p/2: is not the tile of the records under it"]);
    let remove =
        |path: &'static str| move |folder: &Path| fs::remove_file(folder.join(path)).expect("removed");
    check(&remove("tile/0/000"), &["tile/0/000: is missing"]);
    check(&remove(first), &["tile/entries/000: is missing, with the records 0 to 255"]);
    check(&remove("checkpoint"), &["checkpoint: is missing: nothing says which records there were"]);
    check(
        &flip("checkpoint", 12),
        &[&format!("checkpoint: the checkpoint is not signed by the key {}", verifier.text())],
    );

    // A checkpoint has its line in the history first: between the two, verifying goes by the newer one.
    let between = temp.path().join("between");
    copy(&log_folder, &between);
    fs::write(between.join("checkpoint"), &older.note).expect("written");
    let verdict = verify::folder(&between, &verifier, std::slice::from_ref(&newer), &[]).expect("read");
    assert_eq!((verdict.records, verdict.faults), (612, Vec::new()));

    // A folder that was put back is whole by itself; a checkpoint that somebody kept tells.
    let verdict = verify::folder(&old, &verifier, &[newer], &[]).expect("read");
    let told: Vec<String> = verdict.faults.iter().map(ToString::to_string).collect();
    let expect =
        "newer.note: the log was rolled back: this checkpoint has 612 records, and the log's own has 11";
    assert_eq!(told, [expect]);

    // The same key over other records.
    let fork = temp.path().join("fork/audit");
    fs::create_dir_all(&fork).expect("made");
    fs::copy(log_folder.with_extension("key"), fork.with_extension("key")).expect("copied");
    log(&fork, 300).await;
    assert_eq!(verify::folder(&fork, &verifier, &[], &[]).expect("read").faults, []);
    let verdict = verify::folder(&fork, &verifier, &[older], &[]).expect("read");
    let told: Vec<String> = verdict.faults.iter().map(ToString::to_string).collect();
    let expect = "kept.note: the log was forked: the first 11 records are not those that this checkpoint signed; \
                  the first 0 are as signed";
    assert_eq!(told, [expect]);
}

/// Files of another log in the place of this one's.
#[tokio::test]
async fn files_of_another_log_are_named() {
    let temp = tempfile::tempdir().expect("a folder");
    let good = temp.path().join("audit");
    let verifier = log(&good, 611).await;
    let mut turn = 0;
    let mut check = |change: &dyn Fn(&Path), expect: &[&str]| {
        turn += 1;
        let folder = temp.path().join(format!("changed-{turn}"));
        copy(&good, &folder);
        change(&folder);
        let verdict = verify::folder(&folder, &verifier, &[], &[]).expect("read");
        let told: Vec<String> = verdict.faults.iter().map(ToString::to_string).collect();
        assert_eq!(told, expect);
    };
    let other = temp.path().join("other");
    log(&other, 700).await;
    let swap = |path: &'static str| {
        let from = other.join(path);
        move |folder: &Path| assert!(fs::copy(&from, folder.join(path)).expect("copied") > 0)
    };
    check(
        &swap("checkpoint"),
        &[&format!("checkpoint: the checkpoint is not signed by the key {}", verifier.text())],
    );
    check(&swap("tile/0/000"), &["tile/0/000: is damaged; the records under it are intact"]);
    let all: Vec<String> = (0..256).map(|n| format!("record {n} (tile/entries/000): was changed")).collect();
    check(&swap("tile/entries/000"), &all.iter().map(String::as_str).collect::<Vec<_>>());
    check(
        &|folder| {
            for path in ["checkpoint", "verifier", "tile/0/000", "tile/0/001", "tile/entries/000"] {
                swap(path)(folder);
            }
        },
        &[&format!("checkpoint: the checkpoint is not signed by the key {}", verifier.text())],
    );
}

/// What a start refuses, with a part of the message.
#[tokio::test]
async fn a_start_refuses_a_log_that_was_changed() {
    let temp = tempfile::tempdir().expect("a folder");
    let good = temp.path().join("audit");
    log(&good, 300).await;
    let mut turn = 0;
    let mut check = |change: &dyn Fn(&Path), expect: Option<&str>| {
        turn += 1;
        let folder = temp.path().join(format!("changed-{turn}"));
        copy(&good, &folder);
        fs::copy(good.with_extension("key"), folder.with_extension("key")).expect("copied");
        change(&folder);
        let opened = Audit::open(&Config { folder: folder.clone(), ..config() });
        let told = opened.err().map(|error| error.to_string());
        match expect {
            None => assert_eq!(told, None),
            Some(part) => assert!(told.as_deref().is_some_and(|told| told.contains(part)), "{told:?}"),
        }
    };
    let journal = |folder: &Path| folder.join("audit-00000000000000000000-0.jsonl");
    check(&|_| {}, None);
    check(
        &|folder| {
            let text = fs::read_to_string(journal(folder)).expect("read");
            fs::write(journal(folder), text.replace("\"what\":\"7\"", "\"what\":\"8\"")).expect("written");
        },
        Some("the first 301 records are not those"),
    );
    check(
        &|folder| {
            let text = fs::read_to_string(journal(folder)).expect("read");
            fs::write(journal(folder), &text[..text.len() - 40]).expect("written");
        },
        Some("its last checkpoint has 301 records, and there are 300"),
    );
    check(
        &|folder| fs::remove_file(folder.with_extension("key")).expect("removed"),
        Some("put the key back"),
    );
    // A line that a crash tore behind the checkpoint is nobody's.
    check(
        &|folder| {
            let mut text = fs::read_to_string(journal(folder)).expect("read");
            text.push_str("{\"v\":1,\"ru");
            fs::write(journal(folder), text).expect("written");
        },
        None,
    );
    // Tiles and checkpoint that the crash took with it are made again.
    check(&|folder| fs::remove_dir_all(folder.join("tile")).expect("removed"), None);
}

/// A clock that was far ahead for a time, and a crash while a checkpoint was written to its history.
#[tokio::test]
async fn neither_a_clock_that_jumped_nor_a_torn_checkpoint_is_tampering() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    log(&folder, 10).await;
    let history = folder.join("checkpoints");
    let today = fs::read_dir(&history).expect("read").next().expect("a file").expect("an entry").path();
    fs::rename(&today, history.join("2999-01-01")).expect("renamed");
    let verifier = log(&folder, 600).await;
    let check = |records: u64| {
        let verdict = verify::folder(&folder, &verifier, &[], &[]).expect("read");
        assert_eq!((verdict.records, verdict.faults), (records, Vec::new()));
    };
    check(612);
    let whole = fs::read(&today).expect("read");
    for torn in [1, 20, 60, whole.len() / 2] {
        let note = fs::read(folder.join("checkpoint")).expect("read");
        let torn = &note[..torn.min(note.len())];
        fs::write(&today, [&whole, torn].concat()).expect("written");
        let records = verify::folder(&folder, &verifier, &[], &[]).expect("read").records;
        log(&folder, 5).await;
        check(records + 6);
        fs::write(&today, &whole).expect("written");
    }
}

#[tokio::test]
async fn queries_without_an_outcome_are_known_at_the_next_start() {
    let temp = tempfile::tempdir().expect("a folder");
    let config = Config { folder: temp.path().join("audit"), file_size: ByteSize(1), ..config() };
    let audit = Audit::open(&config).expect("opened");
    std::mem::forget(audit.intend(intent("q1")).await.expect("recorded"));
    drop(audit.intend(intent("q2")).await.expect("recorded"));
    audit.close().await.expect("closed");
    drop(audit);
    for _ in 0..2 {
        let audit = Audit::open(&config).expect("opened");
        let unfinished: Vec<_> =
            audit.unfinished().iter().map(|u| (u.query.as_str(), u.principal.as_str())).collect();
        assert_eq!(unfinished, [("q1", "ann")]);
        audit.close().await.expect("closed");
    }
    let audit = Audit::open(&config).expect("opened");
    let found = Found { trino_state: Some("FINISHED".into()), ..Found::default() };
    audit.settle(&audit.unfinished()[0], Some(found)).await.expect("recorded");
    audit.close().await.expect("closed");
    drop(audit);
    assert_eq!(Audit::open(&config).expect("opened").unfinished(), []);
}
