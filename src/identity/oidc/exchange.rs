//! How we speak with the provider: our own client, to which the library gives its requests.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::https::{self, Bounds, ExchangeError};

/// An answer has at most a mebibyte, and ten seconds to come.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 1 << 20 };

/// The means to speak with the provider.
pub(super) struct Exchange {
    client: https::Client,
    allow_plain_http: bool,
}

impl Exchange {
    /// Reads the certificate authorities.
    pub(super) fn new(issuer: &str, ca_file: Option<&Path>, allow_plain_http: bool) -> Result<Self, String> {
        let client = https::Client::new(ca_file, issuer.starts_with("https:"))?;
        Ok(Self { client, allow_plain_http })
    }

    /// The body of a 200 answer.
    pub(super) async fn read(&self, url: &str) -> Result<Vec<u8>, String> {
        let request = http::Request::get(url)
            .header(http::header::ACCEPT, "application/json, application/jwk-set+json")
            .body(Vec::new())
            .map_err(|error| format!("{url}: {error}"))?;
        let response = self.send(request).await.map_err(|error| format!("{url}: {error}"))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("{url} answered {}", response.status()));
        }
        Ok(response.into_body())
    }

    /// One exchange. Whatever asks for it, the address is checked. That the provider is out of order is an error here, so
    /// that it is not taken for its word.
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, ExchangeError> {
        https::address(&request.uri().to_string(), self.allow_plain_http)
            .map_err(|why| ExchangeError::Connect(format!("the address {why}")))?;
        let agent = http::HeaderValue::from_static(concat!("northgate/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(http::header::USER_AGENT, agent);
        let response = self.client.send(request.map(Bytes::from), BOUNDS).await?;
        let status = response.status();
        if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(ExchangeError::Broken(format!("answered {status}")));
        }
        Ok(response.map(|body| body.to_vec()))
    }
}

impl<'c> AsyncHttpClient<'c> for Exchange {
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
