//! What every failure can say of itself: to a client, to a metric, and to Trino's drivers.

use std::fmt;

/// A place in a statement's text. Lines and columns count from 1, columns in Unicode code points,
/// as Trino's `errorLocation` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}:{}", self.line, self.column)
    }
}

/// Who is to blame, in Trino's words (`errorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The statement or the request is at fault.
    UserError,
    /// Northgate or Trino is at fault.
    InternalError,
    /// A limit was reached.
    InsufficientResources,
    /// Something behind Trino or Northgate is at fault.
    External,
}

impl ErrorType {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserError => "USER_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
            Self::InsufficientResources => "INSUFFICIENT_RESOURCES",
            Self::External => "EXTERNAL",
        }
    }
}

/// One of Trino's standard error codes (`StandardErrorCode` of Trino 476).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// `errorName`.
    pub name: &'static str,
    /// `errorCode`.
    pub number: u32,
    /// `errorType`.
    pub kind: ErrorType,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:expr, $kind:ident;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self {
                name: stringify!($name),
                number: $number,
                kind: ErrorType::$kind,
            };)*
        }
    };
}

codes! {
    /// A user's mistake that has no code of its own.
    GENERIC_USER_ERROR = 0, UserError;
    /// The text is not a statement.
    SYNTAX_ERROR = 1, UserError;
    /// The query was abandoned by its client.
    ABANDONED_QUERY = 2, UserError;
    /// The query was cancelled by its user.
    USER_CANCELED = 3, UserError;
    /// The principal may not do this.
    PERMISSION_DENIED = 4, UserError;
    /// There is no such thing, or none that the principal may know of.
    NOT_FOUND = 5, UserError;
    /// The statement is known, and not allowed here.
    NOT_SUPPORTED = 13, UserError;
    /// A session property that is not on the allow-list, or has no such value.
    INVALID_SESSION_PROPERTY = 14, UserError;
    /// The transaction is not the caller's, or is gone.
    UNKNOWN_TRANSACTION = 20, UserError;
    /// No catalog of that name.
    CATALOG_NOT_FOUND = 44, UserError;
    /// No schema of that name.
    SCHEMA_NOT_FOUND = 45, UserError;
    /// No table of that name.
    TABLE_NOT_FOUND = 46, UserError;
    /// No column of that name.
    COLUMN_NOT_FOUND = 47, UserError;
    /// A one- or two-part name without a catalog to complete it.
    MISSING_CATALOG_NAME = 56, UserError;
    /// A one-part name without a schema to complete it.
    MISSING_SCHEMA_NAME = 57, UserError;
    /// A row filter that cannot be applied.
    INVALID_ROW_FILTER = 84, UserError;
    /// A column mask that cannot be applied.
    INVALID_COLUMN_MASK = 85, UserError;
    /// A fault with no code of its own.
    GENERIC_INTERNAL_ERROR = 65_536, InternalError;
    /// The queue is full.
    QUERY_QUEUE_FULL = 131_074, InsufficientResources;
    /// All the processor time that may be used is.
    EXCEEDED_CPU_LIMIT = 131_077, InsufficientResources;
    /// As much as may be has been read.
    EXCEEDED_SCAN_LIMIT = 131_081, InsufficientResources;
    /// The cluster cannot be reached, or does not speak the protocol.
    REMOTE_HOST_GONE = 65_558, InternalError;
    /// Northgate or Trino is about to stop.
    SERVER_SHUTTING_DOWN = 65_545, InternalError;
}

/// What every error of a module answers, so that one place (`server::respond`) can make it HTTP.
///
/// There are two messages to each failure: `Display` and `source` are for the log and may name hosts,
/// files and policies; [`Failure::client_message`] is all that the client may know.
pub trait Failure: std::error::Error {
    /// A short, fixed word for metrics and logs, such as `policy_denied`.
    fn kind(&self) -> &'static str;

    /// The Trino error that a driver is shown.
    fn code(&self) -> ErrorCode;

    /// What the client is told: a sentence that says what happened and what to do about it.
    fn client_message(&self) -> String;

    /// Where in the statement, if it is about a place in it.
    fn location(&self) -> Option<Location> {
        None
    }
}
