//! Stage 2: who is calling.
//!
//! A [`Call`] comes in with credentials and goes out as [`Authenticated`], with the principal whose policies
//! apply. Passwords are checked against a users file (argon2id), bearer tokens against the keys of configured
//! issuers. What was found good is remembered for a while under a keyed hash, so that a driver's polls cost
//! microseconds; what was found bad is counted, and too much of it is refused unseen.
//!
//! Whatever cannot be checked is refused. Unknown users cost and are told the same as wrong passwords.

mod attempts;
mod config;
mod error;
mod fetch;
mod impersonation;
mod jwt;
mod keys;
mod password;
mod principal;
mod source;
#[cfg(test)]
mod tests;
mod token_cache;
mod users;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use self::config::{
    Attempts as AttemptsConfig, Config, Impersonation as ImpersonationConfig, Issuer as IssuerConfig,
    SignatureAlgorithm,
};
pub use self::error::{By, Cause, Refused, SetupError};
pub use self::password::hash_password;
pub use self::principal::{Method, Principal};
pub use self::users::{NewUser, add_user};

use self::attempts::Attempts;
use self::impersonation::Rules;
use self::jwt::Issuers;
use self::password::Checker;
use self::token_cache::TokenCache;
use self::users::Users;
use crate::secret::Secret;
use crate::telemetry::{AuthMethod, AuthOutcome, Metrics};
use crate::wire::{Call, Credentials};

/// How often the users file is looked at for a change.
const WATCH: Duration = Duration::from_secs(2);
/// The longest time that a right password may be remembered.
const MAX_REMEMBERED: Duration = Duration::from_hours(1);

/// Stage 2 of a query: a call, and who it is from. Only [`Identity::authenticate`] makes one.
#[derive(Debug)]
pub struct Authenticated {
    principal: Arc<Principal>,
    impersonator: Option<String>,
    call: Call,
}

impl Authenticated {
    /// The principal that the query runs as, and whose policies apply.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Who signed in, if that is somebody other than the principal.
    pub fn impersonator(&self) -> Option<&str> {
        self.impersonator.as_deref()
    }

    /// The token that the principal signed in with; none where it was something else, or another who signed in.
    pub fn token(&self) -> Option<&Secret<String>> {
        match self.call.credentials() {
            Credentials::Bearer(token) if self.impersonator.is_none() => Some(token),
            _ => None,
        }
    }

    /// The call.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

/// Checks who is calling.
pub struct Identity {
    passwords: Checker,
    users: Arc<Snapshot>,
    issuers: Issuers,
    tokens: TokenCache,
    rules: Rules,
    attempts: Attempts,
    metrics: Arc<Metrics>,
    _watch: AbortOnDropHandle<()>,
}

/// A user of the file, as they are after signing in by password.
///
/// # Errors
///
/// [`SetupError`] if there is a file that cannot be read.
pub fn known(users_file: &Path, name: &str) -> Result<Option<Principal>, SetupError> {
    let users = Users::load(users_file)?;
    Ok(users.find(name).map(|user| (*user.principal).clone()))
}

/// The users file as last read.
struct Snapshot {
    path: PathBuf,
    users: ArcSwap<Users>,
    /// Told each time that a change of the file was met: what is wrong with it, if anything is.
    reread: watch::Sender<Option<String>>,
}

impl Identity {
    /// Reads the users file and starts to fetch the issuers' keys. Needs a tokio runtime; what it starts ends
    /// with it. An issuer that cannot be reached is no error here: its tokens are refused until it can.
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Result<Self, SetupError> {
        if config.password_cache.0 > MAX_REMEMBERED {
            return Err(SetupError::Value("password_cache: at most 1h".to_owned()));
        }
        let users = Users::load(&config.users_file)?;
        if users.len() == 0 && config.jwt.is_empty() {
            tracing::warn!(
                file = %config.users_file.display(),
                "nobody can sign in: the users file is empty; run `northgate user add`"
            );
        }
        let users = Arc::new(Snapshot {
            path: config.users_file,
            users: ArcSwap::from_pointee(users),
            reread: watch::Sender::new(None),
        });
        let watch = AbortOnDropHandle::new(tokio::spawn(follow(Arc::clone(&users))));
        Ok(Self {
            passwords: Checker::new(config.password_cache.0)?,
            users,
            issuers: Issuers::new(config.jwt)?,
            tokens: TokenCache::new()?,
            rules: Rules::new(config.impersonation)?,
            attempts: Attempts::new(&config.attempts),
            metrics,
            _watch: watch,
        })
    }

