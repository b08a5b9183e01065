//! Personal access tokens on the administrator's word, and the end of all that somebody is signed in with.

use http::StatusCode;
use jiff::Timestamp;

use crate::admin::TokenRequest;
use crate::audit::{Audit, Event};
use crate::error::Failure as _;
use crate::identity::{Identity, Token, TokenError};

type Wrong = (StatusCode, String);

/// Does it, and records it: a token that is not on record is not given out.
pub(super) async fn answer(identity: &Identity, audit: &Audit, asked: TokenRequest) -> Result<String, Wrong> {
    match (asked, identity.access_tokens()) {
        (TokenRequest::RevokeAll { user }, _) => revoke_all(identity, audit, &user).await,
        (_, None) => Err((StatusCode::NOT_FOUND, "there are no tokens".to_owned())),
        (TokenRequest::List { user }, Some(tokens)) => {
            let listed = match &user {
                Some(user) => tokens.list(user).await,
                None => tokens.all().await,
            };
            Ok(serde_json::json!({ "tokens": listed.map_err(wrong)? }).to_string())
        }
        (TokenRequest::Create { user, name, life, scope }, Some(tokens)) => {
            let expires = Timestamp::now().checked_add(life);
            let expires = expires.map_err(|_| wrong(TokenError::Life(tokens.max_life())))?;
            let (secret, token) = identity.create_token(&user, &name, expires, scope).await.map_err(wrong)?;
            if let Err(error) = audit.record(&Event::TokenCreated { by: None, token: token.clone() }).await {
                let revoked = tokens.revoke(&user, &token.id).await;
                tracing::error!(%error, revoked = revoked.is_ok(), "a token could not be recorded");
                return Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string()));
            }
            Ok(serde_json::json!({ "secret": secret.expose(), "token": token }).to_string())
        }
        (TokenRequest::Revoke { id }, Some(tokens)) => {
            let token = tokens.revoke_any(&id).await.map_err(wrong)?;
            revoked(audit, &token).await?;
            Ok(serde_json::json!({ "token": token }).to_string())
        }
    }
}

/// Ends all sessions of a user, and revokes all their tokens.
async fn revoke_all(identity: &Identity, audit: &Audit, user: &str) -> Result<String, Wrong> {
    // Whatever becomes of one: the others must not stay in use. Sessions are first, as tokens are made in them.
    let (mut all, mut first) = (Vec::new(), end_sessions(identity, audit, user).await);
    if let Some(tokens) = identity.access_tokens() {
        for token in tokens.list(user).await.map_err(wrong)? {
            match tokens.revoke(user, &token.id).await {
                Ok(token) => {
                    first = first.and(revoked(audit, &token).await);
                    all.push(token);
                }
                // Its owner was faster.
                Err(TokenError::NotFound) => {}
                Err(error) => first = first.and(Err(wrong(error))),
            }
        }
    }
    first?;
    Ok(serde_json::json!({ "tokens": all }).to_string())
}

/// Ends all sessions of a user, and records it.
async fn end_sessions(identity: &Identity, audit: &Audit, user: &str) -> Result<(), Wrong> {
    let Some(login) = identity.login() else { return Ok(()) };
    login.end_all(user).await.map_err(|refused| (StatusCode::SERVICE_UNAVAILABLE, refused.to_string()))?;
    let event = Event::by_operator("end_sessions", format!("all sessions of {user}"));
    audit.record(&event).await.map_err(|error| {
        tracing::error!(%error, user, "that sessions were ended could not be recorded");
        (StatusCode::SERVICE_UNAVAILABLE, format!("the sessions have ended, but it is not recorded: {error}"))
    })
}

/// Records that a token was revoked.
async fn revoked(audit: &Audit, token: &Token) -> Result<(), Wrong> {
    let recorded = audit.record(&Event::TokenRevoked { by: None, token: token.clone() }).await;
    recorded.map_err(|error| {
        tracing::error!(%error, token = token.id, "that a token was revoked could not be recorded");
        (StatusCode::SERVICE_UNAVAILABLE, format!("revoked, but not recorded: {error}"))
    })
}

/// For administrators, who may know why.
#[expect(clippy::needless_pass_by_value, reason = "what errors are mapped with")]
fn wrong(error: TokenError) -> Wrong {
    let why = match &error {
        TokenError::Unavailable(_) | TokenError::Unknown(_) => error.to_string(),
        error => error.client_message(),
    };
    (error.http_status(), why)
}
