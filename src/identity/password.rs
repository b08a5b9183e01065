//! Passwords: argon2id, checked off the async threads, few at a time, and not again for a while when right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::{PasswordHashString, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::error::{Cause, Refused, SetupError};
use crate::secret::Secret;
use crate::telemetry::Metrics;

/// Longest password that is looked at, in bytes.
const MAX_PASSWORD: usize = 1024;
/// Most checks that may wait for their turn; more are refused.
const MAX_WAITING: usize = 256;
/// Most passwords remembered as right.
const MAX_REMEMBERED: u64 = 10_000;
/// The memory that a hash of the users file may ask for, in KiB: 256 MiB.
const MAX_MEMORY: u32 = 256 * 1024;
/// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash in PHC form, known to be argon2id of a sane cost.
#[derive(Clone)]
pub(super) struct PasswordHash(PasswordHashString);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    /// In PHC form.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "not an argon2id hash; make one with `northgate user add`";
        let hash = PasswordHashString::new(text).map_err(|_| wrong)?;
        let parsed = hash.password_hash();
        if parsed.algorithm != Algorithm::Argon2id.ident()
            || parsed.version.is_some_and(|version| version != Version::V0x13 as u32)
            || parsed.salt.is_none()
            || parsed.hash.is_none_or(|hash| hash.len() < 16)
        {
            return Err(wrong);
        }
        let params = Params::try_from(&parsed).map_err(|_| wrong)?;
        if params.m_cost() > MAX_MEMORY || params.t_cost() > 16 || params.p_cost() > 16 {
            return Err("costs more than Northgate allows: at most m=262144, t=16, p=16");
        }
        if params.m_cost() < 7_168 {
            return Err("is too cheap to be safe: at least m=7168");
        }
        Ok(Self(hash))
    }

    fn holds(&self, password: &str) -> bool {
        Argon2::default().verify_password(password.as_bytes(), &self.0.password_hash()).is_ok()
    }

    fn text(&self) -> &str {
        self.0.as_str()
    }
}

/// Hashes a password for the users file (argon2id, OWASP's parameters, a random salt), in PHC form.
///
/// An empty password, or one longer than 1024 bytes, is an error.
pub fn hash_password(password: &Secret<String>) -> Result<String, SetupError> {
    let wrong = |message: &str| SetupError::Hash(message.to_owned());
    if password.expose().is_empty() {
        return Err(wrong("it is empty"));
    }
    if password.expose().len() > MAX_PASSWORD {
        return Err(wrong("it is longer than 1024 bytes"));
    }
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| wrong("no random numbers"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| wrong(&error.to_string()))?;
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|error| wrong(&error.to_string()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.expose().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| wrong(&error.to_string()))
}

/// A hash that costs what others cost, and that no password is known for. To make one of a password would take its memory at
/// each start.
fn hash_of_nobody() -> Result<String, SetupError> {
    let mut random = [0; 48];
    rand::fill(&mut random).map_err(|_| SetupError::Hash("no random numbers".to_owned()))?;
    let (salt, output) = random.split_at(16);
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${output}"))
}

/// Checks passwords.
pub(super) struct Checker {
    /// Keys the memory of right passwords; of this process alone.
    key: hmac::Key,
    right: Cache<[u8; 32], ()>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// What an unknown user is checked against when there is no user to borrow the cost of.
    nobody: PasswordHash,
    metrics: Arc<Metrics>,
}

