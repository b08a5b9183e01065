//! The real clients: Trino's CLI, the JDBC driver, Python with SQLAlchemy and pandas, and the one for JavaScript.

use std::process::Command;

use crate::harness::gateway::{certificates, password_of};
use crate::harness::process::{run, run_stack};
use crate::harness::{Gateway, gateway, stack, trino};

fn url() -> String {
    format!("https://localhost:{}", gateway().port)
}

pub(crate) fn ca() -> String {
    certificates().join("ca.pem").display().to_string()
}

fn cli(user: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(stack());
    command.args(["cli", "--server", &url(), "--user", user, "--password", "--truststore-path", &ca()]);
    run(command.args(arguments).env("TRINO_PASSWORD", password_of(user)))
}

#[test]
fn command_line() {
    let count = "SELECT count(*), count(DISTINCT region) FROM lake.silver.customers";
    assert_eq!(cli("admin", &["--execute", count]), "\"240\",\"3\"\n");
    assert_eq!(cli("eva", &["--execute", count]), "\"120\",\"1\"\n");
    let script = "USE lake.silver; SELECT count(*) FROM customers; SET SESSION query_max_run_time = '5m'; \
                  PREPARE p FROM SELECT region FROM customers WHERE id = ?; EXECUTE p USING 1; DEALLOCATE PREPARE p; SHOW TABLES";
    let output = cli("eva", &["--execute", script]);
    assert!(
        output.contains("\"120\"\n") && output.contains("\"EU\"\n") && output.contains("\"orders\"\n"),
        "{output}"
    );
    let progress = cli("admin", &["--progress", "--execute", "SELECT count(*) FROM tpch.sf1.lineitem"]);
    assert!(progress.contains("6001215"), "{progress}");
}

#[test]
fn command_line_errors_are_readable() {
    let mut command = Command::new(stack());
    command.args(["cli", "--server", &url(), "--user", "eva", "--password", "--truststore-path", &ca()]);
    command
        .args(["--execute", "SELECT nope FROM lake.silver.customers"])
        .env("TRINO_PASSWORD", password_of("eva"));
    let output = command.output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("line 1:8") && text.contains("nope"), "{text}");
}

fn jdbc(user: &str, cases: &[&str]) -> String {
    jdbc_at(gateway(), user, cases)
}

/// Runs cases of the JDBC test program at a gateway.
pub(crate) fn jdbc_at(gateway: &Gateway, user: &str, cases: &[&str]) -> String {
    let url = format!("jdbc:trino://localhost:{}", gateway.port);
    let mut arguments = vec!["jdbc", &url, user];
    let (password, ca) = (password_of(user), ca());
    arguments.extend([password.as_str(), ca.as_str()]);
    arguments.extend(cases);
    run_stack(&arguments)
}

#[test]
fn jdbc_driver() {
    let cases = [
        "metadata",
        "prepared",
        "prepared-immediate",
        "types",
        "failing",
        "big-result",
        "cancel",
        "close-early",
        "transaction",
        "session",
        "validate",
    ];
    let output = jdbc("admin", &cases);
    assert_eq!(output.matches("ok ").count(), cases.len(), "{output}");
}

#[test]
fn jdbc_driver_sends_heartbeats() {
    jdbc("admin", &["heartbeat"]);
}

#[test]
fn jdbc_driver_sees_what_the_user_may() {
    let sql = "rows:SELECT region, count(*), count(DISTINCT substr(ssn, 1, 3)) FROM lake.silver.customers GROUP BY 1";
    assert_eq!(jdbc("eva", &[sql]), "EU\t120\t1\n");
    // All types and values come out as they do from Trino itself.
    let sql = "rows:SELECT * FROM lake.silver.customers c JOIN lake.silver.orders o ON o.customer_id = c.id ORDER BY o.id";
    let direct =
        run_stack(&["jdbc", &format!("jdbc:trino://127.0.0.1:{}", trino().http), "admin", "", "", sql]);
    assert_eq!(jdbc("admin", &[sql]), direct);
}

#[test]
fn python_clients() {
    let mut command = Command::new(stack());
    command.args(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"]);
    command.arg(crate::harness::repository().join("tests/stack/python/test_clients.py"));
    let output = run(with_gateway(&mut command, gateway(), "admin"));
    assert!(output.contains(" passed") && !output.contains("failed"), "{output}");
}

#[test]
fn javascript_client() {
    let mut command = Command::new(stack());
    let output = run(with_gateway(command.arg("js"), gateway(), "eva"));
    assert_eq!(output, "ok rows\nok prepared\nok session\nok errors\nok cancel\n");
}

/// Tells a program of the clients where the gateway is, and who signs in.
pub(crate) fn with_gateway<'a>(command: &'a mut Command, gateway: &Gateway, user: &str) -> &'a mut Command {
    command
        .env("GATEWAY_URL", format!("https://localhost:{}", gateway.port))
        .env("GATEWAY_USER", user)
        .env("GATEWAY_PASSWORD", password_of(user))
        .env("GATEWAY_CA", ca())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    // These would be trusted in place of our authority: requests prefers them to what its caller names.
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE")
}
