//! The `[trino]` section, and what it must not say.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::UpstreamError;
use crate::https;
use crate::units::Span;

/// The `[trino]` section: one cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the coordinator listens: `https://trino.example:8443`, without a path.
    pub url: String,
    /// What the cluster is called in links, logs and the audit.
    #[serde(default = "default_name")]
    pub name: String,
    /// Who the gateway is to Trino. It must be allowed to impersonate everybody there.
    #[serde(default = "default_user")]
    pub user: String,
    /// How the gateway proves it.
    #[serde(default)]
    pub authentication: Authentication,
    /// The file with the password, for `authentication = "password"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The file with the certificate chain (PEM, the gateway's own first), for `authentication = "certificate"`. It is read
    /// at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The file with the certificate's key (PEM), for `authentication = "certificate"`; or with the key that signs tokens,
    /// for `authentication = "jwt"`, which is made (0600) if there is none.
    /// Trino reads the public half from the gateway's key set at its start and every 15 minutes, so the
    /// file must be kept, and be the same for all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The audience of the tokens, for `http-server.authentication.jwt.required-audience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Certificates of the authorities that Trino's certificate may come from; the system's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Sends passwords and tokens over HTTP to another host. Whoever is on that network can take them.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// How long a connection may take to be made.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long Trino may take to begin an answer.
    #[serde(default = "default_first_byte_timeout")]
    pub first_byte_timeout: Span,
    /// How long Trino may pause within an answer.
    #[serde(default = "default_pause_timeout")]
    pub pause_timeout: Span,
}

/// How the gateway proves to Trino who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// Not at all: for development, with a Trino that nobody else can reach.
    #[default]
    None,
    /// A password, with HTTP Basic.
    Password,
    /// Tokens that the gateway signs (ES256), each good for a minute.
    Jwt,
    /// A client certificate. Trino takes its user name from it, which should be `user`.
    Certificate,
}

fn default_name() -> String {
    "trino".to_owned()
}

fn default_user() -> String {
    "northgate".to_owned()
}

fn default_connect_timeout() -> Span {
    Span(Duration::from_secs(5))
}

fn default_first_byte_timeout() -> Span {
    Span(Duration::from_mins(1))
}

fn default_pause_timeout() -> Span {
    Span(Duration::from_mins(1))
}

impl Config {
    /// The defaults, for a cluster without authentication.
    pub fn plain(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: default_name(),
            user: default_user(),
            authentication: Authentication::None,
            password_file: None,
            cert_file: None,
            key_file: None,
            audience: None,
            ca_file: None,
            allow_plain_http: false,
            connect_timeout: default_connect_timeout(),
            first_byte_timeout: default_first_byte_timeout(),
            pause_timeout: default_pause_timeout(),
        }
    }

    /// What is wrong with the section, if anything is: `key: why`.
    pub fn problem(&self) -> Option<String> {
        match self.check() {
            Err(UpstreamError::Config(why)) => Some(why),
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        }
    }

    /// Checks what can be checked without a connection: the address is a bare http or https one, files are named
    /// where they are needed and nowhere else, and secrets don't cross a network in the clear.
    pub(super) fn check(&self) -> Result<Address, UpstreamError> {
        let wrong = |why: String| Err(UpstreamError::Config(why));
        let address = match Address::read(&self.url) {
            Ok(address) => address,
            Err(why) => return wrong(format!("url: {why}")),
        };
        if self.user.is_empty() || !self.user.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b':') {
            return wrong("user: must be visible ASCII without a colon".to_owned());
        }
        if self.name.is_empty() || self.name.len() > 64 {
            return wrong("name: must have 1 to 64 bytes".to_owned());
        }
        let password = self.authentication == Authentication::Password;
        let jwt = self.authentication == Authentication::Jwt;
        let certificate = self.authentication == Authentication::Certificate;
        for (key, given, needed) in [
            ("password_file", self.password_file.is_some(), password),
            ("cert_file", self.cert_file.is_some(), certificate),
            ("key_file", self.key_file.is_some(), jwt || certificate),
        ] {
            if given && !needed {
                return wrong(format!("{key}: means nothing with this `authentication`"));
            }
            if needed && !given {
                return wrong(format!("{key}: this `authentication` needs it"));
            }
        }
        if self.audience.is_some() && !jwt {
            return wrong("audience: only tokens have one".to_owned());
        }
        if certificate && !address.tls {
            return wrong("url: must be https where the gateway shows a certificate".to_owned());
        }
        let in_the_clear = (password || jwt) && !address.tls && !address.is_loopback();
        if in_the_clear && !self.allow_plain_http {
            return wrong(
                "url: must be https where the gateway sends a password or a token to another host; \
                 `allow_plain_http = true` lifts this, and lets whoever is on that network take them"
                    .to_owned(),
            );
        }
        Ok(address)
    }
}

