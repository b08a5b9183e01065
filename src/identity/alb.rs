//! Sign-in by an Application Load Balancer of AWS: what it says of the user whom it has signed in
//! (`x-amzn-oidc-data`), signed with a key of its region.
//!
//! It is nearly a JWT: issuer, client, signer and end are in the header, and the parts keep their padding, which is
//! signed along. Anybody can have a load balancer in the region, and so a good signature: what counts is the signer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jsonwebtoken::{Algorithm, DecodingKey};
use moka::future::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::claims::Mapping;
use super::config;
use super::error::{Cause, Refused, SetupError};
use super::jwt::{LEEWAY, Verified, now, seconds};
use super::principal::Method;
use crate::https::{self, Bounds};

/// A key is some 200 bytes, and has five seconds to come.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(5), body: 4096 };
/// Most keys remembered; a load balancer has few.
const MAX_KEYS: u64 = 100;
/// How long a key is believed.
const KEEP: Duration = Duration::from_hours(24);
/// Most keys remembered that could not be had.
const MAX_MISSING: u64 = 10_000;
/// How long a key that could not be had is not asked for again.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys asked for a second, whoever names them.
const FETCHES: std::num::NonZeroU32 = std::num::NonZeroU32::new(5).expect("not zero");
/// The longest time to an end that is believed, in seconds. A load balancer says two minutes.
const LONGEST: u64 = 3600;

/// Base64url with its padding, or without.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Checks what a load balancer says.
pub(super) struct Alb {
    config: config::Alb,
    mapping: Mapping,
    keys: Keys,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    signer: String,
    client: String,
    iss: String,
    exp: Value,
    crit: Option<Value>,
}

const fn refused(why: &'static str) -> Refused {
    Refused::BadCredentials(Cause::Token(why))
}

impl Alb {
    pub(super) fn new(config: config::Alb) -> Result<Self, SetupError> {
        let wrong = |why: &str| SetupError::Value(format!("alb.{why}"));
        if config.signers.is_empty() || !config.signers.iter().all(|arn| arn.starts_with("arn:")) {
            return Err(wrong("signers: name the ARN of each load balancer, and nothing else"));
        }
        if config.client.is_empty() || config.issuer.is_empty() {
            return Err(wrong("client and issuer: as the load balancer's rule has them; none is empty"));
        }
        let base = match (&config.region, &config.keys_url) {
            (Some(region), None) if is_region(region) => {
                format!("https://public-keys.auth.elb.{region}.amazonaws.com")
            }
            (Some(_), None) => return Err(wrong("region: is no region")),
            (None, Some(url)) => url.trim_end_matches('/').to_owned(),
            _ => return Err(wrong("region, keys_url: give one of them")),
        };
        let keys = Keys::new(base, config.ca_file.as_deref(), config.allow_plain_http)
            .map_err(|why| wrong(&format!("keys_url: {why}")))?;
        let mapping = Mapping {
            user: config.user_claim.clone(),
            groups: config.groups_claim.clone(),
            attributes: config.attributes.clone(),
            require: config.require.clone(),
        };
        Ok(Self { config, mapping, keys })
    }

    /// Checks signer, client, issuer, end and signature, and reads the claims.
    pub(super) async fn verify(&self, text: &str) -> Result<Verified, Refused> {
        let (message, signature) = text.rsplit_once('.').ok_or(refused("not three parts"))?;
        let (head, claims) = message.split_once('.').ok_or(refused("not three parts"))?;
        if claims.contains('.') {
            return Err(refused("not three parts"));
        }
        let decoded = |part: &str, why| BASE64URL.decode(part).map_err(|_| refused(why));
        let header: Header = serde_json::from_slice(&decoded(head, "unreadable header")?)
            .map_err(|_| refused("unreadable header"))?;
        let expires = self.check(&header, now())?;
        let key = self.keys.find(&header.kid).await?;
        // The bytes that were signed are those that came, padding and all; the signature itself is compared without it.
        let good = jsonwebtoken::crypto::verify(
            signature.trim_end_matches('='),
            message.as_bytes(),
            &key,
            Algorithm::ES256,
        );
        if !good.is_ok_and(|good| good) {
            return Err(refused("bad signature"));
        }
        let claims: Value = serde_json::from_slice(&decoded(claims, "unreadable claims")?)
            .map_err(|_| refused("unreadable claims"))?;
        if !claims.get("iss").is_none_or(|iss| iss.as_str() == Some(self.config.issuer.as_str())) {
            return Err(refused("claims of another issuer"));
        }
        let principal = self.mapping.principal(&claims, Method::Alb).map_err(Refused::BadCredentials)?;
        Ok(Verified { principal: Arc::new(principal), ends: expires.saturating_add(LEEWAY) })
    }

