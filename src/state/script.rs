//! Scripts at the Redis that gateways share, for what is more than entries: what several gateways count together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::FromRedisValue;

use super::redis::Redis;
use super::shared::Shared;
use super::{Key, StoreError};

/// A script in Lua. Redis keeps it and is told its hash alone.
#[derive(Clone)]
pub struct Script(Arc<::redis::Script>);

impl Script {
    /// The script of a text.
    pub fn new(text: &str) -> Self {
        Self(Arc::new(::redis::Script::new(text)))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.0.get_hash()).finish()
    }
}

/// Runs scripts at the Redis that gateways share, over the same connection as its entries. Clones are the same.
///
/// What is sent is **not** sealed, but by [`Scripts::seal`]: it may be counted by Redis, and is read by whoever reads Redis. Names of people go
/// through [`Scripts::name`].
#[derive(Clone, Debug)]
pub struct Scripts {
    shared: Arc<Shared>,
    redis: Arc<Redis>,
}

impl Scripts {
    pub(super) fn new(shared: Arc<Shared>, redis: Arc<Redis>) -> Self {
        Self { shared, redis }
    }

    /// Runs a script, once: what has been sent is not sent again, so that it may have run though this fails. It is bounded
    /// by `state.timeout`, and what is asked when too much is under way fails at once. Keys begin with `northgate:`; one
    /// script's keys share a `{tag}`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: Redis does not answer. [`StoreError::Form`]: the script failed, or gave something else
    /// than a `T`.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (redis, script) = (Arc::clone(&self.redis), Arc::clone(&script.0));
        let answer = Box::pin(async move { redis.run(&script, &keys, &arguments).await });
        let value = self.shared.within(answer).await?;
        let value = value.map_err(|why| StoreError::Form(format!("a script failed: {why}")))?;
        T::from_redis_value(value).map_err(|error| StoreError::Form(error.to_string()))
    }

    /// Seals what is put there by a script, as entries are: it opens under its kind and name alone, until its end.
    ///
    /// # Errors
    /// [`StoreError::Form`]: it cannot be sealed.
    pub fn seal(&self, key: &Key, plain: &[u8], life: Duration) -> Result<Vec<u8>, StoreError> {
        self.shared.vault().seal(key, plain, life)
    }

    /// Opens what was sealed so; none if it has ended.
    ///
    /// # Errors
    /// [`StoreError::Form`]: it was not sealed with a key of ours, or for another place, or is not whole.
    pub fn unseal(&self, key: &Key, sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.vault().unseal(key, sealed)
    }

    /// What stands for a text that could be guessed, such as somebody's name: 32 hexadecimal digits that tell nothing
    /// without the key of `state.key_file`, the same at all gateways that have it.
    pub fn name(&self, text: &str) -> String {
        self.shared.name(text)
    }
}
