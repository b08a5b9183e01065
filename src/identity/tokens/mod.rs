//! Personal access tokens: for programs that cannot sign in as people do (Power BI, Tableau, ODBC, scripts).
//!
//! A token has an owner, an end and a [`Scope`]. It is shown once and kept as a hash. It is a password, with the name of
//! its owner, or a bearer token. It outlives the sign-in of its owner, so that it carries no groups: those are the ones of
//! the users file at the moment of use, for who is in it, or else those that the owner's last sign-in brought
//! (`Tokens::seen`); when that was too long ago, or could not be repeated by the configuration of now, the token waits for its
//! owner to sign in again.

mod config;
mod error;
mod journal;
mod scope;
mod secret;
mod shared;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

pub use config::Config;
pub use error::TokenError;
pub use scope::{Network, Scope};
pub(super) use secret::{Hash, hash, is_token};
pub use token::Token;

use self::journal::{Journal, blocking};
use self::shared::Shelved;
use self::token::{Entry, Person, Use};
use super::error::{Cause, Refused, SetupError};
use super::mapping::{Mapper, source};
use super::principal::{Method, Principal};
use super::users::Users;
use crate::secret::Secret;
use crate::state::Store;

/// Most tokens that are remembered as found.
const MOST_FOUND: u64 = 200_000;
/// How long a token that was good is looked at however many others were bad.
const FAMILIAR: Duration = Duration::from_hours(12);
/// How often it is written which tokens were used.
const NOTE: Duration = Duration::from_mins(1);
/// A sign-in that tells nothing new is not written when the last was as recent as this.
const SEEN: Duration = Duration::from_hours(1);

/// The tokens. Clones are of the same ones.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    mapper: Arc<Mapper>,
    shelf: Shelf,
    /// What was found lately, for so long as a change elsewhere may take to be met here.
    found: Cache<Hash, Arc<Found>>,
    /// What was revoked here: a look-up that was under way meanwhile must not bring it back.
    revoked: Cache<Hash, ()>,
    /// Tokens that were good.
    familiar: Cache<Hash, ()>,
    /// Uses that are not written yet, and the owners of the tokens.
    used: Mutex<HashMap<Hash, (String, Timestamp)>>,
}

/// Where tokens are kept.
#[derive(Debug)]
enum Shelf {
    File(Arc<Journal>),
    Shared(Shelved),
}

/// A token that is there, and who its bearer is.
#[derive(Debug)]
struct Found {
    entry: Entry,
    scope: Arc<Scope>,
    /// The owner as they last signed in, where that counts.
    person: Option<(Arc<Principal>, Timestamp)>,
    /// The minute of the last use, since 1970.
    minute: AtomicI64,
}

