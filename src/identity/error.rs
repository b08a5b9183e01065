//! What can go wrong with a sign-in, and with setting sign-in up.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::error::{ErrorCode, Failure};

/// Why a call was not let in.
///
/// The client is told one sentence for every kind of wrong login: which part was wrong is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither a password nor a token.
    #[error("no credentials")]
    MissingCredentials,
    /// Credentials that do not hold.
    #[error("bad credentials: {0}")]
    BadCredentials(Cause),
    /// Somebody whom a provider knows, and no rule makes a user.
    #[error("no mapping makes '{}' a user", identity.escape_debug())]
    Unmapped {
        /// What the provider calls them.
        identity: String,
    },
    /// Signed in twice, as two users.
    #[error("signed in as {} at once", users.join(" and as "))]
    Conflict {
        /// As whom.
        users: Vec<String>,
    },
    /// Signed in, but asking to be somebody else.
    #[error("{principal} may not run queries as {user}")]
    Impersonation {
        /// Who signed in.
        principal: String,
        /// Whom they named in `X-Trino-User`.
        user: String,
    },
    /// Too many failures before this one.
    #[error("too many failed attempts by {0}", by.as_str())]
    TooManyAttempts {
        /// What they have in common.
        by: By,
        /// When the next attempt is looked at.
        retry_after: Duration,
    },
    /// A driver's token that has ended, while its user's sign-in lasts: the driver is to fetch another.
    #[error("the driver's token has ended; another is ready")]
    Renewed {
        /// What it is fetched with.
        ticket: String,
        /// Whose it is.
        user: String,
    },
    /// The credentials cannot be judged now.
    #[error("cannot check the credentials: {0}")]
    Unavailable(String),
}

/// What failed attempts have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The address that they come from.
    Address,
    /// The user name that they give.
    Name,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
        }
    }
}

