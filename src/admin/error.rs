//! Why the admin listener cannot start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::{ErrorCode, Failure};

/// Why the admin listener cannot start. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or is not ours.
    #[error("admin: cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The key for tokens cannot be written.
    #[error("admin.key_file: {}: {source}", path.display())]
    Key {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system does not tell the address.
    #[error("admin: no address: {0}")]
    Address(std::io::Error),
}

impl Failure for AdminError {
    fn kind(&self) -> &'static str {
        "admin"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate could not start".to_owned()
    }
}
