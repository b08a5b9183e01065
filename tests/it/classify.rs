//! What a scanner found in a table's files becomes a tag in the catalog, and the tag masks the column.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::harness::gateway::binary;
use crate::harness::house::House;
use crate::harness::process::within;
use crate::harness::{Gateway, trino};

const TABLE: &str = r#"{"name": "leads", "schema": {"type": "struct", "schema-id": 0, "fields": [
    {"id": 1, "name": "id", "required": true, "type": "long"},
    {"id": 2, "name": "phone", "required": false, "type": "string"},
    {"id": 3, "name": "email", "required": false, "type": "string"},
    {"id": 4, "name": "ssn", "required": true, "type": "string"},
    {"id": 5, "name": "region", "required": false, "type": "string"}]}}"#;

/// Runs the command: its exit code, and what it says.
fn import(gateway: &Gateway, findings: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command
        .args(["classify", "import"])
        .arg(findings)
        .arg("--config")
        .arg(gateway.folder.path().join("northgate.toml"));
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// In a house with a gateway whose policy masks what is tagged `pii.*` for all but auditors.
pub(crate) fn from_findings_to_a_masked_column(house: &House, gateway: &Gateway) {
    house.administer("POST", "namespaces/crm/tables", &serde_json::from_str(TABLE).expect("JSON"));
    let direct = |sql: &str| trino().query(sql).rows();
    direct("INSERT INTO house.crm.leads VALUES (1, '+49 30 123', 'x@y.example', '123-45-6789', 'EU')");
    let file = direct("SELECT file_path FROM house.crm.\"leads$files\"")[0][0].clone();
    let file = file.as_str().expect("a path").to_owned();
    let (bucket, key) = file.strip_prefix("s3://").and_then(|path| path.split_once('/')).expect("an object");
    let phone = || {
        let first = gateway.client().bearer(&house.token("eva")).submit("SELECT phone FROM house.crm.leads");
        gateway.client().bearer(&house.token("eva")).follow(first).rows()
    };
    assert_eq!(phone(), [[json!("+49 30 123")]]);

    // By another name since the file was written.
    direct("ALTER TABLE house.crm.leads RENAME COLUMN phone TO telephone");
    direct("ALTER TABLE house.crm.leads RENAME COLUMN telephone TO phone_number");
    let findings = json!({"findings": [{
        "id": "f1", "category": "CLASSIFICATION", "type": "SensitiveData:S3Object/Personal", "archived": false,
        "classificationDetails": {"result": {
            "additionalOccurrences": false, "mimeType": "application/vnd.apache.parquet",
            "customDataIdentifiers": {"detections": [], "totalCount": 0},
            "sensitiveData": [{"category": "PERSONAL_INFORMATION", "totalCount": 1, "detections": [{
                "type": "GERMANY_PHONE_NUMBER", "count": 1,
                "occurrences": {"records": [{"jsonPath": "$.phone", "recordIndex": 0}]}}]}],
            "status": {"code": "COMPLETE", "reason": null}}},
        "resourcesAffected": {"s3Bucket": {"name": bucket}, "s3Object": {"key": key, "path": format!("{bucket}/{key}")}}
    }]});
    let path = gateway.folder.path().join("findings.json");
    std::fs::write(&path, findings.to_string()).expect("the folder is ours");
    let properties = || {
        house.administer("GET", "namespaces/crm/tables/leads", &json!(null))["metadata"]["properties"].clone()
    };

    let diff = "crm.leads\n  + phone_number (field 2): pii.phone, by finding f1, where it is called $.phone\n\
                tags of 1 table: 1 to add; ";
    let dry = import(gateway, &path, &[]);
    assert_eq!(dry, (Some(1), format!("{diff}nothing is written without --write\n")));
    assert_eq!(properties()["classification.2"], json!(null));
    let wet = import(gateway, &path, &["--catalog", "house", "--write"]);
    assert_eq!(wet, (Some(0), format!("{diff}written: 1 of 1\n")));
    assert_eq!(properties()["classification.2"], json!("pii.phone"));
    assert_eq!(import(gateway, &path, &["--write"]), (Some(0), "nothing to change\n".to_owned()));

    let masked = || {
        let sql = "SELECT phone_number FROM house.crm.leads";
        let client = gateway.client().bearer(&house.token("eva"));
        let answer = client.follow(client.submit(sql));
        let rows = if answer.error.is_none() { answer.rows() } else { return None };
        (rows[0][0] != json!("+49 30 123")).then_some(rows)
    };
    let masked = within(Duration::from_secs(40), masked).expect("the tag is known in a while");
    assert_eq!(masked, [[json!("xnnxnnxnnn")]]);

    // Asked for, it is taken away again.
    let none = gateway.folder.path().join("none.csv");
    std::fs::write(&none, "table,column,tags\ncrm.leads,region,internal\n").expect("the folder is ours");
    let (code, text) = import(gateway, &none, &["--write", "--remove"]);
    assert!(code == Some(0) && text.contains("- phone_number (field 2): pii.phone"), "{text}");
    let after = properties();
    assert_eq!((&after["classification.2"], &after["classification.5"]), (&json!(null), &json!("internal")));
}
