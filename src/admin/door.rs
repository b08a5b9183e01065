//! The key of what changes something or tells of users: who may make tokens for anybody may do anything, so that these
//! requests are for who may read the gateway's own files.

use std::io::Write as _;
use std::path::Path;

use aws_lc_rs::{constant_time, rand};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::secret::Secret;
use crate::units::hex;

/// Lets in who has the key.
pub(super) struct Door(Secret<String>);

impl Door {
    /// Makes a key and writes it to a file that only its owner can read.
    pub(super) fn new(key_file: &Path) -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| std::io::Error::other("no random numbers"))?;
        let key = Secret::new(hex(&bytes));
        let mut new = key_file.as_os_str().to_owned();
        new.push(".new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(key.expose().as_bytes())?;
        file.write_all(b"\n")?;
        std::fs::rename(&new, key_file)?;
        Ok(Self(key))
    }

    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let given = values.next().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let same = |given: &str| {
            constant_time::verify_slices_are_equal(given.as_bytes(), self.0.expose().as_bytes()).is_ok()
        };
        given.is_some_and(same) && values.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_opens_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.key");
        let old = Door::new(&path).expect("made");
        let key = std::fs::read_to_string(&path).expect("a key");
        let door = Door::new(&path).expect("made anew");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a file").permissions());
        assert_eq!(mode & 0o777, 0o600);
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().expect("a header"));
            }
            headers
        };
        let bearer = format!("Bearer {}", key.trim());
        let bearer = bearer.as_str();
        assert!(old.admits(&headers(&[bearer])));
        for wrong in [&[][..], &[bearer, bearer], &["Bearer "], &[key.trim()], &[&bearer[..bearer.len() - 1]]]
        {
            assert!(!old.admits(&headers(wrong)), "{wrong:?}");
        }
        assert!(!door.admits(&headers(&[bearer])), "a key of before");
    }
}