impl Tokens {
    /// Opens the tokens: of the store, if it is one that gateways share, else of the file. Needs a tokio runtime.
    pub(super) fn open(config: Config, store: &Store, mapper: Arc<Mapper>) -> Result<Self, SetupError> {
        config.check().map_err(SetupError::Value)?;
        let shelf = match store.shared() {
            Some(shared) => Shelf::Shared(Shelved::new(Arc::clone(shared), &config)),
            None => Shelf::File(Arc::new(Journal::open(&config.file, config.groups_life.0)?)),
        };
        let inner = Arc::new(Inner {
            found: Cache::builder().max_capacity(MOST_FOUND).time_to_live(config.cache.0).build(),
            revoked: Cache::builder().max_capacity(MOST_FOUND).time_to_live(FAMILIAR).build(),
            familiar: Cache::builder().max_capacity(MOST_FOUND).time_to_live(FAMILIAR).build(),
            used: Mutex::new(HashMap::new()),
            config,
            mapper,
            shelf,
        });
        tokio::spawn(note_uses(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Whether tokens can be opened as configured. Leaves all as it is.
    pub(super) fn check(config: &Config, store: &Store) -> Result<(), SetupError> {
        config.check().map_err(SetupError::Value)?;
        if store.shared().is_some() { Ok(()) } else { Journal::check(&config.file) }
    }

    /// The longest life of a token.
    pub fn max_life(&self) -> Duration {
        self.0.config.max_life.0
    }

    /// Keeps how somebody signed in, as their identity provider has it: which groups their tokens have from now on. To be
    /// called at each sign-in by one; who signs in by the users file, or with a token, is left out.
    pub(super) async fn seen(&self, signed_in: &Principal) -> Result<(), Refused> {
        let Some(from) = source(signed_in.method()) else { return Ok(()) };
        let unavailable = |error: TokenError| Refused::Unavailable(error.to_string());
        let principal = self.0.mapper.apply(signed_in.clone())?;
        let person = Person::of(signed_in, from, principal.name(), Timestamp::now());
        let before = self.0.shelf.person(principal.name()).await.map_err(unavailable)?;
        if before.is_some_and(|before| before.is_as(&person) && before.age(person.seen) < SEEN) {
            return Ok(());
        }
        self.0.shelf.see(person, self.0.config.groups_life.0).await.map_err(unavailable)
    }

    /// Makes a token for somebody who signed in themselves. The secret is not kept: this is the only time that it is known.
    /// The caller records it in the audit.
    pub async fn create(
        &self,
        owner: &Principal,
        name: &str,
        expires: Timestamp,
        scope: Scope,
    ) -> Result<(Secret<String>, Token), TokenError> {
        if matches!(owner.method(), Method::Token { .. }) {
            return Err(TokenError::ByToken);
        }
        let by_users_file = *owner.method() == Method::Password;
        self.create_for(owner.name(), by_users_file, name, expires, scope).await
    }

    /// Makes a token for somebody who has signed in before, in their absence.
    pub(super) async fn create_for(
        &self,
        owner: &str,
        by_users_file: bool,
        name: &str,
        expires: Timestamp,
        scope: Scope,
    ) -> Result<(Secret<String>, Token), TokenError> {
        if !by_users_file && self.0.shelf.person(owner).await?.is_none() {
            return Err(TokenError::Unknown(owner.to_owned()));
        }
        let config = &self.0.config;
        let name = check_name(name)?;
        let scope = scope.checked().map_err(TokenError::Scope)?;
        let created = Timestamp::now();
        let life = Duration::try_from(expires.duration_since(created)).unwrap_or_default();
        if life.is_zero() || life > config.max_life.0 {
            return Err(TokenError::Life(config.max_life.0));
        }
        let secret =
            secret::generate().ok_or_else(|| TokenError::Unavailable("no random numbers".to_owned()))?;
        let hash = hash(secret.expose());
        let token = Token {
            id: token::id(&hash),
            name: name.to_owned(),
            owner: owner.to_owned(),
            created,
            expires,
            scope,
            last_used: None,
        };
        let entry = Entry { token: token.clone(), by_users_file };
        self.0.shelf.add(hash, entry, config.per_user).await?;
        Ok((secret, token))
    }

    /// The tokens of an owner, the newest first; with those that ended lately.
    pub async fn list(&self, owner: &str) -> Result<Vec<Token>, TokenError> {
        Ok(self.0.shown(self.0.shelf.list(Some(owner)).await?))
    }

    /// The tokens of all owners, the newest first. For administrators.
    pub async fn all(&self) -> Result<Vec<Token>, TokenError> {
        Ok(self.0.shown(self.0.shelf.list(None).await?))
    }

    /// Revokes a token of an owner, by its id, and gives what it was. It ends here at once, and at other gateways that share
    /// the store within the time `cache` of the configuration. The caller records it in the audit.
    pub async fn revoke(&self, owner: &str, id: &str) -> Result<Token, TokenError> {
        self.drop_one(self.0.shelf.list(Some(owner)).await?, id).await
    }

    /// The same, whoever owns it. For administrators.
    pub async fn revoke_any(&self, id: &str) -> Result<Token, TokenError> {
        self.drop_one(self.0.shelf.list(None).await?, id).await
    }

    async fn drop_one(&self, among: Vec<(Hash, Entry)>, id: &str) -> Result<Token, TokenError> {
        let found = among.into_iter().find(|(_, entry)| entry.token.id == id);
        let (hash, entry) = found.ok_or(TokenError::NotFound)?;
        let removed = self.0.shelf.remove(hash, &entry).await;
        if matches!(removed, Ok(true)) {
            self.0.revoked.insert(hash, ());
        }
        // Also where it is not known whether it was removed: it is looked for anew.
        self.0.found.invalidate(&hash);
        self.0.familiar.invalidate(&hash);
        if removed? { Ok(entry.token) } else { Err(TokenError::NotFound) }
    }

    /// Whether the token was good lately, so that it is no guess.
    pub(super) fn is_familiar(&self, hash: &Hash) -> bool {
        self.0.familiar.contains_key(hash)
    }

    /// Whether it is known without asking anybody what the token is.
    pub(super) fn is_known(&self, hash: &Hash) -> bool {
        self.0.found.contains_key(hash)
    }

    /// Who the bearer of a token is, and what they may use it for. `user` is the name that came with it, if it came as a
    /// password.
    pub(super) async fn prove(
        &self,
        hash: &Hash,
        user: Option<&str>,
        address: IpAddr,
        users: &Users,
    ) -> Result<(Arc<Principal>, Arc<Scope>), Refused> {
        let now = Timestamp::now();
        let Some(found) = self.0.find(hash).await? else {
            self.0.familiar.invalidate(hash);
            return Err(Refused::BadCredentials(Cause::Token("not one of ours, or revoked")));
        };
        let token = &found.entry.token;
        if user.is_some_and(|user| user != token.owner) {
            return Err(Refused::BadCredentials(Cause::Token("of somebody else")));
        }
        if !found.scope.covers(address) {
            return Err(Refused::BadCredentials(Cause::Token("used from an address outside of its scope")));
        }
        if token.is_expired(now) {
            return Err(Refused::BadCredentials(Cause::Expired));
        }
        let principal = if found.entry.by_users_file {
            let user = users.find(&token.owner).ok_or(Refused::BadCredentials(Cause::UnknownUser))?;
            let owner = Principal::new(
                token.owner.as_str(),
                Method::Token { id: token.id.clone(), name: token.name.clone() },
            )
            .with_groups(user.principal.groups().iter().cloned())
            .with_attributes(user.principal.attributes().clone())
            .within(found.scope.catalogs.clone());
            Arc::new(owner)
        } else {
            let life = self.0.config.groups_life.0;
            let fresh =
                |seen: &Timestamp| Duration::try_from(now.duration_since(*seen)).unwrap_or_default() < life;
            let person = found.person.as_ref().filter(|(_, seen)| fresh(seen));
            let (principal, _) = person.ok_or(Refused::BadCredentials(Cause::OwnerAway))?;
            Arc::clone(principal)
        };
        self.0.familiar.insert(*hash, ());
        self.0.count_use(*hash, &found, now);
        Ok((principal, Arc::clone(&found.scope)))
    }

    /// Writes which tokens were used. It is also written each minute.
    pub async fn note(&self) -> Result<(), TokenError> {
        self.0.note().await
    }
}

impl Inner {
    async fn find(&self, hash: &Hash) -> Result<Option<Arc<Found>>, Refused> {
        if self.revoked.contains_key(hash) {
            return Ok(None);
        }
        if let Some(found) = self.found.get(hash) {
            return Ok(Some(found));
        }
        let unavailable = |error: TokenError| Refused::Unavailable(error.to_string());
        let Some(entry) = self.shelf.find(hash).await.map_err(unavailable)? else { return Ok(None) };
        let mut person = None;
        if !entry.by_users_file {
            let known = self.shelf.person(&entry.token.owner).await.map_err(unavailable)?;
            person = known.and_then(|person| {
                let seen = person.seen;
                let principal = person.principal(&entry.token, &self.mapper)?;
                Some((Arc::new(principal.within(entry.token.scope.catalogs.clone())), seen))
            });
        }
        let scope = Arc::new(entry.token.scope.clone());
        let found = Arc::new(Found { entry, scope, person, minute: AtomicI64::new(0) });
        self.found.insert(*hash, Arc::clone(&found));
        Ok(Some(found))
    }

    fn count_use(&self, hash: Hash, found: &Found, now: Timestamp) {
        let minute = now.as_second() / 60;
        if found.minute.swap(minute, Ordering::Relaxed) != minute {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.insert(hash, (found.entry.token.owner.clone(), now));
        }
    }

    async fn note(&self) -> Result<(), TokenError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() { Ok(()) } else { self.shelf.note(used).await }
    }

    fn shown(&self, entries: Vec<(Hash, Entry)>) -> Vec<Token> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = entries.into_iter().map(|(hash, entry)| {
            let last_used = used.get(&hash).map(|(_, at)| *at).max(entry.token.last_used);
            Token { last_used, ..entry.token }
        });
        let mut tokens: Vec<Token> = shown.collect();
        tokens.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        tokens
    }
}

impl Shelf {
    async fn add(&self, hash: Hash, entry: Entry, per_user: usize) -> Result<(), TokenError> {
        match self {
            Self::File(journal) => blocking(journal, move |journal| journal.add(hash, entry, per_user)).await,
            Self::Shared(shelved) => shelved.add(hash, entry, per_user).await,
        }
    }

