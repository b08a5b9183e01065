//! What the token endpoint answers, and how a session is renewed.

use std::sync::Arc;
use std::time::SystemTime;

use openidconnect::core::{CoreErrorResponseType, CoreGenderClaim, CoreTokenResponse};
use openidconnect::{
    AccessToken, AdditionalClaims, ErrorResponseType, OAuth2TokenResponse as _, RefreshToken,
    RequestTokenError, StandardErrorResponse, SubjectIdentifier, TokenResponse as _, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::discovery::Known;
use super::id_token::{Expected, Occasion, Unfit, asserted, verify};
use super::{Asserted, MAX_TOKEN, Provider, Signed, Tokens};
use crate::https::ExchangeError;
use crate::identity::error::{Cause, Refused};
use crate::secret::Secret;

/// Longest part of a provider's own words that goes to the log, in characters.
const MAX_WORDS: usize = 200;

/// What of a session is needed to renew it: what [`Signed`], or the last [`Renewed`], has said.
#[derive(Clone, Copy)]
pub struct Renew<'a> {
    /// The last [`Tokens::refresh_token`].
    pub refresh_token: &'a Secret<String>,
    /// The [`Asserted::subject`].
    pub subject: &'a str,
    /// The first [`Asserted::nonce`].
    pub nonce: Option<&'a str>,
}

/// What became of a session.
#[derive(Clone, Debug)]
pub enum Renewal {
    /// It goes on.
    Renewed(Box<Renewed>),
    /// The provider has ended it (`invalid_grant`): the user must sign in again.
    Ended,
}

/// A session that goes on.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Who it is of, as the provider has it now; none if it has sent no new ID token, and the last holds on.
    pub user: Option<Asserted>,
    /// The new tokens. The refresh token is the last one if there is no new one.
    pub tokens: Tokens,
}

/// Claims of the UserInfo endpoint that the library does not know.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Rest(Map<String, Value>);

impl AdditionalClaims for Rest {}

impl Provider {
    /// Renews a session's tokens.
    ///
    /// One refresh token must not be used by two requests at once: providers that give a new one with each take the second
    /// for a theft, and end the session.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: the provider does not answer, or does not let us ask; the session may go on for as long as
    /// its last tokens do. [`Refused::BadCredentials`]: its answer does not hold, such as one of another subject (OpenID
    /// Connect Core 12.2); the session must end.
    pub async fn renew(&self, session: Renew<'_>, now: SystemTime) -> Result<Renewal, Refused> {
        let known = self.known()?;
        let old = RefreshToken::new(session.refresh_token.expose().clone());
        let answer = known.client.exchange_refresh_token(&old).request_async(&*self.exchange).await;
        let answer = match answer {
            Err(RequestTokenError::ServerResponse(error))
                if *error.error() == CoreErrorResponseType::InvalidGrant =>
            {
                return Ok(Renewal::Ended);
            }
            answer => answer.map_err(refused)?,
        };
        let occasion = Occasion::Renewal { subject: session.subject, nonce: session.nonce };
        let (user, mut tokens) = if answer.id_token().is_some() {
            let signed = self.signed(known, &answer, occasion, now).await?;
            (Some(signed.user), signed.tokens)
        } else {
            (None, read(&answer, now).map_err(Refused::BadCredentials)?)
        };
        tokens.refresh_token.get_or_insert_with(|| session.refresh_token.clone());
        Ok(Renewal::Renewed(Box::new(Renewed { user, tokens })))
    }

    /// Judges an answer of the token endpoint with an ID token.
    pub(super) async fn signed(
        &self,
        mut known: Arc<Known>,
        answer: &CoreTokenResponse,
        occasion: Occasion<'_>,
        now: SystemTime,
    ) -> Result<Signed, Refused> {
        let missing = || Refused::BadCredentials(Cause::Oidc("the provider sent no ID token".to_owned()));
        let token = answer.id_token().ok_or_else(missing)?;
        let expected = Expected { config: &self.config, occasion, now };
        let mut verified = verify(token, answer.access_token(), &known, &expected);
        if matches!(verified, Err(Unfit::UnknownKey)) {
            // Perhaps the provider has a new key. Asked for as often as one likes, keys are not read more often.
            self.source.read_again().await;
            known = self.known()?;
            verified = verify(token, answer.access_token(), &known, &expected);
        }
        let mut claims = verified.map_err(|unfit| Refused::BadCredentials(unfit.into()))?;
        let tokens = read(answer, now).map_err(Refused::BadCredentials)?;
        if self.config.userinfo {
            self.add_userinfo(&known, answer.access_token(), &mut claims).await?;
        }
        let user = asserted(token, &claims, &self.config).map_err(Refused::BadCredentials)?;
        Ok(Signed { user, tokens })
    }

