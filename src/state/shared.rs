//! A store that several gateways share: Redis or PostgreSQL.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

use super::config::{Backend, Config};
use super::postgres::Postgres;
use super::redis::Redis;
use super::script::Scripts;
use super::vault::Vault;
use super::{Key, Kind, StoreError, read, written};
use crate::secret::Secret;
use crate::units::hex;

/// After a connection could not be made, none is tried for this time: what waits for one is told so at once.
const PAUSE: Duration = Duration::from_millis(500);
/// Most questions that are under way at once.
const MOST_ASKED: usize = 4096;

/// A store over the network. What it is given is sealed.
pub struct Shared {
    remote: Arc<Remote>,
    vault: Vault,
    /// Connections live here, whichever thread asks: those that serve clients have runtimes of their own.
    runtime: Handle,
    timeout: Duration,
    asked: Arc<Semaphore>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// What a store is asked. The bytes are sealed already.
pub(super) enum Ask {
    Put { key: Key, owner: Option<[u8; 32]>, bytes: Vec<u8>, life: Duration },
    Add { key: Key, bytes: Vec<u8>, life: Duration },
    Find(Key),
    Take(Key),
    Remove { key: Key, owners: Vec<[u8; 32]> },
    List { kind: Kind, owners: Option<Vec<[u8; 32]>> },
}

/// What it answers.
pub(super) enum Answer {
    /// Whether something was done.
    Done(bool),
    /// An entry, if there is one.
    Found(Option<Vec<u8>>),
    /// Entries, by their names.
    Listed(Vec<([u8; 32], Vec<u8>)>),
}

enum Remote {
    Redis(Arc<Redis>),
    Postgres(Box<Postgres>),
}

impl Remote {
    async fn answer(&self, ask: Ask) -> Result<Answer, String> {
        match self {
            Self::Redis(redis) => redis.answer(ask).await,
            Self::Postgres(postgres) => postgres.answer(ask).await,
        }
    }

