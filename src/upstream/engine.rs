//! Statements that the gateway runs to their end itself: metadata, by its own user, and what a user's statement would read.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::Value;

use super::{Cluster, Response, UpstreamError, Verb, link_of};
use crate::catalog::{Engine, EngineError, Metadata, MetadataQuery};
use crate::rewrite::ScopedSql;
use crate::wire::Estimate;

/// The most rows of an answer.
const MAX_ROWS: usize = 100_000;
/// The most bytes of one page.
const MAX_PAGE: usize = 16 << 20;
/// The most pages. Trino answers each within a second or so.
const MAX_PAGES: usize = 1_000;
/// What a cluster runs that was left out, to show that it is well again.
const TRIAL: &str = "VALUES 'northgate'";
/// The longest time for all of it; for an estimate, which its statement waits for; and for a cancel.
const TIME: Duration = Duration::from_mins(1);
const ESTIMATE_TIME: Duration = Duration::from_secs(5);
const CANCEL_TIME: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_uri: Option<String>,
    #[serde(default)]
    data: Vec<Vec<Value>>,
    error: Option<PageError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageError {
    #[serde(default)]
    error_name: String,
    #[serde(default)]
    message: String,
}

impl Engine for Cluster {
    fn metadata<'a>(&'a self, query: &'a MetadataQuery) -> Metadata<'a> {
        Box::pin(self.run(query.text(), self.own_headers(), TIME))
    }
}

impl Cluster {
    /// Runs a query that reads nothing, to see whether queries run.
    pub(super) async fn try_out(&self) -> Result<(), EngineError> {
        self.run(TRIAL, self.own_headers(), TIME).await.map(drop)
    }

    /// What Trino expects a statement to read: the answer to [`ScopedSql::estimate`], asked as the statement would be sent.
    ///
    /// # Errors
    /// Trino has none within five seconds.
    pub async fn estimate(
        &self,
        question: &ScopedSql,
        mut headers: HeaderMap,
    ) -> Result<Estimate, EngineError> {
        headers.insert("x-trino-source", HeaderValue::from_static("northgate-estimate"));
        let rows = self.run(question.text(), headers, ESTIMATE_TIME).await?;
        let plan = rows.first().and_then(|row| row.first()).and_then(Value::as_str).unwrap_or_default();
        Estimate::read(plan).map_err(|error| EngineError::Garbage(error.to_string()))
    }

    async fn run(
        &self,
        text: &str,
        headers: HeaderMap,
        time: Duration,
    ) -> Result<Vec<Vec<Value>>, EngineError> {
        let mut next = None;
        let rows = match tokio::time::timeout(time, self.rows(text, headers, &mut next)).await {
            Ok(rows) => rows,
            Err(_) => Err(EngineError::Unavailable(format!("no end within {} s", time.as_secs()))),
        };
        if rows.is_err()
            && let Some(link) = next
            && !matches!(tokio::time::timeout(CANCEL_TIME, self.cancel(&link)).await, Ok(Ok(())))
        {
            tracing::debug!("a query of the gateway's own was not cancelled");
        }
        rows
    }

    /// Collects all rows; `next` is the link that has yet to be followed, so that it can be cancelled.
    async fn rows(
        &self,
        text: &str,
        headers: HeaderMap,
        next: &mut Option<String>,
    ) -> Result<Vec<Vec<Value>>, EngineError> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let answer = self.send(text, headers.clone()).await.map_err(unavailable)?;
        self.collected(answer, &headers, next).await
    }

    /// Collects the rows from the first answer on.
    pub(super) async fn collected(
        &self,
        mut answer: Response,
        headers: &HeaderMap,
        next: &mut Option<String>,
    ) -> Result<Vec<Vec<Value>>, EngineError> {
        let garbage = |why: &str| EngineError::Garbage(why.to_owned());
        let mut rows = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = read(&mut answer).await?;
            *next = match page.next_uri {
                None => None,
                Some(url) => Some(link_of(&url).ok_or_else(|| garbage("a link that is none of Trino's"))?),
            };
            if let Some(error) = page.error {
                return Err(EngineError::Query { name: error.error_name, message: error.message });
            }
            rows.extend(page.data);
            if rows.len() > MAX_ROWS {
                return Err(garbage("too many rows"));
            }
            let Some(link) = next.as_deref() else {
                return Ok(rows);
            };
            answer = self.follow(link, Verb::Get, headers.clone()).await.map_err(unavailable)?;
        }
        Err(garbage("too many pages"))
    }

    pub(super) fn own_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-trino-user", self.user.clone());
        headers.insert("x-trino-source", HeaderValue::from_static("northgate-metadata"));
        headers.insert("x-trino-time-zone", HeaderValue::from_static("UTC"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers
    }
}

async fn read(answer: &mut Response) -> Result<Page, EngineError> {
    let body = answer.body.whole(MAX_PAGE).await.map_err(unavailable)?;
    let body = body.ok_or_else(|| EngineError::Garbage("a page that is too large".to_owned()))?;
    serde_json::from_slice(&body).map_err(|error| EngineError::Garbage(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is a step of map_err")]
fn unavailable(error: UpstreamError) -> EngineError {
    EngineError::Unavailable(error.to_string())
}
