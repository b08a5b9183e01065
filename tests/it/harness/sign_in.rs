//! Gateways whose users sign in with a browser, and the programs that wait for that.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::gateway::certificates;
use super::http::path_of;
use super::keycloak::Keycloak;
use super::{Client, Gateway, Settings, stack};

/// A gateway whose users sign in with their password in a browser.
pub(crate) fn by_password(more: &str) -> Gateway {
    let mut settings = Settings::new();
    settings.more = format!(
        "[identity.login]\nexternal_url = 'https://localhost:{{port}}'\npasswords = true\n{more}\n[identity.tokens]\n"
    );
    Gateway::start(settings)
}

/// Where browsers find it.
pub(crate) fn origin(gateway: &Gateway) -> String {
    format!("https://localhost:{}", gateway.port)
}

/// What a driver without a login is told: where its user signs in, and where its token will be.
pub(crate) fn challenge(gateway: &Gateway, user: Option<&str>) -> (String, String) {
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

/// What a driver is told that asks for its token.
pub(crate) fn poll(client: &Client, token_server: &str) -> Value {
    let response = client.get(&path_of(token_server));
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body).expect("JSON")
}

/// A program that prints where its user signs in, and what it has found then.
pub(crate) struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    seen: Vec<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// The next address that it prints.
    pub(crate) fn address(&mut self) -> String {
        self.address_with("/oauth2/token/initiate/")
    }

    /// The next address with this in it.
    pub(crate) fn address_with(&mut self, part: &str) -> String {
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
    pub(crate) fn end(mut self) -> String {
        let rest: Vec<_> = self.lines.by_ref().map(|line| line.expect("text")).collect();
        let status = self.child.wait().expect("an end");
        assert!(status.success(), "{:#?} {rest:#?}", self.seen);
        rest.join("\n")
    }
}

/// The JDBC driver, which signs its user in with a browser. Its steps are those of `tests/stack/jdbc`.
pub(crate) fn jdbc(gateway: &Gateway, steps: &[&str]) -> Program {
    let mut command = Command::new(stack());
    command.args(["jdbc", &format!("jdbc:trino://localhost:{}", gateway.port), "", "external"]);
    command.arg(certificates().join("ca.pem"));
    Program::start(command.args(steps))
}

/// The same for the Python client: statements, of which each prints its rows; `sleep:SECONDS`; and `slowly:SECONDS:SQL`, which
/// waits behind the first row, and prints how many there are.
pub(crate) fn python(gateway: &Gateway, steps: &[&str]) -> Program {
    const SCRIPT: &str = r"
import sys, time
from trino.auth import ConsoleRedirectHandler, OAuth2Authentication
from trino.dbapi import connect

auth = OAuth2Authentication(redirect_auth_url_handler=ConsoleRedirectHandler())
connection = connect(host='localhost', port=int(sys.argv[1]), http_scheme='https', auth=auth, verify=sys.argv[2])
for step in sys.argv[3:]:
    cursor = connection.cursor()
    if step.startswith('sleep:'):
        time.sleep(float(step[6:]))
    elif step.startswith('slowly:'):
        _, seconds, sql = step.split(':', 2)
        cursor.execute(sql)
        cursor.fetchone()
        time.sleep(float(seconds))
        print(1 + len(cursor.fetchall()), flush=True)
    else:
        cursor.execute(step)
        for row in cursor.fetchall():
            print(*row, sep='\t', flush=True)
";
    let mut command = Command::new(stack());
    command.args(["python", "-u", "-c", SCRIPT, &gateway.port.to_string()]);
    command.arg(certificates().join("ca.pem")).env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    Program::start(command.args(steps))
}

/// The same for the command line, which prints the rows of one statement.
pub(crate) fn cli(gateway: &Gateway, user: &str, sql: &str) -> Program {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(stack()).args(["cli", "--server", &origin(gateway)]);
    command.args(["--external-authentication", "--external-authentication-redirect-handler", "PRINT"]);
    command.arg("--truststore-path").arg(certificates().join("ca.pem"));
    Program::start(command.args(["--user", user, "--execute", sql]))
}

/// The provider that these tests share. One of them ends the sessions of otto there: the others leave him alone.
pub(crate) fn keycloak() -> &'static Keycloak {
    static KEYCLOAK: OnceLock<Keycloak> = OnceLock::new();
    KEYCLOAK.get_or_init(Keycloak::start)
}

/// A gateway whose users sign in at a Keycloak by SAML.
pub(crate) fn by_saml(keycloak: &Keycloak) -> (Gateway, tempfile::TempDir) {
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

/// A gateway whose users sign in at a Keycloak by OpenID Connect.
pub(crate) fn by_oidc(keycloak: &Keycloak, more: &str) -> Gateway {
    Gateway::start(oidc(keycloak, more))
}

/// Its settings.
pub(crate) fn oidc(keycloak: &Keycloak, more: &str) -> Settings {
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
    settings
}
