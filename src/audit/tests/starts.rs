//! What is there after each step that a crash can come behind, and that the next start goes on from it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::audit::shelf::Shelf;
use crate::audit::tree::{WIDTH, bundle_path};
use crate::audit::verify;

fn config_of(folder: &Path) -> Config {
    Config { folder: folder.to_owned(), file_size: ByteSize(1), ..config() }
}

/// The names of the journal's files.
fn journal(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "jsonl"));
    names.sort();
    names
}

fn file(folder: &Path, first: u64, turn: u64) -> PathBuf {
    folder.join(format!("audit-{first:020}-{turn}.jsonl"))
}

/// Begins, records so many, and ends; with the verifier.
async fn run(folder: &Path, records: u64) -> Verifier {
    let audit = Audit::open(&config_of(folder)).expect("opened");
    for n in 0..records {
        let what = format!("{n}");
        let event =
            Event::Reload { what, accepted: true, policy_revision: None, configuration: None, detail: None };
        audit.record(&event).await.expect("recorded");
    }
    let verifier = Verifier::new(audit.verifier()).expect("a key");
    audit.close().await.expect("closed");
    verifier
}

/// A file that a kill left empty, or with lines that were never durable, stood beside the one that was begun in its place.
/// When that one was over and removed, it seemed to hold that one's records, and the next start refused.
#[tokio::test]
async fn a_file_that_another_took_the_place_of_goes_before_that_one() {
    let check = |name: &'static str, left: &'static str| async move {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().join("audit");
        run(&folder, 2).await;
        // The file that a process made before it was killed, and the one that the next process made.
        let last = journal(&folder).pop().expect("a file");
        assert_eq!(last, "audit-00000000000000000002-0.jsonl", "{name}");
        fs::rename(folder.join(last), file(&folder, 2, 1)).expect("renamed");
        fs::write(file(&folder, 2, 0), left).expect("written");
        run(&folder, 3).await;
        let left = journal(&folder);
        assert!(!left.iter().any(|name| name.contains("02-")), "{name}: {left:?}");
        let verifier = run(&folder, 1).await;
        let verdict = verify::folder(&folder, &verifier, &[], &[]).expect("read");
        assert_eq!((verdict.records, verdict.faults), (3 + 4 + 2, Vec::new()), "{name}");
    };
    check("empty", "").await;
    check("lines that nobody was told of", "{}\n{}\n").await;
    // And as it comes about: a process that is gone before its first record.
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    run(&folder, 2).await;
    for turn in 0..3 {
        drop(crate::audit::folder::Folder::open(&folder).expect("opened").0.create(3).expect("made"));
        assert!(file(&folder, 3, turn).exists());
    }
    for _ in 0..3 {
        run(&folder, 2).await;
    }
    assert_eq!(journal(&folder).len(), 1, "{:?}", journal(&folder));
}

/// Where the file system can, nobody changes what a checkpoint covers, and a start that reads its records again goes on.
#[tokio::test]
async fn what_never_changes_again_is_immutable() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    let config = Config { folder: folder.clone(), immutable: true, ..config() };
    let run = || async {
        let audit = Audit::open(&config)?;
        for n in 0..300 {
            let mut intent = intent(&n.to_string());
            // One of them is long enough for a file of its own.
            intent.asked.text = "x".repeat(if n == 7 { 100_000 } else { 1 });
            drop(audit.intend(intent).await.expect("recorded"));
        }
        let verifier = Verifier::new(audit.verifier()).expect("a key");
        audit.close().await.expect("closed");
        Ok::<_, AuditError>(verifier)
    };
    let shelf = Shelf::new(&folder);
    match run().await {
        Ok(_) => {}
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("CAP_LINUX_IMMUTABLE"), "{told}");
            return;
        }
    }
    let bundle = bundle_path(0, WIDTH);
    let there = fs::read(folder.join(&bundle)).expect("read");
    assert!(
        fs::write(folder.join(&bundle), "changed").is_err() && fs::remove_file(folder.join(&bundle)).is_err()
    );
    let verifier = run().await.expect("goes on");
    assert_eq!(fs::read(folder.join(&bundle)).expect("read"), there);
    let verdict = verify::folder(&folder, &verifier, &[], &[]).expect("read");
    let mut frozen = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if shelf.is_immutable(&path.to_string_lossy()).expect("asked") {
                frozen.push(path);
            }
        }
    }
    for path in &frozen {
        shelf.set_immutable(&path.to_string_lossy(), false).expect("taken off");
    }
    assert_eq!(verdict.faults, []);
    let whole = usize::try_from(verdict.records / WIDTH).expect("small");
    // A bundle and a tile for each, and the long records of both runs, which are the same text in other records.
    assert_eq!(frozen.len(), 2 * whole + 2, "{frozen:?}");
}
