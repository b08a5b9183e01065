//! Why something was not recorded.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::NoteError;
use crate::error::{ErrorCode, Failure};

/// Why something was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder can't be used.
    #[error("the audit folder {path} can't be used: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key of a user's texts can't be made.
    #[error("the key that texts are encrypted with can't be made: {0}")]
    TextKey(io::Error),
    /// Another process writes to the folder.
    #[error("another process uses the audit folder {path}")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The log in the folder is not the one that its checkpoint is of.
    #[error("the audit log in {path} was changed or put back: {what}")]
    Altered {
        /// Where.
        path: PathBuf,
        /// How that is known.
        what: String,
    },
    /// The key or the checkpoint.
    #[error(transparent)]
    Checkpoint(NoteError),
    /// The writer could not be started.
    #[error("the audit could not be started: {0}")]
    Start(io::Error),
    /// The bucket that it is to be copied to.
    #[error("the audit cannot be copied: {0}")]
    Copy(String),
    /// Who is to sign its checkpoints.
    #[error("[audit.witness] {0}")]
    Witness(String),
    /// A limit that can't work.
    #[error("[audit] {0}")]
    Config(&'static str),
    /// The journal can't be written: the disk is full, read-only or broken.
    #[error("the audit journal can't be written")]
    Unavailable,
    /// The disk did not answer in time.
    #[error("the audit journal was not written within {0:?}")]
    Slow(Duration),
    /// More queries are under way, or more records are kept, than there is memory for.
    #[error("there is no memory left for audit records")]
    Full,
    /// The record is larger than allowed.
    #[error("the audit record has {bytes} bytes, and {most} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: u64,
    },
    /// The record can't be made into JSON.
    #[error("an audit record can't be written as JSON: {0}")]
    Unwritable(serde_json::Error),
    /// Records were left when the gateway ended.
    #[error("{0} audit records could not be written before the end")]
    Left(usize),
}

impl Failure for AuditError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "audit_folder",
            Self::InUse { .. } => "audit_in_use",
            Self::TextKey(_) => "audit_text_key",
            Self::Altered { .. } => "audit_altered",
            Self::Checkpoint(_) => "audit_checkpoint",
            Self::Start(_) | Self::Config(_) | Self::Copy(_) | Self::Witness(_) => "audit_start",
            Self::Unavailable => "audit_unavailable",
            Self::Slow(_) => "audit_slow",
            Self::Full => "audit_full",
            Self::TooLarge { .. } => "audit_too_large",
            Self::Unwritable(_) => "audit_unwritable",
            Self::Left(_) => "audit_left",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::GENERIC_USER_ERROR,
            _ => ErrorCode::GENERIC_INTERNAL_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::TooLarge { .. } => {
                "The query was not run: its text, with its session and parameters, is too \
                                      large to be recorded."
                    .to_owned()
            }
            Self::Full => {
                "The query was not run: too many queries are under way. Try again later.".to_owned()
            }
            _ => "The query was not run because it could not be recorded in the audit. Try again later, and \
                  tell the operators of the gateway if it stays so."
                .to_owned(),
        }
    }
}
