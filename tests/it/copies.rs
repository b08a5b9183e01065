//! The copy of the audit in a bucket with Object Lock: what an administrator of the bucket cannot do to it, and what becomes
//! of queries while the bucket is away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::bucket::{Bucket, Way};
use crate::harness::gateway::binary;
use crate::harness::process::within;
use crate::harness::{Gateway, Settings};

/// A gateway whose audit is in `folder` and is copied to the bucket.
fn before(bucket: &Bucket, folder: &Path, lines: &str) -> Gateway {
    fs::create_dir_all(folder).expect("made");
    let mut settings = Settings::new();
    settings.audit = Some(folder.join("audit"));
    settings.more = format!("[admission]\nsubmits_per_second = 10000\n{}", bucket.section(folder, lines));
    settings.environment.push(("NORTHGATE__AUDIT__CHECKPOINT_EVERY", "100ms".to_owned()));
    Gateway::start(settings)
}

fn end(gateway: &Gateway) {
    let mut process = gateway.process.lock().expect("no panic in a lock");
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(40)), Some(0), "{}", gateway.log());
}

/// What `northgate audit verify` says of the copy.
fn verified(bucket: &Bucket, folder: &Path) -> String {
    let mut command = binary();
    command.args(["audit", "verify"]).args(bucket.verifying()).envs(Bucket::environment());
    let output = command.arg("--key").arg(folder.join("audit/verifier")).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), text.contains(" 0 faults"), "{text}");
    text + &String::from_utf8_lossy(&output.stderr)
}

/// The number of records that `verify` tells of.
fn records(said: &str) -> u64 {
    let last = said.lines().find(|line| line.contains(" records and ")).unwrap_or_else(|| panic!("{said}"));
    last.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number")
}

#[test]
fn nobody_can_remove_or_change_what_is_copied() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    let gateway = before(&bucket, temp.path(), "");
    let (_, found) = crate::doctor::doctor(&gateway.folder.path().join("northgate.toml"));
    assert!(found.contains("the audit's bucket audit answers, and has Object Lock"), "{found}");
    // One of them is too long for an entry of the tree.
    gateway.signed_in("eva").query(&format!("SELECT length('{}')", "x".repeat(70_000))).rows();
    let prepare = || gateway.signed_in("eva").query("PREPARE p FROM SELECT 1");
    (0..150).for_each(|_| drop(prepare()));
    let count = gateway.audit().len();
    end(&gateway);
    let said = verified(&bucket, temp.path());
    assert!(said.contains(" 0 faults") && records(&said) > count as u64, "{said}");

    // The administrator of the bucket, who has the credentials of its owner.
    let object = "/logs/one/tile/entries/000";
    let versions = |key: &str| -> Vec<String> {
        let (_, list) = bucket.administer(
            "GET",
            &format!("?prefix={}&versions=", key[1..].replace('/', "%2F")),
            &[],
            None,
        );
        let of_key = format!("<Key>{}</Key>", &key[1..]);
        let ids = list.split("<Version>").filter(|version| version.contains(&of_key));
        ids.filter_map(|id| Some(id.split_once("<VersionId>")?.1.split_once("</VersionId>")?.0.to_owned()))
            .collect()
    };
    let version = versions(object).pop().expect("a version");
    let (_, whole) = bucket.administer("GET", object, &[], None);
    for headers in [&[][..], &["x-amz-bypass-governance-retention: true"]] {
        let (status, text) =
            bucket.administer("DELETE", &format!("{object}?versionId={version}"), headers, None);
        assert_eq!(status, 403, "a locked version is removed: {text}");
    }
    let retention = |mode: &str, until: &str| {
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        bucket.administer(
            "PUT",
            &format!("{object}?retention="),
            &["x-amz-bypass-governance-retention: true"],
            Some(&body),
        )
    };
    for (mode, until) in [("GOVERNANCE", "2036-01-01T00:00:00Z"), ("COMPLIANCE", "2026-01-01T00:00:00Z")] {
        let (status, text) = retention(mode, until);
        assert!((400..500).contains(&status), "the lock is loosened: {status} {text}");
    }
    let (status, text) = bucket.administer("PUT", object, &["If-None-Match: *"], Some("forged"));
    assert_eq!(status, 412, "{text}");
    // Another version may be put before it, if the bucket's policy lets them: it is found out, and the first one stays.
    let (status, _) = bucket.administer("PUT", object, &[], Some("forged"));
    if status == 200 {
        let said = verified(&bucket, temp.path());
        assert!(said.contains("tile/entries/000: ") || said.contains("(tile/entries/000): "), "{said}");
    }
    let (status, still) = bucket.administer("GET", &format!("{object}?versionId={version}"), &[], None);
    assert!(status == 200 && still == whole, "the first version is gone");
}

