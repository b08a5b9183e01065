//! A witness that is not ours but for its HTTP (tests/stack/witness) signs what the gateway signed, and finds a folder that was
//! put back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::gateway::binary;
use crate::harness::process::{Guarded, free_ports, within};
use crate::harness::{Gateway, Settings, stack};

/// A gateway whose audit is in `folder`.
fn start(folder: &Path, more: &str) -> Gateway {
    let mut settings = Settings::new();
    settings.audit = Some(folder.to_owned());
    settings.more = more.to_owned();
    settings.environment.push(("NORTHGATE__AUDIT__CHECKPOINT_EVERY", "200ms".to_owned()));
    settings.environment.push(("NORTHGATE__AUDIT__ORIGIN", "bank.example/1".to_owned()));
    Gateway::start(settings)
}

fn end(gateway: &Gateway) {
    let mut process = gateway.process.lock().expect("no panic in a lock");
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_mins(2)), Some(0), "{}", gateway.log());
}

fn verified(folder: &Path, witness: &str) -> (bool, String) {
    let output = binary().args(["audit", "verify"]).arg(folder).args(["--witness", witness]).output();
    let output = output.expect("the binary runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_witness_signs_and_finds_a_folder_that_was_put_back() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("audit");
    // The log has its key when the gateway has run once.
    end(&start(&folder, ""));
    let key = fs::read_to_string(folder.join("verifier")).expect("a key");
    let home = tempfile::Builder::new().prefix("northgate-witness-").tempdir().expect("a folder").keep();
    let [port] = free_ports();
    let mut command = Command::new(stack());
    command.args(["witness", &format!("127.0.0.1:{port}"), "bank.example/1", key.trim()]);
    let log = temp.path().join("witness.log");
    let _witness = Guarded::spawn(&command, &home, &log).expect("bash");
    let own = || {
        let text = fs::read_to_string(&log).ok()?;
        let (_, rest) = text.split_once("vkey=")?;
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        rest.split_whitespace().next().map(|key| key.trim_matches('"').to_owned())
    };
    let own = within(Duration::from_mins(5), own)
        .unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap_or_default()));
    let more = format!("[[audit.witness]]\nurl = \"http://127.0.0.1:{port}\"\nkey = \"{own}\"\n");
    let gateway = start(&folder, &more);
    // So that there is more than one proof, over more than one tile.
    let admin = gateway.signed_in("admin");
    let witnessed = |gateway: &Gateway| {
        let text = gateway.admin().get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with("northgate_audit_records_witnessed "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).expect("a metric")
    };
    let mut before = 0;
    for count in [1, 70, 70] {
        (0..count).for_each(|_| drop(admin.query("PREPARE p FROM SELECT 1")));
        let more = || Some(witnessed(&gateway)).filter(|now| *now >= before + 2 * count);
        before = within(Duration::from_mins(2), more).unwrap_or_else(|| panic!("{}", gateway.log()));
    }
    end(&gateway);
    let (good, said) = verified(&folder, &own);
    assert!(
        good && said.contains("witness.example/test signed the first ") && said.contains(" 0 faults"),
        "{said}"
    );
    let (good, _) = verified(&folder, &own.replacen("witness.example/test", "witness.example/other", 1));
    assert!(!good, "the key of another name");
    fs::rename(folder.join("cosigned"), temp.path().join("cosigned")).expect("moved");
    let (good, said) = verified(&folder, &own);
    assert!(!good && said.contains("no witness vouches for the log"), "{said}");
    fs::rename(temp.path().join("cosigned"), folder.join("cosigned")).expect("moved");

    // An operator, who has the log's key, puts the folder of before back.
    let old = temp.path().join("old");
    assert!(
        Command::new("cp").arg("-a").arg(&folder).arg(&old).status().is_ok_and(|status| status.success())
    );
    let gateway = start(&folder, &more);
    let admin = gateway.signed_in("admin");
    (0..20).for_each(|_| drop(admin.query("PREPARE p FROM SELECT 1")));
    within(Duration::from_secs(30), || (witnessed(&gateway) > before).then_some(())).expect("signed");
    end(&gateway);
    fs::remove_dir_all(&folder).expect("removed");
    fs::rename(&old, &folder).expect("moved");
    let gateway = start(&folder, &more);
    let told = || gateway.log().contains("the folder was put back").then_some(());
    assert!(within(Duration::from_secs(30), told).is_some(), "{}", gateway.log());
    assert_eq!(witnessed(&gateway), 0);
    // Grown beyond what the witness has seen, it is found out by the proof.
    let admin = gateway.signed_in("admin");
    (0..60).for_each(|_| drop(admin.query("PREPARE p FROM SELECT 1")));
    let told = || (gateway.log().contains("422") || gateway.log().contains("409")).then_some(());
    assert!(within(Duration::from_secs(30), told).is_some(), "{}", gateway.log());
    assert_eq!(witnessed(&gateway), 0, "a fork is signed");
}