/// What was wrong with credentials. For the log alone, but for an expired token, which its owner may be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No such user, or one without a password.
    #[error("unknown user")]
    UnknownUser,
    /// Another password.
    #[error("wrong password")]
    Password,
    /// A token that was good once.
    #[error("token expired")]
    Expired,
    /// A token that does not say all groups of its owner, who may be told that: rules that deny by group would not hold.
    #[error("the token leaves groups out (overage)")]
    Overage,
    /// A personal access token whose owner has not signed in for too long.
    #[error("the token's owner has not signed in for too long")]
    OwnerAway,
    /// A client certificate that names no user: what it does instead.
    #[error("the certificate {0}")]
    Certificate(&'static str),
    /// A token that isn't one, or doesn't hold.
    #[error("token: {0}")]
    Token(&'static str),
    /// A message of a SAML identity provider that doesn't hold.
    #[error("SAML: {0}")]
    Saml(String),
    /// The end of a sign-in that this browser has not begun, or not lately. Its user may be told that.
    #[error("no such sign-in is under way in this browser")]
    Attempt,
    /// An answer of an OpenID provider that doesn't hold.
    #[error("OpenID Connect: {0}")]
    Oidc(String),
    /// An OpenID provider that has signed nobody in, as somebody cancelled or may not: what it says, in words of ours.
    #[error("OpenID Connect: the provider has signed nobody in ({0})")]
    Declined(&'static str),
}

impl Refused {
    /// The status of the answer: 401 for the login, 403 for impersonation, 429 and 503 as they say.
    /// No status here follows a statement that Trino has seen, so a driver may try again on 503.
    pub const fn http_status(&self) -> StatusCode {
        match self {
            Self::MissingCredentials | Self::BadCredentials(_) | Self::Renewed { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::Impersonation { .. } | Self::Conflict { .. } | Self::Unmapped { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The values of `WWW-Authenticate` (RFC 9110, 11.6.1), each to be a header line of its own.
    pub const fn challenges(&self) -> &'static [&'static str] {
        match self {
            Self::MissingCredentials => &["Basic realm=\"Northgate\"", "Bearer realm=\"Northgate\""],
            Self::BadCredentials(_) => {
                &["Basic realm=\"Northgate\"", "Bearer realm=\"Northgate\", error=\"invalid_token\""]
            }
            Self::Conflict { .. }
            | Self::Unmapped { .. }
            | Self::Impersonation { .. }
            | Self::TooManyAttempts { .. }
            | Self::Renewed { .. }
            | Self::Unavailable(_) => &[],
        }
    }

    /// `Retry-After`, if there is a time to name; at least one second.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { retry_after, .. } => Some((*retry_after).max(Duration::from_secs(1))),
            Self::Unavailable(_) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

impl Failure for Refused {
    fn kind(&self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::BadCredentials(_) => "bad_credentials",
            Self::Unmapped { .. } => "unmapped_identity",
            Self::Conflict { .. } => "conflicting_identities",
            Self::Impersonation { .. } => "impersonation_denied",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Renewed { .. } => "token_renewed",
            Self::Unavailable(_) => "identity_unavailable",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) => ErrorCode::GENERIC_INTERNAL_ERROR,
            _ => ErrorCode::PERMISSION_DENIED,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::MissingCredentials => {
                "Authentication required: sign in with a user name and password, or with a token.".to_owned()
            }
            Self::BadCredentials(Cause::Expired) => {
                "Authentication failed: the token has expired. Sign in again.".to_owned()
            }
            Self::Renewed { .. } => {
                "The token has expired, and another is ready for it. Connect again.".to_owned()
            }
            Self::BadCredentials(Cause::Attempt) => "This sign-in is over, or was begun in another browser. Begin again, \
                 and finish it in the same window."
                .to_owned(),
            Self::BadCredentials(Cause::Overage) => "Authentication failed: you are in more groups than your login \
                 carries, so that what you may see is not known. Ask your administrators to limit the groups that \
                 the identity provider sends to Northgate."
                .to_owned(),
            Self::BadCredentials(Cause::OwnerAway) => {
                "Authentication failed: the token's owner has not signed in for too long. Sign in to Northgate with a \
                 browser once, and the token works again."
                    .to_owned()
            }
            Self::BadCredentials(Cause::Certificate(why)) => format!(
                "Authentication failed: your certificate {why}. Use another one, or sign in with a user name and \
                 password, or with a token."
            ),
            Self::Unmapped { identity } => format!(
                "Access Denied: you are signed in as '{}', which is no user of Northgate. Ask its operators to \
                 let you in.",
                identity.escape_debug()
            ),
            Self::Conflict { users } => format!(
                "Access Denied: you are signed in as '{}' at once. Use one way to sign in; to run queries as \
                 somebody else, set the user.",
                users.join("' and as '")
            ),
            Self::BadCredentials(Cause::Declined(_)) => "Authentication failed: the identity provider has not signed you \
                 in. Try again, or ask its administrators to let you use Northgate."
                .to_owned(),
            Self::BadCredentials(Cause::Oidc(_)) => "Authentication failed: this sign-in is not valid, or has taken too \
                 long. Sign in again; if that fails as well, ask your administrators to look into Northgate's log."
                .to_owned(),
            Self::BadCredentials(_) => {
                "Authentication failed: the user name, password or token is not valid.".to_owned()
            }
            Self::Impersonation { principal, user } => format!(
                "Access Denied: you are signed in as '{principal}' and may not run queries as '{user}'. \
                 Set the user to '{principal}', or leave it out."
            ),
            Self::TooManyAttempts { retry_after, .. } => {
                format!("Too many failed sign-ins. Try again in {} seconds.", retry_after.as_secs().max(1))
            }
            Self::Unavailable(_) => {
                "Northgate cannot check sign-ins at the moment. Try again shortly.".to_owned()
            }
        }
    }
}

/// Why sign-in could not be set up, or set up anew. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A users file that does not hold together.
    #[error("{}: {message}", path.display())]
    Users {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line where that is known.
        message: String,
    },
    /// An issuer that cannot be used as written.
    #[error("identity.jwt '{issuer}': {message}")]
    Issuer {
        /// Which.
        issuer: String,
        /// What is wrong.
        message: String,
    },
    /// A SAML identity provider that cannot be used as written.
    #[error("identity.saml '{name}': {message}")]
    Saml {
        /// Which.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// An OpenID provider that cannot be used as written.
    #[error("identity.oidc '{name}': {message}")]
    Oidc {
        /// Which.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// An impersonation rule, or another value, that cannot mean anything.
    #[error("identity: {0}")]
    Value(String),
    /// The password hash could not be made.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

impl Failure for SetupError {
    fn kind(&self) -> &'static str {
        "identity_setup"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate could not start".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_for_every_wrong_login() {
        let message = |cause| Refused::BadCredentials(cause).client_message();
        assert_eq!(message(Cause::UnknownUser), message(Cause::Password));
        assert_eq!(message(Cause::UnknownUser), message(Cause::Token("bad signature")));
        assert_ne!(message(Cause::UnknownUser), message(Cause::Expired));
        let many =
            |by| Refused::TooManyAttempts { by, retry_after: Duration::from_millis(10) }.client_message();
        assert_eq!(many(By::Name), many(By::Address));
    }

    #[test]
    fn only_a_wrong_login_is_challenged() {
        let check = |refused: Refused, status: u16, challenges: usize| {
            assert_eq!(refused.http_status().as_u16(), status, "{refused}");
            assert_eq!(refused.challenges().len(), challenges, "{refused}");
        };
        check(Refused::MissingCredentials, 401, 2);
        check(Refused::BadCredentials(Cause::Password), 401, 2);
        check(Refused::BadCredentials(Cause::Certificate("has expired")), 401, 2);
        check(Refused::Unmapped { identity: "a".into() }, 403, 0);
        check(Refused::Conflict { users: vec!["a".into(), "b".into()] }, 403, 0);
        check(Refused::Impersonation { principal: "a".into(), user: "b".into() }, 403, 0);
        check(Refused::TooManyAttempts { by: By::Name, retry_after: Duration::ZERO }, 429, 0);
        check(Refused::Unavailable("x".into()), 503, 0);
    }
}
