//! How the gateway signs in to Trino, and that nobody else does: a Trino that is closed as the manual says.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::harness::authority::{Authority, text};
use crate::harness::issuer::now;
use crate::harness::process::{Guarded, free_ports, within};
use crate::harness::{Client, Gateway, Settings, stack};

/// A Trino that lets in nobody without a login: passwords, tokens and certificates, over HTTPS, and over plain HTTP what
/// came to a proxy by HTTPS.
struct Closed {
    http: u16,
    https: u16,
    folder: tempfile::TempDir,
    authority: Authority,
    /// The key of the gateway's tokens.
    key: PathBuf,
    _process: Mutex<Guarded>,
}

fn closed() -> &'static Closed {
    static CLOSED: OnceLock<Closed> = OnceLock::new();
    CLOSED.get_or_init(Closed::start)
}

impl Closed {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-trino-").tempdir().expect("a folder");
        let authority = Authority::new();
        let [http, https] = free_ports();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let (key, public) = (folder.path().join("gateway-key.pem"), folder.path().join("gateway.pem"));
        write_secret(&key, &pair.serialize_pem());
        std::fs::write(&public, pair.public_key_pem()).expect("the folder is ours");
        let mut command = Command::new(stack());
        command.arg("trino").arg(folder.path()).args([http.to_string(), https.to_string()]);
        command.arg(public).arg(authority.ca());
        let log = folder.path().join("trino.log");
        let process = Guarded::spawn(&command, folder.path(), &log).expect("bash");
        let started = || {
            std::net::TcpStream::connect(("127.0.0.1", http)).ok()?;
            let info = Client::plain(http).get("/v1/info");
            info.text().contains("\"starting\":false").then_some(())
        };
        assert!(
            within(Duration::from_mins(4), started).is_some(),
            "Trino does not start:\n{}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
        Self { http, https, folder, authority, key, _process: Mutex::new(process) }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("certs/ca.pem")
    }

    /// The settings of a gateway that signs in so, at this address.
    fn settings(&self, upstream: &str, lines: &str) -> Settings {
        let mut settings = Settings::for_upstream(upstream);
        settings.upstream_lines = lines.to_owned();
        if upstream.starts_with("https") {
            settings.upstream_lines += &format!("\nca_file = \"{}\"", text(&self.ca()));
        }
        settings
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.https)
    }

    /// A certificate and its key as the gateway wants them.
    fn certificate(&self, name: &str) -> String {
        let both = text(&self.authority.issue(name, 1, |_| {}));
        format!("authentication = \"certificate\"\ncert_file = \"{both}\"\nkey_file = \"{both}\"")
    }
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the folder is ours");
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("the folder is ours");
}

/// Whom Trino takes the query to be of, once it has nodes to run it on.
fn current_user(gateway: &Gateway) -> Value {
    let ask = || {
        let answer = gateway.signed_in("eva").query("SELECT current_user");
        answer.error.is_none().then(|| answer.value())
    };
    within(Duration::from_mins(1), ask).unwrap_or_else(|| panic!("no answer:\n{}", gateway.log()))
}

#[test]
fn every_way_to_sign_in() {
    let closed = closed();
    let password = closed.folder.path().join("password");
    write_secret(&password, "development-only");
    let password = format!("authentication = \"password\"\npassword_file = \"{}\"", text(&password));
    let token = format!("authentication = \"jwt\"\nkey_file = \"{}\"", text(&closed.key));
    let plain = format!("http://127.0.0.1:{}", closed.http);
    for (upstream, lines) in [
        (&closed.url(), &closed.certificate("northgate")),
        (&closed.url(), &password),
        (&closed.url(), &token),
        (&plain, &password),
        (&plain, &token),
    ] {
        let gateway = Gateway::start(closed.settings(upstream, lines));
        assert_eq!(current_user(&gateway), "eva", "{upstream} {lines}");
    }
}

