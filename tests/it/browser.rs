//! Sign-in with a real browser, for people and for drivers.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::chromium::Chromium;
use crate::harness::gateway::{binary, certificates};
use crate::harness::keycloak::{Browser, Keycloak, field};
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings, stack};

/// A gateway whose users sign in with their password in a browser.
fn by_password(more: &str) -> Gateway {
    let mut settings = Settings::new();
    settings.more = format!(
        "[identity.login]\nexternal_url = 'https://localhost:{{port}}'\npasswords = true\n{more}\n[identity.tokens]\n"
    );
    Gateway::start(settings)
}

fn origin(gateway: &Gateway) -> String {
    format!("https://localhost:{}", gateway.port)
}

/// What a driver without a login is told: where its user signs in, and where its token will be.
fn challenge(gateway: &Gateway, user: Option<&str>) -> (String, String) {
    let client = gateway.client();
    let client = user.map_or(client.clone(), |user| client.with("X-Trino-User", user));
    let response = client.submit("SELECT 1");
    assert_eq!(response.status, 401);
    let challenges = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
    let challenge = challenges.map(|(_, value)| value).find(|value| value.starts_with("Bearer "));
    let challenge = challenge.expect("a challenge").clone();
    let part = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{challenge}"));
        rest.split_once('"').expect("an end").0.to_owned()
    };
    (part("x_redirect_server"), part("x_token_server"))
}

fn path(url: &str) -> String {
    crate::harness::http::path_of(url)
}

fn poll(client: &Client, token_server: &str) -> Value {
    let response = client.get(&path(token_server));
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body).expect("JSON")
}

/// A program that prints where its user signs in, and what it has found then.
struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    seen: Vec<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// The next address that it prints.
    fn address(&mut self) -> String {
        self.address_with("/oauth2/token/initiate/")
    }

    /// The next address with this in it.
    fn address_with(&mut self, part: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.expect("text");
            let found = line.split_whitespace().find(|word| word.contains(part));
            if let Some(url) = found {
                return url.to_owned();
            }
            self.seen.push(line);
        }
        panic!("it names no address: {:#?}", self.seen);
    }

    /// The rest of what it prints.
    fn end(mut self) -> String {
        let rest: Vec<_> = self.lines.by_ref().map(|line| line.expect("text")).collect();
        let status = self.child.wait().expect("an end");
        assert!(status.success(), "{:#?} {rest:#?}", self.seen);
        rest.join("\n")
    }
}

fn jdbc(gateway: &Gateway, sql: &[&str]) -> Program {
    let mut command = Command::new(stack());
    command.args(["jdbc", &format!("jdbc:trino://localhost:{}", gateway.port), "", "external"]);
    command.arg(certificates().join("ca.pem"));
    command.args(sql.iter().map(|sql| format!("rows:{sql}")));
    Program::start(&mut command)
}

const COUNT: &str = "SELECT count(*), count(DISTINCT substr(ssn, 1, 3)) FROM lake.silver.customers";

#[test]
fn a_driver_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_by_password("eva");
    browser.reads("Let this program in?");
    assert!(browser.text().contains("Trino JDBC Driver/484"), "{}", browser.text());
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    // The next program needs no password, and still the user's word.
    let mut program = jdbc(&gateway, &["SELECT current_user"]);
    browser.go(&program.address());
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva");
    let records = gateway.audit();
    let outcomes: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "sign_in")
        .map(|record| &record["outcome"])
        .collect();
    assert_eq!(outcomes, ["accepted", "driver_accepted", "driver_accepted"]);
}

#[test]
fn a_python_program_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut command = Command::new(stack());
    let script = "import os, sys\n\
                  from trino.auth import OAuth2Authentication, ConsoleRedirectHandler\n\
                  from trino.dbapi import connect\n\
                  auth = OAuth2Authentication(redirect_auth_url_handler=ConsoleRedirectHandler())\n\
                  c = connect(host='localhost', port=int(sys.argv[1]), http_scheme='https', auth=auth, verify=sys.argv[2])\n\
                  for _ in range(2):\n    cursor = c.cursor()\n    cursor.execute('SELECT current_user')\n    \
                  print(cursor.fetchone()[0], flush=True)\n";
    command.args(["python", "-u", "-c", script, &gateway.port.to_string()]);
    command.arg(certificates().join("ca.pem")).env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    let mut program = Program::start(&mut command);
    browser.go(&program.address());
    browser.sign_in_by_password("otto");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "otto\notto");
}

