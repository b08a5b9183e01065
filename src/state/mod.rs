//! What is kept between requests: sessions, sign-ins under way, drivers that wait, and what may be used once; in this
//! process, or where several gateways share it. [`Store::scripts`] is for what gateways count together in Redis.
//!
//! Keys are made from secrets that only the bearer has (a cookie, a token), by SHA-256: who reads the store cannot
//! sign in with what is in it. Every entry has an end.

mod config;
mod error;
mod memory;
mod postgres;
mod redis;
mod script;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::config::{Backend, Config};
pub use self::error::StoreError;
pub use self::memory::Memory;
pub use self::script::{Script, Scripts};
pub use self::shared::Shared;
pub use self::vault::Vault;

/// What an entry is. Keys of different kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody who signed in with a browser.
    Session,
    /// What an identity provider has said, until the browser that brought it comes with its cookies.
    Attempt,
    /// A driver that waits for its user to sign in.
    Driver,
    /// A token that a driver was given.
    DriverToken,
    /// A thing that was used and may not be used again.
    Used,
    /// When an identity provider has ended sessions.
    Ended,
    /// Whose turn it is to renew a session.
    Renewal,
    /// A personal access token.
    Token,
    /// When a personal access token was last used.
    TokenUse,
    /// Somebody as they last signed in.
    Person,
    /// That a gateway lives.
    Replica,
    /// What one gateway tells another of its queries.
    Report,
    /// How far a query is that waits.
    Waiting,
    /// From places of a query's text at Trino to places of the user's.
    Positions,
    /// What an operator has said of a cluster.
    Cluster,
    /// An answer that is given again.
    Answer,
    /// What is known of such an answer.
    AnswerNote,
    /// A page of an answer that is collected.
    AnswerPage,
}

impl Kind {
    /// Its name in shared stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Attempt => "attempt",
            Self::Driver => "driver",
            Self::DriverToken => "driver-token",
            Self::Used => "used",
            Self::Ended => "ended",
            Self::Renewal => "renewal",
            Self::Token => "token",
            Self::TokenUse => "token-use",
            Self::Person => "person",
            Self::Replica => "replica",
            Self::Report => "report",
            Self::Waiting => "waiting",
            Self::Positions => "positions",
            Self::Cluster => "cluster",
            Self::Answer => "answer",
            Self::AnswerNote => "answer-note",
            Self::AnswerPage => "answer-page",
        }
    }
}

/// The name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// The hash of what opens it.
    pub hash: [u8; 32],
}

impl Key {
    /// The entry that the secret opens.
    pub fn new(kind: Kind, secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self { kind, hash }
    }
}

/// A store of entries that end.
#[derive(Debug)]
pub enum Store {
    /// In this process alone.
    Memory(Memory),
    /// Where several gateways see it.
    Shared(Arc<Shared>),
}

impl Store {
    /// The store that is configured. One that is shared is connected to when it is first asked; until it answers, whoever
    /// asks gets [`StoreError::Unavailable`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: what is configured cannot be used.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        match config.backend {
            Backend::Memory => Ok(Self::in_memory()),
            Backend::Redis | Backend::Postgres => Shared::open(config).map(Arc::new).map(Self::Shared),
        }
    }

    /// The store, if several gateways share it.
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        match self {
            Self::Memory(_) => None,
            Self::Shared(shared) => Some(shared),
        }
    }

    /// What runs scripts at the Redis that gateways share; `None` if they share none.
    pub fn scripts(&self) -> Option<Scripts> {
        self.shared().and_then(Shared::scripts)
    }

    /// A store in this process.
    pub fn in_memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// Keeps a value for so long; one that is there already is replaced, and lives anew.
    pub async fn put<T: Serialize>(&self, key: Key, value: &T, life: Duration) -> Result<(), StoreError> {
        let bytes = written(value)?;
        match self {
            Self::Memory(memory) => memory.put(key, bytes, life),
            Self::Shared(shared) => shared.put(key, &bytes, life).await,
        }
    }

    /// Keeps a value unless there is one already: whether there was none. Of several who add at once, one is told so.
    pub async fn add<T: Serialize>(&self, key: Key, value: &T, life: Duration) -> Result<bool, StoreError> {
        let bytes = written(value)?;
        match self {
            Self::Memory(memory) => memory.add(key, bytes, life),
            Self::Shared(shared) => shared.add(key, &bytes, life).await,
        }
    }

    /// The value, if there is one that has not ended.
    pub async fn find<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, StoreError> {
        match self {
            Self::Memory(memory) => memory.find(&key),
            Self::Shared(shared) => shared.find(key).await?,
        }
        .map(|bytes| read(&bytes))
        .transpose()
    }

    /// The value, which is then no longer there. Of several who take at once, one gets it.
    pub async fn take<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, StoreError> {
        match self {
            Self::Memory(memory) => memory.take(&key),
            Self::Shared(shared) => shared.take(key).await?,
        }
        .map(|bytes| read(&bytes))
        .transpose()
    }

    /// Drops the value, if there is one.
    pub async fn remove(&self, key: Key) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => drop(memory.take(&key)),
            Self::Shared(shared) => drop(shared.remove(key).await?),
        }
        Ok(())
    }
}

fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Form(error.to_string()))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Form(error.to_string()))
}
