//! The real gateway: the binary, with settings, users and policies of its own in a temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::process::{Guarded, free_ports, run_stack, within};
use super::{Client, trino};

/// A user of the tests: a name, groups, and a password that is the name and `-secret`.
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) groups: &'static [&'static str],
}

/// Who may sign in. `nora` is in no group, so no policy speaks of her.
const USERS: [User; 5] = [
    User { name: "admin", groups: &["admins"] },
    User { name: "test", groups: &["admins"] },
    User { name: "eva", groups: &["eu-analysts"] },
    User { name: "otto", groups: &["compliance"] },
    User { name: "nora", groups: &[] },
];

/// What a gateway is started with.
pub(crate) struct Settings {
    /// Trino's address.
    pub(crate) upstream: String,
    /// The lines under `[trino]` besides the address.
    pub(crate) upstream_lines: String,
    /// Policy documents: file name and text.
    pub(crate) policies: Vec<(&'static str, String)>,
    /// Where the audit goes; a folder of the gateway's own if none.
    pub(crate) audit: Option<PathBuf>,
    /// The lines under `[identity]` besides the users file, if not those that let tests fail to sign in often.
    pub(crate) identity: Option<String>,
    /// The size in KiB of a disk of its own for the audit, if any.
    pub(crate) disk_kib: Option<u32>,
    /// The size in KiB of a disk of its own for another folder, if any, which is beside the settings.
    pub(crate) other_disk: Option<(&'static str, u32)>,
    /// The lines under `[server]` besides its address and certificate.
    pub(crate) server_lines: String,
    /// More settings, whole tables in TOML.
    pub(crate) more: String,
    /// More files beside the settings: name and text.
    pub(crate) files: Vec<(&'static str, String)>,
    /// Environment variables.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Settings {
    /// For a Trino at this address, with the policies of the tests.
    pub(crate) fn for_upstream(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            upstream_lines: String::new(),
            policies: vec![("bank.yaml", include_str!("../policies/bank.yaml").to_owned())],
            audit: None,
            identity: None,
            disk_kib: None,
            other_disk: None,
            server_lines: String::new(),
            more: String::new(),
            files: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// For the shared Trino, with tokens over TLS.
    pub(crate) fn new() -> Self {
        let mut settings = Self::for_upstream(&format!("https://localhost:{}", trino().https));
        let (ca, key) = (trino().ca.display(), trino().key.display());
        settings.upstream_lines =
            format!("authentication = \"jwt\"\nca_file = \"{ca}\"\nkey_file = \"{key}\"\n");
        settings
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    /// The port for clients, in TLS.
    pub(crate) port: u16,
    /// The port for its operator, plain.
    pub(crate) admin_port: u16,
    /// Where its settings, policies, users and (unless set otherwise) audit are.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) process: Mutex<Guarded>,
    audit: PathBuf,
}

/// The gateway that most tests share, before the shared Trino.
pub(crate) fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| Gateway::start(Settings::new()))
}

/// The binary under test.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_northgate"))
}

impl Gateway {
    /// Starts one and waits until it takes queries.
    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_at(settings, free_ports())
    }

    /// The same on these ports: the one for clients, and the one for its operator.
    pub(crate) fn start_at(settings: Settings, ports: [u16; 2]) -> Self {
        let mut gateway = Self::launch_at(settings, ports);
        let up = |gateway: &mut Self| {
            let ended = gateway.process.get_mut().expect("no panic in a lock").ended();
            assert_eq!(ended, None, "the gateway ended at once:\n{}", gateway.log());
            // The admin's listener is the last.
            let listens = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).ok();
            listens(gateway.port).and_then(|_| listens(gateway.admin_port))
        };
        assert!(
            within(Duration::from_secs(30), || up(&mut gateway)).is_some(),
            "it does not start:\n{}",
            gateway.log()
        );
        gateway
    }

    /// Starts one without waiting: it may be meant to fail.
    pub(crate) fn launch(settings: Settings) -> Self {
        Self::launch_at(settings, free_ports())
    }

