//! Requests about personal access tokens, for who has the key.

use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, Operated, not_allowed, text, typed};
use crate::identity::Scope;
use crate::units::Span;

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
    /// To revoke all of an owner, and to end what they are signed in with.
    RevokeAll {
        /// The owner.
        user: String,
    },
}

pub(super) async fn answer<O: Operated>(parts: &Parts, operated: &O) -> Answer {
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
        Method::POST => &["user", "name", "life", "read_only", "catalog", "address", "impersonate", "audit"],
        Method::DELETE => &["id", "user"],
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
        Method::DELETE => match (one("id")?, one("user")?) {
            (Some(_), Some(_)) => return Err("give one of id and user".to_owned()),
            (None, Some(_)) => TokenRequest::RevokeAll { user: needed("user")? },
            _ => TokenRequest::Revoke { id: needed("id")? },
        },
        _ => {
            let life: Span = needed("life")?.parse().map_err(|error| format!("life: {error}"))?;
            let addresses = all("address").map(str::parse).collect::<Result<Vec<_>, String>>()?;
            let catalogs: std::collections::BTreeSet<String> = all("catalog").map(str::to_owned).collect();
            let scope = Scope {
                read_only: flag("read_only")?,
                catalogs: (!catalogs.is_empty()).then(|| catalogs.into()),
                addresses,
                impersonate: flag("impersonate")?,
                audit: flag("audit")?,
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
        check(Method::DELETE, "user=u", "RevokeAll { user: \"u\" }");
        check(Method::DELETE, "user=", "user is missing");
        check(Method::DELETE, "user=u&id=x", "give one of id and user");
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
}
