//! The upstream: answers Trino's pages from memory over plain HTTP/1.1, a thread to each connection.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::bank::Mode;
use crate::fault::{Result, Trying};
use crate::http::{Head, Reader, chunked};
use crate::metadata;
use crate::pages::{self, Frames, Links, STREAM_PAGES};

/// Trino writes large pages in chunks of its output buffer, which is 32 KiB.
const CHUNK: usize = 32 * 1024;
/// Longest statement that is read.
const LONGEST_STATEMENT: usize = 16 * 1024 * 1024;

struct Stub {
    poll: Frames,
    submit: Frames,
    stream: Frames,
    /// The rows of a page, in chunks already.
    rows: Vec<u8>,
    submitted: AtomicU64,
    last: Mutex<String>,
}

/// Answers connections for ever. Prints `listening PORT` first, which the orchestrator waits for.
pub(crate) fn serve(port: u16) -> Result<()> {
    let stub = Arc::new(Stub {
        poll: Frames::new(Mode::Poll),
        submit: Frames::new(Mode::Submit),
        stream: Frames::new(Mode::Stream),
        rows: chunked(pages::stream_data().as_bytes(), CHUNK),
        submitted: AtomicU64::new(0),
        last: Mutex::new(String::new()),
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).trying(|| format!("listen on port {port}"))?;
    let mut out = io::stdout();
    writeln!(out, "listening {}", listener.local_addr()?.port())?;
    out.flush()?;
    for stream in listener.incoming() {
        let (stream, stub) = (stream.trying(|| "accept".into())?, Arc::clone(&stub));
        // A connection that breaks is the other side's business: the load tool sees it and says so.
        thread::spawn(move || drop(stub.converse(stream)));
    }
    Ok(())
}

impl Stub {
    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = Reader::new(stream);
        let (mut page, mut answer) = (String::new(), Vec::new());
        while let Some(head) = reader.head()? {
            let mut body = Vec::new();
            let mut too_long = false;
            reader.body(&head, |piece| {
                too_long |= body.len() + piece.len() > LONGEST_STATEMENT;
                if !too_long {
                    body.extend_from_slice(piece);
                }
            })?;
            let mut words = head.first_line().split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let path = target.split('?').next().unwrap_or_default();
            page.clear();
            let reply = self.reply(method, path, &head, &body, &mut page);
            answer.clear();
            let socket = reader.source();
            match reply {
                Reply::Rows { tail } => {
                    answer.extend_from_slice(STREAM_HEAD);
                    answer.extend_from_slice(&chunked(page.as_bytes(), CHUNK));
                    socket.write_all(&answer)?;
                    socket.write_all(&self.rows)?;
                    answer.clear();
                    answer.extend_from_slice(&chunked(tail.as_bytes(), CHUNK));
                    answer.extend_from_slice(b"0\r\n\r\n");
                }
                Reply::Page(status) => {
                    let body = if method == "HEAD" { "" } else { page.as_str() };
                    write!(
                        answer,
                        "HTTP/1.1 {status}\r\n{COMMON}Content-Length: {}\r\n\r\n{body}",
                        page.len()
                    )?;
                }
                Reply::Nothing => answer.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n"),
            }
            socket.write_all(&answer)?;
            if head.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
        Ok(())
    }

    fn reply(&self, method: &str, path: &str, head: &Head, body: &[u8], page: &mut String) -> Reply<'_> {
        match (method, path) {
            ("POST", "/v1/statement") => self.submit(head, body, page),
            ("GET" | "HEAD", "/v1/info") => {
                page.push_str(
                    r#"{"nodeVersion":{"version":"476"},"environment":"bench","coordinator":true,"starting":false,"uptime":"1.00m"}"#,
                );
                Reply::OK
            }
            // What was submitted last and how often: for the bench, to see what reached the upstream.
            ("GET", "/bench/last") => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = write!(page, "{}\n{last}", self.submitted.load(Ordering::Relaxed));
                Reply::OK
            }
            ("DELETE", _) if path.starts_with("/v1/statement/") => Reply::Nothing,
            ("GET" | "HEAD", _) => self.follow(head, path, page).unwrap_or(Reply::Page("404 Not Found")),
            _ => Reply::Page("404 Not Found"),
        }
    }

    fn submit(&self, head: &Head, body: &[u8], page: &mut String) -> Reply<'_> {
        let base = base(head);
        let number = self.submitted.fetch_add(1, Ordering::Relaxed);
        let id = format!("20260102_030405_{:05}_bench", number % 100_000);
        let statement = String::from_utf8_lossy(body);
        let Some(mode) = Mode::of_statement(&statement) else {
            match metadata::answer(&statement) {
                Some((columns, rows)) => pages::only_page(page, &base, &id, columns, &rows),
                None => pages::error_page(page, &base, &id, "the stub does not know this statement"),
            }
            return Reply::OK;
        };
        let slug = format!("{}{number:039x}", mode.letter());
        pages::open(page, &Links { base: &base, id: &id, slug: &slug, next: Some(1), partial_cancel: false });
        let frames = self.frames(mode);
        page.push_str(&frames.columns);
        page.push_str(&frames.running);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clear();
        last.push_str(&statement);
        Reply::OK
    }

    fn follow(&self, head: &Head, path: &str, page: &mut String) -> Option<Reply<'_>> {
        let rest = path
            .strip_prefix("/v1/statement/executing/")
            .or_else(|| path.strip_prefix("/v1/statement/queued/"))?;
        let mut parts = rest.split('/');
        let (id, slug, token) = (parts.next()?, parts.next()?, parts.next()?.parse::<u64>().ok()?);
        let mode = Mode::of_slug(slug)?;
        let over = match mode {
            Mode::Poll => false,
            Mode::Submit => true,
            Mode::Stream => token >= STREAM_PAGES,
        };
        let next = (!over).then_some(token + 1);
        pages::open(page, &Links { base: &base(head), id, slug, next, partial_cancel: !over });
        let frames = self.frames(mode);
        page.push_str(&frames.columns);
        let tail = if over { &frames.finished } else { &frames.running };
        if mode == Mode::Stream {
            return Some(Reply::Rows { tail });
        }
        page.push_str(tail);
        Some(Reply::OK)
    }

    const fn frames(&self, mode: Mode) -> &Frames {
        match mode {
            Mode::Poll => &self.poll,
            Mode::Submit => &self.submit,
            Mode::Stream => &self.stream,
        }
    }
}

