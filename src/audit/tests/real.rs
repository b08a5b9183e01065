//! The same promises on real files.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::audit::folder::Folder;

fn lines(folder: &Path) -> String {
    let mut text = String::new();
    let read = crate::audit::reader::records(folder, 0, |_, line| {
        text.push_str(std::str::from_utf8(line).expect("UTF-8"));
        text.push('\n');
        Ok(true)
    });
    read.expect("read");
    text
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
    let Some(small) = Small::mount(128) else {
        // Without the right to mount, the disk of `disk.rs` stands in, which is checked below where there is one.
        return;
    };
    let folder = small.0.path().join("audit");
    let audit = Audit::open(&Config { folder: folder.clone(), ..config() }).expect("opened");
    let running = audit.intend(intent("q0")).await.expect("recorded");
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 104 << 10]).expect("written");
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
        let mut file = store.create(0).expect("made");
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
        check(&mut Folder::open(small.0.path()).expect("opened").0);
        let file = small.0.path().join("audit-00000000000000000000-0.jsonl");
        assert_eq!(std::fs::read_to_string(file).expect("read"), text);
    }
}

/// A disk that the kernel made read-only: a start says so, and what is on it can still be verified.
#[tokio::test]
async fn a_disk_that_is_read_only() {
    let Some(small) = Small::mount(512) else { return };
    let folder = small.0.path().join("audit");
    let config = Config { folder: folder.clone(), ..config() };
    let audit = Audit::open(&config).expect("opened");
    drop(audit.intend(intent("q0")).await.expect("recorded"));
    let verifier = Verifier::new(audit.verifier()).expect("a key");
    audit.close().await.expect("closed");
    drop(audit);
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(small.0.path()).status();
    assert!(remounted.is_ok_and(|status| status.success()), "it can be made read-only");
    let error = Audit::open(&config).err().expect("it does not start").to_string();
    assert!(error.contains("Read-only") && error.contains(folder.to_str().expect("UTF-8")), "{error}");
    let verdict = crate::audit::verify::folder(&folder, &verifier, &[], &[]).expect("read");
    assert_eq!((verdict.records, verdict.faults), (3, Vec::new()));
}
