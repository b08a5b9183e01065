//! A token as it is kept, and what is known of its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::secret::Hash;
use crate::identity::Principal;
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

/// Somebody as they last signed in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) attributes: BTreeMap<String, String>,
    /// How they signed in, for who looks into the store.
    pub(super) method: String,
    pub(super) seen: Timestamp,
}

impl Person {
    pub(super) fn of(principal: &Principal, now: Timestamp) -> Self {
        Self {
            name: principal.name().to_owned(),
            groups: principal.groups().clone(),
            attributes: principal.attributes().clone(),
            method: principal.method().as_str().to_owned(),
            seen: now,
        }
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