enum Reply<'a> {
    /// The page as it is, with a status.
    Page(&'static str),
    /// The page, the rows of the stream, then this.
    Rows { tail: &'a str },
    /// No content.
    Nothing,
}

impl Reply<'_> {
    const OK: Self = Self::Page("200 OK");
}

const COMMON: &str = "Date: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: application/json\r\n\
                      Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nVary: Accept-Encoding\r\n";
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n\
    Content-Type: application/json\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
    Vary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What links begin with: from the forwarded headers as Trino does with `process-forwarded`, else from `Host`.
fn base(head: &Head) -> String {
    let scheme = head.value("x-forwarded-proto").unwrap_or("http");
    let host = head.value("x-forwarded-host").or_else(|| head.value("host")).unwrap_or("localhost");
    let prefix = head.value("x-forwarded-prefix").unwrap_or_default();
    match head.value("x-forwarded-port") {
        Some(port) if !host.contains(':') => format!("{scheme}://{host}:{port}{prefix}"),
        _ => format!("{scheme}://{host}{prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &str, expect: &str) {
        let text = format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n");
        let head = Reader::new(text.as_bytes()).head().unwrap().unwrap();
        assert_eq!(base(&head), expect);
    }

    #[test]
    fn links_are_built_as_trino_builds_them() {
        check("Host: a:1", "http://a:1");
        check(
            "Host: a:1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gw\r\nX-Forwarded-Port: 8443",
            "https://gw:8443",
        );
        check(
            "Host: a:1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gw:2\r\nX-Forwarded-Prefix: /c/one",
            "https://gw:2/c/one",
        );
    }
}
