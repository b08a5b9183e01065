//! The load: statements sent and links followed over keep-alive connections, as a driver does it.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::bank::Mode;
use crate::fault::{Fault, Result, Trying, unusable};
use crate::http::Reader;
use crate::pages::STREAM_PAGES;

/// No answer for this long, and the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Each connection runs for this long before its requests count.
const WARM_UP: Duration = Duration::from_millis(100);
/// Pages that may come before the first of a running query.
const MOST_QUEUED_PAGES: usize = 1000;

/// A server to put load on.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// TLS, or plain HTTP if absent.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Bearer tokens, one to each connection in turn.
    pub(crate) tokens: Vec<String>,
}

/// Times of single requests.
#[derive(Default)]
pub(crate) struct Latencies {
    nanos: Vec<u64>,
    sorted: bool,
}

impl Latencies {
    pub(crate) fn add(&mut self, time: Duration) {
        self.nanos.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.sorted = false;
    }

    /// The time that the share `quantile` (0 to 1) of the requests did not exceed, in microseconds; 0 if none.
    pub(crate) fn micros(&mut self, quantile: f64) -> f64 {
        if !self.sorted {
            self.nanos.sort_unstable();
            self.sorted = true;
        }
        let last = self.nanos.len().saturating_sub(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a length
        let at = (last as f64 * quantile).round() as usize;
        self.nanos.get(at).map_or(0.0, |&nanos| nanos as f64 / 1000.0)
    }

    /// How many requests there were.
    pub(crate) const fn len(&self) -> usize {
        self.nanos.len()
    }
}

/// What polling gave.
pub(crate) struct Polls {
    /// Time of each poll, from the first byte sent to the last byte of the page.
    pub(crate) latencies: Latencies,
    /// Polls of all connections in a second.
    pub(crate) per_second: f64,
}

/// What streaming gave.
pub(crate) struct Streamed {
    /// Bytes of the bodies of all pages.
    pub(crate) bytes: u64,
    /// From the first byte of the POST to the last of the last page.
    pub(crate) time: Duration,
}

/// Polls running queries over `connections`, each as fast as the answers come, for `time`.
pub(crate) fn poll(target: &Target, connections: usize, time: Duration) -> Result<Polls> {
    let barrier = Arc::new(Barrier::new(connections));
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let (target, barrier) = (target.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                let begun = Client::connect(&target, number).and_then(|mut client| {
                    let page = client.submit(Mode::Poll)?;
                    Ok((client, page))
                });
                // Past the barrier in any case: the others wait at it.
                barrier.wait();
                let (client, page) = begun?;
                poll_one(client, page, time)
            })
        })
        .collect();
    let mut all = Latencies::default();
    let mut first_fault = None;
    for thread in threads {
        match thread.join().unwrap_or_else(|_| Err(unusable("a load thread panicked"))) {
            Ok(one) => all.nanos.extend(one.nanos),
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    match first_fault {
        Some(fault) => Err(fault),
        None => Ok(Polls { per_second: all.len() as f64 / time.as_secs_f64(), latencies: all }),
    }
}

fn poll_one(mut client: Client, mut page: Page, time: Duration) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    loop {
        let before = Instant::now();
        page = client.follow(&page)?;
        let after = Instant::now();
        if page.state != "RUNNING" {
            return Err(unusable(format!("a poll of a running query answered {}", page.state)));
        }
        if after > end {
            break;
        }
        if after > start {
            latencies.add(after - before);
        }
    }
    client.cancel(&page)?;
    Ok(latencies)
}

/// Submits the BI query again and again for `time` over one connection. A submission's time runs until the first page
/// that the upstream made, however many pages of a gateway's own come before; the rest of the query is not timed.
pub(crate) fn submit(target: &Target, time: Duration) -> Result<Latencies> {
    let mut client = Client::connect(target, 0)?;
    let mut latencies = Latencies::default();
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    loop {
        let before = Instant::now();
        let mut page = client.submit(Mode::Submit)?;
        let after = Instant::now();
        while page.next.is_some() {
            page = client.follow(&page)?;
        }
        if page.state != "FINISHED" {
            return Err(unusable(format!("a submitted query ended as {}", page.state)));
        }
        if after > end {
            return Ok(latencies);
        }
        if after > start {
            latencies.add(after - before);
        }
    }
}

