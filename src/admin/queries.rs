//! Requests about queries that wait and run.

use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, Operated, not_allowed, text, typed};
use crate::query::reason;

/// What is asked about queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryRequest {
    /// Which there are, of all or of a user.
    List {
        /// The user.
        user: Option<String>,
    },
    /// To cancel one.
    Cancel {
        /// Its id.
        id: String,
        /// What its user reads.
        reason: String,
    },
}

pub(super) async fn answer<O: Operated>(parts: &Parts, operated: &O) -> Answer {
    let request = match read(&parts.method, parts.uri.query().unwrap_or_default()) {
        Some(Ok(request)) => request,
        Some(Err(wrong)) => return text(StatusCode::BAD_REQUEST, wrong),
        None => return not_allowed("GET, DELETE"),
    };
    match operated.queries(request).await {
        Ok(json) => typed(StatusCode::OK, "application/json", json),
        Err((status, why)) => text(status, &format!("{why}\n")),
    }
}

fn read(method: &Method, query: &str) -> Option<Result<QueryRequest, &'static str>> {
    let mut values: [Option<String>; 3] = Default::default();
    let names: (&[&str], _) = match *method {
        Method::GET => (&["user"], "known is user, once\n"),
        Method::DELETE => (&["user", "id", "reason"], "say ?id= and &reason=, each once\n"),
        _ => return None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8();
        let at = names.0.iter().position(|known| *known == name);
        let (Some(at), Ok(value)) = (at, value) else { return Some(Err(names.1)) };
        if values[at].replace(value.into_owned()).is_some() {
            return Some(Err(names.1));
        }
    }
    Some(match (method, values) {
        (&Method::GET, [user, ..]) => Ok(QueryRequest::List { user }),
        (_, [None, Some(id), Some(text)]) => match reason(&text) {
            Some(reason) => Ok(QueryRequest::Cancel { id, reason }),
            None => Err("a reason has 1 to 300 characters on one line, all of which are seen\n"),
        },
        _ => Err(names.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let check = |method: Method, query: &str, expect: Option<QueryRequest>| {
            assert_eq!(read(&method, query).and_then(Result::ok), expect, "{method} {query}");
        };
        let list = |user: Option<&str>| Some(QueryRequest::List { user: user.map(str::to_owned) });
        check(Method::GET, "", list(None));
        check(Method::GET, "user=a%20b", list(Some("a b")));
        check(Method::GET, "user=a&user=b", None);
        check(Method::GET, "id=a", None);
        let cancel = QueryRequest::Cancel { id: "q".to_owned(), reason: "too big".to_owned() };
        check(Method::DELETE, "id=q&reason=too%20big", Some(cancel));
        check(Method::DELETE, "id=q", None);
        check(Method::DELETE, "id=q&reason=%20", None);
        check(Method::DELETE, "id=q&reason=a%0Ab", None);
        check(Method::DELETE, "user=a&id=q&reason=x", None);
        check(Method::POST, "", None);
    }
}
