//! Requests about personal access tokens. Who may make one for anybody may do anything, so that these need a key, which
//! only those can read who may read the gateway's own files.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::{constant_time, rand};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::{Answer, Operated, is_from_page, not_allowed, text, typed};
use crate::identity::Scope;
use crate::secret::Secret;
use crate::units::{Span, hex};

/// What is asked about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRequest {
    /// To make one.
    Create {
        /// For whom.
        user: String,
        /// What it is called.
        name: String,
        /// How long it lives.
        life: Duration,
        /// What it may be used for.
        scope: Scope,
    },
    /// To list those of an owner, or all.
    List {
        /// The owner.
        user: Option<String>,
    },
    /// To revoke one.
    Revoke {
        /// Its id.
        id: String,
    },
}

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

    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let given = values.next().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let same = |given: &str| {
            constant_time::verify_slices_are_equal(given.as_bytes(), self.0.expose().as_bytes()).is_ok()
        };
        given.is_some_and(same) && values.next().is_none()
    }
}

pub(super) async fn answer<O: Operated>(parts: &Parts, door: &Door, operated: &O) -> Answer {
    if is_from_page(&parts.headers) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    if !door.admits(&parts.headers) {
        return text(StatusCode::UNAUTHORIZED, "the key of admin.key_file is needed\n");
    }
    let request = match read(&parts.method, parts.uri.query().unwrap_or_default()) {
        Ok(Some(request)) => request,
        Ok(None) => return not_allowed("GET, POST, DELETE"),
        Err(wrong) => return text(StatusCode::BAD_REQUEST, &format!("{wrong}\n")),
    };
    match operated.tokens(request).await {
        Ok(json) => typed(StatusCode::OK, "application/json", json),
        Err((status, why)) => text(status, &format!("{why}\n")),
    }
}

/// Reads a request; none if there is no such method.
fn read(method: &Method, query: &str) -> Result<Option<TokenRequest>, String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8();
        pairs.push((name, value.map_err(|_| format!("{name} is not UTF-8"))?.into_owned()));
    }
    let known: &[&str] = match *method {
        Method::GET => &["user"],
        Method::POST => &["user", "name", "life", "read_only", "catalog", "address", "impersonate"],
        Method::DELETE => &["id"],
        _ => return Ok(None),
    };
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(name)) {
        return Err(format!("'{name}' is not one of {}", known.join(", ")));
    }
    let all = |wanted: &'static str| {
        pairs.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    };
    let one = |wanted: &'static str| {
        let mut values = all(wanted);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(format!("{wanted} is there twice")),
        }
    };
    let needed = |wanted: &'static str| {
        one(wanted)?
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| format!("{wanted} is missing"))
    };
    let flag = |wanted: &'static str| match one(wanted)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(format!("{wanted} is true or false")),
    };
    Ok(Some(match *method {
        Method::GET => TokenRequest::List { user: one("user")?.map(str::to_owned) },
        Method::DELETE => TokenRequest::Revoke { id: needed("id")? },
        _ => {
            let life: Span = needed("life")?.parse().map_err(|error| format!("life: {error}"))?;
            let addresses = all("address").map(str::parse).collect::<Result<Vec<_>, String>>()?;
            let catalogs: std::collections::BTreeSet<String> = all("catalog").map(str::to_owned).collect();
            let scope = Scope {
                read_only: flag("read_only")?,
                catalogs: (!catalogs.is_empty()).then(|| catalogs.into()),
                addresses,
                impersonate: flag("impersonate")?,
            };
            TokenRequest::Create { user: needed("user")?, name: needed("name")?, life: life.0, scope }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let check = |method: Method, query: &str, expect: &str| {
            let got = format!("{:?}", read(&method, query));
            assert!(got.contains(expect), "{method} {query}: {got}");
        };
        check(Method::GET, "", "List { user: None }");
        check(Method::GET, "user=a%20b", "List { user: Some(\"a b\") }");
        check(Method::GET, "id=x", "'id' is not one of user");
        check(Method::DELETE, "id=x", "Revoke { id: \"x\" }");
        check(Method::DELETE, "", "id is missing");
        check(Method::PUT, "", "Ok(None)");
        let made = "Create { user: \"u\", name: \"n\", life: 60s, scope: Scope { read_only: true, catalogs: Some({\"c\", \"d\"})";
        check(
            Method::POST,
            "user=u&name=n&life=1m&read_only=true&catalog=c&catalog=d&address=10.0.0.0/8",
            made,
        );
        for (query, expect) in [
            ("name=n&life=1m", "user is missing"),
            ("user=u&user=v&name=n&life=1m", "user is there twice"),
            ("user=u&name=n", "life is missing"),
            ("user=u&name=n&life=1", "life: "),
            ("user=u&name=n&life=1m&read_only=yes", "read_only is true or false"),
            ("user=u&name=n&life=1m&address=10.0.0.1/8", "not a network"),
            ("user=u&name=n&life=1m&readonly=true", "'readonly' is not one of"),
            ("user=%ff&name=n&life=1m", "user is not UTF-8"),
        ] {
            check(Method::POST, query, expect);
        }
    }

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
