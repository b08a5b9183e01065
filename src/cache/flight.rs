//! One flight for many same questions: who asks first asks Trino, and whoever asks the same meanwhile waits for that answer.
//!
//! Only who may ask at once leads: nobody waits for somebody who waits. A flight that does not come on, as its client does not
//! fetch its pages, or does so too slowly, is left by those who wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Entry, Key};

/// For how long no page may come. Trino has one each second.
const STILL: Duration = Duration::from_secs(10);
/// For how long rows may come.
const SLOW: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The questions that are being asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, Arc<Shared>>>>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    pace: Mutex<Pace>,
    followers: AtomicUsize,
}

/// When the last page came, and the first with rows.
#[derive(Debug)]
struct Pace {
    last: Instant,
    rows: Option<Instant>,
}

impl Shared {
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it does not come on.
    fn is_stalled(&self) -> bool {
        let pace = self.pace();
        pace.last.elapsed() > STILL || pace.rows.is_some_and(|rows| rows.elapsed() > SLOW)
    }
}

#[derive(Clone, Debug)]
enum State {
    Flying,
    Landed(Arc<Entry>),
    Failed,
    Lost,
}

/// Who asks. Dropped before the answer is there, it lets the others know.
#[derive(Debug)]
#[must_use = "a lead that is dropped is lost for those who follow"]
pub struct Lead {
    flights: Flights,
    key: Key,
    shared: Arc<Shared>,
}

/// Who waits.
#[derive(Debug)]
pub struct Follow(Arc<Shared>);

/// What there is to do.
#[derive(Debug)]
pub enum Boarding {
    /// To ask.
    Lead(Lead),
    /// To wait for the answer of another.
    Follow(Follow),
}

/// What was waited for.
#[derive(Clone, Debug)]
pub enum Landed {
    /// The answer.
    Answer(Arc<Entry>),
    /// It failed, or cannot be kept: so would the next.
    Failed,
    /// It was given up, or does not come on: somebody else may ask.
    Lost,
}

impl Flights {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins whoever asks the same, or becomes the one who asks: also in the place of one that does not come on.
    pub(super) fn board(&self, key: Key) -> Boarding {
        let mut all = self.all();
        match all.get(&key).filter(|shared| !shared.is_stalled()) {
            Some(shared) => {
                shared.followers.fetch_add(1, Ordering::AcqRel);
                Boarding::Follow(Follow(Arc::clone(shared)))
            }
            None => Boarding::Lead(self.begin(&mut all, key)),
        }
    }

    /// Asks, whoever else does: who comes from now on waits for this one.
    pub(super) fn lead(&self, key: Key) -> Lead {
        self.begin(&mut self.all(), key)
    }

    fn begin(&self, all: &mut HashMap<Key, Arc<Shared>>, key: Key) -> Lead {
        let (state, _) = watch::channel(State::Flying);
        let pace = Mutex::new(Pace { last: Instant::now(), rows: None });
        let shared = Arc::new(Shared { state, pace, followers: AtomicUsize::new(0) });
        all.insert(key, Arc::clone(&shared));
        Lead { flights: self.clone(), key, shared }
    }
}

impl Lead {
    /// Whether anybody waits for the answer.
    pub fn is_followed(&self) -> bool {
        self.shared.followers.load(Ordering::Acquire) > 0
    }

    /// A page came, with rows or without.
    pub fn moved(&self, rows: bool) {
        let mut pace = self.shared.pace();
        let now = Instant::now();
        pace.last = now;
        if rows {
            pace.rows.get_or_insert(now);
        }
    }

    /// The answer is there.
    pub fn land(self, entry: Arc<Entry>) {
        self.shared.state.send_replace(State::Landed(entry));
    }

    /// There will be none.
    pub fn fail(self) {
        self.shared.state.send_replace(State::Failed);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut all = self.flights.all();
        if all.get(&self.key).is_some_and(|shared| Arc::ptr_eq(shared, &self.shared)) {
            all.remove(&self.key);
        }
        drop(all);
        self.shared.state.send_if_modified(|state| {
            let flying = matches!(state, State::Flying);
            if flying {
                *state = State::Lost;
            }
            flying
        });
    }
}

