//! The `[trino]` section, and what it must not say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::UpstreamError;
use crate::units::Span;
use crate::{https, secret};

/// The most clusters. Their names are labels of metrics.
const MOST_CLUSTERS: usize = 64;
/// The most groups of one cluster.
const MOST_GROUPS: usize = 64;
/// The group of clusters that name none, and of queries that no rule routes.
pub const DEFAULT_GROUP: &str = "default";

/// The `[trino]` section: one cluster, or what several have in common.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the coordinator listens: `https://trino.example:8443`, without a path. Not where there are several clusters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
    pub password_file: Option<secret::Source>,
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
    /// Several clusters, in the place of the one.
    #[serde(default, rename = "cluster", skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterConfig>,
}

/// `[[trino.cluster]]`: one of several clusters. What it does not say is as `[trino]` has it; a cluster with an
/// `authentication` of its own takes none of the files from there that prove who the gateway is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// What it is called in links, logs, metrics and the audit.
    pub name: String,
    /// Where its coordinator listens.
    pub url: String,
    /// The groups that it is in. All clusters of a group have the same catalogs.
    #[serde(default = "default_groups")]
    pub groups: Vec<String>,
    /// Whether it takes queries.
    #[serde(default)]
    pub state: State,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<secret::Source>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// As in `[trino]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_plain_http: Option<bool>,
}

/// Whether a cluster takes queries. Whatever it is, links that lead there go on to work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It takes queries.
    #[default]
    Active,
    /// No new ones; those that it has, and transactions that are open there, go on to their end.
    Draining,
    /// It is left alone: not even asked how it is.
    Inactive,
}

impl State {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Inactive => "inactive",
        }
    }
}

/// One cluster, with all that it takes from `[trino]`.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) config: Config,
    pub(super) groups: Vec<String>,
    pub(super) state: State,
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