impl Checker {
    pub(super) fn new(remember: Duration, metrics: Arc<Metrics>) -> Result<Self, SetupError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| SetupError::Hash("no random numbers".to_owned()))?;
        let nobody =
            PasswordHash::parse(&hash_of_nobody()?).map_err(|why| SetupError::Hash(why.to_owned()))?;
        let turns = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            right: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(remember).build(),
            turns: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
            nobody,
            metrics,
        })
    }

    /// A number for a name that looks random and stays the same while the process lives.
    pub(super) fn seed(&self, name: &str) -> u64 {
        let tag = hmac::sign(&self.key, name.as_bytes());
        tag.as_ref().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    /// Whether exactly this password was right for exactly this hash a short while ago.
    pub(super) fn remembered(&self, name: &str, password: &Secret<String>, hash: &PasswordHash) -> bool {
        self.right.contains_key(&self.fingerprint(name, password, hash))
    }

    /// Checks the password, slowly, if `admit` still lets it once its turn has come. Without a hash it is checked against `stand_in`'s and fails all the same.
    pub(super) async fn check(
        &self,
        name: &str,
        password: &Secret<String>,
        hash: Option<&PasswordHash>,
        stand_in: Option<&PasswordHash>,
        admit: impl FnOnce() -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let _waiting = Waiting::join(&self.waiting)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let Ok(turn) = turn else {
            return Err(Refused::Unavailable("password checks have stopped".to_owned()));
        };
        // Somebody with the same login may have been before us in the queue.
        if hash.is_some_and(|hash| self.remembered(name, password, hash)) {
            return Ok(());
        }
        // And others may have used the attempts up.
        admit()?;
        let against = hash.or(stand_in).unwrap_or(&self.nobody).clone();
        let candidate = password.clone();
        let metrics = Arc::clone(&self.metrics);
        // The turn ends when what was found is remembered: who is next with the same login must not begin anew.
        let (_turn, holds) = tokio::task::spawn_blocking(move || {
            let is_checked = candidate.expose().len() <= MAX_PASSWORD;
            if is_checked {
                metrics.password_check();
            }
            (turn, is_checked && against.holds(candidate.expose()))
        })
        .await
        .map_err(|_| Refused::Unavailable("a password check was cut off".to_owned()))?;
        match hash {
            Some(hash) if holds => {
                self.right.insert(self.fingerprint(name, password, hash), ());
                Ok(())
            }
            Some(_) => Err(Refused::BadCredentials(Cause::Password)),
            None => Err(Refused::BadCredentials(Cause::UnknownUser)),
        }
    }

    fn fingerprint(&self, name: &str, password: &Secret<String>, hash: &PasswordHash) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, password.expose(), hash.text()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Result<Self, Refused> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(Refused::Unavailable("too many password checks at once".to_owned()));
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn hashes_that_are_refused() {
        let check = |text: &str, expect: &str| {
            let why = PasswordHash::parse(text).expect_err(text);
            assert!(why.contains(expect), "{text}: {why}");
        };
        let salt_and_hash = "c29tZXNhbHRzb21l$C0nBdGmy9vE8bYxUBsOLPDVcTFRRVcPkqDV0FQlrQ2I";
        check("hunter2", "not an argon2id");
        check(&format!("$argon2i$v=19$m=19456,t=2,p=1${salt_and_hash}"), "not an argon2id");
        check(&format!("$argon2id$v=16$m=19456,t=2,p=1${salt_and_hash}"), "not an argon2id");
        check("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l", "not an argon2id");
        check("$argon2id$v=19$m=19456,t=2,p=1", "not an argon2id");
        check(&format!("$argon2id$v=19$m=9999999,t=2,p=1${salt_and_hash}"), "more than Northgate allows");
        check(&format!("$argon2id$v=19$m=64,t=2,p=1${salt_and_hash}"), "too cheap");
        assert!(PasswordHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1${salt_and_hash}")).is_ok());
    }

    #[test]
    fn a_hash_is_salted_and_of_the_recommended_cost() {
        let (one, two) = (hash_password(&secret("pw")).expect("a"), hash_password(&secret("pw")).expect("b"));
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(hash_password(&secret("")).is_err());
        assert!(hash_password(&secret(&"x".repeat(1025))).is_err());
    }

    #[tokio::test]
    async fn right_wrong_and_remembered() {
        let checker = Checker::new(Duration::from_mins(5), Arc::default()).expect("a checker");
        let hash = PasswordHash::parse(&hash_password(&secret("right")).expect("hashed")).expect("a hash");
        let other = PasswordHash::parse(&hash_password(&secret("right")).expect("hashed")).expect("a hash");
        assert!(!checker.remembered("ann", &secret("right"), &hash));
        let wrong = checker.check("ann", &secret("wrong"), Some(&hash), None, || Ok(())).await;
        assert_eq!(wrong, Err(Refused::BadCredentials(Cause::Password)));
        assert!(!checker.remembered("ann", &secret("wrong"), &hash));
        assert_eq!(checker.check("ann", &secret("right"), Some(&hash), None, || Ok(())).await, Ok(()));
        assert!(checker.remembered("ann", &secret("right"), &hash));
        assert!(!checker.remembered("annr", &secret("ight"), &hash), "parts are not run together");
        assert!(!checker.remembered("ann", &secret("right"), &other), "a new hash is checked anew");
        // Right for somebody else's hash is not right for a user who isn't there.
        let unknown = checker.check("eve", &secret("right"), None, Some(&hash), || Ok(())).await;
        assert_eq!(unknown, Err(Refused::BadCredentials(Cause::UnknownUser)));
        assert_eq!(
            checker.check("eve", &secret("nobody"), None, None, || Ok(())).await,
            Err(Refused::BadCredentials(Cause::UnknownUser))
        );
    }

    /// Else it would be told by the time whether there is a user of a name.
    #[test]
    fn what_nobody_is_checked_against_is_of_the_shape_of_others() {
        let nobody = hash_of_nobody().expect("random numbers");
        let other = hash_password(&secret("a password")).expect("hashed");
        let settings = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        let lengths = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!((settings(&nobody), lengths(&nobody)), (settings(&other), lengths(&other)));
        assert!(PasswordHash::parse(&nobody).is_ok() && nobody != hash_of_nobody().expect("random numbers"));
    }
}
