//! The composition root: builds the parts from the configuration, serves, reloads, drains.

mod tokens;
mod unfinished;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use notify::Watcher as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{Admin, Check, Operated, TokenRequest};
use crate::admission::{Rate, Slots};
use crate::audit::{Audit, Event};
use crate::catalog::Catalog;
use crate::catalog::rest::RestCatalog;
use crate::config::{Config, Links};
use crate::identity::{self, Asking, Identity, Login, Method, Principal, Refused};
use crate::policy::{self, Surroundings};
use crate::query::{Answer, Components, Explanation, Gateway, QueryError, Question};
use crate::rewrite::Names;
use crate::secret::Secret;
use crate::server::{self, BodyError, Certificates, Handler, Server, respond};
use crate::telemetry::{self, Metrics, Reload, RequestRoute};
use crate::upstream::Cluster;
use crate::web::{Auditors, Web};
use crate::wire::{Origin, Peer, Sealer};

/// The stack of a worker thread, in bytes: room for a statement nested to the limit, in a debug build too.
const STACK: usize = 8 << 20;
/// How often the cluster is asked how it is.
const CHECK: Duration = Duration::from_secs(5);
/// Changes of files within this time make one reload.
const SETTLE: Duration = Duration::from_millis(300);

/// Why the gateway could not start.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn because<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> StartError {
    move |error| StartError(format!("{what}: {error}"))
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`StartError`] says what is missing or wrong.
pub fn run(config: Config) -> Result<(), StartError> {
    telemetry::init(&config.telemetry).map_err(because("[telemetry]"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()
        .map_err(because("threads"))?;
    runtime.block_on(serve(config))
}

/// Reads policies, users, issuers, certificates and limits as a start does, and says what would be in force. Trino, the
/// audit's folder and the ports are left alone.
///
/// # Errors
///
/// [`StartError`] says what is missing or wrong.
pub fn check(config: &Config) -> Result<String, StartError> {
    let policies = load_policies(&config.policies.folder, &surroundings(config))?;
    server::check(&config.server).map_err(because("[server]"))?;
    Slots::new(&config.admission).map_err(because("[admission]"))?;
    for (name, rest) in &config.catalog.rest {
        RestCatalog::new(name, rest.clone()).map_err(because(&format!("[catalog.rest.{name}]")))?;
    }
    // Issuers fetch their keys from tasks; these end with the runtime.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(because("threads"))?;
    let sealer = Arc::new(sealer(&config.links)?);
    runtime.block_on(async {
        let metrics = Arc::new(Metrics::new());
        Identity::check(config.identity.clone(), sealer, metrics).map_err(because("[identity]"))
    })?;
    Ok(format!(
        "{config}\n# Policies: {} in {}, revision {}",
        policies.len(),
        config.policies.folder.display(),
        policies.revision()
    ))
}

/// What `northgate explain` is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who would ask.
    pub user: String,
    /// Their groups; if there are none, those of the users file.
    pub groups: Vec<String>,
    /// The catalog of the session.
    pub catalog: Option<String>,
    /// The schema of the session.
    pub schema: Option<String>,
    /// The statement.
    pub sql: String,
}

/// Explains what would be done with a statement. Asks Trino for the columns of its tables.
///
/// # Errors
///
/// [`StartError`] if the policies or the users cannot be read, or Trino cannot be used. That a statement would be
/// refused is an explanation, too.
pub fn explain(config: &Config, asked: &Asked) -> Result<Explanation, StartError> {
    let policies = load_policies(&config.policies.folder, &surroundings(config))?;
    let mut principal = identity::known(&config.identity.users_file, &asked.user)
        .map_err(because("[identity]"))?
        .unwrap_or_else(|| Principal::new(&asked.user, Method::Password));
    if !asked.groups.is_empty() {
        principal = principal.with_groups(asked.groups.clone());
    }
    let limits = statement_limits(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(because("threads"))?;
    let (config, asked) = (config.clone(), asked.clone());
    let explained = runtime.spawn(async move {
        let cluster = Arc::new(Cluster::new(&config.trino).map_err(because("[trino]"))?);
        let catalog = Catalog::new(cluster, config.catalog).map_err(because("catalog"))?;
        let question = Question {
            principal: &principal,
            token: None,
            names: Names { catalog: asked.catalog.as_deref(), schema: asked.schema.as_deref() },
            catalog: &catalog,
            policies: &policies,
            properties: &config.query.session_properties,
            limits: &limits,
        };
        Ok(question.explain(&asked.sql).await)
    });
    runtime.block_on(explained).map_err(because("explain"))?
}

fn statement_limits(config: &Config) -> crate::sql::Limits {
    crate::sql::Limits {
        bytes: usize::try_from(config.server.max_statement.0).unwrap_or(usize::MAX),
        depth: config.query.max_depth,
        ..crate::sql::Limits::default()
    }
}

/// The policies of a folder; none if there is no folder yet, so that nobody may read anything.
fn load_policies(folder: &Path, surroundings: &Surroundings) -> Result<policy::Set, StartError> {
    if !folder.exists() {
        return policy::Set::parse_in::<&str, &str>(&[], surroundings).map_err(because("[policies]"));
    }
    policy::Set::load(folder, surroundings).map_err(because("[policies]"))
}

/// What policies don't say of the place that they hold in.
fn surroundings(config: &Config) -> Surroundings {
    let deciding = config.catalog.rest.iter().filter(|(_, rest)| rest.decides());
    Surroundings {
        environment: config.policies.environment.clone(),
        without_tags: config.catalog.rest.is_empty(),
        deciding: deciding.map(|(name, _)| name.clone()).collect(),
    }
}

fn sealer(links: &Links) -> Result<Sealer, StartError> {
    let current = match (&links.key, &links.key_file) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(path)) => Some(key_file(path)?),
        (None, None) => None,
    };
    let Some(current) = current else {
        return Sealer::generate().map_err(because("[links]"));
    };
    let mut keys = vec![current];
    for path in &links.previous_key_files {
        keys.push(key_file(path)?);
    }
    let keys = keys
        .iter()
        .map(|text| STANDARD.decode(text.expose().trim()).map(Secret::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(because("[links] key"))?;
    Sealer::new(&keys).map_err(because("[links]"))
}

fn key_file(path: &Path) -> Result<Secret<String>, StartError> {
    Secret::from_file(path).map_err(because(&path.display().to_string()))
}

struct App {
    gateway: Arc<Gateway>,
    policies: Arc<ArcSwap<policy::Set>>,
    /// Held while policies are read and put in force.
    reloading: tokio::sync::Mutex<()>,
    folder: std::path::PathBuf,
    surroundings: Surroundings,
    identity: Arc<Identity>,
    web: Web,
    audit: Arc<Audit>,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    certificates: Option<Arc<Certificates>>,
}

async fn serve(config: Config) -> Result<(), StartError> {
    let limits = statement_limits(&config);
    let metrics = Arc::new(Metrics::new());
    if let Err(error) = std::fs::create_dir_all(&config.policies.folder) {
        tracing::warn!(%error, folder = %config.policies.folder.display(), "there is no folder of policies");
    }
    let surroundings = surroundings(&config);
    let policies = load_policies(&config.policies.folder, &surroundings)?;
    if policies.is_empty() {
        tracing::warn!(folder = %config.policies.folder.display(), "there are no policies: nobody may read anything");
    }
    let policies = Arc::new(ArcSwap::from_pointee(policies));
    metrics.policy_loaded(now());
    let sealer = Arc::new(sealer(&config.links)?);
    let identity = Identity::new(config.identity, Arc::clone(&sealer), Arc::clone(&metrics));
    let identity = Arc::new(identity.map_err(because("[identity]"))?);
    let audit = Arc::new(Audit::open(&config.audit).map_err(because("[audit]"))?);
    let cluster = Arc::new(Cluster::new(&config.trino).map_err(because("[trino]"))?);
    let request = config.server.limits();
    let gateway = Arc::new(Gateway::new(Components {
        config: config.query,
        identity: Arc::clone(&identity),
        rate: Rate::new(&config.admission),
        slots: Slots::new(&config.admission).map_err(because("[admission]"))?,
        catalog: Catalog::new(Arc::<Cluster>::clone(&cluster), config.catalog).map_err(because("catalog"))?,
        policies: Arc::clone(&policies),
        audit: Arc::clone(&audit),
        cluster: Arc::clone(&cluster),
        sealer,
        metrics: Arc::clone(&metrics),
        request,
        limits,
        work: tokio::runtime::Handle::current(),
    }));
    let server = Server::bind(config.server).await.map_err(because("[server]"))?;
    let mut admin = Admin::bind(&config.admin).await.map_err(because("[admin]"))?;
    if identity.access_tokens().is_some() {
        admin = admin.with_tokens(&config.admin.key_file).map_err(because("[admin]"))?;
    }
    let app = Arc::new(App {
        gateway: Arc::clone(&gateway),
        folder: config.policies.folder,
        surroundings,
        web: Web::new(
            Arc::clone(&identity),
            Arc::clone(&audit),
            Auditors::new(config.audit.auditors.clone(), config.audit.folder.clone()),
        ),
        identity,
        audit: Arc::clone(&audit),
        cluster: Arc::clone(&cluster),
        metrics: Arc::clone(&metrics),
        certificates: server.certificates(),
        policies,
        reloading: tokio::sync::Mutex::new(()),
    });
    app.recorded(&Event::Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_revision: app.policies.load().revision().to_string(),
    })
    .await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(admin.serve(Arc::clone(&app)));
    tasks.spawn(unfinished::settle(Arc::clone(&audit), Arc::clone(&cluster)));
    let noted = Arc::clone(&audit);
    tasks.spawn(async move { noted.watch_inbox().await });
    tasks.spawn(async move { cluster.watch(CHECK).await });
    let swept = Arc::clone(&gateway);
    tasks.spawn(async move { swept.sweep().await });
    tasks.spawn(Arc::clone(&app).reload_when_told());
    tasks.spawn(Arc::clone(&app).record_endings());
    tracing::info!(address = %server.address(), "serving");
    server.serve(Arc::clone(&app), metrics, stop_signal()).await;
    gateway.abandon().await;
    audit.close().await.map_err(because("[audit]"))?;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

impl App {
    async fn recorded(&self, event: &Event) -> Result<(), StartError> {
        self.audit.record(event).await.map_err(because("[audit]"))
    }

    /// Records the sessions that identity providers end.
    async fn record_endings(self: Arc<Self>) {
        let Some(mut endings) = self.identity.login().and_then(Login::endings) else { return };
        while let Some(ending) = endings.recv().await {
            self.audit.keep(&Event::SignIn {
                auth_method: ending.method.as_str().to_owned(),
                outcome: "ended_by_provider".to_owned(),
                principal: Some(ending.identity),
                peer: String::new(),
                detail: Some(ending.why.to_owned()),
            });
        }
    }

    /// Reloads on SIGHUP and when a policy document changes, and records what else was read again.
    async fn reload_when_told(self: Arc<Self>) {
        let (sender, mut changed) = tokio::sync::mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // One that is waiting already stands for this one too.
                let _ = sender.try_send(());
            }
        });
        let _watcher = match watcher {
            Ok(mut watcher) => watcher
                .watch(&self.folder, notify::RecursiveMode::NonRecursive)
                .map(|()| watcher)
                .map_err(|error| tracing::warn!(%error, "policies are reloaded on SIGHUP only"))
                .ok(),
            Err(error) => {
                tracing::warn!(%error, "policies are reloaded on SIGHUP only");
                None
            }
        };
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        let mut users = self.identity.rereads();
        let mut certificates = self.certificates.as_ref().map(|certificates| certificates.rereads());
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => {
                    let _ = self.reload().await;
                }
                Some(()) = changed.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    while changed.try_recv().is_ok() {}
                    let _ = self.reload_policies().await;
                }
                Ok(()) = users.changed() => {
                    let problem = users.borrow_and_update().clone();
                    self.told("users", problem.as_ref()).await;
                }
                Ok(()) = async {
                    match &mut certificates {
                        Some(certificates) => certificates.changed().await,
                        None => std::future::pending().await,
                    }
                } => {
                    let problem = certificates.as_mut().and_then(|told| told.borrow_and_update().clone());
                    self.told("certificate", problem.as_ref()).await;
                }
                else => return,
            }
        }
    }

    /// Reads the policies again. A set that does not hold together leaves the one before in force.
    async fn reload_policies(&self) -> Result<(), String> {
        // One after another: a set that was read before another may not take its place.
        let _turn = self.reloading.lock().await;
        let folder = self.folder.clone();
        let surroundings = self.surroundings.clone();
        let loaded = tokio::task::spawn_blocking(move || policy::Set::load(&folder, &surroundings)).await;
        let (outcome, result) = match loaded {
            Ok(Ok(set)) if set.revision() == self.policies.load().revision() => (Reload::Unchanged, Ok(())),
            Ok(Ok(set)) => {
                tracing::info!(revision = %set.revision(), policies = set.len(), "new policies are in force");
                self.policies.store(Arc::new(set));
                self.metrics.policy_loaded(now());
                (Reload::Applied, Ok(()))
            }
            Ok(Err(errors)) => (Reload::Rejected, Err(errors.to_string())),
            Err(error) => (Reload::Rejected, Err(error.to_string())),
        };
        self.metrics.policy_reload(outcome);
        if let Err(detail) = &result {
            tracing::error!(detail, "the new policies are not in force; those of before are");
        }
        if outcome != Reload::Unchanged {
            self.told("policies", result.as_ref().err()).await;
        }
        result
    }

    async fn told(&self, what: &str, detail: Option<&String>) {
        let event = Event::Reload {
            what: what.to_owned(),
            accepted: detail.is_none(),
            policy_revision: Some(self.policies.load().revision().to_string()),
            detail: detail.cloned(),
        };
        if let Err(error) = self.audit.record(&event).await {
            tracing::error!(%error, "a reload could not be recorded");
        }
    }
}

