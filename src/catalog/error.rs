//! Why a relation has no description.

use super::rest::RestError;
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
    /// A REST catalog has no answer.
    #[error("the REST catalog {catalog} has no answer: {error}")]
    Rest {
        /// What Trino calls it.
        catalog: String,
        /// Why.
        error: RestError,
    },
    /// Trino and the REST catalog say different things of a table: one of the two has not heard of a change.
    #[error("Trino and the REST catalog do not agree on {name}: {why}")]
    Differs {
        /// Which.
        name: TableName,
        /// What they differ in.
        why: String,
    },
}

impl Failure for CatalogError {
    fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "catalog_not_found",
            Self::Hidden(_) => "catalog_hidden",
            Self::Unreadable { .. } => "catalog_unreadable",
            Self::Engine(_) => "catalog_engine",
            Self::Rest { .. } => "catalog_rest",
            Self::Differs { .. } => "catalog_differs",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            // What can't be described may be one that the user may not know of.
            Self::NotFound(_) | Self::Unreadable { .. } => ErrorCode::TABLE_NOT_FOUND,
            Self::Hidden(_) => ErrorCode::NOT_SUPPORTED,
            Self::Rest { error: RestError::NoUserToken(_) | RestError::Unauthorized(_), .. } => {
                ErrorCode::PERMISSION_DENIED
            }
            Self::Engine(_) | Self::Rest { .. } | Self::Differs { .. } => ErrorCode::REMOTE_HOST_GONE,
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
            Self::Rest { catalog, error: RestError::NoUserToken(_) } => format!(
                "Access Denied: the catalog {catalog} says who may read what, and must be asked with a token of yours. \
                 Sign in with a token of your identity provider, and not with a password."
            ),
            Self::Rest { catalog, error: RestError::Unauthorized(_) } => format!(
                "Access Denied: the catalog {catalog} does not take the token that you signed in with. Sign in again; if \
                 that does not help, tell the operators of the gateway."
            ),
            Self::Rest { catalog, error } if error.is_passing() => format!(
                "The catalog {catalog} can't be asked what you may see, so the query was not run. Try again later."
            ),
            Self::Rest { catalog, .. } => format!(
                "What the catalog {catalog} says of the tables of this query can't be used, so the query was not run. \
                 Tell the operators of the gateway if it stays so."
            ),
            Self::Differs { name, .. } => format!(
                "Trino and the catalog do not agree on what columns {name} has, so the query was not run. It may have \
                 been changed just now: try again in a minute."
            ),
        }
    }
}
