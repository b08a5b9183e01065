//! Why a REST catalog has no answer.

/// Why a REST catalog has no answer. The texts are for the log: Polaris names principals, roles and grants in its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// It cannot be reached, or has nothing to say for the time being.
    #[error("it cannot be asked: {0}")]
    Unavailable(String),
    /// It was not asked: it gave no answer to several questions just now.
    #[error("it is not asked for a moment, as it has not answered")]
    Resting,
    /// It does not take the token, 401 or 419.
    #[error("it does not take the token: {0}")]
    Unauthorized(String),
    /// It says no, 403.
    #[error("it says no: {0}")]
    Forbidden(String),
    /// It knows no such thing, 404.
    #[error("it knows no such thing: {0}")]
    NotFound(String),
    /// It changes nothing, since something is not as it was thought to be, 409.
    #[error("it is not as it was thought to be: {0}")]
    Conflict(String),
    /// It answers what is not understood, or too much.
    #[error("its answer cannot be used: {0}")]
    Garbage(String),
    /// There is no token to ask it with.
    #[error("there is no token to ask it with: {0}")]
    NoToken(String),
    /// It must be asked in the name of somebody who did not sign in with a token.
    #[error("{0} has not signed in with a token, and it is to be asked in their own name")]
    NoUserToken(String),
}

impl RestError {
    /// Whether asking again later may help, so that an answer of before may be used for a while.
    pub(in crate::catalog) fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Resting)
    }
}
