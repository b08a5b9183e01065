//! How fast a principal may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::{AdmissionError, Config};
use crate::identity::Authenticated;

/// Above this many principals those that are quiet are forgotten.
const MAX_KEYS: usize = 10_000;
/// The longest a poll is held back. A driver gives up after longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// How many refusals of one principal's statements are recorded one by one, per second.
const RECORDED: u32 = 5;

/// Tokio's time, so that tests can move it.
#[derive(Clone, Copy, Debug)]
struct Tick(Instant);

impl Clock for Tick {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

type Limiter = RateLimiter<String, DashMapStateStore<String>, Tick, NoOpMiddleware<Nanos>>;

/// Counts statements and polls by principal.
pub struct Rate {
    clock: Tick,
    submits: Option<Limiter>,
    polls: Option<Limiter>,
    /// Refusals of statements that come too fast: so many are on record one by one.
    refusals: Option<Limiter>,
}

/// Stage 3 of a query: its sender is within the rate. Only [`Rate::meter`] makes one.
#[derive(Debug)]
pub struct Metered {
    authenticated: Authenticated,
}

impl Metered {
    /// Who asks, and what.
    pub fn authenticated(&self) -> &Authenticated {
        &self.authenticated
    }
}

impl Rate {
    /// Counts that begin now.
    pub fn new(config: &Config) -> Self {
        let clock = Tick(Instant::now());
        let limiter = |per_second: u32| {
            let quota = Quota::per_second(NonZeroU32::new(per_second)?);
            // A burst is as many as in two seconds.
            let quota = quota.allow_burst(NonZeroU32::new(per_second.saturating_mul(2))?);
            Some(RateLimiter::new(quota, DashMapStateStore::default(), clock))
        };
        Self {
            clock,
            submits: limiter(config.submits_per_second),
            polls: limiter(config.polls_per_second),
            refusals: limiter(RECORDED),
        }
    }

    /// Lets a statement in, or says when it may come again. It is cheap: nothing of the statement was read yet.
    pub fn meter(
        &self,
        authenticated: Authenticated,
    ) -> Result<Metered, Box<(AdmissionError, Authenticated)>> {
        match self.submit(authenticated.principal().name()) {
            Ok(()) => Ok(Metered { authenticated }),
            // The audit wants to know whose it was.
            Err(error) => Err(Box::new((error, authenticated))),
        }
    }

    /// Whether one more refusal of a principal's statements is recorded by itself, and not only counted.
    pub fn is_recorded(&self, principal: &str) -> bool {
        self.refusals.as_ref().is_none_or(|limiter| check(limiter, self.clock, principal).is_ok())
    }

    fn submit(&self, principal: &str) -> Result<(), AdmissionError> {
        match &self.submits {
            None => Ok(()),
            Some(limiter) => check(limiter, self.clock, principal)
                .map_err(|retry_after| AdmissionError::TooFast { retry_after }),
        }
    }

    /// Holds a poll, a heartbeat or a cancel back until it is within the rate, and for 10 s at the most: a driver
    /// would take a refusal for the end of its query.
    pub async fn poll(&self, principal: &str) {
        let Some(limiter) = &self.polls else { return };
        let deadline = Instant::now() + LONGEST;
        while let Err(wait) = check(limiter, self.clock, principal) {
            let next = Instant::now() + wait;
            tokio::time::sleep_until(next.min(deadline)).await;
            if next >= deadline {
                return;
            }
        }
    }
}

fn check(limiter: &Limiter, clock: Tick, principal: &str) -> Result<(), Duration> {
    if limiter.len() > MAX_KEYS {
        limiter.retain_recent();
    }
    let until = limiter.check_key(&principal.to_owned()).err();
    until.map_or(Ok(()), |until| Err(until.wait_time_from(clock.now()).max(Duration::from_millis(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(submits: u32, polls: u32) -> Rate {
        Rate::new(&Config { submits_per_second: submits, polls_per_second: polls, ..Config::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn statements_above_the_rate_are_refused_for_a_while() {
        let rate = rate(10, 1);
        assert!((0..20).all(|_| rate.submit("ann").is_ok()), "a burst");
        let refused = rate.submit("ann").expect_err("too fast");
        assert_eq!(refused, AdmissionError::TooFast { retry_after: Duration::from_millis(100) });
        assert!(rate.submit("bob").is_ok(), "another principal");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(rate.submit("ann").is_ok());
        assert!(rate.submit("ann").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_wait_and_are_never_refused() {
        let rate = rate(1, 2);
        let began = Instant::now();
        for _ in 0..4 {
            rate.poll("ann").await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "a burst");
        for _ in 0..4 {
            rate.poll("ann").await;
        }
        let took = began.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&took), "{took:?}");
        // A hundred at once: nobody is held for longer than the bound.
        let all = futures_util::future::join_all((0..100).map(|_| rate.poll("ann")));
        let began = Instant::now();
        all.await;
        assert_eq!(began.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn nought_is_no_limit() {
        let rate = rate(0, 0);
        assert!((0..10_000).all(|_| rate.submit("ann").is_ok()));
        rate.poll("ann").await;
    }
}
