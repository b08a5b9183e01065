//! A bucket of S3, for objects that nobody can change or remove: each is put once, with a retention of Object Lock.
//!
//! The credentials (of the configuration, the environment, a web identity, a task or an instance) and the signatures are
//! `object_store`'s. The requests are our own, since that crate cannot send the headers of Object Lock.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use serde::{Deserialize, Serialize};

use crate::https::{Bounds, Client, ExchangeError};
use crate::units::{ByteSize, Span};

const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const LOCK_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// What one exchange may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), body: 64 << 20 };
/// How often a request is sent before it has failed, and the pause before the second time; it doubles each time.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// The objects that a list has at most; about a year of checkpoints, one each minute.
const MOST_LISTED: usize = 1_000_000;

/// The `[audit.s3]` section: where the log is copied to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bucket. It must have been made with Object Lock.
    pub bucket: String,
    /// What is in front of all names, such as `audit/gateway-1`. Each replica has its own.
    #[serde(default)]
    pub prefix: String,
    /// The region.
    #[serde(default = "Config::region")]
    pub region: String,
    /// The server, such as `https://s3.example.com`, if it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The authorities of the server's certificate, if they are not the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The name of the key, if it is not to be found in the environment or with the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The file with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_file: Option<PathBuf>,
    /// How long what is copied can be neither changed nor removed, by anybody (COMPLIANCE). 2557 days are 7 years.
    #[serde(default = "Config::retention")]
    pub retention: Span,
    /// How often what is new is copied.
    #[serde(default = "Config::every")]
    pub every: Span,
    /// How often what is new is also written as Parquet, for queries; `0s` if it is not to be.
    #[serde(default = "Config::parquet_every")]
    pub parquet_every: Span,
    /// What is in front of the names by which all logs of a bank are listed (`northgate audit logs`); all replicas have the
    /// same. Without it this log is not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// How much may wait on the local disk to be copied; queries are refused when it is more.
    #[serde(default = "Config::spool")]
    pub spool: ByteSize,
}

impl Config {
    /// For whoever reads a copy: nothing is written.
    pub fn reading(bucket: &str, prefix: &str, region: Option<String>, endpoint: Option<String>) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: region.unwrap_or_else(Self::region),
            endpoint,
            ca_file: None,
            access_key_id: None,
            secret_access_key_file: None,
            retention: Self::retention(),
            every: Self::every(),
            parquet_every: Self::parquet_every(),
            index: None,
            spool: Self::spool(),
        }
    }

    fn region() -> String {
        "us-east-1".to_owned()
    }

    fn retention() -> Span {
        Span(Duration::from_hours(2557 * 24))
    }

    fn every() -> Span {
        Span(Duration::from_mins(1))
    }

    fn parquet_every() -> Span {
        Span(Duration::from_hours(1))
    }

    fn spool() -> ByteSize {
        ByteSize(10_000_000_000)
    }

    /// What is wrong with it, by key.
    pub fn problem(&self) -> Option<String> {
        let plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
        };
        let bad = |prefix: &str| !plain(prefix) || prefix.starts_with('/') || prefix.ends_with('/');
        let bad_prefix = bad(&self.prefix);
        if self.bucket.is_empty() || !plain(&self.bucket) || self.bucket.contains('/') {
            Some("bucket: not the name of a bucket".to_owned())
        } else if bad_prefix {
            Some("prefix: letters, digits, `-`, `_`, `.`, and `/` between them".to_owned())
        } else if self.index.as_deref().is_some_and(|index| index.is_empty() || bad(index)) {
            Some("index: as `prefix`, and not empty".to_owned())
        } else if self.access_key_id.is_some() != self.secret_access_key_file.is_some() {
            Some("access_key_id: it goes with secret_access_key_file".to_owned())
        } else if self.retention.0 < Duration::from_secs(1) {
            Some("retention: at least a second".to_owned())
        } else {
            None
        }
    }
}

/// Whether the bucket of this configuration was made with Object Lock, and what its server's clock says.
///
/// # Errors
/// It cannot be asked.
pub async fn locks(config: &Config) -> Result<(bool, Option<String>), S3Error> {
    Bucket::new(config)?.locks().await
}