/// Asks a statement again and again over `connections`, each to the last page, for `time`. A `tag` of the client's is sent
/// with it.
pub(crate) fn whole(
    target: &Target,
    text: &str,
    tag: Option<&str>,
    connections: usize,
    time: Duration,
) -> Result<Polls> {
    each(target, connections, time, |client| {
        if let Some(tag) = tag.filter(|_| !client.headers.contains("Client-Tags")) {
            client.headers.push_str(&format!("X-Trino-Client-Tags: {tag}\r\n"));
        }
        client.whole(text).map(drop)
    })
}

/// Fetches a path again and again over `connections` for `time`.
pub(crate) fn fetched(target: &Target, path: &str, connections: usize, time: Duration) -> Result<Polls> {
    each(target, connections, time, |client| client.exchange("GET", path, "", Ends::add).map(drop))
}

/// Asks a statement once, to its last page.
pub(crate) fn whole_once(target: &Target, text: &str) -> Result<Duration> {
    let mut client = Client::connect(target, 0)?;
    let before = Instant::now();
    client.whole(text)?;
    Ok(before.elapsed())
}

/// The last page of a statement's answer.
pub(crate) fn last_page(target: &Target, text: &str) -> Result<String> {
    let mut client = Client::connect(target, 0)?;
    client.whole(text)
}

/// What the gateway says of its cache to a statement: whether the last page is of a kept answer.
pub(crate) fn said(target: &Target, text: &str) -> Result<&'static str> {
    let cached = last_page(target, text)?.contains("\"cached\":true");
    Ok(if cached { "hit" } else { "miss" })
}

fn each(
    target: &Target,
    connections: usize,
    time: Duration,
    ask: impl Fn(&mut Client) -> Result<()> + Sync,
) -> Result<Polls> {
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    let run = |number: usize| {
        let mut client = Client::connect(target, number)?;
        let mut latencies = Latencies::default();
        loop {
            let before = Instant::now();
            ask(&mut client)?;
            let after = Instant::now();
            if after > end {
                return Ok(latencies);
            }
            if after > start {
                latencies.add(after - before);
            }
        }
    };
    let run = &run;
    let all: Vec<Result<Latencies>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|number| scope.spawn(move || run(number))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(unusable("a load thread panicked"))))
            .collect()
    });
    let mut latencies = Latencies::default();
    for one in all {
        latencies.nanos.extend(one?.nanos);
    }
    Ok(Polls { per_second: latencies.len() as f64 / time.as_secs_f64(), latencies })
}

/// Reads the whole stream once. With `expected`, which costs time, each page must hold exactly that row data.
pub(crate) fn stream(target: &Target, expected: Option<&[u8]>) -> Result<Streamed> {
    let mut client = Client::connect(target, 0)?;
    let before = Instant::now();
    let mut page = client.submit(Mode::Stream)?;
    let mut bytes = page.length;
    let mut pages = 0;
    while page.next.is_some() {
        page = client.follow_rows(&page, expected)?;
        bytes += page.length;
        pages += 1;
    }
    let time = before.elapsed();
    if page.state != "FINISHED" || pages != STREAM_PAGES {
        return Err(unusable(format!("the stream ended as {} after {pages} pages", page.state)));
    }
    Ok(Streamed { bytes, time })
}

/// What matters of a page.
pub(crate) struct Page {
    /// The path of `nextUri`.
    next: Option<String>,
    state: String,
    length: u64,
}

/// The beginning and the end of a body: links are in the one, the state in the other.
#[derive(Default)]
struct Ends {
    front: Vec<u8>,
    back: Vec<u8>,
    length: u64,
}

impl Ends {
    const FRONT: usize = 16 * 1024;
    const BACK: usize = 4 * 1024;

    fn add(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        let room = Self::FRONT - self.front.len().min(Self::FRONT);
        let (front, rest) = piece.split_at(piece.len().min(room));
        self.front.extend_from_slice(front);
        if rest.len() >= Self::BACK {
            self.back.clear();
            self.back.extend_from_slice(&rest[rest.len() - Self::BACK..]);
        } else {
            self.back.extend_from_slice(rest);
            let over = self.back.len().saturating_sub(Self::BACK);
            self.back.drain(..over);
        }
    }

    fn text_after(bytes: &[u8], key: &[u8]) -> Option<String> {
        let from = memmem::find(bytes, key)? + key.len();
        let length = memchr::memchr(b'"', &bytes[from..])?;
        String::from_utf8(bytes[from..from + length].to_vec()).ok()
    }

