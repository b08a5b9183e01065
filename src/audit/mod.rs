//! The record of who asked what, and what became of it.
//!
//! JSON Lines in a folder, written by one thread with group commit. **An intent is durable before Trino sees
//! its query, and a query whose intent can't be written is refused**; the outcome follows, and every other
//! event beside them. While the disk is full or broken, outcomes and events wait in memory (bounded: each
//! query takes the room for its outcome when it begins), are tried again, and are preceded by a `gap` record
//! that says how long the journal was blind and whether anything was lost.
//!
//! Behind the writer, a second thread puts what is durable into a Merkle tree in the layout of c2sp.org/tlog-tiles, and
//! signs a checkpoint every few seconds (`sealer`). What it has covered leaves the journal. Whoever has the verifier key
//! can verify a copy of the folder ([`verify`]).
//!
//! A third one shows the checkpoints to witnesses, who sign them too (`witness`), if there are some.
//!
//! A fourth one copies what is sealed to a bucket with Object Lock (`mirror`), if there is one.
//!
//! Where it is asked for, texts of queries are encrypted under keys that can be destroyed (`shred`).
//!
//! What auditors take out of it, with proofs, is made by [`take`].

mod auditors;
mod clock;
mod config;
mod entry;
mod error;
mod folder;
mod guard;
pub mod inbox;
pub mod index;
mod mirror;
mod note;
mod partition;
mod progress;
mod proof;
mod reader;
mod record;
pub mod s3;
pub mod schema;
mod sealer;
mod shared;
mod shelf;
pub mod shred;
pub mod take;
#[cfg(test)]
mod tests;
mod tree;
pub mod verify;
pub mod witness;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Failure as _;
use crate::units::ByteSize;
#[cfg(test)]
use crate::units::Span;

pub use auditors::Auditors;
pub use config::Config;
pub use error::AuditError;
pub use guard::Guard;
pub use note::{Head, NoteError, Verifier};
pub use record::{Asked, Asker, Basis, Cached, Event, Intent, Outcome, Read, Reason, SCHEMA_VERSION, State};
pub use sealer::Unfinished;
pub use shared::Status;

use folder::{Folder, Store};
use mirror::Mirror;
use note::Key;
use progress::Progress;
use record::Body;
use sealer::{Parts, Sealer, Stop};
use shared::{Line, PIECE, Shared};
use shelf::Shelf;
use shred::{Author, TextKey, TextKeys};
use witness::Witnesses;
use writer::{Item, Message, Waiter, Writer};

/// Witnesses are asked this often at most.
const WITNESSED: Duration = Duration::from_secs(1);

/// What the checkpoints of this configuration's log are verified with.
///
/// # Errors
/// There is no key file yet, or it can't be read.
pub fn verifier(config: &Config) -> Result<String, NoteError> {
    Ok(Key::open(&config.key(), &config.origin, false)?.verifier().to_owned())
}

/// What Trino knows of a query whose outcome is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Trino's id of it.
    pub trino_query: Option<String>,
    /// Its state at Trino.
    pub trino_state: Option<String>,
    /// Trino's error.
    pub error: Option<String>,
}

/// The audit. Dropped, it writes what is queued; [`Audit::close`] also says whether that worked.
pub struct Audit {
    line: Line,
    record_bytes: u64,
    sealer: Option<std::sync::mpsc::Sender<Stop>>,
    mirror: Option<std::sync::mpsc::Sender<Stop>>,
    witnesses: Option<std::sync::mpsc::Sender<Stop>>,
    unfinished: Vec<Unfinished>,
    folder: PathBuf,
    text_keys: Option<Arc<TextKeys>>,
    verifier: String,
}