#[test]
fn a_driver_is_turned_away() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let (initiate, token) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=deny]");
    browser.reads("It was turned away");
    let told = poll(&gateway.client(), &token);
    assert!(told["error"].as_str().is_some_and(|error| error.contains("turned away")), "{told}");
    // What was decided stays so.
    browser.go(&initiate);
    browser.click("button[value=allow]");
    browser.reads("This was decided before");
}

#[test]
fn a_link_of_somebody_else_signs_nobody_in() {
    let gateway = by_password("");
    let browser = Chromium::open();
    // Otto's driver asks, and eva is sent the link.
    let (initiate, token) = challenge(&gateway, Some("otto"));
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("The program wants to sign in as 'otto', and you are signed in as 'eva'");
    let told = poll(&gateway.client(), &token);
    assert!(told["nextUri"].is_string(), "{told}");
    // Without the form's key nothing is decided, wherever it comes from.
    let (initiate, token) = challenge(&gateway, None);
    let cookies = browser.cookies();
    let session =
        cookies.iter().find(|cookie| cookie["name"] == "__Host-northgate-session").expect("a session");
    assert_eq!(
        (&session["httpOnly"], &session["secure"], &session["sameSite"]),
        (&true.into(), &true.into(), &"Lax".into())
    );
    let cookie = format!("__Host-northgate-session={}", session["value"].as_str().expect("a value"));
    let own =
        gateway.client().with("Cookie", cookie).with("Content-Type", "application/x-www-form-urlencoded");
    for (origin, body) in [
        (origin(&gateway), "decision=allow"),
        (origin(&gateway), "decision=allow&key=aaaa"),
        ("https://evil.example".to_owned(), "decision=allow"),
    ] {
        let response = own.clone().with("Origin", origin).send("POST", &path(&initiate), body.as_bytes());
        assert_eq!(response.status, 403, "{body}");
    }
    assert!(poll(&gateway.client(), &token)["nextUri"].is_string());
    // A cookie signs no query in.
    assert_eq!(own.submit("SELECT 1").status, 401);
}

#[test]
fn a_token_server_tells_strangers_nothing() {
    let gateway = by_password("");
    let (initiate, token) = challenge(&gateway, None);
    let ticket = |url: &str| url.rsplit_once('/').expect("a path").1.to_owned();
    for other in [ticket(&initiate), "a".to_owned(), format!("{}A", ticket(&token))] {
        let told = poll(&gateway.client(), &format!("{}/oauth2/token/{other}", origin(&gateway)));
        assert!(told["error"].is_string(), "{told}");
    }
    // The browser's ticket cannot be made out of the driver's, nor the reverse.
    let response = gateway.client().get(&format!("/oauth2/token/initiate/{}", ticket(&token)));
    assert_eq!(response.status, 404);
}

#[test]
fn tokens_are_made_and_revoked_on_a_page() {
    let gateway = by_password("");
    let browser = Chromium::open();
    browser.go(&origin(&gateway));
    browser.click("a[href='/login/password']");
    browser.fill("#user", "eva");
    browser.fill("#password", "wrong");
    browser.click("main button[type=submit]");
    browser.reads("The user name or the password is not right.");
    browser.sign_in_by_password("eva");
    browser.reads("Signed in as eva");
    browser.click("nav a[href='/tokens']");
    browser.reads("You have none yet.");
    browser.fill("#name", "Power BI on <my> desk");
    browser.fill("#addresses", "10.0.0.0/99");
    browser.click("main form.card button");
    browser.reads("at most 32 bits");
    browser.fill("#addresses", "127.0.0.0/8");
    browser.click("main form.card button");
    browser.reads("Copy it now");
    let secret = browser.text_of("pre.secret");
    let client = gateway.client().basic("eva", &secret);
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    let write = client.query("CREATE TABLE lake.silver.mine AS SELECT 1 AS one");
    assert!(write.failure().contains("Access Denied"), "{}", write.failure());
    browser.go(&format!("{}/tokens", origin(&gateway)));
    browser.reads("Power BI on <my> desk");
    assert!(!browser.text().contains(&secret), "it is not shown again");
    browser.click("table button");
    browser.reads("You have none yet.");
    assert_eq!(client.submit("SELECT 1").status, 401);
    let session = browser.cookies().into_iter().find(|cookie| cookie["name"] == "__Host-northgate-session");
    let session = session.expect("a session")["value"].as_str().expect("a value").to_owned();
    browser.click("header button");
    browser.reads("You are signed out");
    // The cookie of before is worth nothing.
    let old = gateway.client().with("Cookie", format!("__Host-northgate-session={session}"));
    assert_eq!(old.get("/tokens").status, 303);
}

