//! What is wrong with a configuration, and where.

use std::path::PathBuf;

use crate::error::{ErrorCode, Failure};

/// Why there is no configuration. For the operator; it names keys, and no values of secrets.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A place in the file.
    #[error("{file}:{line}:{column}: {message}")]
    Place {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The key and what is wrong with it.
        message: String,
    },
    /// The file as a whole, such as a key that is not there.
    #[error("{file}: {message}")]
    Whole {
        /// The file, as it was named.
        file: String,
        /// The key and what is wrong with it.
        message: String,
    },
    /// A variable of the environment.
    #[error("environment variable {name}: {message}")]
    Variable {
        /// Which.
        name: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Failure for ConfigError {
    fn kind(&self) -> &'static str {
        "config"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate is not configured".to_owned()
    }
}
