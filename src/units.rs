//! Sizes and durations as a person writes them: `1MB`, `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes. Written with a unit: `512B`, `64kB`, `1MB`, `2GB` (powers of 1000) or
/// `64KiB`, `1MiB`, `2GiB` (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A span of time. Written with a unit: `250ms`, `30s`, `5m`, `8h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A size or a span that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number, or no whole one, in front.
    #[error("'{0}' does not begin with a whole number")]
    Number(String),
    /// No unit behind the number, or an unknown one.
    #[error("'{text}' needs a unit: one of {known}")]
    Unit {
        /// What was written.
        text: String,
        /// The units there are.
        known: &'static str,
    },
    /// More than fits.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn read(text: &str, units: &[(&str, u64)], known: &'static str) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(split);
    if digits.is_empty() {
        return Err(UnitError::Number(text.to_owned()));
    }
    let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge(text.to_owned()))?;
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit.trim())
        .ok_or_else(|| UnitError::Unit { text: text.to_owned(), known })?;
    number.checked_mul(*factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

fn write(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (name, factor) = units
        .iter()
        .filter(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor)
        .unwrap_or(&units[units.len() - 1]);
    write!(f, "{}{name}", value / factor)
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text, &SIZES, "B, kB, MB, GB, KiB, MiB, GiB").map(Self)
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text, &SPANS, "ms, s, m, h, d").map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, &SIZES, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if ms == 0 {
            return f.write_str("0s");
        }
        write(ms, &SPANS, f)
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
as_text!(ByteSize);
as_text!(Span);

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// At most `most` characters of `text`.
pub fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expect: Result<u64, &str>| {
            let got = text.parse::<ByteSize>().map(|s| s.0).map_err(|e| e.to_string());
            assert_eq!(got, expect.map_err(str::to_owned), "{text}");
        };
        check("1MB", Ok(1_000_000));
        check("64 KiB", Ok(65_536));
        check("0B", Ok(0));
        check("12", Err("'12' needs a unit: one of B, kB, MB, GB, KiB, MiB, GiB"));
        check("MB", Err("'MB' does not begin with a whole number"));
        check("-1MB", Err("'-1MB' does not begin with a whole number"));
        check("99999999999999999999B", Err("'99999999999999999999B' is too large"));
        check("99999999999999GiB", Err("'99999999999999GiB' is too large"));
    }

    #[test]
    fn spans_print_as_they_are_read() {
        for text in ["250ms", "30s", "5m", "8h", "7d", "90s", "0s"] {
            assert_eq!(text.parse::<Span>().expect("a span").to_string(), text);
        }
        assert!("5 minutes".parse::<Span>().is_err());
    }
}
