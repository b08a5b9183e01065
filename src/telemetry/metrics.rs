//! The metrics, all in one struct. The help text of each is its doc comment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::labels::{
    AuthMethod, AuthOutcome, Cached, Ending, Kept, OfAuthentication, OfCached, OfClass, OfCluster,
    OfConnection, OfEnding, OfKept, OfQuery, OfReload, OfRequest, OfStage, OfStatement, OfTrace, OfUpstream,
    OfWarmed, QueryEnd, Reload, RequestRoute, Stage, StatementKind, StatusClass, Tls, UpstreamOperation,
    UpstreamOutcome, Verdict, Warmed,
};
use super::traces::Trace;

type Stages = Family<OfStage, Histogram, fn() -> Histogram>;
type Waits = Family<OfClass, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $ty:ty = $name:literal, $new:expr;)*) => {
        /// Everything that is counted. Cheap to share: one `Arc` of it for the process.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ $field: $ty,)*
        }

        /// The names of all of them, without what is put behind those of counters and histograms.
        const NAMES: &[&str] = &[$($name),*];

        impl Metrics {
            /// All of them at zero.
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix("northgate");
                $(
                    let $field: $ty = $new;
                    registry.register($name, concat!($($help),+).trim().trim_end_matches('.'), $field.clone());
                )*
                let metrics = Self { registry, $($field),* };
                metrics.begin();
                metrics
            }
        }
    };
}

