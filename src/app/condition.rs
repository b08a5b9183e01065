//! How the gateway does: what is looked at now and then, and what is told of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::operated;
use crate::admission::Sharing;
use crate::audit::{self, Audit};
use crate::config::Config;
use crate::doctor::expiry::{self, End};
use crate::doctor::host::{self, Disk};
use crate::doctor::{self, ahead};
use crate::policy;
use crate::query::Gateway;
use crate::replica::{Living, Replicas};
use crate::status::{self, Finding, Level, Status};
use crate::telemetry::{Ending, Metrics};
use crate::upstream::{Fleet, Report, State, TESTED_VERSION};

/// How often files and the disk are looked at.
const LOOKED: Duration = Duration::from_secs(30);

/// What was found when it was looked at last.
#[derive(Default)]
struct Seen {
    ends: Vec<End>,
    disk: Option<Disk>,
    living: Vec<Living>,
    /// Why the gateway could not start again with the configuration as the file has it now.
    wrong: Option<String>,
}

/// What is told from.
pub(super) struct Condition {
    of: Parts,
    started: Timestamp,
    /// When policies were loaded last.
    pub(super) loaded: ArcSwap<Timestamp>,
    seen: ArcSwap<Seen>,
}

/// What [`Condition`] is about.
pub(super) struct Parts {
    pub(super) gateway: Arc<Gateway>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) policies: Arc<ArcSwap<policy::Set>>,
    pub(super) audit: Arc<Audit>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) metrics: Arc<Metrics>,
    /// As it was at the start: files are looked for where it says.
    pub(super) config: Arc<Config>,
    /// The file that it is from.
    pub(super) file: PathBuf,
}

impl Condition {
    pub(super) fn new(of: Parts) -> Self {
        let started = Timestamp::now();
        Self { of, started, loaded: ArcSwap::from_pointee(started), seen: ArcSwap::default() }
    }

