//! Stage 1: a request that is well-formed, bounded and of a known route.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::certificate::ClientCertificate;
use super::credentials::{self, Credentials};
use super::forwarded::Proxy;
use super::malformed::{BodyFault, HeaderFault, Malformed};
use super::session::Session;
use crate::secret::Secret;

/// The longest sealed link in a path, in bytes. Ours are some 200 to 400.
const LONGEST_LINK: usize = 4096;
const EXECUTING: &str = "/v1/statement/executing/";
const AUDIT: &str = "/v1/audit/";
const QUERY: &str = "/v1/query/";
/// The longest id of a query in a path, in bytes. Ours have 27.
const LONGEST_ID: usize = 64;

/// How much of everything a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a statement's text.
    pub body: usize,
    /// Bytes of all header names and values together.
    pub headers: usize,
    /// Header lines.
    pub header_lines: usize,
    /// Bytes of the text of a prepared statement, after it is decompressed.
    pub prepared: usize,
}

impl Default for Limits {
    /// 1 MB of SQL, 1 MiB of headers in 1,000 lines, 4 MB of prepared statements.
    fn default() -> Self {
        Self { body: 1_000_000, headers: 1 << 20, header_lines: 1_000, prepared: 4_000_000 }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// Its name as logs and the audit show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
        }
    }
}

/// Whom a request is from: the other end of the connection, or whom a trusted proxy names there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address. Port 0 stands for one that the proxy does not say.
    pub address: SocketAddr,
    /// The TLS of the connection; `None` for plain text, where links then begin with `http:`.
    pub tls: Option<TlsVersion>,
    /// The certificate that it has shown, verified.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The trusted proxy at the other end of the connection, if there is one.
    pub proxy: Option<Arc<Proxy>>,
}

impl Peer {
    /// The other end of a connection, which has shown no certificate.
    pub fn new(address: SocketAddr, tls: Option<TlsVersion>) -> Self {
        Self { address, tls, certificate: None, proxy: None }
    }

    /// The address, and the port if that is known.
    pub fn origin(&self) -> String {
        match self.address.port() {
            0 => self.address.ip().to_string(),
            _ => self.address.to_string(),
        }
    }
}

/// What may be done with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMethod {
    /// Fetch the page.
    Get,
    /// The heartbeat of an idle driver (trino-jdbc 484): keep the query alive, send no page.
    Head,
    /// Cancel the query, or the stage for a partial cancel.
    Delete,
}

/// Where a request goes. Anything that is not one of these is not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/statement`: a statement.
    Submit,
    /// `HEAD /v1/statement`: a driver asks whether its credentials are good (trino-jdbc's `isValid`). The
    /// answer is an empty 200 for whoever is authenticated.
    Probe,
    /// `GET`, `HEAD` or `DELETE /v1/statement/executing/{sealed}`.
    Link {
        /// What to do.
        method: LinkMethod,
        /// The sealed text, of base64url characters only.
        sealed: String,
    },
    /// `DELETE /v1/query/{id}`: to cancel a query of one's own by its id, as clients do that keep no link.
    Cancel {
        /// The id, of letters, digits and `_`.
        query: String,
    },
    /// `GET /v1/audit/{path}`: the audit, for auditors' programs.
    Audit {
        /// What of it, of letters, digits, `.`, `-` and `/`.
        path: String,
        /// The parameters, as they came.
        query: String,
    },
    /// `GET` or `HEAD /v1/info`: the version, for everybody.
    Info,
}

/// A request that is well-formed, bounded and of a known route. Who sent it is not known yet.
#[derive(Clone)]
pub struct Call {
    route: Route,
    session: Session,
    peer: Peer,
    credentials: Credentials,
    assertion: Option<Secret<String>>,
    base: String,
    body: String,
    gzip: bool,
}

