//! Failed sign-ins, counted by address and by name.
//!
//! A wrong password costs a cell of the address's quota and one of the name's; when a quota is used up, further
//! attempts are refused unseen until a cell is free again. Neither guessing at a name nor a program that keeps
//! trying an old password must lock others out: a name and an address that have signed in together before have a
//! quota of their own, and are held to nobody else's. Bad tokens are counted apart from passwords.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::config;
use super::error::{By, Refused};
use crate::shares::network;

/// Above this many keys the old ones are swept out; far above what the quotas let through in a minute.
const MAX_KEYS: usize = 100_000;
/// Sessions that a user may make in a minute.
const SESSIONS: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
/// How long an address counts as one of a user's own.
const FAMILIAR: Duration = Duration::from_hours(12);

/// The counts.
pub(super) struct Attempts {
    addresses: Counter<IpAddr>,
    names: Counter<String>,
    pairs: Counter<(String, IpAddr)>,
    tokens: Counter<IpAddr>,
    /// What browsers bring from identity providers.
    answers: Counter<IpAddr>,
    /// Sessions that users make.
    sessions: Counter<String>,
    /// Tokens that were good once, or could not be checked.
    stale: Counter<IpAddr>,
    /// Names and addresses that have signed in together.
    familiar: Cache<(String, IpAddr), ()>,
}

impl Attempts {
    pub(super) fn new(config: &config::Attempts) -> Self {
        let per_address = Quota::per_minute(config.per_address);
        let per_name = Quota::per_minute(config.per_name);
        Self {
            addresses: Counter::new(per_address),
            names: Counter::new(per_name),
            pairs: Counter::new(per_name),
            tokens: Counter::new(per_address),
            answers: Counter::new(per_address),
            sessions: Counter::new(Quota::per_minute(SESSIONS)),
            stale: Counter::new(per_address),
            familiar: Cache::builder().max_capacity(10_000).time_to_live(FAMILIAR).build(),
        }
    }

    /// Whether a password may be looked at.
    pub(super) fn admit_password(&self, address: IpAddr, name: &str) -> Result<(), Refused> {
        let pair = (name.to_owned(), network(address));
        if self.familiar.contains_key(&pair) {
            return self.pairs.admit(&pair, By::Name);
        }
        self.addresses.admit(&pair.1, By::Address)?;
        self.names.admit(&pair.0, By::Name)
    }

    /// Counts a wrong password.
    pub(super) fn failed_password(&self, address: IpAddr, name: &str) {
        let pair = (name.to_owned(), network(address));
        if self.familiar.contains_key(&pair) {
            return self.pairs.count(&pair);
        }
        self.addresses.count(&pair.1);
        self.names.count(&pair.0);
    }

    /// Remembers where a user signs in from.
    pub(super) fn succeeded(&self, address: IpAddr, name: &str) {
        self.familiar.insert((name.to_owned(), network(address)), ());
    }

    /// Whether a token may be looked at. It names nobody until it is verified.
    pub(super) fn admit_token(&self, address: IpAddr) -> Result<(), Refused> {
        self.tokens.admit(&network(address), By::Address)
    }

    /// Whether an identity provider's answer may be looked at.
    pub(super) fn admit_answer(&self, address: IpAddr) -> Result<(), Refused> {
        self.answers.admit(&network(address), By::Address)
    }

    /// Counts one that did not hold.
    pub(super) fn failed_answer(&self, address: IpAddr) {
        self.answers.count(&network(address));
    }

    /// Counts a session of a user: whether there may be one more. They take up room that others need.
    pub(super) fn admit_session(&self, name: &str) -> Result<(), Refused> {
        let name = name.to_owned();
        self.sessions.admit(&name, By::Name)?;
        self.sessions.count(&name);
        Ok(())
    }

    /// Counts what is no guess; whether it is within the limit.
    pub(super) fn count_stale(&self, address: IpAddr) -> bool {
        let network = network(address);
        let admitted = self.stale.admit(&network, By::Address).is_ok();
        if admitted {
            self.stale.count(&network);
        }
        admitted
    }

    /// Counts a bad token.
    pub(super) fn failed_token(&self, address: IpAddr) {
        self.tokens.count(&network(address));
    }
}

