//! Dashboards and alerts that somebody has changed, or that are of another version: do they name metrics that there are?

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{Area, Finding};
use crate::telemetry::Metrics;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;
/// The most names that a finding lists.
const LISTED: usize = 5;

/// What there is to say of each dashboard (JSON) and file of rules (YAML) in a folder.
pub fn findings(folder: &Path) -> Vec<Finding> {
    let remedy = "name the folder with the dashboards and the rules of Prometheus";
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Finding::problem(
                Area::Dashboards,
                format!("{}: {error}", folder.display()),
                remedy,
            )];
        }
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut found: Vec<Finding> = paths.iter().filter_map(|path| finding(path)).collect();
    if found.is_empty() {
        found.push(Finding::warning(
            Area::Dashboards,
            format!("{}: neither dashboards nor rules are there", folder.display()),
            remedy,
        ));
    }
    found
}

/// What there is to say of one; nothing, if it is something else.
fn finding(path: &Path) -> Option<Finding> {
    let name = path.display();
    let extension = path.extension()?.to_str()?;
    let value: Result<Value, String> = match (extension, text(path)) {
        ("json" | "yml" | "yaml", Err(error)) => Err(error.to_string()),
        ("json", Ok(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        ("yml" | "yaml", Ok(text)) => serde_saphyr::from_str(&text).map_err(|error| error.to_string()),
        _ => return None,
    };
    let value = match value {
        Ok(value) => value,
        Err(error) => {
            let remedy = "mend the file, or take the one that came with this version";
            return Some(Finding::problem(
                Area::Dashboards,
                format!("{name} cannot be read: {error}"),
                remedy,
            ));
        }
    };
    let mut named = BTreeSet::new();
    expressions(&value, &mut |expression| named.extend(metrics(expression)));
    let unknown: Vec<&String> = named.iter().filter(|name| !Metrics::has(name)).collect();
    if unknown.is_empty() {
        return Some(Finding::good(
            Area::Dashboards,
            format!("{name} names {} metrics, all of which there are", named.len()),
        ));
    }
    let listed: Vec<&str> = unknown.iter().take(LISTED).map(|name| name.as_str()).collect();
    let more = if unknown.len() > LISTED { " and more" } else { "" };
    Some(Finding::problem(
        Area::Dashboards,
        format!("{name} names metrics that there are not: {}{more}", listed.join(", ")),
        "a panel of them stays empty and an alert on them never fires: look up today's names at /metrics, or take the file that \
         came with this version",
    ))
}

fn text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err(std::io::Error::other(format!("more than {LARGEST} bytes")));
    }
    std::fs::read_to_string(path)
}

/// Calls back with each expression in it, wherever it stands.
fn expressions(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "expr" => each(text),
                    other => expressions(other, each),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, each)),
        _ => {}
    }
}

/// The metrics of ours that an expression names. What stands in quotes is the value of a label, and a name with a colon
/// is somebody's own rule.
fn metrics(expression: &str) -> Vec<String> {
    let outside = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let outside = outside.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("northgate_") && !word.contains(':')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn those_that_are_shipped_name_what_there_is() {
        let found = findings(Path::new("dashboards"));
        assert!(found.len() >= 5, "{found:?}");
        assert!(found.iter().all(|finding| finding.level == Level::Good), "{found:?}");
    }

    #[test]
    fn a_wrong_metric_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |name: &str, text: &str, level: Level, says: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            let found = findings(folder.path());
            assert!(found.len() == 1 && found[0].level == level && found[0].says.contains(says), "{found:?}");
            std::fs::remove_file(path).expect("removed");
        };
        let board =
            |expression: &str| format!(r#"{{"panels": [{{"targets": [{{"expr": {expression:?}}}]}}]}}"#);
        check(
            "a.json",
            &board("rate(northgate_queries_total{job=\"northgate_one\"}[1m])"),
            Level::Good,
            "names 1 metrics",
        );
        check(
            "a.json",
            &board("northgate:own + rate(northgate_querys_total[1m])"),
            Level::Problem,
            "northgate_querys_total",
        );
        check("a.json", "{", Level::Problem, "cannot be read");
        check(
            "a.yml",
            "groups: [{rules: [{alert: A, expr: northgate_gone == 0}]}]",
            Level::Problem,
            "northgate_gone",
        );
        check("README.md", "northgate_gone", Level::Warning, "neither dashboards nor rules");
        assert_eq!(findings(&folder.path().join("none"))[0].level, Level::Problem);
    }
}