impl Follow {
    /// What becomes of it.
    pub async fn landed(&self) -> Landed {
        let mut state = self.0.state.subscribe();
        loop {
            let ended = state.wait_for(|state| !matches!(state, State::Flying));
            match tokio::time::timeout(LOOK, ended).await {
                Ok(Ok(state)) => {
                    return match &*state {
                        State::Landed(entry) => Landed::Answer(Arc::clone(entry)),
                        State::Failed => Landed::Failed,
                        State::Flying | State::Lost => Landed::Lost,
                    };
                }
                Ok(Err(_)) => return Landed::Lost,
                Err(_) if self.0.is_stalled() => return Landed::Lost,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::about;
    use super::super::key::tests::any_key;
    use super::*;

    fn entry() -> Arc<Entry> {
        Arc::new(Entry::pack(about("ann", "t"), "[1]".into(), vec![]))
    }

    fn lead(boarding: Boarding) -> Lead {
        let Boarding::Lead(lead) = boarding else { panic!("somebody else leads") };
        lead
    }

    fn follow(boarding: Boarding) -> Follow {
        let Boarding::Follow(follow) = boarding else { panic!("nobody leads") };
        follow
    }

    async fn is_lost(follow: &Follow) -> bool {
        matches!(follow.landed().await, Landed::Lost)
    }

    #[tokio::test]
    async fn many_get_the_answer_of_one() {
        let flights = Flights::default();
        let first = lead(flights.board(any_key(1)));
        assert!(!first.is_followed());
        let others: Vec<Follow> = (2..10).map(|_| follow(flights.board(any_key(1)))).collect();
        let _other = lead(flights.board(any_key(2)));
        assert!(first.is_followed());
        let waiting = futures_util::future::join_all(others.iter().map(Follow::landed));
        first.land(entry());
        assert!(waiting.await.iter().all(|landed| matches!(landed, Landed::Answer(_))));
        assert_eq!(flights.all().len(), 1);
    }

    #[tokio::test]
    async fn another_takes_over_from_who_is_lost_and_nobody_from_what_failed() {
        let flights = Flights::default();
        let first = lead(flights.board(any_key(1)));
        let (second, third) = (follow(flights.board(any_key(1))), follow(flights.board(any_key(1))));
        drop(first);
        assert!(is_lost(&second).await && is_lost(&third).await);
        let second = lead(flights.board(any_key(1)));
        let third = follow(flights.board(any_key(1)));
        second.fail();
        assert!(matches!(third.landed().await, Landed::Failed));
        assert!(flights.all().is_empty());
        // Who wishes for a new answer has it, and those who come behind them.
        let old = lead(flights.board(any_key(1)));
        let new = flights.lead(any_key(1));
        let last = follow(flights.board(any_key(1)));
        drop(old);
        assert!(new.is_followed());
        new.land(entry());
        assert!(matches!(last.landed().await, Landed::Answer(_)));
    }

    #[tokio::test]
    async fn who_does_not_come_on_is_passed_by() {
        for slow in [false, true] {
            let flights = Flights::default();
            let first = lead(flights.board(any_key(1)));
            let second = follow(flights.board(any_key(1)));
            first.moved(slow);
            let ago =
                |by: Duration| Instant::now().checked_sub(2 * by).expect("the machine runs for a while");
            if slow {
                first.shared.pace().rows = Some(ago(SLOW));
            } else {
                first.shared.pace().last = ago(STILL);
            }
            assert!(is_lost(&second).await);
            let second = lead(flights.board(any_key(1)));
            let third = follow(flights.board(any_key(1)));
            // The first is not in the way of the second.
            drop(first);
            assert!(second.is_followed());
            second.land(entry());
            assert!(matches!(third.landed().await, Landed::Answer(_)));
            assert!(flights.all().is_empty());
        }
    }
}
