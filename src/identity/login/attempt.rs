//! A sign-in under way: what the browser carries, sealed, while its user is at the identity provider.
//!
//! It lives in a cookie of that browser alone, so that nobody can have another's browser end what they began, and so
//! that strangers who begin a thousand take up no room here.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::session::By;
use crate::identity::oidc;
use crate::units::hex;
use crate::wire::{Sealer, Ticket};

/// What follows a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// The first page.
    #[default]
    Home,
    /// A driver waits, whose link this is.
    Driver(String),
}

/// What must come back.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Attempt {
    pub(super) by: By,
    /// What comes back by it: `state` of OIDC, the id of a SAML request, a number of our own.
    pub(super) id: String,
    pub(super) then: Then,
    /// What the OpenID provider's answer is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) oidc: Option<oidc::Attempt>,
    /// When it began and is over, in seconds since 1970.
    pub(super) began: i64,
    pub(super) ends: i64,
}

impl Attempt {
    /// Which cookie carries it: several may be under way in one browser.
    pub(super) fn label(id: &str) -> String {
        let hash = digest::digest(&digest::SHA256, id.as_bytes());
        hex(&hash.as_ref()[..8])
    }

    pub(super) fn seal(&self, sealer: &Sealer) -> Option<String> {
        sealer.seal_ticket(Ticket::SignIn, serde_json::to_vec(self).ok()?).ok()
    }

    /// What the browser carries, if it is what comes back now, and not over.
    pub(super) fn open(sealer: &Sealer, text: &str, by: &By, id: &str, now: i64) -> Option<Self> {
        let attempt: Self = serde_json::from_slice(&sealer.open_ticket(Ticket::SignIn, text)?).ok()?;
        (attempt.by == *by && attempt.id == id && now < attempt.ends).then_some(attempt)
    }
}
