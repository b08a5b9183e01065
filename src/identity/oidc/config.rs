//! `[[identity.oidc]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use openidconnect::core::{CoreAuthPrompt, CoreJwsSigningAlgorithm};
use serde::{Deserialize, Serialize};

use crate::https;
use crate::identity::config::SignatureAlgorithm;
use crate::secret;
use crate::units::Span;

/// The most that clocks may be apart.
const MAX_SKEW: Duration = Duration::from_mins(5);
/// The longest time between two reads of the metadata, and for which it is believed.
const MAX_AGE: Duration = Duration::from_hours(24 * 7);
/// What a request to sign in says of itself, so that `authorize_params` must not.
const RESERVED: [&str; 14] = [
    "acr_values",
    "claims",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "state",
];

/// `[[identity.oidc]]`: an OpenID Connect provider whose users sign in with a browser, or with a terminal beside one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name in our addresses (`/login/oidc/NAME/callback`): lower-case letters, digits and `-`.
    pub name: String,
    /// What it is called on the sign-in page. Default: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Its issuer, to the letter. `https`, or `http` on the loopback interface. Its metadata is at
    /// `ISSUER/.well-known/openid-configuration`.
    pub issuer: String,
    /// What we are called there.
    pub client_id: String,
    /// The file with the secret that proves it. None: we are a public client there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<secret::Source>,
    /// The only certificate authorities that it may be signed by (PEM). Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Speak with it over plain HTTP on another host, and send browsers there. Whoever is on that network can then sign in
    /// as anybody.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// How often its metadata and keys are read again.
    #[serde(default = "Config::default_refresh")]
    pub refresh: Span,
    /// How long the last metadata and keys are believed while they cannot be read.
    #[serde(default = "Config::default_keep_metadata")]
    pub keep_metadata: Span,
    /// What is asked for; `openid` always is.
    #[serde(default = "Config::default_scopes")]
    pub scopes: BTreeSet<String>,
    /// The signature algorithms accepted.
    #[serde(default = "Config::default_algorithms")]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Other audiences that an ID token may have beside us. Default: none.
    #[serde(default)]
    pub trusted_audiences: BTreeSet<String>,
    /// How far the clocks may be apart. At most five minutes.
    #[serde(default = "Config::default_max_clock_skew")]
    pub max_clock_skew: Span,
    /// The claim that names the user. `a.b` is `b` inside of `a`.
    #[serde(default = "Config::default_user_claim")]
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
    /// Ask the UserInfo endpoint for claims that the ID token does not have.
    #[serde(default)]
    pub userinfo: bool,
    /// What the provider shows although there may be a session. Default: what it chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// How long ago the user may have signed in there. Default: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// The ways to sign in (`acr`) that are asked for and accepted. Default: any.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// More parameters of the request to sign in, such as `audience` or `domain_hint`.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
}

/// What the provider shows to somebody who signs in (OpenID Connect Core 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Its sign-in page.
    Login,
    /// What they consent to.
    Consent,
    /// Which account they use.
    SelectAccount,
}

impl From<Prompt> for CoreAuthPrompt {
    fn from(prompt: Prompt) -> Self {
        match prompt {
            Prompt::Login => Self::Login,
            Prompt::Consent => Self::Consent,
            Prompt::SelectAccount => Self::SelectAccount,
        }
    }
}

impl Config {
    /// The title, or the name where there is none.
    pub fn title(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    fn default_refresh() -> Span {
        Span(Duration::from_mins(10))
    }

    fn default_keep_metadata() -> Span {
        Span(Duration::from_hours(24))
    }

    fn default_scopes() -> BTreeSet<String> {
        ["openid", "profile", "email"].map(str::to_owned).into()
    }

    fn default_algorithms() -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RS256, SignatureAlgorithm::PS256, SignatureAlgorithm::ES256]
    }

    fn default_max_clock_skew() -> Span {
        Span(Duration::from_mins(1))
    }

    fn default_user_claim() -> String {
        "sub".to_owned()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err("name: 1 to 64 of a-z, 0-9 and -".to_owned());
        }
        https::address(&self.issuer, self.allow_plain_http).map_err(|why| format!("issuer: {why}"))?;
        if self.issuer.contains(['?', '#']) {
            return Err("issuer: has a query or a fragment".to_owned());
        }
        if self.client_id.is_empty() {
            return Err("client_id: empty".to_owned());
        }
        if self.algorithms.is_empty() {
            return Err("algorithms: none".to_owned());
        }
        if self.max_clock_skew.0 > MAX_SKEW {
            return Err("max_clock_skew: at most 5m".to_owned());
        }
        if self.refresh.0 > MAX_AGE || self.keep_metadata.0 > MAX_AGE {
            return Err("refresh, keep_metadata: at most 7d".to_owned());
        }
        if self.keep_metadata < self.refresh {
            return Err("keep_metadata: must not be shorter than refresh".to_owned());
        }
        if self.scopes.iter().any(|scope| scope.is_empty() || scope.contains(char::is_whitespace)) {
            return Err("scopes: one is empty, or has a space; each is an entry of its own".to_owned());
        }
        if self.acr_values.iter().any(|value| value.is_empty() || value.contains(' ')) {
            return Err("acr_values: one is empty, or has a space; each is an entry of its own".to_owned());
        }
        if let Some(name) = self.authorize_params.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(format!("authorize_params: '{name}' is not to be set there"));
        }
        Ok(())
    }

    /// The algorithms, as the library knows them. There is no `none` and no shared secret among them.
    pub(super) fn allowed(&self) -> impl Iterator<Item = CoreJwsSigningAlgorithm> {
        self.algorithms.iter().map(|algorithm| match algorithm {
            SignatureAlgorithm::RS256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            SignatureAlgorithm::RS384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
            SignatureAlgorithm::RS512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
            SignatureAlgorithm::PS256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            SignatureAlgorithm::PS384 => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
            SignatureAlgorithm::PS512 => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
            SignatureAlgorithm::ES256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            SignatureAlgorithm::ES384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
            SignatureAlgorithm::EdDSA => CoreJwsSigningAlgorithm::EdDsa,
        })
    }
}
