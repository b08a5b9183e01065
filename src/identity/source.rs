//! Where an issuer's keys come from, and how they stay fresh.
//!
//! One task per issuer fetches: at start, each `refresh`, soon again after a failure, and when a token names
//! a key that is not there, though not more often than each ten seconds, whoever asks. It publishes snapshots;
//! nobody holds a lock while it waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::fetch::Fetch;
use super::keys::KeySet;

/// The shortest time between two fetches.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest time between a failed fetch and the next.
const RETRY: Duration = Duration::from_secs(30);
/// How long a token waits for keys that are being fetched; longer than a fetch may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Largest key file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where keys are.
pub(super) enum Origin {
    /// A file in JWK Set form.
    File(PathBuf),
    /// A URL.
    Url(Box<Fetch>),
}

impl Origin {
    async fn load(&self) -> Result<KeySet, String> {
        match self {
            Self::File(path) => {
                let failed = |error: std::io::Error| format!("{}: {error}", path.display());
                let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
                if length > MAX_FILE {
                    return Err(format!("{}: larger than 1 MiB", path.display()));
                }
                KeySet::parse(&tokio::fs::read(path).await.map_err(failed)?)
            }
            Self::Url(fetch) => KeySet::parse(&fetch.fetch().await?),
        }
    }
}

/// Why there is no key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has none such.
    Unknown,
    /// The issuer's keys are not known at the moment.
    Unavailable(String),
}

/// What is known of the keys.
#[derive(Clone, Default)]
struct Snapshot {
    keys: Option<Arc<KeySet>>,
    fetched: Option<Instant>,
    attempted: Option<Instant>,
    error: Option<String>,
}

/// An issuer's keys.
pub(super) struct Source {
    known: watch::Receiver<Snapshot>,
    wanted: Arc<Notify>,
    keep: Duration,
    _task: AbortOnDropHandle<()>,
}

impl Source {
    /// Starts to fetch. Needs a tokio runtime; the task ends with the value.
    pub(super) fn start(issuer: String, origin: Origin, refresh: Duration, keep: Duration) -> Self {
        let (publish, known) = watch::channel(Snapshot::default());
        let wanted = Arc::new(Notify::new());
        let task = tokio::spawn(keep_fresh(issuer, origin, refresh, publish, Arc::clone(&wanted)));
        Self { known, wanted, keep, _task: AbortOnDropHandle::new(task) }
    }

    /// Asks for the keys to be fetched soon.
    pub(super) fn refresh(&self) {
        self.wanted.notify_one();
    }

    /// The key for a token of this header; waits for a fetch where one can help.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let mut known = self.known.clone();
        let before = known.borrow_and_update().clone();
        let miss = match self.look(&before, id, algorithm) {
            Ok(key) => return Ok(key),
            Err(miss) => miss,
        };
        if before.attempted.is_some_and(|attempted| attempted.elapsed() < PAUSE) {
            return Err(miss);
        }
        self.wanted.notify_one();
        match tokio::time::timeout(PATIENCE, known.changed()).await {
            Ok(Ok(())) => {
                let after = known.borrow().clone();
                self.look(&after, id, algorithm)
            }
            Ok(Err(_)) | Err(_) => Err(miss),
        }
    }

    fn look(
        &self,
        snapshot: &Snapshot,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, NoKey> {
        let fresh = snapshot.fetched.is_some_and(|fetched| fetched.elapsed() < self.keep);
        match &snapshot.keys {
            Some(keys) if fresh => keys.find(id, algorithm).cloned().ok_or(NoKey::Unknown),
            _ => Err(NoKey::Unavailable(
                snapshot.error.clone().unwrap_or_else(|| "not fetched yet".to_owned()),
            )),
        }
    }
}

async fn keep_fresh(
    issuer: String,
    origin: Origin,
    refresh: Duration,
    publish: watch::Sender<Snapshot>,
    wanted: Arc<Notify>,
) {
    loop {
        let outcome = origin.load().await;
        let now = Instant::now();
        let next = match &outcome {
            Ok(keys) => {
                tracing::debug!(issuer, keys = keys.len(), "fetched the issuer's keys");
                refresh.max(PAUSE)
            }
            Err(error) => {
                tracing::warn!(issuer, error, "cannot fetch the issuer's keys; the last ones stay in force");
                refresh.clamp(PAUSE, RETRY)
            }
        };
        publish.send_modify(|snapshot| {
            snapshot.attempted = Some(now);
            match outcome {
                Ok(keys) => {
                    snapshot.keys = Some(Arc::new(keys));
                    snapshot.fetched = Some(now);
                    snapshot.error = None;
                }
                Err(error) => snapshot.error = Some(error),
            }
        });
        tokio::select! {
            () = tokio::time::sleep_until(now + next) => {}
            () = wanted.notified() => tokio::time::sleep_until(now + PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"one","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    async fn has(source: &Source, id: &str) -> Result<(), NoKey> {
        source.find(Some(id), Algorithm::ES256).await.map(|_| ())
    }

    /// Lets file reads, which run on another thread, end before the paused clock moves on.
    async fn settle(source: &Source) {
        let mut known = source.known.clone();
        let _ = known.changed().await;
    }

    #[tokio::test]
    async fn waits_for_the_first_fetch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Origin::File(path), MINUTE, DAY);
        assert_eq!(has(&source, "one").await, Ok(()));
        assert_eq!(has(&source, "two").await, Err(NoKey::Unknown), "and not fetched again at once");
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_a_broken_set_keeps_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Origin::File(path.clone()), DAY, DAY);
        assert_eq!(has(&source, "one").await, Ok(()));
        tokio::time::pause();
        std::fs::write(&path, ONE.replace("\"one\"", "\"two\"")).expect("written");
        tokio::time::advance(PAUSE).await;
        source.refresh();
        settle(&source).await;
        assert_eq!(has(&source, "two").await, Ok(()));
        assert_eq!(has(&source, "one").await, Err(NoKey::Unknown));
        std::fs::write(&path, "<html>").expect("written");
        tokio::time::advance(PAUSE).await;
        source.refresh();
        settle(&source).await;
        assert_eq!(has(&source, "two").await, Ok(()), "the old keys stay");
    }

    #[tokio::test]
    async fn no_keys_is_not_the_same_as_an_unknown_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Source::start("i".into(), Origin::File(folder.path().join("none.json")), MINUTE, DAY);
        let Err(NoKey::Unavailable(why)) = has(&source, "one").await else { panic!("unavailable") };
        assert!(why.contains("none.json"), "{why}");
    }

    #[tokio::test]
    async fn old_keys_are_not_believed_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Origin::File(path.clone()), DAY, MINUTE);
        assert_eq!(has(&source, "one").await, Ok(()));
        std::fs::remove_file(&path).expect("removed");
        tokio::time::pause();
        tokio::time::advance(MINUTE).await;
        let gone = has(&source, "one").await;
        assert!(matches!(gone, Err(NoKey::Unavailable(_))), "{gone:?}");
    }
}
