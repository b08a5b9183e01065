//! The tests of Trino's own clients, where they are published and can be told of a server: what passes with Trino passes here.

use std::collections::BTreeSet;
use std::process::Command;

use crate::clients::ca;
use crate::harness::gateway::password_of;
use crate::harness::{Gateway, Settings, stack};

/// What the client for Go expects and does not get.
const OF_GO: [&str; 9] = [
    // The stack's Trino has no Hive, and takes no larger text either.
    "TestRoleHeaderSupport",
    "TestIntegrationLargeQuery",
    // Roles and the path are not the clients' to set.
    "TestIntegrationUnsupportedHeader",
    // It asks Trino's own API for queries by their ids.
    "TestDsnClientTags",
    "TestParametersClientTags",
    // It looks for its query in `system.runtime.queries` by the text that it sent, and Trino has another.
    "TestIntegrationQueryContext",
    // A catalog that is not there is not told apart from a table that may not be seen.
    "TestIntegrationSelectFailedQuery",
    // It asks for the properties of all catalogs.
    "TestIntegrationSessionProperties",
    // It asks for a user that nobody knows here.
    "TestQueryForUsername",
];

/// The tests that ended so.
fn ended<'o>(output: &'o str, how: &str) -> BTreeSet<&'o str> {
    output.lines().filter_map(|line| line.strip_prefix(how)?.split_whitespace().next()).collect()
}

#[test]
#[allow(clippy::print_stdout)] // how many there were is worth knowing
fn the_client_for_go() {
    let mut settings = Settings::new();
    settings.more = "[query]\nsession_properties = ['query_priority', 'join_distribution_type']\n".to_owned();
    let policy = "version: 1\npolicies:\n  - name: tables-of-the-suite\n    who: { users: [test] }\n    \
                  tables: ['memory.default.*']\n    allow: true\n    write: true\n";
    settings.policies.push(("suite.yaml", policy.to_owned()));
    let gateway = Gateway::start(settings);
    let server = format!("https://test:{}@localhost:{}", password_of("test"), gateway.port);
    let mut suite = Command::new(stack());
    let output = suite.args(["go-suite", &server, &ca()]).output().expect("the suite runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let (failed, passed) = (ended(&output, "--- FAIL: "), ended(&output, "--- PASS: "));
    println!("{} passed, {} failed", passed.len(), failed.len());
    let expected = BTreeSet::from(OF_GO);
    assert_eq!(failed, expected, "{output}");
    assert!(passed.len() >= 70, "only {} passed:\n{output}", passed.len());
}
