//! Who somebody is, as policy and audit see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
}

impl Method {
    /// A fixed word for metrics and the audit: `password` or `jwt`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Jwt { .. } => "jwt",
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
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, String>,
    method: Method,
}

impl Principal {
    /// A principal without groups and attributes.
    pub fn new(name: impl Into<String>, method: Method) -> Self {
        Self { name: name.into(), groups: BTreeSet::new(), attributes: BTreeMap::new(), method }
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

    /// The name, exactly as the users file or the token has it: what Trino is given as its user.
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
