//! Services of AWS, and those of others that speak as they do: requests are signed (Signature Version 4), and sent again
//! where that may help.
//!
//! The credentials (given, of the environment, a web identity, a task or an instance) and the signatures are
//! `object_store`'s.

mod secrets;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use crate::https::{Bounds, Client, ExchangeError};
use crate::units;

pub use secrets::{Arn, secret};

/// What one exchange may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), body: 64 << 20 };
/// How often a request is sent before it has failed, and the pause before the second time; it doubles each time.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no answer. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// What is configured.
    #[error("{0}")]
    Config(String),
    /// There are no credentials, or nothing could be signed with them.
    #[error("no credentials: {0}")]
    Credentials(String),
    /// There was no answer, several times.
    #[error("no answer: {0}")]
    Silent(ExchangeError),
    /// The server refused, or failed several times.
    #[error("it answers {status}: {text}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of what it says.
        text: String,
    },
}

/// A key by its name, if it is not to be found in the environment or with the instance.
pub struct OwnKey<'a> {
    /// Its id.
    pub id: &'a str,
    /// The secret part.
    pub secret: &'a str,
}

/// A service in a region.
pub struct Service {
    http: Client,
    credentials: AwsCredentialProvider,
    /// As it is signed: `s3`, `secretsmanager`.
    name: &'static str,
    region: String,
}

impl Service {
    /// Reads authorities and finds out where credentials come from. Nothing is asked yet.
    ///
    /// # Errors
    /// [`AwsError::Config`], [`AwsError::Credentials`].
    pub fn new(
        name: &'static str,
        region: &str,
        http: Client,
        own: Option<&OwnKey<'_>>,
    ) -> Result<Self, AwsError> {
        // The bucket is never asked for: this is how that crate finds credentials.
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name("none")
            .with_region(region)
            .with_allow_http(true)
            .with_http_connector(Connector);
        if let Some(OwnKey { id, secret }) = own {
            builder = builder.with_access_key_id(*id).with_secret_access_key(*secret);
        }
        let store = builder.build().map_err(|error| AwsError::Credentials(error.to_string()))?;
        Ok(Self { http, credentials: Arc::clone(store.credentials()), name, region: region.to_owned() })
    }

    /// Signs and sends, again where that may help. Statuses of failures are errors, those that are `expected` apart.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn send(
        &self,
        request: &Request<Bytes>,
        expected: &[StatusCode],
    ) -> Result<Response<Bytes>, AwsError> {
        let mut pause = PAUSE;
        for turn in 1.. {
            let answer = self.once(request).await;
            let last = turn == TRIES;
            match answer {
                Ok(answer) if answer.status().is_success() || expected.contains(&answer.status()) => {
                    return Ok(answer);
                }
                Ok(answer) if last || !again(answer.status()) => {
                    let text = String::from_utf8_lossy(answer.body());
                    let text = units::cut(&text, 300).to_owned();
                    return Err(AwsError::Status { status: answer.status(), text });
                }
                Err(AwsError::Silent(error)) if last => return Err(AwsError::Silent(error)),
                Ok(_) | Err(AwsError::Silent(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(AwsError::Silent(ExchangeError::Slow(BOUNDS.time)))
    }

    async fn once(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, AwsError> {
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|error| AwsError::Credentials(error.to_string()))?;
        let mut signed: HttpRequest = request.clone().map(Into::into);
        AwsAuthorizer::new(&credential, self.name, &self.region)
            .try_authorize(&mut signed, None)
            .map_err(|error| AwsError::Credentials(error.to_string()))?;
        self.http.send(signed.map(|_| request.body().clone()), BOUNDS).await.map_err(AwsError::Silent)
    }
}

/// A client with the authorities of the file, else the system's.
///
/// # Errors
/// [`AwsError::Config`].
pub fn client(ca_file: Option<&Path>, encrypted: bool) -> Result<Client, AwsError> {
    Client::new(ca_file, encrypted).map_err(AwsError::Config)
}

/// Whether a status may be another one the next time.
fn again(status: StatusCode) -> bool {
    // 409: somebody puts the same object at this moment.
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT)
}

/// What the crate asks for credentials by: our own client.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let wrong = |source: String| object_store::Error::Generic { store: "AWS", source: source.into() };
        // Where there are no authorities, there may still be an instance or a task that is asked without TLS.
        let client = Client::new(None, true).or_else(|_| Client::new(None, false));
        Ok(HttpClient::new(Asked(client.map_err(wrong)?)))
    }
}

#[derive(Debug)]
struct Asked(Client);

impl HttpService for Asked {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = self.0.send(Request::from_parts(head, body), BOUNDS).await;
            answer
                .map(|answer| answer.map(Into::into))
                .map_err(|error| HttpError::new(HttpErrorKind::Request, error))
        })
    }
}