impl fmt::Debug for Call {
    /// Neither SQL nor credentials: this may get into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("route", &self.route).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Call {
    /// Reads a request whose body was collected, up to one byte more than `limits.body`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for whatever is not on a list here: another path or method, headers that contradict each
    /// other, that cannot be decoded or are too many, and a body that is not text in UTF-8.
    pub fn read(parts: Parts, body: Bytes, peer: Peer, limits: &Limits) -> Result<Self, Malformed> {
        let Parts { method, uri, headers, .. } = parts;
        let route = route(&method, &uri)?;
        bounded(&headers, limits)?;
        let base = base(&uri, &headers, &peer)?;
        let credentials = credentials::read(&headers)?;
        let assertion = credentials::read_assertion(&headers, &peer)?;
        let session = Session::read(&headers)?;
        let body = match route {
            Route::Submit => statement(&headers, body, limits)?,
            _ if body.is_empty() => String::new(),
            _ => return Err(Malformed::Body(BodyFault::Unexpected)),
        };
        let gzip = accepts_gzip(&headers);
        Ok(Self { route, session, peer, credentials, assertion, base, body, gzip })
    }

    /// Where it goes.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// What the client says of its session, decoded; claims, not facts.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The other end of the connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The SQL of a [`Route::Submit`]; otherwise empty.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// What the caller offers as proof of who it is.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What a load balancer that signs users in says of who it is, if a trusted one says something.
    pub fn assertion(&self) -> Option<&Secret<String>> {
        self.assertion.as_ref()
    }

    /// What links are built on: `https://host:port`, as the client called us. It goes back to that client only.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the client takes a body in gzip.
    pub fn accepts_gzip(&self) -> bool {
        self.gzip
    }
}

/// Matches the raw path byte for byte: an escape, `;`, `//` or a dot segment is part of no route.
fn route(method: &Method, uri: &Uri) -> Result<Route, Malformed> {
    let (path, query) = (uri.path(), uri.query());
    if let Some(sealed) = path.strip_prefix(EXECUTING) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if sealed.is_empty() || sealed.len() > LONGEST_LINK || !sealed.bytes().all(known) || !harmless(query)
        {
            return Err(Malformed::NotFound);
        }
        let method = match *method {
            Method::GET => LinkMethod::Get,
            Method::HEAD => LinkMethod::Head,
            Method::DELETE => LinkMethod::Delete,
            _ => return Err(Malformed::Method { allowed: "GET, HEAD, DELETE" }),
        };
        return Ok(Route::Link { method, sealed: sealed.to_owned() });
    }
    if let Some(id) = path.strip_prefix(QUERY) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(known) || query.is_some() {
            return Err(Malformed::NotFound);
        }
        if *method != Method::DELETE {
            return Err(Malformed::Method { allowed: "DELETE" });
        }
        return Ok(Route::Cancel { query: id.to_owned() });
    }
    if let Some(path) = path.strip_prefix(AUDIT) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/');
        let query = query.unwrap_or_default();
        if path.len() > 64 || !path.bytes().all(known) || query.len() > LONGEST_LINK {
            return Err(Malformed::NotFound);
        }
        if *method != Method::GET {
            return Err(Malformed::Method { allowed: "GET" });
        }
        return Ok(Route::Audit { path: path.to_owned(), query: query.to_owned() });
    }
    if query.is_some() {
        return Err(Malformed::NotFound);
    }
    match (path, method) {
        ("/v1/statement", &Method::POST) => Ok(Route::Submit),
        ("/v1/statement", &Method::HEAD) => Ok(Route::Probe),
        ("/v1/statement", _) => Err(Malformed::Method { allowed: "POST, HEAD" }),
        ("/v1/info", &Method::GET | &Method::HEAD) => Ok(Route::Info),
        ("/v1/info", _) => Err(Malformed::Method { allowed: "GET, HEAD" }),
        _ => Err(Malformed::NotFound),
    }
}