    /// Looks now and then, for ever. For a task of its own.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            let (config, file) = (Arc::clone(&self.of.config), self.of.file.clone());
            let of_files = tokio::task::spawn_blocking(move || {
                let wrong = Config::load(&file).err().map(|error| error.to_string());
                (expiry::ends(&config), host::disk(&config.audit.folder).ok(), wrong)
            });
            let Ok((ends, disk, wrong)) = of_files.await else { return };
            let living = self.of.replicas.living().await.unwrap_or_default();
            self.seen.store(Arc::new(Seen { ends, disk, living, wrong }));
            tokio::time::sleep(LOOKED).await;
        }
    }

    /// Puts what was found into the metrics.
    pub(super) fn measure(&self) {
        let seen = self.seen.load();
        self.of.metrics.configuration(seen.wrong.is_none());
        for of in Ending::ALL.iter().copied() {
            let of_kind = seen.ends.iter().filter(|end| end.of == of);
            if let Some(first) = of_kind.filter_map(|end| end.at.as_ref().ok()).min() {
                self.of.metrics.ends(of, first.as_second());
            }
        }
        if let Some(bytes) = host::memory() {
            self.of.metrics.memory(bytes);
        }
        if let Some(Disk { free, size }) = seen.disk {
            self.of.metrics.audit_disk(free, size);
        }
        for report in self.of.fleet.reports() {
            self.of.metrics.cluster(&report.name, report.usable, report.queries, report.ejections);
            let tested = report.version.as_deref().is_none_or(|version| version == TESTED_VERSION);
            self.of.metrics.cluster_kind(&report.name, tested, clock(&report));
        }
    }

    /// All that is told.
    pub(super) fn status(&self) -> Status {
        let seen = self.seen.load();
        let policies = self.of.policies.load();
        let reports = self.of.fleet.reports();
        let audit = self.of.audit.status();
        let checks = operated::checks(&self.of.gateway, &self.of.fleet, &self.of.audit, policies.is_empty());
        let not_ready =
            checks.into_iter().filter_map(|check| Some(format!("{}: {}", check.name, check.problem?)));
        let mut ends: Vec<status::End> = seen
            .ends
            .iter()
            .filter_map(|end| Some(status::End { what: end.what.clone(), at: end.at.clone().ok()? }))
            .collect();
        ends.sort_by_key(|end| end.at);
        let now = Timestamp::now();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            now,
            not_ready: not_ready.collect(),
            findings: self.findings(&seen, &reports, &audit, now),
            clusters: reports.iter().map(cluster).collect(),
            gateways: seen.living.iter().map(|living| self.told(living)).collect(),
            classes: self
                .of
                .gateway
                .slots
                .class_loads()
                .into_iter()
                .map(|(name, load)| status::Class {
                    name: name.to_string(),
                    running: load.running,
                    queued: load.queued,
                })
                .collect(),
            limits: match self.of.gateway.slots.sharing() {
                Sharing::Alone => "alone",
                Sharing::Together => "together",
                Sharing::Divided => "divided",
            }
            .to_owned(),
            policies: status::Policies {
                revision: policies.revision().to_string(),
                count: policies.len(),
                loaded: **self.loaded.load(),
            },
            catalogs: self
                .of
                .config
                .catalog
                .rest
                .iter()
                .map(|(name, rest)| status::Catalog {
                    name: name.clone(),
                    uri: rest.uri.clone(),
                    decides: rest.decides(),
                })
                .collect(),
            audit: status::Audit {
                origin: self.of.config.audit.origin.clone(),
                writable: audit.healthy,
                sealed: audit.sealed,
                witnessed: (!self.of.config.audit.witness.is_empty()).then_some(audit.witnessed),
                held: audit.held,
                lost: audit.lost,
                copying: self.of.config.audit.s3.as_ref().map(|_| audit.copying),
                behind: audit.behind,
                free: seen.disk.map(|disk| disk.free),
            },
            ends,
        }
    }

    fn told(&self, living: &Living) -> status::Gateway {
        status::Gateway {
            id: living.id.clone(),
            this: living.id == crate::units::hex(&self.of.replicas.id().to_be_bytes()),
            version: living.version.clone(),
            started: living.started,
        }
    }

    /// What should not stay so.
    fn findings(
        &self,
        seen: &Seen,
        reports: &[Report],
        audit: &audit::Status,
        now: Timestamp,
    ) -> Vec<Finding> {
        let mut all = expiry::findings(&seen.ends, now);
        all.extend(seen.wrong.as_ref().map(|wrong| {
            let remedy =
                "mend the file: what the gateway read before is in force, but it would not start again";
            Finding::problem(status::Area::Configuration, wrong.clone(), remedy)
        }));
        all.extend(seen.disk.map(|disk| host::room(disk, &self.of.config.audit.folder)));
        for report in reports {
            let name = format!("Trino '{}'", report.name);
            all.extend(report.version.as_deref().map(|version| doctor::version(&name, version)));
            all.extend(clock(report).map(|ahead| doctor::offset(&name, ahead)));
            if !report.usable && report.state == State::Active {
                let remedy = "`northgate doctor` says what of it";
                all.push(Finding::problem(
                    status::Area::Trino,
                    format!("{name} is {}", report.health),
                    remedy,
                ));
            }
        }
        if audit.lost > 0 {
            let says = format!("{} records of refusals or failed sign-ins were not kept", audit.lost);
            let remedy =
                "see what floods the gateway (`northgate_authentications_total`); the audit has their number";
            all.push(Finding::warning(status::Area::Audit, says, remedy));
        }
        all.retain(|finding| finding.level != Level::Good);
        all.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        all
    }
}

/// By how many seconds a cluster's clock is ahead of ours.
fn clock(report: &Report) -> Option<f64> {
    let (date, at) = report.clock.as_ref()?;
    ahead(date, *at)
}

fn cluster(report: &Report) -> status::Cluster {
    status::Cluster {
        name: report.name.clone(),
        state: report.state.as_str().to_owned(),
        health: report.health.to_owned(),
        version: report.version.clone(),
        queries: report.queries,
        clock_ahead: clock(report),
    }
}
