//! The list of all logs of a bank in one place, so that one that is gone as a whole is missed, too.
//!
//! Each gateway writes a line about its log there, once, signed by the log's own key: nobody can list a log in another's name,
//! and under Object Lock nobody can take one off.

use std::io;

use aws_lc_rs::digest::{SHA256, digest};

use super::note::{Key, NoteError, Verifier};
use super::s3::{Bucket, Config};
use crate::units::hex;

const SIGNED_AS: &str = "northgate audit log";

/// A log that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What its checkpoints are verified with, as it says itself: whether that is right, others must know.
    pub verifier: String,
    /// What is in front of its names in the bucket.
    pub prefix: String,
}

/// What is written about a log.
pub(super) fn entry(key: &Key, prefix: &str) -> Result<Vec<u8>, NoteError> {
    key.sign_text(format!("{SIGNED_AS}\n{}\n{}\n{prefix}\n", key.origin(), key.verifier()).as_bytes())
}

/// Under which name.
pub(super) fn name(entry: &[u8]) -> String {
    hex(digest(&SHA256, entry).as_ref().get(..16).unwrap_or_default())
}

fn read(note: &[u8]) -> Option<Listed> {
    let text = std::str::from_utf8(note).ok()?;
    let verifier = Verifier::new(text.lines().nth(2)?).ok()?;
    let text = String::from_utf8(verifier.open_text(note).ok()?).ok()?;
    let mut lines = text.lines();
    let [kind, origin, key, prefix] = [lines.next()?, lines.next()?, lines.next()?, lines.next()?];
    let sound =
        kind == SIGNED_AS && origin == verifier.origin() && key == verifier.text() && lines.next().is_none();
    sound.then(|| Listed { verifier: key.to_owned(), prefix: prefix.to_owned() })
}

/// The logs of an index, which is where the prefix of the configuration leads.
///
/// # Errors
/// It cannot be read, or something in it is no log's.
pub fn listed(config: &Config) -> io::Result<Vec<Listed>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bucket = Bucket::new(config).map_err(io::Error::other)?;
    runtime.block_on(async {
        let mut listed = Vec::new();
        for name in bucket.list("").await.map_err(io::Error::other)? {
            let note = bucket.get(&name).await.map_err(io::Error::other)?.unwrap_or_default();
            let bad =
                || io::Error::new(io::ErrorKind::InvalidData, format!("{name} in the index is no log's"));
            listed.push(read(&note).ok_or_else(bad)?);
        }
        listed.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        Ok(listed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_listed_by_itself_alone() {
        let temp = tempfile::tempdir().expect("a folder");
        let key = Key::open(&temp.path().join("a.key").into(), "bank/1", true).expect("made");
        let other = Key::open(&temp.path().join("b.key").into(), "bank/2", true).expect("made");
        let note = entry(&key, "gateway-1").expect("signed");
        let listed = Listed { verifier: key.verifier().to_owned(), prefix: "gateway-1".to_owned() };
        assert_eq!(read(&note), Some(listed));
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), None, "byte {at} may be changed");
        }
        let foreign = format!("{SIGNED_AS}\n{}\n{}\ngateway-2\n", key.origin(), key.verifier());
        assert_eq!(read(&other.sign_text(foreign.as_bytes()).expect("signed")), None);
    }
}
