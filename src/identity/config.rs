//! The `[identity]` section.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Who may sign in, and how. Paths are absolute by the time that [`super::Identity`] sees them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file of users with a password, and of the groups and attributes of impersonated ones.
    pub users_file: PathBuf,
    /// How long a password that was right is not checked again (by its slow hash). At most an hour.
    pub password_cache: Span,
    /// The issuers whose tokens are accepted.
    pub jwt: Vec<Issuer>,
    /// Who may run queries as whom.
    pub impersonation: Vec<Impersonation>,
    /// How many failed attempts are borne.
    pub attempts: Attempts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            users_file: PathBuf::from("users.toml"),
            password_cache: Span(Duration::from_mins(5)),
            jwt: Vec::new(),
            impersonation: Vec::new(),
            attempts: Attempts::default(),
        }
    }
}

/// `[identity.attempts]`: failed sign-ins a minute, and at once.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attempts {
    /// From one address (of IPv6: one /64).
    pub per_address: NonZeroU32,
    /// With one user name, wherever from.
    pub per_name: NonZeroU32,
}

impl Default for Attempts {
    fn default() -> Self {
        const ADDRESS: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
        const NAME: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
        Self { per_address: ADDRESS, per_name: NAME }
    }
}

/// `[[identity.jwt]]`: an issuer of bearer tokens, and how its claims become a principal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What `iss` must be, to the letter.
    pub issuer: String,
    /// What `aud` must hold one of. At least one: a token for another application is not for us.
    pub audiences: BTreeSet<String>,
    /// Where the public keys are. `https`, or `http` on the loopback interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The public keys in a file, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// The only certificate authorities that `jwks_url` may be signed by (PEM). Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Take keys over plain HTTP from another host. Whoever is on that network can then sign in as anybody.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// The signature algorithms accepted.
    #[serde(default = "Issuer::default_algorithms")]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The claim that names the user. `a.b` is `b` inside of `a`.
    #[serde(default = "Issuer::default_user_claim")]
    pub user_claim: String,
    /// The claim that lists the groups: an array of strings, or one string. Absent: no groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Attributes by name, each with the claim that it comes from.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Claims that must have exactly this value, such as `azp = "superset"`.
    #[serde(default)]
    pub require: BTreeMap<String, String>,
    /// The longest time between issue (or now, without `iat`) and expiry that is believed.
    #[serde(default = "Issuer::default_max_lifetime")]
    pub max_lifetime: Span,
    /// How often the keys are fetched again.
    #[serde(default = "Issuer::default_refresh")]
    pub refresh: Span,
    /// How long the last keys are believed while they cannot be fetched.
    #[serde(default = "Issuer::default_keep_keys")]
    pub keep_keys: Span,
}

impl Issuer {
    fn default_algorithms() -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RS256, SignatureAlgorithm::PS256, SignatureAlgorithm::ES256]
    }

    fn default_user_claim() -> String {
        "sub".to_owned()
    }

    fn default_max_lifetime() -> Span {
        Span(Duration::from_hours(24))
    }

    fn default_refresh() -> Span {
        Span(Duration::from_mins(10))
    }

    fn default_keep_keys() -> Span {
        Span(Duration::from_hours(24))
    }
}

/// The signatures that may be allowed. There is no `none` and no shared secret to name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl From<SignatureAlgorithm> for Algorithm {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::RS256 => Self::RS256,
            SignatureAlgorithm::RS384 => Self::RS384,
            SignatureAlgorithm::RS512 => Self::RS512,
            SignatureAlgorithm::PS256 => Self::PS256,
            SignatureAlgorithm::PS384 => Self::PS384,
            SignatureAlgorithm::PS512 => Self::PS512,
            SignatureAlgorithm::ES256 => Self::ES256,
            SignatureAlgorithm::ES384 => Self::ES384,
            SignatureAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// `[[identity.impersonation]]`: these principals, and members of these groups, may run queries as these users.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Impersonation {
    /// Principals by name.
    #[serde(default)]
    pub principals: BTreeSet<String>,
    /// Principals by a group of theirs.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// The users that they may name; `*` stands for any number of characters.
    pub users: Vec<String>,
}
