//! What `northgate doctor` finds out about a cluster: by asking it, with and without the gateway's proof of who it is.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{AGENT, Authentication, Cluster, Config, FORWARDED_PROTO, Info, State, UpstreamError, link_of};
use crate::catalog::EngineError;

/// The version of Trino that the tests run with: what its answers tell, and what holds a filter, was measured there.
pub const TESTED_VERSION: &str = "476";
/// Somebody whom the gateway tries to act for.
const SOMEBODY: HeaderValue = HeaderValue::from_static("northgate-doctor");

/// What was found.
#[derive(Debug)]
pub struct Examined {
    /// The cluster's name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether it takes queries, by the configuration.
    pub state: State,
    /// How the gateway proves who it is.
    pub authentication: Authentication,
    /// What it says of itself.
    pub info: Result<Info, UpstreamError>,
    /// Its clock, as its answer has it (`Date`), and when that came.
    pub date: Option<(String, jiff::Timestamp)>,
    /// Whether it takes what a proxy says of its clients (`http-server.process-forwarded`).
    pub forwarded: bool,
    /// Whether it runs a statement of somebody who proves nothing.
    pub open: bool,
    /// Whether it runs a statement of the gateway's own.
    pub trial: Result<(), Refusal>,
    /// Whether it lets the gateway act for others.
    pub impersonation: Result<(), Refusal>,
    /// Its catalogs; none if it does not say.
    pub catalogs: Vec<String>,
}

/// Why a statement did not run.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It was not taken.
    #[error("{0}")]
    NotTaken(UpstreamError),
    /// It failed.
    #[error("{0}")]
    Failed(EngineError),
}

/// Examines all clusters, one after another. Statements that read nothing are run there.
///
/// # Errors
/// What is wrong with the configuration or the files that it names.
pub async fn examine(config: &Config) -> Result<Vec<Examined>, UpstreamError> {
    let mut all = Vec::new();
    for described in config.described()? {
        let cluster = Cluster::new(&described.config)?;
        all.push(cluster.examine(&described.config, described.state).await);
    }
    Ok(all)
}

impl Cluster {
    async fn examine(&self, config: &Config, state: State) -> Examined {
        let mut found = Examined {
            name: config.name.clone(),
            url: config.url.clone(),
            state,
            authentication: config.authentication,
            info: Err(UpstreamError::NoCluster { group: String::new() }),
            date: None,
            forwarded: true,
            open: false,
            trial: Ok(()),
            impersonation: Ok(()),
            catalogs: Vec::new(),
        };
        match self.checked().await {
            Ok((info, date)) => {
                (found.info, found.date) = (Ok(info), date.map(|date| (date, jiff::Timestamp::now())));
            }
            Err(error) => {
                found.info = Err(error);
                return found;
            }
        }
        found.forwarded = self.takes_forwarded().await;
        found.open = self.is_open().await;
        found.trial = self.try_as(&self.user, "VALUES 'northgate'").await.map(drop);
        if found.trial.is_ok() {
            found.impersonation = self.try_as(&SOMEBODY, "VALUES 'northgate'").await.map(drop);
            let rows = self.try_as(&self.user, "SELECT catalog_name FROM system.metadata.catalogs").await;
            let name = |row: &Vec<Value>| row.first()?.as_str().map(str::to_owned);
            found.catalogs = rows.unwrap_or_default().iter().filter_map(name).collect();
        }
        found
    }

    /// Trino answers 406 to what it is not to look at.
    async fn takes_forwarded(&self) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, AGENT);
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        let answer = self.client.exchange(&Method::GET, "/v1/info", &headers, Bytes::new()).await;
        !answer.is_ok_and(|answer| answer.status == StatusCode::NOT_ACCEPTABLE)
    }

    /// Sends a statement as whoever reaches Trino's port might.
    async fn is_open(&self) -> bool {
        let headers = self.own_headers();
        let text = Bytes::from_static(b"VALUES 'northgate'");
        let Ok(mut answer) = self.client.exchange(&Method::POST, "/v1/statement", &headers, text).await
        else {
            return false;
        };
        if !answer.status.is_success() {
            return false;
        }
        let page = answer.body.whole(1 << 20).await.ok().flatten().unwrap_or_default();
        let page: Value = serde_json::from_slice(&page).unwrap_or_default();
        if let Some(link) = page["nextUri"].as_str().and_then(link_of) {
            let _ = self.client.exchange(&Method::DELETE, &link, &headers, Bytes::new()).await;
        }
        true
    }

    async fn try_as(&self, user: &HeaderValue, text: &'static str) -> Result<Vec<Vec<Value>>, Refusal> {
        let mut headers = self.own_headers();
        headers.insert("x-trino-user", user.clone());
        let text = Bytes::from_static(text.as_bytes());
        let answer = self.send_once(text, headers.clone()).await.map_err(Refusal::NotTaken)?;
        let mut next = None;
        self.collected(answer, &headers, &mut next).await.map_err(Refusal::Failed)
    }
}
