//! The first page of a query, and whether there is one yet.

use bytes::Bytes;
use http::HeaderMap;

/// How far the submission of a query is.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// No page yet: the query waits for a slot, or for Trino to take it.
    Waiting,
    /// It has its slot, and is being sent to Trino.
    Sending,
    /// Trino took it, or it failed before: the first page, ready to be sent any number of times.
    Answered(Box<FirstPage>),
}

/// The first page of a query, already rebuilt. Trino puts no rows in it.
#[derive(Clone, Debug)]
pub(super) struct FirstPage {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}
