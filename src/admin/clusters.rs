//! Requests about clusters: how they are, and whether they take queries.

use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, Operated, not_allowed, text, typed};
use crate::upstream::State;

/// What is asked about clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRequest {
    /// How they are.
    List,
    /// That one takes queries, or does not.
    Tell {
        /// Which.
        cluster: String,
        /// What it is to be; `None`: what is configured.
        state: Option<State>,
    },
}

pub(super) fn is_about(path: &str) -> bool {
    path == "/clusters" || path.starts_with("/clusters/")
}

pub(super) async fn answer<O: Operated>(parts: &Parts, operated: &O) -> Answer {
    let request = match read(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default()) {
        Ok(request) => request,
        Err(Wrong::Method(allowed)) => return not_allowed(allowed),
        Err(Wrong::Query) => {
            return text(
                StatusCode::BAD_REQUEST,
                "say ?state= and one of active, draining, inactive and configured\n",
            );
        }
    };
    match operated.clusters(request).await {
        Ok(json) => typed(StatusCode::OK, "application/json", json),
        Err((status, why)) => text(status, &format!("{why}\n")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Method(&'static str),
    Query,
}

fn read(method: &Method, path: &str, query: &str) -> Result<ClusterRequest, Wrong> {
    match path.strip_prefix("/clusters/") {
        None if *method != Method::GET => Err(Wrong::Method("GET")),
        None if query.is_empty() => Ok(ClusterRequest::List),
        None => Err(Wrong::Query),
        Some(_) if *method != Method::POST => Err(Wrong::Method("POST")),
        // Names are of letters, digits and the like: none needs decoding.
        Some(cluster) => {
            let state = match query.strip_prefix("state=").ok_or(Wrong::Query)? {
                "active" => Some(State::Active),
                "draining" => Some(State::Draining),
                "inactive" => Some(State::Inactive),
                "configured" => None,
                _ => return Err(Wrong::Query),
            };
            Ok(ClusterRequest::Tell { cluster: cluster.to_owned(), state })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let check = |method: Method, path: &str, query: &str, expect: Result<ClusterRequest, Wrong>| {
            assert_eq!(read(&method, path, query), expect, "{method} {path}?{query}");
        };
        let tell = |state| Ok(ClusterRequest::Tell { cluster: "blue".to_owned(), state });
        check(Method::GET, "/clusters", "", Ok(ClusterRequest::List));
        check(Method::POST, "/clusters", "", Err(Wrong::Method("GET")));
        check(Method::GET, "/clusters", "state=active", Err(Wrong::Query));
        check(Method::POST, "/clusters/blue", "state=draining", tell(Some(State::Draining)));
        check(Method::POST, "/clusters/blue", "state=active", tell(Some(State::Active)));
        check(Method::POST, "/clusters/blue", "state=inactive", tell(Some(State::Inactive)));
        check(Method::POST, "/clusters/blue", "state=configured", tell(None));
        check(Method::POST, "/clusters/blue", "state=gone", Err(Wrong::Query));
        check(Method::POST, "/clusters/blue", "", Err(Wrong::Query));
        check(Method::POST, "/clusters/blue", "state=active&state=draining", Err(Wrong::Query));
        check(Method::GET, "/clusters/blue", "state=active", Err(Wrong::Method("POST")));
    }
}
