//! Why a statement cannot be rewritten.

use crate::catalog::TableName;
use crate::error::{ErrorCode, Failure, Location};
use crate::sql::SqlError;

/// Why a statement cannot be rewritten, or may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A name without a catalog, and the session has none.
    #[error("no catalog for the name '{0}'")]
    MissingCatalog(String),
    /// A name without a schema, and the session has none.
    #[error("no schema for the name '{0}'")]
    MissingSchema(String),
    /// A relation that does not exist, or that the principal may not know of.
    #[error("no relation '{0}' in the permit")]
    NotFound(String),
    /// A catalog that does not exist, or that the principal may not know of.
    #[error("no catalog '{0}' for this principal")]
    CatalogNotFound(String),
    /// A schema that does not exist, or that the principal may not know of.
    #[error("no schema '{0}' for this principal")]
    SchemaNotFound(String),
    /// A statement of a kind that is not allowed.
    #[error("{0} statements are not allowed")]
    Kind(&'static str),
    /// Something in a statement that is not allowed here.
    #[error("{0}")]
    NotAllowed(String),
    /// Something that cannot be done to a relation with a row filter or a mask.
    #[error("{what} on '{name}', which is restricted")]
    Restricted {
        /// What was to be done.
        what: &'static str,
        /// The relation.
        name: TableName,
    },
    /// A session property that may not be set.
    #[error("session property '{0}' is not on the allow-list")]
    SessionProperty(String),
    /// A session property that the statement's class sets.
    #[error("session property '{0}' is set by the class of the statement")]
    FixedProperty(String),
    /// More relations than one statement can name.
    #[error("more than {0} relations")]
    TooManyRelations(usize),
    /// The rewritten statement is too long or too deep.
    #[error("the rewritten statement: {0}")]
    TooLarge(SqlError),
    /// The rewritten statement does not say what it should: a fault of Northgate's.
    #[error("the rewritten statement does not hold: {0}")]
    Unsound(String),
}

impl Failure for RewriteError {
    fn kind(&self) -> &'static str {
        match self {
            Self::MissingCatalog(_) => "missing_catalog",
            Self::MissingSchema(_) => "missing_schema",
            Self::NotFound(_) => "not_found",
            Self::CatalogNotFound(_) => "catalog_not_found",
            Self::SchemaNotFound(_) => "schema_not_found",
            Self::Kind(_) => "statement_kind",
            Self::NotAllowed(_) => "not_allowed",
            Self::Restricted { .. } => "restricted",
            Self::SessionProperty(_) => "session_property",
            Self::FixedProperty(_) => "fixed_property",
            Self::TooManyRelations(_) => "too_many_relations",
            Self::TooLarge(_) => "rewritten_too_large",
            Self::Unsound(_) => "unsound",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::MissingCatalog(_) => ErrorCode::MISSING_CATALOG_NAME,
            Self::MissingSchema(_) => ErrorCode::MISSING_SCHEMA_NAME,
            Self::NotFound(_) => ErrorCode::TABLE_NOT_FOUND,
            Self::CatalogNotFound(_) => ErrorCode::CATALOG_NOT_FOUND,
            Self::SchemaNotFound(_) => ErrorCode::SCHEMA_NOT_FOUND,
            Self::Kind(_) | Self::NotAllowed(_) | Self::Restricted { .. } => ErrorCode::PERMISSION_DENIED,
            Self::TooLarge(_) | Self::TooManyRelations(_) => ErrorCode::NOT_SUPPORTED,
            Self::SessionProperty(_) | Self::FixedProperty(_) => ErrorCode::INVALID_SESSION_PROPERTY,
            Self::Unsound(_) => ErrorCode::GENERIC_INTERNAL_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::MissingCatalog(_) => "Catalog must be specified when session catalog is not set".to_owned(),
            Self::MissingSchema(_) => "Schema must be specified when session schema is not set".to_owned(),
            Self::NotFound(name) => format!("Table '{name}' does not exist"),
            Self::CatalogNotFound(name) => format!("Catalog '{name}' not found"),
            Self::SchemaNotFound(name) => format!("Schema '{name}' does not exist"),
            Self::Kind(kind) => {
                format!("Access Denied: {kind} statements are not allowed through this gateway")
            }
            Self::NotAllowed(what) => format!("Access Denied: {what}"),
            Self::Restricted { what, name } => format!(
                "Access Denied: {what} is not possible on '{name}', because a row filter or a column mask \
                 applies to it for you"
            ),
            Self::SessionProperty(name) => format!(
                "Session property '{name}' may not be set here. Ask the gateway's administrators if you need it."
            ),
            Self::FixedProperty(name) => format!(
                "Session property '{name}' may not be set by the statement itself, as the gateway sets it for the statement's \
                 class. Leave it out."
            ),
            Self::TooManyRelations(most) => {
                format!("The statement names more than {most} tables. Split it.")
            }
            Self::TooLarge(_) => {
                "The statement is too long or too deeply nested once the data policies are applied. Split it."
                    .to_owned()
            }
            Self::Unsound(_) => "The gateway could not apply the data policies to this statement.".to_owned(),
        }
    }

    fn location(&self) -> Option<Location> {
        None
    }
}