#[test]
fn a_driver_fetches_another_token_without_its_user() {
    let gateway = by_password("token_life = '10s'");
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let told = poll(&gateway.client(), &token_server);
    let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    let client = gateway.client().bearer(&token);
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    assert_eq!(client.clone().with("X-Trino-User", "otto").submit("SELECT 1").status, 403);
    let renewed = within(Duration::from_secs(90), || {
        std::thread::sleep(Duration::from_secs(1));
        let response = client.send("HEAD", "/v1/statement", b"");
        (response.status == 401).then_some(response)
    });
    let renewed = renewed.expect("the token ends");
    let challenge = renewed.headers.iter().find(|(name, _)| name == "www-authenticate").expect("a challenge");
    assert!(!challenge.1.contains("x_redirect_server"), "{}", challenge.1);
    let (_, server) = challenge.1.split_once("x_token_server=\"").expect("an address");
    let told = poll(&gateway.client(), server.trim_end_matches('"'));
    let next = told["token"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert_ne!(next, token);
    assert_eq!(gateway.client().bearer(next).query("SELECT current_user").value(), "eva");
    assert!(poll(&gateway.client(), &token_server)["token"].is_null(), "the first is told once");
    // Signing out ends what drivers have.
    browser.go(&origin(&gateway));
    browser.click("header button");
    browser.reads("You are signed out");
    assert_eq!(gateway.client().bearer(next).submit("SELECT 1").status, 401);
}

#[test]
fn the_command_line_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(stack()).args(["cli", "--server", &origin(&gateway)]);
    command.args(["--external-authentication", "--external-authentication-redirect-handler", "PRINT"]);
    command.arg("--truststore-path").arg(certificates().join("ca.pem"));
    command.args(["--user", "otto", "--execute", "SELECT current_user"]);
    let mut program = Program::start(&mut command);
    browser.go(&program.address());
    browser.sign_in_by_password("otto");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert!(program.end().contains("\"otto\""));
}

#[test]
fn a_terminal_signs_its_user_in_with_a_code() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "device_flow = true");
    let browser = Chromium::open();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(binary().get_program());
    command.args(["sign-in", "--server", &origin(&gateway), "--ca-file"]).arg(certificates().join("ca.pem"));
    let mut program = Program::start(&mut command);
    browser.go(&program.address_with("user_code="));
    browser.sign_in_at_keycloak("eva");
    browser.click("[name=accept]");
    let token = program.end();
    let token = token.trim();
    assert!(token.starts_with("ngd_"), "{token}");
    assert_eq!(gateway.client().bearer(token).query("SELECT current_user").value(), "eva");
    // Nobody can do so where the configuration does not say it.
    let gateway = by_oidc(keycloak, "");
    let mut command = binary();
    command.args(["sign-in", "--server", &origin(&gateway), "--ca-file"]).arg(certificates().join("ca.pem"));
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not set up here"), "{output:?}");
}

/// The provider that these tests share. One of them ends the sessions of otto there: the others leave him alone.
pub(crate) fn keycloak() -> &'static Keycloak {
    static KEYCLOAK: OnceLock<Keycloak> = OnceLock::new();
    KEYCLOAK.get_or_init(Keycloak::start)
}