    /// Whether finding out who offers the credentials takes long: a password that is not known to be right.
    pub fn is_slow(&self, credentials: &Credentials) -> bool {
        let Credentials::Basic { user: name, password } = credentials else { return false };
        let users = self.users.users.load();
        let hash = users.find(name).and_then(|user| user.password.as_ref());
        !hash.is_some_and(|hash| self.passwords.remembered(name, password, hash))
    }

    /// Whether the credentials are good, whoever they are of.
    pub async fn screen(&self, credentials: &Credentials, address: IpAddr) -> Result<(), Refused> {
        self.prove(credentials, address).await.map(drop)
    }

    /// Whether a failed sign-in is recorded by itself. Guesses above the limit are not, and of what has no limit, since it
    /// is no guess, as many are as of guesses.
    pub fn is_recorded(&self, refused: &Refused, address: IpAddr) -> bool {
        match refused {
            Refused::TooManyAttempts { .. } => false,
            refused => !is_stale(refused) || self.attempts.count_stale(address),
        }
    }

    /// Finds out who the call is from, or refuses it.
    pub async fn authenticate(&self, call: Call) -> Result<Authenticated, Refused> {
        let method = match call.credentials() {
            Credentials::None => AuthMethod::None,
            Credentials::Basic { .. } => AuthMethod::Password,
            Credentials::Bearer(_) => AuthMethod::Jwt,
        };
        let address = call.peer().address.ip();
        let identified = match self.prove(call.credentials(), address).await {
            Ok(signed_in) => self.become_user(signed_in, call.session().user.as_deref()),
            Err(refused) => Err(refused),
        };
        let outcome = identified.as_ref().map_or_else(outcome, |_| AuthOutcome::Accepted);
        self.metrics.authentication(method, outcome);
        let (principal, impersonator) = identified?;
        Ok(Authenticated { principal, impersonator, call })
    }

    /// Reads the users file again, and has the issuers' keys fetched again soon. A users file that does not
    /// hold together leaves the one before in force.
    pub fn reload(&self) -> Result<(), SetupError> {
        self.issuers.refresh();
        self.tokens.clear();
        self.users.reload()
    }

    /// A user of the file in force, as they are after signing in by password.
    pub fn known(&self, name: &str) -> Option<Principal> {
        self.users.users.load().find(name).map(|user| (*user.principal).clone())
    }

    /// Told each time that the users file has changed and was read: what is wrong with it, if anything is.
    pub fn rereads(&self) -> watch::Receiver<Option<String>> {
        self.users.reread.subscribe()
    }

    async fn prove(&self, credentials: &Credentials, address: IpAddr) -> Result<Arc<Principal>, Refused> {
        match credentials {
            Credentials::None => Err(Refused::MissingCredentials),
            Credentials::Basic { user, password } => self.prove_password(user, password, address).await,
            Credentials::Bearer(token) => self.prove_token(token, address).await,
        }
    }

    async fn prove_password(
        &self,
        name: &str,
        password: &Secret<String>,
        address: IpAddr,
    ) -> Result<Arc<Principal>, Refused> {
        let users = self.users.users.load_full();
        let user = users.find(name);
        let hash = user.and_then(|user| user.password.as_ref());
        if !hash.is_some_and(|hash| self.passwords.remembered(name, password, hash)) {
            self.attempts.admit_password(address, name)?;
            let stand_in = users.stand_in(self.passwords.seed(name));
            let admit = || self.attempts.admit_password(address, name);
            let checked = self.passwords.check(name, password, hash, stand_in, admit).await;
            if matches!(checked, Err(Refused::BadCredentials(_))) {
                self.attempts.failed_password(address, name);
            }
            checked?;
            self.attempts.succeeded(address, name);
        }
        user.map(|user| Arc::clone(&user.principal)).ok_or(Refused::BadCredentials(Cause::UnknownUser))
    }

