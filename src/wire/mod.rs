//! Trino's client protocol: what a request says, what an answer may say. Pure; no IO, no clock of its own.
//!
//! A request becomes a [`Call`] or is [`Malformed`]; nothing of it that is not on a list here goes any
//! further. An answer of Trino is rebuilt by a [`PageRebuilder`] while it streams: the rows pass as the bytes
//! that came, everything else is ours. Links and transactions that clients carry are opaque to them and bound
//! to their owner by a [`Sealer`].

mod call;
mod certificate;
mod credentials;
mod estimate;
mod forwarded;
mod headers;
mod json;
mod malformed;
mod own;
mod page;
mod seal;
mod session;

pub use call::{Call, Limits, LinkMethod, Peer, Route, TlsVersion};
pub use certificate::{ClientCertificate, UnreadableCertificate};
pub use credentials::{Credentials, read as read_credentials, read_assertion};
pub use estimate::Estimate;
pub use forwarded::{Proxies, Proxy};
pub use headers::{
    NotAHeader, SessionChange, response_headers, started_transaction, tell_class, upstream_headers,
    upstream_poll_headers,
};
pub use malformed::{BodyFault, HeaderFault, Malformed};
pub use own::{
    ColumnType, LocalColumn, Origin, cached_page, error_page, failure_page, finished_page, new_query_id,
    queued_page,
};
pub use page::{
    DEFAULT_LIMIT, PageContext, PageCopy, PageError, PageRebuilder, PageSummary, PagedError, Positions,
    Processed,
};
pub use seal::{KeptPage, Link, Sealer, SealerError, Target, Ticket, Transaction};
pub use session::{CACHE_PROPERTY, Session};
