//! Starting, checking, reloading and stopping the binary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::harness::gateway::{binary, certificates};
use crate::harness::process::{Guarded, free_ports, run, within};
use crate::harness::{Client, Gateway, Settings, gateway, trino};

/// What `northgate check` says of a configuration, and whether it likes it.
fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("northgate.toml");
    fs::write(&file, config).expect("the folder is ours");
    let output = binary()
        .current_dir(&folder)
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .expect("the binary runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn version_is_told() {
    let version = run(binary().arg("version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

/// What the program says of a statement of `eva`'s.
fn explained(sql: &str) -> String {
    let config = gateway().folder.path().join("northgate.toml");
    let mut command = binary();
    command.args(["explain", "--user", "eva", "--catalog", "lake", "--schema", "silver", "--config"]);
    run(command.arg(config).arg(sql))
}

#[test]
fn explain_says_what_policy_says_of_each_table() {
    let shown =
        explained("SELECT c.name, p.amount FROM customers c JOIN card_payments p ON p.customer_id = c.id");
    for words in [
        "eva (groups: eu-analysts)",
        "lake.silver.customers\n",
        "eu-analysts-customers (",
        "rows    where \"table\".\"region\" = 'EU'",
        "masked  ssn:",
        "hidden  card_number",
        "as is   id, name, region",
        "Allowed, with restrictions",
        "FROM \"lake\".\"silver\".\"customers\"",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // The same of a gateway that runs.
    let asked = gateway().admin().send(
        "POST",
        "/explain?user=eva&catalog=lake&schema=silver",
        b"SELECT c.name FROM customers c",
    );
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert!(
        asked.text().contains("masked  ssn:") && asked.text().contains("Trino would be sent"),
        "{}",
        asked.text()
    );
    let foreign = gateway().admin().with("Origin", "https://evil.example");
    assert_eq!(foreign.send("POST", "/explain?user=eva", b"SELECT 1").status, 403);
    assert_eq!(gateway().admin().send("POST", "/explain", b"SELECT 1").status, 400);
    let shown = explained("SELECT * FROM bronze.customers");
    for words in ["no policy allows lake.bronze.customers", "Table 'lake.bronze.customers' does not exist"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = explained("DROP TABLE customers");
    assert!(shown.contains("a row filter, a column mask or a hidden column applies to it"), "{shown}");
    let shown = explained("CALL lake.system.anything()");
    assert!(shown.contains("CALL statements are not allowed"), "{shown}");
}

#[test]
fn check_names_file_line_and_key() {
    for (config, words) in [
        (
            "[trino]\nurl = \"http://127.0.0.1:8080\"\n\n[server]\nlisten_on = \"x\"\n",
            &["northgate.toml", "5", "listen_on"][..],
        ),
        (
            "[trino]\nurl = \"http://127.0.0.1:8080\"\nconnect_timeout = 5\n",
            &["northgate.toml", "3", "connect_timeout"],
        ),
        (
            "[trino]\nurl = \"http://127.0.0.1:8080\"\nconnect_timeout = \"5 parsecs\"\n",
            &["northgate.toml", "3", "connect_timeout"],
        ),
        ("[trino]\nurl = \"ftp://127.0.0.1\"\n", &["northgate.toml", "trino.url"]),
        ("[trino]\nurl = \n", &["northgate.toml", "2"]),
        ("[trnio]\nurl = \"http://127.0.0.1:8080\"\n", &["northgate.toml", "1", "trnio"]),
    ] {
        let (good, text) = check(config);
        assert!(!good, "{config}");
        for word in words {
            assert!(text.contains(word), "{config:?} is told as: {text}");
        }
    }
    let (good, text) = check("[trino]\nurl = \"http://127.0.0.1:8080\"\n");
    assert!(good, "{text}");
    let output =
        binary().args(["check", "--config", "/no/such/file.toml"]).output().expect("the binary runs");
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("/no/such/file.toml")
    );
}

#[test]
fn the_trino_url_alone_is_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port, admin_port] = free_ports();
    fs::write(folder.path().join("northgate.toml"), "[trino]\nurl = \"http://127.0.0.1:1\"\n")
        .expect("the folder is ours");
    let mut command = binary();
    command.args(["serve", "--config", "northgate.toml"]).current_dir(&folder);
    // The ports alone are moved, so that two runs of this test do not meet.
    command.env("NORTHGATE__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    command.env("NORTHGATE__ADMIN__LISTEN", format!("127.0.0.1:{admin_port}"));
    let log = folder.path().join("log");
    let mut process = Guarded::spawn(&command, folder.path(), &log).expect("bash");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    let healthy = || std::net::TcpStream::connect(("127.0.0.1", admin_port)).ok();
    assert!(within(Duration::from_secs(20), healthy).is_some(), "{}", text());
    assert_eq!(Client::plain(admin_port).get("/health").status, 200);
    let made: Vec<_> = files(&folder.path().join("certs"));
    assert!(!made.is_empty(), "a certificate is made: {made:?}");
    assert!(text().to_lowercase().contains("made for development"), "with a warning: {}", text());
    assert!(folder.path().join("audit").is_dir());
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(20)), Some(0), "{}", text());
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect());
    names.unwrap_or_default()
}

