//! Redis: an entry is a key that expires; lists are sorted sets of names by their ends.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, Script, TlsCertificates, Value,
    pipe,
};

use super::shared::{Answer, Ask, Line};
use super::vault::now;
use super::{Key, Kind};
use crate::https;
use crate::secret::Secret;
use crate::units::hex;

/// Most entries asked for at once.
const CHUNK: usize = 500;

/// A Redis.
pub(super) struct Redis {
    client: Client,
    settings: AsyncConnectionConfig,
    pub(super) line: Line<MultiplexedConnection>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(..)")
    }
}

impl Redis {
    pub(super) fn new(
        url: &Secret<String>,
        ca_file: Option<&Path>,
        allow_unencrypted: bool,
        timeout: Duration,
    ) -> Result<Self, String> {
        // The crate's own messages may show the URL.
        let unreadable = || "url_file: not a URL such as rediss://user:password@host:6379/0".to_owned();
        let info = url.expose().as_str().into_connection_info().map_err(|_| unreadable())?;
        let client = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => return Err(unreadable()),
            ConnectionAddr::TcpTls { .. } => {
                let read = |path: &Path| {
                    std::fs::read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))
                };
                let root_cert = ca_file.map(read).transpose()?;
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            ConnectionAddr::Tcp(host, _) if !allow_unencrypted && !https::is_loopback(host) => {
                return Err(
                    "url_file: must be rediss: to another host; `allow_unencrypted = true` lifts this"
                        .to_owned(),
                );
            }
            _ => Client::open(info),
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        Ok(Self { client: client.map_err(|_| unreadable())?, settings, line: Line::new() })
    }

    async fn connection(&self) -> Result<MultiplexedConnection, String> {
        let connect = async {
            let connected = self.client.get_multiplexed_async_connection_with_config(&self.settings).await;
            connected.map_err(|error| error.to_string())
        };
        self.line.get(|_| true, connect).await
    }

    /// Runs a script. What is wrong with the script itself is the inner error: the connection is good.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Result<Value, String>, String> {
        let mut connection = self.connection().await?;
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for argument in arguments {
            invocation.arg(argument.as_slice());
        }
        match invocation.invoke_async(&mut connection).await {
            Ok(value) => Ok(Ok(value)),
            Err(error) if error.is_unrecoverable_error() || error.is_io_error() => Err(error.to_string()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    pub(super) async fn answer(&self, ask: Ask) -> Result<Answer, String> {
        let mut connection = self.connection().await?;
        self.asked(&mut connection, ask).await.map_err(|error| error.to_string())
    }

    async fn asked(&self, connection: &mut MultiplexedConnection, ask: Ask) -> redis::RedisResult<Answer> {
        match ask {
            Ask::Put { key, owner, bytes, life } => {
                let mut pipe = pipe();
                pipe.atomic().cmd("SET").arg(name(&key)).arg(bytes).arg("PX").arg(millis(life)).ignore();
                let lists = owner.iter().map(|owner| of(key.kind, owner)).chain(owner.map(|_| all(key.kind)));
                for list in lists {
                    let ends = now().saturating_add(millis(life));
                    pipe.cmd("ZADD").arg(&list).arg(ends).arg(&key.hash).ignore();
                    pipe.cmd("ZREMRANGEBYSCORE").arg(&list).arg("-inf").arg(now()).ignore();
                }
                pipe.query_async::<()>(connection).await?;
                Ok(Answer::Done(true))
            }
            Ask::Add { key, bytes, life } => {
                let mut command = redis::cmd("SET");
                command.arg(name(&key)).arg(bytes).arg("NX").arg("PX").arg(millis(life));
                let set: Option<String> = command.query_async(connection).await?;
                Ok(Answer::Done(set.is_some()))
            }
            Ask::Find(key) => {
                redis::cmd("GET").arg(name(&key)).query_async(connection).await.map(Answer::Found)
            }
            Ask::Take(key) => {
                redis::cmd("GETDEL").arg(name(&key)).query_async(connection).await.map(Answer::Found)
            }
            Ask::Remove { key, owners } => {
                let mut pipe = pipe();
                pipe.atomic().cmd("DEL").arg(name(&key));
                let lists = owners.iter().map(|owner| of(key.kind, owner));
                for list in lists.chain((!owners.is_empty()).then(|| all(key.kind))) {
                    pipe.cmd("ZREM").arg(list).arg(&key.hash).ignore();
                }
                let (removed,): (u64,) = pipe.query_async(connection).await?;
                Ok(Answer::Done(removed > 0))
            }
            Ask::List { kind, owners } => {
                let lists = match owners {
                    Some(owners) => owners.iter().map(|owner| of(kind, owner)).collect(),
                    None => vec![all(kind)],
                };
                let mut listed = Vec::new();
                for list in lists {
                    let hashes: Vec<Vec<u8>> =
                        redis::cmd("ZRANGE").arg(list).arg(0).arg(-1).query_async(connection).await?;
                    let keys: Vec<Key> = hashes
                        .into_iter()
                        .filter_map(|hash| Some(Key { kind, hash: hash.try_into().ok()? }))
                        .collect();
                    for keys in keys.chunks(CHUNK) {
                        let names: Vec<String> = keys.iter().map(name).collect();
                        let found: Vec<Option<Vec<u8>>> =
                            redis::cmd("MGET").arg(names).query_async(connection).await?;
                        let there =
                            keys.iter().zip(found).filter_map(|(key, bytes)| Some((key.hash, bytes?)));
                        listed.extend(there);
                    }
                }
                Ok(Answer::Listed(listed))
            }
        }
    }
}

fn name(key: &Key) -> String {
    format!("northgate:{}:{}", key.kind.as_str(), hex(&key.hash))
}

/// The list of an owner.
fn of(kind: Kind, owner: &[u8; 32]) -> String {
    format!("northgate:{}:of:{}", kind.as_str(), hex(owner))
}

fn all(kind: Kind) -> String {
    format!("northgate:{}:all", kind.as_str())
}

/// Redis takes no life of nothing.
fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 48)
}
