//! The composition root: builds the parts from the configuration, serves, reloads, drains.

mod clusters;
mod condition;
mod handler;
mod operated;
mod queries;
mod reload;
mod tokens;
mod unfinished;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::admin::{Admin, Operated};
use crate::admission::{self, Budgets, Rate, Slots, Together};
use crate::audit::{Audit, Auditors, Event};
use crate::cache::Cache;
use crate::catalog::rest::RestCatalog;
use crate::config::{Config, Links};
use crate::identity::{self, Identity, Method, Principal};
use crate::lineage::Lineage;
use crate::policy::{self, Surroundings};
use crate::query::{Admitting, Claims, Components, Explanation, Gateway, Question};
use crate::replica::Replicas;
use crate::rewrite::Names;
use crate::secret::{self, Secret};
use crate::server::{self, Certificates, Server};
use crate::state::Store;
use crate::telemetry::{self, Metrics, Traces};
use crate::upstream::{Fleet, Sender};
use crate::web::{Queries, Web};
use crate::wire::Sealer;

use condition::{Condition, Parts};

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

/// Runs the gateway until SIGTERM or SIGINT. What can change while it runs is read again from the `file` that the
/// configuration is from.
///
/// # Errors
///
/// [`StartError`] says what is missing or wrong.
pub fn run(config: Config, file: &Path) -> Result<(), StartError> {
    telemetry::init(&config.telemetry).map_err(because("[telemetry]"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()
        .map_err(because("threads"))?;
    runtime.block_on(serve(config, file.to_owned()))
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
        let store = Arc::new(Store::open(&config.state).map_err(because("[state]"))?);
        Identity::check(config.identity.clone(), &store, sealer, metrics).map_err(because("[identity]"))
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
    /// A token of theirs, for catalogs that are asked in their name.
    pub token: Option<Secret<String>>,
    /// The catalog of the session.
    pub catalog: Option<String>,
    /// The schema of the session.
    pub schema: Option<String>,
    /// What their client would say that it is.
    pub source: Option<String>,
    /// The client's tags.
    pub tags: Vec<String>,
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
    let slots = Slots::new(&config.admission).map_err(because("[admission]"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(because("threads"))?;
    let (config, asked) = (config.clone(), asked.clone());
    let explained = runtime.spawn(async move {
        let store = Store::open(&config.state).map_err(because("[state]"))?;
        // What a gateway has used by itself, it alone knows.
        let shared = store.scripts().is_some();
        let budgets = shared.then(|| budgets(&config.admission, &slots, &store)).transpose()?;
        let fleet = fleet(&config)?;
        let groups = principal.groups();
        let sender =
            Sender { class: "", user: principal.name(), groups, source: None, tags: &[], wish: None };
        let place = fleet.place(&fleet.group(&sender), &[]).map_err(because("[trino]"))?;
        let question = Question {
            principal: &principal,
            token: asked.token.as_ref(),
            names: Names { catalog: asked.catalog.as_deref(), schema: asked.schema.as_deref() },
            catalog: place.catalog(),
            policies: &policies,
            properties: &config.query.session_properties,
            limits: &limits,
            admitting: Some(Admitting {
                classes: slots.classes(),
                claims: Claims { source: asked.source.as_deref(), tags: &asked.tags },
                budgets: budgets.as_ref(),
                cluster: &place,
            }),
            caches: config.cache.is_some(),
        };
        Ok(question.explain(&asked.sql).await)
    });
    runtime.block_on(explained).map_err(because("explain"))?
}

fn statement_limits(config: &Config) -> crate::sql::Limits {
    crate::sql::Limits {
        bytes: usize::try_from(config.server.max_statement.0).unwrap_or(usize::MAX),
        depth: config.query.max_depth,
        tokens: usize::try_from(config.query.max_words).unwrap_or(usize::MAX),
    }
}

/// The policies of a folder; none if there is no folder yet, so that nobody may read anything.
fn load_policies(folder: &Path, surroundings: &Surroundings) -> Result<policy::Set, StartError> {
    if !folder.exists() {
        return policy::Set::parse_in::<&str, &str>(&[], surroundings).map_err(because("[policies]"));
    }
    policy::Set::load(folder, surroundings).map_err(because("[policies]"))
}

fn fleet(config: &Config) -> Result<Fleet, StartError> {
    Fleet::new(&config.trino, config.routing.clone(), config.catalog.clone()).map_err(because("clusters"))
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

fn key_file(source: &secret::Source) -> Result<Secret<String>, StartError> {
    source.read().map_err(because(&source.to_string()))
}

struct App {
    gateway: Arc<Gateway>,
    policies: Arc<ArcSwap<policy::Set>>,
    /// Held while policies are read and put in force.
    reloading: tokio::sync::Mutex<()>,
    folder: PathBuf,
    config_file: PathBuf,
    surroundings: Surroundings,
    identity: Arc<Identity>,
    web: Web,
    audit: Arc<Audit>,
    fleet: Arc<Fleet>,
    store: Arc<Store>,
    condition: Arc<Condition>,
    /// How long, before it stops, the gateway goes on to take queries while it says that it is not ready.
    drain_delay: Duration,
    metrics: Arc<Metrics>,
    certificates: Option<Arc<Certificates>>,
}

async fn serve(config: Config, file: PathBuf) -> Result<(), StartError> {
    let (limits, configuration) = (statement_limits(&config), config.revision());
    let metrics = Arc::new(Metrics::new());
    let surroundings = surroundings(&config);
    let policies = Arc::new(ArcSwap::from_pointee(first_policies(&config.policies.folder, &surroundings)?));
    metrics.policy_loaded(now());
    let sealer = Arc::new(sealer(&config.links)?);
    let store = Arc::new(Store::open(&config.state).map_err(because("[state]"))?);
    let identity = Identity::new(config.identity.clone(), &store, Arc::clone(&sealer), Arc::clone(&metrics));
    let identity = Arc::new(identity.map_err(because("[identity]"))?);
    let slots = Slots::new(&config.admission).map_err(because("[admission]"))?;
    let budgets = budgets(&config.admission, &slots, &store)?;
    let together = together(&config.admission, &slots, &store)?;
    let audit = Arc::new(Audit::open(&config.audit).map_err(because("[audit]"))?);
    let fleet = Arc::new(fleet(&config)?);
    let lineage = Lineage::open(&config.lineage).map_err(because("[lineage]"))?;
    let traces = Traces::open(config.telemetry.traces.as_ref()).map_err(because("[telemetry.traces]"))?;
    let auditors = Arc::new(Auditors::new(&config.audit));
    let replicas = Arc::new(Replicas::new(store.shared().cloned()).map_err(because("replicas"))?);
    if replicas.are_several() && config.links.key_file.is_none() && config.links.key.is_none() {
        tracing::warn!("without links.key_file other gateways cannot serve the queries of this one");
    }
    let drain_delay = config.server.drain_delay.0;
    let whole = Arc::new(config.clone());
    let request = config.server.limits();
    let gateway = Arc::new(Gateway::new(Components {
        config: config.query,
        identity: Arc::clone(&identity),
        rate: Rate::new(&config.admission),
        slots,
        budgets,
        policies: Arc::clone(&policies),
        cache: config.cache.map(|config| Cache::new(config, store.scripts())),
        audit: Arc::clone(&audit),
        auditors: Arc::clone(&auditors),
        fleet: Arc::clone(&fleet),
        replicas: Arc::clone(&replicas),
        sealer,
        metrics: Arc::clone(&metrics),
        lineage: lineage.clone(),
        traces: traces.clone(),
        request,
        limits,
        work: tokio::runtime::Handle::current(),
    }));
    let condition = Arc::new(Condition::new(Parts {
        gateway: Arc::clone(&gateway),
        fleet: Arc::clone(&fleet),
        policies: Arc::clone(&policies),
        audit: Arc::clone(&audit),
        replicas: Arc::clone(&replicas),
        metrics: Arc::clone(&metrics),
        config: whole,
        file: file.clone(),
    }));
    let told = Arc::clone(&condition);
    // Before anybody can connect: from then on there is something to end in order.
    let stop = stop_signal();
    let server = Server::bind(config.server).await.map_err(because("[server]"))?;
    let admin = Admin::bind(&config.admin).await.map_err(because("[admin]"))?;
    let admin = admin.with_key(&config.admin.key_file).map_err(because("[admin]"))?;
    let app = Arc::new(App {
        gateway: Arc::clone(&gateway),
        folder: config.policies.folder,
        config_file: file,
        surroundings,
        web: Web::new(Arc::clone(&identity), Arc::clone(&audit), auditors).with_queries(Queries {
            gateway: Arc::clone(&gateway),
            operators: config.admission.operators.clone(),
            status: Box::new(move || told.status()),
        }),
        identity,
        audit: Arc::clone(&audit),
        fleet: Arc::clone(&fleet),
        store,
        condition,
        drain_delay,
        metrics: Arc::clone(&metrics),
        certificates: server.certificates(),
        policies,
        reloading: tokio::sync::Mutex::new(()),
    });
    app.recorded(&Event::Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_revision: app.policies.load().revision().to_string(),
        configuration,
    })
    .await?;
    // They end with this function.
    let emf = config.telemetry.emf.map(|emf| (emf, config.audit.origin));
    let _tasks = app.tasks(admin, together, replicas, emf);
    tracing::info!(address = %server.address(), "serving");
    server.serve(Arc::clone(&app), metrics, stop).await;
    gateway.abandon().await;
    audit.close().await.map_err(because("[audit]"))?;
    lineage.drained().await;
    traces.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The policies of a start.
fn first_policies(folder: &Path, surroundings: &Surroundings) -> Result<policy::Set, StartError> {
    if let Err(error) = std::fs::create_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "there is no folder of policies");
    }
    let policies = load_policies(folder, surroundings)?;
    if policies.is_empty() {
        tracing::warn!(folder = %folder.display(), "there are no policies: nobody may read anything");
    }
    Ok(policies)
}

/// What may be used in a day.
fn budgets(config: &admission::Config, slots: &Slots, store: &Store) -> Result<Budgets, StartError> {
    Budgets::new(config, slots.classes(), store.scripts()).map_err(because("[admission]"))
}

/// What counts with other gateways, where there are some.
fn together(
    config: &admission::Config,
    slots: &Slots,
    store: &Store,
) -> Result<Option<Together>, StartError> {
    if config.replicas.get() == 1 {
        return Ok(None);
    }
    let scripts =
        store.scripts().ok_or_else(|| StartError("[admission] replicas: needs Redis".to_owned()))?;
    let together = Together::new(slots.clone(), scripts, config.lease.0);
    together.map(Some).map_err(because("[admission]"))
}

/// Ends at SIGTERM or SIGINT, also one that came since this was called.
fn stop_signal() -> impl Future<Output = ()> + use<> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut term), Ok(mut int)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

impl App {
    /// What goes on beside what is served, for as long as the set is kept.
    fn tasks(
        self: &Arc<Self>,
        admin: Admin,
        together: Option<Together>,
        replicas: Arc<Replicas>,
        emf: Option<(telemetry::EmfConfig, String)>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(admin.serve(Arc::clone(self)));
        tasks.spawn(Arc::clone(&self.condition).watch());
        if let Some((emf, gateway)) = emf {
            let measured = Arc::clone(self);
            tasks.spawn(telemetry::send_emf(emf, gateway, move || Operated::metrics(&*measured)));
        }
        if let Some(together) = together {
            tasks.spawn(together.run());
        }
        tasks.spawn(self.gateway.budgets.clone().run());
        tasks.spawn(unfinished::settle(Arc::clone(&self.audit), Arc::clone(&self.fleet)));
        let (noted, fleet) = (Arc::clone(&self.audit), Arc::clone(&self.fleet));
        tasks.spawn(async move { noted.watch_inbox().await });
        tasks.spawn(async move { fleet.watch(CHECK).await });
        let (sending, living) = (Arc::clone(&replicas), replicas);
        tasks.spawn(async move { sending.send().await });
        tasks.spawn(async move { living.live().await });
        tasks.spawn(Arc::clone(&self.gateway).hear());
        tasks.spawn(Arc::clone(self).hear_of_clusters());
        let swept = Arc::clone(&self.gateway);
        tasks.spawn(async move { swept.sweep().await });
        let warmed = Arc::clone(&self.gateway);
        tasks.spawn(async move { warmed.warm().await });
        tasks.spawn(Arc::clone(self).reload_when_told());
        tasks.spawn(Arc::clone(self).record_endings());
        tasks
    }

    async fn recorded(&self, event: &Event) -> Result<(), StartError> {
        self.audit.record(event).await.map_err(because("[audit]"))
    }
}
