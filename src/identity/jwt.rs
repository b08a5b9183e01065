//! Bearer tokens: JWTs (RFC 7519) signed by a configured issuer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::claims::Mapping;
use super::config;
use super::error::{Cause, Refused, SetupError};
use super::fetch::Fetch;
use super::principal::{Method, Principal};
use super::source::{NoKey, Place, Source};

/// Longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How far clocks may be apart, in seconds.
pub(super) const LEEWAY: u64 = 30;

/// A token that holds.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) principal: Arc<Principal>,
    /// When it ends, leeway included, in seconds since 1970.
    pub(super) ends: u64,
}

/// The issuers, by name.
pub(super) struct Issuers {
    issuers: BTreeMap<String, Issuer>,
}

struct Issuer {
    config: config::Issuer,
    mapping: Mapping,
    algorithms: Vec<Algorithm>,
    source: Source,
}

impl Issuers {
    /// Checks the configuration and starts to fetch keys. Needs a tokio runtime.
    pub(super) fn new(configs: Vec<config::Issuer>) -> Result<Self, SetupError> {
        let mut issuers = BTreeMap::new();
        for config in configs {
            let name = config.issuer.clone();
            let issuer = Issuer::new(config)
                .map_err(|message| SetupError::Issuer { issuer: name.clone(), message })?;
            if issuers.insert(name.clone(), issuer).is_some() {
                return Err(SetupError::Issuer { issuer: name, message: "is there twice".to_owned() });
            }
        }
        Ok(Self { issuers })
    }

    /// Asks for all keys to be fetched soon.
    pub(super) fn refresh(&self) {
        for issuer in self.issuers.values() {
            issuer.source.refresh();
        }
    }

    /// Checks a token: signature, algorithm, `iss`, `aud`, `exp`, `nbf`, lifetime, and what else is required.
    pub(super) async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        let refused = |why| Refused::BadCredentials(Cause::Token(why));
        if token.len() > MAX_TOKEN {
            return Err(refused("too long"));
        }
        // The issuer's name is read before anything is verified, and only to choose whose keys must verify it.
        let claimed: ClaimedIssuer = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_| refused("not a signed JWT with an issuer"))?;
        let issuer = self.issuers.get(&claimed.iss).ok_or(refused("unknown issuer"))?;
        issuer.verify(token).await
    }
}

#[derive(Deserialize)]
struct ClaimedIssuer {
    iss: String,
}

impl Issuer {
    fn new(config: config::Issuer) -> Result<Self, String> {
        if config.issuer.is_empty() {
            return Err("issuer: empty".to_owned());
        }
        if config.audiences.is_empty() || config.audiences.contains("") {
            return Err("audiences: name at least one, and none that is empty".to_owned());
        }
        if config.algorithms.is_empty() {
            return Err("algorithms: none".to_owned());
        }
        let origin = match (&config.jwks_url, &config.jwks_file) {
            (Some(url), None) => {
                Place::Url(Box::new(Fetch::new(url, config.ca_file.as_deref(), config.allow_plain_http)?))
            }
            (None, Some(path)) => Place::File(path.clone()),
            _ => return Err("give one of jwks_url and jwks_file".to_owned()),
        };
        let source = Source::start(config.issuer.clone(), origin, config.refresh.0, config.keep_keys.0);
        let algorithms = config.algorithms.iter().map(|algorithm| Algorithm::from(*algorithm)).collect();
        let mapping = Mapping {
            user: config.user_claim.clone(),
            groups: config.groups_claim.clone(),
            attributes: config.attributes.clone(),
            require: config.require.clone(),
        };
        Ok(Self { config, mapping, algorithms, source })
    }

    async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        let refused = |why| Refused::BadCredentials(Cause::Token(why));
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("unreadable header"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(refused("algorithm not allowed"));
        }
        // `jku`, `jwk`, `x5u` and `x5c` are never looked at: keys come from the configured place alone.
        if header.crit.is_some() {
            return Err(refused("critical header parameters"));
        }
        if header.typ.as_deref().is_some_and(|typ| !is_access_type(typ)) {
            return Err(refused("a JWT for another use"));
        }
        let key = self.source.find(header.kid.as_deref(), header.alg).await.map_err(|none| match none {
            NoKey::Unknown => refused("unknown key"),
            NoKey::Unavailable(why) => Refused::Unavailable(format!("keys of the issuer: {why}")),
        })?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.required_spec_claims = ["exp", "iss", "aud"].map(str::to_owned).into();
        validation.set_issuer(&[&self.config.issuer]);
        validation.aud = Some(self.config.audiences.iter().cloned().collect());
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
            .map_err(|error| Refused::BadCredentials(cause(error.kind())))?
            .claims;
        self.accept(&claims, now())
    }

    /// What the library leaves to its caller, and the principal.
    fn accept(&self, claims: &Value, now: u64) -> Result<Verified, Refused> {
        let refused = |why| Refused::BadCredentials(Cause::Token(why));
        // An array of issuers would pass the library; RFC 7519 has a single string.
        if claims.get("iss").and_then(Value::as_str) != Some(self.config.issuer.as_str()) {
            return Err(refused("issuer is not one string"));
        }
        // A token that tells of something that has happened (RFC 8417), such as of a sign-out, is nobody's login.
        if claims.get("events").is_some() {
            return Err(refused("a JWT for another use"));
        }
        let expires = seconds(claims.get("exp")).ok_or(refused("unreadable exp"))?;
        let issued = match claims.get("iat") {
            None => now,
            Some(iat) => seconds(Some(iat)).ok_or(refused("unreadable iat"))?,
        };
        if issued > now.saturating_add(LEEWAY) {
            return Err(refused("issued in the future"));
        }
        if expires.saturating_sub(issued) > self.config.max_lifetime.0.as_secs() {
            return Err(refused("lives longer than allowed"));
        }
        let method = Method::Jwt { issuer: self.config.issuer.clone() };
        let principal = self.mapping.principal(claims, method).map_err(Refused::BadCredentials)?;
        Ok(Verified { principal: Arc::new(principal), ends: expires.saturating_add(LEEWAY) })
    }
}

/// A JWT, or an OAuth 2.0 access token (RFC 9068); not a logout token, a proof of possession or the like.
fn is_access_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// A NumericDate, in whole seconds since 1970.
pub(super) fn seconds(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
        Some(Duration::try_from_secs_f64(seconds).ok()?.as_secs())
    })
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

fn cause(kind: &ErrorKind) -> Cause {
    match kind {
        ErrorKind::ExpiredSignature => Cause::Expired,
        ErrorKind::ImmatureSignature => Cause::Token("not valid yet"),
        ErrorKind::InvalidIssuer => Cause::Token("another issuer"),
        ErrorKind::InvalidAudience => Cause::Token("another audience"),
        ErrorKind::InvalidSignature => Cause::Token("bad signature"),
        ErrorKind::MissingRequiredClaim(_) => Cause::Token("a claim is missing"),
        _ => Cause::Token("unreadable"),
    }
}
