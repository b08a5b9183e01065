//! What can go wrong in the bench itself.

use std::io;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A file, a socket or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// An answer, or a state of things, that makes a figure meaningless.
    #[error("{0}")]
    Unusable(String),
}

/// What most functions here return.
pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Says what was tried when something fails.
pub(crate) trait Trying<T> {
    /// Wraps the failure with `what`.
    fn trying(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Fault::Io { what: what(), source })
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "input or output".into(), source }
    }
}

/// A [`Fault::Unusable`] of this text.
pub(crate) fn unusable(text: impl Into<String>) -> Fault {
    Fault::Unusable(text.into())
}