/// Why an object was not put or had.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// What is configured.
    #[error("{0}")]
    Config(String),
    /// There are no credentials, or nothing could be signed with them.
    #[error("no credentials for S3: {0}")]
    Credentials(String),
    /// There was no answer, several times.
    #[error("S3 does not answer: {0}")]
    Silent(ExchangeError),
    /// The server refused, or failed several times.
    #[error("S3 answers {status} to {key}: {text}")]
    Status {
        /// The object.
        key: String,
        /// The status.
        status: StatusCode,
        /// The beginning of what it says.
        text: String,
    },
    /// There is another object by this name.
    #[error(
        "{key} in the bucket is not ours: another gateway writes there, or this log is not the one that was copied"
    )]
    Conflict {
        /// Its name.
        key: String,
    },
}

/// A bucket, or what begins with a prefix in one.
pub(super) struct Bucket {
    http: Client,
    credentials: AwsCredentialProvider,
    region: String,
    /// The bucket's address, with a slash at the end.
    base: String,
    prefix: String,
    retention: Duration,
}

impl Bucket {
    pub(super) fn new(config: &Config) -> Result<Self, S3Error> {
        if let Some(problem) = config.problem() {
            return Err(S3Error::Config(format!("audit.s3.{problem}")));
        }
        let base = match &config.endpoint {
            Some(endpoint) => format!("{}/{}/", endpoint.trim_end_matches('/'), config.bucket),
            // Names with dots are in no certificate.
            None if config.bucket.contains('.') => {
                format!("https://s3.{}.amazonaws.com/{}/", config.region, config.bucket)
            }
            None => format!("https://{}.s3.{}.amazonaws.com/", config.bucket, config.region),
        };
        let encrypted = base.starts_with("https://");
        let http = Client::new(config.ca_file.as_deref(), encrypted).map_err(S3Error::Config)?;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_allow_http(true)
            .with_http_connector(Connector);
        if let (Some(id), Some(file)) = (&config.access_key_id, &config.secret_access_key_file) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret(file)?);
        }
        let store = builder.build().map_err(|error| S3Error::Credentials(error.to_string()))?;
        Ok(Self {
            http,
            credentials: Arc::clone(store.credentials()),
            region: config.region.clone(),
            base,
            prefix: if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) },
            retention: config.retention.0,
        })
    }

    /// Puts an object that is not there yet, under a retention. One that is there with the same bytes is as good: S3 may
    /// have stored what it then said that it did not.
    pub(super) async fn put_once(&self, key: &str, bytes: &Bytes) -> Result<(), S3Error> {
        match self.put(key, bytes, true).await? {
            StatusCode::PRECONDITION_FAILED => match self.get(key).await? {
                Some(there) if there == *bytes => Ok(()),
                _ => Err(S3Error::Conflict { key: format!("{}{key}", self.prefix) }),
            },
            _ => Ok(()),
        }
    }

    /// Puts an object, maybe over another, whose version stays.
    pub(super) async fn put_over(&self, key: &str, bytes: &Bytes) -> Result<(), S3Error> {
        self.put(key, bytes, false).await.map(|_| ())
    }

    async fn put(&self, key: &str, bytes: &Bytes, once: bool) -> Result<StatusCode, S3Error> {
        let retention = jiff::SignedDuration::try_from(self.retention).unwrap_or(jiff::SignedDuration::MAX);
        let until = jiff::Timestamp::now().saturating_add(retention);
        let until = until.map_err(|error| S3Error::Config(error.to_string()))?;
        let sum = STANDARD.encode(digest(&SHA256, bytes));
        let mut request = Request::put(self.url(key))
            .header(LOCK_MODE, "COMPLIANCE")
            .header(LOCK_UNTIL, until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .header(CHECKSUM, sum);
        if once {
            request = request.header(http::header::IF_NONE_MATCH, "*");
        }
        let answer = self.send(key, request, bytes, &[StatusCode::PRECONDITION_FAILED]).await?;
        Ok(answer.status())
    }

    /// An object; none if there is none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, S3Error> {
        let request = Request::builder().method(Method::GET).uri(self.url(key));
        let answer = self.send(key, request, &Bytes::new(), &[StatusCode::NOT_FOUND]).await?;
        Ok((answer.status() != StatusCode::NOT_FOUND).then(|| answer.into_body()))
    }

    /// The names that begin so, in order.
    pub(super) async fn list(&self, beginning: &str) -> Result<Vec<String>, S3Error> {
        let mut names: Vec<String> = Vec::new();
        while names.len() < MOST_LISTED {
            let after = names.last().map_or(String::new(), |name| format!("{}{name}", self.prefix));
            let encode = |text: &str| text.replace('/', "%2F");
            let url = format!(
                "{}?list-type=2&prefix={}&start-after={}",
                self.base,
                encode(&format!("{}{beginning}", self.prefix)),
                encode(&after)
            );
            let answer = self.send("the list", Request::get(url), &Bytes::new(), &[]).await?;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            let before = names.len();
            // All our names are plain letters and digits, so that nothing in them is escaped.
            names.extend(text.split("<Key>").skip(1).filter_map(|rest| {
                let (key, _) = rest.split_once("</Key>")?;
                Some(key.strip_prefix(self.prefix.as_str())?.to_owned())
            }));
            if names.len() == before || !text.contains("<IsTruncated>true</IsTruncated>") {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether the bucket was made with Object Lock, and the server's clock, as its answer has it (`Date`).
    async fn locks(&self) -> Result<(bool, Option<String>), S3Error> {
        let request = Request::get(format!("{}?object-lock=", self.base));
        let none = [StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED];
        let answer = self.send("the bucket's Object Lock", request, &Bytes::new(), &none).await?;
        let text = String::from_utf8_lossy(answer.body());
        if text.contains("NoSuchBucket") {
            let text = super::record::cut(&text, 300).to_owned();
            return Err(S3Error::Status { key: "the bucket".to_owned(), status: answer.status(), text });
        }
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok((text.contains("<ObjectLockEnabled>Enabled<"), date.map(str::to_owned)))
    }

    fn url(&self, key: &str) -> String {
        // What is signed has it so.
        format!("{}{}{}", self.base, self.prefix, key.replace('=', "%3D"))
    }

    /// Signs and sends, again where that may help. Statuses of failures are errors, those that are `expected` apart.
    async fn send(
        &self,
        key: &str,
        request: http::request::Builder,
        body: &Bytes,
        expected: &[StatusCode],
    ) -> Result<Response<Bytes>, S3Error> {
        let request = request.body(()).map_err(|error| S3Error::Config(format!("audit.s3: {error}")))?;
        let mut pause = PAUSE;
        for turn in 1.. {
            let answer = self.once(&request, body).await;
            let last = turn == TRIES;
            match answer {
                Ok(answer) if answer.status().is_success() || expected.contains(&answer.status()) => {
                    return Ok(answer);
                }
                Ok(answer) if last || !again(answer.status()) => {
                    let text = String::from_utf8_lossy(answer.body());
                    let text = super::record::cut(&text, 300).to_owned();
                    return Err(S3Error::Status { key: key.to_owned(), status: answer.status(), text });
                }
                Err(S3Error::Silent(error)) if last => return Err(S3Error::Silent(error)),
                Ok(_) | Err(S3Error::Silent(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(S3Error::Silent(ExchangeError::Slow(BOUNDS.time)))
    }

    async fn once(&self, request: &Request<()>, body: &Bytes) -> Result<Response<Bytes>, S3Error> {
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|error| S3Error::Credentials(error.to_string()))?;
        let mut signed: HttpRequest = request.clone().map(|()| body.clone().into());
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut signed, None)
            .map_err(|error| S3Error::Credentials(error.to_string()))?;
        self.http.send(signed.map(|_| body.clone()), BOUNDS).await.map_err(S3Error::Silent)
    }
}

/// Whether a status may be another one the next time.
fn again(status: StatusCode) -> bool {
    // 409: somebody puts the same object at this moment.
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT)
}

fn secret(file: &Path) -> Result<String, S3Error> {
    let secret = crate::secret::Secret::from_file(file);
    let secret = secret.map_err(|error| S3Error::Config(format!("{}: {error}", file.display())))?;
    Ok(secret.expose().trim().to_owned())
}

/// What the crate asks for credentials by: our own client.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let wrong = |source: String| object_store::Error::Generic { store: "S3", source: source.into() };
        // Where there are no authorities, there may still be an instance or a task that is asked without TLS.
        let client = Client::new(None, true).or_else(|_| Client::new(None, false));
        Ok(HttpClient::new(Service(client.map_err(wrong)?)))
    }
}

#[derive(Debug)]
struct Service(Client);

impl HttpService for Service {
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
