//! The `[state]` section.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret;
use crate::units::Span;

/// `[state]`: where sessions, sign-ins under way and tokens are kept, and, in Redis, what several gateways count together.
/// Several gateways that serve the same users need one that they share.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which store.
    pub backend: Backend,
    /// The file with the store's URL, which may hold a password: `rediss://user:password@host:6379/0`, or
    /// `postgresql://user:password@host/database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<secret::Source>,
    /// The file with the key that entries are sealed by: 32 random bytes in base64. All gateways have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<secret::Source>,
    /// Files with keys of before, by which entries are still opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previous_key_files: Vec<secret::Source>,
    /// The only certificate authorities that the store's certificate may be signed by (PEM). Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Talk to a store on another host without TLS. Who is on that network can read the store's password.
    pub allow_unencrypted: bool,
    /// The longest time for one answer of the store. When it is over, or the store is lost, callers are told to come back.
    pub timeout: Span,
}

/// The stores there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The memory of this process: gone with it.
    #[default]
    Memory,
    /// Redis, 6.2 or later. It must not evict (`maxmemory-policy noeviction`), and must not lose what it was told
    /// (`appendonly yes`) if tokens are to live.
    Redis,
    /// PostgreSQL.
    Postgres,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::Memory,
            url_file: None,
            key_file: None,
            previous_key_files: Vec::new(),
            ca_file: None,
            allow_unencrypted: false,
            timeout: Span(Duration::from_secs(2)),
        }
    }
}

impl Config {
    /// The paths in it.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = [&mut self.url_file, &mut self.key_file].into_iter().flatten();
        let secrets = secrets.chain(&mut self.previous_key_files).filter_map(secret::Source::file_mut);
        secrets.chain(&mut self.ca_file)
    }
}