/// Who a driver without a login says that it is.
fn asking(parts: &Parts, peer: &Peer) -> Asking {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    Asking::new(header("x-trino-user"), peer.address.ip().to_string(), header("user-agent"))
}

fn refusal(error: &QueryError) -> Response<crate::server::Body> {
    match error {
        QueryError::Refused(refused) => respond::refused(refused),
        QueryError::Malformed(malformed) => {
            let id = crate::wire::new_query_id(jiff::Timestamp::now().as_second());
            let origin = Origin { id: &id, base: "https://localhost", elapsed_ms: 0 };
            respond::malformed(&origin, malformed)
        }
        error => respond::failure(error.http_status(), error),
    }
}

impl App {
    /// Tells a driver without a login where its user can sign in with a browser (Trino's external authentication). In the
    /// place of the plain challenge to bring a token: drivers take the first of its kind.
    fn invite(&self, error: &QueryError, asking: Option<Asking>, response: &mut Response<server::Body>) {
        let (QueryError::Refused(refused), Some(login), Some(asking)) =
            (error, self.identity.login(), asking)
        else {
            return;
        };
        let token = |ticket: &str| format!("x_token_server=\"{}/oauth2/token/{ticket}\"", login.origin());
        let challenge = match refused {
            Refused::Renewed { ticket, .. } => format!("Bearer {}", token(ticket)),
            Refused::MissingCredentials | Refused::BadCredentials(_) => {
                let Some(tickets) = login.invite(asking) else { return };
                let initiate = format!("{}/oauth2/token/initiate/{}", login.origin(), tickets.initiate);
                format!("Bearer x_redirect_server=\"{initiate}\", {}", token(&tickets.token))
            }
            _ => return,
        };
        respond::challenge_bearer(response, &challenge);
    }
}