/// A gateway whose users sign in at a Keycloak by SAML.
fn by_saml(keycloak: &Keycloak) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    let certificate = certificate.self_signed(&key).expect("signed");
    let files = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    std::fs::write(&files.0, key.serialize_pem()).expect("written");
    std::fs::write(&files.1, certificate.pem()).expect("written");
    let realm = format!("http://127.0.0.1:{}/realms/bank", keycloak.port);
    let mut settings = Settings::new();
    settings.more = format!(
        "[identity.login]\nexternal_url = 'https://localhost:{{port}}'\n[identity.tokens]\n\
         [[identity.saml]]\nname = 'keycloak'\ntitle = 'The bank'\nidp_entity_id = '{realm}'\n\
         metadata_url = '{realm}/protocol/saml/descriptor'\nkey_file = '{}'\ncertificate_file = '{}'\n\
         groups_attribute = 'Role'\n\
         [[identity.mapping]]\nfrom = 'saml:keycloak'\nmatch = '(eva|otto)'\nuser = '$1'\ngroups = ['eu-analysts']\n",
        files.0.display(),
        files.1.display(),
    );
    let gateway = Gateway::start(settings);
    let metadata = gateway.client().get("/login/saml/keycloak/metadata").text();
    keycloak.register(
        &metadata,
        &json!({"saml_name_id_format": "username", "saml_force_name_id_format": "true"}),
    );
    (gateway, folder)
}

#[test]
fn saml_signs_people_and_their_drivers_in() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_at_keycloak("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    let records = gateway.audit();
    let signed_in = records.iter().find(|record| record["type"] == "sign_in").expect("on record");
    assert_eq!((&signed_in["auth_method"], &signed_in["principal"]), (&"saml".into(), &"eva".into()));
    // Signing out here signs out there.
    browser.go(&origin(&gateway));
    browser.reads("eu-analysts");
    browser.click("header button");
    browser.reads("You may close this window");
    assert!(browser.url().contains("/login/saml/keycloak/logout"), "{}", browser.url());
    browser.go(&format!("{}/login/saml/keycloak", origin(&gateway)));
    // And there is nobody without a rule of mapping.
    browser.sign_in_at_keycloak("nora");
    browser.reads("You could not be signed in");
    assert!(browser.text().contains("you are signed in as 'nora', which is no user of Northgate"));
}

#[test]
fn a_saml_sign_out_there_ends_what_is_here() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_at_keycloak("eva");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let told = poll(&gateway.client(), &token_server);
    let client = gateway.client().bearer(told["token"].as_str().unwrap_or_else(|| panic!("{told}")));
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    browser.go(&format!("http://127.0.0.1:{}/realms/bank/protocol/openid-connect/logout", keycloak.port));
    browser.click("#kc-logout");
    let out = within(Duration::from_secs(30), || (client.submit("SELECT 1").status == 401).then_some(()));
    assert!(out.is_some(), "the token lives on: {}", browser.text());
    browser.go(&format!("{}/tokens", origin(&gateway)));
    assert!(!browser.has("header form"), "{}", browser.text());
}

#[test]
fn a_saml_answer_is_for_the_browser_that_asked() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    // Somebody begins in a browser of theirs, signs in, and keeps the answer for another's.
    let ours = gateway.client();
    let begun = ours.get("/login/saml/keycloak");
    let url = begun.header("location").expect("an address").to_owned();
    let own = begun.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
    let mut there = Browser::new(keycloak.port);
    let page = there.get(&url);
    let page = there.sign_in(&page, "eva");
    let message = field(&page, "SAMLResponse").expect("an answer");
    let form = |message: &str| {
        let message = percent_encoding::utf8_percent_encode(message, percent_encoding::NON_ALPHANUMERIC);
        format!("SAMLResponse={message}")
    };
    let answer = |body: &str| {
        let client = gateway.client().with("Content-Type", "application/x-www-form-urlencoded");
        client.send("POST", "/login/saml/keycloak/acs", body.as_bytes())
    };
    let accepted = answer(&form(&message));
    assert_eq!(accepted.status, 303, "{}", accepted.text());
    let finish = accepted.header("location").expect("an address").to_owned();
    assert_eq!(answer(&form(&message)).status, 403, "a replay");
    assert_eq!(answer("SAMLResponse=AAAA").status, 403, "no answer at all");
    let stranger = gateway.client().get(&finish);
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert!(stranger.header("set-cookie").is_none());
    assert!(stranger.text().contains("begun in another browser"), "{}", stranger.text());
    // What was tried by another is spent.
    assert_eq!(gateway.client().with("Cookie", own).get(&finish).status, 403);
}

