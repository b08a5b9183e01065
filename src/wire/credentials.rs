//! The `Authorization` header, and what a load balancer says of a user.

use std::fmt;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::call::Peer;
use super::malformed::{HeaderFault, Malformed};
use crate::secret::Secret;

/// The longest `Authorization` header, in bytes. Tokens of some providers, with many groups in them, are long.
const LONGEST: usize = 16 * 1024;

/// Where an Application Load Balancer of AWS says whom it has signed in.
const ASSERTION: &str = "x-amzn-oidc-data";

/// Base64 as clients write it in `Authorization: Basic`: the padding may be left out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the caller offers as proof of who it is. Nothing has been checked yet.
#[derive(Clone)]
pub enum Credentials {
    /// No `Authorization` header.
    None,
    /// A name and a password (RFC 7617).
    Basic {
        /// The name, as given.
        user: String,
        /// The password.
        password: Secret<String>,
    },
    /// A token (RFC 6750).
    Bearer(Secret<String>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(..)",
            Self::Bearer(_) => "Bearer(..)",
        })
    }
}

const fn fault(why: HeaderFault) -> Malformed {
    Malformed::Header { name: "authorization", why }
}

/// Reads the header. Several of them, an unknown scheme and a value of another form are [`Malformed`]: which of
/// two claims is meant is not for us to guess.
pub fn read(headers: &HeaderMap) -> Result<Credentials, Malformed> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credentials::None) };
    if values.next().is_some() {
        return Err(fault(HeaderFault::Repeated));
    }
    if value.len() > LONGEST {
        return Err(fault(HeaderFault::TooLong));
    }
    let text = value.to_str().map_err(|_| fault(HeaderFault::Form))?;
    let (scheme, rest) = text.split_once(' ').ok_or(fault(HeaderFault::Form))?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("basic") {
        basic(rest)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        bearer(rest)
    } else {
        Err(fault(HeaderFault::Unsupported))
    }
}

/// What a trusted proxy says of whom it has signed in. What anybody else says there is nothing; but who says it twice is
/// told so, whoever it is.
pub fn read_assertion(headers: &HeaderMap, peer: &Peer) -> Result<Option<Secret<String>>, Malformed> {
    let fault = |why| Malformed::Header { name: ASSERTION, why };
    let mut values = headers.get_all(ASSERTION).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(fault(HeaderFault::Repeated));
    }
    let Some(value) = value.filter(|_| peer.proxy.is_some()) else { return Ok(None) };
    if value.len() > LONGEST {
        return Err(fault(HeaderFault::TooLong));
    }
    let text = value.to_str().map_err(|_| fault(HeaderFault::Form))?;
    Ok(Some(Secret::new(text.to_owned())))
}

fn basic(encoded: &str) -> Result<Credentials, Malformed> {
    let bytes = Secret::new(BASIC.decode(encoded).map_err(|_| fault(HeaderFault::Form))?);
    // RFC 7617 leaves the charset open. Most clients send UTF-8; trino-jdbc (by okhttp) sends Latin-1.
    let text = match std::str::from_utf8(bytes.expose()) {
        Ok(text) => Secret::new(text.to_owned()),
        Err(_) => Secret::new(bytes.expose().iter().map(|byte| char::from(*byte)).collect()),
    };
    let (user, password) = text.expose().split_once(':').ok_or(fault(HeaderFault::Form))?;
    if user.is_empty() || text.expose().chars().any(char::is_control) {
        return Err(fault(HeaderFault::Form));
    }
    Ok(Credentials::Basic { user: user.to_owned(), password: Secret::new(password.to_owned()) })
}

fn bearer(token: &str) -> Result<Credentials, Malformed> {
    let body = token.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if body.is_empty() || !body.bytes().all(known) {
        return Err(fault(HeaderFault::Form));
    }
    Ok(Credentials::Bearer(Secret::new(token.to_owned())))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::forwarded::Proxies;
    use super::*;

    fn show(values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value"));
        }
        match read(&headers) {
            Ok(Credentials::None) => "none".to_owned(),
            Ok(Credentials::Basic { user, password }) => format!("{user}|{}", password.expose()),
            Ok(Credentials::Bearer(token)) => token.expose().clone(),
            Err(Malformed::Header { name: "authorization", why }) => format!("{why:?}"),
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn the_header_is_read() {
        let check = |values: &[&[u8]], expect: &str| {
            assert_eq!(show(values), expect, "{:?}", values.iter().map(|v| v.escape_ascii().to_string()));
        };
        check(&[], "none");
        check(&[b"Basic YWxpY2U6cHc="], "alice|pw");
        check(&[b"basic   YWxpY2U6cHc"], "alice|pw");
        check(&[b"BASIC YWxpY2U6YTpiOmM="], "alice|a:b:c");
        check(&[b"Basic YWxpY2U6"], "alice|");
        // "alice:p\xe4" in Latin-1, then "alice:p\u{e4}" in UTF-8.
        check(&[b"Basic YWxpY2U6cOQ="], "alice|p\u{e4}");
        check(&[b"Basic YWxpY2U6cMOk"], "alice|p\u{e4}");
        check(&[b"Bearer abc.def-_~+/=="], "abc.def-_~+/==");
        check(&[b"Bearer"], "Form");
        check(&[b"Bearer "], "Form");
        check(&[b"Bearer a b"], "Form");
        check(&[b"Bearer a=b"], "Form");
        check(&[b"Basic YWxpY2U="], "Form");
        check(&[b"Basic OnB3"], "Form");
        check(&[b"Basic !!!"], "Form");
        check(&[b"Basic YQBiOmM="], "Form");
        check(&[b"Negotiate abc"], "Unsupported");
        check(&[b"Bearer \xe4"], "Form");
        check(&[b"Bearer a", b"Bearer a"], "Repeated");
        check(&[b"Bearer a", b"Basic YWxpY2U6cHc="], "Repeated");
        check(&[format!("Bearer {}", "a".repeat(LONGEST)).as_bytes()], "TooLong");
    }

    #[test]
    fn whose_assertion_is_read() {
        let check = |from: &str, values: &[&str], expect: Result<Option<&str>, HeaderFault>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ASSERTION, HeaderValue::from_str(value).expect("a value"));
            }
            let proxies = Proxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
            let peer = Peer::new(from.parse().expect("an address"), None);
            let peer = proxies.client(&headers, peer).expect("nothing else is said");
            let read = read_assertion(&headers, &peer).map(|read| read.map(|text| text.expose().clone()));
            let expect = expect
                .map(|text| text.map(str::to_owned))
                .map_err(|why| Malformed::Header { name: ASSERTION, why });
            assert_eq!(read, expect, "{from} {}", values.len());
        };
        let long = "a".repeat(LONGEST + 1);
        for (from, believed) in [("10.0.0.1:1", true), ("192.0.2.1:1", false)] {
            check(from, &[], Ok(None));
            check(from, &["a.b.c"], Ok(Some("a.b.c").filter(|_| believed)));
            check(from, &["a.b.c", "a.b.c"], Err(HeaderFault::Repeated));
        }
        check("10.0.0.1:1", &[&long], Err(HeaderFault::TooLong));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let credentials = Credentials::Basic { user: "u".to_owned(), password: Secret::new("pw".to_owned()) };
        assert_eq!(format!("{credentials:?}"), "Basic(..)");
    }
}
