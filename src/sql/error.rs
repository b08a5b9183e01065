//! Why a text is not a statement, or not one that is understood.

use crate::error::{ErrorCode, Failure, Location};

/// Why a text is not a statement, or not one that is understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The text is not in the language.
    #[error("{location}: {what}")]
    Syntax {
        /// Where.
        location: Location,
        /// What is wrong, for a person.
        what: String,
    },
    /// In the language, but not understood here.
    #[error("{location}: {what} not supported")]
    NotSupported {
        /// Where.
        location: Location,
        /// What it is, with its verb: "inline functions are".
        what: &'static str,
    },
    /// Nested deeper than the limit.
    #[error("{location}: nested deeper than {limit} levels")]
    TooDeep {
        /// Where the limit was passed.
        location: Location,
        /// The limit.
        limit: u32,
    },
    /// Longer than the limit.
    #[error("the statement is longer than {limit} {unit}")]
    TooLong {
        /// The limit.
        limit: usize,
        /// Of what: bytes or words.
        unit: &'static str,
    },
}

impl Failure for SqlError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::NotSupported { .. } => "syntax_not_supported",
            Self::TooDeep { .. } => "too_deep",
            Self::TooLong { .. } => "too_long",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Syntax { .. } | Self::TooDeep { .. } | Self::TooLong { .. } => ErrorCode::SYNTAX_ERROR,
            Self::NotSupported { .. } => ErrorCode::NOT_SUPPORTED,
        }
    }

    fn client_message(&self) -> String {
        self.to_string()
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Syntax { location, .. }
            | Self::NotSupported { location, .. }
            | Self::TooDeep { location, .. } => Some(*location),
            Self::TooLong { .. } => None,
        }
    }
}

/// The place of a byte offset in a text.
pub(super) fn locate(text: &str, offset: usize) -> Location {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    Location {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}
