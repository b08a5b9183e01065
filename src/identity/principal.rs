//! Who somebody is, as policy and audit see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How somebody proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// A name and a password of the users file.
    Password,
    /// A signed token.
    Jwt {
        /// The `iss` that was checked.
        issuer: String,
    },
    /// A personal access token.
    Token {
        /// Its id.
        id: String,
        /// What its owner calls it.
        name: String,
    },
    /// A client certificate.
    Certificate,
    /// The word of a load balancer.
    Alb,
    /// With a browser at an OpenID provider.
    Oidc {
        /// Its name in the configuration.
        provider: String,
    },
    /// With a browser at a SAML identity provider.
    Saml {
        /// Its name in the configuration.
        provider: String,
    },
    /// Not at all: the gateway itself asks in their place, so that they find the answer.
    Warming,
}

impl Method {
    /// A fixed word for metrics and the audit: `password`, `jwt`, `token`, `certificate`, `alb`, `oidc`, `saml`, `warming`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Jwt { .. } => "jwt",
            Self::Token { .. } => "token",
            Self::Certificate => "certificate",
            Self::Alb => "alb",
            Self::Oidc { .. } => "oidc",
            Self::Saml { .. } => "saml",
            Self::Warming => "warming",
        }
    }
}

/// A person or a program: a name, groups and attributes, and how they were proved.
///
/// A principal by itself is a description and opens no door: what the pipeline takes is an
/// `Authenticated`, which only this module makes. So tests, `explain` and the audit may build one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: String,
    /// What the provider said, where that is another name.
    identity: Option<String>,
    /// What a catalog's grants call them, where that is another name.
    catalog_name: Option<String>,
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, String>,
    method: Method,
    /// The only catalogs that there are for this sign-in; none: all.
    catalogs: Option<Arc<BTreeSet<String>>>,
}

impl Principal {
    /// A principal without groups and attributes.
    pub fn new(name: impl Into<String>, method: Method) -> Self {
        Self {
            name: name.into(),
            identity: None,
            catalog_name: None,
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            method,
            catalogs: None,
        }
    }

    /// The same, in these groups and no others.
    #[must_use]
    pub fn with_groups<G: Into<String>>(mut self, groups: impl IntoIterator<Item = G>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// The same, with these attributes and no others. Of a name given twice the last value holds.
    #[must_use]
    pub fn with_attributes<K, V>(mut self, attributes: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// The same under another name, which is its own here. What it was called before stays its identity.
    #[must_use]
    pub(super) fn known_here_as(mut self, name: String) -> Self {
        let identity = std::mem::replace(&mut self.name, name);
        self.identity.get_or_insert(identity);
        self
    }

    /// The same, whom the grants of catalogs know by this name.
    #[must_use]
    pub(super) fn known_to_catalogs_as(mut self, name: Option<String>) -> Self {
        self.catalog_name = name;
        self
    }

    /// The name by which the grants of catalogs know them.
    pub fn catalog_name(&self) -> &str {
        self.catalog_name.as_deref().unwrap_or(&self.name)
    }

    /// What the one who signed in is called by the provider that has proved it: the name, unless a rule has made another of
    /// it. Where one runs queries as another user, it is still of the one who signed in.
    pub fn identity(&self) -> &str {
        self.identity.as_deref().unwrap_or(&self.name)
    }

    /// The name, exactly as the users file, the token or the rules have it: what Trino is given as its user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups, in order.
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// The attributes by name, in order.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// The same, for whom there are no catalogs but these (in lower case); none: all.
    #[must_use]
    pub fn within(mut self, catalogs: Option<Arc<BTreeSet<String>>>) -> Self {
        self.catalogs = catalogs;
        self
    }

    /// The only catalogs that there are for them, if not all.
    pub fn catalogs(&self) -> Option<&Arc<BTreeSet<String>>> {
        self.catalogs.as_ref()
    }

    /// Whether there is a catalog (in lower case) for them, as far as this sign-in limits it.
    pub fn reaches(&self, catalog: &str) -> bool {
        self.catalogs.as_ref().is_none_or(|catalogs| catalogs.contains(catalog))
    }

    /// How they were proved.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_attributes_are_ordered_and_replace() {
        let principal = Principal::new("ann", Method::Password)
            .with_groups(["b", "a", "b"])
            .with_attributes([("region", "US"), ("region", "EU")]);
        assert_eq!(principal.groups().iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(principal.attributes().get("region").map(String::as_str), Some("EU"));
        assert!(principal.with_groups(Vec::<String>::new()).groups().is_empty());
    }
}