/// One quota per key, and who has used theirs up.
struct Counter<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> {
    limiter: DefaultKeyedRateLimiter<K>,
    blocked: Cache<K, Instant>,
}

impl<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> Counter<K> {
    fn new(quota: Quota) -> Self {
        let blocked = Cache::builder()
            .max_capacity(MAX_KEYS as u64)
            .time_to_live(quota.replenish_interval() + Duration::from_secs(1))
            .build();
        Self { limiter: RateLimiter::keyed(quota), blocked }
    }

    fn admit(&self, key: &K, by: By) -> Result<(), Refused> {
        let left = self.blocked.get(key).and_then(|until| until.checked_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(retry_after) => Err(Refused::TooManyAttempts { by, retry_after }),
            None => Ok(()),
        }
    }

    fn count(&self, key: &K) {
        if self.limiter.len() > MAX_KEYS {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        // The limiter cannot be asked without taking a cell, so it is the failure after the last cell that blocks.
        let wait = match self.limiter.check_key(key) {
            Ok(()) => return,
            Err(refused) => refused.wait_time_from(DefaultClock::default().now()),
        };
        self.blocked.insert(key.clone(), Instant::now() + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(per_address: u32, per_name: u32) -> Attempts {
        let number = |n| NonZeroU32::new(n).expect("not zero");
        Attempts::new(&config::Attempts { per_address: number(per_address), per_name: number(per_name) })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_stopped_and_others_are_not() {
        let attempts = attempts(3, 100);
        for name in ["a", "b", "c", "d"] {
            assert_eq!(attempts.admit_password(address("10.0.0.1"), name), Ok(()));
            attempts.failed_password(address("10.0.0.1"), name);
        }
        let refused = attempts.admit_password(address("10.0.0.1"), "e").expect_err("stopped");
        assert!(matches!(refused, Refused::TooManyAttempts { by: By::Address, .. }));
        assert_eq!(attempts.admit_password(address("10.0.0.2"), "e"), Ok(()));
        assert_eq!(attempts.admit_token(address("10.0.0.1")), Ok(()), "tokens are counted apart");
        let mapped = attempts.admit_password(address("::ffff:10.0.0.1"), "e");
        assert!(mapped.is_err(), "the same address, in IPv6's form");
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let attempts = attempts(1, 100);
        attempts.failed_token(address("2001:db8:1:2::1"));
        attempts.failed_token(address("2001:db8:1:2::2"));
        assert!(attempts.admit_token(address("2001:db8:1:2:ffff::9")).is_err());
        assert!(attempts.admit_token(address("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn a_name_is_stopped_but_not_at_its_owners_place() {
        let attempts = attempts(100, 2);
        let home = address("10.0.0.1");
        attempts.succeeded(home, "ann");
        for last in 2..5_u8 {
            attempts.failed_password(IpAddr::from([10, 0, 0, last]), "ann");
        }
        let refused = attempts.admit_password(address("10.0.0.9"), "ann").expect_err("stopped");
        assert!(matches!(refused, Refused::TooManyAttempts { by: By::Name, .. }));
        assert!(refused.retry_after() >= Some(Duration::from_secs(1)));
        assert_eq!(attempts.admit_password(home, "ann"), Ok(()));
        assert_eq!(attempts.admit_password(address("10.0.0.9"), "bob"), Ok(()));
        for _ in 0..3 {
            attempts.failed_password(home, "ann");
        }
        assert!(attempts.admit_password(home, "ann").is_err(), "no free guesses at home either");
    }

    #[test]
    fn a_program_with_an_old_password_stops_itself_alone() {
        let attempts = attempts(3, 3);
        let host = address("10.0.0.1");
        attempts.succeeded(host, "dashboard");
        attempts.succeeded(host, "ann");
        for _ in 0..10 {
            attempts.failed_password(host, "dashboard");
        }
        assert!(attempts.admit_password(host, "dashboard").is_err());
        assert_eq!(attempts.admit_password(host, "ann"), Ok(()));
        assert_eq!(attempts.admit_password(host, "new"), Ok(()));
    }
}
