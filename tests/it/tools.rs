//! What dbt, the JDBC driver, SQLAlchemy and the Python client send of their own: every statement that they make up is read,
//! as Trino's own parser reads it, and sent, rewritten or denied by name.
//!
//! The real tools are run through a gateway, as an analyst who sees filtered and masked tables and may write to schemas of
//! her own, and what they sent is taken from the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::clients::{self, ca};
use crate::harness::gateway::password_of;
use crate::harness::process::run;
use crate::harness::{Gateway, Settings, repository, stack};
use crate::sql_oracle::read_alike;

const POLICIES: &str = r"
version: 1
policies:
  - name: dbt
    who: {groups: [eu-analysts]}
    tables: ['lake.dbt*.*']
    allow: true
    write: true
";

/// How many different statements each tool sends at least, by what it calls itself.
const LEAST: [(&str, usize); 4] =
    [("dbt-trino", 200), ("trino-jdbc", 100), ("trino-sqlalchemy", 200), ("trino-python-client", 60)];

/// What of them is denied: all else is sent, or is no statement of Trino's.
const DENIED: [&str; 6] = [
    // SQLAlchemy looks for partitions of each table.
    "$partitions\"' in the permit",
    "no policy lets the schema o'brien be made or dropped",
    "CREATE FUNCTION statements are not allowed",
    "GRANT statements are not allowed",
    "SHOW GRANTS statements are not allowed",
    "SHOW FUNCTIONS of a schema is not allowed",
];

/// Commands of dbt that fail by this.
const FAILED: [&str; 4] =
    ["run --select granted", "build --select twice", "run-operation privileges", "run-operation tidy_up"];

#[test]
#[allow(clippy::print_stdout)] // how many statements there were is worth knowing
fn all_that_tools_send_is_read() {
    let mut settings = Settings::new();
    settings.policies.push(("dbt.yaml", POLICIES.to_owned()));
    let gateway = Gateway::start(settings);
    let made = gateway.signed_in("eva").query("CREATE SCHEMA IF NOT EXISTS lake.dbt");
    assert!(made.error.is_none(), "{:?}", made.error);
    let output = clients::jdbc_at(&gateway, "eva", &["everything"]);
    assert_eq!(output, "ok everything\n");
    let mut python = Command::new(stack());
    python.arg("python").arg(repository().join("tests/stack/python/everything.py"));
    println!("{}", run(clients::with_gateway(&mut python, &gateway, "eva")));
    let folder = tempfile::tempdir().expect("a folder");
    let mut dbt = Command::new(stack());
    dbt.arg("dbt").arg(folder.path());
    dbt.env("GATEWAY_PORT", gateway.port.to_string()).env("GATEWAY_CA", ca());
    dbt.env("GATEWAY_PASSWORD", password_of("eva")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run(dbt.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE"));
    println!("{output}");
    let commands: Vec<&str> =
        output.lines().filter(|line| line.starts_with("ok ") || line.starts_with("failed ")).collect();
    assert!(commands.len() > 15, "{output}");
    for command in commands {
        let fails = FAILED.iter().any(|words| command.contains(words));
        assert_eq!(command.starts_with("failed "), fails, "{command}\n{output}");
    }

    let mut texts: BTreeSet<String> = BTreeSet::new();
    let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in gateway.audit() {
        let Some(text) = record["text"].as_str() else { continue };
        texts.insert(text.to_owned());
        texts.extend(record["prepared"].as_str().map(str::to_owned));
        let source = record["source"].as_str().unwrap_or_default();
        let tool = LEAST.iter().find(|(name, _)| source.starts_with(name));
        sources.entry(tool.map_or(source, |(name, _)| name).to_owned()).or_default().insert(text.to_owned());
        let detail = record["detail"].as_str().unwrap_or_default();
        if record["type"] == "denied" {
            assert!(DENIED.iter().any(|words| detail.contains(words)), "{detail}: {text}");
        } else {
            // What cannot be read is nothing to Trino either: see below.
            assert!(record["type"] == "intent" || record["reason"] == "syntax", "{record}");
        }
    }
    for (tool, least) in LEAST {
        let count = sources.get(tool).map_or(0, BTreeSet::len);
        println!("{tool}: {count} statements");
        assert!(count >= least, "{tool} sent only {count} statements");
    }
    println!("{} statements, {} of them of Trino's grammar", texts.len(), read_alike(&texts));
}
