//! Metrics in CloudWatch's embedded metric format: now and then one line of JSON, from which CloudWatch Logs makes metrics. Off unless
//! configured.
//!
//! CloudWatch counts each name and each set of dimensions as a metric that is paid for: what is sent is a short list, by one
//! dimension. All else is for Prometheus. What is not taken is dropped, with a warning.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::units::Span;

/// How long an agent may take.
const AGENT: Duration = Duration::from_secs(5);
/// CloudWatch's own bound of a namespace, in characters.
const LONGEST: usize = 255;

/// `[telemetry.emf]`: metrics for CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmfConfig {
    /// Where lines go: `stdout`, or the address of a CloudWatch agent, such as `tcp://127.0.0.1:25888` or `udp://127.0.0.1:25888`.
    pub to: String,
    /// A file that they are added to, in the place of `to`; CloudWatch's agent reads it as a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What the metrics are called together.
    pub namespace: String,
    /// The log group that an agent puts the lines into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// How often.
    pub every: Span,
}

impl Default for EmfConfig {
    fn default() -> Self {
        Self {
            to: "stdout".to_owned(),
            file: None,
            namespace: "Northgate".to_owned(),
            log_group: None,
            every: Span(Duration::from_mins(1)),
        }
    }
}

impl EmfConfig {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The key and why.
    pub fn check(&self) -> Result<(), String> {
        let known = self.to == "stdout" || self.agent().is_some_and(|(_, address)| address.contains(':'));
        if !known {
            return Err("to: `stdout`, `tcp://HOST:PORT` or `udp://HOST:PORT`".to_owned());
        }
        if self.file.is_some() && self.to != "stdout" {
            return Err("file: goes in the place of `to`; which is meant?".to_owned());
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "._-/#:".contains(c);
        if self.namespace.is_empty() || self.namespace.len() > LONGEST || !self.namespace.chars().all(good) {
            return Err(format!("namespace: at most {LONGEST} letters, digits and any of . _ - / # :"));
        }
        if self.every.0 < Duration::from_secs(1) {
            Err("every: at least a second".to_owned())
        } else {
            Ok(())
        }
    }

    /// The protocol and address of an agent.
    fn agent(&self) -> Option<(&str, &str)> {
        self.to.split_once("://").filter(|(protocol, _)| matches!(*protocol, "tcp" | "udp"))
    }
}

/// How a metric is made of ours.
enum Made {
    /// The sum of the series now.
    Now,
    /// By how much that sum has grown.
    More,
}

/// A metric: its name and unit at CloudWatch; the series of ours, and a label that they have.
type Sent = (&'static str, &'static str, &'static str, &'static str, Made);

const SENT: [Sent; 21] = [
    ("QueriesFinished", "Count", "northgate_queries_total", "end=\"finished\"", Made::More),
    ("QueriesFailed", "Count", "northgate_queries_total", "end=\"failed\"", Made::More),
    ("QueriesWithUserError", "Count", "northgate_queries_total", "end=\"user_error\"", Made::More),
    ("QueriesTimed", "Count", "northgate_query_duration_seconds_count", "", Made::More),
    ("QueriesBelow30s", "Count", "northgate_query_duration_seconds_bucket", "le=\"30.0\"", Made::More),
    ("QuerySeconds", "Seconds", "northgate_query_duration_seconds_sum", "", Made::More),
    ("QueriesRunning", "Count", "northgate_queries_running", "", Made::Now),
    ("QueriesWaiting", "Count", "northgate_queries_queued", "", Made::Now),
    ("StatementsDenied", "Count", "northgate_statements_total", "verdict=\"denied\"", Made::More),
    ("StatementsRefused", "Count", "northgate_statements_total", "verdict=\"refused\"", Made::More),
    ("SignInsRejected", "Count", "northgate_authentications_total", "outcome=\"rejected\"", Made::More),
    ("ClustersUsable", "Count", "northgate_cluster_usable", "", Made::Now),
    ("AuditWritable", "Count", "northgate_audit_writable", "", Made::Now),
    ("AuditCopying", "Count", "northgate_audit_copying", "", Made::Now),
    ("AuditRecordsSealed", "Count", "northgate_audit_records_sealed", "", Made::More),
    ("AuditBytesBehind", "Bytes", "northgate_audit_behind_bytes", "", Made::Now),
    ("AuditDiskFree", "Bytes", "northgate_audit_disk_free_bytes", "", Made::Now),
    ("Memory", "Bytes", "northgate_resident_memory_bytes", "", Made::Now),
    ("PoliciesRejected", "Count", "northgate_policy_reloads_total", "outcome=\"rejected\"", Made::More),
    ("ConfigurationReadable", "Count", "northgate_configuration_readable", "", Made::Now),
    ("ResultBytes", "Bytes", "northgate_result_bytes_total", "", Made::More),
];

/// Makes a line of each state of our metrics and the one before.
#[derive(Debug, Default)]
struct Lines {
    before: HashMap<&'static str, f64>,
}

impl Lines {
    /// The line of a state, as our `/metrics` has it.
    fn line(&mut self, text: &str, config: &EmfConfig, gateway: &str, now: SystemTime) -> String {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (mut metrics, mut values) = (Vec::new(), Map::new());
        for (name, unit, of, label, made) in &SENT {
            let Some(sum) = sum(text, of, label) else { continue };
            let value = match made {
                Made::Now => sum,
                // Counters begin at zero, as the first line does.
                Made::More => sum - self.before.insert(*name, sum).unwrap_or_default(),
            };
            metrics.push(json!({"Name": name, "Unit": unit}));
            values.insert((*name).to_owned(), json!(value));
        }
        let directive =
            json!({"Namespace": config.namespace, "Dimensions": [["Gateway"]], "Metrics": metrics});
        let mut aws = json!({
            "Timestamp": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [directive],
        });
        if let Some(group) = &config.log_group {
            aws["LogGroupName"] = json!(group);
        }
        let mut line = json!({"_aws": aws, "Gateway": gateway, "Version": env!("CARGO_PKG_VERSION")});
        if let Value::Object(members) = &mut line {
            members.extend(values);
        }
        format!("{line}\n")
    }
}

/// The sum of the series of a name that have a label, if there are any. Exemplars stand behind the value.
fn sum(text: &str, name: &str, label: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let is_one = label.is_empty() || labels.split(',').any(|one| one == label);
        value.split(' ').next().filter(|_| is_one)?.parse::<f64>().ok()
    });
    values.filter(|value| value.is_finite()).fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

