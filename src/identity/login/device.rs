//! Sign-in at a terminal, with a browser elsewhere: the device flow of an OpenID provider (RFC 8628).
//!
//! What is under way is in a sealed ticket that the terminal keeps. Whoever enters a code that somebody else has sent them
//! signs that one in, and no page of ours can warn them: so there is none of this unless the configuration says so.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::session::{Proof, seconds};
use super::{Login, Proved, Then, no_random};
use crate::identity::error::{Cause, Refused};
use crate::identity::oidc::{DeviceAttempt, DevicePolled};
use crate::secret::Secret;
use crate::wire::Ticket;

/// A sign-in at a terminal, as the terminal shows it.
#[derive(Debug)]
pub struct Terminal {
    /// What the user types at `address`.
    pub user_code: String,
    /// Where they go with a browser.
    pub address: String,
    /// The same with the code in it.
    pub address_with_code: Option<String>,
    /// When it is over.
    pub expires: SystemTime,
    /// What the terminal asks with.
    pub ticket: Secret<String>,
    /// When to ask.
    pub next: SystemTime,
}

/// What a terminal is told.
#[derive(Debug)]
pub enum Answered {
    /// Nothing is decided yet.
    Waiting {
        /// What to ask with from now on.
        ticket: Secret<String>,
        /// When to ask.
        next: SystemTime,
    },
    /// Somebody has signed in.
    Proved(Box<Proved>),
    /// They, or the provider, said no.
    Denied,
    /// It is too late.
    Over,
}

/// What the terminal keeps for us.
#[derive(Serialize, Deserialize)]
struct Kept {
    provider: String,
    attempt: DeviceAttempt,
}

impl Login {
    /// Begins a sign-in at a terminal. Without a name at the only provider there is. None if there is no such provider, or if
    /// the configuration does not allow it.
    pub async fn begin_terminal(&self, name: Option<&str>) -> Option<Result<Terminal, Refused>> {
        if !self.config.device_flow {
            return None;
        }
        let provider = match (name, self.oidc.as_slice()) {
            (Some(name), _) => self.oidc(name)?,
            (None, [one]) => one,
            (None, _) => return None,
        };
        Some(
            async {
                provider.ready().await?;
                let begun = provider.device_begin(SystemTime::now()).await?;
                let next = begun.attempt.next();
                let kept = Kept { provider: provider.config().name.clone(), attempt: begun.attempt };
                Ok(Terminal {
                    user_code: begun.user_code,
                    address: begun.address,
                    address_with_code: begun.address_with_code,
                    expires: begun.expires,
                    ticket: self.seal_terminal(&kept)?,
                    next,
                })
            }
            .await,
        )
    }

    fn seal_terminal(&self, kept: &Kept) -> Result<Secret<String>, Refused> {
        let plain = serde_json::to_vec(kept).map_err(|error| Refused::Unavailable(error.to_string()))?;
        self.sealer.seal_ticket(Ticket::Terminal, plain).map(Secret::new).map_err(|_| no_random())
    }

    /// Whether somebody has signed in for a terminal.
    ///
    /// # Errors
    ///
    /// The ticket is not ours, or the provider's answer does not hold.
    pub async fn ask_terminal(&self, ticket: &str) -> Result<Answered, Refused> {
        let unknown = || Refused::BadCredentials(Cause::Attempt);
        let opened = self.sealer.open_ticket(Ticket::Terminal, ticket).filter(|_| self.config.device_flow);
        let opened = opened.and_then(|plain| serde_json::from_slice::<Kept>(&plain).ok());
        let mut kept = opened.ok_or_else(unknown)?;
        let provider = self.oidc(&kept.provider).ok_or_else(unknown)?;
        let now = SystemTime::now();
        match provider.device_poll(&mut kept.attempt, now).await? {
            DevicePolled::Pending => {
                let next = kept.attempt.next();
                Ok(Answered::Waiting { ticket: self.seal_terminal(&kept)?, next })
            }
            DevicePolled::Declined => Ok(Answered::Denied),
            DevicePolled::Expired => Ok(Answered::Over),
            DevicePolled::Signed(signed) => {
                let proof = Proof::oidc(provider.config(), *signed, seconds(now), self.often());
                let principal = self.mapper.apply(proof.who.principal())?;
                Ok(Answered::Proved(Box::new(Proved { proof, principal, then: Then::Home })))
            }
        }
    }
}
