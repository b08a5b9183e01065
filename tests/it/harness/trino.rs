//! The real Trino with the bank in it, one for all tests of a process.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::process::{Guarded, free_ports, run_stack};
use super::{Answer, Client, stack};

/// A running Trino.
pub(crate) struct Trino {
    /// Plain HTTP, any user name, no password.
    pub(crate) http: u16,
    /// HTTPS, with the gateway's password.
    pub(crate) https: u16,
    /// The authority of its certificate.
    pub(crate) ca: PathBuf,
    /// The private key of the tokens that it takes over HTTPS.
    pub(crate) key: PathBuf,
    _process: Mutex<Guarded>,
    folder: tempfile::TempDir,
}

/// The Trino of this process. It is started, and the bank loaded, by the first caller; the others wait.
pub(crate) fn trino() -> &'static Trino {
    static TRINO: OnceLock<Trino> = OnceLock::new();
    TRINO.get_or_init(Trino::start)
}

impl Trino {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-trino-").tempdir().expect("a folder");
        let [http, https] = free_ports();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let (key, public) = (folder.path().join("gateway-key.pem"), folder.path().join("gateway.pem"));
        std::fs::write(&key, pair.serialize_pem()).expect("the folder is ours");
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the folder is ours");
        std::fs::write(&public, pair.public_key_pem()).expect("the folder is ours");
        let mut command = Command::new(stack());
        command.arg("trino").arg(folder.path()).arg(http.to_string()).arg(https.to_string()).arg(public);
        let process =
            Guarded::spawn(&command, folder.path(), &folder.path().join("trino.log")).expect("bash");
        let wait = Command::new(stack()).args(["wait", &http.to_string(), "240"]).status();
        let log = || std::fs::read_to_string(folder.path().join("trino.log")).unwrap_or_default();
        assert!(wait.is_ok_and(|status| status.success()), "Trino does not start:\n{}", log());
        run_stack(&["bank", &http.to_string()]);
        let ca = folder.path().join("certs/ca.pem");
        Self { http, https, ca, key, _process: Mutex::new(process), folder }
    }

    /// Gives it other access rules, in the form of its `rules.json`. It takes a second or two to read them.
    pub(crate) fn rule(&self, rules: &serde_json::Value) {
        let etc = self.folder.path().join("etc");
        // Never half a file.
        std::fs::write(etc.join("rules.new"), rules.to_string()).expect("the folder is ours");
        std::fs::rename(etc.join("rules.new"), etc.join("rules.json")).expect("the folder is ours");
    }

    /// Its address for a gateway that signs in with nothing.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// A client that goes to it directly.
    pub(crate) fn client(&self) -> Client {
        Client::plain(self.http)
    }

    /// Runs a statement on it directly as `admin`, past the gateway.
    pub(crate) fn query(&self, sql: &str) -> Answer {
        self.client().user("admin").query(sql)
    }
}
