//! Why something is not kept or found.

use crate::secret;

use crate::error::{ErrorCode, Failure};

/// Why something could not be kept or found, or the store not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More entries of the kind than there is room for.
    #[error("no room for another {0}")]
    Full(&'static str),
    /// A shared store that does not answer. Who asked should come back (503).
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// An entry that cannot be written or read, or an answer that means nothing.
    #[error("an entry cannot be read: {0}")]
    Form(String),
    /// What is configured cannot be used: the key, and why. For the operator.
    #[error("{0}")]
    Setup(String),
}

impl StoreError {
    pub(super) fn source(source: &secret::Source, error: &std::io::Error) -> Self {
        Self::Setup(format!("{source}: {error}"))
    }
}

impl Failure for StoreError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Full(_) => "state_full",
            Self::Unavailable(_) => "state_unavailable",
            Self::Form(_) => "state_form",
            Self::Setup(_) => "state_setup",
        }
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate cannot reach what it keeps between requests. Try again shortly.".to_owned()
    }
}
