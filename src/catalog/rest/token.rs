//! Tokens to ask the catalog with: the gateway's own (OAuth 2.0 client credentials, RFC 6749 section 4.4), and what
//! users' tokens are exchanged for (RFC 8693).

use std::time::Duration;

use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::RestError;
use super::transport::{Ask, Transport, json};
use super::{Config, Fingerprint};
use crate::secret::{self, Secret};

/// For how long a token without an end is used.
const UNTOLD: u64 = 300;
/// Users' tokens that were exchanged, at most.
const EXCHANGED: u64 = 20_000;
/// The part of a token's life after which there is a new one.
const RENEWED_AFTER: f64 = 0.8;

/// The gateway's own token.
#[derive(Debug)]
pub(super) struct Own {
    source: Source,
    current: Mutex<Option<Token>>,
}

#[derive(Debug)]
enum Source {
    /// There is none.
    None,
    /// It was given.
    Given(Secret<String>),
    /// It is issued.
    Issued { uri: String, id: String, secret: Secret<String>, scope: String },
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret<String>,
    renewed: Instant,
    ends: Instant,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Token {
    fn new(issued: Issued) -> Self {
        let life = Duration::from_secs(issued.expires_in.unwrap_or(UNTOLD));
        let now = Instant::now();
        Self {
            text: Secret::new(issued.access_token),
            renewed: now + life.mul_f64(RENEWED_AFTER),
            ends: now + life,
        }
    }
}

/// Where tokens are issued.
fn token_uri(config: &Config) -> String {
    let own = || format!("{}/v1/oauth/tokens", config.uri.trim_end_matches('/'));
    config.token_uri.clone().unwrap_or_else(own)
}

fn read(key: &str, source: &secret::Source) -> Result<Secret<String>, String> {
    source.read().map_err(|error| format!("{key} {source}: {error}"))
}

impl Own {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn new(config: &Config, scope: &str) -> Result<Self, String> {
        let source = match (&config.client_id, &config.client_secret_file, &config.token_file) {
            (Some(id), Some(path), _) => Source::Issued {
                uri: token_uri(config),
                id: id.clone(),
                secret: read("client_secret_file", path)?,
                scope: scope.to_owned(),
            },
            (_, _, Some(path)) => Source::Given(read("token_file", path)?),
            _ => Source::None,
        };
        Ok(Self { source, current: Mutex::default() })
    }

    pub(super) fn is_there(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// The token; a new one where the last one is about to end. Who asks meanwhile waits for it.
    pub(super) async fn bearer(&self, transport: &Transport) -> Result<Secret<String>, RestError> {
        let (uri, id, secret, scope) = match &self.source {
            Source::None => return Err(RestError::NoToken("the gateway has none of its own".to_owned())),
            Source::Given(token) => return Ok(token.clone()),
            Source::Issued { uri, id, secret, scope } => (uri, id, secret, scope),
        };
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(token) = current.as_ref().filter(|token| now < token.renewed) {
            return Ok(token.text.clone());
        }
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret.expose()),
            ("scope", scope),
        ];
        match issue(transport, &Ask::form(uri.clone(), &fields)).await {
            Ok(token) => Ok(current.insert(token).text.clone()),
            Err(error) => match current.as_ref().filter(|token| now < token.ends) {
                Some(token) => {
                    tracing::warn!(%error, "the catalog issues no new token; the last one is used");
                    Ok(token.text.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Forgets the token, since the catalog does not take it. Whether there can be another.
    pub(super) async fn spoil(&self, refused: &Secret<String>) -> bool {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| token.text.expose() == refused.expose()) {
            *current = None;
        }
        matches!(self.source, Source::Issued { .. })
    }
}

async fn issue(transport: &Transport, ask: &Ask) -> Result<Token, RestError> {
    let answer = transport.ask(ask, None).await.map_err(|error| match error {
        // That the gateway may not sign in is no answer to the user's question.
        RestError::Unauthorized(text) | RestError::Forbidden(text) | RestError::Garbage(text) => {
            RestError::NoToken(text)
        }
        RestError::NotFound(text) => RestError::NoToken(format!("no tokens are issued there: {text}")),
        error => error,
    })?;
    let issued: Issued = json(&answer)?;
    if issued.access_token.is_empty() {
        return Err(RestError::NoToken("an empty token was issued".to_owned()));
    }
    Ok(Token::new(issued))
}

/// What users' tokens are exchanged for.
#[derive(Debug)]
pub(super) struct Exchange {
    uri: String,
    scope: String,
    client: Option<(String, Secret<String>)>,
    tokens: Cache<Fingerprint, Token>,
}

impl Exchange {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let client = match (&config.client_id, &config.client_secret_file) {
            (Some(id), Some(path)) => Some((id.clone(), read("client_secret_file", path)?)),
            _ => None,
        };
        let tokens = Cache::builder().max_capacity(EXCHANGED).time_to_live(Duration::from_hours(1)).build();
        Ok(Self { uri: token_uri(config), scope: config.scope.clone(), client, tokens })
    }

    /// The token that stands for a user's.
    pub(super) async fn bearer(
        &self,
        transport: &Transport,
        token: &Secret<String>,
        fingerprint: Fingerprint,
    ) -> Result<Secret<String>, RestError> {
        if let Some(known) = self.tokens.get(&fingerprint).filter(|known| Instant::now() < known.renewed) {
            return Ok(known.text);
        }
        let kind = "urn:ietf:params:oauth:token-type:access_token";
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token.expose().as_str()),
            ("subject_token_type", kind),
            ("requested_token_type", kind),
            ("scope", &self.scope),
        ];
        if let Some((id, secret)) = &self.client {
            fields.extend([("client_id", id.as_str()), ("client_secret", secret.expose().as_str())]);
        }
        let exchanged = issue(transport, &Ask::form(self.uri.clone(), &fields)).await?;
        self.tokens.insert(fingerprint, exchanged.clone());
        Ok(exchanged.text)
    }

    /// Forgets what a user's token was exchanged for.
    pub(super) fn spoil(&self, fingerprint: &Fingerprint) {
        self.tokens.invalidate(fingerprint);
    }
}
