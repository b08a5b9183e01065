//! A lakehouse beside the bank: an Iceberg REST catalog that sends read restrictions (rustberg), the S3 with its files,
//! and the identity provider of its users (Keycloak). Trino reads it as the catalog `house`.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Guarded, free_ports, run_stack, within};
use super::{Client, stack, trino};

/// The catalog's own administrator; see tests/stack/catalog.sh.
pub(crate) const ADMIN_KEY: &str = "rb_developmentonlydevelopmentonlydevelopmentonlyxx";

/// The running servers.
pub(crate) struct House {
    /// The port of the catalog.
    pub(crate) catalog: u16,
    /// The port of the identity provider.
    pub(crate) provider: u16,
    /// The catalog's process, which a test may end.
    pub(crate) rustberg: Mutex<Guarded>,
    _others: [Mutex<Guarded>; 2],
    folder: tempfile::TempDir,
    _of_servers: [tempfile::TempDir; 2],
}

impl House {
    /// Starts the servers, with a Cedar policy for the catalog, and tells Trino of it.
    pub(crate) fn start(policy: &str) -> Self {
        let temp = |name: &str| {
            tempfile::Builder::new().prefix(&format!("northgate-{name}-")).tempdir().expect("a folder")
        };
        let [catalog, provider, s3] = free_ports();
        let (folder, of_s3, of_provider) = (temp("catalog"), temp("s3"), temp("provider"));
        std::fs::write(folder.path().join("policy.cedar"), policy).expect("the folder is ours");
        let run = |what: &str, folder: &tempfile::TempDir, arguments: &[String]| {
            let mut command = Command::new(stack());
            command.arg(what).arg(folder.path()).args(arguments);
            let log = folder.path().join(format!("{what}.log"));
            Mutex::new(Guarded::spawn(&command, folder.path(), &log).expect("bash"))
        };
        let issuer = format!("http://127.0.0.1:{provider}/realms/bank");
        let of_provider_process = run("keycloak", &of_provider, &[provider.to_string()]);
        let of_s3_process = run("s3", &of_s3, &[s3.to_string()]);
        let rustberg = run("rustberg", &folder, &[catalog.to_string(), s3.to_string(), issuer]);
        let house = Self {
            catalog,
            provider,
            rustberg,
            _others: [of_provider_process, of_s3_process],
            folder,
            _of_servers: [of_s3, of_provider],
        };
        let up = |port: u16, path: &str| {
            let answers = || {
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
                (Client::plain(port).get(path).status < 500).then_some(())
            };
            assert!(
                within(Duration::from_mins(4), answers).is_some(),
                "{port} does not answer: {}",
                house.log()
            );
        };
        up(s3, "/");
        up(catalog, "/v1/config");
        up(provider, "/realms/bank");
        house.administer("POST", "namespaces", &json!({"namespace": ["crm"], "properties": {}}));
        trino().query(&run_stack(&["catalog-of-trino", &catalog.to_string(), &s3.to_string()])).rows();
        house
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("rustberg.log")).unwrap_or_default()
    }

    /// Asks the catalog as its administrator.
    pub(crate) fn administer(&self, method: &str, path: &str, body: &Value) -> Value {
        let client = Client::plain(self.catalog).bearer(ADMIN_KEY).with("Content-Type", "application/json");
        let response = client.send(method, &format!("/v1/acme/{path}"), body.to_string().as_bytes());
        assert!(response.status < 300, "{path}: {} {}\n{}", response.status, response.text(), self.log());
        serde_json::from_slice(&response.body).unwrap_or_default()
    }

    /// The lines of a gateway's settings for it, in which users' own tokens decide.
    pub(crate) fn settings(&self) -> String {
        let key = self.folder.path().join("key");
        std::fs::write(&key, ADMIN_KEY).expect("the folder is ours");
        let (provider, catalog, key) = (self.provider, self.catalog, key.display());
        format!(
            r#"
[[identity.jwt]]
issuer = "http://127.0.0.1:{provider}/realms/bank"
audiences = ["northgate"]
jwks_url = "http://127.0.0.1:{provider}/realms/bank/protocol/openid-connect/certs"
user_claim = "preferred_username"
groups_claim = "realm_access.roles"

[catalog.rest.house]
uri = "http://127.0.0.1:{catalog}"
prefix = "acme"
access = "delegated"
token_file = "{key}"
life = "1s"
"#
        )
    }

    /// A token that the identity provider issues to one of its users.
    pub(crate) fn token(&self, user: &str) -> String {
        let form = format!("grant_type=password&client_id=desk&username={user}&password={user}-secret");
        let client = Client::plain(self.provider).with("Content-Type", "application/x-www-form-urlencoded");
        let path = "/realms/bank/protocol/openid-connect/token";
        let response = client.send("POST", path, form.as_bytes());
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}
