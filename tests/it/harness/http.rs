//! A small HTTP/1.1 client that hides nothing: it sends exactly the headers and bytes that a test names.

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// No answer may take longer: a test that waits this long has found a hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whom to speak to, and with which headers. Each request opens a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    headers: Vec<(String, String)>,
}

/// A connection, plain or in TLS.
pub(crate) trait Wire: Read + Write {
    /// Says that no more will be sent.
    fn finish(&mut self);
}

impl Wire for TcpStream {
    fn finish(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What became of a query.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// The `error` object, whole.
    pub(crate) error: Option<Value>,
    /// All pages without their data.
    pub(crate) pages: Vec<Value>,
    /// The `x-trino-*` headers of all pages, in order.
    pub(crate) headers: Vec<(String, String)>,
}

impl Client {
    /// To a server on this machine in plain HTTP.
    pub(crate) fn plain(port: u16) -> Self {
        Self { port, tls: None, headers: Vec::new() }
    }

    /// To a server on this machine whose certificate `ca` signed.
    pub(crate) fn tls(port: u16, ca: &Path) -> Self {
        Self::tls_of(port, ca, rustls::ALL_VERSIONS)
    }

    /// The same with certain versions of TLS only.
    pub(crate) fn tls_of(
        port: u16,
        ca: &Path,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        Self::tls_as(port, ca, versions, None)
    }

    /// The same, showing the certificate of a file with its key, both in PEM.
    pub(crate) fn tls_as(
        port: u16,
        ca: &Path,
        versions: &[&'static rustls::SupportedProtocolVersion],
        shown: Option<&Path>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("a PEM file") {
            roots.add(certificate.expect("a certificate")).expect("a good certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that fit")
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(file) => {
                let chain = CertificateDer::pem_file_iter(file).expect("a PEM file");
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
                let key = PrivateKeyDer::from_pem_file(file).expect("a key");
                config.with_client_auth_cert(chain, key).expect("a certificate and its key")
            }
        };
        Self { port, tls: Some(Arc::new(config)), headers: Vec::new() }
    }

    /// With one more header on each request.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With `X-Trino-User`.
    pub(crate) fn user(self, name: &str) -> Self {
        self.with("X-Trino-User", name)
    }

    /// With a user name and password.
    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let value = BASE64.encode(format!("{user}:{password}"));
        self.with("Authorization", format!("Basic {value}"))
    }

    /// With a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("Authorization", format!("Bearer {token}"))
    }

    /// A fresh connection, for tests that send bytes of their own.
    pub(crate) fn connect(&self) -> Box<dyn Wire> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("the server accepts connections");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        tcp.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        match &self.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(Arc::clone(config), name).expect("a TLS session");
                Box::new(StreamOwned::new(session, tcp))
            }
        }
    }

    /// Sends bytes as they are and reads what comes until the end. What is lost when the server closes early
    /// (a body it does not want) is no matter: its answer is.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = self.connect();
        let _ = wire.write_all(bytes).and_then(|()| wire.flush());
        wire.finish();
        let mut answer = Vec::new();
        if let Err(error) = wire.read_to_end(&mut answer) {
            let hang = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!hang, "the server neither answered nor closed within {PATIENCE:?}");
        }
        answer
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, target: &str, body: &[u8]) -> Response {
        Response::read(self.ask(method, target, body), method == "HEAD")
    }

    /// The same, and its connection, from which the answer has yet to be read.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &[u8]) -> Box<dyn Wire> {
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n", self.port);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" || !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut wire = self.connect();
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        // The server may have answered, and closed, before it has read all of a body that it refuses.
        let _ = wire.write_all(&request).and_then(|()| wire.flush());
        wire
    }

    /// Follows a query to a page that is so long that it comes piece by piece: its link, and the answer, of which only the
    /// head has been read.
    pub(crate) fn until_long(&self, first: Value) -> (String, impl Read + use<>) {
        let mut page = first;
        loop {
            let link = path_of(page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}")));
            let mut wire = self.ask("GET", &link, b"");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                wire.read_exact(&mut byte).expect("a head");
                head.extend(byte);
            }
            let is_long = head.to_ascii_lowercase().windows(7).any(|word| word == b"chunked");
            let answer = Cursor::new(head).chain(wire);
            if is_long {
                return (link, answer);
            }
            page = Response::read(answer, false).page();
        }
    }

    /// GET.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.send("GET", target, b"")
    }

    /// POSTs a statement and gives the first page.
    pub(crate) fn submit(&self, sql: &str) -> Response {
        self.send("POST", "/v1/statement", sql.as_bytes())
    }

    /// Runs a statement to its end.
    pub(crate) fn query(&self, sql: &str) -> Answer {
        self.follow(self.submit(sql))
    }

    /// Follows a query's links from its first page to its end.
    pub(crate) fn follow(&self, first: Response) -> Answer {
        let mut answer = Answer::default();
        let mut response = first;
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let mut page = response.page();
            answer.headers.extend(
                response.headers.into_iter().filter(|(name, _)| name.starts_with("x-") || name == "age"),
            );
            if let Some(Value::Array(rows)) = page.as_object_mut().and_then(|page| page.remove("data")) {
                let cells = |row: Value| row.as_array().expect("a row is an array").clone();
                answer.rows.extend(rows.into_iter().map(cells));
            }
            if let Some(columns) = page["columns"].as_array() {
                let name = |column: &Value| column["name"].as_str().expect("columns have names").to_owned();
                answer.columns = columns.iter().map(name).collect();
            }
            page["id"].as_str().expect("a page has an id").clone_into(&mut answer.id);
            if page["error"].is_object() {
                answer.error = Some(page["error"].clone());
            }
            let next = page["nextUri"].as_str().map(path_of);
            answer.pages.push(page);
            let Some(next) = next else { return answer };
            assert!(Instant::now() < deadline, "the query does not end: {:?}", answer.pages.last());
            response = self.get(&next);
        }
    }
}