/// Clients may ask for a waiting time or a size of page. Both are ignored; nothing else is known.
fn harmless(query: Option<&str>) -> bool {
    let plain = |text: &str| text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    query.is_none_or(|query| {
        query.split('&').count() <= 2
            && query.split('&').all(|pair| {
                pair.split_once('=').is_some_and(|(name, value)| {
                    matches!(name, "maxWait" | "targetResultSize") && plain(value)
                })
            })
    })
}

fn bounded(headers: &HeaderMap, limits: &Limits) -> Result<(), Malformed> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > limits.header_lines || bytes > limits.headers {
        return Err(Malformed::HeadersTooLarge);
    }
    Ok(())
}

/// The authority that the client named: `:authority` of HTTP/2, `Host` of HTTP/1.1, or what a trusted proxy says of it.
fn base(uri: &Uri, headers: &HeaderMap, peer: &Peer) -> Result<String, Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Malformed::Host);
    }
    let host = host.map(|host| host.to_str().map_err(|_| Malformed::Host)).transpose()?;
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let named = match (authority, host) {
        (Some(a), Some(h)) if !a.eq_ignore_ascii_case(h) => return Err(Malformed::Host),
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) => return Err(Malformed::Host),
    };
    if !is_host(named) {
        return Err(Malformed::Host);
    }
    let proxy = peer.proxy.as_deref();
    let https = proxy.and_then(|proxy| proxy.https).unwrap_or(peer.tls.is_some());
    let (scheme, default) = if https { ("https", 443) } else { ("http", 80) };
    let named = proxy.and_then(|proxy| proxy.host.as_deref()).unwrap_or(named);
    let base = format!("{scheme}://{}", named.to_ascii_lowercase());
    let has_port = named.rsplit_once(']').map_or(named, |(_, after)| after).contains(':');
    match proxy.and_then(|proxy| proxy.port) {
        Some(port) if !has_port && port != default => Ok(format!("{base}:{port}")),
        _ => Ok(base),
    }
}

/// A name or an address, and perhaps a port: `gw.example`, `10.0.0.1:8443`, `[::1]:8443`.
pub(super) fn is_host(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match after.strip_prefix(':') {
            Some(port) => ("v6", Some(port)),
            None if after.is_empty() => ("v6", None),
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let host_ok = !host.is_empty() && host.len() <= 253 && host.bytes().all(known);
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    host_ok && port_ok
}

/// The text of a statement: UTF-8 and nothing else, so that no charset makes another statement of it.
fn statement(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<String, Malformed> {
    let fault = |fault| Err(Malformed::Body(fault));
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| value != "identity") {
        return fault(BodyFault::Encoded);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let media = types.next();
    if types.next().is_some() {
        return Err(Malformed::Header { name: "content-type", why: HeaderFault::Repeated });
    }
    if !media.is_none_or(|media| media.to_str().is_ok_and(is_utf8_text)) {
        return fault(BodyFault::Charset);
    }
    if body.len() > limits.body {
        return fault(BodyFault::TooLarge { limit: limits.body });
    }
    // Without a copy where nobody else has the bytes.
    let Ok(text) = String::from_utf8(Vec::from(body)) else { return fault(BodyFault::NotUtf8) };
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return fault(BodyFault::Nul);
    }
    if text.trim().is_empty() {
        return fault(BodyFault::Empty);
    }
    Ok(text)
}

/// `text/plain` or `application/...`, with no charset or with UTF-8. (curl says it is a form; Trino takes it so.)
fn is_utf8_text(media: &str) -> bool {
    let mut parts = media.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let known =
        essence == "text/plain" || essence.strip_prefix("application/").is_some_and(|s| !s.is_empty());
    known
        && parts.all(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return parameter.trim().is_empty() };
            if !name.trim().eq_ignore_ascii_case("charset") {
                return true;
            }
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            named && parts.all(|weight| !matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

#[cfg(test)]
mod tests;
