//! The `[audit]` section.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{s3, witness};
use crate::secret;
use crate::units::{ByteSize, Span};

/// The `[audit]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of the journal. It is made if there is none; one process at a time uses it.
    pub folder: PathBuf,
    /// A new file is begun when this size is reached, on a new day (UTC), and at each start.
    pub file_size: ByteSize,
    /// How long a query waits for its record to be durable before it is refused.
    pub timeout: Span,
    /// The memory for records that are waiting to be written; who finds it full waits.
    pub in_flight: ByteSize,
    /// The memory for outcomes that are owed (1 KiB each) and for records that could not be written. It bounds
    /// the number of queries under way.
    pub kept: ByteSize,
    /// The largest record. A query that needs a larger one is refused.
    pub record_size: ByteSize,
    /// The name of this log, in its checkpoints. Each replica has its own.
    pub origin: String,
    /// The file with the key that signs checkpoints. It is made if neither it nor a checkpoint is there. Beside the folder
    /// if it is not said where: `audit.key`.
    pub key_file: Option<secret::Source>,
    /// How often a checkpoint is signed, where there are new records.
    pub checkpoint_every: Span,
    /// The most that the folder may hold; queries are refused when it does. 0 is no limit.
    pub folder_size: ByteSize,
    /// Whether tiles, bundles and long records, once whole and under a checkpoint, get the file system's immutable attribute
    /// (`chattr +i`): nobody then changes or removes them unless it is taken off. This needs a file system that has it and
    /// `CAP_LINUX_IMMUTABLE`.
    pub immutable: bool,
    /// The folder of the keys that texts of queries are encrypted with, one for each user and month, so that they can be
    /// erased (`northgate audit erase`). Without it they are in the records as they were written.
    pub text_keys: Option<PathBuf>,
    /// The groups whose members read the audit in a browser; without any, nobody does.
    pub auditors: BTreeSet<String>,
    /// The bucket that the log is copied to; none: it is not.
    pub s3: Option<s3::Config>,
    /// Who else signs checkpoints, when they have seen that the log only grew.
    pub witness: Vec<witness::Config>,
    /// How many of them must have signed a checkpoint that is kept as cosigned; all, if it is not said.
    pub witnesses_needed: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("audit"),
            file_size: ByteSize(256_000_000),
            timeout: Span(Duration::from_secs(10)),
            in_flight: ByteSize(64_000_000),
            kept: ByteSize(64_000_000),
            record_size: ByteSize(16_000_000),
            origin: "northgate".to_owned(),
            key_file: None,
            checkpoint_every: Span(Duration::from_secs(5)),
            folder_size: ByteSize(0),
            immutable: false,
            text_keys: None,
            auditors: BTreeSet::new(),
            s3: None,
            witness: Vec::new(),
            witnesses_needed: None,
        }
    }
}

impl Config {
    /// Where the key is.
    pub(super) fn key(&self) -> secret::Source {
        self.key_file.clone().unwrap_or_else(|| self.folder.with_extension("key").into())
    }
}