    /// Adds what the UserInfo endpoint says of the same subject (OpenID Connect Core 5.3). What the ID token says stays.
    async fn add_userinfo(
        &self,
        known: &Known,
        access_token: &AccessToken,
        claims: &mut Value,
    ) -> Result<(), Refused> {
        let unavailable = |why: &dyn std::fmt::Display| Refused::Unavailable(format!("userinfo: {why}"));
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let request = known
            .client
            .user_info(access_token.clone(), Some(SubjectIdentifier::new(subject)))
            .map_err(|error| unavailable(&error))?;
        let told: UserInfoClaims<Rest, CoreGenderClaim> = request
            .request_async(&*self.exchange)
            .await
            .map_err(|error| unavailable(&crate::https::chain(&error)))?;
        let told = serde_json::to_value(told).map_err(|error| unavailable(&error))?;
        if let (Some(claims), Value::Object(told)) = (claims.as_object_mut(), told) {
            for (name, value) in told {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }
}

/// The tokens of an answer, but for the ID token.
pub(super) fn read(answer: &CoreTokenResponse, now: SystemTime) -> Result<Tokens, Cause> {
    let secret = |text: &String| {
        // It becomes part of headers and forms.
        let is_usable = text.len() <= MAX_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
        let unfit = || Cause::Oidc("the provider sent a token that is too long, or not of ASCII".to_owned());
        if is_usable { Ok(Secret::new(text.clone())) } else { Err(unfit()) }
    };
    Ok(Tokens {
        access_token: secret(answer.access_token().secret())?,
        access_token_expires: answer.expires_in().and_then(|lifetime| now.checked_add(lifetime)),
        refresh_token: answer.refresh_token().map(|token| secret(token.secret())).transpose()?,
    })
}

/// Why the token endpoint gave no token.
pub(super) fn refused<T>(error: RequestTokenError<ExchangeError, StandardErrorResponse<T>>) -> Refused
where
    T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static,
{
    let unavailable = |why: String| Refused::Unavailable(format!("the token endpoint: {why}"));
    match error {
        RequestTokenError::Request(error) => unavailable(error.to_string()),
        RequestTokenError::ServerResponse(answer) => {
            let description = answer.error_description().map_or("", String::as_str);
            let words = format!("{} ({})", quoted(answer.error().as_ref()), quoted(description));
            match answer.error().as_ref() {
                "invalid_grant" => Refused::BadCredentials(Cause::Oidc(format!("no token: {words}"))),
                "access_denied" => Refused::BadCredentials(Cause::Declined("access_denied")),
                // The rest is about us, and nothing that signing in again would mend.
                _ => unavailable(words),
            }
        }
        // Neither the body nor the reader's message, which may quote it, goes to the log: there are tokens in it.
        RequestTokenError::Parse(_, body) => {
            let answer: Option<Value> = serde_json::from_slice(&body).ok();
            if answer.is_some_and(|answer| answer.get("id_token").is_some()) {
                let why = "the provider sent tokens that cannot be read";
                Refused::BadCredentials(Cause::Oidc(why.to_owned()))
            } else {
                unavailable("an answer that cannot be read".to_owned())
            }
        }
        RequestTokenError::Other(why) => unavailable(quoted(&why)),
    }
}

/// Why the provider sent no code (RFC 6749, 4.1.2.1; OpenID Connect Core 3.1.2.6). Its text came by the browser, so that
/// only what the specifications name is repeated.
pub(super) fn declined(error: &str) -> Refused {
    const PERSON: [&str; 5] = [
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "login_required",
    ];
    const US: [&str; 9] = [
        "invalid_request",
        "invalid_request_object",
        "invalid_request_uri",
        "invalid_scope",
        "registration_not_supported",
        "request_not_supported",
        "request_uri_not_supported",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    let named = |names: &[&'static str]| names.iter().copied().find(|name| *name == error);
    if let Some(name) = named(&PERSON) {
        return Refused::BadCredentials(Cause::Declined(name));
    }
    if let Some(name) = named(&US) {
        return Refused::Unavailable(format!("the provider does not take our request to sign in: {name}"));
    }
    if let Some(name) = named(&["server_error", "temporarily_unavailable"]) {
        return Refused::Unavailable(format!("the provider says: {name}"));
    }
    Refused::BadCredentials(Cause::Oidc("the provider has sent an error that is not known".to_owned()))
}

/// A provider's own words, on one line and not too many.
fn quoted(text: &str) -> String {
    text.chars().take(MAX_WORDS).flat_map(char::escape_debug).collect()
}
