//! Tokens in a store that several gateways share.
//!
//! Uses have entries of their own: who writes that a token was used must not write the token itself, which may have been
//! revoked meanwhile. That nobody has more tokens than they may is checked before one is kept, so that two gateways that
//! are asked at the same moment may let one more pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::config::Config;
use super::error::TokenError;
use super::secret::Hash;
use super::token::{Entry, Person, REMEMBERED};
use crate::state::{Key, Kind, Shared, Store, StoreError};

/// The tokens of a shared store.
#[derive(Debug)]
pub(super) struct Shelved {
    shared: Arc<Shared>,
    store: Store,
    longest: Duration,
}

impl Shelved {
    pub(super) fn new(shared: Arc<Shared>, config: &Config) -> Self {
        let store = Store::Shared(Arc::clone(&shared));
        Self { shared, store, longest: config.max_life.0 + REMEMBERED }
    }

    pub(super) async fn add(&self, hash: Hash, entry: Entry, per_user: usize) -> Result<(), TokenError> {
        let now = Timestamp::now();
        let owner = &entry.token.owner;
        let others: Vec<(Hash, Entry)> = self.shared.list(Kind::Token, Some(owner)).await?;
        if others.iter().filter(|(_, other)| !other.token.is_expired(now)).count() >= per_user {
            return Err(TokenError::TooMany(per_user));
        }
        let key = Key { kind: Kind::Token, hash };
        Ok(self.shared.put_of(key, owner, &entry, entry.life(now)).await?)
    }

    pub(super) async fn remove(&self, hash: Hash, entry: &Entry) -> Result<bool, TokenError> {
        let owner = &entry.token.owner;
        let removed = self.shared.remove_of(Key { kind: Kind::Token, hash }, owner).await?;
        // The token is gone; what is left of it ends by itself.
        let _ = self.shared.remove_of(Key { kind: Kind::TokenUse, hash }, owner).await;
        Ok(removed)
    }

    /// Keeps how somebody last signed in.
    pub(super) async fn see(&self, person: Person, life: Duration) -> Result<(), TokenError> {
        if let Some(place) = self.shared.places(Kind::Person, &person.name).into_iter().next() {
            self.store.put(place, &person, life).await?;
        }
        Ok(())
    }

    pub(super) async fn person(&self, name: &str) -> Result<Option<Person>, TokenError> {
        for place in self.shared.places(Kind::Person, name) {
            if let Some(person) = self.store.find(place).await? {
                return Ok(Some(person));
            }
        }
        Ok(None)
    }

    pub(super) async fn note(&self, used: HashMap<Hash, (String, Timestamp)>) -> Result<(), TokenError> {
        for (hash, (owner, at)) in used {
            self.shared.put_of(Key { kind: Kind::TokenUse, hash }, &owner, &at, self.longest).await?;
        }
        Ok(())
    }

    pub(super) async fn find(&self, hash: &Hash) -> Result<Option<Entry>, TokenError> {
        Ok(self.store.find(Key { kind: Kind::Token, hash: *hash }).await?)
    }

    pub(super) async fn list(&self, owner: Option<&str>) -> Result<Vec<(Hash, Entry)>, TokenError> {
        let uses: Vec<(Hash, Timestamp)> = self.shared.list(Kind::TokenUse, owner).await?;
        let uses: HashMap<Hash, Timestamp> = uses.into_iter().collect();
        let mut listed: Vec<(Hash, Entry)> = self.shared.list(Kind::Token, owner).await?;
        for (hash, entry) in &mut listed {
            entry.token.last_used = uses.get(hash).copied();
        }
        Ok(listed)
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::Full,
            StoreError::Unavailable(why) | StoreError::Form(why) | StoreError::Setup(why) => {
                Self::Unavailable(why)
            }
        }
    }
}
