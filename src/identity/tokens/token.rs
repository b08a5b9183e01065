//! A token as it is kept, and what is known of its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::secret::Hash;
use crate::identity::mapping::Mapper;
use crate::identity::principal::{Method, Principal};
use crate::units::hex;

/// How long an expired token is still shown, and told from one that never was.
pub(super) const REMEMBERED: Duration = Duration::from_hours(7 * 24);

/// A personal access token. The secret is not in it: that was shown once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Token {
    /// What it is named by in lists and in the audit: the first 8 bytes of the SHA-256 of its secret, in hex.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is: the name of the principal.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What it may be used for.
    pub scope: Scope,
    /// When it was last used, to the minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

impl Token {
    /// Whether it has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }
}

/// The name of the token of a hash.
pub(super) fn id(hash: &Hash) -> String {
    hex(&hash[..8])
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) token: Token,
    /// Whether the users file says which groups its owner is in; else their last sign-in does.
    pub(super) by_users_file: bool,
}

impl Entry {
    /// For how long it is kept from now on.
    pub(super) fn life(&self, now: Timestamp) -> Duration {
        let left = self.token.expires.duration_since(now);
        Duration::try_from(left).unwrap_or_default() + REMEMBERED
    }

    /// Whether it is kept no longer.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let over = now.duration_since(self.token.expires);
        Duration::try_from(over).is_ok_and(|over| over > REMEMBERED)
    }
}

/// Somebody as they last signed in: what their identity provider says. The rules of mapping make a user of it each time that
/// it is looked at, so that those of now hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Person {
    /// The user that they were here.
    pub(super) name: String,
    /// What the provider calls them.
    #[serde(default)]
    pub(super) identity: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) attributes: BTreeMap<String, String>,
    /// How they signed in, as rules of mapping call it.
    #[serde(default)]
    pub(super) from: String,
    pub(super) seen: Timestamp,
}

impl Person {
    /// Somebody of an identity provider, who is the user `name`.
    pub(super) fn of(signed_in: &Principal, from: String, name: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            identity: signed_in.name().to_owned(),
            groups: signed_in.groups().clone(),
            attributes: signed_in.attributes().clone(),
            from,
            seen: now,
        }
    }

    /// Who they are when they come with a token of this id: none if the rules of now have them for somebody else, or for nobody.
    pub(super) fn principal(self, token: &Token, mapper: &Mapper) -> Option<Principal> {
        let method = Method::Token { id: token.id.clone(), name: token.name.clone() };
        let signed_in =
            Principal::new(self.identity, method).with_groups(self.groups).with_attributes(self.attributes);
        let principal = mapper.apply_again(&self.from, signed_in).ok()?;
        (principal.name() == self.name).then_some(principal)
    }

    /// Whether they are, but for the time, as before.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        Self { seen: other.seen, ..self.clone() } == *other
    }

    /// How long ago they signed in.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.seen)).unwrap_or_default()
    }
}

/// That a token was used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Use {
    pub(super) id: String,
    pub(super) at: Timestamp,
}