metrics! {
    /// HTTP requests, by route and class of the status.
    requests: Family<OfRequest, Counter> = "requests", Family::default();
    /// Logins, by method and outcome; each request counts.
    authentications: Family<OfAuthentication, Counter> = "authentications", Family::default();
    /// Passwords that were hashed to be checked. Those remembered as right are not.
    password_checks: Counter = "password_checks", Counter::default();
    /// Statements, by kind and what became of them.
    statements: Family<OfStatement, Counter> = "statements", Family::default();
    /// Time that a stage took, in seconds.
    stages: Stages = "stage_duration_seconds", Family::new_with_constructor(stage_histogram);
    /// Queries that ended, by how.
    queries: Family<OfQuery, Counter> = "queries", Family::default();
    /// Time of a query from its POST to its end, with its wait and its client's, in seconds.
    query_duration: HistogramWithExemplars<OfTrace> = "query_duration_seconds", query_histogram();
    /// Queries that have a slot now.
    running: Gauge = "queries_running", Gauge::default();
    /// Queries that wait for a slot now.
    queued: Gauge = "queries_queued", Gauge::default();
    /// Time that queries waited for their slots, by class, in seconds.
    waits: Waits = "admission_wait_seconds", Family::new_with_constructor(wait_histogram);
    /// Queries that were refused since a queue was full, by class.
    refusals: Family<OfClass, Counter> = "admission_refusals", Family::default();
    /// Queries of each class that have a slot of this gateway's now.
    class_running: Family<OfClass, Gauge> = "admission_running", Family::default();
    /// Queries of each class that wait at this gateway now: when they stay, the cluster is too small.
    class_queued: Family<OfClass, Gauge> = "admission_queued", Family::default();
    /// Whether the limits hold for all gateways together: 1, or 0 while each has its part since Redis is lost.
    admission_together: Gauge = "admission_together", Gauge::default();
    /// Requests to clusters, by operation and outcome.
    upstream_requests: Family<OfUpstream, Counter> = "upstream_requests", Family::default();
    /// Whether queries can be sent to a cluster: 1, or 0 while it does not answer, or is not to get any.
    cluster_usable: Family<OfCluster, Gauge> = "cluster_usable", Family::default();
    /// Queries that are at a cluster, or wait to be sent there.
    cluster_queries: Family<OfCluster, Gauge> = "cluster_queries", Family::default();
    /// How often a cluster was left out since it failed, since the start.
    cluster_ejections: Family<OfCluster, Gauge> = "cluster_ejections", Family::default();
    /// By how many seconds a cluster's clock is ahead of the gateway's.
    cluster_clock: Family<OfCluster, Seconds> = "cluster_clock_offset_seconds", Family::default();
    /// Whether a cluster is of the version of Trino that Northgate was tested with: 1, or 0 if it is another.
    cluster_tested: Family<OfCluster, Gauge> = "cluster_version_tested", Family::default();
    /// When the first certificate, or list of withdrawn ones, of a kind ends, in seconds since 1970.
    ends: Family<OfEnding, Gauge> = "certificate_expiry_timestamp_seconds", Family::default();
    /// Whether the gateway could start again with its configuration as the file has it now: 1, or 0.
    configuration: Gauge = "configuration_readable", Gauge::default();
    /// Bytes of memory that the gateway has now.
    memory: Gauge = "resident_memory_bytes", Gauge::default();
    /// Bytes that are free on the disk of the audit.
    disk_free: Gauge = "audit_disk_free_bytes", Gauge::default();
    /// Bytes that the disk of the audit has.
    disk_size: Gauge = "audit_disk_size_bytes", Gauge::default();
    /// Rows that were passed on to clients.
    rows: Counter = "result_rows", Counter::default();
    /// Bytes of rows that were passed on to clients, before compression.
    result_bytes: Counter = "result_bytes", Counter::default();
    /// Audit records that could not be written.
    audit_failures: Counter = "audit_failures", Counter::default();
    /// Whether queries can be recorded now: 1, or 0 while all of them are refused.
    audit_writable: Gauge = "audit_writable", Gauge::default();
    /// Audit records that wait in memory for a journal that can be written.
    audit_held: Gauge = "audit_records_held", Gauge::default();
    /// Records of refusals and failed logins that there was no memory for; the journal has their number.
    audit_lost: Gauge = "audit_records_lost", Gauge::default();
    /// Records of the audit under the last checkpoint.
    audit_sealed: Gauge = "audit_records_sealed", Gauge::default();
    /// Records of the audit under the last checkpoint that enough witnesses signed, since the start.
    audit_witnessed: Gauge = "audit_records_witnessed", Gauge::default();
    /// Whether the audit is copied to its bucket: 1, or 0 since the last attempt that failed.
    audit_copying: Gauge = "audit_copying", Gauge::default();
    /// Bytes of the audit that wait on the local disk to be copied.
    audit_behind: Gauge = "audit_behind_bytes", Gauge::default();
    /// Questions to the cache, by outcome.
    cache_lookups: Family<OfCached, Counter> = "cache_lookups", Family::default();
    /// Answers that might have been kept, by what became of them.
    cache_answers: Family<OfKept, Counter> = "cache_answers", Family::default();
    /// Questions of `cache.warming` whose tables have changed, by what became of them.
    cache_warmings: Family<OfWarmed, Counter> = "cache_warmings", Family::default();
    /// Answers on the cache's disk.
    cache_disk_entries: Gauge = "cache_disk_entries", Gauge::default();
    /// Bytes of the answers on the cache's disk.
    cache_disk_bytes: Gauge = "cache_disk_bytes", Gauge::default();
    /// Answers that could not be written to the cache's disk, or were not read from it in time.
    cache_disk_failures: Counter = "cache_disk_failures", Counter::default();
    /// Answers in the cache.
    cache_entries: Gauge = "cache_entries", Gauge::default();
    /// Bytes of the answers in the cache.
    cache_bytes: Gauge = "cache_bytes", Gauge::default();
    /// Reloads of the policies, by outcome.
    policy_reloads: Family<OfReload, Counter> = "policy_reloads", Family::default();
    /// When the policies in force were loaded, in seconds since 1970.
    policy_loaded: Seconds = "policy_loaded_timestamp_seconds", Gauge::default();
    /// Connections of clients that were accepted, by version of TLS.
    connections_accepted: Family<OfConnection, Counter> = "connections_accepted", Family::default();
    /// Connections of clients that failed before the first request: no TLS, or none that we speak.
    connections_failed: Counter = "connections_failed", Counter::default();
    /// Connections of clients that are open now.
    connections: Gauge = "connections_open", Gauge::default();
}