/// Where a cluster is: scheme and authority, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    authority: http::uri::Authority,
}

impl Address {
    fn read(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("'{url}' is not a URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("'{url}' must begin with https:// or http://")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("'{url}' must have no path"));
        }
        let authority = uri.authority().ok_or_else(|| format!("'{url}' has no host"))?.clone();
        if authority.as_str().contains('@') {
            return Err("must have no user in it: that is what `user` is for".to_owned());
        }
        Ok(Self { tls, authority })
    }

    fn is_loopback(&self) -> bool {
        https::is_loopback(self.authority.host())
    }

    /// The URL of a path, which begins with a slash.
    pub(super) fn at(&self, path: &str) -> Result<Uri, http::Error> {
        let scheme = if self.tls { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(path).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_found() {
        let check = |text: &str, expect: Option<&str>| {
            let config: Config = toml::from_str(text).expect("TOML");
            let got = config.check().err().map(|e| e.to_string());
            match (expect, got) {
                (None, None) => {}
                (Some(expect), Some(got)) if got.contains(expect) => {}
                (expect, got) => panic!("{text}: {got:?}, not {expect:?}"),
            }
        };
        check("url = 'http://trino:8080'", None);
        check("url = 'https://[::1]:8443/'", None);
        check("url = 'trino:8080'", Some("must begin with https://"));
        check("url = 'ftp://trino'", Some("must begin with https://"));
        check("url = 'http://trino/ui'", Some("no path"));
        check("url = 'http://me:pw@trino'", Some("no user"));
        check("url = 'http://t'\nuser = 'a:b'", Some("user: "));
        check("url = 'http://t'\nname = ''", Some("name: "));
        check("url = 'http://t'\npassword_file = 'x'", Some("password_file: means nothing"));
        check("url = 'https://t'\nauthentication = 'password'", Some("password_file: this"));
        check("url = 'https://t'\nauthentication = 'jwt'", Some("key_file: this"));
        let certificate = "authentication = 'certificate'\ncert_file = 'c'\nkey_file = 'k'";
        check(&format!("url = 'https://t'\n{certificate}"), None);
        check(&format!("url = 'http://127.0.0.1:1'\n{certificate}"), Some("url: must be https"));
        check("url = 'https://t'\nauthentication = 'certificate'\nkey_file = 'k'", Some("cert_file: this"));
        check("url = 'https://t'\nauthentication = 'certificate'\ncert_file = 'c'", Some("key_file: this"));
        check("url = 'https://t'\ncert_file = 'c'", Some("cert_file: means nothing"));
        check("url = 'https://t'\naudience = 'x'", Some("audience: "));
        check("url = 'http://t'\nauthentication = 'jwt'\nkey_file = 'k'", Some("must be https"));
        check("url = 'http://127.0.0.1:1'\nauthentication = 'jwt'\nkey_file = 'k'", None);
        check("url = 'http://t'\nauthentication = 'jwt'\nkey_file = 'k'\nallow_plain_http = true", None);
        assert!(toml::from_str::<Config>("url = 'http://t'\nretries = 3").is_err(), "unknown keys");
    }
}