#[test]
fn whom_trino_does_not_take_for_the_gateway() {
    let closed = closed();
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let key = closed.folder.path().join("stranger-key.pem");
    write_secret(&key, &stranger.serialize_pem());
    let other = Authority::new();
    let foreign = text(&other.issue("northgate", 1, |_| {}));
    let password = closed.folder.path().join("wrong-password");
    write_secret(&password, "wrong");
    let plain = format!("http://127.0.0.1:{}", closed.http);
    for (upstream, lines, what) in [
        (closed.url(), String::new(), "nothing"),
        (plain.clone(), String::new(), "nothing, over plain HTTP"),
        (closed.url(), format!("authentication = \"jwt\"\nkey_file = \"{}\"", text(&key)), "another's key"),
        (plain, format!("authentication = \"jwt\"\nkey_file = \"{}\"", text(&key)), "another's key"),
        (
            closed.url(),
            format!("authentication = \"password\"\npassword_file = \"{}\"", text(&password)),
            "a wrong password",
        ),
        (
            closed.url(),
            format!("authentication = \"certificate\"\ncert_file = \"{foreign}\"\nkey_file = \"{foreign}\""),
            "another authority's certificate",
        ),
        (closed.url(), closed.certificate("zoe"), "a user who may not act for others"),
    ] {
        let gateway = Gateway::start(closed.settings(&upstream, &lines));
        let answer = gateway.signed_in("eva").query("SELECT current_user");
        assert!(answer.error.is_some(), "{what}: {:?}", answer.rows);
    }
}

/// Whether Trino runs a query that it is sent so; its answer.
fn direct(client: &Client) -> (bool, String) {
    let response = client.submit("SELECT current_user");
    if response.status != 200 {
        return (false, format!("{} {}", response.status, response.text()));
    }
    let answer = client.follow(response);
    (answer.error.is_none(), format!("{:?} {:?}", answer.rows, answer.error))
}

#[test]
fn nobody_gets_past_the_gateway() {
    let closed = closed();
    let (over_http, over_https) = (Client::plain(closed.http), Client::tls(closed.https, &closed.ca()));
    let forged = {
        let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = EncodingKey::from_ec_pem(stranger.serialize_pem().as_bytes()).expect("a key");
        let claims = json!({"sub": "northgate", "exp": now() + 60});
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).expect("a token")
    };
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub3J0aGdhdGUifQ.";
    // `Forwarded` and its kin are the words of whoever is at the port.
    let as_if = |client: &Client| client.clone().with("X-Forwarded-Proto", "https");
    for client in [&over_http, &as_if(&over_http), &over_https, &as_if(&over_https)] {
        for user in ["eva", "admin", "northgate"] {
            for (client, what) in [
                (client.clone().user(user), "a name"),
                (client.clone().user(user).bearer(&forged), "a forged token"),
                (client.clone().user(user).bearer(unsigned), "an unsigned token"),
                (client.clone().user(user).basic("northgate", "guess"), "a guess"),
                (client.clone().user(user).basic("northgate", ""), "no password"),
                (client.clone().user(user).with("X-Trino-Original-User", "northgate"), "another name"),
                (client.clone().user(user).with("X-Trino-Authorization-User", "admin"), "a role"),
            ] {
                let (ran, answer) = direct(&client);
                assert!(!ran, "{what}, as {user}: {answer}");
            }
        }
    }
    // Certificates: of another authority none counts, and a good one opens its own name alone.
    let shown = |path: &Path| Client::tls_as(closed.https, &closed.ca(), rustls::ALL_VERSIONS, Some(path));
    let zoe = shown(&closed.authority.issue("zoe", 2, |_| {}));
    let (ran, answer) = direct(&zoe.clone().user("admin"));
    assert!(!ran, "{answer}");
    let foreign = Authority::new().issue("northgate", 1, |_| {});
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--data",
        "SELECT 1",
        "--header",
        "X-Trino-User: admin",
    ]);
    curl.arg("--cert").arg(foreign).arg("--cacert").arg(closed.ca());
    let output = curl.arg(format!("https://localhost:{}/v1/statement", closed.https)).output();
    assert!(!output.expect("curl runs").status.success());
    // What the gateway itself is let in with is let in: none of the above fails for another reason.
    let gateway = shown(&closed.authority.issue("northgate", 2, |_| {})).user("admin");
    let ran = || direct(&gateway).0.then_some(());
    assert!(within(Duration::from_mins(1), ran).is_some(), "{}", direct(&gateway).1);
    assert!(
        direct(&Client::tls(closed.https, &closed.ca()).user("eva").basic("northgate", "development-only")).0
    );
}
