//! What was made of what: OpenLineage events of queries, sent to a server that keeps lineage (Marquez and others). Off unless one is
//! configured.
//!
//! Each query that is sent to Trino is a run: START when its intent is on record, then COMPLETE, FAIL or ABORT. Tables that it reads are
//! inputs, with the columns that it can read, their tags, and which of them were masked; what it writes are outputs. Its text is not
//! among it. It holds nothing up: what the server does not take is dropped and counted in the log, and the audit has it anyway.

mod event;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub use event::{End, Input, Run};

use crate::https::{self, Bounds, Client};
use crate::secret::{self, Secret};

/// Events that wait to be sent; more are dropped.
const WAITING: usize = 4096;
/// What one sending may take, how often it is tried, and the pause before the second time.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 64 << 10 };
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last ones are waited for when the gateway stops.
const LAST: Duration = Duration::from_secs(3);

/// The `[lineage]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where events are sent: `https://marquez.example/api/v1/lineage`. Without it there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The namespace of jobs and tables, such as `trino://sql.bank.example:443`. Default: `northgate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The file with a token for the server (`Authorization: Bearer`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<secret::Source>,
    /// The only certificate authorities that the server may be signed by (PEM). Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Send over plain HTTP to another host. Who is on that network sees which tables are read and written.
    pub allow_plain_http: bool,
}

impl Config {
    /// The paths in it.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let token = self.token_file.as_mut().and_then(secret::Source::file_mut);
        token.into_iter().chain(&mut self.ca_file)
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// The key and why.
    pub fn check(&self) -> Result<(), String> {
        let Some(url) = &self.url else { return Ok(()) };
        https::address(url, self.allow_plain_http).map(drop).map_err(|why| format!("url: {why}"))
    }
}

/// Where runs are told. Clones tell the same server.
#[derive(Clone, Default)]
pub struct Lineage(Option<Arc<Sender>>);

struct Sender {
    events: mpsc::Sender<String>,
    namespace: String,
    dropped: AtomicU64,
    /// What sends them, which ends with this.
    _sending: AbortOnDropHandle<()>,
}

/// Sends what there is.
struct Sending {
    client: Client,
    url: String,
    token: Option<Secret<String>>,
    events: mpsc::Receiver<String>,
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lineage").field(&self.0.is_some()).finish()
    }
}

impl Lineage {
    /// That of a configuration; without a server there is nothing. Needs a tokio runtime, by which events are sent.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(config: &Config) -> Result<Self, String> {
        config.check()?;
        let Some(url) = config.url.clone() else { return Ok(Self(None)) };
        let client = Client::new(config.ca_file.as_deref(), url.starts_with("https"))?;
        let token = config
            .token_file
            .as_ref()
            .map(|source| source.read().map_err(|error| format!("token_file {source}: {error}")));
        let (sender, events) = mpsc::channel(WAITING);
        let namespace = config.namespace.clone().unwrap_or_else(|| "northgate".to_owned());
        let sending = Sending { client, url, token: token.transpose()?, events };
        let sending = AbortOnDropHandle::new(tokio::spawn(sending.run()));
        let sender = Sender { events: sender, namespace, dropped: AtomicU64::new(0), _sending: sending };
        Ok(Self(Some(Arc::new(sender))))
    }

    /// Tells that a run begins; `run` is asked only if somebody wants to know. Gives what is told when it ends.
    pub fn begin(&self, run: impl FnOnce() -> Run) -> Telling {
        let Some(sender) = &self.0 else { return Telling(None) };
        let run = run();
        sender.tell(&run.event("START", &sender.namespace, Timestamp::now(), None));
        Telling(Some(Box::new((Arc::clone(sender), run))))
    }
}

impl Sender {
    fn tell(&self, event: &serde_json::Value) {
        if self.events.try_send(event.to_string()).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "lineage events are dropped: the server does not keep up");
            }
        }
    }
}

/// A run that is to be told the end of.
#[derive(Default)]
pub struct Telling(Option<Box<(Arc<Sender>, Run)>>);

impl Telling {
    /// Tells how it ended.
    pub fn end(&self, end: &End<'_>) {
        let Some((sender, run)) = self.0.as_deref() else { return };
        sender.tell(&run.event(end.kind(), &sender.namespace, Timestamp::now(), Some(end)));
    }
}

impl Sending {
    /// Sends, until nobody tells any more.
    async fn run(mut self) {
        while let Some(event) = self.events.recv().await {
            let mut pause = PAUSE;
            for turn in 1..=TRIES {
                match self.send(&event).await {
                    Ok(()) => break,
                    Err(why) if turn == TRIES => {
                        tracing::warn!(why, "a lineage event is dropped: the server does not take it");
                    }
                    Err(_) => tokio::time::sleep(pause).await,
                }
                pause *= 2;
            }
        }
    }

    async fn send(&self, event: &str) -> Result<(), String> {
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request =
            request.body(Bytes::copy_from_slice(event.as_bytes())).map_err(|error| error.to_string())?;
        let answer = self.client.send(request, BOUNDS).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status())) }
    }
}

impl Lineage {
    /// Waits a while until all was sent.
    pub async fn drained(&self) {
        let Some(sender) = &self.0 else { return };
        let sent = async {
            while sender.events.capacity() < sender.events.max_capacity() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // What is left is in the audit.
        let _ = tokio::time::timeout(LAST, sent).await;
    }
}
