//! Values that are never printed.

use std::fmt;
use std::path::Path;

use zeroize::{Zeroize, Zeroizing};

/// A secret in memory: wiped when dropped, with no `Display`, no `Serialize` and a `Debug` that
/// shows nothing.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that needs it. The name is long so that a reviewer sees it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What stands before the name of a variable that holds a secret, in the place of a file's path.
const VARIABLE: &str = "env:";

/// The variable of the environment that a path names, if it is no file's: `env:OIDC_SECRET`.
pub fn variable(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(VARIABLE)
}

impl Secret<String> {
    /// Reads a secret from a file, or from the variable that the path names; one line end at its end is not part of it.
    pub fn from_file(path: &Path) -> std::io::Result<Self> {
        let mut text = match variable(path) {
            // Not "not found": a key that is not found may be made, and kept in a file.
            Some(name) => std::env::var(name).map_err(|_| {
                let why = format!("the environment variable {name} is not set, or is no text");
                std::io::Error::new(std::io::ErrorKind::InvalidInput, why)
            })?,
            None => std::fs::read_to_string(path)?,
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(Self::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(..)");
    }

    #[test]
    fn a_file_loses_one_line_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s");
        std::fs::write(&path, "abc \r\n").expect("written");
        assert_eq!(Secret::from_file(&path).expect("read").expose(), "abc ");
    }

    #[test]
    fn a_variable_may_hold_one() {
        // One that cargo sets for each test.
        let secret = Secret::from_file(Path::new("env:CARGO_PKG_NAME")).expect("set");
        assert_eq!(secret.expose(), "northgate");
        let error = Secret::from_file(Path::new("env:NORTHGATE_NO_SUCH")).expect_err("not set");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("NORTHGATE_NO_SUCH"), "{error}");
        assert_eq!(variable(Path::new("/etc/env:X")), None);
    }
}
