//! OpenID Connect Core 1.0: we are a relying party, in the authorization code flow with PKCE (RFC 7636), `state` and
//! `nonce`; and for terminals in the device flow (RFC 8628).
//!
//! ```text
//! begin         -> an address for the browser          remember Begun::attempt with the browser
//! judge, finish <- the query that the browser brings   of that attempt, which is then forgotten
//! renew         -> new tokens, or the session is over
//! logout        -> an address for the browser          when they sign out here
//! accept_logout <- they have signed out there          end the sessions that it names
//! ```
//!
//! The crate `openidconnect` writes requests and verifies ID tokens; what it leaves to its caller is in `id_token`. It
//! speaks through our own client (`exchange`), which checks every address, follows no redirect, and bounds answers.
//!
//! Nothing is stored here. One check is the caller's, who has the browser's session: that an [`Attempt`] is of this
//! browser, and is used once.

mod callback;
mod config;
mod device;
mod discovery;
mod exchange;
mod id_token;
mod logout;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{
    AuthenticationContextClass, AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope,
};
use serde::{Deserialize, Serialize};

pub use self::config::{Config, Prompt};
pub use self::device::{DeviceAttempt, DeviceBegun, DevicePolled};
pub use self::logout::LoggedOut;
pub use self::tokens::{Renew, Renewal, Renewed};

use self::callback::Callback;
use self::discovery::{Known, Registered, Source};
use self::exchange::Exchange;
use self::id_token::{Occasion, since_epoch};
use super::error::{Cause, Refused, SetupError};
use crate::secret::Secret;

/// The shortest time between two reads of the metadata.
const PAUSE: Duration = Duration::from_secs(10);
/// How long somebody has to sign in at the provider.
const PATIENCE: Duration = Duration::from_mins(15);
/// Longest token of any kind, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// One OpenID provider, and ourselves as it knows us.
///
/// Below our address it names, for a configuration called NAME: `/login/oidc/NAME/callback` (GET:
/// [`Provider::finish`]), which is to be registered at the provider as redirect URI; and, for the caller to serve,
/// `/login/oidc/NAME/logout` (POST: [`Provider::accept_logout`]) as back-channel logout URI.
pub struct Provider {
    config: Arc<Config>,
    exchange: Arc<Exchange>,
    source: Source,
}

/// A sign-in that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where the browser is redirected to (302 or 303).
    pub url: String,
    /// What to remember with the browser.
    pub attempt: Attempt,
}

/// What of a sign-in that has begun must be remembered: with the browser, where neither its user nor another can change
/// it, and where no other browser comes by it. It holds secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    provider: String,
    issuer: String,
    state: String,
    nonce: String,
    verifier: String,
    /// In seconds since 1970.
    expires: u64,
}

impl Attempt {
    /// The `state` that the browser brings back. It may name the attempt among others of the browser.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// When the attempt is no longer good.
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, expires, .. } = self;
        f.debug_struct("Attempt")
            .field("provider", provider)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}

/// What tokens are fetched with; once. A callback has brought it that holds.
pub struct Code(String);

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Who.
    pub user: Asserted,
    /// What we may do for them.
    pub tokens: Tokens,
}

/// What an ID token says that holds.
#[derive(Clone, Debug)]
pub struct Asserted {
    /// The provider's name for the user (`sub`): unique there, never given to another.
    pub subject: String,
    /// The nonce, to be kept for renewing.
    pub nonce: Option<String>,
    /// The session there (`sid`), which a logout names.
    pub session: Option<String>,
    /// When the user signed in there (`auth_time`).
    pub authenticated_at: Option<SystemTime>,
    /// When the ID token expires. It says nothing of how long a session may be.
    pub expires: SystemTime,
    /// The user's name.
    pub user: String,
    /// The user's groups, in order.
    pub groups: Vec<String>,
    /// The user's attributes, by our names for them.
    pub attributes: BTreeMap<String, String>,
    /// The ID token, to be kept for signing out there.
    pub id_token: Secret<String>,
}

/// What the provider has given beside the ID token.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: Secret<String>,
    /// When it expires, if the provider says so.
    pub access_token_expires: Option<SystemTime>,
    /// What renews it.
    pub refresh_token: Option<Secret<String>>,
}

impl Provider {
    /// Checks the configuration, reads our secret and starts to read the provider's metadata and keys. Needs a tokio
    /// runtime; what it starts ends with the value. `external_url` is our own address as browsers see it.
    ///
    /// # Errors
    /// The configuration or our secret cannot be used. A provider that cannot be reached is no error: its users are
    /// refused until it can.
    pub fn new(config: Config, external_url: &str) -> Result<Self, SetupError> {
        Self::pausing(config, external_url, PAUSE)
    }

