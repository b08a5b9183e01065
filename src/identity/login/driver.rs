//! Sign-in for a driver that opens a browser: Trino's external authentication.
//!
//! ```text
//! driver                         Northgate                          browser
//!   | a request without login -> |                                     |
//!   | <- 401: two addresses      |                                     |
//!   | opens the one ------------ | ----------------------------------> |
//!   | asks at the other -------> | <- signs in, and says that the      |
//!   | <- the token, once         |    driver may sign in as its user   |
//! ```
//!
//! Both addresses are sealed tickets, so that a request without a login takes up no room. The one for the browser knows
//! of the other only its hash: who is sent that link, or reads it in the browser's history, cannot fetch the token. It
//! says which user the driver claims to be and where it is. A browser that is signed in as another may not let it in, and
//! one that is signed in is always asked: a link that somebody else has sent must not sign them in unseen.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::wire::{Sealer, Ticket};

/// What our tokens for drivers begin with: they are told from personal access tokens and JWTs by it.
pub(super) const PREFIX: &str = "ngd_";
/// Longest name of a program that is shown, in characters.
const LONGEST_AGENT: usize = 100;

/// A driver that wants to sign in, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Asking {
    /// The user that it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it is.
    pub address: String,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl Asking {
    /// What a request says; what is long is cut.
    pub fn new(user: Option<&str>, address: String, agent: Option<&str>) -> Self {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
        let user = user.map(str::trim).filter(|user| !user.is_empty());
        Self { user: user.map(|user| user.chars().take(256).collect()), address, agent: agent.map(cut) }
    }
}

/// What the browser is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Initiate {
    pub(super) asking: Asking,
    /// The hash of the text that the driver asks with.
    pub(super) waits: [u8; 32],
    pub(super) ends: i64,
}

/// What the driver asks with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Waits {
    /// So that nobody can make one that another has.
    unique: [u8; 16],
    ends: i64,
}

/// What the driver finds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decided {
    Granted(String),
    Denied,
}

/// A token that a driver was given, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Given {
    /// The session that it is of.
    pub(super) session: [u8; 32],
    pub(super) ends: i64,
    /// How many others were given for it.
    #[serde(default)]
    pub(super) renewed: u32,
}

/// What a driver is told.
#[derive(Debug)]
pub enum Polled {
    /// Nobody has decided yet: ask again.
    Waiting,
    /// The token. It is not told twice.
    Token(Secret<String>),
    /// The user said no.
    Denied,
    /// It is too late, or there was no such sign-in.
    Unknown,
}

/// The two addresses' last parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// For the browser.
    pub initiate: String,
    /// For the driver.
    pub token: String,
}

pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

/// A text of 256 random bits.
pub(super) fn random() -> Option<Secret<String>> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// What a driver asks with until then.
pub(super) fn token_ticket(sealer: &Sealer, ends: i64) -> Option<String> {
    let mut unique = [0; 16];
    rand::fill(&mut unique).ok()?;
    sealer.seal_ticket(Ticket::Token, serde_json::to_vec(&Waits { unique, ends }).ok()?).ok()
}

/// Two tickets that belong together.
pub(super) fn tickets(sealer: &Sealer, asking: Asking, ends: i64) -> Option<Tickets> {
    let token = token_ticket(sealer, ends)?;
    let initiate = Initiate { asking, waits: hash(&token), ends };
    let initiate = sealer.seal_ticket(Ticket::Initiate, serde_json::to_vec(&initiate).ok()?).ok()?;
    Some(Tickets { initiate, token })
}

/// The browser's ticket, if it is ours and not over.
pub(super) fn open_initiate(sealer: &Sealer, text: &str, now: i64) -> Option<Initiate> {
    let initiate: Initiate = serde_json::from_slice(&sealer.open_ticket(Ticket::Initiate, text)?).ok()?;
    (now < initiate.ends).then_some(initiate)
}

/// Whether the driver's ticket is ours and not over.
pub(super) fn is_waiting(sealer: &Sealer, text: &str, now: i64) -> bool {
    let opened = sealer.open_ticket(Ticket::Token, text);
    let waits = opened.and_then(|plain| serde_json::from_slice::<Waits>(&plain).ok());
    waits.is_some_and(|waits| now < waits.ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_its_purpose_and_time() {
        let sealer = Sealer::generate().expect("a sealer");
        let asking = Asking::new(Some("ann"), "10.0.0.1".into(), Some("trino-jdbc\u{7}"));
        assert_eq!(asking.agent.as_deref(), Some("trino-jdbc"));
        let made = tickets(&sealer, asking.clone(), 100).expect("tickets");
        let opened = open_initiate(&sealer, &made.initiate, 99).expect("opens");
        assert_eq!((opened.asking, opened.waits), (asking.clone(), hash(&made.token)));
        assert!(is_waiting(&sealer, &made.token, 99));
        assert!(open_initiate(&sealer, &made.initiate, 100).is_none(), "over");
        assert!(!is_waiting(&sealer, &made.token, 100), "over");
        assert!(open_initiate(&sealer, &made.token, 1).is_none(), "of another kind");
        assert!(!is_waiting(&sealer, &made.initiate, 1), "of another kind");
        let other = Sealer::generate().expect("a sealer");
        assert!(!is_waiting(&other, &made.token, 1) && open_initiate(&other, &made.initiate, 1).is_none());
        assert_ne!(tickets(&sealer, asking, 100).expect("tickets").token, made.token);
    }
}
