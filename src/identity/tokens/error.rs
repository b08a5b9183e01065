//! Why a token is not made, listed or revoked.

use std::time::Duration;

use http::StatusCode;

use crate::error::{ErrorCode, Failure};
use crate::units::Span;

/// Why a token is not made, listed or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A name that cannot be one.
    #[error("the name of a token {0}")]
    Name(&'static str),
    /// An end that is past, or too far away.
    #[error("a token must end within {}", Span(*.0))]
    Life(Duration),
    /// A scope that cannot mean anything.
    #[error("scope: {0}")]
    Scope(String),
    /// The owner has as many tokens as they may have.
    #[error("nobody may have more than {0} tokens")]
    TooMany(usize),
    /// Somebody who signed in with a token, or as somebody else.
    #[error("tokens are not made by who signed in with one")]
    ByToken,
    /// Nothing is known of the owner.
    #[error("'{0}' is not in the users file and has not signed in")]
    Unknown(String),
    /// There is no such token of this owner.
    #[error("no such token")]
    NotFound,
    /// There is no room for more.
    #[error("no room for another token")]
    Full,
    /// Tokens cannot be read or written now.
    #[error("tokens cannot be kept: {0}")]
    Unavailable(String),
}

impl TokenError {
    /// The status of an answer that is this error.
    pub const fn http_status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Life(_) | Self::Scope(_) => StatusCode::BAD_REQUEST,
            Self::TooMany(_) => StatusCode::CONFLICT,
            Self::ByToken => StatusCode::FORBIDDEN,
            Self::NotFound | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Full | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Failure for TokenError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "token_name",
            Self::Life(_) => "token_life",
            Self::Scope(_) => "token_scope",
            Self::TooMany(_) => "token_limit",
            Self::ByToken => "token_by_token",
            Self::Unknown(_) => "token_owner",
            Self::NotFound => "token_not_found",
            Self::Full => "tokens_full",
            Self::Unavailable(_) => "tokens_unavailable",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Full | Self::Unavailable(_) => ErrorCode::GENERIC_INTERNAL_ERROR,
            Self::ByToken => ErrorCode::PERMISSION_DENIED,
            Self::NotFound => ErrorCode::NOT_FOUND,
            _ => ErrorCode::GENERIC_USER_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Name(why) => format!("The name of a token {why}."),
            Self::Life(most) => format!("Choose an end that lies ahead, {} at most.", Span(*most)),
            Self::Scope(why) => format!("This scope cannot be used: {why}."),
            Self::TooMany(most) => {
                format!(
                    "You have {most} tokens, which is as many as you may have. Revoke one that you don't need."
                )
            }
            Self::ByToken => "Sign in yourself to make a token: a token makes no others.".to_owned(),
            Self::Unknown(name) => format!("'{name}' has to sign in once before tokens can be made."),
            Self::NotFound => "You have no such token.".to_owned(),
            Self::Full | Self::Unavailable(_) => {
                "Tokens cannot be kept at the moment. Try again shortly.".to_owned()
            }
        }
    }
}
