//! Failed sign-ins, counted by address and by name.
//!
//! A failure costs a cell of the address's quota and one of the name's; when a quota is used up, further
//! attempts are refused unseen until a cell is free again. Guessing at a name must not lock its owner out:
//! an address from which the name has signed in before is not held to the name's quota.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::config;
use super::error::{By, Refused};

/// Above this many keys the old ones are swept out; far above what the quotas let through in a minute.
const MAX_KEYS: usize = 100_000;
/// How long an address counts as one of a user's own.
const FAMILIAR: Duration = Duration::from_hours(12);

/// The counts.
pub(super) struct Attempts {
    addresses: Counter<IpAddr>,
    names: Counter<String>,
    familiar: Cache<(String, IpAddr), ()>,
}

impl Attempts {
    pub(super) fn new(config: &config::Attempts) -> Self {
        Self {
            addresses: Counter::new(Quota::per_minute(config.per_address)),
            names: Counter::new(Quota::per_minute(config.per_name)),
            familiar: Cache::builder().max_capacity(10_000).time_to_live(FAMILIAR).build(),
        }
    }

    /// Whether an attempt may be looked at. A token names nobody until it is verified: then `name` is `None`.
    pub(super) fn admit(&self, address: IpAddr, name: Option<&str>) -> Result<(), Refused> {
        let address = prefix(address);
        if let Some(retry_after) = self.addresses.blocked(&address) {
            return Err(Refused::TooManyAttempts { by: By::Address, retry_after });
        }
        if let Some(name) = name
            && let Some(retry_after) = self.names.blocked(&name.to_owned())
            && !self.familiar.contains_key(&(name.to_owned(), address))
        {
            return Err(Refused::TooManyAttempts { by: By::Name, retry_after });
        }
        Ok(())
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: IpAddr, name: Option<&str>) {
        let address = prefix(address);
        self.addresses.count(&address);
        if let Some(name) = name {
            self.names.count(&name.to_owned());
        }
    }

    /// Remembers where a user signs in from.
    pub(super) fn succeeded(&self, address: IpAddr, name: &str) {
        self.familiar.insert((name.to_owned(), prefix(address)), ());
    }
}

/// Whoever has one IPv6 address commonly has its whole /64.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
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

    /// The time until the key's next attempt, if it has none left now.
    fn blocked(&self, key: &K) -> Option<Duration> {
        let until = self.blocked.get(key)?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
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
    use std::num::NonZeroU32;

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
            assert_eq!(attempts.admit(address("10.0.0.1"), Some(name)), Ok(()));
            attempts.failed(address("10.0.0.1"), Some(name));
        }
        let refused = attempts.admit(address("10.0.0.1"), Some("e")).expect_err("stopped");
        assert!(matches!(refused, Refused::TooManyAttempts { by: By::Address, .. }));
        assert_eq!(attempts.admit(address("10.0.0.2"), Some("e")), Ok(()));
        assert!(attempts.admit(address("::ffff:10.0.0.1"), None).is_err(), "the same address, mapped");
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let attempts = attempts(1, 100);
        attempts.failed(address("2001:db8:1:2::1"), None);
        attempts.failed(address("2001:db8:1:2::2"), None);
        assert!(attempts.admit(address("2001:db8:1:2:ffff::9"), None).is_err());
        assert!(attempts.admit(address("2001:db8:1:3::1"), None).is_ok());
    }

    #[test]
    fn a_name_is_stopped_but_not_at_its_owners_place() {
        let attempts = attempts(100, 2);
        attempts.succeeded(address("10.0.0.1"), "ann");
        for last in 2..5_u8 {
            attempts.failed(IpAddr::from([10, 0, 0, last]), Some("ann"));
        }
        let refused = attempts.admit(address("10.0.0.9"), Some("ann")).expect_err("stopped");
        assert!(matches!(refused, Refused::TooManyAttempts { by: By::Name, .. }));
        assert!(refused.retry_after() >= Some(Duration::from_secs(1)));
        assert_eq!(attempts.admit(address("10.0.0.1"), Some("ann")), Ok(()));
        assert_eq!(attempts.admit(address("10.0.0.9"), Some("bob")), Ok(()));
    }
}
