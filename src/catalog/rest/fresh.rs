//! Answers that are believed for a while, asked for by one at a time, and used a little longer while nobody answers.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::Entry;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};
use tokio::time::Instant;

use super::error::RestError;

/// How much longer than it is believed an answer is kept, to be sent back as a tag and found unchanged.
const KEPT: u32 = 20;

/// Answers by question.
pub(super) struct Fresh<K, V> {
    known: Cache<K, Arc<Answer<V>>>,
    life: Duration,
    grace: Duration,
}

/// An answer, and when it was given.
#[derive(Debug)]
struct Answer<V> {
    since: Instant,
    value: Arc<V>,
}

/// What a question found.
pub(super) enum Found<V> {
    /// What was known still holds.
    Same,
    /// Something else.
    New(V),
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Send + Sync + 'static> Fresh<K, V> {
    /// For at most so many answers, each believed for `life`, and for `grace` more where it may be.
    pub(super) fn new(most: u64, life: Duration, grace: Duration) -> Self {
        let kept = life.saturating_mul(KEPT).saturating_add(grace).max(Duration::from_mins(1));
        Self { known: Cache::builder().max_capacity(most).time_to_idle(kept).build(), life, grace }
    }

    /// The answer: one that is fresh, else what `ask` finds, which is given the last one. Who asks the same meanwhile
    /// waits. `outlives` is whether an answer may be used for the grace where `ask` finds none for the time being.
    pub(super) async fn answer<F>(
        &self,
        key: &K,
        outlives: impl Fn(&V) -> bool + Send,
        ask: impl FnOnce(Option<Arc<V>>) -> F + Send,
    ) -> Result<Arc<V>, RestError>
    where
        F: Future<Output = Result<Found<V>, RestError>> + Send,
    {
        self.answer_within(key, self.life, outlives, ask).await
    }

    /// The same, where an answer is fresh for `life`. For no time at all: then it is one to a question that was asked after
    /// this one came, so that many who ask at once are answered together.
    pub(super) async fn answer_within<F>(
        &self,
        key: &K,
        life: Duration,
        outlives: impl Fn(&V) -> bool + Send,
        ask: impl FnOnce(Option<Arc<V>>) -> F + Send,
    ) -> Result<Arc<V>, RestError>
    where
        F: Future<Output = Result<Found<V>, RestError>> + Send,
    {
        let arrived = Instant::now();
        let is_fresh = |known: &Answer<V>| known.since >= arrived || known.since.elapsed() < life;
        if let Some(known) = self.known.get(key).await.filter(|known| is_fresh(known)) {
            return Ok(Arc::clone(&known.value));
        }
        // An answer is as old as its question.
        let asked = Instant::now();
        let computed = self.known.entry_by_ref(key).and_try_compute_with(|entry| async move {
            let Some(last) = entry.map(Entry::into_value) else {
                let Found::New(value) = ask(None).await? else {
                    return Err(RestError::Garbage("what was never asked for has not changed".to_owned()));
                };
                return Ok(Op::Put(Arc::new(Answer { since: asked, value: Arc::new(value) })));
            };
            if is_fresh(&last) {
                return Ok(Op::Nop);
            }
            let value = match ask(Some(Arc::clone(&last.value))).await {
                Ok(Found::New(value)) => Arc::new(value),
                Ok(Found::Same) => Arc::clone(&last.value),
                Err(error) => {
                    let young = last.since.elapsed() < self.life + self.grace;
                    let usable = error.is_passing() && young && outlives(&last.value);
                    return if usable { Ok(Op::Nop) } else { Err(error) };
                }
            };
            Ok(Op::Put(Arc::new(Answer { since: asked, value })))
        });
        match computed.await {
            Ok(
                CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry),
            ) => Ok(Arc::clone(&entry.into_value().value)),
            Ok(CompResult::Removed(_) | CompResult::StillNone(_)) => {
                Err(RestError::Unavailable("the answer was withdrawn".to_owned()))
            }
            Err(error) => {
                if !error.is_passing() {
                    // What it was may not be so any more.
                    self.known.invalidate(key).await;
                }
                Err(error)
            }
        }
    }

    /// Forgets an answer.
    pub(super) async fn forget(&self, key: &K) {
        self.known.invalidate(key).await;
    }
}
