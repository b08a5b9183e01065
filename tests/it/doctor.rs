//! `northgate doctor`, `status` and `support-bundle`: before the real servers, and with what is wrong planted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::double::{Double, json};
use crate::harness::gateway::{binary, on_a_disk_of_its_own};
use crate::harness::process::within;
use crate::harness::{Gateway, Settings, gateway, trino};

/// The exit code and what is said.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What is said of the certificate that the tests plant.
const ENDS: &str = "ends.pem) ends in 1 h";

/// What the doctor says of a configuration.
pub(crate) fn doctor(config: &Path) -> (Option<i32>, String) {
    said(binary().arg("doctor").arg("--config").arg(config))
}

/// What it says of a configuration of these lines.
fn of(folder: &Path, lines: &str) -> (Option<i32>, String) {
    let path = folder.join("northgate.toml");
    fs::write(&path, lines).expect("written");
    doctor(&path)
}

#[test]
fn the_doctor_finds_nothing_wrong_with_what_the_tests_use() {
    let (code, text) = doctor(&gateway().folder.path().join("northgate.toml"));
    assert_eq!(code, Some(0), "{text}");
    for there in [
        "the policies and what else it names can be read",
        "Trino 'trino' answers, version 476",
        "Trino 'trino' and this machine agree on the time",
        "Trino 'trino' does not run statements of those who prove nothing",
        "Trino 'trino' runs statements of the gateway",
        "Trino 'trino' lets the gateway act for users",
        "keys and passwords are for the gateway's user alone",
        "server.certificate",
        "the audit's folder",
        "0 problems, ",
    ] {
        assert!(text.contains(there), "'{there}' is missing:\n{text}");
    }
}

#[test]
fn the_doctor_says_what_is_wrong_with_trino_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |lines: &str, expect: Option<i32>, words: &[&str]| {
        let (code, text) = of(folder.path(), lines);
        assert_eq!(code, expect, "{lines}\n{text}");
        for word in words {
            assert!(text.contains(word), "{lines}: '{word}' is missing:\n{text}");
        }
    };
    let (https, ca) = (format!("https://localhost:{}", trino().https), trino().ca.display());
    fs::write(folder.path().join("password"), "wrong\n").expect("written");
    fs::set_permissions(folder.path().join("password"), fs::Permissions::from_mode(0o600)).expect("set");
    // Whoever reaches the plain port is believed.
    check(
        &format!("[trino]\nurl = '{}'\n", trino().url()),
        Some(0),
        &["warning  trino", "believes whoever reaches its port", "set trino.authentication"],
    );
    check(
        &format!("[trino]\nurl = '{https}'\nca_file = '{ca}'\n"),
        Some(1),
        &["does not run a statement", "401", "Trino wants a login"],
    );
    check(
        &format!(
            "[trino]\nurl = '{https}'\nca_file = '{ca}'\nauthentication = 'password'\npassword_file = 'password'\n"
        ),
        Some(1),
        &["401", "must be in Trino's password file"],
    );
    check(
        &format!("[trino]\nurl = '{https}'\n"),
        Some(1),
        &["name the authority of Trino's certificate in trino.ca_file"],
    );
    check("[trino]\nurl = 'http://127.0.0.1:1'\n", Some(1), &["PROBLEM  trino", "see whether Trino runs"]);
    // A key of the version before, and one of none.
    check(
        "[trino]\nurl = 'http://127.0.0.1:1'\n[identity.state]\nbackend = 'memory'\n",
        Some(1),
        &["northgate.toml:3", "identity.state: this section is called [state] now"],
    );
    check(
        "[trino]\nurl = 'http://127.0.0.1:1'\nurll = 1\n",
        Some(1),
        &["trino.urll: unknown key; did you mean"],
    );
    // A dashboard of another version.
    let boards = folder.path().join("boards");
    fs::create_dir(&boards).expect("made");
    fs::write(
        boards.join("own.json"),
        r#"{"panels": [{"targets": [{"expr": "rate(northgate_querys_total[1m])"}]}]}"#,
    )
    .expect("written");
    fs::write(folder.path().join("northgate.toml"), format!("[trino]\nurl = '{}'\n", trino().url()))
        .expect("written");
    let mut command = binary();
    command
        .arg("doctor")
        .arg("--config")
        .arg(folder.path().join("northgate.toml"))
        .arg("--dashboards")
        .arg(&boards);
    let (code, text) = said(&mut command);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("own.json names metrics that there are not: northgate_querys_total"), "{text}");
    // Others can read a key, and a certificate ends soon.
    let (certificate, key) = ends_soon();
    fs::write(folder.path().join("c.pem"), certificate).expect("written");
    fs::write(folder.path().join("k.pem"), key).expect("written");
    fs::set_permissions(folder.path().join("k.pem"), fs::Permissions::from_mode(0o644)).expect("set");
    check(
        &format!("[trino]\nurl = '{}'\n[server]\ncertificate = 'c.pem'\nkey = 'k.pem'\n", trino().url()),
        Some(1),
        &["PROBLEM  certificates   server.certificate", "ends in 1 h", "renew it", "chmod o-rwx"],
    );
}

