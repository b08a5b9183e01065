//! Tokens that were found good, so that a driver's polls need no signature check.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use moka::sync::Cache;

use super::error::{Cause, Refused, SetupError};
use super::jwt::{Verified, now};
use super::principal::Principal;
use crate::secret::Secret;

/// Most tokens remembered.
const MAX_TOKENS: u64 = 50_000;
/// The longest time that a token is remembered: also how long it outlives the withdrawal of its key.
const REMEMBER: Duration = Duration::from_mins(5);

/// Verified tokens under a keyed hash; the tokens themselves are not kept.
pub(super) struct TokenCache {
    key: hmac::Key,
    verified: Cache<[u8; 32], Verified>,
}

impl TokenCache {
    pub(super) fn new() -> Result<Self, SetupError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| SetupError::Value("no random numbers".to_owned()))?;
        let verified = Cache::builder().max_capacity(MAX_TOKENS).time_to_live(REMEMBER).build();
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), verified })
    }

    pub(super) fn fingerprint(&self, token: &Secret<String>) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hmac::sign(&self.key, token.expose().as_bytes()).as_ref());
        fingerprint
    }

    /// The principal, if the token is known; an error if it is known and has ended.
    pub(super) fn find(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Principal>>, Refused> {
        match self.verified.get(fingerprint) {
            Some(verified) if verified.ends > now() => Ok(Some(verified.principal)),
            Some(_) => Err(Refused::BadCredentials(Cause::Expired)),
            None => Ok(None),
        }
    }

    pub(super) fn insert(&self, fingerprint: [u8; 32], verified: Verified) {
        self.verified.insert(fingerprint, verified);
    }

    pub(super) fn clear(&self) {
        self.verified.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::principal::Method;
    use super::*;

    #[test]
    fn a_token_that_ended_is_not_found_good() {
        let cache = TokenCache::new().expect("a cache");
        let check = |token: &str, ends: u64, expect: bool| {
            let fingerprint = cache.fingerprint(&Secret::new(token.to_owned()));
            let principal = Arc::new(Principal::new("ann", Method::Password));
            cache.insert(fingerprint, Verified { principal, ends });
            assert_eq!(cache.find(&fingerprint).is_ok_and(|found| found.is_some()), expect, "{token}");
        };
        check("a", now() + 60, true);
        check("b", now() - 1, false);
        let unknown = cache.fingerprint(&Secret::new("c".to_owned()));
        assert_eq!(cache.find(&unknown), Ok(None));
    }
}