    async fn prove_token(&self, token: &Secret<String>, address: IpAddr) -> Result<Arc<Principal>, Refused> {
        let fingerprint = self.tokens.fingerprint(token);
        if let Some(principal) = self.tokens.find(&fingerprint)? {
            return Ok(principal);
        }
        self.attempts.admit_token(address)?;
        match self.issuers.verify(token.expose()).await {
            Ok(verified) => {
                self.tokens.insert(fingerprint, verified.clone());
                Ok(verified.principal)
            }
            Err(refused) => {
                // A token that was good once is no guess.
                if !is_stale(&refused) {
                    self.attempts.failed_token(address);
                }
                Err(refused)
            }
        }
    }

    /// Who the query runs as: the one who signed in, or the user asked for where a rule allows it and the users file
    /// says which groups they are in.
    fn become_user(
        &self,
        signed_in: Arc<Principal>,
        user: Option<&str>,
    ) -> Result<(Arc<Principal>, Option<String>), Refused> {
        let Some(user) = user.filter(|user| *user != signed_in.name()) else {
            return Ok((signed_in, None));
        };
        let refused = || Refused::Impersonation {
            principal: signed_in.name().to_owned(),
            user: user.chars().take(users::MAX_NAME).filter(|c| !c.is_control()).collect(),
        };
        if users::check_name(user).is_err() || !self.rules.allow(&signed_in, user) {
            return Err(refused());
        }
        let users = self.users.users.load();
        // Without their groups the restrictions of these would not hold.
        let known = users.find(user).ok_or_else(refused)?;
        let principal = Principal::new(user, signed_in.method().clone())
            .with_groups(known.principal.groups().iter().cloned())
            .with_attributes(known.principal.attributes().clone());
        Ok((Arc::new(principal), Some(signed_in.name().to_owned())))
    }
}

/// Whether nobody has guessed: what was offered was good once, or could not be checked.
fn is_stale(refused: &Refused) -> bool {
    matches!(refused, Refused::BadCredentials(Cause::Expired) | Refused::Unavailable(_))
}

fn outcome(refused: &Refused) -> AuthOutcome {
    match refused {
        Refused::MissingCredentials | Refused::BadCredentials(_) => AuthOutcome::Rejected,
        Refused::Impersonation { .. } => AuthOutcome::Impersonation,
        Refused::TooManyAttempts { .. } => AuthOutcome::Limited,
        Refused::Unavailable(_) => AuthOutcome::Unavailable,
    }
}

impl Snapshot {
    fn reload(&self) -> Result<(), SetupError> {
        let users = Users::load(&self.path)?;
        tracing::info!(users = users.len(), "read the users file");
        self.users.store(Arc::new(users));
        Ok(())
    }
}

/// What changes when a file is written or replaced.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<std::time::SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    async fn of(path: &Path) -> Option<Self> {
        let metadata = tokio::fs::metadata(path).await.ok()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}

/// Reads the users file again when it changes. By asking, not by notification: that also works for files which
/// are swapped behind symbolic links, and on network folders.
async fn follow(users: Arc<Snapshot>) {
    let mut last = Stamp::of(&users.path).await;
    loop {
        tokio::time::sleep(WATCH).await;
        let now = Stamp::of(&users.path).await;
        if now == last {
            continue;
        }
        last = now;
        let snapshot = Arc::clone(&users);
        match tokio::task::spawn_blocking(move || snapshot.reload()).await {
            Ok(Ok(())) => drop(users.reread.send_replace(None)),
            Ok(Err(error)) => {
                tracing::error!(%error, "the users file is not in order; the last one stays in force");
                drop(users.reread.send_replace(Some(error.to_string())));
            }
            Err(error) => tracing::error!(%error, "could not read the users file"),
        }
    }
}
