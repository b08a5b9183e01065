//! Lines of the journal as entries of the tree.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::tree::MOST;
use crate::units::hex;

/// The members that tell which record it is.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Peek<'a> {
    pub(super) v: u32,
    #[serde(borrow)]
    pub(super) run: Cow<'a, str>,
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    pub(super) tick_us: u64,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<Cow<'a, str>>,
    /// Where the record is, if it is too long for the tree.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) large: Option<Large<'a>>,
}

/// A record that is in a file of its own, since an entry has at most 65,535 bytes. The entry has its hash.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Large<'a> {
    /// SHA-256 of the line without its end, in hex.
    #[serde(borrow)]
    pub(super) sha256: Cow<'a, str>,
    pub(super) bytes: u64,
}

impl<'a> Peek<'a> {
    pub(super) fn of(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Whether an entry may stand for a long record. Only what does has this member, and it is short itself.
    pub(super) fn may_be_stub(entry: &[u8]) -> bool {
        entry.len() < 1024 && memchr::memmem::find(entry, b"\"large\":{\"sha256\":").is_some()
    }
}

/// A line's entry.
pub(super) enum Entry<'a> {
    /// The line itself.
    Line(&'a [u8]),
    /// What stands for it, and where the line is to be.
    Stub(Vec<u8>, String),
}

impl<'a> Entry<'a> {
    pub(super) fn of(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        if line.len() <= MOST {
            return Ok(Self::Line(line));
        }
        let sha256 = hex(digest(&SHA256, line).as_ref());
        let path = large_path(&sha256);
        let large = Some(Large { sha256: sha256.into(), bytes: line.len() as u64 });
        let stub = serde_json::to_vec(&Peek { large, ..Peek::of(line)? })?;
        Ok(Self::Stub(stub, path))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Line(line) => line,
            Self::Stub(stub, _) => stub,
        }
    }
}

/// Where a long record is.
pub(super) fn large_path(sha256: &str) -> String {
    format!("large/{}/{sha256}", sha256.get(..2).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_has_a_stub() {
        let check = |length: usize| {
            let head =
                r#"{"v":1,"run":"ab","seq":3,"time":"t","tick_us":9,"type":"intent","query":"q\"1","text":""#;
            let line = format!("{head}{}\"}}", "x".repeat(length - head.len() - 2));
            assert_eq!(line.len(), length);
            let entry = Entry::of(line.as_bytes()).expect("an entry");
            let path = match &entry {
                Entry::Line(_) => None,
                Entry::Stub(_, path) => Some(path.clone()),
            };
            (String::from_utf8(entry.bytes().to_vec()).expect("UTF-8"), path)
        };
        assert_eq!(check(65_535).1, None);
        let (stub, path) = check(65_536);
        let peek = Peek::of(stub.as_bytes()).expect("JSON");
        assert_eq!((peek.seq, peek.query.as_deref(), peek.kind.as_ref()), (3, Some("q\"1"), "intent"));
        let large = peek.large.expect("told");
        assert_eq!(large.bytes, 65_536);
        assert_eq!(path, Some(large_path(&large.sha256)));
    }
}
