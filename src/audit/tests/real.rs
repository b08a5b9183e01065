//! The same promises on real files.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::audit::folder::Folder;

fn lines(folder: &Path) -> String {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    names.sort();
    names.iter().map(|name| std::fs::read_to_string(name).expect("read")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    let temp = tempfile::tempdir().expect("a folder");
    let config = Config { folder: temp.path().join("audit"), file_size: ByteSize(20_000), ..config() };
    let audit = Arc::new(Audit::open(&config).expect("opened"));
    let tasks = (0..8).map(|task| {
        let audit = Arc::clone(&audit);
        tokio::spawn(async move {
            for n in 0..50 {
                let guard = audit.intend(intent(&format!("q{task}-{n}"))).await.expect("recorded");
                guard.finish(&Outcome::of(State::Finished));
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.expect("no panic");
    }
    audit.close().await.expect("closed");
    let all = told(&lines(&config.folder), 1);
    assert_eq!(all.len(), 8 * 50 * 2 + 1);
    for (task, n) in (0..8).flat_map(|task| (0..50).map(move |n| (task, n))) {
        let at = |line: String| all.iter().position(|l| *l == line).expect("recorded");
        assert!(at(format!("intent q{task}-{n}")) < at(format!("outcome q{task}-{n} finished")));
    }
}

#[tokio::test]
async fn a_line_torn_by_a_crash_is_left_as_it_is() {
    let temp = tempfile::tempdir().expect("a folder");
    let config = Config { folder: temp.path().to_owned(), ..config() };
    let torn = temp.path().join("audit-20260101T000000.000000Z.jsonl");
    std::fs::write(&torn, "{\"v\":1,\"ru").expect("written");
    let audit = Audit::open(&config).expect("opened");
    audit.record(&Event::Start { version: "1".into(), policy_revision: "p".into() }).await.expect("recorded");
    assert_eq!(std::fs::read_to_string(&torn).expect("read"), "{\"v\":1,\"ru");
    assert!(lines(temp.path()).starts_with("{\"v\":1,\"ru{\"v\":1,\"run\":\""), "it is in a file of its own");
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_that_names_it() {
    let temp = tempfile::tempdir().expect("a folder");
    let file = temp.path().join("file");
    std::fs::write(&file, "").expect("written");
    let error = Audit::open(&Config { folder: file.clone(), ..config() }).err().expect("no folder");
    assert!(error.to_string().contains(file.to_str().expect("UTF-8")), "{error}");
}

/// A small file system of its own, where the tests may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(kib: usize) -> Option<Self> {
        let temp = tempfile::tempdir().expect("a folder");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(temp.path())
            .status();
        done.is_ok_and(|s| s.success()).then(|| Self(temp))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full() {
    let Some(small) = Small::mount(64) else {
        // Without the right to mount, the disk of `disk.rs` stands in, which is checked below where there is one.
        return;
    };
    let folder = small.0.path().join("audit");
    let audit = Audit::open(&Config { folder: folder.clone(), ..config() }).expect("opened");
    let running = audit.intend(intent("q0")).await.expect("recorded");
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 52 << 10]).expect("written");
    let mut wide = intent("wide");
    wide.asked.text = "w".repeat(30 << 10);
    assert!(matches!(audit.intend(wide).await, Err(AuditError::Unavailable)));
    running.finish(&Outcome::of(State::Finished));
    until("both are kept", || audit.status().held == 2).await;
    assert_eq!(told(&lines(&folder), 1), ["intent q0"], "the half-written line is cut off");
    std::fs::remove_file(&ballast).expect("removed");
    until("it recovers", || audit.healthy()).await;
    audit.close().await.expect("closed");
    let expect = ["intent q0", "gap -", "refused wide audit_unavailable", "outcome q0 finished", "stop -"];
    assert_eq!(told(&lines(&folder), 1), expect);
}

/// The double behaves as a real file does when there is no room.
#[test]
fn the_double_fails_as_a_disk_does() {
    let check = |store: &mut dyn Store| {
        let mut file = store.create(Timestamp::now()).expect("made");
        file.append(&[b'a'; 4096]).expect("it fits");
        file.sync().expect("synced");
        let error = file.append(&vec![b'b'; 200 << 10]).expect_err("it doesn't");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        file.cut(4096).expect("cut");
        file.append(&[b'c'; 4096]).expect("there is room again");
        file.sync().expect("synced");
    };
    let disk = Disk::new(64 << 10);
    check(&mut disk.clone());
    let text = "a".repeat(4096) + &"c".repeat(4096);
    assert_eq!(disk.durable(), [text.as_str()]);
    if let Some(small) = Small::mount(64) {
        check(&mut Folder::open(small.0.path()).expect("opened"));
        assert_eq!(lines(small.0.path()), text);
    }
}
