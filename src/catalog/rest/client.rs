//! The Iceberg REST catalog as questions and answers (`open-api/rest-catalog-open-api.yaml` of Iceberg), and what Polaris
//! has beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::RestError;
use super::token::{Exchange, Own};
use super::transport::{Ask, Transport, json};
use super::{Access, Caller, Config, UserToken};
use crate::https::{self, Bounds};
use crate::secret::Secret;

/// For how long the catalog's configuration is believed.
const CONFIGURATION: Duration = Duration::from_mins(10);
/// The most pages of one list, and the most names in it.
const MOST_PAGES: usize = 1_000;
const MOST_NAMES: usize = 100_000;
/// What stands in a path as it is (RFC 3986, section 2.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Levels of a namespace are joined by this where the catalog says nothing else.
const SEPARATOR: &str = "%1F";

/// Asks one catalog.
#[derive(Debug)]
pub(super) struct Client {
    transport: Transport,
    /// Polaris's management API.
    management: Option<Management>,
    base: String,
    warehouse: Option<String>,
    prefix: Option<String>,
    own: Own,
    exchange: Option<Exchange>,
    place: Mutex<Option<(Instant, Arc<Place>)>>,
}

#[derive(Debug)]
struct Management {
    transport: Transport,
    base: String,
    own: Own,
}

/// Where the catalog's things are, as its configuration says.
#[derive(Debug)]
struct Place {
    prefix: Option<String>,
    separator: String,
    /// Whether it has policies; none if it does not say what it has.
    has_policies: bool,
}

/// What a table or a view is loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Loading {
    /// A table's metadata.
    Table,
    /// The same, and credentials to its files, which only who may read its rows is given. They are dropped unread.
    TableData,
    /// A view's metadata.
    View,
}

impl Loading {
    /// What stands for it in a path.
    const fn word(self) -> &'static str {
        match self {
            Self::Table | Self::TableData => "tables",
            Self::View => "views",
        }
    }
}

/// A table or a view as loaded.
#[derive(Debug)]
pub(super) enum Loaded {
    /// As it was when it had the tag that was sent.
    Unchanged,
    /// Its metadata.
    Changed {
        /// Its tag, as it is to be sent back.
        etag: Option<String>,
        /// `LoadTableResult` or `LoadViewResult`.
        body: Bytes,
    },
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    defaults: Values,
    #[serde(default)]
    overrides: Values,
    #[serde(default)]
    endpoints: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Values {
    prefix: Option<String>,
    #[serde(rename = "namespace-separator")]
    separator: Option<String>,
}

/// A page of a list; all kinds of lists are read as one, each with its own part.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "next-page-token", default)]
    next: Option<String>,
    #[serde(default)]
    identifiers: Vec<Identifier>,
    #[serde(default)]
    namespaces: Vec<Vec<String>>,
    #[serde(rename = "applicable-policies", default)]
    policies: Vec<ApplicablePolicy>,
}

#[derive(Deserialize)]
struct Identifier {
    name: String,
}

/// A policy that Polaris has attached to a table, or to what holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ApplicablePolicy {
    /// `system.data-compaction` and the like.
    #[serde(rename = "policy-type")]
    pub(super) kind: String,
    /// Its name.
    pub(super) name: String,
    /// Its content, JSON in a string.
    #[serde(default)]
    pub(super) content: Option<String>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    properties: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Roles {
    roles: Vec<Identifier>,
}

