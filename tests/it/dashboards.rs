//! The dashboards and alerts speak of metrics that there are, and a real Prometheus understands them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{Guarded, free_ports, run_stack, within};
use crate::harness::{Client, gateway, repository, stack};

/// The expressions of all panels and alerts, each with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folder = std::fs::read_dir(repository().join("dashboards")).expect("there are dashboards");
    for path in folder.map(|entry| entry.expect("readable").path()) {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "json") {
            let board: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for panel in board["panels"].as_array().expect("panels") {
                for target in panel["targets"].as_array().into_iter().flatten() {
                    let expression = target["expr"].as_str().expect("an expression");
                    found.push((format!("{name}: {}", panel["title"]), expression.to_owned()));
                }
            }
        } else {
            let rules: Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for rule in rules["groups"]
                .as_array()
                .expect("groups")
                .iter()
                .flat_map(|group| group["rules"].as_array().expect("rules"))
            {
                let expression = rule["expr"].as_str().expect("an expression");
                found.push((format!("{name}: {}", rule["alert"]), expression.to_owned()));
            }
        }
    }
    assert!(found.len() > 70, "{found:?}");
    found
}

/// The metrics that an expression names.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("northgate_")).collect()
}

#[test]
fn panels_and_alerts_are_of_metrics_that_there_are() {
    // Some are there when a cluster or a file was looked at first.
    let looked = |text: &String| {
        ["cluster_clock_offset_seconds", "certificate_expiry_timestamp_seconds"]
            .iter()
            .all(|name| text.contains(name))
    };
    let gateway = gateway();
    let shown =
        within(Duration::from_secs(30), || Some(gateway.admin().get("/metrics").text()).filter(looked));
    let shown = shown.expect("clusters and files are looked at");
    let known: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(known.contains("northgate_queries_running"), "{shown}");
    for (place, expression) in expressions() {
        for name in metrics(&expression) {
            let family =
                ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            assert!(known.contains(family.unwrap_or(name)), "{place}: there is no {name}");
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_the_gateway_and_understands_every_panel() {
    let rules = repository().join("dashboards/northgate.rules.yml");
    let rules = rules.to_str().expect("a plain path");
    run_stack(&["promtool", "check", "rules", rules]);
    // What goes wrong leads to its alert.
    let cases = repository().join("tests/stack/alerts.yml");
    run_stack(&["promtool", "test", "rules", cases.to_str().expect("a plain path")]);
    let folder = tempfile::Builder::new().prefix("northgate-prometheus-").tempdir().expect("a folder");
    let [port] = free_ports();
    let mut command = Command::new(stack());
    command.arg("prometheus").arg(folder.path()).args([port.to_string(), rules.to_owned()]);
    command.arg(format!("127.0.0.1:{}", gateway().admin_port));
    let log = folder.path().join("log");
    let _prometheus = Guarded::spawn(&command, folder.path(), &log).expect("bash");
    assert_eq!(gateway().signed_in("eva").query("SELECT 1").rows().len(), 1);
    let prometheus = Client::plain(port);
    let ask = |expression: &str| -> Value {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        serde_json::from_slice(&prometheus.get(&format!("/api/v1/query?{query}")).body).unwrap_or_default()
    };
    let value = |expression: &str| -> Option<f64> {
        ask(expression)["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let up = within(Duration::from_mins(1), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        (value("up{job='northgate'}") == Some(1.0)).then_some(())
    });
    assert!(up.is_some(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    assert!(value("sum(northgate_queries_total{end='finished'})").is_some_and(|count| count >= 1.0));
    for (place, expression) in expressions() {
        let plain = ["$job", "$instance", "$cluster"]
            .iter()
            .fold(expression.replace("$__rate_interval", "1m"), |text, name| text.replace(name, ".+"));
        let answer = ask(&plain);
        assert_eq!(answer["status"], "success", "{place}: {answer}");
    }
    // None of the alerts fires where all is well, and none of them fails.
    let evaluated = within(Duration::from_secs(30), || {
        let answer: Value = serde_json::from_slice(&prometheus.get("/api/v1/rules").body).ok()?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] == "ok").then_some(rules)
    });
    assert!(evaluated.is_some_and(|rules| rules.len() >= 15));
}
