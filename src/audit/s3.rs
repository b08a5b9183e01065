//! A bucket of S3, for objects that nobody can change or remove: each is put once, with a retention of Object Lock.
//!
//! The requests are our own, since `object_store` cannot send the headers of Object Lock.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::aws::{self, AwsError, OwnKey, Service};
use crate::secret;
use crate::units::{ByteSize, Span, cut};

const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const LOCK_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

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
    pub secret_access_key_file: Option<secret::Source>,
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
    /// There was no good answer.
    #[error("S3, {key}: {source}")]
    Request {
        /// The object.
        key: String,
        /// Why.
        source: AwsError,
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
    service: Service,
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
        let config_error = |error: AwsError| S3Error::Config(format!("audit.s3: {error}"));
        let http =
            aws::client(config.ca_file.as_deref(), base.starts_with("https://")).map_err(config_error)?;
        let secret = config.secret_access_key_file.as_ref().map(|source| {
            source.read().map_err(|error| {
                S3Error::Config(format!("audit.s3.secret_access_key_file {source}: {error}"))
            })
        });
        let secret = secret.transpose()?;
        let own = config.access_key_id.as_deref().zip(secret.as_ref());
        let own = own.map(|(id, secret)| OwnKey { id, secret: secret.expose().trim() });
        Ok(Self {
            service: Service::new("s3", &config.region, http, own.as_ref()).map_err(config_error)?,
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
            let text = cut(&text, 300).to_owned();
            let source = AwsError::Status { status: answer.status(), text };
            return Err(S3Error::Request { key: "the bucket".to_owned(), source });
        }
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok((text.contains("<ObjectLockEnabled>Enabled<"), date.map(str::to_owned)))
    }

    fn url(&self, key: &str) -> String {
        // What is signed has it so.
        format!("{}{}{}", self.base, self.prefix, key.replace('=', "%3D"))
    }

    async fn send(
        &self,
        key: &str,
        request: http::request::Builder,
        body: &Bytes,
        expected: &[StatusCode],
    ) -> Result<Response<Bytes>, S3Error> {
        let request = request.body(body.clone());
        let request = request.map_err(|error| S3Error::Config(format!("audit.s3: {error}")))?;
        let answer = self.service.send(&request, expected).await;
        answer.map_err(|source| S3Error::Request { key: key.to_owned(), source })
    }
}
