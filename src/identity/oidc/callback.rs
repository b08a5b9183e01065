//! What the browser brings back from the provider: the query of the address that it was sent to.

use percent_encoding::percent_decode_str;

use crate::identity::error::Cause;

/// Longest query, in bytes.
const MAX_QUERY: usize = 16 * 1024;
/// Most parameters.
const MAX_PARAMETERS: usize = 32;

/// The parameters that mean something here. Nothing of them is believed yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) state: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) error: Option<String>,
    pub(super) code: Option<String>,
}

impl Callback {
    /// Reads a query (`application/x-www-form-urlencoded`, without the `?`). No parameter may be there twice
    /// (RFC 6749, 3.1).
    pub(super) fn read(query: &str) -> Result<Self, Cause> {
        let unfit = |why: &str| Cause::Oidc(format!("the callback {why}"));
        if query.len() > MAX_QUERY {
            return Err(unfit("is too long"));
        }
        let mut callback = Self::default();
        for (index, pair) in query.split('&').enumerate() {
            if index >= MAX_PARAMETERS {
                return Err(unfit("has too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match decode(name).as_deref() {
                Some("state") => &mut callback.state,
                Some("iss") => &mut callback.iss,
                Some("error") => &mut callback.error,
                Some("code") => &mut callback.code,
                _ => continue,
            };
            let value = decode(value).ok_or_else(|| unfit("is not UTF-8"))?;
            if place.replace(value).is_some() {
                return Err(unfit("has a parameter twice"));
            }
        }
        Ok(callback)
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read() {
        let check =
            |query: &str, expect: Result<[Option<&str>; 4], &str>| match (Callback::read(query), expect) {
                (Ok(read), Ok(expect)) => {
                    let parts = [&read.state, &read.iss, &read.error, &read.code];
                    assert_eq!(parts.map(Option::as_deref), expect, "{query}");
                }
                (Err(cause), Err(expect)) => assert!(cause.to_string().contains(expect), "{query}: {cause}"),
                (read, _) => panic!("{query}: {read:?}"),
            };
        check("code=a&state=b", Ok([Some("b"), None, None, Some("a")]));
        check(
            "state=b&iss=https%3A%2F%2Fi.example&error=access_denied&error_description=x+y",
            Ok([Some("b"), Some("https://i.example"), Some("access_denied"), None]),
        );
        check("c%6fde=a%20b+c", Ok([None, None, None, Some("a b c")]));
        check("", Ok([None; 4]));
        check("code", Ok([None, None, None, Some("")]));
        check("session_state=1&session_state=2", Ok([None; 4]));
        check("code=a&code=a", Err("twice"));
        check("state=a&st%61te=b", Err("twice"));
        check("code=%ff", Err("UTF-8"));
        check(&"x&".repeat(40), Err("too many"));
        check(&"x".repeat(20_000), Err("too long"));
    }
}
