//! What `northgate deploy` gives is what those who read it take. The script for EMR is looked at by `make shell-lint`.

use std::process::Command;

use crate::harness::gateway::binary;
use crate::harness::process::run;

#[test]
fn the_unit_is_one_that_systemd_takes_and_calls_hardened() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = run(binary().args(["deploy", "systemd"]));
    // The program is looked for, too.
    let program = binary().get_program().to_string_lossy().into_owned();
    let unit = unit.replace("/usr/local/bin/northgate", &program);
    let path = folder.path().join("northgate.service");
    std::fs::write(&path, unit).expect("written");
    let verified =
        Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("systemd-analyze runs");
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !complaints.contains("northgate.service"), "{complaints}");
    // From 0, which is no exposure, to 100.
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=20"]).arg(&path));
}
