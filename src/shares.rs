//! What nobody may take all of: a share of something bounded, for each address or each user.
//!
//! A bound for all together keeps the process alive, but whoever is first can have all of it, and keep it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A share of so many units for each key. Keys that hold nothing take no room.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    each: usize,
    held: Held<K>,
}

type Held<K> = Arc<Mutex<HashMap<K, Arc<Semaphore>>>>;

/// What somebody holds of their share, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    // Given back before the key is looked at.
    _units: OwnedSemaphorePermit,
    _own: Own<K>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Shares of `each` units.
    pub fn new(each: usize) -> Self {
        Self { each: each.min(Semaphore::MAX_PERMITS), held: Arc::default() }
    }

    /// Takes units of a key's share, and waits behind the others of this key until there are so many. No more than the
    /// whole share is taken.
    pub async fn take(&self, key: K, units: usize) -> Option<Share<K>> {
        let own = self.own(key);
        let units = Arc::clone(&own.units).acquire_many_owned(self.whole(units)).await.ok()?;
        Some(Share { _units: units, _own: own })
    }

    /// The same without waiting: none if there are not so many, also where the whole share is less.
    pub fn try_take(&self, key: K, units: usize) -> Option<Share<K>> {
        let own = self.own(key);
        let units = Arc::clone(&own.units).try_acquire_many_owned(u32::try_from(units).ok()?).ok()?;
        Some(Share { _units: units, _own: own })
    }

    fn whole(&self, units: usize) -> u32 {
        u32::try_from(units.min(self.each)).unwrap_or(u32::MAX)
    }

    fn own(&self, key: K) -> Own<K> {
        let units = Arc::clone(
            lock(&self.held).entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.each))),
        );
        Own { key, units, held: Arc::clone(&self.held) }
    }
}

/// Somebody's share, while they hold or wait for something.
#[derive(Debug)]
struct Own<K: Hash + Eq> {
    key: K,
    units: Arc<Semaphore>,
    held: Held<K>,
}

impl<K: Hash + Eq> Drop for Own<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        // This one and the map's.
        if Arc::strong_count(&self.units) == 2 {
            held.remove(&self.key);
        }
    }
}

fn lock<K>(held: &Held<K>) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an address is counted as: who has an IPv6 address commonly has its network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_a_share_and_nobody_else_waits_for_it() {
        let shares = Shares::new(10);
        let soon = |key: &'static str, units| {
            let shares = shares.clone();
            async move { tokio::time::timeout(Duration::from_secs(1), shares.take(key, units)).await.ok() }
        };
        let held = shares.try_take("ann", 7).expect("there is room");
        assert!(shares.try_take("ann", 4).is_none(), "more than is left");
        assert!(soon("ann", 4).await.is_none(), "nor for those who wait");
        let rest = shares.try_take("ann", 3).expect("the rest");
        assert!(soon("bob", 10).await.flatten().is_some(), "somebody else has all of theirs");
        assert!(shares.try_take("bob", 11).is_none(), "more than there ever is");
        drop(held);
        assert!(soon("ann", 7).await.flatten().is_some(), "what was given back");
        drop(rest);
        assert!(soon("ann", 1_000).await.flatten().is_some(), "all that there is");
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_nothing_takes_no_room() {
        let shares = Shares::new(2);
        let held = shares.take("ann", 2).await.expect("there is room");
        let second = tokio::time::timeout(Duration::from_secs(1), shares.take("ann", 1));
        drop(held);
        let second = second.await.expect("in time").expect("there is room");
        assert_eq!(lock(&shares.held).len(), 1);
        let gives_up = tokio::time::timeout(Duration::from_secs(1), shares.take("ann", 2));
        assert!(gives_up.await.is_err());
        drop(second);
        let [one, other] = ["bob", "cid"].map(|name| shares.try_take(name, 1));
        drop((one, other));
        assert_eq!(lock(&shares.held).len(), 0);
    }

    #[test]
    fn who_counts_as_one() {
        let check = |text: &str, expect: &str| {
            let [address, expect] = [text, expect].map(|text| text.parse::<IpAddr>().expect("an address"));
            assert_eq!(network(address), expect, "{text}");
        };
        check("10.0.0.1", "10.0.0.1");
        check("::ffff:10.0.0.1", "10.0.0.1");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
