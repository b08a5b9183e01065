//! How fast a principal may ask, and an address.

use std::hash::Hash;
use std::net::IpAddr;
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
use crate::shares::network;

/// Above this many principals or addresses those that are quiet are forgotten.
const MAX_KEYS: usize = 10_000;
/// The longest a poll is held back. A driver gives up after longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// A statement counts as one, and as one more for each so many bytes of it and of what it becomes, as all that is kept in
/// the audit.
const WEIGHED: usize = 16 << 10;

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

/// A rate for each key.
struct Limiter<K: Hash + Eq + Clone> {
    governor: RateLimiter<K, DashMapStateStore<K>, Tick, NoOpMiddleware<Nanos>>,
    /// The most at once.
    burst: NonZeroU32,
}

/// Counts statements and polls by principal and by address.
pub struct Rate {
    clock: Tick,
    submits: Option<Limiter<String>>,
    polls: Option<Limiter<String>>,
    submits_from: Option<Limiter<IpAddr>>,
    polls_from: Option<Limiter<IpAddr>>,
    /// Refusals of statements that come too fast: so many are on record one by one.
    refusals: Option<Limiter<String>>,
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
        Self {
            clock,
            submits: limiter(clock, config.submits_per_second),
            polls: limiter(clock, config.polls_per_second),
            submits_from: limiter(clock, config.submits_per_second_per_address),
            polls_from: limiter(clock, config.polls_per_second_per_address),
            refusals: limiter(clock, RECORDED),
        }
    }

    /// Lets a statement in, or says when it may come again. It is cheap: nothing of the statement was read yet.
    pub fn meter(
        &self,
        authenticated: Authenticated,
    ) -> Result<Metered, Box<(AdmissionError, Authenticated)>> {
        let call = authenticated.call();
        match self.submit(authenticated.principal().name(), call.peer().address.ip(), call.body().len()) {
            Ok(()) => Ok(Metered { authenticated }),
            // The audit wants to know whose it was.
            Err(error) => Err(Box::new((error, authenticated))),
        }
    }

    /// Lets in what the gateway itself asks in somebody's place, which has a bound of its own and takes nothing of theirs. None
    /// if somebody has asked it.
    pub fn meter_warming(&self, authenticated: Authenticated) -> Option<Metered> {
        authenticated.is_warming().then_some(Metered { authenticated })
    }

    /// Whether one more refusal of a principal's statements is recorded by itself, and not only counted.
    pub fn is_recorded(&self, principal: &str) -> bool {
        within(self.refusals.as_ref(), self.clock, &principal.to_owned(), 1).is_ok()
    }

    fn submit(&self, principal: &str, address: IpAddr, bytes: usize) -> Result<(), AdmissionError> {
        let count = weight(bytes).saturating_add(1);
        let by_name = within(self.submits.as_ref(), self.clock, &principal.to_owned(), count);
        by_name
            .and_then(|()| within(self.submits_from.as_ref(), self.clock, &network(address), count))
            .map_err(|retry_after| AdmissionError::TooFast { retry_after })
    }

    /// Counts what a statement became, in bytes, before it is recorded.
    ///
    /// # Errors
    /// [`AdmissionError::TooFast`].
    pub fn weigh(&self, principal: &str, bytes: usize) -> Result<(), AdmissionError> {
        let by_name = within(self.submits.as_ref(), self.clock, &principal.to_owned(), weight(bytes));
        by_name.map_err(|retry_after| AdmissionError::TooFast { retry_after })
    }

    /// Holds a poll, a heartbeat or a cancel back until it is within the rate, and for 10 s at the most: a driver
    /// would take a refusal for the end of its query.
    pub async fn poll(&self, principal: &str, address: IpAddr) {
        let deadline = Instant::now() + LONGEST;
        hold(self.polls.as_ref(), self.clock, &principal.to_owned(), deadline).await;
        hold(self.polls_from.as_ref(), self.clock, &network(address), deadline).await;
    }
}

fn limiter<K: Hash + Eq + Clone>(clock: Tick, per_second: u32) -> Option<Limiter<K>> {
    // A burst is as many as in two seconds.
    let burst = NonZeroU32::new(per_second.saturating_mul(2))?;
    let quota = Quota::per_second(NonZeroU32::new(per_second)?).allow_burst(burst);
    Some(Limiter { governor: RateLimiter::new(quota, DashMapStateStore::default(), clock), burst })
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes / WEIGHED).unwrap_or(u32::MAX)
}