/// A certificate that ends in an hour and a half, and its key, in PEM.
fn ends_soon() -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.not_after = (SystemTime::now() + Duration::from_mins(90)).into();
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// What a Trino of another version says, whose clock is ten minutes behind.
fn other_trino() -> Double {
    Double::start(|request| {
        if !request.starts_with("GET /v1/info") {
            return json("401 Unauthorized", "{}");
        }
        let body = r#"{"nodeVersion": {"version": "999"}, "starting": false}"#;
        let date = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        json(&format!("200 OK\r\nDate: {date}"), body)
    })
}

#[test]
fn what_goes_wrong_is_shown_by_doctor_status_and_metrics() {
    let double = other_trino();
    let mut settings = Settings::for_upstream(&double.url());
    settings.files.push(("ends.pem", ends_soon().0));
    settings.more =
        "[telemetry.traces]\nendpoint = 'http://127.0.0.1:1/v1/traces'\nca_file = 'ends.pem'\n".to_owned();
    settings.disk_kib = Some(8_000);
    let gateway = Gateway::start(settings);
    let config = gateway.folder.path().join("northgate.toml");
    let good = fs::read_to_string(&config).expect("readable");
    let (code, text) = doctor(&config);
    assert_eq!(code, Some(1), "{text}");
    let clock = "ahead of that of Trino 'trino'";
    for there in [
        "is of version 999; Northgate was tested with 476",
        "run the barrier tests",
        "PROBLEM  clock",
        clock,
        ENDS,
    ] {
        assert!(text.contains(there), "'{there}' is missing:\n{text}");
    }
    let status = |there: &[&str]| {
        let all = || {
            let (code, text) = said(binary().arg("status").arg("--config").arg(&config));
            there.iter().all(|words| text.contains(words)).then_some((code, text))
        };
        let (code, text) = within(Duration::from_mins(1), all).expect("the status tells of it");
        assert_eq!(code, Some(1), "{text}");
    };
    status(&["is of version 999", clock, ENDS, "PROBLEM  disk           only ", "make room on the disk"]);
    // Somebody puts a file of an earlier version in its place.
    fs::write(&config, format!("{good}\n[identity.state]\nbackend = 'memory'\n")).expect("written");
    let former = "identity.state: this section is called [state] now";
    assert!(doctor(&config).1.contains(former));
    // The listener's key is found by the configuration: the one who asks has another.
    let elsewhere = gateway.folder.path().join("asks.toml");
    fs::write(&elsewhere, &good).expect("written");
    let told = || {
        let (code, text) = said(binary().arg("status").arg("--config").arg(&elsewhere));
        (text.contains(former) && text.contains("would not start again")).then_some(code)
    };
    assert_eq!(within(Duration::from_mins(1), told), Some(Some(1)));
    let metrics = gateway.admin().get("/metrics").text();
    for there in
        ["northgate_configuration_readable 0", "northgate_audit_disk_size_bytes", "{ending=\"authority\"} "]
    {
        assert!(metrics.contains(there), "'{there}' is missing:\n{metrics}");
    }
    assert!(metrics.contains("northgate_cluster_version_tested{cluster=\"trino\"} 0"), "{metrics}");
    let offset = metrics
        .lines()
        .find_map(|line| line.strip_prefix("northgate_cluster_clock_offset_seconds{cluster=\"trino\"} "));
    let offset: f64 = offset.and_then(|offset| offset.parse().ok()).expect("an offset");
    assert!((-605.0..-595.0).contains(&offset), "{offset}");
}