/// Sends lines for ever; `state` is what our metrics are then. For a task of its own.
pub async fn send(config: EmfConfig, gateway: String, state: impl Fn() -> String) {
    let mut lines = Lines::default();
    let mut turns = tokio::time::interval(config.every.0);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first is at once; what it would count is nothing.
    turns.tick().await;
    loop {
        turns.tick().await;
        let line = lines.line(&state(), &config, &gateway, SystemTime::now());
        if let Err(error) = put(&config, line).await {
            tracing::warn!(%error, "metrics for CloudWatch are not taken");
        }
    }
}

async fn put(config: &EmfConfig, line: String) -> io::Result<()> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the agent takes too long");
    match config.agent() {
        Some(("udp", address)) => {
            let sent = async {
                let socket = tokio::net::UdpSocket::bind(("0.0.0.0", 0)).await?;
                socket.send_to(line.as_bytes(), address).await.map(drop)
            };
            tokio::time::timeout(AGENT, sent).await.map_err(late)?
        }
        Some((_, address)) => {
            let sent = async {
                let mut stream = tokio::net::TcpStream::connect(address).await?;
                stream.write_all(line.as_bytes()).await?;
                stream.shutdown().await
            };
            tokio::time::timeout(AGENT, sent).await.map_err(late)?
        }
        None => {
            let file = config.file.clone();
            let written = tokio::task::spawn_blocking(move || {
                if let Some(path) = file {
                    // Opened anew each time, so that it can be rotated.
                    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
                    return file.write_all(line.as_bytes());
                }
                let mut out = io::stdout().lock();
                out.write_all(line.as_bytes())?;
                out.flush()
            });
            written.await.map_err(io::Error::other)?
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, QueryEnd, Trace};

    /// The rules of the specification's schema that a line of ours could break.
    fn conforms(line: &str) -> Value {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1 && line.len() < 256 << 10, "{line}");
        let root: Value = serde_json::from_str(line).expect("JSON");
        let aws = root["_aws"].as_object().expect("metadata");
        for name in aws.keys() {
            assert!(["Timestamp", "CloudWatchMetrics", "LogGroupName"].contains(&name.as_str()), "{name}");
        }
        assert!(aws["Timestamp"].is_u64());
        for directive in aws["CloudWatchMetrics"].as_array().expect("directives") {
            let members: Vec<&str> = directive.as_object().expect("one").keys().map(String::as_str).collect();
            assert_eq!(members, ["Namespace", "Dimensions", "Metrics"]);
            assert!((1..=1024).contains(&directive["Namespace"].as_str().expect("text").len()));
            let sets = directive["Dimensions"].as_array().expect("sets");
            assert!(!sets.is_empty());
            for dimension in sets.iter().flat_map(|set| set.as_array().expect("a set")) {
                let name = dimension.as_str().expect("a name");
                assert!((1..=250).contains(&name.len()));
                let value = root[name].as_str().expect("the value of a dimension is a text");
                assert!((1..=1024).contains(&value.len()), "{value}");
            }
            let metrics = directive["Metrics"].as_array().expect("metrics");
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                let members: Vec<&str> =
                    metric.as_object().expect("one").keys().map(String::as_str).collect();
                assert_eq!(members, ["Name", "Unit"]);
                let name = metric["Name"].as_str().expect("a name");
                assert!((1..=1024).contains(&name.len()) && root[name].is_number(), "{name}: {}", root[name]);
                assert!(["Count", "Seconds", "Bytes"].contains(&metric["Unit"].as_str().expect("a unit")));
            }
        }
        root
    }

    #[test]
    fn lines_are_what_cloudwatch_reads_and_count_from_one_to_the_next() {
        let metrics = Metrics::new();
        let config = EmfConfig { log_group: Some("/northgate".to_owned()), ..EmfConfig::default() };
        let mut lines = Lines::default();
        let mut next =
            || conforms(&lines.line(&metrics.render(), &config, "sql.bank.example/1", SystemTime::now()));
        let first = next();
        assert_eq!(
            (&first["QueriesFinished"], &first["Gateway"]),
            (&json!(0.0), &json!("sql.bank.example/1"))
        );
        assert_eq!(first["_aws"]["LogGroupName"], "/northgate");
        metrics.query(QueryEnd::Finished, Duration::from_secs(2), &Trace::default());
        metrics.query(QueryEnd::Finished, Duration::from_secs(40), &Trace::default());
        let running = metrics.running();
        let second = next();
        let of = |line: &Value, name: &str| line[name].as_f64().expect(name);
        assert!((of(&second, "QueriesFinished") - 2.0).abs() < 1e-9, "{second}");
        assert!(
            (of(&second, "QueriesTimed") - of(&second, "QueriesBelow30s") - 1.0).abs() < 1e-9,
            "{second}"
        );
        assert!((of(&second, "QuerySeconds") - 42.0).abs() < 1e-6, "{second}");
        assert!((of(&second, "QueriesRunning") - 1.0).abs() < 1e-9, "{second}");
        drop(running);
        let third = next();
        assert!(
            of(&third, "QueriesFinished").abs() < 1e-9 && of(&third, "QueriesRunning").abs() < 1e-9,
            "{third}"
        );
    }

    #[test]
    fn each_is_made_of_a_metric_that_there_is() {
        for (name, _, of, ..) in &SENT {
            assert!(Metrics::has(of), "{name}: {of}");
        }
        let text = "a_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\",y=\"2\"} 4 # {trace_id=\"f\"} 1\na_total_more 9\nb 7\n";
        assert_eq!(sum(text, "a_total", "y=\"2\""), Some(7.0));
        assert_eq!(sum(text, "a_total", "x=\"1\""), Some(3.0));
        assert_eq!(sum(text, "b", ""), Some(7.0));
        assert_eq!(sum(text, "c", ""), None);
    }

    #[test]
    fn which_settings_hold() {
        let check = |text: &str, expect: &str| {
            let config: EmfConfig = toml::from_str(text).expect("a section");
            let got = config.check().err().unwrap_or_default();
            assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{text}: {got}");
        };
        check("", "");
        check("to = 'tcp://127.0.0.1:25888'\nevery = '10s'", "");
        check("to = 'http://127.0.0.1'", "to: ");
        check("to = 'udp://localhost'", "to: ");
        check("to = 'udp://127.0.0.1:1'\nfile = 'x'", "file: ");
        check("namespace = 'a b'", "namespace: ");
        check("every = '10ms'", "every: ");
    }

    #[tokio::test]
    async fn lines_get_to_a_file_and_to_an_agent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("emf.log");
        let to_file = EmfConfig { file: Some(path.clone()), ..EmfConfig::default() };
        put(&to_file, "one\n".to_owned()).await.expect("written");
        put(&to_file, "two\n".to_owned()).await.expect("written");
        assert_eq!(std::fs::read_to_string(path).expect("there"), "one\ntwo\n");
        let agent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = format!("tcp://{}", agent.local_addr().expect("an address"));
        let to_agent = EmfConfig { to, ..EmfConfig::default() };
        let taken = tokio::spawn(async move {
            let (mut stream, _) = agent.accept().await.expect("a connection");
            let mut text = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.expect("read");
            text
        });
        put(&to_agent, "three\n".to_owned()).await.expect("sent");
        assert_eq!(taken.await.expect("it ends"), "three\n");
        put(&to_agent, "four\n".to_owned()).await.expect_err("nobody is there");
    }
}