#[test]
fn a_bucket_that_is_away_slow_or_wrong_about_what_it_stored_loses_nothing() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    bucket.set(Way::Shut);
    let gateway = before(&bucket, temp.path(), "");
    let admin = gateway.signed_in("admin");
    assert_eq!(admin.query("SELECT 1").value(), 1, "it goes on without the bucket");
    let failing = || (gateway.metric("audit_copying") == 0).then_some(());
    assert!(within(Duration::from_secs(20), failing).is_some(), "no alarm");
    for way in [Way::Lies, Way::Slow] {
        bucket.set(way);
        for _ in 0..60 {
            admin.query("PREPARE p FROM SELECT 1");
        }
        let copying = || (gateway.metric("audit_copying") == 1).then_some(());
        assert!(within(Duration::from_secs(90), copying).is_some(), "{way:?}: {}", gateway.log());
    }
    bucket.set(Way::Lies);
    end(&gateway);
    let said = verified(&bucket, temp.path());
    assert!(said.contains(" 0 faults"), "{said}");
    let folder = binary().args(["audit", "verify"]).arg(temp.path().join("audit")).output().expect("it runs");
    assert_eq!(records(&said), records(&String::from_utf8_lossy(&folder.stdout)), "all of it is copied");
}

#[test]
fn queries_are_refused_when_too_much_waits_to_be_copied() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    let gateway = before(&bucket, temp.path(), "spool = \"20kB\"");
    let admin = gateway.signed_in("admin");
    bucket.set(Way::Shut);
    let refused = || {
        let answer = admin.query("PREPARE p FROM SELECT 1");
        answer.error.is_some().then(|| answer.failure())
    };
    let failure = within(Duration::from_mins(1), refused).expect("queries are refused");
    assert!(failure.contains("audit"), "{failure}");
    assert!(gateway.metric("audit_writable") == 0 && gateway.metric("audit_behind_bytes") > 20_000);
    bucket.set(Way::Open);
    let again = || admin.query("PREPARE p FROM SELECT 1").error.is_none().then_some(());
    assert!(within(Duration::from_secs(90), again).is_some(), "{}", gateway.log());
    end(&gateway);
    assert!(verified(&bucket, temp.path()).contains(" 0 faults"));
}

#[test]
fn a_folder_that_was_put_back_is_found_out() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    let run = |count: usize| {
        let gateway = before(&bucket, temp.path(), "");
        (0..count).for_each(|_| drop(gateway.signed_in("admin").query("PREPARE p FROM SELECT 1")));
        end(&gateway);
    };
    run(3);
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(temp.path().join("audit"))
        .arg(temp.path().join("old"))
        .status();
    assert!(copied.expect("cp runs").success());
    run(3);
    fs::rename(temp.path().join("audit"), temp.path().join("new")).expect("moved");
    fs::rename(temp.path().join("old"), temp.path().join("audit")).expect("moved");
    let gateway = before(&bucket, temp.path(), "");
    let refused = || gateway.signed_in("admin").query("PREPARE p FROM SELECT 1").error.map(|_| ());
    assert!(within(Duration::from_secs(20), refused).is_some(), "{}", gateway.log());
    assert!(gateway.log().contains("put back"), "{}", gateway.log());
}