#[test]
fn a_full_disk_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit");
    fs::write(folder.path().join("northgate.toml"), format!("[trino]\nurl = '{}'\n", trino().url()))
        .expect("written");
    let mut command = on_a_disk_of_its_own(&audit, 1_600);
    let (code, text) = said(command.arg("doctor").arg("--config").arg(folder.path().join("northgate.toml")));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("PROBLEM  disk") && text.contains("make room on the disk"), "{text}");
}

#[test]
fn the_status_tells_of_the_gateway_and_is_for_those_with_the_key() {
    let gateway = gateway();
    gateway.signed_in("eva").query("SELECT count(*) FROM lake.silver.customers").rows();
    let config = gateway.folder.path().join("northgate.toml");
    let (code, text) = said(binary().arg("status").arg("--config").arg(&config));
    assert_eq!(code, Some(0), "{text}");
    for there in [
        ": ready",
        "trino: active, well, Trino 476",
        "interactive: ",
        "of revision ",
        "records sealed",
        "server.certificate",
    ] {
        assert!(text.contains(there), "'{there}' is missing:\n{text}");
    }
    let (_, json) = said(binary().args(["status", "--json"]).arg("--config").arg(&config));
    let status: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["gateways"][0]["this"], true, "{json}");
    assert!(!json.contains("eva"), "{json}");
    assert_eq!(gateway.admin().get("/status").status, 401);
}

/// The files of a bundle, as one text.
fn unpacked(path: &Path) -> String {
    let output = Command::new("tar").args(["-xzOf"]).arg(path).output().expect("tar runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_support_bundle_has_neither_secrets_nor_people_in_it() {
    let mut settings = Settings::new();
    settings.files.push(("oidc.secret", "PLANTED-oidc".to_owned()));
    settings.files.push(("state.key", "PLANTED-state".to_owned()));
    settings.policies.push((
        "more.yaml",
        "version: 1\npolicies:\n  - {name: p, who: {users: [PLANTED-policy]}, tables: [lake.x.y], allow: true}\n".to_owned(),
    ));
    settings.more =
        "[[identity.impersonation]]\nprincipals = ['PLANTED-principal']\nusers = ['PLANTED-user']\n\
                     [[admission.rule]]\nclass = 'batch'\nusers = ['PLANTED-rule']\n"
            .to_owned();
    settings
        .environment
        .push(("NORTHGATE__LINKS__KEY", "UExBTlRFRFBMQU5URURQTEFOVEVEUExBTlRFRFBMQU4=".to_owned()));
    let gateway = Gateway::start(settings);
    gateway.signed_in("eva").query("SELECT 'PLANTED-statement' FROM lake.silver.customers").rows();
    let bundle = gateway.folder.path().join("support.tar.gz");
    let mut command = binary();
    command.arg("support-bundle").arg("--config").arg(gateway.folder.path().join("northgate.toml"));
    command
        .arg("--output")
        .arg(&bundle)
        .env("NORTHGATE__LINKS__KEY", "UExBTlRFRFBMQU5URURQTEFOVEVEUExBTlRFRFBMQU4=");
    let (code, text) = said(&mut command);
    assert_eq!(code, Some(0), "{text}");
    let mode = fs::metadata(&bundle).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = unpacked(&bundle);
    for there in [
        "\"version\"",
        "northgate_queries_running",
        "more.yaml: ",
        "NORTHGATE__LINKS__KEY is set",
        "[admission]",
    ] {
        assert!(text.contains(there), "'{there}' is missing:\n{text}");
    }
    let key = fs::read_to_string(gateway.folder.path().join("admin.key")).expect("a key");
    let trino_key = fs::read_to_string(&trino().key).expect("a key");
    let secrets =
        ["PLANTED", "UExBTlRFRF", "eva-secret", "$argon2", "BEGIN PRIVATE", key.trim(), trino_key.trim()];
    for secret in secrets {
        assert!(!text.contains(secret), "'{secret}' is in it:\n{text}");
    }
    for user in ["eva", "otto", "nora"] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(words.into_iter().all(|word| word != user), "{user} is in it:\n{text}");
    }
    // It is not written over.
    let mut again = binary();
    again.arg("support-bundle").arg("--config").arg(gateway.folder.path().join("northgate.toml"));
    assert_eq!(said(again.arg("--output").arg(&bundle)).0, Some(2));
}
