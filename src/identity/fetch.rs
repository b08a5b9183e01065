//! Fetches an issuer's keys: one GET, no redirects, bounded in time and size.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;

use crate::https::{self, Bounds};

/// A key set has at most a mebibyte, and ten seconds to come.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 1 << 20 };

/// A URL and the means to fetch it.
pub(super) struct Fetch {
    url: Uri,
    client: https::Client,
}

impl Fetch {
    /// Checks the URL, and reads the certificate authorities.
    pub(super) fn new(url: &str, ca_file: Option<&Path>, allow_plain_http: bool) -> Result<Self, String> {
        let url = https::address(url, allow_plain_http).map_err(|why| format!("jwks_url: {why}"))?;
        let client = https::Client::new(ca_file, url.scheme_str() == Some("https"))?;
        Ok(Self { url, client })
    }

    /// The body of a 200 answer.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        let request = http::Request::get(self.url.clone())
            .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
            .header(http::header::USER_AGENT, concat!("northgate/", env!("CARGO_PKG_VERSION")))
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let response = self.client.send(request, BOUNDS).await.map_err(|error| error.to_string())?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        Ok(response.into_body())
    }
}