fn default_groups() -> Vec<String> {
    vec![DEFAULT_GROUP.to_owned()]
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
            clusters: Vec::new(),
        }
    }

    /// What is wrong with the section, if anything is: `key: why`.
    pub fn problem(&self) -> Option<String> {
        match self.described() {
            Err(UpstreamError::Config(why)) => Some(why),
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        }
    }

    /// The groups that there are.
    pub fn groups(&self) -> BTreeSet<&str> {
        if self.clusters.is_empty() {
            return BTreeSet::from([DEFAULT_GROUP]);
        }
        self.clusters.iter().flat_map(|cluster| cluster.groups.iter().map(String::as_str)).collect()
    }

    /// Those of them with a cluster that takes queries.
    pub fn active_groups(&self) -> BTreeSet<&str> {
        if self.clusters.is_empty() {
            return self.groups();
        }
        let active = self.clusters.iter().filter(|cluster| cluster.state == State::Active);
        active.flat_map(|cluster| cluster.groups.iter().map(String::as_str)).collect()
    }

    /// The paths in it.
    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let of_clusters = self.clusters.iter_mut().flat_map(|cluster| {
            let password = cluster.password_file.as_mut().and_then(secret::Source::file_mut);
            let files = [&mut cluster.cert_file, &mut cluster.key_file, &mut cluster.ca_file];
            files.into_iter().flatten().chain(password)
        });
        let password = self.password_file.as_mut().and_then(secret::Source::file_mut);
        let own = [&mut self.cert_file, &mut self.key_file, &mut self.ca_file];
        own.into_iter().flatten().chain(password).chain(of_clusters)
    }

    /// All clusters, one at least, each checked.
    pub(super) fn described(&self) -> Result<Vec<Described>, UpstreamError> {
        let wrong = |why: String| Err(UpstreamError::Config(why));
        if self.clusters.is_empty() {
            if self.url.is_empty() {
                return wrong("url: missing, and has no default".to_owned());
            }
            self.check()?;
            return Ok(vec![Described {
                config: self.clone(),
                groups: default_groups(),
                state: State::Active,
            }]);
        }
        if !self.url.is_empty() {
            return wrong(
                "url: each [[trino.cluster]] has its own; give that one here a name there".to_owned(),
            );
        }
        if self.clusters.len() > MOST_CLUSTERS {
            return wrong(format!("cluster: there are more than {MOST_CLUSTERS}"));
        }
        let mut names = BTreeSet::new();
        let mut all = Vec::with_capacity(self.clusters.len());
        for cluster in &self.clusters {
            if !names.insert(cluster.name.as_str()) {
                return wrong(format!("cluster: two are called '{}'", cluster.name));
            }
            let described = self.with(cluster);
            let named = |error| match error {
                UpstreamError::Config(why) => {
                    UpstreamError::Config(format!("cluster '{}': {why}", cluster.name))
                }
                error => error,
            };
            described.config.check().map_err(named)?;
            if cluster.groups.is_empty() || cluster.groups.len() > MOST_GROUPS {
                return wrong(format!("cluster '{}': groups: from 1 to {MOST_GROUPS}", cluster.name));
            }
            if let Some(group) = cluster.groups.iter().find(|group| !is_word(group)) {
                return wrong(format!("cluster '{}': groups: '{group}' is not a name", cluster.name));
            }
            all.push(described);
        }
        if all.iter().all(|one| one.state != State::Active) {
            return wrong("cluster: none is active, so that no query could run".to_owned());
        }
        Ok(all)
    }

    /// One of several clusters, with what it has from here.
    fn with(&self, own: &ClusterConfig) -> Described {
        let proof = own.authentication.is_none();
        let file = |of_own: &Option<PathBuf>, of_all: &Option<PathBuf>| {
            of_own.clone().or_else(|| of_all.clone().filter(|_| proof))
        };
        let config = Self {
            url: own.url.clone(),
            name: own.name.clone(),
            user: own.user.clone().unwrap_or_else(|| self.user.clone()),
            authentication: own.authentication.unwrap_or(self.authentication),
            password_file: own.password_file.clone().or_else(|| self.password_file.clone().filter(|_| proof)),
            cert_file: file(&own.cert_file, &self.cert_file),
            key_file: file(&own.key_file, &self.key_file),
            audience: own.audience.clone().or_else(|| self.audience.clone().filter(|_| proof)),
            ca_file: own.ca_file.clone().or_else(|| self.ca_file.clone()),
            allow_plain_http: own.allow_plain_http.unwrap_or(self.allow_plain_http),
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            pause_timeout: self.pause_timeout,
            clusters: Vec::new(),
        };
        Described { config, groups: own.groups.clone(), state: own.state }
    }

    /// Whether both say the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        toml::to_string(self).ok() == toml::to_string(other).ok()
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
        if !is_word(&self.name) {
            return wrong("name: must have 1 to 64 letters, digits, and any of . _ -".to_owned());
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

/// Whether a text is a name that fits into links, logs, paths and labels.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
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

    fn read(text: &str) -> Result<Vec<Described>, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.described().map_err(|error| error.to_string())
    }

    #[test]
    fn several_clusters() {
        let text = "user = 'gate'\nauthentication = 'jwt'\nkey_file = 'k'\naudience = 'a'\n\
            [[cluster]]\nname = 'blue'\nurl = 'https://b'\n\
            [[cluster]]\nname = 'green'\nurl = 'https://g'\ngroups = ['etl', 'adhoc']\nstate = 'draining'\n\
            authentication = 'password'\npassword_file = 'p'";
        let all = read(text).expect("sound");
        let blue = &all[0];
        assert_eq!((blue.config.name.as_str(), &blue.groups[..]), ("blue", &["default".to_owned()][..]));
        assert_eq!((blue.config.user.as_str(), blue.state), ("gate", State::Active));
        assert_eq!(blue.config.key_file.as_deref(), Some(std::path::Path::new("k")));
        let green = &all[1];
        assert_eq!((green.state, green.groups.len()), (State::Draining, 2));
        assert_eq!(green.config.user, "gate");
        // Another way to sign in has files of its own.
        assert_eq!((&green.config.key_file, &green.config.audience), (&None, &None));
        let config: Config = toml::from_str(text).expect("TOML");
        assert_eq!(config.groups().into_iter().collect::<Vec<_>>(), ["adhoc", "default", "etl"]);
        let one: Config = toml::from_str("url = 'http://t'").expect("TOML");
        assert_eq!(one.groups().into_iter().collect::<Vec<_>>(), ["default"]);
    }

    #[test]
    fn clusters_that_cannot_be() {
        let check = |text: &str, expect: &str| {
            let got = read(text).err().unwrap_or_default();
            assert!(got.contains(expect), "{text}: {got:?}, not {expect:?}");
        };
        let cluster =
            |name: &str, more: &str| format!("[[cluster]]\nname = '{name}'\nurl = 'http://t'\n{more}\n");
        check("user = 'x'", "url: missing");
        check(&format!("url = 'http://t'\n{}", cluster("a", "")), "url: each [[trino.cluster]]");
        check(&(cluster("a", "") + &cluster("a", "")), "two are called 'a'");
        check(&cluster("a", "state = 'inactive'"), "none is active");
        check(&(cluster("a", "state = 'draining'") + &cluster("b", "state = 'inactive'")), "none is active");
        check(&cluster("a b", ""), "cluster 'a b': name: ");
        check(&cluster("a", "groups = []"), "groups: from 1");
        check(&cluster("a", "groups = ['']"), "groups: '' is not a name");
        check(&cluster("a", "authentication = 'password'"), "cluster 'a': password_file: this");
        check(&cluster("a", "state = 'gone'"), "unknown variant");
        check(&cluster("a", "group = 'x'"), "unknown field");
        let many: String = (0..65).map(|number| cluster(&format!("c{number}"), "")).collect();
        check(&many, "more than 64");
    }
}
