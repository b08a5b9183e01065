//! Why a relation has no description.

use super::{EngineError, TableName};
use crate::error::{ErrorCode, Failure};

/// Why a relation has no description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// There is no such table, or no such schema, or no such catalog.
    #[error("there is no {0}")]
    NotFound(TableName),
    /// A metadata table.
    #[error("{0} is a metadata table")]
    Hidden(TableName),
    /// Trino knows it, and does not say what it is, or has no columns for it.
    #[error("{name} can't be described: {why}")]
    Unreadable {
        /// Which.
        name: TableName,
        /// What is wrong.
        why: String,
    },
    /// Trino could not be asked.
    #[error("the catalog can't be asked: {0}")]
    Engine(EngineError),
}

impl Failure for CatalogError {
    fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "catalog_not_found",
            Self::Hidden(_) => "catalog_hidden",
            Self::Unreadable { .. } => "catalog_unreadable",
            Self::Engine(_) => "catalog_engine",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            // What can't be described may be one that the user may not know of.
            Self::NotFound(_) | Self::Unreadable { .. } => ErrorCode::TABLE_NOT_FOUND,
            Self::Hidden(_) => ErrorCode::NOT_SUPPORTED,
            Self::Engine(_) => ErrorCode::REMOTE_HOST_GONE,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::NotFound(name) | Self::Unreadable { name, .. } => format!("Table '{name}' does not exist"),
            Self::Hidden(_) => {
                "Metadata tables, those with a '$' in their name, can't be read here.".to_owned()
            }
            Self::Engine(_) => "Trino can't be asked about the tables of this query, so it was not run. Try \
                                again later."
                .to_owned(),
        }
    }
}
