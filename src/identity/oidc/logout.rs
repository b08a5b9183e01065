//! Signing out: here and so there (OpenID Connect RP-Initiated Logout 1.0), and there and so here (Back-Channel
//! Logout 1.0).

use std::str::FromStr as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use openidconnect::core::CoreIdToken;
use openidconnect::{ClientId, CsrfToken, LogoutRequest, PostLogoutRedirectUrl};
use serde_json::Value;

use super::discovery::Known;
use super::id_token::since_epoch;
use super::{MAX_TOKEN, Provider};
use crate::identity::error::{Cause, Refused};
use crate::identity::jwt::seconds;
use crate::secret::Secret;

/// The event that makes a token one of a logout.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// A logout token is taken for as long as this after it was made, whatever it says itself.
const LIFETIME: Duration = Duration::from_mins(10);
/// Longest identifier, in bytes.
const MAX_IDENTIFIER: usize = 1024;

/// The provider says that somebody has signed out there. The caller ends their sessions here, and answers 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// The token's identifier. One that was there before is a replay; that ends no more sessions than the first, but for
    /// those that began since.
    pub id: String,
    /// When the token would be refused anyway, clock skew included.
    pub expires: SystemTime,
    /// Which session there: those with this [`super::Asserted::session`]. None: all of the subject.
    pub session: Option<String>,
    /// Whose: those with this [`super::Asserted::subject`]. If there is a session as well, both must fit.
    pub subject: Option<String>,
}

impl Provider {
    /// Where to send a browser whose user has signed out here, so that they sign out there. None if the provider has no
    /// address for that. It sends them back to `and_then`, which must be registered there, with this `state`.
    ///
    /// # Errors
    /// The provider's metadata is not known, or `and_then` is no address.
    pub fn logout(
        &self,
        id_token: Option<&Secret<String>>,
        and_then: &str,
        state: Option<&str>,
    ) -> Result<Option<String>, Refused> {
        let known = self.known()?;
        let Some(to) = known.extra.end_session_endpoint.clone() else { return Ok(None) };
        let and_then = PostLogoutRedirectUrl::new(and_then.to_owned())
            .map_err(|error| Refused::Unavailable(format!("the address after signing out: {error}")))?;
        let mut request = LogoutRequest::from(to)
            .set_client_id(ClientId::new(self.config.client_id.clone()))
            .set_post_logout_redirect_uri(and_then);
        if let Some(token) = id_token.and_then(|token| CoreIdToken::from_str(token.expose()).ok()) {
            request = request.set_id_token_hint(&token);
        }
        if let Some(state) = state {
            request = request.set_state(CsrfToken::new(state.to_owned()));
        }
        Ok(Some(request.http_get_url().into()))
    }

    /// Judges a logout token: the field `logout_token` of a form that the provider has posted. Whoever posts it, it counts
    /// by its signature.
    ///
    /// # Errors
    /// It does not hold (answer 400), or the provider's keys are not known.
    pub async fn accept_logout(&self, token: &str, now: SystemTime) -> Result<LoggedOut, Refused> {
        let refused = |why: &str| Refused::BadCredentials(Cause::Oidc(format!("the logout token: {why}")));
        if token.len() > MAX_TOKEN {
            return Err(refused("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("unreadable header"))?;
        if !self.config.algorithms.iter().any(|one| Algorithm::from(*one) == header.alg) {
            return Err(refused("algorithm not allowed"));
        }
        if header.crit.is_some() {
            return Err(refused("critical header parameters"));
        }
        if header.typ.as_deref().is_some_and(|typ| !is_logout_type(typ)) {
            return Err(refused("a JWT for another use"));
        }
        let find = |known: &Known| known.logout_keys.find(header.kid.as_deref(), header.alg).cloned();
        let mut key = find(&*self.known()?);
        if key.is_none() {
            self.source.read_again().await;
            key = find(&*self.known()?);
        }
        let key = key.ok_or_else(|| refused("signed with an unknown key"))?;
        let mut validation = Validation::new(header.alg);
        // The time is checked below, by the caller's clock.
        validation.validate_exp = false;
        validation.required_spec_claims = ["exp", "iss", "aud"].map(str::to_owned).into();
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.client_id]);
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(|error| {
            refused(match error.kind() {
                ErrorKind::InvalidIssuer => "another issuer",
                ErrorKind::InvalidAudience => "another audience",
                ErrorKind::InvalidSignature => "bad signature",
                ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
                _ => "unreadable",
            })
        })?;
        self.logged_out(&claims.claims, now).map_err(refused)
    }

    /// Reads claims that were verified (Back-Channel Logout 1.0, 2.6).
    fn logged_out(&self, claims: &Value, now: SystemTime) -> Result<LoggedOut, &'static str> {
        let (now, skew) = (since_epoch(now), self.config.max_clock_skew.0.as_secs());
        let text = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_IDENTIFIER => {
                Ok(Some(text.clone()))
            }
            Some(_) => Err("an identifier that is unreadable"),
        };
        if claims.get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err("issuer is not one string");
        }
        let is_trusted = |audience: &Value| {
            let audience = audience.as_str().unwrap_or_default();
            audience == self.config.client_id || self.config.trusted_audiences.contains(audience)
        };
        if claims["aud"].as_array().is_some_and(|audiences| !audiences.iter().all(is_trusted)) {
            return Err("an audience that is not trusted");
        }
        let issued = seconds(claims.get("iat")).ok_or("unreadable iat")?;
        let expires = seconds(claims.get("exp")).ok_or("unreadable exp")?;
        if issued > now.saturating_add(skew) {
            return Err("issued in the future");
        }
        let expires = expires.min(issued.saturating_add(LIFETIME.as_secs())).saturating_add(skew);
        if now >= expires {
            return Err("expired");
        }
        if !claims["events"].get(EVENT).is_some_and(Value::is_object) {
            return Err("not of a logout");
        }
        if claims.get("nonce").is_some() {
            return Err("has a nonce, as only ID tokens have");
        }
        let (session, subject) = (text("sid")?, text("sub")?);
        if session.is_none() && subject.is_none() {
            return Err("names neither a session nor a subject");
        }
        let id = text("jti")?.ok_or("no jti")?;
        Ok(LoggedOut { id, expires: UNIX_EPOCH + Duration::from_secs(expires), session, subject })
    }
}

/// A logout token, or a JWT that does not say what for, as older providers send.
fn is_logout_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "logout+jwt")
}
