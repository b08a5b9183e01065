//! The users file: names, password hashes, groups, attributes.
//!
//! ```toml
//! [[user]]
//! name = "ann"
//! password_hash = "$argon2id$v=19$m=19456,t=2,p=1$..."   # made by `northgate user add`
//! groups = ["eu-analysts"]
//! attributes = { region = "EU" }
//! ```
//! A user without a `password_hash` cannot sign in by password, but can be impersonated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::SetupError;
use super::password::PasswordHash;
use super::principal::{Method, Principal};

/// Longest user name, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// Largest users file that is read: some 100,000 users.
const MAX_FILE: u64 = 64 << 20;

/// A snapshot of the users file.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_name: BTreeMap<String, User>,
    /// The names with a password, so that an unknown name can be made to cost what a known one does.
    with_password: Vec<String>,
}

/// One user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) password: Option<PasswordHash>,
    /// Who they are when they signed in by password.
    pub(super) principal: Arc<Principal>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<toml::Spanned<Entry>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_hash: Option<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

impl User {
    /// What stands for the hash of the password, if there is one: another password has another.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let hash = self.password.as_ref()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, hash.as_str().as_bytes());
        Some(crate::units::hex(digest.as_ref()))
    }
}

impl Users {
    /// Reads the file. One that does not exist holds nobody.
    pub(super) fn load(path: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File { path: path.to_owned(), source };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_FILE => {
                return Err(failed(std::io::Error::other("larger than 64 MiB")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|message| SetupError::Users { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let at = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        // The parser's own message would show the line that it stumbles over, which may be one with a hash.
        let file: File = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => format!("line {}: {}", at(span.start), error.message()),
            None => error.message().to_owned(),
        })?;
        let mut users = Self::default();
        for entry in file.user {
            let line = at(entry.span().start);
            users.add(entry.into_inner()).map_err(|message| format!("line {line}: {message}"))?;
        }
        Ok(users)
    }

    fn add(&mut self, entry: Entry) -> Result<(), String> {
        check_name(&entry.name).map_err(|why| format!("user '{}': {why}", entry.name.escape_debug()))?;
        let password = entry
            .password_hash
            .map(|text| PasswordHash::parse(&text))
            .transpose()
            .map_err(|why| format!("user '{}': password_hash: {why}", entry.name))?;
        if self.by_name.contains_key(&entry.name) {
            return Err(format!("user '{}' is there twice", entry.name));
        }
        if password.is_some() {
            self.with_password.push(entry.name.clone());
        }
        let principal = Principal::new(entry.name.as_str(), Method::Password)
            .with_groups(entry.groups)
            .with_attributes(entry.attributes);
        self.by_name.insert(entry.name, User { password, principal: Arc::new(principal) });
        Ok(())
    }

    /// The user of exactly this name.
    pub(super) fn find(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    /// Somebody's hash, chosen by `seed`, whose cost an unknown user shall have too.
    pub(super) fn stand_in(&self, seed: u64) -> Option<&PasswordHash> {
        let count = u64::try_from(self.with_password.len()).ok().filter(|count| *count > 0)?;
        let name = self.with_password.get(usize::try_from(seed % count).ok()?)?;
        self.find(name)?.password.as_ref()
    }

    /// The number of users.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// Whether a user may have this name: 1 to 256 bytes, no control characters, no space at either end.
/// A name goes into headers, file records and messages; what could split or hide there is refused.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a name cannot be empty");
    }
    if name.len() > MAX_NAME {
        return Err("a name cannot be longer than 256 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("a name cannot hold control characters");
    }
    if name.trim() != name {
        return Err("a name cannot begin or end with a space");
    }
    Ok(())
}

/// A user to be written to the file.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name. No `:` in it, since Basic authentication (RFC 7617) ends the name there.
    pub name: String,
    /// Made by [`super::hash_password`].
    pub password_hash: String,
    /// The groups.
    pub groups: BTreeSet<String>,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
}

/// Adds a user at the end of the users file, which is made if it isn't there, readable by its owner alone.
/// What else is in the file, comments included, stays as it is. A user of that name is an error.
///
/// The new file takes the old one's place in one step, so that a gateway that reads it sees one or the other.
pub fn add_user(path: &Path, user: NewUser) -> Result<(), SetupError> {
    let failed = |source| SetupError::File { path: path.to_owned(), source };
    let wrong = |message: String| SetupError::Users { path: path.to_owned(), message };
    if user.name.contains(':') {
        return Err(wrong(format!("user '{}': a name with a password cannot hold ':'", user.name)));
    }
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let entry = Entry {
        name: user.name,
        password_hash: Some(user.password_hash),
        groups: user.groups,
        attributes: user.attributes,
    };
    let entry = toml::to_string(&entry).map_err(|error| wrong(error.to_string()))?;
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    // A table of attributes that follows would be read as the file's own: it needs its full name.
    text.push_str("[[user]]\n");
    for line in entry.lines() {
        text.push_str(if line == "[attributes]" { "[user.attributes]" } else { line });
        text.push('\n');
    }
    Users::parse(&text).map_err(wrong)?;
    replace(path, text.as_bytes()).map_err(failed)
}

/// Puts a file in the place of another, durable and readable by its owner alone.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$\
                        C0nBdGmy9vE8bYxUBsOLPDVcTFRRVcPkqDV0FQlrQ2I";

    #[test]
    fn files_that_do_not_hold_together() {
        let check = |text: &str, expect: &str| {
            let error = Users::parse(text).expect_err(text);
            assert!(error.contains(expect), "{text:?} gave {error:?}");
        };
        check("[[user]]\nname = \"a\"\n\n[[user]]\nname = \"a\"", "line 4: user 'a' is there twice");
        check("[[user]]\nnane = \"a\"", "line 2: unknown field `nane`");
        check("[[user]]\nname = \"\"", "cannot be empty");
        check("[[user]]\nname = \" a\"", "space");
        check("[[user]]\nname = \"a\\nb\"", "control characters");
        check("[[user]]\nname = \"a\"\npassword_hash = \"secret\"", "line 1: user 'a': password_hash");
        check("[[user]", "line 1");
        check(&format!("[[user]]\nname = \"{}\"", "x".repeat(257)), "256 bytes");
    }

    #[test]
    fn an_error_does_not_show_the_hash() {
        let text = format!("[[user]]\nname = \"a\"\npassword_hash = \"{HASH}\" oops");
        let error = Users::parse(&text).expect_err("broken");
        assert!(!error.contains("argon2id"), "{error}");
    }

    #[test]
    fn a_user_is_added_and_the_rest_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        assert_eq!(Users::load(&path).expect("none yet").len(), 0);
        let new = |name: &str| NewUser {
            name: name.to_owned(),
            password_hash: HASH.to_owned(),
            groups: BTreeSet::from(["g".to_owned()]),
            attributes: BTreeMap::from([("region".to_owned(), "[attributes] EU".to_owned())]),
        };
        add_user(&path, new("ann")).expect("added");
        let before = format!("# ours\n{}", std::fs::read_to_string(&path).expect("read"));
        std::fs::write(&path, &before).expect("written");
        add_user(&path, new("bob")).expect("added");
        assert!(std::fs::read_to_string(&path).expect("read").starts_with(&before));
        assert!(add_user(&path, new("ann")).is_err(), "twice");
        assert!(add_user(&path, new("a:b")).is_err(), "a colon");
        let users = Users::load(&path).expect("loaded");
        let bob = users.find("bob").expect("bob");
        assert!(bob.principal.groups().contains("g"));
        assert_eq!(bob.principal.attributes().get("region").map(String::as_str), Some("[attributes] EU"));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).expect("metadata").permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
