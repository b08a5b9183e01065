//! What a token looks like: `ngp_`, 43 random characters and 6 of a checksum.
//!
//! The prefix and the checksum let a scanner of source code find tokens that were committed by mistake
//! (`ngp_[0-9A-Za-z]{49}`), and let what cannot be a token be told without asking anybody. 43 characters out of 62 are
//! 256 bits, which nobody guesses: a plain SHA-256 is enough to keep them by.

use aws_lc_rs::{digest, rand};

use crate::secret::Secret;

/// What every token begins with.
const PREFIX: &str = "ngp_";
/// Random characters: the least number that has 256 bits.
const RANDOM: usize = 43;
/// Characters of the checksum: CRC-32 in base 62.
const CHECKSUM: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a token: what it is kept and found by.
pub(in super::super) type Hash = [u8; 32];

/// A new token; none if there are no random numbers.
pub(super) fn generate() -> Option<Secret<String>> {
    let mut text = String::with_capacity(PREFIX.len() + RANDOM + CHECKSUM);
    text.push_str(PREFIX);
    let mut missing = RANDOM;
    while missing > 0 {
        let mut bytes = [0; RANDOM];
        rand::fill(&mut bytes).ok()?;
        // Of 256 values the first 248 fall on 62 digits evenly.
        for byte in bytes.into_iter().filter(|byte| *byte < 248).take(missing) {
            text.push(char::from(DIGITS[usize::from(byte % 62)]));
            missing -= 1;
        }
    }
    let checksum = checksum(&text.as_bytes()[PREFIX.len()..]);
    text.push_str(&checksum);
    Some(Secret::new(text))
}

/// Whether a text has the form of a token, its checksum included.
pub(in super::super) fn is_token(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    if rest.len() != RANDOM + CHECKSUM || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (random, given) = rest.split_at(RANDOM);
    checksum(random.as_bytes()) == given
}

/// What a token is found by.
pub(in super::super) fn hash(token: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// CRC-32 (ISO 3309) in base 62, of six digits.
fn checksum(bytes: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut text = [b'0'; CHECKSUM];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        // The check value of CRC-32 is CBF43926 for these nine digits.
        let value = checksum(b"123456789").bytes().fold(0, |value: u64, byte| {
            value * 62 + DIGITS.iter().position(|digit| *digit == byte).expect("a digit") as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn what_is_made_has_the_form_and_what_is_changed_has_not() {
        let token = generate().expect("random numbers");
        let text = token.expose();
        assert_eq!(text.len(), 53);
        assert!(is_token(text), "{text}");
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            assert!(!is_token(&changed), "{changed}");
        }
        for wrong in ["", "ngp_", &text[1..], &format!("{text}0"), &text.replace("ngp_", "ngp-")] {
            assert!(!is_token(wrong), "{wrong}");
        }
        assert_ne!(generate().expect("random numbers").expose(), text);
    }
}
