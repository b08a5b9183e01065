//! What is read again while the gateway runs, and what of it is on record.

use std::sync::Arc;

use notify::Watcher as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{App, SETTLE, now};
use crate::admin::Operated as _;
use crate::audit::Event;
use crate::cache::Purge;
use crate::config::Config;
use crate::identity::Login;
use crate::policy;
use crate::telemetry::Reload;

impl App {
    /// Records the sessions that identity providers end.
    pub(super) async fn record_endings(self: Arc<Self>) {
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
    pub(super) async fn reload_when_told(self: Arc<Self>) {
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
                    self.told("users", None, problem.as_ref()).await;
                }
                Ok(()) = async {
                    match &mut certificates {
                        Some(certificates) => certificates.changed().await,
                        None => std::future::pending().await,
                    }
                } => {
                    let problem = certificates.as_mut().and_then(|told| told.borrow_and_update().clone());
                    self.told("certificate", None, problem.as_ref()).await;
                }
                else => return,
            }
        }
    }

    /// Reads the policies again. A set that does not hold together leaves the one before in force.
    pub(super) async fn reload_policies(&self) -> Result<(), String> {
        // One after another: a set that was read before another may not take its place.
        let _turn = self.reloading.lock().await;
        let folder = self.folder.clone();
        let surroundings = self.surroundings.clone();
        let loaded = tokio::task::spawn_blocking(move || policy::Set::load(&folder, &surroundings)).await;
        let (outcome, result) = match loaded {
            Ok(Ok(set)) if set.revision() == self.policies.load().revision() => (Reload::Unchanged, Ok(())),
            Ok(Ok(set)) => {
                tracing::info!(revision = %set.revision(), policies = set.len(), "new policies are in force");
                let revision = set.revision().to_string();
                self.policies.store(Arc::new(set));
                // They cannot be reached any more.
                if let Err(error) = self.gateway.purge(&Purge::Revision(revision)).await {
                    tracing::warn!(%error, "answers of before are still kept, out of reach");
                }
                self.metrics.policy_loaded(now());
                self.condition.loaded.store(Arc::new(jiff::Timestamp::now()));
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
            self.told("policies", None, result.as_ref().err()).await;
        }
        result
    }

    /// Reads from the configuration again which clusters there are, whether they take queries, and which rules route.
    pub(super) async fn reload_clusters(&self) -> Result<(), String> {
        let path = self.config_file.clone();
        let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
        let mut read = None;
        let result = match loaded {
            Ok(Ok(config)) => {
                read = Some(config.revision());
                self.fleet.reload(&config.trino, config.routing).map_err(|error| error.to_string())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match &result {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("new settings of clusters are in force");
                self.told("clusters", read, None).await;
            }
            Err(detail) => {
                tracing::error!(detail, "the new settings of clusters are not in force; those of before are");
                self.told("clusters", read, Some(detail)).await;
            }
        }
        result.map(drop)
    }

    pub(super) async fn told(&self, what: &str, configuration: Option<String>, detail: Option<&String>) {
        let event = Event::Reload {
            what: what.to_owned(),
            accepted: detail.is_none(),
            policy_revision: Some(self.policies.load().revision().to_string()),
            configuration,
            detail: detail.cloned(),
        };
        if let Err(error) = self.audit.record(&event).await {
            tracing::error!(%error, "a reload could not be recorded");
        }
    }
}
