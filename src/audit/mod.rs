//! The record of who asked what, and what became of it.
//!
//! JSON Lines in a folder, written by one thread with group commit. **An intent is durable before Trino sees
//! its query, and a query whose intent can't be written is refused**; the outcome follows, and every other
//! event beside them. While the disk is full or broken, outcomes and events wait in memory (bounded: each
//! query takes the room for its outcome when it begins), are tried again, and are preceded by a `gap` record
//! that says how long the journal was blind and whether anything was lost.
//!
//! What is not here yet: the Merkle tree over the records, other sinks, export and search.

mod clock;
mod folder;
mod guard;
mod record;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::oneshot;

use crate::error::{ErrorCode, Failure};
use crate::units::{ByteSize, Span};

pub use guard::Guard;
pub use record::{Asked, Asker, Basis, Event, Intent, Outcome, Reason, SCHEMA_VERSION, State};
pub use shared::Status;

use folder::{Folder, Store};
use record::Body;
use shared::{Line, PIECE, Shared};
use writer::{Item, Message, Waiter, Writer};

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
        }
    }
}

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
    /// Another process writes to the folder.
    #[error("another process uses the audit folder {path}")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The writer could not be started.
    #[error("the audit could not be started: {0}")]
    Start(io::Error),
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
            Self::Start(_) | Self::Config(_) => "audit_start",
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

/// The audit. Dropped, it writes what is queued; [`Audit::close`] also says whether that worked.
pub struct Audit {
    line: Line,
    record_bytes: u64,
}

impl Audit {
    /// Opens the folder, begins a new file, and starts the writer.
    pub fn open(config: &Config) -> Result<Self, AuditError> {
        Self::with_store(Box::new(Folder::open(&config.folder)?), config)
    }

    fn with_store(store: Box<dyn Store>, config: &Config) -> Result<Self, AuditError> {
        if config.in_flight.0 < config.record_size.0 || config.kept.0 < config.record_size.0 {
            return Err(AuditError::Config(
                "in_flight and kept must each hold at least one record of record_size",
            ));
        }
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let shared = Shared::new(bytes(config.in_flight), bytes(config.kept), config.timeout.0)
            .map_err(|_| AuditError::Start(io::Error::other("no random numbers")))?;
        let shared = Arc::new(shared);
        let writer = Writer::new(store, Arc::clone(&shared), config.file_size.0)
            .map_err(|source| AuditError::Folder { path: config.folder.clone(), source })?;
        // The channel has no bound of its own: whatever is put in it holds room in memory that was counted.
        let (sender, inbox) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(AuditError::Start)?;
        Ok(Self { line: Line { shared, sender }, record_bytes: config.record_size.0 })
    }

    /// Records that a query is about to be sent to Trino. When this returns `Ok` the record is durable; when it
    /// returns an error, or is dropped, the query must not be sent, and the journal says that it was not.
    pub async fn intend(&self, intent: Intent) -> Result<Guard, AuditError> {
        let shared = &self.line.shared;
        let made = self.intend_inner(&intent).await;
        if let Err(error) = &made {
            shared.count_refused();
            let reason = Reason { reason: error.kind().to_owned(), detail: error.to_string() };
            let Intent { query, asker, asked, .. } = intent;
            self.keep(&Event::Refused { query, asker, asked, reason });
        }
        made
    }

    async fn intend_inner(&self, intent: &Intent) -> Result<Guard, AuditError> {
        let shared = &self.line.shared;
        if !shared.healthy() {
            return Err(AuditError::Unavailable);
        }
        let body = self.bounded(Body::intent(shared.tick_us(), intent)?)?;
        let owed = shared.kept(PIECE).ok_or(AuditError::Full)?;
        let place = tokio::time::timeout(shared.patience(), shared.in_flight(body.len()));
        let Ok(Some(room)) = place.await else {
            return Err(AuditError::Slow(shared.patience()));
        };
        let guard = Guard::new(self.line.clone(), intent.query.clone(), owed);
        let (reply, answer) = oneshot::channel();
        let item = Item { body, room, waiter: Waiter::Intent(reply) };
        if self.line.sender.send(Message::Write(item)).is_err() {
            guard.disarm();
            return Err(AuditError::Unavailable);
        }
        // From here on the intent may be written: dropped, or late, the query is recorded as ended.
        match tokio::time::timeout(shared.patience(), answer).await {
            Ok(Ok(true)) => Ok(guard),
            Ok(_) => {
                guard.disarm();
                Err(AuditError::Unavailable)
            }
            Err(_) => {
                let late = AuditError::Slow(shared.patience());
                guard.finish(&Outcome::failed("AUDIT_SLOW", late.to_string()));
                Err(late)
            }
        }
    }

    /// Records an event; durable when this returns `Ok`. On an error it is kept in memory and written when the
    /// journal can be written again, except for [`AuditError::Full`] and [`AuditError::TooLarge`], which are
    /// counted, and the count is recorded.
    pub async fn record(&self, event: &Event) -> Result<(), AuditError> {
        let (reply, answer) = oneshot::channel();
        self.queue(event, Some(reply))?;
        let patience = self.line.shared.patience();
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(AuditError::Unavailable),
            Err(_) => Err(AuditError::Slow(patience)),
        }
    }

    /// Queues an event without waiting for it.
    pub fn keep(&self, event: &Event) {
        if let Err(error) = self.queue(event, None) {
            tracing::error!(%error, "an audit record was not kept");
        }
    }

    /// Counts something that is not recorded by itself because there is too much of it; the number is.
    pub fn pass_over(&self) {
        self.line.shared.count_lost();
    }

    fn queue(&self, event: &Event, reply: Option<oneshot::Sender<bool>>) -> Result<(), AuditError> {
        let shared = &self.line.shared;
        let queued =
            Body::event(shared.tick_us(), event).and_then(|body| self.bounded(body)).and_then(|body| {
                let room = shared.kept(body.len()).ok_or(AuditError::Full)?;
                let item = Item { body, room, waiter: Waiter::Kept(reply) };
                self.line.sender.send(Message::Write(item)).map_err(|_| AuditError::Unavailable)
            });
        if queued.is_err() {
            shared.count_lost();
        }
        queued
    }

    fn bounded(&self, body: Body) -> Result<Body, AuditError> {
        let bytes = body.len();
        if bytes as u64 > self.record_bytes {
            return Err(AuditError::TooLarge { bytes, most: self.record_bytes });
        }
        Ok(body)
    }

    /// Whether queries can be recorded now.
    pub fn healthy(&self) -> bool {
        self.line.shared.healthy()
    }

    /// How the journal is.
    pub fn status(&self) -> Status {
        self.line.shared.status()
    }

    /// Writes `stop` and everything before it, and ends the writer. Outcomes of guards that are still alive come
    /// too late, so this is for the end of the drain.
    pub async fn close(&self) -> Result<(), AuditError> {
        self.keep(&Event::Stop {});
        let (reply, answer) = oneshot::channel();
        self.line.sender.send(Message::Close(reply)).map_err(|_| AuditError::Unavailable)?;
        match tokio::time::timeout(self.line.shared.patience().max(Duration::from_secs(5)), answer).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(left)) => Err(AuditError::Left(left)),
            Ok(Err(_)) => Err(AuditError::Unavailable),
            Err(_) => Err(AuditError::Slow(self.line.shared.patience())),
        }
    }
}