    fn pausing(config: Config, external_url: &str, pause: Duration) -> Result<Self, SetupError> {
        let invalid = |message: String| SetupError::Oidc { name: config.name.clone(), message };
        config.check().map_err(invalid)?;
        let secret = match &config.client_secret_file {
            None => None,
            Some(from) => {
                let secret = from
                    .read()
                    .map_err(|source| SetupError::File { path: from.to_string().into(), source })?;
                if secret.expose().is_empty() {
                    return Err(invalid("client_secret_file: empty".to_owned()));
                }
                Some(secret)
            }
        };
        let address = format!("{}/login/oidc/{}/callback", external_url.trim_end_matches('/'), config.name);
        let redirect_uri =
            RedirectUrl::new(address).map_err(|error| invalid(format!("our own address: {error}")))?;
        let exchange = Exchange::new(&config.issuer, config.ca_file.as_deref(), config.allow_plain_http);
        let exchange = Arc::new(exchange.map_err(invalid)?);
        let config = Arc::new(config);
        let registered = Registered { redirect_uri, secret };
        let source = Source::start(Arc::clone(&config), registered, Arc::clone(&exchange), pause);
        Ok(Self { config, exchange, source })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Asks for the metadata and keys to be read again soon.
    pub fn refresh(&self) {
        self.source.refresh();
    }

    /// Waits until the metadata and keys were read, or could not be.
    ///
    /// # Errors
    /// They could not.
    pub async fn ready(&self) -> Result<(), Refused> {
        self.source.tried().await;
        self.known().map(drop)
    }

    fn known(&self) -> Result<Arc<Known>, Refused> {
        let unavailable = |why| Refused::Unavailable(format!("identity.oidc '{}': {why}", self.config.name));
        self.source.known().map_err(unavailable)
    }

    /// Begins to sign in with a browser.
    ///
    /// # Errors
    /// The provider's metadata is not known.
    pub fn begin(&self, now: SystemTime) -> Result<Begun, Refused> {
        let (config, known) = (&self.config, self.known()?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = known
            .client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scopes(self.scopes())
            .set_pkce_challenge(challenge);
        if let Some(prompt) = config.prompt {
            request = request.add_prompt(prompt.into());
        }
        if let Some(most) = config.max_age {
            request = request.set_max_age(most.0);
        }
        for value in &config.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(value.clone()));
        }
        for (name, value) in &config.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state, nonce) = request.url();
        let attempt = Attempt {
            provider: config.name.clone(),
            issuer: config.issuer.clone(),
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
            expires: since_epoch(now + PATIENCE),
        };
        Ok(Begun { url: url.into(), attempt })
    }

    /// What is asked for, but for `openid`, which the library adds.
    fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.config.scopes.iter().filter(|scope| *scope != "openid").map(|scope| Scope::new(scope.clone()))
    }

    /// Ends a sign-in with a browser: fetches the tokens.
    ///
    /// # Errors
    /// The provider's answer does not hold, or it does not answer.
    pub async fn finish(&self, attempt: Attempt, code: Code, now: SystemTime) -> Result<Signed, Refused> {
        let known = self.known()?;
        let Code(code) = code;
        let answer = known
            .client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier))
            .request_async(&*self.exchange)
            .await
            .map_err(tokens::refused)?;
        self.signed(known, &answer, Occasion::SignIn { nonce: &attempt.nonce }, now).await
    }

    /// The code of a callback, from its query as it came: not decoded, without the `?`. Before the state is right, nothing
    /// else of it counts.
    ///
    /// # Errors
    /// The callback is not this attempt's, or the provider has signed nobody in. Nothing of it is in what the client is told.
    pub fn judge(&self, attempt: &Attempt, query: &str, now: SystemTime) -> Result<Code, Refused> {
        let known = self.known()?;
        let callback = Callback::read(query).map_err(Refused::BadCredentials)?;
        let refused = |why: &str| Refused::BadCredentials(Cause::Oidc(why.to_owned()));
        if attempt.provider != self.config.name || attempt.issuer != self.config.issuer {
            return Err(refused("the attempt was begun at another provider"));
        }
        let state = callback.state.ok_or_else(|| refused("the callback has no state"))?;
        verify_slices_are_equal(state.as_bytes(), attempt.state.as_bytes())
            .map_err(|_| refused("the callback's state is of another attempt"))?;
        if now >= attempt.expires() {
            return Err(refused("the attempt has taken too long"));
        }
        match callback.iss {
            Some(issuer) if issuer != self.config.issuer => {
                return Err(refused("the callback is of another issuer"));
            }
            None if known.extra.names_issuer() => {
                return Err(refused("the callback does not name its issuer"));
            }
            _ => {}
        }
        if let Some(error) = callback.error {
            return Err(tokens::declined(&error));
        }
        let code = callback.code.filter(|code| !code.is_empty());
        code.map(Code).ok_or_else(|| refused("the callback has no code"))
    }
}
