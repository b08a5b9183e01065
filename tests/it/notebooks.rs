//! Notebooks of a real JupyterHub, whose users sign in at a real Keycloak and ask without a password.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::ca;
use crate::harness::gateway::binary;
use crate::harness::process::{Guarded, free_ports, run, within};
use crate::harness::sign_in::keycloak;
use crate::harness::{Client, Gateway, Settings, stack};

const READ: &str = "result = %sql SELECT current_user, region, count(*), count(DISTINCT substr(ssn, 1, 3)) \
                    FROM lake.silver.customers GROUP BY 1, 2\nprint([list(row) for row in result])";
/// A result that is read while the token that it was asked for with ends.
const SLOWLY: &str = "
import time
cursor = northgate.raw_connection().cursor()
cursor.execute('SELECT orderkey, comment FROM tpch.sf1.orders WHERE orderkey <= 400000')
cursor.fetchone()
time.sleep(22)
print(1 + len(cursor.fetchall()))";
/// What the hub gives a notebook: the token's claims, and what there is of the user.
const ASK: &str = "
import base64, json, os, requests
def ask(path):
    token = os.environ['JUPYTERHUB_API_TOKEN']
    return requests.get(os.environ['JUPYTERHUB_API_URL'] + path, headers={'Authorization': 'token ' + token})
def claims():
    return json.loads(base64.urlsafe_b64decode(ask('/northgate/token').json()['access_token'].split('.')[1] + '=='))
print(json.dumps({**claims(), 'state': ask('/users/eva').json().get('auth_state'), 'other': ask('/users/otto').status_code}))";
/// Waits until the token that the notebook still has is over.
const UNTIL_OVER: &str =
    "for _ in range(60):\n    if ask('/northgate/token').status_code == 401: break\n    time.sleep(0.5)";

/// A running hub.
struct Hub {
    port: u16,
    _process: Mutex<Guarded>,
    folder: tempfile::TempDir,
}

impl Hub {
    /// One as `northgate deploy` has it, before this gateway.
    fn start(gateway: &Gateway, issuer: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-hub-").tempdir().expect("a folder");
        let written = |place: &str| {
            let path = folder.path().join(format!("{place}.deployed"));
            std::fs::write(&path, run(binary().args(["deploy", place]))).expect("the folder is ours");
            path
        };
        let (config, kernel) = (written("jupyterhub"), written("jupyter-kernel"));
        let [port] = free_ports();
        let mut command = Command::new(stack());
        command.arg("jupyterhub").arg(folder.path()).arg(port.to_string()).arg(config).arg(kernel);
        command.env("OIDC_ISSUER", issuer).env("NORTHGATE", format!("localhost:{}", gateway.port));
        command.env("NORTHGATE_CA", ca()).env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        let process = Guarded::spawn(&command, folder.path(), &folder.path().join("hub.log")).expect("bash");
        let hub = Self { port, _process: Mutex::new(process), folder };
        let up = || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            (Client::plain(port).get("/hub/health").status == 200).then_some(())
        };
        assert!(within(Duration::from_mins(4), up).is_some(), "the hub does not answer: {}", hub.log());
        hub
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("hub.log")).unwrap_or_default()
    }
}

/// A notebook in a user's server.
struct Notebook {
    child: Child,
    cells: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Notebook {
    fn open(hub: &Hub, user: &str) -> Self {
        let mut command = Command::new(stack());
        command.args(["hub", &format!("http://127.0.0.1:{}", hub.port), user]);
        command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let cells = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, cells, lines }
    }

    /// Runs a cell: what it writes, or its error.
    fn run(&mut self, cell: &str) -> Result<String, String> {
        writeln!(self.cells, "{}", Value::from(cell)).expect("it reads cells");
        let line = self.lines.next().expect("it answers").expect("text");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["said"].as_str().expect("text").to_owned()),
        }
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hub_lends_notebooks_its_users_tokens_and_refreshes_them() {
    let keycloak = keycloak();
    let issuer = format!("http://127.0.0.1:{}/realms/bank", keycloak.port);
    let mut settings = Settings::new();
    settings.more = format!(
        "[[identity.jwt]]\nissuer = '{issuer}'\naudiences = ['northgate']\n\
         jwks_url = '{issuer}/protocol/openid-connect/certs'\nuser_claim = 'preferred_username'\n\
         [[identity.mapping]]\nfrom = 'jwt:{issuer}'\nmatch = '(eva|otto)'\nuser = '$1'\ngroups = ['eu-analysts']\n"
    );
    let samples = "version: 1\npolicies:\n  - name: samples\n    who: { groups: [eu-analysts] }\n    \
                   tables: ['tpch.sf1.*']\n    allow: true\n";
    settings.policies.push(("samples.yaml", samples.to_owned()));
    let gateway = Gateway::start(settings);
    let hub = Hub::start(&gateway, &issuer);
    let mut notebook = Notebook::open(&hub, "eva");
    let mut good =
        |cell: &str| notebook.run(cell).unwrap_or_else(|error| panic!("{cell}: {error}\n{}", hub.log()));
    for cell in ["%load_ext sql", "%config SqlMagic.feedback = 0", "%sql northgate"] {
        good(cell);
    }
    assert_eq!(good(READ), "[['eva', 'EU', 120, 1]]");

    let mut claims = || -> Value { serde_json::from_str(&good(ASK)).expect("JSON") };
    let before = claims();
    assert_eq!((&before["preferred_username"], &before["aud"]), (&"eva".into(), &"northgate".into()));
    // The refresh token is not among what a notebook is told, and neither is anything of others.
    assert_eq!((&before["state"], &before["other"]), (&Value::Null, &404.into()));
    assert_eq!(good(SLOWLY), "100000");
    let mut claims = || -> Value { serde_json::from_str(&good(ASK)).expect("JSON") };
    let after = claims();
    assert!(before["exp"].as_i64() < after["iat"].as_i64(), "{before} {after}");
    assert_eq!(before["sid"], after["sid"]);

    // The sign-in ends at the provider, and with its last token what the notebook may.
    keycloak.administer("DELETE", &format!("/sessions/{}", after["sid"].as_str().expect("an id")), b"");
    good(UNTIL_OVER);
    let refused = notebook.run(READ).expect_err("nobody is signed in");
    assert!(refused.contains("sign in there again"), "{refused}");

    let records = gateway.audit();
    let of_notebook: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "intent" && record["source"] == "jupyterhub")
        .collect();
    assert!(of_notebook.len() >= 2, "{records:#?}");
    for record in of_notebook {
        assert_eq!(
            (&record["principal"], &record["auth_method"]),
            (&json!("eva"), &json!("jwt")),
            "{record}"
        );
    }
}