impl Handler for App {
    async fn handle(&self, parts: Parts, body: Bytes, peer: Peer) -> Response<crate::server::Body> {
        if Web::serves(parts.uri.path()) && self.identity.login().is_some() {
            let response = self.web.handle(&parts, &body, &peer).await.map(server::whole);
            self.metrics.request(RequestRoute::Web, response.status().as_u16());
            return response;
        }
        let asking = self.identity.login().map(|_| asking(&parts, &peer));
        let (route, result) = self.gateway.handle(parts, body, peer).await;
        let response = match result {
            Ok(Answer::Page { headers, body }) => respond::page(
                headers,
                body.map_err(|error| BodyError::Source(error.to_string())).boxed_unsync(),
            ),
            Ok(Answer::Empty(status)) => respond::empty(status),
            Err(error) => {
                let mut response = refusal(&error);
                self.invite(&error, asking, &mut response);
                response
            }
        };
        self.metrics.request(route, response.status().as_u16());
        response
    }

    async fn screen(&self, parts: &Parts, peer: &Peer) -> Option<Response<crate::server::Body>> {
        if Web::serves(parts.uri.path()) && self.identity.login().is_some() {
            let response = self.web.screen(parts)?.map(server::whole);
            self.metrics.request(RequestRoute::Web, response.status().as_u16());
            return Some(response);
        }
        let error = self.gateway.screen(&parts.headers, peer).await.err()?;
        let response = refusal(&error);
        self.metrics.request(RequestRoute::Unknown, response.status().as_u16());
        Some(response)
    }

