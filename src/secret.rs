//! Values that are never printed.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::aws;

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

/// What stands before the name of a variable that holds a secret.
const VARIABLE: &str = "env:";
/// What the name of a secret in AWS Secrets Manager begins with.
const ARN: &str = "arn:";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment: `env:NAME`.
    Variable(String),
    /// In AWS Secrets Manager: `arn:aws:secretsmanager:...`, as in a task of Amazon ECS.
    SecretsManager(aws::Arn),
}

impl Source {
    /// Whether a path looks like one that is no file's: `env:...` or `arn:...`.
    pub fn is_elsewhere(path: &Path) -> bool {
        path.to_str().is_some_and(|text| text.starts_with(VARIABLE) || text.starts_with(ARN))
    }

    /// The file's path, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Variable(_) | Self::SecretsManager(_) => None,
        }
    }

    /// The file's path, if it is one.
    pub fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Variable(_) | Self::SecretsManager(_) => None,
        }
    }

    /// Reads it; one line end at its end is not part of it. Waits for AWS if it is there, half a minute at most.
    ///
    /// # Errors
    /// Why it cannot be had. Only of a file it may be "not found".
    pub fn read(&self) -> io::Result<Secret<String>> {
        let mut text = match self {
            Self::File(path) => return Secret::from_file(path),
            Self::Variable(name) => Zeroizing::new(std::env::var(name).map_err(|_| {
                let why = format!("the environment variable {name} is not set, or is no text");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?),
            Self::SecretsManager(arn) => managed(arn)?,
        };
        strip(&mut text);
        Ok(Secret(text))
    }
}

/// Whoever reads secrets may do so within a runtime, which must not wait, so that another thread asks.
fn managed(arn: &aws::Arn) -> io::Result<Zeroizing<String>> {
    let arn = arn.clone();
    let asked = std::thread::Builder::new().name("secret".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(aws::secret(&arn)).map_err(io::Error::other)
    })?;
    asked.join().map_err(|_| io::Error::other("the thread that asks for it failed"))?
}

fn strip(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "{VARIABLE}{name}"),
            Self::SecretsManager(arn) => arn.fmt(f),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix(VARIABLE) {
            return match name {
                "" => Err("env: the name of the variable is missing".to_owned()),
                name => Ok(Self::Variable(name.to_owned())),
            };
        }
        if text.starts_with(ARN) {
            text.parse().map(Self::SecretsManager)
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl Secret<String> {
    /// Reads a secret from a file; one line end at its end is not part of it.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let mut text = Zeroizing::new(std::fs::read_to_string(path)?);
        strip(&mut text);
        Ok(Self(text))
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
        let source = |text: &str| Source::try_from(text.to_owned());
        // One that cargo sets for each test.
        let secret = source("env:CARGO_PKG_NAME").expect("a source").read().expect("set");
        assert_eq!(secret.expose(), "northgate");
        let error = source("env:NORTHGATE_NO_SUCH").expect("a source").read().expect_err("not set");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("NORTHGATE_NO_SUCH"), "{error}");
        assert_eq!(source("/etc/env:X"), Ok(Source::File("/etc/env:X".into())));
        source("env:").expect_err("no name");
        source("arn:aws:s3:::bucket").expect_err("a bucket holds none");
    }
}
