//! What a shared store is given is sealed: who reads the store learns nothing of it, and who writes to it can make
//! nothing up.
//!
//! AES-256-GCM-SIV (RFC 8452) with random nonces. The kind and the name of an entry are authenticated with it, so that
//! none can be put in another's place, and so is its end. What remains to who can write: to drop entries, and to bring
//! back one that was there before under the same name, until its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Key, Kind, StoreError};
use crate::secret::{Secret, Source};

/// The current key and some that it replaced.
const MOST_KEYS: usize = 8;
const PURPOSE: &[u8] = b"northgate state 1\0";

/// Seals and opens. The first key seals; all of them open.
pub struct Vault(Vec<(LessSafeKey, hmac::Key)>);

impl Vault {
    /// Reads the current key and those that it replaced.
    pub(super) fn open(current: &Source, previous: &[Source]) -> Result<Self, StoreError> {
        if previous.len() >= MOST_KEYS {
            return Err(StoreError::Setup(format!("previous_key_files: at most {}", MOST_KEYS - 1)));
        }
        let keys = std::iter::once(current).chain(previous).map(|source| {
            let failed = |error| StoreError::source(source, &error);
            let text = source.read().map_err(failed)?;
            let bytes = STANDARD.decode(text.expose().trim()).map(Secret::new);
            let bytes = bytes.ok().filter(|bytes| bytes.expose().len() == 32);
            let bytes = bytes.ok_or_else(|| failed(std::io::Error::other("not 32 bytes in base64")))?;
            Self::key(&bytes).ok_or_else(|| failed(std::io::Error::other("not a key")))
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// One with a key that nobody else has, and that is gone with this.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn of_process() -> Result<Self, StoreError> {
        let mut bytes = vec![0; 32];
        let key = rand::fill(&mut bytes).ok().and_then(|()| Self::key(&Secret::new(bytes)));
        key.map(|key| Self(vec![key]))
            .ok_or_else(|| StoreError::Setup("no random numbers for a key".to_owned()))
    }

    /// Names come from another key than seals: one key has one purpose.
    fn key(bytes: &Secret<Vec<u8>>) -> Option<(LessSafeKey, hmac::Key)> {
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, bytes.expose()).ok()?);
        let derived =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()), b"northgate state names 1");
        Some((seal, hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())))
    }

    /// What stands for a text that could be guessed, such as somebody's name: the one to write to, then those of the keys
    /// of before.
    pub(super) fn names(&self, text: &str) -> Vec<[u8; 32]> {
        let name = |(_, key): &(LessSafeKey, hmac::Key)| {
            let mut name = [0; 32];
            name.copy_from_slice(hmac::sign(key, text.as_bytes()).as_ref());
            name
        };
        self.0.iter().map(name).collect()
    }

    /// Seals an entry that ends after `life`.
    ///
    /// # Errors
    /// [`StoreError::Form`]: it cannot be sealed.
    pub fn seal(&self, key: &Key, plain: &[u8], life: Duration) -> Result<Vec<u8>, StoreError> {
        let unsealed = || StoreError::Form("it cannot be sealed".to_owned());
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| unsealed())?;
        let ends = now().saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        let mut sealed = [&ends.to_be_bytes()[..], plain].concat();
        let (seal, _) = self.0.first().ok_or_else(unsealed)?;
        let tag = seal
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(key.kind, &key.hash),
                &mut sealed,
            )
            .map_err(|_| unsealed())?;
        Ok([&nonce[..], &sealed, tag.as_ref()].concat())
    }

    /// Opens an entry; none if it has ended.
    ///
    /// # Errors
    /// [`StoreError::Form`]: it was not sealed with a key of this, or for another place, or is not whole.
    pub fn unseal(&self, key: &Key, whole: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let forged = || StoreError::Form("it was not sealed with a key of ours".to_owned());
        let (nonce, sealed) = whole.split_first_chunk::<NONCE_LEN>().ok_or_else(forged)?;
        let opened = self.0.iter().find_map(|(seal, _)| {
            let mut copy = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = seal.open_in_place(nonce, aad(key.kind, &key.hash), &mut copy).ok()?.len();
            copy.truncate(length);
            Some(copy)
        });
        let opened = opened.ok_or_else(forged)?;
        let (ends, plain) = opened.split_first_chunk::<8>().ok_or_else(forged)?;
        Ok((u64::from_be_bytes(*ends) > now()).then(|| plain.to_vec()))
    }
}

/// No kind holds a zero, and names have one length, so that no two pairs give the same bytes.
fn aad(kind: Kind, hash: &[u8; 32]) -> Aad<Vec<u8>> {
    Aad::from([PURPOSE, kind.as_str().as_bytes(), b"\0", hash].concat())
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(keys: &[u8]) -> Vault {
        Vault(keys.iter().filter_map(|key| Vault::key(&Secret::new(vec![*key; 32]))).collect())
    }

    #[test]
    fn only_what_was_sealed_for_the_place_opens() {
        const LIFE: Duration = Duration::from_mins(1);
        let (old, new) = (vault(&[1]), vault(&[2, 1]));
        let key = Key::new(Kind::Session, "a");
        let sealed = old.seal(&key, b"text", LIFE).expect("sealed");
        assert!(!sealed.windows(4).any(|part| part == b"text"));
        assert_eq!(new.unseal(&key, &sealed), Ok(Some(b"text".to_vec())), "a key of before");
        assert!(vault(&[2]).unseal(&key, &sealed).is_err(), "another key");
        assert!(old.unseal(&key, &new.seal(&key, b"text", LIFE).expect("sealed")).is_err());
        for elsewhere in [Key::new(Kind::Session, "b"), Key::new(Kind::Used, "a")] {
            assert!(old.unseal(&elsewhere, &sealed).is_err(), "{elsewhere:?}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(old.unseal(&key, &changed).is_err(), "byte {at}");
            assert!(old.unseal(&key, &sealed[..at]).is_err(), "{at} bytes");
        }
        let ended = old.seal(&key, b"text", Duration::ZERO).expect("sealed");
        assert_eq!(old.unseal(&key, &ended), Ok(None));
    }

    #[test]
    fn names_tell_nothing_without_the_key() {
        let (one, two) = (vault(&[1]).names("ann"), vault(&[2, 1]).names("ann"));
        assert_eq!(two.len(), 2);
        assert_eq!(one[0], two[1]);
        assert_ne!(one[0], two[0]);
        assert_ne!(one[0], Key::new(Kind::Person, "ann").hash);
    }
}
