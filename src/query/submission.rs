//! A statement that waits for its slot: many do, so that it is kept small.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::cached::Course;
use super::placed::Placed;
use crate::admission::{Slot, Ticket};
use crate::catalog::Noted;
use crate::rewrite::{PackedSql, ScopedSql};

/// How long a statement waits for its slot before its text is packed.
const SOON: Duration = Duration::from_millis(500);

/// A statement that waits for its slot, and what it is sent with.
pub(super) struct Submission {
    pub(super) sql: Text,
    pub(super) headers: Box<[u8]>,
    pub(super) ticket: Ticket,
    pub(super) course: Course,
    /// Whose its links are.
    pub(super) login: Box<str>,
    pub(super) place: Placed,
    pub(super) noted: Noted,
}

impl Submission {
    /// Waits for its slot; after a while in little memory.
    pub(super) async fn slot(&mut self) -> Slot {
        // Apart: it is done with soon, and larger than the rest.
        if let Ok(slot) = Box::pin(tokio::time::timeout(SOON, self.ticket.slot())).await {
            return slot;
        }
        if let Text::Whole(sql) = std::mem::replace(&mut self.sql, Text::None) {
            self.sql = PackedSql::new(sql).map_or_else(Text::Whole, Text::Packed);
        }
        self.ticket.slot().await
    }
}

/// The text of a statement.
pub(super) enum Text {
    Whole(ScopedSql),
    Packed(PackedSql),
    /// While it is packed.
    None,
}

impl Text {
    pub(super) fn whole(self) -> Option<ScopedSql> {
        match self {
            Self::Whole(sql) => Some(sql),
            Self::Packed(packed) => packed.unpack(),
            Self::None => None,
        }
    }
}

/// Headers, as long as nobody looks something up in them: in a fifth of the memory.
pub(super) fn packed(headers: &HeaderMap) -> Box<[u8]> {
    let size = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
    let mut packed = Vec::with_capacity(size);
    for (name, value) in headers {
        // No name has a colon in it, and no value a line's end.
        packed.extend_from_slice(name.as_str().as_bytes());
        packed.push(b':');
        packed.extend_from_slice(value.as_bytes());
        packed.push(b'\n');
    }
    packed.into()
}

/// None if they are not as they were packed.
pub(super) fn unpacked(headers: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in headers.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        map.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_out_as_they_went_in() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-trino-trace-token", "a"),
            ("x-trino-prepared-statement", "b:c"),
            ("x-trino-time-zone", ""),
            ("x-trino-prepared-statement", "d"),
            ("accept", "\u{e9}\t"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        assert_eq!(unpacked(&packed(&headers)), Some(headers));
        assert_eq!(unpacked(b"a:b\nc:d"), None);
        assert_eq!(unpacked(b""), Some(HeaderMap::new()));
    }
}
