//! PostgreSQL: an entry is a row with an end. The table is made when the first connection is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::shared::{Answer, Ask, Line};
use super::vault::now;
use crate::https;
use crate::secret::Secret;

/// How often rows that have ended are removed, in milliseconds.
const PURGE: u64 = 60_000;
/// Gateways that start at once make the table one after another: to make it twice at the same time fails.
const TABLE: &str = "\
BEGIN;
SELECT pg_advisory_xact_lock(5642838113427);
CREATE TABLE IF NOT EXISTS northgate_state (
    kind text NOT NULL,
    name bytea NOT NULL,
    owner bytea,
    value bytea NOT NULL,
    ends timestamptz NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX IF NOT EXISTS northgate_state_owner ON northgate_state (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS northgate_state_ends ON northgate_state (ends);
COMMIT;";
const PUT: &str = "\
INSERT INTO northgate_state (kind, name, owner, value, ends) VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
ON CONFLICT (kind, name) DO UPDATE SET owner = excluded.owner, value = excluded.value, ends = excluded.ends";
const ADD: &str = "\
INSERT INTO northgate_state (kind, name, value, ends) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (kind, name) DO UPDATE SET owner = NULL, value = excluded.value, ends = excluded.ends
WHERE northgate_state.ends <= now()";
const FIND: &str = "SELECT value FROM northgate_state WHERE kind = $1 AND name = $2 AND ends > now()";
const TAKE: &str = "DELETE FROM northgate_state WHERE kind = $1 AND name = $2 RETURNING value, ends > now()";
const OF: &str =
    "SELECT name, value FROM northgate_state WHERE owner = ANY($2) AND kind = $1 AND ends > now()";
const ALL: &str = "SELECT name, value FROM northgate_state WHERE kind = $1 AND ends > now()";
/// At most so many at once that nobody waits for it.
const ENDED: &str = "\
DELETE FROM northgate_state WHERE (kind, name) IN
(SELECT kind, name FROM northgate_state WHERE ends <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED)";

pub(super) struct Postgres {
    config: Config,
    tls: MakeRustlsConnect,
    purged: AtomicU64,
    pub(super) line: Line<Arc<Connection>>,
}

/// A connection, and what it is asked.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    put: Statement,
    add: Statement,
    find: Statement,
    take: Statement,
    of: Statement,
    all: Statement,
}

impl Postgres {
    pub(super) fn new(
        url: &Secret<String>,
        ca_file: Option<&Path>,
        allow_unencrypted: bool,
    ) -> Result<Self, String> {
        // The crate's own messages may show parts of the URL.
        let mut config: Config = url
            .expose()
            .parse()
            .map_err(|_| "url_file: not a URL such as postgresql://user:password@host/database".to_owned())?;
        let here = |host: &Host| match host {
            Host::Tcp(name) => https::is_loopback(name),
            Host::Unix(_) => true,
        };
        let local = config.get_hosts().iter().all(here)
            && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
        if !local && !allow_unencrypted {
            // What is only preferred is given up when somebody on the way says so.
            config.ssl_mode(SslMode::Require);
        }
        config.application_name("northgate").keepalives_idle(Duration::from_secs(30));
        let used = config.get_ssl_mode() == SslMode::Require || ca_file.is_some();
        if !used {
            config.ssl_mode(SslMode::Disable);
        }
        let tls = MakeRustlsConnect::new(https::tls(ca_file, used, None)?);
        Ok(Self { config, tls, purged: AtomicU64::new(now()), line: Line::new() })
    }

    async fn connect(&self) -> Result<Arc<Connection>, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the shared store ended");
            }
        });
        client.batch_execute(TABLE).await?;
        Ok(Arc::new(Connection {
            put: client.prepare(PUT).await?,
            add: client.prepare(ADD).await?,
            find: client.prepare(FIND).await?,
            take: client.prepare(TAKE).await?,
            of: client.prepare(OF).await?,
            all: client.prepare(ALL).await?,
            client,
        }))
    }

    pub(super) async fn answer(&self, ask: Ask) -> Result<Answer, String> {
        let connect = async { self.connect().await.map_err(|error| https::chain(&error)) };
        let connection = self.line.get(|connection| !connection.client.is_closed(), connect).await?;
        self.asked(&connection, ask).await.map_err(|error| https::chain(&error))
    }

    async fn asked(&self, connection: &Connection, ask: Ask) -> Result<Answer, tokio_postgres::Error> {
        let Connection { client, put, add, find, take, of, all } = connection;
        match ask {
            Ask::Put { key, owner, bytes, life } => {
                self.purge(client).await?;
                let owner = owner.as_ref().map(|owner| &owner[..]);
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&key.kind.as_str(), &&key.hash[..], &owner, &bytes, &life.as_secs_f64()];
                client.execute(put, &values).await?;
                Ok(Answer::Done(true))
            }
            Ask::Add { key, bytes, life } => {
                self.purge(client).await?;
                let added = client
                    .execute(add, &[&key.kind.as_str(), &&key.hash[..], &bytes, &life.as_secs_f64()])
                    .await?;
                Ok(Answer::Done(added > 0))
            }
            Ask::Find(key) => {
                let row = client.query_opt(find, &[&key.kind.as_str(), &&key.hash[..]]).await?;
                row.map(|row| row.try_get(0)).transpose().map(Answer::Found)
            }
            Ask::Take(key) => {
                let row = client.query_opt(take, &[&key.kind.as_str(), &&key.hash[..]]).await?;
                Ok(Answer::Found(match row {
                    Some(row) if row.try_get::<_, bool>(1)? => Some(row.try_get(0)?),
                    _ => None,
                }))
            }
            Ask::Remove { key, .. } => {
                let row = client.query_opt(take, &[&key.kind.as_str(), &&key.hash[..]]).await?;
                Ok(Answer::Done(row.map(|row| row.try_get(1)).transpose()?.unwrap_or(false)))
            }
            Ask::List { kind, owners } => {
                let rows = match owners {
                    Some(owners) => {
                        let owners: Vec<&[u8]> = owners.iter().map(|owner| &owner[..]).collect();
                        client.query(of, &[&kind.as_str(), &owners]).await?
                    }
                    None => client.query(all, &[&kind.as_str()]).await?,
                };
                let mut listed = Vec::with_capacity(rows.len());
                for row in rows {
                    let name: Vec<u8> = row.try_get(0)?;
                    if let Ok(name) = name.try_into() {
                        listed.push((name, row.try_get(1)?));
                    }
                }
                Ok(Answer::Listed(listed))
            }
        }
    }

    /// Removes rows that have ended, now and then.
    async fn purge(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let (now, purged) = (now(), self.purged.load(Ordering::Relaxed));
        let due = now.saturating_sub(purged) >= PURGE;
        if due && self.purged.compare_exchange(purged, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            client.batch_execute(ENDED).await?;
        }
        Ok(())
    }
}
