//! Leaves a server alone that does not answer, so that queries fail at once and not after a timeout each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After how many questions in a row without an answer nothing is asked any more.
const FAILURES: u32 = 5;
/// For how long.
const REST: Duration = Duration::from_secs(5);

/// Counts questions that found no answer.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    resting_until: Option<Instant>,
}

impl Breaker {
    /// Whether the server may be asked now. When it has rested, one asks first: until that one has an answer, or the time
    /// of another rest is over, the others are held off.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match state.resting_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.resting_until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// It has not answered.
    pub(super) fn failed(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures >= FAILURES {
            state.resting_until = Some(Instant::now() + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rests_after_failures_and_one_asks_first() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.admits());
            breaker.failed();
        }
        assert!(!breaker.admits());
        tokio::time::advance(REST).await;
        assert!(breaker.admits());
        assert!(!breaker.admits());
        breaker.answered();
        assert!(breaker.admits());
        assert!(breaker.admits());
    }
}