#[test]
fn a_bad_policy_set_never_replaces_a_good_one() {
    let gateway = Gateway::start(Settings::new());
    let file = gateway.folder.path().join("policies/bank.yaml");
    let good = fs::read_to_string(&file).expect("a file");
    let count = || gateway.signed_in("eva").query("SELECT count(*) FROM lake.silver.customers");
    assert_eq!(count().value(), 120);
    let reload = || gateway.process.lock().expect("no panic in a lock").signal("HUP");
    for bad in [
        "policies: [",
        "version: 1\npolicies:\n  - name: x\n    who: { users: ['*'] }\n    tables: ['*.*.*']\n    alow: true\n",
        "version: 9\n",
        "",
    ] {
        fs::write(&file, bad).expect("the folder is ours");
        reload();
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(count().value(), 120, "{bad:?} took the place of a good set");
    }
    // A good one does, and without a signal too: the folder is watched.
    fs::write(&file, good.replace("region = 'EU'", "region = 'APAC'")).expect("the folder is ours");
    let changed = || (count().value() == 40).then_some(());
    assert!(
        within(Duration::from_secs(15), changed).is_some(),
        "the new policies are not used: {}",
        gateway.log()
    );
}

#[test]
fn a_start_without_good_policies_fails() {
    let mut settings = Settings::for_upstream("http://127.0.0.1:1");
    settings.policies = vec![("bank.yaml", "version: 1\npolicies:\n  - nome: x\n".to_owned())];
    let mut gateway = Gateway::launch(settings);
    let status = gateway.process.get_mut().expect("no panic in a lock").wait(Duration::from_secs(20));
    assert!(status.is_some_and(|status| status != 0), "it runs on: {}", gateway.log());
    assert!(gateway.log().contains("bank.yaml") && gateway.log().contains("nome"), "{}", gateway.log());
}

#[test]
fn tls_is_1_2_or_1_3() {
    let ca = certificates().join("ca.pem");
    for version in [&TLS12, &TLS13] {
        let client = Client::tls_of(gateway().port, &ca, &[version]).basic("eva", "eva-secret");
        assert_eq!(client.get("/v1/info").status, 200, "{version:?}");
    }
    for old in ["-tls1", "-tls1_1"] {
        let mut command = std::process::Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{}", gateway().port),
            old,
            "-cipher",
            "ALL:@SECLEVEL=0",
        ]);
        let output = command.stdin(std::process::Stdio::null()).output().expect("openssl runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("no peer certificate"), "{old}");
        assert!(!output.status.success(), "{old} was accepted");
    }
}

#[test]
fn http_2_is_spoken() {
    let url = format!("https://localhost:{}/v1/info", gateway().port);
    let mut command = std::process::Command::new("curl");
    command.args(["-sS", "--http2", "-u", "eva:eva-secret", "--cacert"]).arg(certificates().join("ca.pem"));
    let output = run(command.args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url]));
    assert_eq!(output, "2 200");
}

#[test]
fn a_certificate_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = |from: &Path, name: &str| {
        fs::copy(from.join(name), folder.path().join(name)).map(drop).expect("a copy");
    };
    copy(certificates(), "server.pem");
    copy(certificates(), "server-key.pem");
    let mut settings = Settings::for_upstream("http://127.0.0.1:1");
    settings.environment = vec![
        ("NORTHGATE__SERVER__CERTIFICATE", folder.path().join("server.pem").display().to_string()),
        ("NORTHGATE__SERVER__KEY", folder.path().join("server-key.pem").display().to_string()),
    ];
    let gateway = Gateway::start(settings);
    let hello = |ca: &Path| {
        let client = Client::tls(gateway.port, ca).basic("eva", "eva-secret");
        catch_unwind(AssertUnwindSafe(|| client.send("HEAD", "/v1/statement", b"").status)).ok()
    };
    assert_eq!(hello(&certificates().join("ca.pem")), Some(200));
    let fresh = tempfile::tempdir().expect("a folder");
    crate::harness::process::run_stack(&["certs", fresh.path().to_str().expect("a plain path")]);
    copy(fresh.path(), "server.pem");
    copy(fresh.path(), "server-key.pem");
    gateway.process.lock().expect("no panic in a lock").signal("HUP");
    let renewed = || (hello(&fresh.path().join("ca.pem")) == Some(200)).then_some(());
    assert!(within(Duration::from_secs(10), renewed).is_some(), "{}", gateway.log());
}

#[test]
fn trino_is_signed_in_to_with_a_password_or_with_nothing() {
    let mut settings = Settings::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "development-only\n").expect("the folder is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the folder is ours");
    settings.upstream_lines = format!(
        "authentication = \"password\"\nca_file = \"{}\"\npassword_file = \"{}\"\n",
        trino().ca.display(),
        file.display()
    );
    for settings in [settings, Settings::for_upstream(&trino().url())] {
        let gateway = Gateway::start(settings);
        assert_eq!(gateway.signed_in("eva").query("SELECT current_user").value(), "eva");
    }
}

#[test]
fn the_operator_has_metrics() {
    gateway().signed_in("eva").query("SELECT 1").rows();
    let metrics = gateway().admin().get("/metrics");
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    assert!(text.contains("northgate_") && text.contains("# TYPE"), "{text}");
    assert!(!text.contains("eva"), "users are no labels: {text}");
    assert_eq!(gateway().admin().get("/ready").status, 200);
    let keys = gateway().admin().get("/jwks").text();
    assert!(keys.contains("\"kid\"") && !keys.contains("\"d\""), "the public keys, and they alone: {keys}");
}
