//! What another server says of itself, and how that stays fresh: an issuer's keys, the metadata of identity providers.
//!
//! One task for each reads: at start, each `refresh`, soon again after a failure, and when somebody found that something
//! is not in it, though not more often than each `pause`, whoever asks. It publishes what it read; nobody holds a lock while
//! it waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The shortest time between two reads, where it is not another.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// The longest time between a failed read and the next.
const RETRY: Duration = Duration::from_secs(30);

/// Where something is read.
pub(super) trait Origin: Send + Sync + 'static {
    /// What is made of it.
    type Value: Send + Sync + 'static;

    /// What it is called in the log.
    fn name(&self) -> &str;

    /// Reads it; an error is in words.
    fn read(&self) -> impl Future<Output = Result<Self::Value, String>> + Send;
}

/// How often something is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// The time between two reads that went well.
    pub(super) refresh: Duration,
    /// How long what was read last is believed.
    pub(super) keep: Duration,
    /// The shortest time between two reads.
    pub(super) pause: Duration,
}

/// What was last read.
struct Snapshot<T> {
    value: Option<Arc<T>>,
    read: Option<Instant>,
    attempted: Option<Instant>,
    error: Option<String>,
}

/// Something that stays fresh.
pub(super) struct Fresh<T> {
    snapshot: watch::Receiver<Snapshot<T>>,
    wanted: Arc<Notify>,
    rhythm: Rhythm,
    _task: AbortOnDropHandle<()>,
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Starts to read. Needs a tokio runtime; the task ends with the value.
    pub(super) fn start(origin: impl Origin<Value = T>, rhythm: Rhythm) -> Self {
        let (publish, snapshot) =
            watch::channel(Snapshot { value: None, read: None, attempted: None, error: None });
        let wanted = Arc::new(Notify::new());
        let task = tokio::spawn(keep(origin, rhythm, publish, Arc::clone(&wanted)));
        Self { snapshot, wanted, rhythm, _task: AbortOnDropHandle::new(task) }
    }

    /// Asks for it to be read soon.
    pub(super) fn refresh(&self) {
        self.wanted.notify_one();
    }

    /// Waits until it was tried to read it once.
    pub(super) async fn tried(&self) {
        // The sender lives as long as the task, which lives as long as this.
        let _ = self.snapshot.clone().wait_for(|snapshot| snapshot.attempted.is_some()).await;
    }

    /// Waits for it to be read again, no longer than `patience`; not at all if it was tried just now.
    pub(super) async fn read_again(&self, patience: Duration) {
        let mut snapshot = self.snapshot.clone();
        let attempted = snapshot.borrow_and_update().attempted;
        if attempted.is_none_or(|attempted| attempted.elapsed() >= self.rhythm.pause) {
            self.wanted.notify_one();
            let _ = tokio::time::timeout(patience, snapshot.changed()).await;
        }
    }

    /// Waits for the next read to end.
    #[cfg(test)]
    pub(super) async fn changed(&self) {
        let _ = self.snapshot.clone().changed().await;
    }

    /// What was read last, or why there is nothing that is believed.
    pub(super) fn known(&self) -> Result<Arc<T>, String> {
        let snapshot = self.snapshot.borrow();
        let is_fresh = snapshot.read.is_some_and(|read| read.elapsed() < self.rhythm.keep);
        match &snapshot.value {
            Some(value) if is_fresh => Ok(Arc::clone(value)),
            Some(_) => Err(match &snapshot.error {
                Some(why) => format!("what was read last is too old: {why}"),
                None => "what was read last is too old".to_owned(),
            }),
            None => Err(snapshot.error.clone().unwrap_or_else(|| "not read yet".to_owned())),
        }
    }
}

async fn keep<O: Origin>(
    origin: O,
    rhythm: Rhythm,
    publish: watch::Sender<Snapshot<O::Value>>,
    wanted: Arc<Notify>,
) {
    let name = origin.name();
    loop {
        let outcome = origin.read().await;
        let now = Instant::now();
        let next = match &outcome {
            Ok(_) => {
                tracing::debug!(name, "read what an identity provider says of itself");
                rhythm.refresh
            }
            Err(error) => {
                tracing::warn!(
                    name,
                    error,
                    "cannot read what an identity provider says of itself; what it said last stays in force"
                );
                rhythm.refresh.min(RETRY)
            }
        };
        publish.send_modify(|snapshot| {
            snapshot.attempted = Some(now);
            match outcome {
                Ok(value) => {
                    snapshot.value = Some(Arc::new(value));
                    snapshot.read = Some(now);
                    snapshot.error = None;
                }
                Err(error) => snapshot.error = Some(error),
            }
        });
        tokio::select! {
            () = tokio::time::sleep_until(now + next.max(rhythm.pause)) => {}
            () = wanted.notified() => tokio::time::sleep_until(now + rhythm.pause).await,
        }
    }
}
