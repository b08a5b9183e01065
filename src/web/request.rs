//! What a browser asks.

use std::collections::HashMap;

use http::header::{COOKIE, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::secret::Secret;
use crate::wire::Peer;

/// The cookie of a session. The prefix makes browsers take it from this host alone, over TLS, for all paths (RFC 6265bis).
pub(super) const SESSION: &str = "__Host-northgate-session";
/// What the names of cookies of sign-ins under way begin with.
pub(super) const SIGN_IN: &str = "__Host-northgate-sign-in-";
/// Longest value of a cookie that is looked at, in bytes.
const LONGEST_COOKIE: usize = 4096;
/// Most fields of a form or query.
const MOST_FIELDS: usize = 64;

/// A request for a page.
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    pub(super) path: &'r str,
    /// As it came.
    pub(super) query: &'r str,
    pub(super) headers: &'r HeaderMap,
    pub(super) peer: &'r Peer,
    body: &'r [u8],
}

impl<'r> Asked<'r> {
    pub(super) fn new(parts: &'r Parts, body: &'r [u8], peer: &'r Peer) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self { method: &parts.method, path: parts.uri.path(), query, headers: &parts.headers, peer, body }
    }

    /// A cookie, if it is there once: which of two is meant is not for us to guess.
    pub(super) fn cookie(&self, name: &str) -> Option<Secret<String>> {
        let lines = self.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        let value = found.next().filter(|value| value.len() <= LONGEST_COOKIE)?;
        found.next().is_none().then(|| Secret::new(value.to_owned()))
    }

    /// A field of the query, if it is there once.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        fields(self.query.as_bytes()).0.remove(name)
    }

    /// The fields of the form.
    pub(super) fn form(&self) -> Form {
        let (fields, clear) = fields(self.body);
        Form { fields, clear }
    }

    /// Whether the request can be from a page of ours, as far as the browser says.
    pub(super) fn is_own(&self, origin: &str) -> bool {
        let says = |name: &str| self.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let site = says("sec-fetch-site");
        let from = says(ORIGIN.as_str());
        site.is_none_or(|site| site == "same-origin")
            && from.is_none_or(|from| from.eq_ignore_ascii_case(origin))
            && (site.is_some() || from.is_some())
    }
}

/// A form that was submitted.
pub(super) struct Form {
    fields: HashMap<String, String>,
    clear: bool,
}

impl Form {
    /// Whether no field is there twice, and none was left out since there are too many.
    pub(super) const fn is_clear(&self) -> bool {
        self.clear
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// A field, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.field(name).unwrap_or_default()
    }
}

/// Fields that are there once, and whether those are all.
fn fields(text: &[u8]) -> (HashMap<String, String>, bool) {
    let mut fields = HashMap::new();
    let mut twice = Vec::new();
    let mut pairs = form_urlencoded::parse(text);
    for (name, value) in pairs.by_ref().take(MOST_FIELDS) {
        if fields.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            twice.push(name.into_owned());
        }
    }
    let clear = twice.is_empty() && pairs.next().is_none();
    for name in twice {
        fields.remove(&name);
    }
    (fields, clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)], check: impl Fn(&Asked<'_>)) {
        let mut request = http::Request::builder().uri("/a?x=1&y=2&y=3&z=%41+");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let peer = Peer::new("192.0.2.1:1".parse().expect("an address"), None);
        check(&Asked::new(&parts, b"a=1&b=&c=1&c=2", &peer));
    }

    #[test]
    fn a_value_counts_if_it_is_there_once() {
        asked(&[("cookie", "a=1; b=2;c=3"), ("cookie", "c=4; d")], |asked| {
            let cookie = |name| asked.cookie(name).map(|value| value.expose().clone());
            assert_eq!(cookie("a").as_deref(), Some("1"));
            assert_eq!(cookie("b").as_deref(), Some("2"));
            assert_eq!((cookie("c"), cookie("d"), cookie("e")), (None, None, None));
            assert_eq!(asked.parameter("x").as_deref(), Some("1"));
            assert_eq!(asked.parameter("z").as_deref(), Some("A "));
            assert_eq!(asked.parameter("y"), None);
            let form = asked.form();
            assert_eq!((form.field("a"), form.field("b"), form.field("c")), (Some("1"), Some(""), None));
            assert!(!form.is_clear());
        });
    }

    #[test]
    fn whose_form_it_is() {
        let check = |headers: &[(&str, &str)], expect: bool| {
            asked(headers, |asked| assert_eq!(asked.is_own("https://gw:8443"), expect, "{headers:?}"));
        };
        check(&[], false);
        check(&[("origin", "https://gw:8443")], true);
        check(&[("origin", "https://GW:8443"), ("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("origin", "https://gw"), ("sec-fetch-site", "same-origin")], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "https://gw:8443"), ("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "none")], false);
    }
}