impl Client {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let encrypted = [Some(&config.uri), config.token_uri.as_ref(), config.management_uri.as_ref()]
            .into_iter()
            .flatten()
            .any(|uri| uri.starts_with("https"));
        let client = https::Client::new(config.ca_file.as_deref(), encrypted)?;
        let body = usize::try_from(config.max_answer.0).unwrap_or(usize::MAX);
        let bounds = Bounds { time: config.timeout.0, body };
        let transport = || Transport::new(client.clone(), bounds, config.retries);
        let management = match &config.management_uri {
            Some(uri) => Some(Management {
                transport: transport(),
                base: uri.trim_end_matches('/').to_owned(),
                own: Own::new(config, config.management_scope.as_ref().unwrap_or(&config.scope))?,
            }),
            None => None,
        };
        let exchanged = config.access == Access::Delegated && config.user_token == UserToken::Exchanged;
        Ok(Self {
            transport: transport(),
            management,
            base: config.uri.trim_end_matches('/').to_owned(),
            warehouse: config.warehouse.clone(),
            prefix: config.prefix.clone(),
            own: Own::new(config, &config.scope)?,
            exchange: if exchanged { Some(Exchange::new(config)?) } else { None },
            place: Mutex::default(),
        })
    }

    /// Whether the gateway has a token of its own for the catalog.
    pub(super) fn has_own_token(&self) -> bool {
        self.own.is_there()
    }

    /// Asks for the catalog's configuration with the gateway's own token.
    pub(super) async fn configured(&self) -> Result<(), RestError> {
        self.place(&Caller::Gateway).await.map(drop)
    }

    async fn bearer(&self, caller: &Caller) -> Result<Secret<String>, RestError> {
        match caller {
            Caller::Gateway => self.own.bearer(&self.transport).await,
            Caller::User { token, fingerprint } => match &self.exchange {
                Some(exchange) => exchange.bearer(&self.transport, token, *fingerprint).await,
                None => Ok(token.clone()),
            },
        }
    }

    /// Asks in somebody's name. A token of the gateway's own, or one that it exchanged, is made anew once if the catalog
    /// does not take it.
    async fn ask(&self, caller: &Caller, ask: &Ask) -> Result<Response<Bytes>, RestError> {
        let bearer = self.bearer(caller).await?;
        let refused = match self.transport.ask(ask, Some(&bearer)).await {
            Err(error @ RestError::Unauthorized(_)) => error,
            answer => return answer,
        };
        let renewable = match (caller, &self.exchange) {
            (Caller::Gateway, _) => self.own.spoil(&bearer).await,
            (Caller::User { fingerprint, .. }, Some(exchange)) => {
                exchange.spoil(fingerprint);
                true
            }
            (Caller::User { .. }, None) => false,
        };
        if !renewable {
            return Err(refused);
        }
        let bearer = self.bearer(caller).await?;
        self.transport.ask(ask, Some(&bearer)).await
    }

    async fn place(&self, caller: &Caller) -> Result<Arc<Place>, RestError> {
        let mut place = self.place.lock().await;
        if let Some((since, known)) = place.as_ref()
            && since.elapsed() < CONFIGURATION
        {
            return Ok(Arc::clone(known));
        }
        let warehouse = self.warehouse.as_ref().map(|name| format!("?warehouse={}", encoded(name)));
        let uri = format!("{}/v1/config{}", self.base, warehouse.unwrap_or_default());
        match self.ask(caller, &Ask::get(uri)).await.and_then(|answer| json(&answer)) {
            Ok(read) => {
                let read = Arc::new(Place::read(read, self.prefix.as_ref())?);
                *place = Some((Instant::now(), Arc::clone(&read)));
                Ok(read)
            }
            // What it said before is still the best that is known.
            Err(error) if error.is_passing() => match place.as_ref() {
                Some((_, known)) => Ok(Arc::clone(known)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn uri(&self, caller: &Caller, path: &[Part<'_>]) -> Result<String, RestError> {
        let place = self.place(caller).await?;
        let mut uri = format!("{}/v1", self.base);
        place.push(&mut uri, path);
        Ok(uri)
    }

    /// Loads a table or a view. With an `etag` it may be unchanged.
    pub(super) async fn load(
        &self,
        caller: &Caller,
        loading: Loading,
        namespace: &[&str],
        name: &str,
        etag: Option<&str>,
    ) -> Result<Loaded, RestError> {
        let path = [
            Part::Prefix,
            Part::Word("namespaces"),
            Part::Namespace(namespace),
            Part::Word(loading.word()),
            Part::Name(name),
        ];
        let uri = self.uri(caller, &path).await?;
        let mut ask = Ask::get(uri);
        if loading == Loading::TableData {
            let value = HeaderValue::from_static("vended-credentials");
            ask.headers.insert("x-iceberg-access-delegation", value);
        }
        if let Some(etag) = etag {
            let tag = HeaderValue::try_from(etag).map_err(|_| RestError::Garbage("its tag".to_owned()))?;
            ask.headers.insert(header::IF_NONE_MATCH, tag);
        }
        let answer = self.ask(caller, &ask).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Loaded::Unchanged),
            StatusCode::OK => {
                let etag = answer.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
                Ok(Loaded::Changed { etag: etag.map(str::to_owned), body: answer.into_body() })
            }
            status => Err(RestError::Garbage(format!("{} to a load", status.as_u16()))),
        }
    }

    /// The properties of a namespace.
    pub(super) async fn namespace(
        &self,
        caller: &Caller,
        namespace: &[&str],
    ) -> Result<std::collections::BTreeMap<String, String>, RestError> {
        let path = [Part::Prefix, Part::Word("namespaces"), Part::Namespace(namespace)];
        let uri = self.uri(caller, &path).await?;
        let answer = self.ask(caller, &Ask::get(uri)).await?;
        Ok(json::<Namespace>(&answer)?.properties)
    }

    /// The tables or the views of a namespace, by name.
    pub(super) async fn names(
        &self,
        caller: &Caller,
        kind: Loading,
        namespace: &[&str],
    ) -> Result<Vec<String>, RestError> {
        let path =
            [Part::Prefix, Part::Word("namespaces"), Part::Namespace(namespace), Part::Word(kind.word())];
        let uri = self.uri(caller, &path).await?;
        let of = |page: &mut Page| page.identifiers.drain(..).map(|one| one.name).collect();
        self.pages(caller, &uri, of).await
    }

    /// The namespaces below one, or those of the top level, each with all its levels.
    pub(super) async fn namespaces(
        &self,
        caller: &Caller,
        parent: &[&str],
    ) -> Result<Vec<Vec<String>>, RestError> {
        let mut uri = self.uri(caller, &[Part::Prefix, Part::Word("namespaces")]).await?;
        if !parent.is_empty() {
            let place = self.place(caller).await?;
            uri.push_str("?parent=");
            place.push_namespace(&mut uri, parent);
        }
        self.pages(caller, &uri, |page| std::mem::take(&mut page.namespaces)).await
    }

    /// Whether the catalog has policies.
    pub(super) async fn has_policies(&self, caller: &Caller) -> Result<bool, RestError> {
        Ok(self.place(caller).await?.has_policies)
    }

    /// The policies that Polaris has attached to a table, and to what holds it.
    pub(super) async fn policies(
        &self,
        caller: &Caller,
        namespace: &[&str],
        table: &str,
    ) -> Result<Vec<ApplicablePolicy>, RestError> {
        let place = self.place(caller).await?;
        let mut uri = format!("{}/polaris/v1", self.base);
        place.push(&mut uri, &[Part::Prefix, Part::Word("applicable-policies")]);
        uri.push_str("?namespace=");
        place.push_namespace(&mut uri, namespace);
        uri.push_str(&format!("&target-name={}", encoded(table)));
        self.pages(caller, &uri, |page| std::mem::take(&mut page.policies)).await
    }

    /// Sets and removes properties of a table, if it is still the one of that `uuid`. Not repeated: who asks looks what
    /// became of it.
    pub(super) async fn set_properties(
        &self,
        namespace: &[&str],
        table: &str,
        uuid: &str,
        set: &std::collections::BTreeMap<String, String>,
        removed: &[String],
    ) -> Result<(), RestError> {
        let caller = Caller::Gateway;
        let path = [
            Part::Prefix,
            Part::Word("namespaces"),
            Part::Namespace(namespace),
            Part::Word("tables"),
            Part::Name(table),
        ];
        let uri = self.uri(&caller, &path).await?;
        let mut updates = Vec::new();
        if !set.is_empty() {
            updates.push(serde_json::json!({"action": "set-properties", "updates": set}));
        }
        if !removed.is_empty() {
            updates.push(serde_json::json!({"action": "remove-properties", "removals": removed}));
        }
        let body = serde_json::json!({
            "identifier": {"namespace": namespace, "name": table},
            "requirements": [{"type": "assert-table-uuid", "uuid": uuid}],
            "updates": updates,
        });
        let bearer = self.bearer(&caller).await?;
        self.transport.once(&Ask::json(uri, &body), Some(&bearer)).await.map(drop)
    }

    /// All pages of a list.
    async fn pages<T>(
        &self,
        caller: &Caller,
        uri: &str,
        of: impl Fn(&mut Page) -> Vec<T>,
    ) -> Result<Vec<T>, RestError> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let uri = match &next {
                None => uri.to_owned(),
                Some(token) => {
                    let and = if uri.contains('?') { '&' } else { '?' };
                    format!("{uri}{and}pageToken={}", encoded(token))
                }
            };
            let answer = self.ask(caller, &Ask::get(uri)).await?;
            let mut page: Page = json(&answer)?;
            all.append(&mut of(&mut page));
            if all.len() > MOST_NAMES {
                return Err(RestError::Garbage(format!("a list of more than {MOST_NAMES}")));
            }
            match page.next.filter(|token| !token.is_empty()) {
                None => return Ok(all),
                Some(token) => next = Some(token),
            }
        }
        Err(RestError::Garbage(format!("a list of more than {MOST_PAGES} pages")))
    }

    /// The principal roles that are assigned to a principal of Polaris; none if there is no such principal.
    pub(super) async fn principal_roles(&self, principal: &str) -> Result<Vec<String>, RestError> {
        self.roles(&["principals", principal, "principal-roles"]).await
    }

    /// The catalog roles of a principal role.
    pub(super) async fn catalog_roles(&self, principal_role: &str) -> Result<Vec<String>, RestError> {
        let catalog = self.warehouse.as_deref().unwrap_or_default();
        self.roles(&["principal-roles", principal_role, "catalog-roles", catalog]).await
    }

    /// The grants of a catalog role, as Polaris tells them; none if there is no such role.
    pub(super) async fn grants<T: DeserializeOwned + Default>(&self, role: &str) -> Result<T, RestError> {
        let catalog = self.warehouse.as_deref().unwrap_or_default();
        let answer = self.manage(&["catalogs", catalog, "catalog-roles", role, "grants"]).await;
        match answer {
            Ok(answer) => json(&answer),
            Err(RestError::NotFound(_)) => Ok(T::default()),
            Err(error) => Err(error),
        }
    }

    async fn roles(&self, path: &[&str]) -> Result<Vec<String>, RestError> {
        match self.manage(path).await {
            Ok(answer) => Ok(json::<Roles>(&answer)?.roles.into_iter().map(|role| role.name).collect()),
            Err(RestError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn manage(&self, path: &[&str]) -> Result<Response<Bytes>, RestError> {
        let none = || RestError::NoToken("there is no management_uri".to_owned());
        let Management { transport, base, own } = self.management.as_ref().ok_or_else(none)?;
        let mut uri = base.clone();
        for part in path {
            uri.push('/');
            uri.push_str(&encoded(part));
        }
        let ask = Ask::get(uri);
        let bearer = own.bearer(transport).await?;
        match transport.ask(&ask, Some(&bearer)).await {
            Err(RestError::Unauthorized(_)) if own.spoil(&bearer).await => {
                let bearer = own.bearer(transport).await?;
                transport.ask(&ask, Some(&bearer)).await
            }
            answer => answer,
        }
    }
}

/// A part of a path.
enum Part<'a> {
    /// What the configuration puts in front.
    Prefix,
    Word(&'static str),
    Namespace(&'a [&'a str]),
    Name(&'a str),
}

impl Place {
    fn read(configuration: Configuration, prefix: Option<&String>) -> Result<Self, RestError> {
        let Configuration { defaults, overrides, endpoints } = configuration;
        let has = |path: &str| {
            endpoints.as_ref().is_some_and(|all| {
                all.iter().any(|one| {
                    // Polaris 1.7 leaves the slash out of some.
                    one.split_once(' ')
                        .is_some_and(|(verb, at)| verb == "GET" && at.trim_start_matches('/') == path)
                })
            })
        };
        if endpoints.is_some() && !has("v1/{prefix}/namespaces/{namespace}/tables/{table}") {
            return Err(RestError::Garbage("its configuration has no tables to load".to_owned()));
        }
        let separator = overrides.separator.or(defaults.separator);
        // It is put into addresses as it is.
        let is_escape = |text: &str| {
            let bytes = text.as_bytes();
            bytes.len() == 3 && bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit)
        };
        let separator = match separator {
            None => SEPARATOR.to_owned(),
            Some(text) if is_escape(&text) => text,
            Some(text) => encoded(&text),
        };
        Ok(Self {
            // A client's own word stands between the two.
            prefix: overrides.prefix.or_else(|| prefix.cloned()).or(defaults.prefix),
            separator,
            has_policies: has("polaris/v1/{prefix}/applicable-policies"),
        })
    }

    fn push(&self, uri: &mut String, path: &[Part<'_>]) {
        for part in path {
            match part {
                Part::Prefix => {
                    if let Some(prefix) = &self.prefix {
                        uri.push('/');
                        // A prefix may have several levels.
                        let levels: Vec<String> = prefix.split('/').map(encoded).collect();
                        uri.push_str(&levels.join("/"));
                    }
                }
                Part::Word(word) => {
                    uri.push('/');
                    uri.push_str(word);
                }
                Part::Namespace(levels) => {
                    uri.push('/');
                    self.push_namespace(uri, levels);
                }
                Part::Name(name) => {
                    uri.push('/');
                    uri.push_str(&encoded(name));
                }
            }
        }
    }

    fn push_namespace(&self, uri: &mut String, levels: &[&str]) {
        for (number, level) in levels.iter().enumerate() {
            if number > 0 {
                uri.push_str(&self.separator);
            }
            uri.push_str(&encoded(level));
        }
    }
}

fn encoded(text: &str) -> String {
    // As a whole part of a path these would mean another one.
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        text => utf8_percent_encode(text, PATH).to_string(),
    }
}
