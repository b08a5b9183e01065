//! The `[catalog.rest.NAME]` sections: NAME is what Trino calls the catalog.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};
use crate::{https, secret};

/// One Iceberg REST catalog, and what of its word holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the catalog is, without `/v1`: `https://polaris.example/api/catalog`.
    pub uri: String,
    /// The warehouse to ask the catalog's configuration for. Polaris calls it a catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    /// What stands in front of the catalog's paths, where its configuration does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Who says what may be read.
    #[serde(default)]
    pub access: Access,
    /// What the catalog is given in the user's name, for `access = "delegated"`.
    #[serde(default)]
    pub user_token: UserToken,
    /// Where the principal roles of a user come from, for `access = "grants"`.
    #[serde(default)]
    pub principal_roles: PrincipalRoles,
    /// Whether Trino's schemas may be nested namespaces, their levels joined by dots.
    #[serde(default)]
    pub nested_namespaces: bool,
    /// The gateway's own client identifier at the catalog (OAuth 2.0 client credentials).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The file with its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<secret::Source>,
    /// A file with a token of the gateway's own, where there are no client credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<secret::Source>,
    /// Where tokens are issued; `/v1/oauth/tokens` of the catalog if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_uri: Option<String>,
    /// The scope of the gateway's own token.
    #[serde(default = "default_scope")]
    pub scope: String,
    /// Polaris's management API, for `access = "grants"`: `https://polaris.example/api/management/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_uri: Option<String>,
    /// The scope of the token for the management API; as `scope` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_scope: Option<String>,
    /// How long an answer is believed: a revoked grant takes effect within it.
    #[serde(default = "default_life")]
    pub life: Span,
    /// For how much longer an answer about a table without restrictions is believed while the catalog cannot be asked.
    #[serde(default = "default_grace")]
    pub grace: Span,
    /// How long the catalog may take for one answer.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How often a question is asked again that found no answer.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// The longest answer.
    #[serde(default = "default_answer")]
    pub max_answer: ByteSize,
    /// How many answers about tables are remembered, each for one principal.
    #[serde(default = "default_remembered")]
    pub remembered: u64,
    /// Whether the tags of namespaces hold for the tables in them. They are read with the gateway's own token.
    #[serde(default = "yes")]
    pub inherited_tags: bool,
    /// The strength of the catalog's masks where policies mask the same column; see `strength` of a mask.
    #[serde(default)]
    pub mask_strength: i32,
    /// Certificates of the authorities that the catalog's certificate may come from; the system's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Sends tokens over HTTP to another host. Whoever is on that network can take them, and answer in the catalog's
    /// place.
    #[serde(default)]
    pub allow_plain_http: bool,
}

/// Who says what of a catalog's tables may be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Policies alone. The catalog is asked for tags, with the gateway's own token.
    #[default]
    Documents,
    /// The catalog, asked in the user's own name; what its answer restricts is restricted.
    Delegated,
    /// The grants of Polaris, read through its management API with the gateway's own token.
    Grants,
}

/// What the catalog is given in the user's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UserToken {
    /// The token that the user signed in with.
    #[default]
    Passed,
    /// One that it is exchanged for at `token_uri` (RFC 8693).
    Exchanged,
}

/// Where the principal roles of a user come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalRoles {
    /// Polaris's own assignments to the principal of the user's name.
    #[default]
    Assigned,
    /// The user's groups, by name: for federated roles, that come with the identity provider's tokens.
    Groups,
}

fn default_scope() -> String {
    "PRINCIPAL_ROLE:ALL".to_owned()
}

fn default_life() -> Span {
    Span(Duration::from_secs(30))
}

fn default_grace() -> Span {
    Span(Duration::ZERO)
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(5))
}

fn default_retries() -> u32 {
    2
}

fn default_answer() -> ByteSize {
    ByteSize(32_000_000)
}

const fn yes() -> bool {
    true
}

fn default_remembered() -> u64 {
    100_000
}

impl Config {
    /// The defaults for a catalog.
    pub fn plain(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            warehouse: None,
            prefix: None,
            access: Access::default(),
            user_token: UserToken::default(),
            principal_roles: PrincipalRoles::default(),
            nested_namespaces: false,
            client_id: None,
            client_secret_file: None,
            token_file: None,
            token_uri: None,
            scope: default_scope(),
            management_uri: None,
            management_scope: None,
            life: default_life(),
            grace: default_grace(),
            timeout: default_timeout(),
            retries: default_retries(),
            max_answer: default_answer(),
            remembered: default_remembered(),
            inherited_tags: true,
            mask_strength: 0,
            ca_file: None,
            allow_plain_http: false,
        }
    }

    /// Whether the catalog's word on who may read holds.
    pub fn decides(&self) -> bool {
        self.access != Access::Documents
    }

    /// The paths in it.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = [&mut self.client_secret_file, &mut self.token_file].into_iter().flatten();
        secrets.filter_map(secret::Source::file_mut).chain(&mut self.ca_file)
    }

    /// Checks what can be checked without asking the catalog.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let addresses = [
            ("uri", Some(&self.uri)),
            ("token_uri", self.token_uri.as_ref()),
            ("management_uri", self.management_uri.as_ref()),
        ];
        for (key, uri) in addresses {
            if let Some(uri) = uri {
                let read =
                    https::address(uri, self.allow_plain_http).map_err(|why| format!("{key}: {why}"))?;
                if read.query().is_some() {
                    return Err(format!("{key}: must have no query"));
                }
            }
        }
        let own = self.client_id.is_some() || self.token_file.is_some();
        let grants = self.access == Access::Grants;
        let wrong = [
            (
                self.client_id.is_some() != self.client_secret_file.is_some(),
                "client_id: goes with client_secret_file",
            ),
            (
                self.client_id.is_some() && self.token_file.is_some(),
                "token_file: client_id is there as well; which is meant?",
            ),
            (
                self.access != Access::Delegated && !own,
                "access: for all but \"delegated\" the gateway needs a client_id or a token_file of its own",
            ),
            (
                self.inherited_tags && !own,
                "inherited_tags: to read namespaces the gateway needs a client_id or a token_file of its own; false \
                 leaves their tags out",
            ),
            (grants && self.management_uri.is_none(), "management_uri: access = \"grants\" needs it"),
            (!grants && self.management_uri.is_some(), "management_uri: is for access = \"grants\""),
            (
                self.user_token == UserToken::Exchanged && self.access != Access::Delegated,
                "user_token: is for access = \"delegated\"",
            ),
            (
                !grants && self.principal_roles != PrincipalRoles::Assigned,
                "principal_roles: is for access = \"grants\"",
            ),
            (self.life.0 > Duration::from_hours(1), "life: at most 1h"),
            (self.grace.0 > Duration::from_hours(24), "grace: at most 24h"),
            (
                self.timeout.0.is_zero() || self.timeout.0 > Duration::from_mins(2),
                "timeout: at least 1ms and at most 2m",
            ),
            (self.retries > 10, "retries: at most 10"),
            (self.max_answer.0 > 1 << 30, "max_answer: at most 1GiB"),
        ];
        match wrong.iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err((*why).to_owned()),
            None => Ok(()),
        }
    }
}
