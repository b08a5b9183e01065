//! The `[identity]` section.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

use super::mapping::source;
use super::principal::Method;
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
    /// How client certificates name users. Without it they name nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// The load balancer that signs users in. Only what comes by `server.trusted_proxies` is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alb: Option<Alb>,
    /// Sign-in with a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<super::login::Config>,
    /// The OpenID providers whose users sign in with a browser.
    pub oidc: Vec<super::oidc::Config>,
    /// The SAML identity providers whose users sign in with a browser.
    pub saml: Vec<super::saml::Config>,
    /// Which users the identities of providers are.
    pub mapping: Vec<Mapping>,
    /// Who may run queries as whom.
    pub impersonation: Vec<Impersonation>,
    /// How many failed attempts are borne.
    pub attempts: Attempts,
    /// Personal access tokens. None: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<super::tokens::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            users_file: PathBuf::from("users.toml"),
            password_cache: Span(Duration::from_mins(5)),
            jwt: Vec::new(),
            client_certificates: None,
            alb: None,
            login: None,
            oidc: Vec::new(),
            saml: Vec::new(),
            mapping: Vec::new(),
            impersonation: Vec::new(),
            attempts: Attempts::default(),
            tokens: None,
        }
    }
}

impl Config {
    /// The ways to sign in whose identities can be mapped, as rules call them.
    pub(super) fn sources(&self) -> BTreeSet<String> {
        let issuers = self.jwt.iter().map(|issuer| Method::Jwt { issuer: issuer.issuer.clone() });
        let certificates = self.client_certificates.iter().map(|_| Method::Certificate);
        let balancers = self.alb.iter().map(|_| Method::Alb);
        let oidc = self.oidc.iter().map(|provider| Method::Oidc { provider: provider.name.clone() });
        let saml = self.saml.iter().map(|provider| Method::Saml { provider: provider.name.clone() });
        issuers
            .chain(certificates)
            .chain(balancers)
            .chain(oidc)
            .chain(saml)
            .filter_map(|method| source(&method))
            .collect()
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

/// `[identity.client_certificates]`: sign-in by the certificates that `server.client_ca_file` lets in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// Which name in the certificate is the user's. There must be exactly one of its kind.
    pub user_from: CertificateName,
}

/// A kind of name in a certificate (RFC 5280).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// The e-mail address among the subject's alternative names.
    Email,
    /// The DNS name among the subject's alternative names.
    Dns,
    /// The URI among the subject's alternative names, such as `spiffe://bank/etl`.
    Uri,
    /// The common name of the subject.
    CommonName,
}

/// `[identity.alb]`: an Application Load Balancer of AWS that signs users in, and how its claims become a principal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Alb {
    /// The ARNs of the load balancers. Anybody can have one that signs: these are whose word counts.
    pub signers: BTreeSet<String>,
    /// The client id in the load balancer's rule.
    pub client: String,
    /// The issuer in the load balancer's rule.
    pub issuer: String,
    /// The region of the load balancers, such as `eu-central-1`, whose keys are fetched from AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the keys are instead, as AWS has other places in some partitions: `/` and the key's name follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_url: Option<String>,
    /// The only certificate authorities that the keys' place may be signed by (PEM). Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Take keys over plain HTTP from another host. Whoever is on that network can then sign in as anybody.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// The claim that names the user. `a.b` is `b` inside of `a`.
    #[serde(default = "Issuer::default_user_claim")]
    pub user_claim: String,
    /// The claim that lists the groups: an array of strings, or one string. Absent: no groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Attributes by name, each with the claim that it comes from.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Claims that must have exactly this value.
    #[serde(default)]
    pub require: BTreeMap<String, String>,
}

/// `[[identity.mapping]]`: which user an identity of a provider is. The first rule that matches counts; whom none matches
/// cannot sign in, where there are rules for that way.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The way to sign in: `certificate`, `alb`, `jwt:` and the issuer, `oidc:` or `saml:` and the provider's name.
    pub from: String,
    /// A regular expression that the whole identity must match.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The user, with `$1` or `${name}` for what a group of the expression has matched.
    pub user: String,
    /// The principal of Polaris that the user is, if that has another name there. As `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_user: Option<String>,
    /// Make the ASCII letters of the user's name small.
    #[serde(default)]
    pub lower: bool,
    /// Groups that the user is in besides those that the provider says.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// What goes before the name of each group that the provider says.
    #[serde(default)]
    pub groups_prefix: String,
    /// What the rules must make of identities, checked at each start.
    #[serde(default)]
    pub tests: Vec<MappingTest>,
}

/// What the rules must make of an identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MappingTest {
    /// The identity.
    pub input: String,
    /// The user that it must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// It must be refused.
    #[serde(default)]
    pub refused: bool,
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
