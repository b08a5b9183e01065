//! What runs at night: a real Airflow and a real Spark, whose statements are of the class `batch`.

use std::process::Command;

use serde_json::{Value, json};

use crate::clients::ca;
use crate::harness::gateway::password_of;
use crate::harness::issuer::{Key, claims, write_jwks};
use crate::harness::process::run;
use crate::harness::{Gateway, Settings, gateway, stack};

/// All that a tool sends is of the class `batch`; gives how many of its statements have waited for a slot (what only prepares
/// another, for one, has none).
fn of_class_batch(gateway: &Gateway, source: &str) -> usize {
    let metrics = gateway.admin().get("/metrics").text();
    let waited = |class: &str| -> usize {
        let name = format!("northgate_admission_wait_seconds_count{{class=\"{class}\"}} ");
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(&name))
            .map_or(0, |count| count.parse().expect("a number"))
    };
    for record in gateway.audit().iter().filter(|record| record["type"] == "intent") {
        assert_eq!(record["source"], source, "{record}");
    }
    assert_eq!(waited("interactive"), 0);
    waited("batch")
}

#[test]
fn a_dag_of_airflow_runs_by_a_service_account() {
    let (folder, key) = (tempfile::tempdir().expect("a folder"), Key::new("of-jobs"));
    let keys = folder.path().join("jwks.json");
    write_jwks(&keys, &[&key]);
    let mut settings = Settings::new();
    settings.more = format!(
        "[[identity.jwt]]\nissuer = 'https://issuer.example'\naudiences = ['northgate']\njwks_file = '{}'\n\
         groups_claim = 'groups'\n",
        keys.display()
    );
    let gateway = Gateway::start(settings);
    let (token, result) = (folder.path().join("token"), folder.path().join("result.json"));
    std::fs::write(&token, key.sign(&claims("svc-etl", &["eu-analysts"]))).expect("the folder is ours");
    let connection = json!({
        "conn_type": "trino", "host": "localhost", "port": gateway.port, "login": "svc-etl",
        "extra": { "protocol": "https", "verify": ca(), "catalog": "lake", "auth": "jwt", "jwt__file": token },
    });
    let mut airflow = Command::new(stack());
    airflow.arg("airflow").arg(folder.path()).arg("northgate");
    airflow.env("AIRFLOW_CONN_NORTHGATE", connection.to_string()).env("RESULT", &result);
    let output = run(airflow.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE"));
    let said = std::fs::read(&result).unwrap_or_else(|_| panic!("{output}"));
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    let expected =
        json!({ "who": ["svc-etl"], "made": [["EU", 120]], "masked": [120, 1], "added": [3, 123] });
    assert_eq!(said, expected);
    // Two of the operator, and of the hook.
    assert!(of_class_batch(&gateway, "airflow") >= 7);
}

#[test]
fn spark_reads_in_partitions() {
    // Another one is asked by hand, so that this one has what Spark sends alone.
    let (gateway, eva) = (Gateway::start(Settings::new()), gateway().signed_in("eva"));
    let table = "memory.scratch.eva_spark (id bigint, region varchar)";
    eva.query("DROP TABLE IF EXISTS memory.scratch.eva_spark").rows();
    eva.query(&format!("CREATE TABLE {table}")).rows();
    let mut spark = Command::new(stack());
    spark.args(["spark", &format!("jdbc:trino://localhost:{}/lake/silver", gateway.port), "eva", &ca()]);
    let output = run(spark.env("PASSWORD", password_of("eva")));
    let said: Value = serde_json::from_str(output.lines().last().unwrap_or_default()).expect("JSON");
    let refused = said["refused"].as_str().unwrap_or_default();
    assert!(refused.contains("does not exist"), "{said}");
    let columns = ["id", "name", "email", "ssn", "region", "balance", "date_of_birth"];
    assert_eq!(said["columns"], json!(columns));
    assert_eq!((&said["partitions"], &said["count"]), (&json!(4), &json!(120)));
    assert_eq!(said["masked"], json!([["EU", "nnn"]]));
    // What Trino itself says of the rows that she may see.
    let same = |of_spark: &str, sql: &str| {
        let rows = eva.query(sql).rows();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
        assert_eq!(said[of_spark], json!(rows), "{of_spark}");
    };
    let customers = "SELECT region, count(*) FROM lake.silver.customers WHERE id";
    same("pushed", &format!("{customers} < 50 AND name LIKE 'A%' GROUP BY 1"));
    same("written", &format!("{customers} <= 30 GROUP BY 1"));
    let joined = "lake.silver.customers c JOIN lake.silver.orders o ON o.customer_id = c.id";
    same("joined", &format!("SELECT count(*), sum(o.amount) FROM {joined}"));

    assert!(of_class_batch(&gateway, "spark") >= 20);
    let records = gateway.audit();
    let texts: Vec<&str> = records.iter().filter_map(|record| record["text"].as_str()).collect();
    let sent = |part: &str| texts.iter().filter(|text| text.contains(part)).count();
    // One for each partition, and what asks for the columns.
    for (part, least) in
        [("\"id\" < ", 1), ("\"id\" >= ", 3), ("SPARK_GEN_SUBQ_0 WHERE 1=0", 1), ("INSERT INTO", 1)]
    {
        assert!(sent(part) >= least, "{part}: {texts:#?}");
    }
}
