//! Whom the catalog asks.

use std::pin::Pin;

/// A statement about metadata. Its text is private, and only this module makes one, from quoted literals
/// and identifiers: so nothing of a client's can reach Trino as the gateway's own user.
#[derive(Debug, PartialEq, Eq)]
pub struct MetadataQuery(pub(super) String);

impl MetadataQuery {
    /// The statement.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Rows to come.
pub type Metadata<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Vec<serde_json::Value>>, EngineError>> + Send + 'a>>;

/// Something that runs a metadata query as the gateway's own user and gives all its rows.
pub trait Engine: Send + Sync {
    /// Runs it to its end. The rows are bounded by the implementation.
    fn metadata<'a>(&'a self, query: &'a MetadataQuery) -> Metadata<'a>;
}

/// Knows no relations.
pub(super) struct Nothing;

impl Engine for Nothing {
    fn metadata<'a>(&'a self, _: &'a MetadataQuery) -> Metadata<'a> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Why there are no rows. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The cluster can't be asked.
    #[error("{0}")]
    Unavailable(String),
    /// Trino says no.
    #[error("{name}: {message}")]
    Query {
        /// `errorName`.
        name: String,
        /// What it said.
        message: String,
    },
    /// The answer is not what it must be, or too large.
    #[error("{0}")]
    Garbage(String),
}