    fn launch_at(settings: Settings, [port, admin_port]: [u16; 2]) -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-it-").tempdir().expect("a folder");
        let audit = settings.audit.clone().unwrap_or_else(|| folder.path().join("audit"));
        write_files(folder.path(), port, admin_port, &audit, &settings);
        let mut command = match (settings.disk_kib, settings.other_disk) {
            (None, None) => binary(),
            (Some(size), _) => on_a_disk_of_its_own(&audit, size),
            (None, Some((name, size))) => on_a_disk_of_its_own(&folder.path().join(name), size),
        };
        command.args(["serve", "--config"]).arg(folder.path().join("northgate.toml"));
        command.current_dir(folder.path()).env("RUST_BACKTRACE", "1").envs(settings.environment);
        let log = folder.path().join("northgate.log");
        let process = Guarded::spawn(&command, folder.path(), &log).expect("bash");
        Self { port, admin_port, folder, process: Mutex::new(process), audit }
    }

    /// A client that has not signed in.
    pub(crate) fn client(&self) -> Client {
        Client::tls(self.port, &certificates().join("ca.pem"))
    }

    /// A client signed in as one of the users.
    pub(crate) fn signed_in(&self, user: &str) -> Client {
        self.client().basic(user, &password_of(user))
    }

    /// A client of the operator's listener.
    pub(crate) fn admin(&self) -> Client {
        Client::plain(self.admin_port)
    }

    /// A series of its metrics, named without `northgate_`, with its labels: the value now.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.admin().get("/metrics").text();
        let value = text.lines().find_map(|line| {
            line.strip_prefix("northgate_")?.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()
        });
        value.unwrap_or_else(|| panic!("no {series}: {text}"))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("northgate.log")).unwrap_or_default()
    }

    /// The records of the audit: those that left the journal, then the journal.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let mut seen = std::collections::HashSet::new();
        let parse = |line: &[u8]| -> Value {
            serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line)))
        };
        // The journal first, since what leaves it is in a bundle before.
        let mut files = files_under(&self.audit);
        files.sort();
        let (journal, rest): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        let mut tail = Vec::new();
        for text in journal.iter().filter_map(|file| fs::read(file).ok()) {
            // The last line may be on its way.
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &text[..end]);
            tail.extend(whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse));
        }
        let mut records = Vec::new();
        let bundles = rest.iter().filter(|file| {
            let path = file.strip_prefix(&self.audit).expect("within").to_string_lossy().into_owned();
            path.starts_with("tile/entries/") && file.extension().is_none_or(|extension| extension != "new")
        });
        for bundle in bundles.filter_map(|file| fs::read(file).ok()) {
            let mut left = bundle.as_slice();
            while let [high, low, more @ ..] = left {
                let (entry, behind) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                records.push(parse(entry));
                left = behind;
            }
        }
        records.extend(tail);
        records.retain(|record| seen.insert((record["run"].to_string(), record["seq"].as_u64())));
        records
    }

    /// The audit's records of a query, once `enough` holds of them.
    pub(crate) fn audit_of(&self, query: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let of_query =
            || self.audit().into_iter().filter(|record| record["query"] == query).collect::<Vec<_>>();
        let found = within(Duration::from_secs(10), || Some(of_query()).filter(|records| enough(records)));
        found.unwrap_or_else(|| panic!("the audit of {query} is incomplete: {:#?}", of_query()))
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let under = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_under(&entry.path()),
        _ => vec![entry.path()],
    };
    entries.into_iter().flat_map(under).collect()
}

/// The binary, in a mount namespace of its own where `folder` is a small disk.
pub(crate) fn on_a_disk_of_its_own(folder: &Path, kib: u32) -> Command {
    fs::create_dir_all(folder).expect("the folder is ours");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--", "sh", "-c"]);
    // Half of it is taken by a file that a test can remove to make room.
    let script = r#"mount -t tmpfs -o size="$1"k none "$2" && head -c $(($1 * 896)) /dev/zero >"$2/ballast" && shift 2 && exec "$@""#;
    command.arg(script).arg("sh");
    command.arg(kib.to_string()).arg(folder).arg(binary().get_program());
    command
}

/// The certificates that all gateways of this process use.
pub(crate) fn certificates() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let make = || {
        let folder = tempfile::Builder::new().prefix("northgate-certs-").tempdir().expect("a folder");
        run_stack(&["certs", folder.path().to_str().expect("a plain path")]);
        folder
    };
    FOLDER.get_or_init(make).path()
}

/// The password of one of the users.
pub(crate) fn password_of(user: &str) -> String {
    format!("{user}-secret")
}

/// The users file, made once by the binary itself: its hashes are slow on purpose.
fn users() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users.toml");
        for user in &USERS {
            add_user(&file, user.name, user.groups, &password_of(user.name));
        }
        fs::read_to_string(file).expect("the users file is written")
    })
}

/// `northgate user add`, which reads the password from its standard input.
pub(crate) fn add_user(file: &Path, name: &str, groups: &[&str], password: &str) {
    let mut command = binary();
    command.args(["user", "add", name]).arg("--users-file").arg(file);
    for group in groups {
        command.args(["--group", group]);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(format!("{password}\n").as_bytes())
        .expect("it reads the password");
    assert!(child.wait().expect("it ends").success(), "user add {name} failed");
}

fn write_files(folder: &Path, port: u16, admin_port: u16, audit: &Path, settings: &Settings) {
    for (name, text) in &settings.files {
        fs::write(folder.join(name), text).expect("a file is written");
    }
    let certificates = certificates();
    let mut text = String::new();
    write!(
        text,
        r#"
[server]
listen = "127.0.0.1:{port}"
certificate = "{certificate}"
key = "{key}"
{server_lines}

[admin]
listen = "127.0.0.1:{admin_port}"

[trino]
url = "{upstream}"
{upstream_lines}

[identity]
users_file = "users.toml"
{identity}

[policies]
folder = "policies"

[audit]
folder = "{audit}"

{more}"#,
        certificate = certificates.join("server.pem").display(),
        key = certificates.join("server-key.pem").display(),
        server_lines = settings.server_lines,
        upstream = settings.upstream,
        upstream_lines = settings.upstream_lines,
        identity =
            settings.identity.as_deref().unwrap_or("attempts = { per_address = 100000, per_name = 100000 }"),
        audit = audit.display(),
        more = settings.more.replace("{port}", &port.to_string()),
    )
    .expect("text");
    fs::write(folder.join("northgate.toml"), text).expect("the folder is ours");
    let users_file = folder.join("users.toml");
    fs::write(&users_file, users()).expect("the folder is ours");
    fs::set_permissions(&users_file, fs::Permissions::from_mode(0o600)).expect("the folder is ours");
    fs::create_dir_all(folder.join("policies")).expect("the folder is ours");
    for (name, document) in &settings.policies {
        fs::write(folder.join("policies").join(name), document).expect("the folder is ours");
    }
}