    /// What the header says, before anything is asked for on its word. It holds if the signature does.
    fn check(&self, header: &Header, now: u64) -> Result<u64, Refused> {
        if header.alg != "ES256" {
            return Err(refused("algorithm not allowed"));
        }
        if header.crit.is_some() {
            return Err(refused("critical header parameters"));
        }
        if !self.config.signers.contains(&header.signer) {
            return Err(refused("another signer"));
        }
        if header.client != self.config.client {
            return Err(refused("another client"));
        }
        if header.iss != self.config.issuer {
            return Err(refused("another issuer"));
        }
        let expires = seconds(Some(&header.exp)).ok_or(refused("unreadable exp"))?;
        if expires.saturating_add(LEEWAY) < now {
            return Err(Refused::BadCredentials(Cause::Expired));
        }
        if expires.saturating_sub(now) > LONGEST {
            return Err(refused("lives longer than allowed"));
        }
        Ok(expires)
    }
}

fn unavailable(why: &str) -> Refused {
    Refused::Unavailable(format!("key of the load balancer: {why}"))
}

/// A region's name, such as `eu-central-1`: it becomes a part of a host's name.
fn is_region(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len())
        && text.bytes().all(known)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A UUID (RFC 9562) as it is written: it becomes a part of a path.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The region's keys, by their names.
struct Keys {
    base: String,
    client: https::Client,
    known: Cache<String, DecodingKey>,
    missing: Cache<String, Refused>,
    fetches: DefaultDirectRateLimiter,
}

impl Keys {
    fn new(base: String, ca_file: Option<&Path>, allow_plain_http: bool) -> Result<Self, String> {
        let url = https::address(&base, allow_plain_http)?;
        if url.query().is_some() {
            return Err("has a query".to_owned());
        }
        Ok(Self {
            client: https::Client::new(ca_file, url.scheme_str() == Some("https"))?,
            base,
            known: Cache::builder().max_capacity(MAX_KEYS).time_to_live(KEEP).build(),
            missing: Cache::builder().max_capacity(MAX_MISSING).time_to_live(PAUSE).build(),
            fetches: RateLimiter::direct(Quota::per_second(FETCHES)),
        })
    }

    /// The key of this name. However many ask at once, it is fetched once.
    async fn find(&self, id: &str) -> Result<DecodingKey, Refused> {
        if !is_uuid(id) {
            return Err(refused("the key's name is no UUID"));
        }
        if let Some(missing) = self.missing.get(id).await {
            return Err(missing);
        }
        let fetch = async {
            // Names of keys are invented easily.
            if self.fetches.check().is_err() {
                return Err(unavailable("too many are asked for"));
            }
            let fetched = self.fetch(id).await;
            if let Err(missing) = &fetched {
                self.missing.insert(id.to_owned(), missing.clone()).await;
            }
            fetched
        };
        self.known.try_get_with_by_ref(id, fetch).await.map_err(|missing| (*missing).clone())
    }

    async fn fetch(&self, id: &str) -> Result<DecodingKey, Refused> {
        let request = http::Request::get(format!("{}/{id}", self.base))
            .header(http::header::USER_AGENT, concat!("northgate/", env!("CARGO_PKG_VERSION")))
            .body(bytes::Bytes::new())
            .map_err(|error| unavailable(&error.to_string()))?;
        let answer =
            self.client.send(request, BOUNDS).await.map_err(|error| unavailable(&error.to_string()))?;
        match answer.status() {
            http::StatusCode::OK => {
                DecodingKey::from_ec_pem(answer.body()).map_err(|_| unavailable("it is no key"))
            }
            http::StatusCode::FORBIDDEN | http::StatusCode::NOT_FOUND => Err(refused("unknown key")),
            other => Err(unavailable(&format!("answered {other}"))),
        }
    }
}

#[cfg(test)]
mod tests;
