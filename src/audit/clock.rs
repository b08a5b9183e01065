//! How a moment is written.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// RFC 3339 in UTC with six digits of a second: `2026-11-23T03:34:47.123456Z`.
pub(super) fn text(at: Timestamp) -> String {
    PRINTER.timestamp_to_string(&at)
}

#[cfg(test)]
mod tests {
    #[test]
    fn six_digits_always() {
        let check = |micros, expect: &str| {
            let at = jiff::Timestamp::from_microsecond(micros).expect("in range");
            assert_eq!(super::text(at), expect);
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(1_795_404_887_123_456, "2026-11-23T03:34:47.123456Z");
        check(1_795_404_887_100_000, "2026-11-23T03:34:47.100000Z");
    }
}