    /// Gives the connection up, so that the next who asks gets a new one.
    fn reset(&self, slow: Option<&str>) {
        match self {
            Self::Redis(redis) => redis.line.reset(slow),
            Self::Postgres(postgres) => postgres.line.reset(slow),
        }
    }
}

impl Shared {
    /// Reads what is configured. Connects when it is first asked. Needs a tokio runtime.
    pub(super) fn open(config: &Config) -> Result<Self, StoreError> {
        let missing = |what: &str| StoreError::Setup(format!("{what}: needed for a store that is shared"));
        let wrong = StoreError::Setup;
        if config.timeout.0 < Duration::from_millis(10) || config.timeout.0 > Duration::from_mins(1) {
            return Err(wrong("timeout: from 10ms to 1m".to_owned()));
        }
        let vault = Vault::open(
            config.key_file.as_ref().ok_or_else(|| missing("key_file"))?,
            &config.previous_key_files,
        )?;
        let source = config.url_file.as_ref().ok_or_else(|| missing("url_file"))?;
        let url = source.read().map_err(|error| StoreError::source(source, &error))?;
        let url = Secret::new(url.expose().trim().to_owned());
        let ca_file: Option<&Path> = config.ca_file.as_deref();
        let remote = match config.backend {
            Backend::Postgres => {
                let postgres = Postgres::new(&url, ca_file, config.allow_unencrypted);
                postgres.map(|postgres| Remote::Postgres(Box::new(postgres)))
            }
            Backend::Redis | Backend::Memory => {
                let redis = Redis::new(&url, ca_file, config.allow_unencrypted, config.timeout.0);
                redis.map(|redis| Remote::Redis(Arc::new(redis)))
            }
        };
        Ok(Self {
            remote: Arc::new(remote.map_err(wrong)?),
            vault,
            runtime: Handle::current(),
            timeout: config.timeout.0,
            asked: Arc::new(Semaphore::new(MOST_ASKED)),
        })
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, StoreError> {
        let remote = Arc::clone(&self.remote);
        self.within(Box::pin(async move { remote.answer(ask).await })).await
    }

    /// Asks, on the runtime where connections live. What has been asked is done though who asked goes away.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        answer: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (remote, timeout) = (Arc::clone(&self.remote), self.timeout);
        let room = Arc::clone(&self.asked).try_acquire_owned();
        let room =
            room.map_err(|_| StoreError::Unavailable(format!("{MOST_ASKED} questions wait for its answer")))?;
        let asked = self.runtime.spawn(async move {
            let _room = room;
            match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(why)) => {
                    remote.reset(None);
                    Err(why)
                }
                Err(_) => {
                    let why = format!("no answer within {} ms", timeout.as_millis());
                    remote.reset(Some(&why));
                    Err(why)
                }
            }
        });
        let answered = asked.await.unwrap_or_else(|error| Err(error.to_string()));
        answered.map_err(|why| {
            tracing::warn!(why, "the store that gateways share does not answer");
            StoreError::Unavailable(why)
        })
    }

    /// What runs scripts, where that is Redis.
    pub(super) fn scripts(self: &Arc<Self>) -> Option<Scripts> {
        match &*self.remote {
            Remote::Redis(redis) => Some(Scripts::new(Arc::clone(self), Arc::clone(redis))),
            Remote::Postgres(_) => None,
        }
    }

    /// What stands for a text that could be guessed.
    pub(super) fn name(&self, text: &str) -> String {
        self.vault.names(text).first().map(|name| hex(&name[..16])).unwrap_or_default()
    }

    async fn done(&self, ask: Ask) -> Result<bool, StoreError> {
        match self.ask(ask).await? {
            Answer::Done(done) => Ok(done),
            Answer::Found(_) | Answer::Listed(_) => Err(StoreError::Form("another answer".to_owned())),
        }
    }

    /// Keeps bytes for so long.
    ///
    /// # Errors
    /// As of [`super::Store::put`], whose entries these are.
    pub async fn put(&self, key: Key, plain: &[u8], life: Duration) -> Result<(), StoreError> {
        let bytes = self.vault.seal(&key, plain, life)?;
        self.done(Ask::Put { key, owner: None, bytes, life }).await.map(drop)
    }

    pub(super) async fn add(&self, key: Key, plain: &[u8], life: Duration) -> Result<bool, StoreError> {
        let bytes = self.vault.seal(&key, plain, life)?;
        self.done(Ask::Add { key, bytes, life }).await
    }

    /// The bytes, if there are some that have not ended.
    ///
    /// # Errors
    /// As of [`super::Store::find`].
    pub async fn find(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.found(key, Ask::Find(key)).await
    }

    pub(super) async fn take(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.found(key, Ask::Take(key)).await
    }

    async fn found(&self, key: Key, ask: Ask) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ask(ask).await? {
            Answer::Found(found) => {
                Ok(found.map(|bytes| self.vault.unseal(&key, &bytes)).transpose()?.flatten())
            }
            Answer::Done(_) | Answer::Listed(_) => Err(StoreError::Form("another answer".to_owned())),
        }
    }

    /// Keeps a value that is found in the list of its owner, and in that of all.
    pub async fn put_of<T: serde::Serialize>(
        &self,
        key: Key,
        owner: &str,
        value: &T,
        life: Duration,
    ) -> Result<(), StoreError> {
        let bytes = self.vault.seal(&key, &written(value)?, life)?;
        let owner = self.vault.names(owner).into_iter().next();
        self.done(Ask::Put { key, owner, bytes, life }).await.map(drop)
    }

    /// Drops a value, also from the list of its owner; whether it was there.
    pub async fn remove_of(&self, key: Key, owner: &str) -> Result<bool, StoreError> {
        self.done(Ask::Remove { key, owners: self.vault.names(owner) }).await
    }

    pub(super) async fn remove(&self, key: Key) -> Result<bool, StoreError> {
        self.done(Ask::Remove { key, owners: Vec::new() }).await
    }

    /// The values of an owner, or of all, by their names. What cannot be opened is left out.
    pub async fn list<T: serde::de::DeserializeOwned>(
        &self,
        kind: Kind,
        owner: Option<&str>,
    ) -> Result<Vec<([u8; 32], T)>, StoreError> {
        let owners = owner.map(|owner| self.vault.names(owner));
        let Answer::Listed(listed) = self.ask(Ask::List { kind, owners }).await? else {
            return Err(StoreError::Form("another answer".to_owned()));
        };
        let opened = listed.into_iter().filter_map(|(hash, bytes)| {
            let opened = self.vault.unseal(&Key { kind, hash }, &bytes);
            match opened.and_then(|plain| plain.map(|plain| read(&plain)).transpose()) {
                Ok(value) => Some((hash, value?)),
                Err(error) => {
                    tracing::warn!(%error, kind = kind.as_str(), "an entry of the store is left out");
                    None
                }
            }
        });
        Ok(opened.collect())
    }

    /// The places of a value whose name could be guessed: where to put it, then where it may be from before.
    pub fn places(&self, kind: Kind, name: &str) -> Vec<Key> {
        self.vault.names(name).into_iter().map(|hash| Key { kind, hash }).collect()
    }
}

/// One connection, which all share, made when it is needed.
#[derive(Debug)]
pub(super) struct Line<C>(Mutex<State<C>>);

#[derive(Debug)]
enum State<C> {
    Open(C),
    Closed,
    Failed(Instant, String),
}

impl<C: Clone> Line<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Closed))
    }

    /// The connection, if it is `usable`, or a new one.
    pub(super) async fn get(
        &self,
        usable: impl Fn(&C) -> bool,
        connect: impl Future<Output = Result<C, String>>,
    ) -> Result<C, String> {
        let mut state = self.0.lock().await;
        match &*state {
            State::Open(connection) if usable(connection) => return Ok(connection.clone()),
            State::Failed(when, why) if when.elapsed() < PAUSE => return Err(why.clone()),
            _ => {}
        }
        match connect.await {
            Ok(connection) => {
                *state = State::Open(connection.clone());
                Ok(connection)
            }
            Err(why) => {
                *state = State::Failed(Instant::now(), why.clone());
                Err(why)
            }
        }
    }

    /// Gives the connection up. One that was slow is not made anew at once.
    pub(super) fn reset(&self, slow: Option<&str>) {
        // Somebody who holds it is about to replace it.
        let Ok(mut state) = self.0.try_lock() else { return };
        match (slow, &*state) {
            (Some(why), _) => *state = State::Failed(Instant::now(), why.to_owned()),
            (None, State::Open(_)) => *state = State::Closed,
            (None, _) => {}
        }
    }
}
