//! The tokens of drivers: asked for, granted, used, renewed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::driver::{self, Asking, Decided, Given, Initiate, Polled, Tickets, hash};
use super::session::seconds;
use super::{Login, Session, after, no_random};
use crate::identity::Proven;
use crate::identity::error::{Cause, Refused};
use crate::identity::principal::Principal;
use crate::secret::Secret;
use crate::state::{Key, Kind};

/// How long one request of a driver waits for its user.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a waiting driver looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long a token that a driver has not fetched is kept.
const KEPT: Duration = Duration::from_mins(2);

/// How many others are given for one token: each connection of a pool that shared it wants one.
const MOST_RENEWALS: u32 = 200;

/// How long a session still lasts.
fn left(session: &Session) -> Duration {
    Duration::from_secs(u64::try_from(session.ends - seconds(SystemTime::now())).unwrap_or(0))
}

/// A driver's token that was looked up.
pub(super) struct Known {
    principal: Arc<Principal>,
    token: Option<Arc<Secret<String>>>,
    ends: i64,
}

impl Known {
    fn proven(&self) -> Proven {
        Proven { principal: Arc::clone(&self.principal), token: self.token.clone(), scope: None }
    }
}

/// A driver that waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    initiate: Initiate,
}

impl Waiting {
    /// What it says of itself.
    pub fn asking(&self) -> &Asking {
        &self.initiate.asking
    }
}

/// Whether a text has the form of a driver's token.
pub(in crate::identity) fn is_driver_token(text: &str) -> bool {
    text.starts_with(driver::PREFIX)
}

impl Login {
    /// Where a driver that is not signed in sends its user, and asks for its token.
    pub fn invite(&self, asking: Asking) -> Option<Tickets> {
        let ends = after(seconds(SystemTime::now()), self.config.attempt_life.0);
        driver::tickets(&self.sealer, asking, ends)
    }

    /// The driver whose link a browser has opened, unless it is too late.
    pub fn waiting(&self, ticket: &str) -> Option<Waiting> {
        let initiate = driver::open_initiate(&self.sealer, ticket, seconds(SystemTime::now()))?;
        Some(Waiting { initiate })
    }

    /// Whether it is for the caller to decide about a driver. Once: also not again when the driver has fetched what was
    /// decided.
    pub async fn decide(&self, waiting: &Waiting) -> Result<bool, Refused> {
        let once = Key { kind: Kind::Used, hash: waiting.initiate.waits };
        Ok(self.store.add(once, &(), self.config.attempt_life.0).await?)
    }

    /// Lets a driver in, as the user of the session has decided.
    pub async fn grant(&self, waiting: &Waiting, session: &Session) -> Result<(), Refused> {
        let token = self.issue(session).await?;
        self.decided(waiting, &Decided::Granted(token.expose().clone())).await
    }

    /// Turns a driver away, as its user has decided.
    pub async fn deny(&self, waiting: &Waiting) -> Result<(), Refused> {
        self.decided(waiting, &Decided::Denied).await
    }

    async fn decided(&self, waiting: &Waiting, decided: &Decided) -> Result<(), Refused> {
        let key = Key { kind: Kind::Driver, hash: waiting.initiate.waits };
        Ok(self.store.put(key, decided, KEPT).await?)
    }

    /// A token of a session, for the terminal where it was begun.
    pub async fn token_of(&self, session: &Session) -> Result<Secret<String>, Refused> {
        self.issue(session).await
    }

    async fn issue(&self, session: &Session) -> Result<Secret<String>, Refused> {
        let secret = driver::random().ok_or_else(no_random)?;
        let token = Secret::new(format!("{}{}", driver::PREFIX, secret.expose()));
        let now = seconds(SystemTime::now());
        let ends = after(now, self.config.token_life.0).min(session.ends);
        let given = Given { session: session.hash, ends, renewed: 0 };
        // It outlives its end: who shows it then is given another, while the session lasts.
        self.store.put(Key::new(Kind::DriverToken, token.expose()), &given, left(session)).await?;
        Ok(token)
    }

    /// What a driver is told; waits some seconds for its user.
    pub async fn poll(&self, ticket: &str) -> Result<Polled, Refused> {
        if !driver::is_waiting(&self.sealer, ticket, seconds(SystemTime::now())) {
            return Ok(Polled::Unknown);
        }
        let key = Key { kind: Kind::Driver, hash: hash(ticket) };
        let until = tokio::time::Instant::now() + PATIENCE;
        // Anybody can have a ticket: those above the bound look once, and come back no sooner than the others.
        let turn = self.waiting.try_acquire();
        loop {
            match self.store.take::<Decided>(key).await? {
                Some(Decided::Granted(token)) => return Ok(Polled::Token(Secret::new(token))),
                Some(Decided::Denied) => return Ok(Polled::Denied),
                None if tokio::time::Instant::now() >= until => return Ok(Polled::Waiting),
                None if turn.is_err() => {
                    tokio::time::sleep_until(until).await;
                    return Ok(Polled::Waiting);
                }
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// A driver has its token, or wants none any more.
    pub async fn forget(&self, ticket: &str) -> Result<(), Refused> {
        if driver::is_waiting(&self.sealer, ticket, seconds(SystemTime::now())) {
            self.store.remove(Key { kind: Kind::Driver, hash: hash(ticket) }).await?;
        }
        Ok(())
    }

    /// Who a driver's token is of.
    ///
    /// # Errors
    ///
    /// [`Refused::Renewed`] if it has ended and its session has not: another waits for the driver.
    pub(in crate::identity) async fn prove(&self, token: &Secret<String>) -> Result<Proven, Refused> {
        let now = seconds(SystemTime::now());
        let name = hash(token.expose());
        if let Some(known) = self.known.get(&name).filter(|known| now < known.ends) {
            return Ok(known.proven());
        }
        let unknown = || Refused::BadCredentials(Cause::Token("not one of ours, or signed out"));
        let given: Option<Given> = self.store.find(Key { kind: Kind::DriverToken, hash: name }).await?;
        let given = given.ok_or_else(unknown)?;
        let session = self.session_of(given.session).await?;
        let session = session.ok_or(Refused::BadCredentials(Cause::Expired))?;
        if given.ends <= now {
            let name = Key { kind: Kind::DriverToken, hash: name };
            return Err(self.renew(name, given, &session).await?);
        }
        let principal = Arc::clone(&session.principal);
        let token = session.access_token().map(Arc::new);
        let known = Arc::new(Known { principal, token, ends: given.ends });
        self.known.insert(name, Arc::clone(&known));
        Ok(known.proven())
    }

    /// Gives out another token, for which no user is needed.
    async fn renew(&self, name: Key, mut given: Given, session: &Session) -> Result<Refused, Refused> {
        if given.renewed >= MOST_RENEWALS {
            return Err(Refused::BadCredentials(Cause::Expired));
        }
        // What several do at once may be counted as one. It is a bound on room, not on rights.
        given.renewed += 1;
        self.store.put(name, &given, left(session)).await?;
        let ends = after(seconds(SystemTime::now()), KEPT);
        let ticket = driver::token_ticket(&self.sealer, ends).ok_or_else(no_random)?;
        let token = self.issue(session).await?;
        let decided = Decided::Granted(token.expose().clone());
        self.store.put(Key { kind: Kind::Driver, hash: hash(&ticket) }, &decided, KEPT).await?;
        Ok(Refused::Renewed { ticket, user: session.principal.name().to_owned() })
    }
}
