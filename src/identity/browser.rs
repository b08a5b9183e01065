//! What [`Identity`] does for those who sign in with a browser.

use std::net::IpAddr;

use super::error::{Cause, Refused};
use super::login::{Login, Proved, SignedIn, Then, is_driver_token};
use super::principal::Principal;
use super::{Identity, Proven, is_stale};
use crate::secret::Secret;

impl Identity {
    /// Sign-in with a browser, if there is one.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub(super) fn driver_login(&self, token: &Secret<String>) -> Option<&Login> {
        self.login.as_ref().filter(|_| is_driver_token(token.expose()))
    }

    pub(super) async fn prove_driver(
        &self,
        login: &Login,
        token: &Secret<String>,
        address: IpAddr,
    ) -> Result<Proven, Refused> {
        let refused = match login.prove(token).await {
            Ok(proven) => return Ok(proven),
            Err(refused) if is_stale(&refused) => return Err(refused),
            Err(refused) => refused,
        };
        // Nobody guesses 256 bits: those who have a token are not held to the failures of others at their address. What is
        // limited is how many failures are on record.
        self.attempts.admit_token(address)?;
        self.attempts.failed_token(address);
        Err(refused)
    }

    /// Makes a session of what a sign-in with a browser has proved, and ends the one that the browser had before.
    pub async fn sign_in(&self, proved: Proved, before: Option<&str>) -> Result<SignedIn, Refused> {
        let login = self.login.as_ref().ok_or(Refused::MissingCredentials)?;
        self.attempts.admit_session(proved.principal().name())?;
        if let Some(tokens) = &self.access_tokens {
            tokens.seen(&proved.signed_in()).await?;
        }
        login.open(proved, before).await
    }

    /// Checks a password that came with the form `attempt`, which is good for one right one.
    pub async fn password_proves(
        &self,
        name: &str,
        password: &Secret<String>,
        address: IpAddr,
        (attempt, then): (&str, Then),
    ) -> Result<Proved, Refused> {
        let login = self.login.as_ref().filter(|login| login.takes_passwords());
        let login = login.ok_or(Refused::MissingCredentials)?;
        let fingerprint = || self.users.users.load().find(name).and_then(super::users::User::fingerprint);
        let before = fingerprint();
        let principal = self.prove_password(name, password, address).await?;
        // The file may have been read again meanwhile: the session must last as long as the password that was right.
        let now = fingerprint().filter(|now| before.as_ref() == Some(now));
        let now = now.ok_or(Refused::BadCredentials(Cause::UnknownUser))?;
        login.password_used(attempt).await?;
        Ok(Login::proved_by_password(&principal, now, then))
    }

    /// Whether one more answer of an identity provider is looked at from this address.
    pub fn admit_answer(&self, address: IpAddr) -> Result<(), Refused> {
        self.attempts.admit_answer(address)
    }

    /// Counts a sign-in at a terminal that begins, of which an identity provider is told: whether it may.
    pub fn count_terminal(&self, address: IpAddr) -> Result<(), Refused> {
        self.attempts.admit_answer(address)?;
        self.attempts.failed_answer(address);
        Ok(())
    }

    /// Counts an answer of an identity provider that did not hold.
    pub fn failed_answer(&self, refused: &Refused, address: IpAddr) {
        if !is_stale(refused) {
            self.attempts.failed_answer(address);
        }
    }

    /// Whether one who is signed in may let a driver in that claims to be somebody.
    pub fn may_be(&self, principal: &Principal, user: &str) -> bool {
        principal.name() == user || self.rules.allow(principal, user)
    }
}