    /// Drops a token; whether it was there.
    async fn remove(&self, hash: Hash, entry: &Entry) -> Result<bool, TokenError> {
        match self {
            Self::File(journal) => blocking(journal, move |journal| journal.remove(hash)).await,
            Self::Shared(shelved) => shelved.remove(hash, entry).await,
        }
    }

    async fn see(&self, person: Person, life: Duration) -> Result<(), TokenError> {
        match self {
            Self::File(journal) => blocking(journal, move |journal| journal.see(person)).await,
            Self::Shared(shelved) => shelved.see(person, life).await,
        }
    }

    async fn note(&self, used: HashMap<Hash, (String, Timestamp)>) -> Result<(), TokenError> {
        match self {
            Self::File(journal) => {
                let uses = used.into_iter().map(|(hash, (_, at))| Use { id: token::id(&hash), at }).collect();
                blocking(journal, move |journal| journal.note(uses)).await
            }
            Self::Shared(shelved) => shelved.note(used).await,
        }
    }

    async fn find(&self, hash: &Hash) -> Result<Option<Entry>, TokenError> {
        match self {
            Self::File(journal) => Ok(journal.find(hash)),
            Self::Shared(shelved) => shelved.find(hash).await,
        }
    }

    async fn person(&self, name: &str) -> Result<Option<Person>, TokenError> {
        match self {
            Self::File(journal) => Ok(journal.person(name)),
            Self::Shared(shelved) => shelved.person(name).await,
        }
    }

    async fn list(&self, owner: Option<&str>) -> Result<Vec<(Hash, Entry)>, TokenError> {
        match self {
            Self::File(journal) => Ok(journal.list(owner)),
            Self::Shared(shelved) => shelved.list(owner).await,
        }
    }
}

/// Writes each minute which tokens were used, until there are no tokens any more.
async fn note_uses(tokens: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(NOTE).await;
        let Some(tokens) = tokens.upgrade() else { return };
        if let Err(error) = tokens.note().await {
            tracing::warn!(%error, "it could not be kept when tokens were last used");
        }
    }
}

fn check_name(name: &str) -> Result<&str, TokenError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(TokenError::Name("cannot be empty"));
    }
    if name.chars().count() > 100 {
        return Err(TokenError::Name("cannot be longer than 100 characters"));
    }
    if name.contains(char::is_control) {
        return Err(TokenError::Name("cannot hold control characters"));
    }
    Ok(name)
}
