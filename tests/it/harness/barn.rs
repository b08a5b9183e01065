//! A smaller house: an Iceberg REST catalog and the S3 with its files. Trino reads it as the catalog `barn`, and gateways ask
//! it in their own name.

use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::house::ADMIN_KEY;
use super::process::{Guarded, free_ports, run_stack, within};
use super::{Client, Response, stack, trino};

/// Only its administrator, who the gateway is, may do anything.
const CEDAR: &str = r#"permit(principal in Rustberg::Group::"admin", action, resource);"#;

/// The running servers.
pub(crate) struct Barn {
    /// The port of the catalog.
    pub(crate) port: u16,
    _servers: [Mutex<Guarded>; 2],
    folder: tempfile::TempDir,
    _of_s3: tempfile::TempDir,
}

/// The barn of this process.
pub(crate) fn barn() -> &'static Barn {
    static BARN: OnceLock<Barn> = OnceLock::new();
    BARN.get_or_init(Barn::start)
}

impl Barn {
    fn start() -> Self {
        let temp = |name: &str| {
            tempfile::Builder::new().prefix(&format!("northgate-{name}-")).tempdir().expect("a folder")
        };
        let [port, s3_port] = free_ports();
        let (folder, of_s3) = (temp("barn"), temp("barn-s3"));
        std::fs::write(folder.path().join("policy.cedar"), CEDAR).expect("the folder is ours");
        let run = |what: &str, folder: &tempfile::TempDir, arguments: &[String]| {
            let mut command = Command::new(stack());
            command.arg(what).arg(folder.path()).args(arguments);
            let log = folder.path().join(format!("{what}.log"));
            Mutex::new(Guarded::spawn(&command, folder.path(), &log).expect("bash"))
        };
        let s3 = run("s3", &of_s3, &[s3_port.to_string()]);
        let arguments = [port.to_string(), s3_port.to_string(), "http://127.0.0.1:1/nobody".to_owned()];
        let catalog = run("rustberg", &folder, &arguments);
        for (port, path) in [(s3_port, "/"), (port, "/v1/config")] {
            let answers = || {
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
                (Client::plain(port).get(path).status < 500).then_some(())
            };
            assert!(within(Duration::from_mins(4), answers).is_some(), "{port} does not answer");
        }
        trino()
            .query(&run_stack(&["catalog-of-trino", &port.to_string(), &s3_port.to_string(), "barn"]))
            .rows();
        let barn = Self { port, _servers: [s3, catalog], folder, _of_s3: of_s3 };
        let made = barn.make("namespaces", &json!({"namespace": ["crm"], "properties": {}}));
        assert!(made.status < 300, "{}", made.text());
        barn
    }

    /// Asks the catalog to make something.
    fn make(&self, path: &str, what: &Value) -> Response {
        let client = Client::plain(self.port).bearer(ADMIN_KEY).with("Content-Type", "application/json");
        client.send("POST", &format!("/v1/acme/{path}"), what.to_string().as_bytes())
    }

    /// Makes a table `barn.crm.NAME` with the columns id, name, region, day and at; false if there is one. (Trino does not,
    /// as the catalog writes to a table's location before.)
    pub(crate) fn table(&self, name: &str) -> bool {
        let columns = [
            ("id", "long"),
            ("name", "string"),
            ("region", "string"),
            ("day", "date"),
            ("at", "timestamptz"),
        ];
        let field = |(at, (name, ty)): (usize, &(&str, &str))| json!({"id": at + 1, "name": name, "required": false, "type": ty});
        let fields: Vec<Value> = columns.iter().enumerate().map(field).collect();
        let schema = json!({"type": "struct", "schema-id": 0, "fields": fields});
        let made = self.make("namespaces/crm/tables", &json!({"name": name, "schema": schema}));
        assert!(made.status < 300 || made.status == 409, "{}: {}", made.status, made.text());
        made.status < 300
    }

    /// The lines of a gateway's settings for it. What is said of tables is believed for next to no time.
    pub(crate) fn settings(&self) -> String {
        let key = self.folder.path().join("key");
        std::fs::write(&key, ADMIN_KEY).expect("the folder is ours");
        format!(
            "[catalog]\nlife = \"1ms\"\n[catalog.rest.barn]\nuri = \"http://127.0.0.1:{}\"\nprefix = \"acme\"\n\
             token_file = \"{}\"\nlife = \"1ms\"\n",
            self.port,
            key.display()
        )
    }
}
