//! Sign-in by client certificate, with the real clients.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};

use crate::harness::authority::{Authority, text};
use crate::harness::gateway::{certificates, password_of};
use crate::harness::http::path_of;
use crate::harness::process::{run, run_stack, within};
use crate::harness::{Client, Gateway, Settings, stack};

const COUNT: &str = "SELECT count(*) FROM lake.silver.customers";

/// A gateway that asks for certificates, and who signs them. Number 13 is withdrawn.
struct Asking {
    gateway: Gateway,
    authority: Authority,
}

impl Asking {
    fn start() -> Self {
        let authority = Authority::new();
        let mut settings = Settings::new();
        settings.server_lines = format!(
            "client_ca_file = \"{}\"\nclient_crl_file = \"{}\"\n",
            text(&authority.ca()),
            text(&authority.withdraw(&[13]))
        );
        settings.more = "[identity.client_certificates]\nuser_from = \"common_name\"\n\
             [[identity.impersonation]]\nprincipals = [\"eva\"]\nusers = [\"otto\"]\n"
            .to_owned();
        Self { gateway: Gateway::start(settings), authority }
    }

    fn client(&self, shown: &std::path::Path) -> Client {
        let ca = certificates().join("ca.pem");
        Client::tls_as(self.gateway.port, &ca, rustls::ALL_VERSIONS, Some(shown))
    }
}

fn asking() -> &'static Asking {
    static ASKING: OnceLock<Asking> = OnceLock::new();
    ASKING.get_or_init(Asking::start)
}

#[test]
fn a_certificate_is_a_login() {
    let Asking { gateway, authority } = asking();
    let eva = asking().client(&authority.issue("eva", 1, |_| {}));
    assert_eq!(eva.query(COUNT).value(), 120, "the groups are those of the users file");
    assert_eq!(eva.query("SELECT current_user").value(), "eva");
    let answer = eva.query(COUNT);
    let records = gateway.audit_of(&answer.id, |records| !records.is_empty());
    assert_eq!(records[0]["auth_method"], "certificate", "{records:#?}");
    assert_eq!(records[0]["principal"], "eva");
    let stranger = asking().client(&authority.issue("zoe", 1, |_| {}));
    assert!(stranger.query(COUNT).failure().contains("does not exist"), "nobody has given her anything");
    // Without one all is as before.
    assert_eq!(gateway.client().submit("SELECT 1").status, 401);
    assert_eq!(gateway.signed_in("eva").query(COUNT).value(), 120);
    // Impersonation goes by its rules.
    assert_eq!(eva.clone().user("otto").query(COUNT).value(), 240);
    assert_eq!(eva.clone().user("admin").submit(COUNT).status, 403);
}

#[test]
fn two_logins_must_be_one_user() {
    let eva = asking().client(&asking().authority.issue("eva", 2, |_| {}));
    assert_eq!(eva.clone().basic("eva", &password_of("eva")).query(COUNT).value(), 120);
    let both = eva.clone().basic("admin", &password_of("admin")).submit(COUNT);
    assert_eq!(both.status, 403, "{}", both.text());
    assert!(both.text().contains("signed in as 'admin' and as 'eva'"), "{}", both.text());
    assert_eq!(eva.basic("eva", "wrong").submit(COUNT).status, 401);
}

#[test]
fn links_are_the_logins() {
    let authority = &asking().authority;
    let eva = asking().client(&authority.issue("eva", 3, |_| {}));
    let page = eva.submit("SELECT * FROM tpch.tiny.nation").page();
    let link = path_of(page["nextUri"].as_str().expect("there is more"));
    for other in [
        asking().client(&authority.issue("otto", 3, |_| {})),
        asking().gateway.signed_in("otto"),
        eva.clone().user("otto").with("X-Trino-Source", "x").basic("otto", &password_of("otto")),
    ] {
        let status = other.get(&link).status;
        assert!(matches!(status, 404 | 403), "{status}");
    }
    assert_eq!(asking().gateway.client().get(&link).status, 401);
    assert_eq!(eva.follow(eva.get(&link)).rows().len(), 25);
}

/// The CLI and the JDBC driver, with a key store in PEM.
fn cli(shown: &std::path::Path) -> std::process::Output {
    let port = asking().gateway.port;
    let mut command = Command::new(stack());
    command.args([
        "cli",
        "--server",
        &format!("https://localhost:{port}"),
        "--user",
        "eva",
        "--execute",
        COUNT,
    ]);
    command.arg("--truststore-path").arg(certificates().join("ca.pem")).arg("--keystore-path").arg(shown);
    command.output().expect("the client runs")
}

fn curl(gateway: &Gateway, shown: &std::path::Path) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--data", "SELECT 1", "--cert"]).arg(shown);
    curl.arg("--cacert").arg(certificates().join("ca.pem"));
    curl.arg(format!("https://localhost:{}/v1/statement", gateway.port));
    curl
}

#[test]
fn real_clients() {
    let good = asking().authority.issue("eva", 4, |_| {});
    let output = cli(&good);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\"120\"\n", "{output:?}");
    let url = |shown| {
        let (port, ca) = (asking().gateway.port, text(&certificates().join("ca.pem")));
        let shown = text(shown);
        format!("jdbc:trino://localhost:{port}?SSL=true&SSLTrustStorePath={ca}&SSLKeyStorePath={shown}")
    };
    assert_eq!(run_stack(&["jdbc", &url(&good), "eva", "", "", &format!("rows:{COUNT}")]), "120\n");
    let admin = url(&asking().authority.issue("admin", 4, |_| {}));
    let cases =
        run_stack(&["jdbc", &admin, "admin", "", "", "cancel", "close-early", "validate", "big-result"]);
    assert_eq!(cases.matches("ok ").count(), 4, "{cases}");
    assert!(run(&mut curl(&asking().gateway, &good)).contains("nextUri"));
}

#[test]
fn certificates_that_do_not_hold() {
    let authority = &asking().authority;
    let stranger = Authority::new();
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    for (shown, what) in [
        (stranger.issue("eva", 5, |_| {}), "another authority's"),
        (authority.issue("eva", 6, old), "expired"),
        (authority.issue("eva", 13, |_| {}), "withdrawn"),
        (authority.issue("eva", 7, server), "a server's"),
    ] {
        let output = cli(&shown);
        // Java says of it what it met first: the alert, or the connection's end.
        assert!(!output.status.success() && output.stdout.is_empty(), "{what}: {output:?}");
        let refusals = || asking().gateway.log().matches("a client certificate is refused").count();
        let before = refusals();
        let output = curl(&asking().gateway, &shown).output().expect("curl runs");
        assert!(
            within(Duration::from_secs(5), || (refusals() > before).then_some(())).is_some(),
            "{what}: logged"
        );
        assert!(!output.status.success(), "{what}: {output:?}");
    }
}

#[test]
fn a_list_is_read_again() {
    let own = Asking::start();
    let shown = own.authority.issue("eva", 20, |_| {});
    let ask = || curl(&own.gateway, &shown).output().expect("curl runs").status.success();
    assert!(ask());
    own.authority.withdraw(&[20]);
    own.gateway.process.lock().expect("no panic in a lock").signal("HUP");
    let refused = || (!ask()).then_some(());
    assert!(within(Duration::from_secs(20), refused).is_some(), "a withdrawn certificate is taken");
}
