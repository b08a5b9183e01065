//! Fetches an issuer's keys: one GET, no redirects, bounded in time and size.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Largest key set, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest time from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A URL and the means to fetch it.
pub(super) struct Fetch {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetch {
    /// Checks the URL, and reads the certificate authorities.
    pub(super) fn new(url: &str, ca_file: Option<&Path>, allow_plain_http: bool) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|error| format!("jwks_url: {error}"))?;
        let host = url.host().ok_or("jwks_url: no host")?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if allow_plain_http || is_loopback(host) => {}
            Some("http") => {
                return Err("jwks_url: must be https; `allow_plain_http = true` lifts this, and lets \
                            whoever is on that network sign in as anybody"
                    .to_owned());
            }
            _ => return Err("jwks_url: must be https".to_owned()),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let tls = match ca_file {
            Some(path) => tls.with_root_certificates(authorities(path)?),
            None if url.scheme_str() == Some("http") => tls.with_root_certificates(RootCertStore::empty()),
            None => tls.with_native_roots().map_err(|error| {
                format!("no certificate authorities on this system ({error}); name some by `ca_file`")
            })?,
        };
        let tls = tls.with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { url, client })
    }

    /// The body of a 200 answer.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        tokio::time::timeout(TIMEOUT, self.exchange())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
    }

    async fn exchange(&self) -> Result<Bytes, String> {
        let request = http::Request::get(self.url.clone())
            .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
            .header(http::header::USER_AGENT, concat!("northgate/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
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