/// A gateway whose users sign in at a Keycloak by OpenID Connect.
fn by_oidc(keycloak: &Keycloak, more: &str) -> Gateway {
    let mut settings = Settings::new();
    // The secret lies beside the settings, as the users file does.
    settings.files.push(("oidc.secret", "northgate-secret\n".to_owned()));
    settings.more = format!(
        "[identity.login]\nexternal_url = 'https://localhost:{{port}}'\ntoken_life = '10s'\n{more}\n\
         [identity.tokens]\n\
         [[identity.oidc]]\nname = 'keycloak'\ntitle = 'The bank'\nissuer = 'http://127.0.0.1:{}/realms/bank'\n\
         client_id = 'northgate'\nclient_secret_file = 'oidc.secret'\nuser_claim = 'preferred_username'\n\
         groups_claim = 'groups'\n\
         [[identity.mapping]]\nfrom = 'oidc:keycloak'\nmatch = '(eva|otto)'\nuser = '$1'\ngroups = ['eu-analysts']\n",
        keycloak.port
    );
    Gateway::start(settings)
}

#[test]
fn oidc_signs_people_and_their_drivers_in() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_at_keycloak("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    browser.go(&origin(&gateway));
    browser.reads("analysts, branch-eu, eu-analysts");
    // Signing out here signs out there: the provider asks for the password again.
    browser.click("header button");
    browser.reads("Sign in");
    browser.go(&format!("{}/login/oidc/keycloak", origin(&gateway)));
    browser.sign_in_at_keycloak("nora");
    browser.reads("You could not be signed in");
    assert!(browser.text().contains("you are signed in as 'nora', which is no user of Northgate"));
}

#[test]
fn an_oidc_session_lasts_as_long_as_it_does_there() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_at_keycloak("otto");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let mut server = token_server;
    let ended = || panic!("the token does not end");
    let probe = |token: &str| gateway.client().bearer(token).send("HEAD", "/v1/statement", b"");
    // Three tokens after another, without the user.
    for _ in 0..3 {
        let told = poll(&gateway.client(), &server);
        let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        assert_eq!(probe(&token).status, 200);
        let over =
            within(Duration::from_secs(30), || Some(probe(&token)).filter(|response| response.status == 401));
        let over = over.unwrap_or_else(ended);
        let challenge = over.header("www-authenticate").expect("a challenge").to_owned();
        assert!(!challenge.contains("x_redirect_server"), "{challenge}");
        server =
            challenge.split_once("x_token_server=\"").expect("an address").1.trim_end_matches('"').to_owned();
    }
    let told = poll(&gateway.client(), &server);
    let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    assert_eq!(probe(&token).status, 200);
    // The provider ends the session: the driver must send its user to sign in.
    let users = keycloak.administer("GET", "/users?username=otto", b"");
    let id = users[0]["id"].as_str().expect("an id");
    keycloak.administer("POST", &format!("/users/{id}/logout"), b"");
    let over = within(Duration::from_secs(40), || {
        let response = probe(&token);
        let challenge = response.header("www-authenticate")?.to_owned();
        challenge.contains("x_redirect_server").then_some(())
    });
    assert!(over.is_some(), "the session lives on");
    browser.go(&format!("{}/tokens", origin(&gateway)));
    assert!(!browser.has("header form"), "{}", browser.text());
}

#[test]
fn an_oidc_answer_is_for_the_browser_that_asked() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let begin = || {
        let begun =
            gateway.client().get("/login/oidc/keycloak?next=https://evil.example&then=//evil.example");
        let cookie =
            begun.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
        (begun.header("location").expect("an address").to_owned(), cookie)
    };
    let (url, own) = begin();
    let mut there = Browser::new(keycloak.port);
    let page = there.get(&url);
    let page = there.sign_in(&page, "eva");
    let callback = path(page.header("location").expect("a callback"));
    let (_, of_another) = begin();
    let (name, _) = own.split_once('=').expect("a name");
    let (_, value) = of_another.split_once('=').expect("a value");
    let answer = |cookie: &str| gateway.client().with("Cookie", cookie).get(&callback);
    for (cookie, what) in [
        (String::new(), "no cookie"),
        (of_another.clone(), "another sign-in's"),
        (format!("{name}={value}"), "another sign-in's under this one's name"),
        (format!("{own}; {own}"), "twice"),
    ] {
        let response = answer(&cookie);
        assert_eq!(response.status, 403, "{what}: {}", response.text());
        assert!(response.header("set-cookie").is_none(), "{what}");
    }
    let response = answer(&own);
    assert_eq!(response.status, 303, "{}", response.text());
    assert_eq!(response.header("location"), Some("/"), "nowhere else");
    assert_eq!(answer(&own).status, 403, "a replay");
}