    fn page(&self) -> Result<Page> {
        let next = Self::text_after(&self.front, br#""nextUri":""#);
        let key = br#""stats":{"state":""#;
        let state = Self::text_after(&self.back, key).or_else(|| Self::text_after(&self.front, key));
        let Some(state) = state else {
            let text = String::from_utf8_lossy(&self.front[..self.front.len().min(600)]);
            return Err(unusable(format!("no state in the page: {text}")));
        };
        if state == "FAILED" {
            let why = Self::text_after(&self.front, br#""message":""#).unwrap_or_default();
            return Err(unusable(format!("the query failed: {why}")));
        }
        let path = |uri: String| {
            let at = uri.find("/v1/")?;
            Some(uri[at..].to_owned())
        };
        Ok(Page { next: next.and_then(path), state, length: self.length })
    }
}

pub(crate) struct Client {
    reader: Reader<Wire>,
    /// The header lines of every request, from the first `\r\n` on.
    headers: String,
    request: Vec<u8>,
}

impl Client {
    fn connect(target: &Target, number: usize) -> Result<Self> {
        Self::connect_as(target, number, "bench")
    }

    /// Connects as a tool of that name.
    pub(crate) fn connect_as(target: &Target, number: usize, source: &str) -> Result<Self> {
        let wire = Wire::connect(target).trying(|| format!("connect to {}", target.address))?;
        let bearer = match target.tokens.get(number % target.tokens.len().max(1)) {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        // A Trino that is asked directly believes a name.
        let user = if target.tokens.is_empty() { "X-Trino-User: admin\r\n" } else { "" };
        // The headers that trino-jdbc sends, without its offer of gzip: what is measured is not a compressor.
        let headers = format!(
            "\r\nHost: {}\r\nUser-Agent: trino-jdbc/484\r\n{bearer}X-Trino-Source: {source}\r\n\
             X-Trino-Time-Zone: Europe/Amsterdam\r\nX-Trino-Language: en-US\r\n\
             X-Trino-Client-Capabilities: PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION\r\n\
             X-Trino-Transaction-Id: NONE\r\n{user}",
            target.address
        );
        Ok(Self { reader: Reader::new(wire), headers, request: Vec::new() })
    }

    /// POSTs the statement of `mode` and follows links up to the first page of a running query.
    pub(crate) fn submit(&mut self, mode: Mode) -> Result<Page> {
        let mut page = self.exchange("POST", "/v1/statement", &mode.statement(), Ends::add)?;
        for _ in 0..MOST_QUEUED_PAGES {
            if page.state != "QUEUED" && page.state != "WAITING_FOR_RESOURCES" {
                return Ok(page);
            }
            page = self.follow(&page)?;
        }
        Err(unusable("the query stays queued"))
    }

    /// Asks a statement to its last page, which it gives.
    fn whole(&mut self, text: &str) -> Result<String> {
        let mut last = Vec::new();
        let mut page = self.exchange("POST", "/v1/statement", text, |ends, piece| {
            ends.add(piece);
            last.extend_from_slice(piece);
        })?;
        while let Some(next) = page.next.take() {
            last.clear();
            page = self.exchange("GET", &next, "", |ends, piece| {
                ends.add(piece);
                last.extend_from_slice(piece);
            })?;
        }
        if page.state != "FINISHED" {
            return Err(unusable(format!("a query ended as {}", page.state)));
        }
        String::from_utf8(last).map_err(|error| unusable(error.to_string()))
    }

    pub(crate) fn follow(&mut self, page: &Page) -> Result<Page> {
        let next = page.next.as_deref().ok_or_else(|| unusable("a page without a next link"))?;
        self.exchange("GET", next, "", Ends::add)
    }

    fn follow_rows(&mut self, page: &Page, expected: Option<&[u8]>) -> Result<Page> {
        let next = page.next.as_deref().ok_or_else(|| unusable("a page without a next link"))?;
        let Some(expected) = expected else {
            return self.exchange("GET", next, "", Ends::add);
        };
        let mut whole = Vec::new();
        let page = self.exchange("GET", next, "", |ends, piece| {
            ends.add(piece);
            whole.extend_from_slice(piece);
        })?;
        match memmem::find(&whole, expected) {
            Some(_) => Ok(page),
            None => Err(unusable("a page does not hold the row data that the upstream sent")),
        }
    }

    pub(crate) fn cancel(&mut self, page: &Page) -> Result<()> {
        let Some(next) = page.next.as_deref() else { return Ok(()) };
        self.send("DELETE", next, "")?;
        let status = self.receive(|_| {})?;
        if (200..300).contains(&status) {
            Ok(())
        } else {
            Err(unusable(format!("a cancel answered {status}")))
        }
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        mut sink: impl FnMut(&mut Ends, &[u8]),
    ) -> Result<Page> {
        self.send(method, path, body)?;
        let mut ends = Ends::default();
        let status = self.receive(|piece| sink(&mut ends, piece))?;
        if status != 200 {
            let text = String::from_utf8_lossy(&ends.front[..ends.front.len().min(300)]);
            return Err(unusable(format!("{method} answered {status}: {text}")));
        }
        ends.page()
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        self.request.clear();
        write!(self.request, "{method} {path} HTTP/1.1{}", self.headers)?;
        if method == "POST" {
            write!(
                self.request,
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
                body.len()
            )?;
        }
        write!(self.request, "\r\n{body}")?;
        self.reader.source().send(&self.request).trying(|| format!("send {method}"))
    }

    fn receive(&mut self, sink: impl FnMut(&[u8])) -> Result<u16> {
        let head = self.reader.head().trying(|| "read the head of an answer".into())?;
        let head = head.ok_or_else(|| unusable("the server closed a keep-alive connection"))?;
        let status = head.status()?;
        if status != 204 {
            self.reader.body(&head, sink).trying(|| "read the body of an answer".into())?;
        }
        Ok(status)
    }
}

/// A connection, plain or TLS.
enum Wire {
    Plain(TcpStream),
    Tls { session: Box<ClientConnection>, socket: BufReader<TcpStream> },
}

impl Wire {
    fn connect(target: &Target) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let Some(config) = &target.tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::from(target.address.ip());
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        // rustls reads little at a time; the buffer makes a system call of many records.
        Ok(Self::Tls { session: Box::new(session), socket: BufReader::with_capacity(256 * 1024, socket) })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls { session, socket } => {
                while session.is_handshaking() {
                    session.complete_io(&mut Halves(socket))?;
                }
                session.writer().write_all(bytes)?;
                while session.wants_write() {
                    session.write_tls(socket.get_mut())?;
                }
                Ok(())
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (session, socket) = match self {
            Self::Plain(socket) => return socket.read(into),
            Self::Tls { session, socket } => (session, socket),
        };
        loop {
            match session.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            while session.wants_write() {
                session.write_tls(socket.get_mut())?;
            }
            if session.read_tls(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// The buffered reading half and the writing half of one socket.
struct Halves<'a>(&'a mut BufReader<TcpStream>);

impl Read for Halves<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Halves<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// The TLS settings of the load tool, the same for every target: TLS 1.3, one suite, one group, so that no server
/// picks a cheaper one than another.
pub(crate) fn tls(authority_pem: &[u8]) -> Result<Arc<ClientConfig>> {
    use rustls::crypto::aws_lc_rs as provider;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let fault = |error: &dyn std::fmt::Display| Fault::Unusable(format!("the load tool's TLS: {error}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem) {
        roots.add(certificate.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
    }
    let crypto = rustls::crypto::CryptoProvider {
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![provider::kx_group::X25519],
        ..provider::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| fault(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut latencies = Latencies::default();
        for micros in (1..=101).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(
            (latencies.micros(0.5), latencies.micros(0.99), latencies.micros(0.0)),
            (51.0, 100.0, 1.0)
        );
        assert_eq!(Latencies::default().micros(0.5).to_bits(), 0);
    }

    #[test]
    fn the_ends_of_a_page_are_enough() {
        let mut ends = Ends::default();
        ends.add(br#"{"id":"q","nextUri":"https://h:1/v1/statement/executing/x","data":["#);
        for _ in 0..10_000 {
            ends.add(b"[1,2,3],");
        }
        ends.add(br#"[1]],"stats":{"state":"RUNNING","rootStage":{"state":"FINISHED"}}}"#);
        let page = ends.page().unwrap();
        assert_eq!(page.next.as_deref(), Some("/v1/statement/executing/x"));
        assert_eq!(page.state, "RUNNING");
        assert_eq!(page.length, ends.length);
        assert!(ends.front.len() + ends.back.len() <= Ends::FRONT + Ends::BACK);
    }
}
