//! Why a set of documents is refused, and why a principal is.

use std::fmt;

use crate::catalog::TableName;
use crate::error::{ErrorCode, Failure};

/// One thing that is wrong with the documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct LoadError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<u32>,
    /// The key, such as `policies[2].row_filter`; empty where it is about the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All that is wrong with the documents; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// The place of a rule: for the audit and for whoever asks why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The policy's name.
    pub policy: String,
    /// The file.
    pub file: String,
    /// The line of the policy's name, from 1; 0 where it is not known.
    pub line: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} ({})", self.policy, self.file),
            line => write!(f, "{} ({}:{line})", self.policy, self.file),
        }
    }
}

/// Why a principal may not read a relation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No document allows the table and its catalog's default does not.
    #[error("no policy allows {0}")]
    NotAllowed(TableName),
    /// The catalog, which decides, does not let the principal read it, or does not know it.
    #[error("the catalog does not let {0} be read")]
    ByCatalog(TableName),
    /// A document denies the table.
    #[error("{table} is denied by {by}")]
    Denied {
        /// The table.
        table: TableName,
        /// The document.
        by: Box<Source>,
    },
    /// A metadata table, something else whose name has a `$`, or a table of `information_schema`.
    #[error("{0} is a metadata table")]
    Metadata(TableName),
    /// Every column is hidden.
    #[error("all columns of {0} are hidden")]
    NoColumns(TableName),
    /// A view that no document trusts, and whose query cannot be put in its place: the principal may not see what it
    /// reads, or it cannot be read.
    #[error("{0} is a view that no policy trusts, and what it reads is not to be seen or not clear")]
    ViewNotTrusted(TableName),
    /// No document lets the principal write to the table.
    #[error("no policy lets {0} be written")]
    NotWritable(TableName),
    /// A table that is not seen as it is, or something of another kind, is to be changed.
    #[error("{0} cannot be changed by somebody who does not see it as it is, or is of another kind")]
    RestrictedTarget(TableName),
    /// No document lets the principal make or drop the schema.
    #[error("no policy lets the schema {0} be made or dropped")]
    SchemaNotWritable(String),
    /// Under its new name a restriction of somebody's would not hold, or another one would.
    #[error("{table} is restricted by {by}, and would not be so under the new name")]
    Protected {
        /// The table.
        table: TableName,
        /// The document.
        by: Box<Source>,
    },
    /// A document says what can't be done to the table as it is now.
    #[error("{by} cannot be applied to {table}: {why}")]
    PolicyBroken {
        /// The table.
        table: TableName,
        /// The document.
        by: Box<Source>,
        /// What is wrong, for the log.
        why: String,
    },
    /// Two documents mask a column differently, and neither is stronger.
    #[error("column {column} of {table} has two masks of the same strength, by {} and {}", by.0, by.1)]
    MaskConflict {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The documents.
        by: Box<(Source, Source)>,
    },
    /// A control character in the name of a column, or in the principal's name, groups or attributes.
    #[error("a name has a control character, so that the policies of {0} cannot be printed")]
    Unprintable(TableName),
    /// No random numbers for a salt.
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Failure for Denial {
    fn kind(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "policy_not_allowed",
            Self::ByCatalog(_) => "policy_by_catalog",
            Self::Denied { .. } => "policy_denied",
            Self::Metadata(_) => "policy_metadata_table",
            Self::NoColumns(_) => "policy_no_columns",
            Self::ViewNotTrusted(_) => "policy_view_not_trusted",
            Self::NotWritable(_) => "policy_not_writable",
            Self::RestrictedTarget(_) => "policy_restricted_target",
            Self::SchemaNotWritable(_) => "policy_schema_not_writable",
            Self::Protected { .. } => "policy_protected",
            Self::PolicyBroken { .. } => "policy_broken",
            Self::MaskConflict { .. } => "policy_mask_conflict",
            Self::Unprintable(_) => "policy_unprintable",
            Self::NoRandom => "policy_no_random",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::NotAllowed(_)
            | Self::ByCatalog(_)
            | Self::Denied { .. }
            | Self::Metadata(_)
            | Self::NoColumns(_) => ErrorCode::TABLE_NOT_FOUND,
            Self::ViewNotTrusted(_)
            | Self::NotWritable(_)
            | Self::RestrictedTarget(_)
            | Self::SchemaNotWritable(_)
            | Self::Protected { .. }
            | Self::PolicyBroken { .. }
            | Self::MaskConflict { .. }
            | Self::Unprintable(_) => ErrorCode::PERMISSION_DENIED,
            Self::NoRandom => ErrorCode::GENERIC_INTERNAL_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            // The same words as for a table that is not there: what one may not see is not found.
            Self::NotAllowed(table)
            | Self::ByCatalog(table)
            | Self::Denied { table, .. }
            | Self::Metadata(table)
            | Self::NoColumns(table) => format!("Table '{table}' does not exist"),
            Self::ViewNotTrusted(table) => {
                format!(
                    "Access Denied: the view {table} reads what you may not see, or names its tables without their \
                     catalog and schema; no policy trusts it"
                )
            }
            Self::NotWritable(table) => {
                format!("Access Denied: you may not write to the table {table}, nor make it")
            }
            Self::RestrictedTarget(table) => format!(
                "Access Denied: {table} cannot be changed by this statement, because a row filter, a column mask or a \
                 hidden column applies to it for you, or it is a view where a table is meant or the other way round"
            ),
            Self::SchemaNotWritable(schema) => {
                format!("Access Denied: you may not make or drop the schema {schema}")
            }
            Self::Protected { table, .. } => format!(
                "Access Denied: {table} cannot be renamed so, because policies protect it by its name. Please ask your \
                 administrator"
            ),
            Self::PolicyBroken { table, .. }
            | Self::MaskConflict { table, .. }
            | Self::Unprintable(table) => format!(
                "Access Denied: the policies for {table} cannot be applied to it as it is now. Please tell your \
                 administrator"
            ),
            Self::NoRandom => "The query could not be prepared. Please try again".to_owned(),
        }
    }
}
