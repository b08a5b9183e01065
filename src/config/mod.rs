//! The configuration: a TOML file, then the environment on top of it.
//!
//! `NORTHGATE__SECTION__KEY=value` sets `key` of `[section]`, as TOML where it reads as TOML and fits, otherwise
//! as text. Paths are relative to the folder of the file. Secrets are never in the file: a `*_file` key names a
//! file that holds one, or a variable does.

mod document;
mod error;
mod sections;
mod suggest;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

pub use self::error::ConfigError;
pub use self::sections::{Links, Policies};

use self::document::Variable;
use self::sections::Section;
use crate::secret::{self, Secret};
use crate::{
    admin, admission, audit, cache, catalog, identity, lineage, query, server, state, telemetry, upstream,
};

macro_rules! sections {
    ($($(#[$meta:meta])* $name:ident: $ty:ty,)*) => {
        /// The whole configuration. Paths in it are absolute, or relative to the working folder.
        #[derive(Clone, Debug, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $($(#[$meta])* pub $name: $ty,)*
        }

        impl Config {
            fn sections(&mut self) -> Vec<&mut dyn Section> {
                vec![$(&mut self.$name),*]
            }
        }
    };
}

sections! {
    /// Logs.
    #[serde(default)]
    telemetry: telemetry::Config,
    /// The listener for clients.
    #[serde(default)]
    server: server::Config,
    /// The listener for operators.
    #[serde(default)]
    admin: admin::Config,
    /// Who may sign in.
    #[serde(default)]
    identity: identity::Config,
    /// Where sessions and tokens are kept.
    #[serde(default)]
    state: state::Config,
    /// Who may see what.
    #[serde(default)]
    policies: Policies,
    /// Where queries are recorded.
    #[serde(default)]
    audit: audit::Config,
    /// How links are sealed.
    #[serde(default)]
    links: Links,
    /// The cluster, or several.
    trino: upstream::Config,
    /// Which of several gets which query.
    #[serde(default)]
    routing: upstream::RoutingConfig,
    /// Who is told what was made of what.
    #[serde(default)]
    lineage: lineage::Config,
    /// How much at once.
    #[serde(default)]
    admission: admission::Config,
    /// Which answers are given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache: Option<cache::Config>,
    /// What is remembered of relations.
    #[serde(default)]
    catalog: catalog::Config,
    /// What statements may do.
    #[serde(default)]
    query: query::Config,
}

/// A secret that a variable may hold: its key, and where it goes.
type SecretSlot = (&'static str, fn(&mut Config, Secret<String>));

/// The keys that the file must not have. Each module's field for one is skipped by serde.
const SECRETS: [SecretSlot; 1] = [("links.key", |config, secret| config.links.key = Some(secret))];

impl Config {
    /// Reads the file, and this process's environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, line and column, or the variable, and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A name or value that is not text is none of ours; ours are checked below.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self::read(&path.display().to_string(), &text, variables, &folder)
    }

    /// Reads the text of a file by the name `file`, with these variables on top, and paths relative to `folder`.
    pub fn read(
        file: &str,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
        folder: &Path,
    ) -> Result<Self, ConfigError> {
        let mut values = Vec::new();
        let mut secrets = Vec::new();
        for (name, value) in variables {
            let Some(variable) = Variable::read(&name, &value) else { continue };
            let variable = variable?;
            let key = variable.path.join(".");
            match SECRETS.iter().find(|(secret, _)| *secret == key) {
                Some((_, place)) => secrets.push((place, Secret::new(value))),
                None => values.push(variable),
            }
        }
        // The order of the environment is not one: of two variables that clash, always the same is to blame.
        values.sort_by(|a, b| a.name.cmp(&b.name));
        let names = SECRETS.map(|(name, _)| name);
        let mut config: Self = document::read(file, text, &values, &names)?;
        for (place, secret) in secrets {
            place(&mut config, secret);
        }
        for section in config.sections() {
            let whole = |message| ConfigError::Whole { file: file.to_owned(), message };
            for path in section.paths() {
                if secret::Source::is_elsewhere(path) {
                    let why = "only what is secret, and not made by Northgate itself, can be in a variable or in AWS Secrets Manager";
                    return Err(whole(format!("\"{}\": a file is needed here: {why}", path.display())));
                }
                *path = folder.join(&*path);
            }
            section.check().map_err(whole)?;
        }
        let message = config.contradiction();
        message.map_or(Ok(config), |message| Err(ConfigError::Whole { file: file.to_owned(), message }))
    }

    /// What stands for all that is in force, secrets left out: the SHA-256 of it, in hex.
    pub fn revision(&self) -> String {
        crate::units::hex(digest::digest(&digest::SHA256, self.to_string().as_bytes()).as_ref())
    }

    /// What two sections say that cannot be said together.
    fn contradiction(&self) -> Option<String> {
        if self.identity.alb.is_some() && self.server.trusted_proxies.is_empty() {
            let why = "identity.alb: nobody's word is taken without server.trusted_proxies";
            return Some(why.to_owned());
        }
        if self.admission.replicas.get() > 1 && self.state.backend != state::Backend::Redis {
            let why = "admission.replicas: several gateways count together in Redis; set state.backend";
            return Some(why.to_owned());
        }
        if self.cache.as_ref().is_some_and(|cache| cache.redis.is_some())
            && self.state.backend != state::Backend::Redis
        {
            return Some("cache.redis: gateways share answers in Redis; set state.backend".to_owned());
        }
        if let Some(why) = self.routing.problem(
            &self.trino.groups(),
            &self.trino.active_groups(),
            self.admission.class_names(),
        ) {
            return Some(why);
        }
        match (&self.server.client_ca_file, &self.identity.client_certificates) {
            (Some(_), None) => Some(
                "server.client_ca_file: nobody is named by certificates without [identity.client_certificates]",
            ),
            (None, Some(_)) => Some(
                "identity.client_certificates: clients are asked for certificates only with server.client_ca_file",
            ),
            _ => None,
        }
        .map(str::to_owned)
    }
}

/// What is in force, as TOML. Secrets are not in it.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}