    fn is_open(&self, parts: &Parts) -> bool {
        Web::serves(parts.uri.path()) && self.identity.login().is_some()
    }

    fn drain(&self) -> impl Future<Output = ()> + Send {
        self.gateway.drain()
    }
}

impl Operated for App {
    fn metrics(&self) -> String {
        let audit = self.audit.status();
        self.metrics.audit_state(audit.healthy, audit.held, audit.lost);
        self.metrics.audit_copy(audit.copying, audit.behind);
        self.metrics.render()
    }

    async fn ready(&self) -> Vec<Check> {
        let problem = |holds: bool, text: &str| (!holds).then(|| text.to_owned());
        let draining = self.gateway.is_draining();
        vec![
            Check { name: "policies", problem: problem(!self.policies.load().is_empty(), "there are none") },
            Check { name: "audit", problem: problem(self.audit.healthy(), "records cannot be written") },
            Check { name: "trino", problem: problem(self.cluster.healthy(), "the cluster does not answer") },
            Check { name: "serving", problem: problem(!draining, "stopping") },
        ]
    }

    async fn explain(&self, asked: crate::admin::Explain) -> String {
        let known = self.identity.known(&asked.user);
        let mut principal = known.unwrap_or_else(|| Principal::new(&asked.user, Method::Password));
        if !asked.groups.is_empty() {
            principal = principal.with_groups(asked.groups.clone());
        }
        let names = Names { catalog: asked.catalog.as_deref(), schema: asked.schema.as_deref() };
        self.gateway.explain(&principal, names, &asked.sql).await.to_string()
    }

    async fn tokens(&self, asked: TokenRequest) -> Result<String, (StatusCode, String)> {
        tokens::answer(&self.identity, &self.audit, asked).await
    }

    fn keys(&self) -> String {
        self.cluster.jwks().unwrap_or_else(|| "{\"keys\":[]}".to_owned())
    }

    async fn reload(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if let Err(detail) = self.reload_policies().await {
            wrong.push(format!("policies: {detail}"));
        }
        let users = self.identity.reload().map_err(|error| error.to_string());
        self.told("users", users.as_ref().err()).await;
        if let Err(detail) = users {
            tracing::error!(detail, "the new users file is not in force; the one before is");
            wrong.push(format!("users: {detail}"));
        }
        if let Some(certificates) = &self.certificates {
            let outcome = certificates.reload().map_err(|error| error.to_string());
            self.told("certificate", outcome.as_ref().err()).await;
            if let Err(detail) = outcome {
                tracing::error!(detail, "the new certificate is not in force; the one before is");
                wrong.push(format!("certificate: {detail}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