impl Audit {
    /// Opens the folder, holds the log in it against its last checkpoint, begins a new file, and starts the threads that
    /// write and seal.
    pub fn open(config: &Config) -> Result<Self, AuditError> {
        let (folder, stretches) = Folder::open(&config.folder)?;
        let shelf = Shelf::new(&config.folder);
        let begun = shelf::Source::read(&shelf, shelf::CHECKPOINT)
            .map_err(|source| AuditError::Folder { path: config.folder.clone(), source })?
            .is_some();
        let key = Key::open(&config.key(), &config.origin, !begun).map_err(AuditError::Checkpoint)?;
        let verifier = key.verifier().to_owned();
        let entry = config.s3.as_ref().map(|s3| index::entry(&key, &s3.prefix)).transpose();
        let entry = entry.map_err(AuditError::Checkpoint)?;
        let progress = Arc::new(Progress::new(stretches));
        let shared = Self::shared(config)?;
        let sealer = Sealer::resume(Parts {
            shelf,
            key,
            progress: Arc::clone(&progress),
            shared: Arc::clone(&shared),
            every: config.checkpoint_every.0,
            most: config.folder_size.0,
            immutable: config.immutable,
            lock: folder.lock(),
        })?;
        let copied = config.s3.as_ref().map(|s3| {
            let shelf = Shelf::new(&config.folder);
            let entry = entry.as_deref().unwrap_or_default();
            Mirror::new(s3, shelf, &verifier, entry, Arc::clone(&shared)).map_err(AuditError::Copy)
        });
        let copied = copied.transpose()?;
        let witnesses = (!config.witness.is_empty()).then(|| {
            let (shelf, shared) = (Shelf::new(&config.folder), Arc::clone(&shared));
            let (needed, every) = (config.witnesses_needed, config.checkpoint_every.0.max(WITNESSED));
            Witnesses::new(&config.witness, needed, every, shelf, &verifier, shared)
                .map_err(AuditError::Witness)
        });
        let witnesses = witnesses.transpose()?;
        let mut audit = Self::with(Box::new(folder), config, shared, progress)?;
        audit.unfinished = sealer.unfinished();
        audit.verifier = verifier;
        audit.sealer = Some(thread("audit-seal", move |inbox| sealer.run(inbox))?);
        if let Some(witnesses) = witnesses {
            audit.witnesses = Some(thread("audit-witness", move |inbox| witnesses.run(inbox))?);
        }
        if let Some(mirror) = copied {
            audit.mirror = Some(thread("audit-copy", move |inbox| mirror.run(inbox))?);
        }
        Ok(audit)
    }

    #[cfg(test)]
    fn with_store(store: Box<dyn Store>, config: &Config) -> Result<Self, AuditError> {
        Self::with(store, config, Self::shared(config)?, Arc::new(Progress::default()))
    }

    fn shared(config: &Config) -> Result<Arc<Shared>, AuditError> {
        if config.in_flight.0 < config.record_size.0 || config.kept.0 < config.record_size.0 {
            return Err(AuditError::Config(
                "in_flight and kept must each hold at least one record of record_size",
            ));
        }
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        Shared::new(bytes(config.in_flight), bytes(config.kept), config.timeout.0)
            .map(Arc::new)
            .map_err(|_| AuditError::Start(io::Error::other("no random numbers")))
    }

    fn with(
        store: Box<dyn Store>,
        config: &Config,
        shared: Arc<Shared>,
        progress: Arc<Progress>,
    ) -> Result<Self, AuditError> {
        let writer = Writer::new(store, Arc::clone(&shared), progress, config.file_size.0)
            .map_err(|source| AuditError::Folder { path: config.folder.clone(), source })?;
        // The channel has no bound of its own: whatever is put in it holds room in memory that was counted.
        let (sender, inbox) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(AuditError::Start)?;
        Ok(Self {
            line: Line { shared, sender },
            record_bytes: config.record_size.0,
            sealer: None,
            mirror: None,
            witnesses: None,
            unfinished: Vec::new(),
            folder: config.folder.clone(),
            text_keys: config
                .text_keys
                .as_deref()
                .map(TextKeys::open)
                .transpose()
                .map_err(AuditError::TextKey)?
                .map(Arc::new),
            verifier: String::new(),
        })
    }

    /// What the checkpoints of this log are verified with.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The queries of earlier runs whose outcome is not on record: the process was killed while they ran.
    pub fn unfinished(&self) -> &[Unfinished] {
        &self.unfinished
    }

    /// Records what is known of a query of [`Audit::unfinished`]: it is then no more.
    pub async fn settle(&self, unfinished: &Unfinished, found: Option<Found>) -> Result<(), AuditError> {
        let Found { trino_query, trino_state, error } = found.unwrap_or_default();
        let Unfinished { query, run, .. } = unfinished;
        self.record(&Event::Unknown {
            query: query.clone(),
            state: State::Unknown,
            of_run: run.clone(),
            trino_query,
            trino_state,
            error,
        })
        .await
    }

