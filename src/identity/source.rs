//! Where an issuer's keys come from.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::fetch::Fetch;
use super::fresh::{Fresh, Origin, PAUSE, Rhythm};
use super::keys::KeySet;

/// How long a token waits for keys that are being fetched; longer than a fetch may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Largest key file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where keys are.
pub(super) enum Place {
    /// A file in JWK Set form.
    File(PathBuf),
    /// A URL.
    Url(Box<Fetch>),
}

struct Keys {
    issuer: String,
    place: Place,
}

impl Origin for Keys {
    type Value = KeySet;

    fn name(&self) -> &str {
        &self.issuer
    }

    async fn read(&self) -> Result<KeySet, String> {
        match &self.place {
            Place::File(path) => {
                let failed = |error: std::io::Error| format!("{}: {error}", path.display());
                let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
                if length > MAX_FILE {
                    return Err(format!("{}: larger than 1 MiB", path.display()));
                }
                KeySet::parse(&tokio::fs::read(path).await.map_err(failed)?)
            }
            Place::Url(fetch) => KeySet::parse(&fetch.fetch().await?),
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

/// An issuer's keys.
pub(super) struct Source(Fresh<KeySet>);

impl Source {
    /// Starts to fetch. Needs a tokio runtime; the task ends with the value.
    pub(super) fn start(issuer: String, place: Place, refresh: Duration, keep: Duration) -> Self {
        Self(Fresh::start(Keys { issuer, place }, Rhythm { refresh, keep, pause: PAUSE }))
    }

    /// Asks for the keys to be fetched soon.
    pub(super) fn refresh(&self) {
        self.0.refresh();
    }

    /// The key for a token of this header; waits for a fetch where one can help.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        if let Ok(key) = self.look(id, algorithm) {
            return Ok(key);
        }
        self.0.read_again(PATIENCE).await;
        self.look(id, algorithm)
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let keys = self.0.known().map_err(NoKey::Unavailable)?;
        keys.find(id, algorithm).cloned().ok_or(NoKey::Unknown)
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
        source.0.changed().await;
    }

    #[tokio::test]
    async fn waits_for_the_first_fetch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Place::File(path), MINUTE, DAY);
        assert_eq!(has(&source, "one").await, Ok(()));
        assert_eq!(has(&source, "two").await, Err(NoKey::Unknown), "and not fetched again at once");
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_a_broken_set_keeps_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Place::File(path.clone()), DAY, DAY);
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
        let source = Source::start("i".into(), Place::File(folder.path().join("none.json")), MINUTE, DAY);
        let Err(NoKey::Unavailable(why)) = has(&source, "one").await else { panic!("unavailable") };
        assert!(why.contains("none.json"), "{why}");
    }

    #[tokio::test]
    async fn old_keys_are_not_believed_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, ONE).expect("written");
        let source = Source::start("i".into(), Place::File(path.clone()), DAY, MINUTE);
        assert_eq!(has(&source, "one").await, Ok(()));
        std::fs::remove_file(&path).expect("removed");
        tokio::time::pause();
        tokio::time::advance(MINUTE).await;
        let gone = has(&source, "one").await;
        assert!(matches!(gone, Err(NoKey::Unavailable(_))), "{gone:?}");
    }
}
