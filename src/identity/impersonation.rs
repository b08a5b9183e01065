//! Who may run queries as whom.

use std::collections::BTreeSet;

use super::config;
use super::error::SetupError;
use super::principal::Principal;

/// The rules. Without any, nobody may be anybody else.
pub(super) struct Rules(Vec<Rule>);

struct Rule {
    principals: BTreeSet<String>,
    groups: BTreeSet<String>,
    users: Vec<String>,
}

impl Rules {
    pub(super) fn new(configs: Vec<config::Impersonation>) -> Result<Self, SetupError> {
        let mut rules = Vec::with_capacity(configs.len());
        for (index, config) in configs.into_iter().enumerate() {
            let wrong = |what: &str| SetupError::Value(format!("impersonation, rule {}: {what}", index + 1));
            if config.principals.is_empty() && config.groups.is_empty() {
                return Err(wrong("names no principals and no groups"));
            }
            if config.users.is_empty() || config.users.iter().any(String::is_empty) {
                return Err(wrong("names no users, or an empty one"));
            }
            // A `*` here would read as "everybody", and would match nobody.
            if config.principals.iter().chain(&config.groups).any(|name| name.contains('*')) {
                return Err(wrong("principals and groups are names, without '*'"));
            }
            rules.push(Rule { principals: config.principals, groups: config.groups, users: config.users });
        }
        Ok(Self(rules))
    }

    /// Whether the principal may run queries as the user.
    pub(super) fn allow(&self, principal: &Principal, user: &str) -> bool {
        self.0.iter().any(|rule| {
            (rule.principals.contains(principal.name()) || !rule.groups.is_disjoint(principal.groups()))
                && rule.users.iter().any(|pattern| matches(pattern, user))
        })
    }
}

/// Whether the whole text is of the pattern, in which `*` stands for any number of characters.
/// The pieces between stars are found from the left, each as early as it can be: that is linear enough, and
/// misses nothing, since a later place for a piece leaves less room for the rest.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::principal::Method;
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, expect: bool| {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        };
        check("ann", "ann", true);
        check("ann", "anna", false);
        check("ann", "Ann", false);
        check("*", "", true);
        check("*", "anybody", true);
        check("svc-*", "svc-x", true);
        check("svc-*", "my-svc-x", false);
        check("*-svc", "a-svc-svc", true);
        check("*-svc", "a-svc-x", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "ac", false);
        check("a*a", "a", false);
        check("**", "x", true);
    }

    #[test]
    fn rules() {
        let config = |principals: &[&str], groups: &[&str], users: &[&str]| config::Impersonation {
            principals: principals.iter().map(ToString::to_string).collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
            users: users.iter().map(ToString::to_string).collect(),
        };
        let rules = Rules::new(vec![
            config(&["superset"], &[], &["ann", "bob"]),
            config(&[], &["admins"], &["svc-*"]),
        ])
        .expect("rules");
        let check = |name: &str, groups: &[&str], user: &str, expect: bool| {
            let principal = Principal::new(name, Method::Password).with_groups(groups.iter().copied());
            assert_eq!(rules.allow(&principal, user), expect, "{name} {groups:?} {user}");
        };
        check("superset", &[], "ann", true);
        check("superset", &[], "carl", false);
        check("superset", &[], "svc-x", false);
        check("Superset", &[], "ann", false);
        check("zoe", &["admins"], "svc-x", true);
        check("zoe", &["admins"], "ann", false);
        check("zoe", &["superset"], "ann", false);
        check("admins", &[], "svc-x", false);
        for wrong in [
            config(&[], &[], &["a"]),
            config(&["a"], &[], &[]),
            config(&["a"], &[], &[""]),
            config(&["*"], &[], &["a"]),
        ] {
            assert!(Rules::new(vec![wrong.clone()]).is_err(), "{wrong:?}");
        }
    }
}
