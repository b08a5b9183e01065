//! `[[identity.saml]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret;
use crate::units::Span;

/// `[[identity.saml]]`: a SAML 2.0 identity provider whose users sign in with a browser.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Its name in our addresses (`/login/saml/NAME/...`): lower-case letters, digits and `-`.
    pub name: String,
    /// What it is called on the sign-in page. Default: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Its entity id, to the letter.
    pub idp_entity_id: String,
    /// Where its metadata is. `https`, or `http` on the loopback interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
    /// Its metadata in a file, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_file: Option<PathBuf>,
    /// The only certificate authorities that `metadata_url` may be signed by (PEM). Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Take metadata over plain HTTP from another host, and send browsers there. Whoever is on that network can then sign
    /// in as anybody.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// How often the metadata is read again.
    #[serde(default = "Config::default_refresh")]
    pub refresh: Span,
    /// How long the last metadata is believed while it cannot be read.
    #[serde(default = "Config::default_keep_metadata")]
    pub keep_metadata: Span,
    /// Its signing certificates (PEM). If there are any, only their keys verify, whatever the metadata says.
    #[serde(default)]
    pub pinned_certificates: Vec<PathBuf>,
    /// The SHA-256 fingerprints of its signing certificates, in hexadecimal. If there are any, no other certificate of the
    /// metadata counts. Not together with `pinned_certificates`.
    #[serde(default)]
    pub pinned_fingerprints: Vec<String>,
    /// Our entity id. Default: the address of our metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// Our RSA key, which signs requests and opens encrypted assertions (PEM).
    pub key_file: secret::Source,
    /// The certificate of our key (PEM).
    pub certificate_file: PathBuf,
    /// Sign the requests to sign in. Those to sign out always are.
    #[serde(default = "yes")]
    pub sign_requests: bool,
    /// How the browser carries a request to the identity provider.
    #[serde(default)]
    pub request_binding: Binding,
    /// What must be signed.
    #[serde(default)]
    pub require: Signed,
    /// Take assertions only if they are encrypted.
    #[serde(default)]
    pub require_encryption: bool,
    /// The form of name asked for. Default: whatever the identity provider chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_id_format: Option<String>,
    /// The attribute that names the user. Default: the subject's NameID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_attribute: Option<String>,
    /// The attribute that lists the groups. Absent: no groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_attribute: Option<String>,
    /// Attributes by name, each with the SAML attribute that it comes from.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// How far the clocks may be apart. At most five minutes.
    #[serde(default = "Config::default_max_clock_skew")]
    pub max_clock_skew: Span,
    /// Ask the identity provider to have the user sign in anew, although there may be a session.
    #[serde(default)]
    pub force_authn: bool,
    /// The ways to sign in that are asked for and accepted, such as
    /// `urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport`. Default: any.
    #[serde(default)]
    pub authn_context: Vec<String>,
}

impl Config {
    /// The title, or the name where there is none.
    pub fn title(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    fn default_refresh() -> Span {
        Span(Duration::from_hours(1))
    }

    fn default_keep_metadata() -> Span {
        Span(Duration::from_hours(24))
    }

    fn default_max_clock_skew() -> Span {
        Span(Duration::from_mins(1))
    }
}

fn yes() -> bool {
    true
}

/// How a message gets to the identity provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// In an address that the browser is sent to.
    #[default]
    Redirect,
    /// In a form that the browser submits.
    Post,
}

impl Binding {
    /// Its name in metadata.
    pub(super) const fn uri(self) -> &'static str {
        match self {
            Self::Redirect => "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect",
            Self::Post => "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
        }
    }
}

/// What must be signed. What is signed beside that must hold as well, and what is not covered by a signature is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signed {
    /// The response or the assertion in it.
    #[default]
    Either,
    /// The assertion.
    Assertion,
    /// The response.
    Response,
    /// The response and the assertion in it.
    Both,
}
