//! What Trino still knows of queries that an earlier process of the gateway submitted.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Deserialize;

use super::{Cluster, UpstreamError, is_link};

/// The largest list of queries that is read, in bytes.
const MAX_LIST: usize = 64 << 20;
/// The largest description of one, in bytes.
const MAX_SHOWN: usize = 16 << 20;

/// A query as Trino's list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The trace token that it was submitted with.
    pub trace: String,
    /// Its user. A trace token may be anybody's choice.
    pub user: String,
    /// Trino's id of it.
    pub query: String,
    /// Its state, such as `RUNNING` or `FAILED`.
    pub state: String,
    /// The name of its error.
    pub error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    query_id: String,
    state: String,
    #[serde(default)]
    error_code: Option<Code>,
    session: Session,
}

#[derive(Deserialize)]
struct Code {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    user: String,
    #[serde(default)]
    trace_token: Option<String>,
}

fn read(list: &[u8]) -> Result<Vec<Known>, serde_json::Error> {
    let listed: Vec<Listed> = serde_json::from_slice(list)?;
    let known = |listed: Listed| {
        let trace = listed.session.trace_token?;
        Some(Known {
            trace,
            user: listed.session.user,
            query: listed.query_id,
            state: listed.state,
            error: listed.error_code.map(|code| code.name),
        })
    };
    Ok(listed.into_iter().filter_map(known).collect())
}

/// What Trino says of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Whether it has ended.
    pub ended: bool,
    /// The name of its error.
    pub error: Option<String>,
    /// When its client was there last, as Trino writes it.
    pub client: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    state: String,
    #[serde(default)]
    error_code: Option<Code>,
    query_stats: Stats,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    last_heartbeat: String,
}

impl Known {
    /// Whether the query has ended.
    pub fn is_final(&self) -> bool {
        is_final(&self.state)
    }
}

fn is_final(state: &str) -> bool {
    matches!(state, "FINISHED" | "FAILED")
}

impl Cluster {
    /// What Trino says of the query that one of its links is of.
    ///
    /// # Errors
    /// It has no answer, or does not know the query: [`UpstreamError::Gone`].
    pub async fn heard(&self, link: &str) -> Result<Heard, UpstreamError> {
        let mut parts = link.rsplit('/');
        let id = parts.nth(2).filter(|_| is_link(link)).ok_or(UpstreamError::Path)?;
        let mut headers = HeaderMap::new();
        headers.insert("x-trino-user", self.user.clone());
        let headers = self.signed(headers)?;
        let path = format!("/v1/query/{id}?pruned=true");
        let exchange = self.client.exchange(&Method::GET, &path, &headers, Bytes::new());
        let answer = exchange.await.map_err(|failed| self.failed(failed, false))?;
        let mut answer = self.page(answer, false).await?;
        let body = answer.body.whole(MAX_SHOWN).await?.unwrap_or_default();
        let shown: Shown =
            serde_json::from_slice(&body).map_err(|error| self.garbage(error.to_string(), false))?;
        Ok(Heard {
            ended: is_final(&shown.state),
            error: shown.error_code.map(|code| code.name),
            client: shown.query_stats.last_heartbeat,
        })
    }

    /// The queries that Trino remembers, running or ended, and that had a trace token.
    pub async fn remembered(&self) -> Result<Vec<Known>, UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-trino-user", self.user.clone());
        let headers = self.signed(headers)?;
        let exchange = self.client.exchange(&Method::GET, "/v1/query", &headers, Bytes::new());
        let answer = exchange.await.map_err(|failed| self.failed(failed, false))?;
        let mut answer = self.page(answer, false).await?;
        let body = answer.body.whole(MAX_LIST).await?.unwrap_or_default();
        read(&body).map_err(|error| self.garbage(error.to_string(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_with_a_token_are_told() {
        let list = r#"[{"queryId":"q_1","state":"FAILED","errorCode":{"code":1,"name":"X","type":"USER_ERROR"},
            "session":{"user":"a","traceToken":"t"},"query":"SELECT 1"},
            {"queryId":"q_2","state":"RUNNING","session":{"user":"a"}}]"#;
        let known = read(list.as_bytes()).expect("a list");
        let (trace, user, query) = ("t".to_owned(), "a".to_owned(), "q_1".to_owned());
        assert_eq!(known, [Known { trace, user, query, state: "FAILED".into(), error: Some("X".into()) }]);
        assert!(read(b"{}").is_err());
    }
}
