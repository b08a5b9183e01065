//! What a request is answered with.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use super::RelayError;

/// The body of an answer: a whole page, or one that is still coming.
pub type Body = UnsyncBoxBody<Bytes, RelayError>;

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// A JSON page, with status 200 and headers of the protocol.
    Page {
        /// The headers that tell of changes to the session.
        headers: HeaderMap,
        /// The page.
        body: Body,
    },
    /// Lines of JSON, with status 200.
    Lines(Body),
    /// A status without a body.
    Empty(StatusCode),
}

impl Answer {
    /// A JSON page that is whole.
    pub(super) fn page(body: impl Into<Bytes>) -> Self {
        Self::with_headers(whole(body.into()), HeaderMap::new())
    }

    /// A JSON page with headers of the protocol.
    pub(super) fn with_headers(body: Body, headers: HeaderMap) -> Self {
        Self::Page { headers, body }
    }

    /// A status without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::Empty(status)
    }
}

/// A body that is whole.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