/// From 10 milliseconds to 45 minutes, with the 30 seconds that most queries should keep below.
fn query_histogram() -> HistogramWithExemplars<OfTrace> {
    let bounds = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 2_700.0];
    HistogramWithExemplars::new(bounds.into_iter())
}

/// From 50 microseconds to 26 seconds.
fn stage_histogram() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 20))
}

/// From a millisecond to nine hours.
fn wait_histogram() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 4.0, 13))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Whether there is a metric of a name, such as `northgate_queries_total`.
    pub fn has(name: &str) -> bool {
        let ends = ["", "_total", "_bucket", "_count", "_sum"];
        let name = name.strip_prefix("northgate_");
        name.is_some_and(|name| {
            ends.iter().filter_map(|end| name.strip_suffix(end)).any(|name| NAMES.contains(&name))
        })
    }

    /// Makes a series of each value of a label, at zero: a counter that first shows up at 1 has not increased, to
    /// Prometheus, and an alert would miss it.
    fn begin(&self) {
        for route in RequestRoute::ALL.iter().copied() {
            for status in StatusClass::ALL.iter().copied() {
                drop(self.requests.get_or_create(&OfRequest { route, status }));
            }
        }
        for method in AuthMethod::ALL.iter().copied() {
            for outcome in AuthOutcome::ALL.iter().copied() {
                drop(self.authentications.get_or_create(&OfAuthentication { method, outcome }));
            }
        }
        for kind in StatementKind::ALL.iter().copied() {
            for verdict in Verdict::ALL.iter().copied() {
                drop(self.statements.get_or_create(&OfStatement { kind, verdict }));
            }
        }
        for operation in UpstreamOperation::ALL.iter().copied() {
            for outcome in UpstreamOutcome::ALL.iter().copied() {
                drop(self.upstream_requests.get_or_create(&OfUpstream { operation, outcome }));
            }
        }
        for end in QueryEnd::ALL.iter().copied() {
            drop(self.queries.get_or_create(&OfQuery { end }));
        }
        for stage in Stage::ALL.iter().copied() {
            drop(self.stages.get_or_create(&OfStage { stage }));
        }
        for outcome in Reload::ALL.iter().copied() {
            drop(self.policy_reloads.get_or_create(&OfReload { outcome }));
        }
        for outcome in Cached::ALL.iter().copied() {
            drop(self.cache_lookups.get_or_create(&OfCached { outcome }));
        }
        for outcome in Kept::ALL.iter().copied() {
            drop(self.cache_answers.get_or_create(&OfKept { outcome }));
        }
        for outcome in Warmed::ALL.iter().copied() {
            drop(self.cache_warmings.get_or_create(&OfWarmed { outcome }));
        }
        for tls in Tls::ALL.iter().copied() {
            drop(self.connections_accepted.get_or_create(&OfConnection { tls }));
        }
    }

    /// Says how the audit is.
    pub fn audit_state(&self, writable: bool, held: usize, lost: u64) {
        self.audit_writable.set(i64::from(writable));
        self.audit_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.audit_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
    }

    /// Says how much of the audit is under a checkpoint, and under one that witnesses signed.
    pub fn audit_log(&self, sealed: u64, witnessed: u64) {
        self.audit_sealed.set(i64::try_from(sealed).unwrap_or(i64::MAX));
        self.audit_witnessed.set(i64::try_from(witnessed).unwrap_or(i64::MAX));
    }

    /// Says how copying the audit is.
    pub fn audit_copy(&self, copying: bool, behind: u64) {
        self.audit_copying.set(i64::from(copying));
        self.audit_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }

    /// Says how many queries of a class run and wait. Its name is one of the configuration's.
    pub fn class(&self, name: &str, running: usize, queued: usize) {
        let of = OfClass { class: name.to_owned() };
        self.class_running.get_or_create(&of).set(i64::try_from(running).unwrap_or(i64::MAX));
        self.class_queued.get_or_create(&of).set(i64::try_from(queued).unwrap_or(i64::MAX));
        // They are there from the beginning, as those of [`Self::begin`].
        drop(self.waits.get_or_create(&of));
        drop(self.refusals.get_or_create(&of));
    }

    /// Says whether the limits hold for all gateways together.
    pub fn together(&self, together: bool) {
        self.admission_together.set(i64::from(together));
    }

    /// Notes how long a query of a class waited for its slot.
    pub fn waited(&self, class: &str, waited: Duration) {
        self.waits.get_or_create(&OfClass { class: class.to_owned() }).observe(waited.as_secs_f64());
    }

    /// Counts a query of a class that was refused since a queue was full.
    pub fn refused(&self, class: &str) {
        self.refusals.get_or_create(&OfClass { class: class.to_owned() }).inc();
    }

    /// Says how a cluster is. Its name is one of the configuration's.
    pub fn cluster(&self, name: &str, usable: bool, queries: usize, ejections: u64) {
        let label = OfCluster { cluster: name.to_owned() };
        self.cluster_usable.get_or_create(&label).set(i64::from(usable));
        self.cluster_queries.get_or_create(&label).set(i64::try_from(queries).unwrap_or(i64::MAX));
        self.cluster_ejections.get_or_create(&label).set(i64::try_from(ejections).unwrap_or(i64::MAX));
    }

    /// Says whether a cluster is of the version that was tested, and how its clock is, if that is known.
    pub fn cluster_kind(&self, name: &str, tested: bool, clock_ahead: Option<f64>) {
        let label = OfCluster { cluster: name.to_owned() };
        self.cluster_tested.get_or_create(&label).set(i64::from(tested));
        if let Some(ahead) = clock_ahead {
            self.cluster_clock.get_or_create(&label).set(ahead);
        }
    }

    /// Says when the first of a kind ends, in seconds since 1970.
    pub fn ends(&self, ending: Ending, seconds: i64) {
        self.ends.get_or_create(&OfEnding { ending }).set(seconds);
    }

    /// Says whether the configuration file can be read as it is now.
    pub fn configuration(&self, readable: bool) {
        self.configuration.set(i64::from(readable));
    }

    /// Says how much memory the process has, in bytes.
    pub fn memory(&self, bytes: u64) {
        self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Says how much of the audit's disk there is.
    pub fn audit_disk(&self, free: u64, size: u64) {
        self.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        self.disk_size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Counts a question to the cache.
    pub fn cache_lookup(&self, outcome: Cached) {
        self.cache_lookups.get_or_create(&OfCached { outcome }).inc();
    }

    /// Counts an answer that might have been kept.
    pub fn cache_answer(&self, outcome: Kept) {
        self.cache_answers.get_or_create(&OfKept { outcome }).inc();
    }

    /// Counts a question that was to be asked before anybody does.
    pub fn cache_warming(&self, outcome: Warmed) {
        self.cache_warmings.get_or_create(&OfWarmed { outcome }).inc();
    }

    /// Says how much the cache holds.
    pub fn cache_load(&self, entries: u64, bytes: u64) {
        self.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Says how much is on the cache's disk, and how often it failed since the start.
    pub fn cache_disk(&self, entries: u64, bytes: u64, failures: u64) {
        self.cache_disk_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.cache_disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.cache_disk_failures.inner().store(failures, Ordering::Relaxed);
    }

    /// Counts a request that was answered with `status`.
    pub fn request(&self, route: RequestRoute, status: u16) {
        self.requests.get_or_create(&OfRequest { route, status: StatusClass::of(status) }).inc();
    }

    /// Counts a login.
    pub fn authentication(&self, method: AuthMethod, outcome: AuthOutcome) {
        self.authentications.get_or_create(&OfAuthentication { method, outcome }).inc();
    }

    /// Counts a password that is hashed to be checked.
    pub fn password_check(&self) {
        self.password_checks.inc();
    }

    /// Counts a statement.
    pub fn statement(&self, kind: StatementKind, verdict: Verdict) {
        self.statements.get_or_create(&OfStatement { kind, verdict }).inc();
    }

    /// Counts a query that ended, and the time since its POST; with its trace, if there is one, as an example.
    pub fn query(&self, end: QueryEnd, took: Duration, trace: &Trace) {
        self.queries.get_or_create(&OfQuery { end }).inc();
        let example = trace.id().map(|trace_id| OfTrace { trace_id });
        self.query_duration.observe(took.as_secs_f64(), example, None);
    }

    /// Notes how long a stage took.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages.get_or_create(&OfStage { stage }).observe(took.as_secs_f64());
        Trace::current().stage(stage.as_str(), took);
    }

    /// Notes how long a stage takes, from now until the timer is dropped.
    pub fn time(&self, stage: Stage) -> StageTimer {
        let histogram = self.stages.get_or_create_owned(&OfStage { stage });
        StageTimer { histogram, began: Instant::now(), stage, trace: Trace::current() }
    }

    /// One more query that has a slot, until the guard is dropped.
    pub fn running(&self) -> GaugeGuard {
        GaugeGuard::of(&self.running)
    }

    /// One more query that waits, until the guard is dropped.
    pub fn queued(&self) -> GaugeGuard {
        GaugeGuard::of(&self.queued)
    }

    /// Counts a request to a cluster.
    pub fn upstream(&self, operation: UpstreamOperation, outcome: UpstreamOutcome) {
        self.upstream_requests.get_or_create(&OfUpstream { operation, outcome }).inc();
    }

    /// Counts what a page had in it.
    pub fn page(&self, rows: u64, bytes: u64) {
        self.rows.inc_by(rows);
        self.result_bytes.inc_by(bytes);
    }

    /// Counts an audit record that could not be written.
    pub fn audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// Counts a reload of the policies.
    pub fn policy_reload(&self, outcome: Reload) {
        self.policy_reloads.get_or_create(&OfReload { outcome }).inc();
    }

    /// Notes when the policies in force were loaded, in seconds since 1970.
    pub fn policy_loaded(&self, seconds: f64) {
        self.policy_loaded.set(seconds);
    }

    /// Counts a connection, which is open until the guard is dropped.
    pub fn connection(&self, tls: Tls) -> GaugeGuard {
        self.connections_accepted.get_or_create(&OfConnection { tls }).inc();
        GaugeGuard::of(&self.connections)
    }

    /// Counts a connection that failed before its first request.
    pub fn connection_failed(&self) {
        self.connections_failed.inc();
    }

    /// All of them as text: `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; should a metric refuse, what was written so far says so by its missing end.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts one up while it lives.
#[derive(Debug)]
#[must_use = "the gauge goes down again when the guard is dropped"]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Notes the time from when it was made to when it is dropped.
#[derive(Debug)]
#[must_use = "the time is noted when the timer is dropped"]
pub struct StageTimer {
    histogram: Histogram,
    began: Instant,
    stage: Stage,
    trace: Trace,
}

impl Drop for StageTimer {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.histogram.observe(took.as_secs_f64());
        self.trace.stage(self.stage.as_str(), took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) {
        let text = metrics.render();
        assert!(text.lines().any(|known| known == line), "no '{line}' in\n{text}");
    }

    #[test]
    fn counts_are_rendered() {
        let metrics = Metrics::new();
        has(&metrics, "northgate_policy_reloads_total{outcome=\"rejected\"} 0");
        metrics.request(RequestRoute::Submit, 200);
        metrics.request(RequestRoute::Submit, 204);
        metrics.request(RequestRoute::Poll, 404);
        metrics.authentication(AuthMethod::Jwt, AuthOutcome::Rejected);
        metrics.statement(StatementKind::Query, Verdict::Rewritten);
        metrics.upstream(UpstreamOperation::Poll, UpstreamOutcome::Timeout);
        metrics.query(QueryEnd::UserError, Duration::from_secs(25), &Trace::default());
        metrics.page(3, 500);
        metrics.audit_failure();
        metrics.policy_reload(Reload::Rejected);
        metrics.policy_loaded(1.5);
        metrics.connection_failed();
        metrics.cluster("blue", true, 3, 1);
        has(&metrics, "northgate_cluster_usable{cluster=\"blue\"} 1");
        has(&metrics, "northgate_cluster_queries{cluster=\"blue\"} 3");
        has(&metrics, "northgate_requests_total{route=\"submit\",status=\"2xx\"} 2");
        has(&metrics, "northgate_requests_total{route=\"poll\",status=\"4xx\"} 1");
        has(&metrics, "northgate_authentications_total{method=\"jwt\",outcome=\"rejected\"} 1");
        has(&metrics, "northgate_statements_total{kind=\"query\",verdict=\"rewritten\"} 1");
        has(&metrics, "northgate_upstream_requests_total{operation=\"poll\",outcome=\"timeout\"} 1");
        has(&metrics, "northgate_queries_total{end=\"user_error\"} 1");
        has(&metrics, "northgate_query_duration_seconds_bucket{le=\"20.0\"} 0");
        has(&metrics, "northgate_query_duration_seconds_bucket{le=\"30.0\"} 1");
        has(&metrics, "northgate_result_rows_total 3");
        has(&metrics, "northgate_result_bytes_total 500");
        has(&metrics, "northgate_audit_failures_total 1");
        has(&metrics, "northgate_policy_reloads_total{outcome=\"rejected\"} 1");
        has(&metrics, "northgate_policy_loaded_timestamp_seconds 1.5");
        has(&metrics, "northgate_connections_failed_total 1");
        has(&metrics, "# HELP northgate_queries_running Queries that have a slot now.");
        assert!(metrics.render().ends_with("# EOF\n"));
    }

    #[test]
    fn names_are_known() {
        assert!(
            Metrics::has("northgate_queries_total")
                && Metrics::has("northgate_stage_duration_seconds_bucket")
        );
        assert!(
            !Metrics::has("northgate_querys_total")
                && !Metrics::has("queries")
                && !Metrics::has("northgate_")
        );
    }

    #[test]
    fn gauges_go_down_with_their_guards() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.running(), metrics.running());
        let waiting = metrics.queued();
        let connection = metrics.connection(Tls::V1_3);
        has(&metrics, "northgate_queries_running 2");
        has(&metrics, "northgate_queries_queued 1");
        has(&metrics, "northgate_connections_open 1");
        has(&metrics, "northgate_connections_accepted_total{tls=\"1.3\"} 1");
        drop((first, waiting, connection));
        has(&metrics, "northgate_queries_running 1");
        has(&metrics, "northgate_queries_queued 0");
        has(&metrics, "northgate_connections_open 0");
        drop(second);
        has(&metrics, "northgate_queries_running 0");
    }

    #[test]
    fn stages_are_timed() {
        let metrics = Metrics::new();
        metrics.stage(Stage::Rewrite, Duration::from_micros(120));
        drop(metrics.time(Stage::Audit));
        has(&metrics, "northgate_stage_duration_seconds_bucket{le=\"0.0001\",stage=\"rewrite\"} 0");
        has(&metrics, "northgate_stage_duration_seconds_bucket{le=\"0.0002\",stage=\"rewrite\"} 1");
        has(&metrics, "northgate_stage_duration_seconds_count{stage=\"audit\"} 1");
    }
}
