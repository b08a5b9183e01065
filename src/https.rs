//! What the gateway asks of other servers, Trino left out: one bounded exchange over HTTP or HTTPS.
//!
//! Redirects are not followed: where a request goes is the configuration's to say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(20);

/// A client for one server or several. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What one exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From connecting to the last byte of the answer.
    pub time: Duration,
    /// The longest body of an answer, in bytes.
    pub body: usize,
}

/// Why there is no answer. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No connection was made: nothing was sent.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The time is over.
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// The answer's body is longer than what is read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Client {
    /// Reads the certificate authorities: those of the file, else the system's. `encrypted` is whether any server is asked
    /// over HTTPS, so that authorities are needed.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub fn new(ca_file: Option<&Path>, encrypted: bool) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(ca_file, encrypted, None)?);
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self(pool))
    }

    /// Sends a request and reads its answer to the end, whatever its status.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let exchange = self.exchange(request.map(Full::new), bounds.body);
        tokio::time::timeout(bounds.time, exchange).await.unwrap_or(Err(ExchangeError::Slow(bounds.time)))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let answer = self.0.request(request).await.map_err(|error| {
            let text = chain(&error);
            if error.is_connect() { ExchangeError::Connect(text) } else { ExchangeError::Broken(text) }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                ExchangeError::TooLong(most)
            } else {
                ExchangeError::Broken(chain(&*error))
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The files of our own certificate chain and its key, in PEM.
#[derive(Clone, Copy, Debug)]
pub struct OwnCertificate<'a> {
    /// The chain, our own first.
    pub cert_file: &'a Path,
    /// The private key.
    pub key_file: &'a Path,
}

/// TLS 1.2 or 1.3 towards a server, whose certificate comes from the authorities of the file, else from the system's.
/// Where it is not `used` none are looked for. A server that asks is shown our `own` certificate, if there is one.
///
/// # Errors
/// There are no authorities, or they or our certificate cannot be read.
pub fn tls(
    ca_file: Option<&Path>,
    used: bool,
    own: Option<OwnCertificate<'_>>,
) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(authorities(path)?),
        None if !used => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_native_roots().map_err(|error| {
            format!("no certificate authorities on this system ({error}); name some by `ca_file`")
        })?,
    };
    let Some(OwnCertificate { cert_file, key_file }) = own else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cert_file {}: {error}", cert_file.display()))?;
    if chain.is_empty() {
        return Err(format!("cert_file {}: holds no certificate", cert_file.display()));
    }
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| format!("key_file {}: {error}", key_file.display()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("cert_file {}, key_file: {error}", cert_file.display()))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let failed = |why: String| format!("ca_file {}: {why}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// The certificates that a server shows, its own first (DER). It has to be one that would be believed; nothing is sent.
///
/// # Errors
/// There is no connection, or the certificate is not to be believed.
pub async fn shown_certificates(
    uri: &Uri,
    ca_file: Option<&Path>,
    time: Duration,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let host = uri.host().ok_or("no host")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls(ca_file, true, None)?));
    let name = rustls::pki_types::ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let shaken = async {
        let stream = tokio::net::TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
        connector.connect(name, stream).await
    };
    let stream = tokio::time::timeout(time, shaken).await.map_err(|_| "no answer".to_owned())?;
    let stream = stream.map_err(|error| error.to_string())?;
    Ok(stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec())
}

/// Checks the address of a server that is sent secrets, or whose word is believed: https, or http within this machine or
/// where `allow_plain_http` lifts that.
///
/// # Errors
/// What is wrong with it.
pub fn address(url: &str, allow_plain_http: bool) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let host = uri.host().ok_or("no host")?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if allow_plain_http || is_loopback(host) => Ok(uri),
        Some("http") => {
            Err("must be https; `allow_plain_http = true` lifts this, and lets whoever is on that \
                             network answer in its place"
                .to_owned())
        }
        _ => Err("must be https".to_owned()),
    }
}

/// Whether a host of a URL is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and what caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