    /// Records that a query is about to be sent to Trino. When this returns `Ok` the record is durable; when it
    /// returns an error, or is dropped, the query must not be sent, and the journal says that it was not.
    pub async fn intend(&self, mut intent: Intent) -> Result<Guard, AuditError> {
        let shared = &self.line.shared;
        let made = match self.text_key(|| Author::of(&intent.asker)).await {
            Ok(None) => self.intend_inner(&intent).await,
            key => {
                // Also where there is no key: then the texts are left out of the record of the refusal.
                shred::intent(key.as_ref().ok().and_then(Option::as_deref), &mut intent);
                match key {
                    Ok(_) => self.intend_inner(&intent).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = &made {
            shared.count_refused();
            let reason = Reason { reason: error.kind().to_owned(), detail: error.to_string() };
            let Intent { query, asker, asked, .. } = intent;
            // What is to be sealed of it is.
            if let Err(error) = self.queue(&Event::Refused { query, asker, asked, reason }, None) {
                tracing::error!(%error, "an audit record was not kept");
            }
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
        match shred::author(event) {
            Some(author) if self.text_keys.is_some() => {
                let key = self.text_key(|| author).await.inspect_err(|error| {
                    tracing::error!(%error, "the texts of a refusal are left out of its record");
                });
                self.queue(&sealed(key.ok().flatten().as_deref(), event), Some(reply))?;
            }
            _ => self.queue(event, Some(reply))?,
        }
        let patience = self.line.shared.patience();
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(AuditError::Unavailable),
            Err(_) => Err(AuditError::Slow(patience)),
        }
    }

    /// Queues an event without waiting for it.
    pub fn keep(&self, event: &Event) {
        let queued = match (shred::author(event), &self.text_keys) {
            (Some(author), Some(keys)) => self.queue(&sealed(keys.known(&author).as_deref(), event), None),
            _ => self.queue(event, None),
        };
        if let Err(error) = queued {
            tracing::error!(%error, "an audit record was not kept");
        }
    }

    /// The key for what somebody writes, made where there is none; none where texts are not sealed.
    async fn text_key(&self, author: impl FnOnce() -> Author) -> Result<Option<Arc<TextKey>>, AuditError> {
        let Some(keys) = &self.text_keys else { return Ok(None) };
        let author = author();
        if let Some(key) = keys.known(&author) {
            return Ok(Some(key));
        }
        let keys = Arc::clone(keys);
        let patience = self.line.shared.patience();
        let made = tokio::task::spawn_blocking(move || keys.made(&author));
        match tokio::time::timeout(patience, made).await {
            Ok(Ok(made)) => made.map(Some).map_err(AuditError::TextKey),
            Ok(Err(error)) => Err(AuditError::TextKey(io::Error::other(error))),
            Err(_) => Err(AuditError::Slow(patience)),
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

    /// This moment, by the clock of the records: microseconds since the run began.
    pub fn tick_us(&self) -> u64 {
        self.line.shared.tick_us()
    }

    /// A value that may not be on record, as a word for it: `hmac-sha256:` and a hash. Nobody has the key, which is another
    /// for each run.
    pub fn conceal(&self, value: &str) -> String {
        self.line.shared.conceal(value)
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
        let patience = self.line.shared.patience().max(Duration::from_secs(5));
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(0)) => self.seal(patience).await,
            Ok(Ok(left)) => Err(AuditError::Left(left)),
            Ok(Err(_)) => Err(AuditError::Unavailable),
            Err(_) => Err(AuditError::Slow(self.line.shared.patience())),
        }
    }

    /// The last checkpoint.
    async fn seal(&self, patience: Duration) -> Result<(), AuditError> {
        let Some(sealer) = &self.sealer else { return Ok(()) };
        ended(sealer, patience).await?;
        if let Some(witnesses) = &self.witnesses
            && let Err(error) = ended(witnesses, patience).await
        {
            tracing::warn!(%error, "the last checkpoint of the audit is not cosigned yet");
        }
        let Some(mirror) = &self.mirror else { return Ok(()) };
        if let Err(error) = ended(mirror, patience).await {
            // It is on this disk, and is copied after the next start.
            tracing::warn!(%error, "the end of the audit is not copied yet");
        }
        Ok(())
    }
}

/// An event whose texts are sealed.
fn sealed(key: Option<&TextKey>, event: &Event) -> Event {
    let mut event = event.clone();
    shred::event(key, &mut event);
    event
}

/// Begins a thread that runs until it is told to stop.
fn thread(
    name: &str,
    run: impl FnOnce(&std::sync::mpsc::Receiver<Stop>) + Send + 'static,
) -> Result<std::sync::mpsc::Sender<Stop>, AuditError> {
    let (stop, inbox) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(&inbox)).map_err(AuditError::Start)?;
    Ok(stop)
}

/// Ends a thread, which says whether it did what it had to.
async fn ended(thread: &std::sync::mpsc::Sender<Stop>, patience: Duration) -> Result<(), AuditError> {
    let (reply, answer) = oneshot::channel();
    thread.send(Stop(reply)).map_err(|_| AuditError::Unavailable)?;
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(true)) => Ok(()),
        Ok(_) => Err(AuditError::Unavailable),
        Err(_) => Err(AuditError::Slow(patience)),
    }
}
