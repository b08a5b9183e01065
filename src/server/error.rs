//! What can go wrong with the listener itself, and with a body on its way.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::StatusCode;

use crate::error::{ErrorCode, Failure};

/// Why the server cannot start, or cannot take a new certificate. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or is not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("{}: {message}", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The threads that serve connections cannot be started.
    #[error("threads: {0}")]
    Threads(std::io::Error),
    /// The TLS library refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Failure for ServerError {
    fn kind(&self) -> &'static str {
        "server"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate could not start".to_owned()
    }
}

/// Why a request was not read to its end, so that no handler saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The body did not come in time.
    #[error("the body did not come in time")]
    Slow,
    /// The body broke off or was framed wrongly.
    #[error("the body broke off")]
    Broken,
    /// Too many statements are being read.
    #[error("too much is being read at once")]
    Busy,
}

impl Unread {
    /// 408, 400 or 503. Nothing was submitted, so that a driver may try again on 503.
    pub const fn http_status(self) -> StatusCode {
        match self {
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Failure for Unread {
    fn kind(&self) -> &'static str {
        match self {
            Self::Slow => "body_slow",
            Self::Broken => "body_broken",
            Self::Busy => "server_busy",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Slow | Self::Broken => ErrorCode::GENERIC_USER_ERROR,
            Self::Busy => ErrorCode::QUERY_QUEUE_FULL,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Slow => "The request took too long to arrive.",
            Self::Broken => "The request could not be read.",
            Self::Busy => "Northgate is reading too many statements at once. Try again shortly.",
        }
        .to_owned()
    }
}

/// Why an answer ends before its end. The client sees a connection that breaks off, never a whole answer.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// What the answer is made of broke off, or was not what it should be.
    #[error("the answer broke off: {0}")]
    Source(String),
    /// The answer could not be compressed.
    #[error("the answer could not be compressed: {0}")]
    Compress(#[from] std::io::Error),
}