/// The path and query of a link.
pub(crate) fn path_of(link: &str) -> String {
    let (_, rest) = link.split_once("://").expect("a link is absolute");
    rest[rest.find('/').expect("a link has a path")..].to_owned()
}

impl Response {
    /// Reads an answer to its end.
    pub(crate) fn read(wire: impl Read, to_head: bool) -> Self {
        let mut reader = BufReader::new(wire);
        let status_line = line(&mut reader);
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no HTTP answer: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let text = line(&mut reader);
            let Some((name, value)) = text.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, body: Vec::new() };
        if !to_head && status != 204 && status != 304 {
            response.body = response.read_body(&mut reader);
        }
        response
    }

    fn read_body(&self, reader: &mut impl BufRead) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = self.header("content-length") {
            body.resize(length.parse().expect("a length is a number"), 0);
            reader.read_exact(&mut body).expect("the body is as long as announced");
        } else if self.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(line(reader).trim(), 16).expect("a chunk has a size");
                let at = body.len();
                body.resize(at + size, 0);
                reader.read_exact(&mut body[at..]).expect("a chunk is whole");
                assert_eq!(line(reader), "", "a chunk ends with a line's end");
                if size == 0 {
                    break;
                }
            }
        } else {
            reader.read_to_end(&mut body).expect("the body can be read");
        }
        body
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a page of the protocol.
    pub(crate) fn page(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut bytes = Vec::new();
    reader.take(64 << 10).read_until(b'\n', &mut bytes).expect("the server answers in time");
    String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()
}

impl Answer {
    /// The rows, of a query that must have succeeded.
    pub(crate) fn rows(self) -> Vec<Vec<Value>> {
        assert!(self.error.is_none(), "{:?}", self.error);
        self.rows
    }

    /// The only value, of a query that must have succeeded.
    pub(crate) fn value(self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0).remove(0)
    }

    /// The rows as lines of text.
    pub(crate) fn lines(self) -> Vec<String> {
        let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.rows().iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")).collect()
    }

    /// `errorName: message`, of a query that must have failed.
    pub(crate) fn failure(&self) -> String {
        let error = self.error.as_ref().unwrap_or_else(|| panic!("it did not fail: {:?}", self.rows));
        format!(
            "{}: {}",
            error["errorName"].as_str().unwrap_or("?"),
            error["message"].as_str().unwrap_or("?")
        )
    }

    /// All that a user could read of it, for looking for what must not be there.
    pub(crate) fn everything(&self) -> String {
        format!("{:?} {:?} {:?} {:?} {:?}", self.columns, self.rows, self.error, self.pages, self.headers)
    }
}
