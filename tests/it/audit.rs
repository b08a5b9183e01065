//! Each query leaves what was meant before it ran, and how it ended.

use serde_json::Value;

use crate::harness::gateway;

/// Runs a statement as `user` and gives its records, of which there must be `count`.
fn records(user: &str, sql: &str, count: usize) -> Vec<Value> {
    let answer = gateway()
        .signed_in(user)
        .with("X-Trino-Source", "audit-test")
        .with("X-Trino-Client-Tags", "a,b")
        .query(sql);
    let records = gateway().audit_of(&answer.id, |records| records.len() >= count);
    assert_eq!(records.len(), count, "{sql}: {records:#?}");
    records
}

#[test]
fn an_allowed_query_has_an_intent_and_an_outcome() {
    let sql = "SELECT id, ssn FROM lake.silver.customers WHERE id < 50";
    let records = records("eva", sql, 2);
    let (intent, outcome) = (&records[0], &records[1]);
    assert_eq!((intent["type"].as_str(), outcome["type"].as_str()), (Some("intent"), Some("outcome")));
    assert_eq!(intent["principal"], "eva");
    assert_eq!(intent["auth_method"], "password");
    assert_eq!(intent["source"], "audit-test");
    assert_eq!(intent["text"], sql, "the client's words");
    let rewritten = intent["rewritten"].as_str().expect("text");
    assert!(rewritten.contains("region") && rewritten != sql, "{rewritten}");
    assert_eq!(intent["decision"], "restricted");
    assert!(intent["documents"].as_array().is_some_and(|documents| !documents.is_empty()), "{intent}");
    assert!(intent["policy_revision"].as_str().is_some_and(|revision| !revision.is_empty()));
    assert!(intent["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{intent}");
    assert!(intent["relations"].to_string().contains("lake.silver.customers"), "{intent}");
    assert_eq!(outcome["state"], "finished");
    assert_eq!(outcome["rows"], 25, "{outcome}");
    assert!(outcome["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{outcome}");
    assert!(outcome["trino_query"].as_str().is_some_and(|id| id.contains('_')), "{outcome}");
}

#[test]
fn a_denied_query_is_recorded_with_the_reason() {
    for sql in ["SELECT * FROM lake.bronze.customers", "DROP TABLE lake.silver.customers", "SELEC 1"] {
        let records = records("eva", sql, 1);
        assert!(matches!(records[0]["type"].as_str(), Some("denied" | "refused")), "{records:#?}");
        assert_eq!(records[0]["text"], sql);
        assert_eq!(records[0]["principal"], "eva");
        assert!(records[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{records:#?}");
    }
}

#[test]
fn a_failed_query_has_its_error_and_no_values() {
    let records = records("eva", "SELECT CAST(name AS bigint) FROM lake.silver.customers", 2);
    assert_eq!(records[1]["state"], "failed");
    assert_eq!(records[1]["error"], "INVALID_CAST_ARGUMENT");
    assert!(!records[1].to_string().contains("Costa"), "{}", records[1]);
}

#[test]
fn passwords_and_tokens_are_nowhere() {
    gateway().signed_in("eva").query("SELECT 1").rows();
    let journal = gateway().audit().iter().map(ToString::to_string).collect::<String>();
    for text in [journal, gateway().log()] {
        assert!(
            !text.contains("eva-secret") && !text.contains("ZXZhOmV2YS1zZWNyZXQ"),
            "a password is written down"
        );
        assert!(!text.contains("argon2id"));
    }
}

#[test]
fn failed_logins_are_recorded() {
    gateway().client().basic("eva", "wrong").submit("SELECT 1");
    let found = || {
        gateway()
            .audit()
            .into_iter()
            .find(|record| record["type"] == "login_failed" && record["claimed"] == "eva")
    };
    let record = crate::harness::process::within(std::time::Duration::from_secs(5), found);
    assert!(record.is_some(), "a failed login leaves no record");
}

#[test]
fn logs_hold_no_statements() {
    gateway().signed_in("eva").query("SELECT 'a-literal-of-a-user' FROM lake.silver.customers");
    assert!(!gateway().log().contains("a-literal-of-a-user"));
}

#[test]
fn a_record_tells_what_is_read_and_when() {
    let sql = "SELECT c.id, email, ssn FROM lake.silver.customers c JOIN lake.silver.card_payments USING (customer_id)";
    let answer = gateway().signed_in("eva").with("X-Trino-Trace-Token", "traced").query(sql);
    let records = gateway().audit_of(&answer.id, |records| !records.is_empty());
    let tables = records[0]["tables"].as_array().unwrap_or_else(|| panic!("{records:#?}"));
    let customers =
        tables.iter().find(|table| table["name"] == "lake.silver.customers").expect("what it reads");
    assert_eq!(customers["columns"], serde_json::json!(["email", "id", "ssn"]));
    assert_eq!(customers["masked"], serde_json::json!(["email", "ssn"]));
    assert_eq!(customers["tags"], serde_json::json!({"email": ["contact"]}));
    assert_eq!(customers["filters"], 1);
    assert_eq!(records[0]["trace_token"], "traced");

    let records = self::records("eva", "SELECT id FROM lake.silver.customers", 2);
    let tick = |record: &Value, name: &str| {
        record[name].as_u64().unwrap_or_else(|| panic!("{name} is not told: {record}"))
    };
    let (intent, outcome) = (&records[0], &records[1]);
    let moments = [
        tick(intent, "received_us"),
        tick(intent, "tick_us"),
        tick(outcome, "admitted_us"),
        tick(outcome, "submitted_us"),
        tick(outcome, "first_row_us"),
        tick(outcome, "tick_us"),
    ];
    assert!(moments.is_sorted(), "one clock: {moments:?}");
}

#[test]
fn parameters_of_what_is_sensitive_are_hashed() {
    let run = |user: &str| {
        let sql = "EXECUTE p USING 'a, (secret) value', 7 -- and 'another'";
        let prepared = "p=SELECT+email+FROM+lake.silver.customers+WHERE+name+%3D+%3F+AND+id+%3D+%3F";
        let answer = gateway().signed_in(user).with("X-Trino-Prepared-Statement", prepared).query(sql);
        let records = gateway().audit_of(&answer.id, |records| records.len() >= 2);
        records.into_iter().find(|record| record["type"] == "intent").expect("an intent")
    };
    let open = run("admin");
    assert_eq!(open["parameters"], serde_json::json!(["'a, (secret) value'", "7"]));
    assert_eq!(open["prepared"], "SELECT email FROM lake.silver.customers WHERE name = ? AND id = ?");
    let sealed = run("eva");
    let text = sealed.to_string();
    assert!(!text.contains("(secret)") && !text.contains("another"), "{text}");
    let hashes = sealed["parameters"].as_array().expect("both");
    assert!(
        hashes.len() == 2 && hashes.iter().all(|hash| hash.as_str().is_some_and(|hash| hash.len() == 76))
    );
    assert_eq!(run("eva")["parameters"], sealed["parameters"], "the same value is the same word");
}

#[test]
fn secrets_in_session_properties_are_hashed() {
    let answer =
        gateway().signed_in("eva").with("X-Trino-Session", "lake.s3_secret_key=hunter2").query("SELECT 1");
    let records = gateway().audit_of(&answer.id, |records| !records.is_empty());
    let text = records[0]["properties"]["lake.s3_secret_key"].as_str().expect("on record").to_owned();
    assert!(text.starts_with("hmac-sha256:") && !records[0].to_string().contains("hunter2"), "{text}");
}
