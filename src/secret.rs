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

impl Secret<String> {
    /// Reads a secret from a file; one line end at its end is not part of it.
    pub fn from_file(path: &Path) -> std::io::Result<Self> {
        let mut text = std::fs::read_to_string(path)?;
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
}
