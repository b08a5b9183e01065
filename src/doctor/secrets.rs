//! Files that others on this machine must not read, and those that they must not write.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Area, Finding};
use crate::config::Config;
use crate::secret::Source;

/// What is said of all of them that are there.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let secret = secrets(config);
    let mut found: Vec<Finding> = secret.iter().filter_map(|(key, path)| readable(key, path)).collect();
    let ruling =
        [("policies.folder", &config.policies.folder), ("identity.users_file", &config.identity.users_file)];
    found.extend(ruling.iter().filter_map(|(key, path)| writable(key, path)));
    if found.is_empty() {
        found.push(Finding::good(Area::Secrets, "keys and passwords are for the gateway's user alone"));
    }
    found
}

/// All files with something secret that the configuration names.
fn secrets<'c>(config: &'c Config) -> Vec<(String, &'c Path)> {
    let mut all: Vec<(String, &'c Path)> = Vec::new();
    let mut add = |key: String, path: Option<&'c Path>| all.extend(path.map(|path| (key, path)));
    add("server.key".to_owned(), config.server.key.as_deref());
    add("admin.key_file".to_owned(), Some(&config.admin.key_file));
    let trino = &config.trino;
    add("trino.key_file".to_owned(), trino.key_file.as_deref());
    add("trino.password_file".to_owned(), trino.password_file.as_ref().and_then(Source::file));
    for cluster in &trino.clusters {
        add(format!("trino.cluster.{}.key_file", cluster.name), cluster.key_file.as_deref());
        add(
            format!("trino.cluster.{}.password_file", cluster.name),
            cluster.password_file.as_ref().and_then(Source::file),
        );
    }
    let identity = &config.identity;
    add("identity.users_file".to_owned(), Some(&identity.users_file));
    add("identity.tokens.file".to_owned(), identity.tokens.as_ref().map(|tokens| tokens.file.as_path()));
    for oidc in &identity.oidc {
        add(
            format!("identity.oidc.{}.client_secret_file", oidc.name),
            oidc.client_secret_file.as_ref().and_then(Source::file),
        );
    }
    for saml in &identity.saml {
        add(format!("identity.saml.{}.key_file", saml.name), saml.key_file.file());
    }
    add("links.key_file".to_owned(), config.links.key_file.as_ref().and_then(Source::file));
    for path in &config.links.previous_key_files {
        add("links.previous_key_files".to_owned(), path.file());
    }
    add("state.url_file".to_owned(), config.state.url_file.as_ref().and_then(Source::file));
    add("state.key_file".to_owned(), config.state.key_file.as_ref().and_then(Source::file));
    for path in &config.state.previous_key_files {
        add("state.previous_key_files".to_owned(), path.file());
    }
    for (name, rest) in &config.catalog.rest {
        add(
            format!("catalog.rest.{name}.client_secret_file"),
            rest.client_secret_file.as_ref().and_then(Source::file),
        );
        add(format!("catalog.rest.{name}.token_file"), rest.token_file.as_ref().and_then(Source::file));
    }
    add("lineage.token_file".to_owned(), config.lineage.token_file.as_ref().and_then(Source::file));
    add("audit.key_file".to_owned(), config.audit.key_file.as_ref().and_then(Source::file));
    add("audit.text_keys".to_owned(), config.audit.text_keys.as_deref());
    if let Some(s3) = &config.audit.s3 {
        add(
            "audit.s3.secret_access_key_file".to_owned(),
            s3.secret_access_key_file.as_ref().and_then(Source::file),
        );
    }
    all
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// A group may be what secrets are shared with; all others may not read.
fn readable(key: &str, path: &Path) -> Option<Finding> {
    let mode = mode(path)?;
    (mode & 0o006 != 0).then(|| {
        let says = format!("{key} ({}) can be read or written by everybody on this machine", path.display());
        Finding::problem(Area::Secrets, says, format!("chmod o-rwx {}", path.display()))
    })
}

fn writable(key: &str, path: &Path) -> Option<Finding> {
    let mode = mode(path)?;
    (mode & 0o002 != 0).then(|| {
        let says = format!("{key} ({}) can be changed by everybody on this machine", path.display());
        Finding::problem(Area::Secrets, says, format!("chmod o-w {}: it says who sees what", path.display()))
    })
}