/// Parquet beside the tiles, and the list of all logs.
#[test]
fn copies_are_queried_as_parquet_and_listed() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    let lines = "index = \"all/logs\"\nparquet_every = \"1h\"";
    let run = |name: &str, origin: &str, count: usize| {
        let folder = temp.path().join(name);
        fs::create_dir_all(&folder).expect("made");
        let mut settings = Settings::new();
        settings.audit = Some(folder.join("audit"));
        let section = bucket.section_of(&folder, &format!("logs/{name}"), lines);
        settings.more = format!("[admission]\nsubmits_per_second = 10000\n{section}");
        settings.environment.push(("NORTHGATE__AUDIT__CHECKPOINT_EVERY", "100ms".to_owned()));
        settings.environment.push(("NORTHGATE__AUDIT__ORIGIN", origin.to_owned()));
        let gateway = Gateway::start(settings);
        (0..count).for_each(|_| drop(gateway.signed_in("eva").query("PREPARE p FROM SELECT 1")));
        end(&gateway);
        fs::read_to_string(folder.join("audit/verifier")).expect("a key").trim().to_owned()
    };
    let one = run("one", "bank/1", 150);
    // It goes on behind what is there, after a restart, too.
    assert_eq!(run("one", "bank/1", 150), one);
    let two = run("two", "bank/2", 1);
    let days = bucket.stored("logs/one/parquet");
    let mut files: Vec<_> = fs::read_dir(&days)
        .expect("days")
        .flat_map(|day| fs::read_dir(day.expect("a day").path()).expect("files"))
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    assert!(files.len() >= 2, "{files:?}");
    let mut rows = 0;
    for file in &files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let (first, end) = name.split_once('-').expect("two numbers");
        let (first, end): (u64, u64) = (first.parse().expect("a number"), end.parse().expect("a number"));
        assert_eq!(first, rows, "{files:?}");
        let text = crate::harness::process::run_stack(&["parquet", file.to_str().expect("UTF-8")]);
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&read["rows"], &read["same"]), (&(end - first).into(), &true.into()), "{read}");
        rows = end;
    }
    assert!(rows >= 512 && rows.is_multiple_of(256), "{rows}");
    assert!(!bucket.stored("logs/two/parquet").exists(), "its bundle is not full");

    let logs = |keys: Option<&str>| {
        let mut command = binary();
        command
            .args(["audit", "logs", "s3://audit/all/logs"])
            .args(bucket.endpoint())
            .envs(Bucket::environment());
        if let Some(keys) = keys {
            let file = temp.path().join("keys");
            fs::write(&file, keys).expect("written");
            command.arg("--keys").arg(file);
        }
        let output = command.output().expect("the binary runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let listed = format!("s3://audit/logs/one {one}\ns3://audit/logs/two {two}\n");
    assert_eq!(logs(None), (true, listed));
    let (good, said) = logs(Some(&format!("# ours\n{one}\n{two}\n")));
    assert!(good && said.matches(" 0 faults").count() == 2, "{said}");
    let (good, said) = logs(Some(&one));
    assert!(!good && said.contains("nobody knows its key"), "{said}");
    let third = one.replace("bank/1", "bank/3");
    let (good, said) = logs(Some(&format!("{one}\n{two}\n{third}\n")));
    assert!(!good && said.contains("no log is listed that this is the key of"), "{said}");
}

/// A folder that was made anew with the log's key and has more records than the copy.
#[test]
fn a_log_that_was_forked_is_found_out() {
    let bucket = Bucket::start();
    let temp = tempfile::tempdir().expect("a folder");
    let gateway = before(&bucket, temp.path(), "");
    gateway.signed_in("admin").query("PREPARE p FROM SELECT 1");
    end(&gateway);
    // Without the bucket, so that the fork grows.
    fs::rename(temp.path().join("audit"), temp.path().join("first")).expect("moved");
    let mut settings = Settings::new();
    settings.audit = Some(temp.path().join("audit"));
    let gateway = Gateway::start(settings);
    (0..20).for_each(|_| drop(gateway.signed_in("admin").query("PREPARE p FROM SELECT 1")));
    end(&gateway);
    let gateway = before(&bucket, temp.path(), "");
    let refused = || gateway.signed_in("admin").query("PREPARE p FROM SELECT 1").error.map(|_| ());
    assert!(within(Duration::from_secs(20), refused).is_some(), "{}", gateway.log());
    assert!(gateway.log().contains("the log was forked"), "{}", gateway.log());
    assert!(verified(&bucket, temp.path()).contains(" 0 faults"), "the copy is as it was");
}
