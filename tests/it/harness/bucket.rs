//! An S3 with Object Lock, what an administrator of it may try, and a way to it that fails on demand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::process::{Guarded, free_ports, within};
use super::{Client, stack};

/// The credentials of its administrator; see tests/stack/catalog.sh.
const KEY: &str = "development";
const SECRET: &str = "development-only";
const BUCKET: &str = "audit";

/// What becomes of a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It arrives, and so does its answer.
    Open,
    /// It does not arrive.
    Shut,
    /// It takes its time.
    Slow,
    /// It arrives; the answer says 503, each second time.
    Lies,
}

/// A running S3 with a bucket `audit` that has Object Lock.
pub(crate) struct Bucket {
    port: u16,
    proxy: u16,
    way: Arc<Mutex<Way>>,
    folder: tempfile::TempDir,
    _process: Guarded,
}

impl Bucket {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-bucket-").tempdir().expect("a folder");
        let [port] = free_ports();
        let mut command = Command::new(stack());
        command.arg("s3").arg(folder.path()).arg(port.to_string());
        let process = Guarded::spawn(&command, folder.path(), &folder.path().join("s3.log")).expect("bash");
        let up = || {
            TcpStream::connect(("127.0.0.1", port)).ok()?;
            (Client::plain(port).get("/").status < 500).then_some(())
        };
        assert!(within(Duration::from_mins(4), up).is_some(), "S3 does not answer");
        let way = Arc::new(Mutex::new(Way::Open));
        let proxy = forward(port, Arc::clone(&way));
        let bucket = Self { port, proxy, way, folder, _process: process };
        let (status, text) = bucket.administer("PUT", "", &["x-amz-bucket-object-lock-enabled: true"], None);
        assert_eq!(status, 200, "{text}");
        bucket
    }

    /// What becomes of the gateway's requests from now on.
    pub(crate) fn set(&self, way: Way) {
        *self.way.lock().expect("no panic in a lock") = way;
    }

    /// Where the server keeps an object.
    pub(crate) fn stored(&self, key: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(BUCKET).join(key)
    }

    /// See [`Bucket::section_of`], with a prefix of the tests.
    pub(crate) fn section(&self, folder: &Path, lines: &str) -> String {
        self.section_of(folder, "logs/one", lines)
    }

    /// The `[audit.s3]` section of a gateway. `lines` are more of it.
    pub(crate) fn section_of(&self, folder: &Path, prefix: &str, lines: &str) -> String {
        let secret = folder.join("s3.secret");
        std::fs::write(&secret, SECRET).expect("written");
        format!(
            "[audit.s3]\nbucket = \"{BUCKET}\"\nprefix = \"{prefix}\"\nendpoint = \"http://127.0.0.1:{}\"\n\
             access_key_id = \"{KEY}\"\nsecret_access_key_file = \"{}\"\nevery = \"200ms\"\nretention = \"1h\"\n{lines}\n",
            self.proxy,
            secret.display()
        )
    }

    /// The server as arguments.
    pub(crate) fn endpoint(&self) -> [String; 2] {
        ["--endpoint".to_owned(), format!("http://127.0.0.1:{}", self.port)]
    }

    /// The arguments by which `northgate audit verify` reads the copy.
    pub(crate) fn verifying(&self) -> Vec<String> {
        [
            format!("s3://{BUCKET}/logs/one"),
            "--endpoint".to_owned(),
            format!("http://127.0.0.1:{}", self.port),
        ]
        .into()
    }

    /// The environment of who reads the copy.
    pub(crate) fn environment() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }

    /// Asks as the administrator for an object, or with a query for the bucket. Gives the status and the answer.
    pub(crate) fn administer(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: Option<&str>,
    ) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}/{BUCKET}{path}", self.port);
        let mut command = Command::new("curl");
        command.args(["-s", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{KEY}:{SECRET}")]);
        command.args(["-w", "\n%{http_code}", "-X", method, &url]);
        command.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        for header in headers {
            command.args(["-H", header]);
        }
        if let Some(body) = body {
            let file = self.folder.path().join("body");
            std::fs::write(&file, body).expect("written");
            command.arg("--data-binary").arg(format!("@{}", file.display()));
        }
        let output = command.output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (answer, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a number"), answer.to_owned())
    }
}

/// Passes requests on to a port, one each connection. Gives its own port.
fn forward(to: u16, way: Arc<Mutex<Way>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let turn = Arc::new(Mutex::new(0_u32));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (way, turn) = (Arc::clone(&way), Arc::clone(&turn));
            thread::spawn(move || pass(stream, to, &way, &turn));
        }
    });
    port
}

/// One exchange. Whatever goes wrong with it is a broken connection for the gateway.
fn pass(mut client: TcpStream, to: u16, way: &Mutex<Way>, turn: &Mutex<u32>) -> Option<()> {
    let request = whole(&mut client)?;
    let way = *way.lock().ok()?;
    match way {
        Way::Shut => return None,
        Way::Slow => thread::sleep(Duration::from_millis(700)),
        Way::Open | Way::Lies => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    let head_end = request.windows(4).position(|four| four == b"\r\n\r\n")?;
    let close = b"\r\nConnection: close\r\n\r\n";
    server.write_all(&[&request[..head_end], close, &request[head_end + 4..]].concat()).ok()?;
    let mut answer = Vec::new();
    // A server that does not read what it refuses resets the connection behind its answer.
    let read = server.read_to_end(&mut answer);
    if read.is_err() && answer.is_empty() {
        return None;
    }
    let lie = way == Way::Lies && request.starts_with(b"PUT ") && {
        let mut turn = turn.lock().ok()?;
        *turn += 1;
        *turn % 2 == 1
    };
    if lie {
        answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    }
    client.write_all(&answer).ok()
}

/// A request: its head, and as much of a body as it says.
fn whole(client: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut request, mut piece) = (Vec::new(), [0_u8; 16_384]);
    loop {
        if let Some(head_end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..head_end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if request.len() >= head_end + 4 + length.unwrap_or(0_usize) {
                return Some(request);
            }
        }
        match client.read(&mut piece).ok()? {
            0 => return None,
            read => request.extend_from_slice(&piece[..read]),
        }
    }
}
