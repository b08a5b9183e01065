//! Signing in at a terminal, with a browser elsewhere (device authorization, RFC 8628).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openidconnect::core::CoreDeviceAuthorizationResponse;
use openidconnect::{DeviceCodeErrorResponseType, PkceCodeChallenge, RequestTokenError};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::id_token::{Occasion, since_epoch};
use super::{Provider, Signed, tokens};
use crate::https;
use crate::identity::error::{Cause, Refused};

/// The longest time for which a code is good, whatever the provider says.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// The longest time between two questions, in seconds, whatever the provider says.
const MAX_INTERVAL: u64 = 60;
/// Longest user code, in characters. It is to be typed.
const MAX_USER_CODE: usize = 64;

/// A sign-in that has begun: what to show, and what to remember.
#[derive(Clone, Debug)]
pub struct DeviceBegun {
    /// What to remember.
    pub attempt: DeviceAttempt,
    /// What the user types at `address`.
    pub user_code: String,
    /// Where the user goes with a browser.
    pub address: String,
    /// The same with the code in it, for a link.
    pub address_with_code: Option<String>,
    /// Until when.
    pub expires: SystemTime,
}

/// What of a sign-in that has begun must be remembered. It holds secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceAttempt {
    provider: String,
    issuer: String,
    answer: CoreDeviceAuthorizationResponse,
    verifier: String,
    /// In seconds.
    interval: u64,
    /// In seconds since 1970: not to be asked about before, and not after.
    next: u64,
    expires: u64,
}

impl DeviceAttempt {
    /// When to ask again.
    pub fn next(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.next)
    }
}

impl fmt::Debug for DeviceAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, interval, next, expires, .. } = self;
        f.debug_struct("DeviceAttempt")
            .field("provider", provider)
            .field("interval", interval)
            .field("next", next)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}

/// What became of a sign-in so far.
#[derive(Clone, Debug)]
pub enum DevicePolled {
    /// The user is not done. Ask again at [`DeviceAttempt::next`]; before it the provider is not asked.
    Pending,
    /// The user, or the provider, has said no.
    Declined,
    /// It has taken too long: begin again.
    Expired,
    /// They are signed in.
    Signed(Box<Signed>),
}

impl Provider {
    /// Begins to sign in at a terminal.
    ///
    /// # Errors
    /// The provider does not have this, does not answer, or its answer cannot be used.
    pub async fn device_begin(&self, now: SystemTime) -> Result<DeviceBegun, Refused> {
        let unavailable = |why: &str| Refused::Unavailable(format!("device authorization: {why}"));
        let known = self.known()?;
        let to = known.extra.device_authorization_endpoint.clone();
        let to = to.ok_or_else(|| unavailable("the provider does not have it"))?;
        let client = known.client.clone().set_device_authorization_url(to);
        // Not of RFC 8628, but some providers want it of clients that must use it elsewhere; others ignore it.
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let answer: CoreDeviceAuthorizationResponse = client
            .exchange_device_code()
            .add_scopes(self.scopes())
            .add_extra_param("code_challenge", challenge.as_str())
            .add_extra_param("code_challenge_method", challenge.method().as_str())
            .request_async(&*self.exchange)
            .await
            .map_err(tokens::refused)?;

        let shown = [Some(answer.verification_uri().as_str()), complete(&answer)];
        for address in shown.into_iter().flatten() {
            https::address(address, self.config.allow_plain_http)
                .map_err(|why| unavailable(&format!("the address to show: {why}")))?;
        }
        let code = answer.user_code().secret();
        let is_shown = |c: char| c.is_ascii_graphic() || c == ' ';
        if code.is_empty() || code.len() > MAX_USER_CODE || !code.chars().all(is_shown) {
            return Err(unavailable("the code to show cannot be shown"));
        }
        let lifetime = answer.expires_in().min(MAX_LIFETIME);
        let interval = answer.interval().as_secs().clamp(1, MAX_INTERVAL);
        let expires = since_epoch(now + lifetime);
        Ok(DeviceBegun {
            user_code: code.clone(),
            address: answer.verification_uri().as_str().to_owned(),
            address_with_code: complete(&answer).map(str::to_owned),
            expires: UNIX_EPOCH + Duration::from_secs(expires),
            attempt: DeviceAttempt {
                provider: self.config.name.clone(),
                issuer: self.config.issuer.clone(),
                answer,
                verifier: verifier.secret().clone(),
                interval,
                next: since_epoch(now).saturating_add(interval),
                expires,
            },
        })
    }

    /// Asks, if it is time, whether the user is done. Where they are not, the attempt says when to ask again, and is to be
    /// remembered anew. An attempt is not to be asked about twice at once.
    ///
    /// # Errors
    /// The answer does not hold, or the provider does not let us ask.
    pub async fn device_poll(
        &self,
        attempt: &mut DeviceAttempt,
        now: SystemTime,
    ) -> Result<DevicePolled, Refused> {
        let other = "the attempt was begun at another provider";
        if attempt.provider != self.config.name || attempt.issuer != self.config.issuer {
            return Err(Refused::BadCredentials(Cause::Oidc(other.to_owned())));
        }
        let seconds = since_epoch(now);
        if seconds >= attempt.expires {
            return Ok(DevicePolled::Expired);
        }
        if seconds < attempt.next {
            return Ok(DevicePolled::Pending);
        }
        let known = self.known()?;
        // The library asks until there is an answer, and sleeps between. Its first sleep ends this question; how long it
        // would be says whether the provider wants to be asked less often.
        let (sleeps, mut slept) = mpsc::unbounded_channel();
        let sleep = move |interval: Duration| {
            let _ = sleeps.send(interval);
            std::future::pending::<()>()
        };
        let request = known.client.exchange_device_access_token(&attempt.answer);
        let request = request.add_extra_param("code_verifier", attempt.verifier.clone());
        let question = request.request_async(&*self.exchange, sleep, None);
        let answer = tokio::select! {
            answer = question => answer,
            interval = slept.recv() => {
                let base = attempt.answer.interval();
                let more = interval.map_or(0, |interval| interval.saturating_sub(base).as_secs());
                attempt.interval = attempt.interval.saturating_add(more).min(MAX_INTERVAL);
                attempt.next = seconds.saturating_add(attempt.interval);
                return Ok(DevicePolled::Pending);
            }
        };
        match answer {
            Ok(answer) => {
                let signed = self.signed(known, &answer, Occasion::Device, now).await?;
                Ok(DevicePolled::Signed(Box::new(signed)))
            }
            Err(RequestTokenError::ServerResponse(error)) => match error.error() {
                DeviceCodeErrorResponseType::AccessDenied => Ok(DevicePolled::Declined),
                DeviceCodeErrorResponseType::ExpiredToken => Ok(DevicePolled::Expired),
                _ => Err(tokens::refused(RequestTokenError::ServerResponse(error))),
            },
            Err(error) => Err(tokens::refused(error)),
        }
    }
}

fn complete(answer: &CoreDeviceAuthorizationResponse) -> Option<&str> {
    answer.verification_uri_complete().map(|address| address.secret().as_str())
}
