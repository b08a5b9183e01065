//! Why a request cannot be read.

use http::StatusCode;

use crate::error::{ErrorCode, Failure};

/// A request that is not well-formed, not bounded, or of no known route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No such route. The path is not repeated: it may hold a link.
    #[error("no such route")]
    NotFound,
    /// The route is known, and this is not one of its methods.
    #[error("method not allowed; allowed: {allowed}")]
    Method {
        /// What the `Allow` header says.
        allowed: &'static str,
    },
    /// The body of a statement cannot be read.
    #[error("the body {0}")]
    Body(BodyFault),
    /// A header cannot be read.
    #[error("header {name}: {why}")]
    Header {
        /// The header's name, in lower case; a name of our own lists, never the client's text.
        name: &'static str,
        /// What is wrong with it.
        why: HeaderFault,
    },
    /// More header lines or more bytes of headers than are allowed.
    #[error("too many headers, or too much in them")]
    HeadersTooLarge,
    /// No `Host`, several, or one that is not a host and a port.
    #[error("the Host header is missing or is no host")]
    Host,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Longer than the limit.
    #[error("is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A NUL in it.
    #[error("contains a NUL character")]
    Nul,
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// A `Content-Encoding`.
    #[error("has a Content-Encoding, which is not supported")]
    Encoded,
    /// A `Content-Type` that is not text in UTF-8.
    #[error("has a Content-Type that is not text in UTF-8")]
    Charset,
    /// A body where there should be none.
    #[error("should not be there")]
    Unexpected,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Given more than once.
    #[error("is given more than once")]
    Repeated,
    /// Longer than the limit.
    #[error("is too long")]
    TooLong,
    /// Not of the form that Trino's protocol has for it.
    #[error("is not of the form that it should have")]
    Form,
    /// Not allowed here.
    #[error("is not supported by Northgate")]
    Unsupported,
    /// Not allowed under this name.
    #[error("belongs to an old protocol; use the X-Trino- headers")]
    Presto,
}

impl Malformed {
    /// The status of an answer that is not a page.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(BodyFault::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::Encoded | BodyFault::Charset) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Body(_) | Self::Header { .. } | Self::Host => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether the client is better told by a page (status 200 and an `error`) than by the status alone:
    /// it is so for what is wrong with a statement's text, which drivers then show to their users.
    pub fn as_page(&self) -> bool {
        matches!(
            self,
            Self::Body(BodyFault::TooLarge { .. } | BodyFault::NotUtf8 | BodyFault::Nul | BodyFault::Empty)
        )
    }
}

impl Failure for Malformed {
    fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method { .. } => "method",
            Self::Body(_) => "body",
            Self::Header { .. } => "header",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Host => "host",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NOT_FOUND,
            Self::Body(BodyFault::NotUtf8 | BodyFault::Nul | BodyFault::Empty) => ErrorCode::SYNTAX_ERROR,
            _ => ErrorCode::GENERIC_USER_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::NotFound => "Not found".to_owned(),
            Self::Method { allowed } => format!("Method not allowed here. Allowed: {allowed}"),
            Self::Body(fault) => format!("The SQL text {fault}"),
            Self::Header { name, why } => format!("The request header {name} {why}"),
            Self::HeadersTooLarge => "The request has too many headers, or too much in them".to_owned(),
            Self::Host => "The Host header is missing or is no host".to_owned(),
        }
    }
}
