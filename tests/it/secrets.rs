//! Secrets in AWS Secrets Manager: as moto has it, which verifies who asks, and lets in nobody else.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::gateway::binary;
use crate::harness::process::{Guarded, free_ports, within};
use crate::harness::stack;

#[test]
fn a_secret_may_be_in_secrets_manager() {
    let folder = tempfile::Builder::new().prefix("northgate-secrets-").tempdir().expect("a folder");
    let [port] = free_ports();
    let mut command = Command::new(stack());
    command.arg("secrets-manager").arg(folder.path()).arg(port.to_string());
    command.env("LINKS_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let log = folder.path().join("moto.log");
    let _server = Guarded::spawn(&command, folder.path(), &log).expect("bash");
    let told = within(Duration::from_mins(5), || fs::read(folder.path().join("told.json")).ok());
    let told = told.unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap_or_default()));
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    let text = |key: &str| told[key].as_str().expect("a text").to_owned();

    // Whether a configuration that names the secret so is good, for somebody with this key.
    let check = |reference: &str, key: &str| {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("northgate.toml");
        let config = format!("[trino]\nurl = 'http://127.0.0.1:1'\n[links]\nkey_file = '{reference}'\n");
        fs::write(&file, config).expect("written");
        fs::create_dir(home.path().join("policies")).expect("made");
        fs::write(home.path().join("users.toml"), "").expect("written");
        let mut command = binary();
        command.args(["check", "--config"]).arg(&file);
        command.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://127.0.0.1:{port}/"));
        command.env("AWS_ACCESS_KEY_ID", text("id")).env("AWS_SECRET_ACCESS_KEY", key);
        let output = command.output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (arn, key) = (text("arn"), text("key"));
    let (good, said) = check(&format!("{arn}:links::"), &key);
    assert!(good, "{said}");
    assert!(!said.contains("AQEB"), "{said}");
    for (reference, key, why) in [
        (format!("{arn}:links::"), "of-somebody-else", "403"),
        (format!("{arn}:number::"), key.as_str(), "no key 'number' with a text"),
        (arn.clone(), key.as_str(), "[links] key"),
        (format!("{arn}:links:AWSPREVIOUS:"), key.as_str(), "it answers 4"),
        (arn.replace("bank/northgate", "bank/other"), key.as_str(), "ResourceNotFoundException"),
    ] {
        let (good, said) = check(&reference, key);
        assert!(!good && said.contains(why), "{reference}: {said}");
        assert!(!said.contains("AQEB") && !said.contains(&text("key")), "{said}");
    }
}