async fn hold<K: Hash + Eq + Clone>(limiter: Option<&Limiter<K>>, clock: Tick, key: &K, deadline: Instant) {
    while let Err(wait) = within(limiter, clock, key, 1) {
        let next = Instant::now() + wait;
        tokio::time::sleep_until(next.min(deadline)).await;
        if next >= deadline {
            return;
        }
    }
}

fn within<K: Hash + Eq + Clone>(
    limiter: Option<&Limiter<K>>,
    clock: Tick,
    key: &K,
    count: u32,
) -> Result<(), Duration> {
    let (Some(Limiter { governor, burst }), Some(count)) = (limiter, NonZeroU32::new(count)) else {
        return Ok(());
    };
    if governor.len() > MAX_KEYS {
        governor.retain_recent();
    }
    // What counts for more than the most at once takes all of that.
    match governor.check_key_n(key, count.min(*burst)) {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(until)) => Err(until.wait_time_from(clock.now()).max(Duration::from_millis(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(submits: u32, polls: u32) -> Rate {
        Rate::new(&Config {
            submits_per_second: submits,
            polls_per_second: polls,
            submits_per_second_per_address: 0,
            polls_per_second_per_address: 0,
            ..Config::default()
        })
    }

    fn here() -> IpAddr {
        "10.0.0.1".parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_counted_whoever_signs_in_there() {
        let config = Config {
            submits_per_second_per_address: 1,
            polls_per_second_per_address: 1,
            ..Config::default()
        };
        let rate = Rate::new(&config);
        let check = |name: &str, address: &str, expect: bool| {
            let got = rate.submit(name, address.parse().expect("an address"), 9).is_ok();
            assert_eq!(got, expect, "{name} {address}");
        };
        check("ann", "10.0.0.1", true);
        check("bob", "10.0.0.1", true);
        check("eva", "10.0.0.1", false);
        check("eva", "::ffff:10.0.0.1", false);
        check("eva", "10.0.0.2", true);
        check("ann", "2001:db8::1", true);
        check("bob", "2001:db8::ffff:2", true);
        check("eva", "2001:db8::3", false);
        check("eva", "2001:db8:0:1::3", true);
        let began = Instant::now();
        for name in ["ann", "bob", "eva"] {
            rate.poll(name, here()).await;
        }
        assert_eq!(began.elapsed().as_secs(), 1, "the third waits");
    }

    #[tokio::test(start_paused = true)]
    async fn statements_above_the_rate_are_refused_for_a_while() {
        let rate = rate(10, 1);
        assert!((0..20).all(|_| rate.submit("ann", here(), 9).is_ok()), "a burst");
        let refused = rate.submit("ann", here(), 9).expect_err("too fast");
        assert_eq!(refused, AdmissionError::TooFast { retry_after: Duration::from_millis(100) });
        assert!(rate.submit("bob", here(), 9).is_ok(), "another principal");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(rate.submit("ann", here(), 9).is_ok());
        assert!(rate.submit("ann", here(), 9).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn long_statements_count_for_more() {
        let rate = rate(10, 1);
        assert!(rate.submit("ann", here(), 19 * WEIGHED).is_ok(), "a burst, as one statement");
        let refused = rate.submit("ann", here(), 0).expect_err("too fast");
        assert_eq!(refused, AdmissionError::TooFast { retry_after: Duration::from_millis(100) });
        tokio::time::advance(Duration::from_secs(2)).await;
        // What none may have at once takes all that there is, and is not refused for ever.
        assert!(rate.submit("ann", here(), usize::MAX).is_ok());
        assert!(rate.submit("ann", here(), 0).is_err());
        tokio::time::advance(Duration::from_secs(2)).await;
        // What it becomes counts, too; what is short does not.
        assert!(rate.weigh("ann", WEIGHED - 1).is_ok());
        assert!(rate.weigh("ann", 20 * WEIGHED).is_ok());
        assert!(rate.weigh("ann", WEIGHED - 1).is_ok());
        assert!(rate.weigh("ann", WEIGHED).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_wait_and_are_never_refused() {
        let rate = rate(1, 2);
        let began = Instant::now();
        for _ in 0..4 {
            rate.poll("ann", here()).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "a burst");
        for _ in 0..4 {
            rate.poll("ann", here()).await;
        }
        let took = began.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&took), "{took:?}");
        // A hundred at once: nobody is held for longer than the bound.
        let all = futures_util::future::join_all((0..100).map(|_| rate.poll("ann", here())));
        let began = Instant::now();
        all.await;
        assert_eq!(began.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn nought_is_no_limit() {
        let rate = rate(0, 0);
        assert!((0..10_000).all(|_| rate.submit("ann", here(), 9).is_ok()));
        rate.poll("ann", here()).await;
    }
}
