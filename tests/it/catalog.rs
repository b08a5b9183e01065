//! The whole chain: from a Cedar policy in an Iceberg REST catalog, and from tags that it keeps, to masked rows.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::gateway::certificates;
use crate::harness::house::House;
use crate::harness::process::{run, within};
use crate::harness::{Gateway, Settings, stack, trino};

/// Analysts see the rows of the EU, without two columns; auditors see all; others see nothing.
const CEDAR: &str = r#"
permit(principal in Rustberg::Group::"admin", action, resource);
permit(principal in Rustberg::Group::"auditors",
       action in [Rustberg::Action::"Read", Rustberg::Action::"List"],
       resource in Rustberg::Tenant::"acme");
@row_filter("{\"type\":\"eq\",\"term\":\"region\",\"value\":\"EU\"}")
@column_mask("ssn,email")
permit(principal in Rustberg::Group::"analysts",
       action in [Rustberg::Action::"Read", Rustberg::Action::"List"],
       resource in Rustberg::Tenant::"acme");
"#;

const POLICIES: &str = r"
version: 1
tags: {pii.name: [], pii.phone: [], secret.score: []}
policies:
  - name: names-of-people
    who: {users: ['*'], except_groups: [auditors]}
    tables: ['house.*.*']
    sensitive: true
    column_masks: [{tags: ['pii.*'], action: mask-alphanum}]
  - name: scores
    who: {users: ['*'], except_groups: [auditors]}
    tables: ['house.*.*']
    deny_tags: ['secret.*']
";

const TABLE: &str = r#"{"name": "customers", "schema": {"type": "struct", "schema-id": 0, "fields": [
    {"id": 1, "name": "id", "required": true, "type": "long"},
    {"id": 2, "name": "name", "required": false, "type": "string"},
    {"id": 3, "name": "email", "required": false, "type": "string"},
    {"id": 4, "name": "ssn", "required": true, "type": "string"},
    {"id": 5, "name": "region", "required": false, "type": "string"}]},
    "properties": {"classification.2": "pii.name"}}"#;

const SCORES: &str = r#"{"name": "scores", "schema": {"type": "struct", "schema-id": 0, "fields": [
    {"id": 1, "name": "id", "required": true, "type": "long"},
    {"id": 2, "name": "region", "required": false, "type": "string"},
    {"id": 3, "name": "email", "required": false, "type": "string"},
    {"id": 4, "name": "ssn", "required": true, "type": "string"},
    {"id": 5, "name": "score", "required": false, "type": "long"}]},
    "properties": {"classification.5": "secret.score"}}"#;

/// What a notebook sees, signed in with a token of the identity provider.
fn notebook(gateway: &Gateway, token: &str, sql: &str) -> serde_json::Value {
    let mut notebook = Command::new(stack());
    notebook.args(["notebook", &format!("localhost:{}", gateway.port), sql]);
    notebook.env("TOKEN", token).env("AUTHORITY", certificates().join("ca.pem"));
    serde_json::from_str(&run(&mut notebook)).expect("JSON")
}

/// What the doctor says of the catalog and the issuer.
fn diagnosed(gateway: &Gateway) {
    let (_, found) = crate::doctor::doctor(&gateway.folder.path().join("northgate.toml"));
    for (area, what, how) in [
        ("catalog", "the catalog 'house' at", "takes the gateway's token"),
        ("identity", "the key set of the issuer", "answers"),
    ] {
        let line = format!("ok       {area:<14} {what}");
        assert!(found.lines().any(|found| found.starts_with(&line) && found.contains(how)), "{found}");
    }
}

#[test]
fn from_a_catalogs_policy_to_a_masked_row() {
    let house = House::start(CEDAR);
    house.administer("POST", "namespaces/crm/tables", &serde_json::from_str(TABLE).expect("JSON"));
    let direct = |sql: &str| trino().query(sql).rows();
    direct(
        "INSERT INTO house.crm.customers VALUES (1, 'Ann Lee', 'ann@x.example', '123-45-6789', 'EU'), \
         (2, 'Bob', 'bob@x.example', '987-65-4321', 'US'), (3, NULL, NULL, '555-55-5555', NULL)",
    );
    house.administer("POST", "namespaces/crm/tables", &serde_json::from_str(SCORES).expect("JSON"));
    direct("CREATE VIEW house.crm.names AS SELECT name, ssn FROM house.crm.customers");

    let mut settings = Settings::new();
    settings.policies.push(("house.yaml", POLICIES.to_owned()));
    settings.more = house.settings();
    let gateway = Gateway::start(settings);
    let ask = |user: &str, sql: &str| {
        let first = gateway.client().bearer(&house.token(user)).submit(sql);
        if first.status != 200 {
            std::thread::sleep(Duration::from_secs(2));
        }
        assert_eq!(first.status, 200, "{user} {}\n{:#?}\n{}", first.text(), gateway.audit(), gateway.log());
        gateway.client().bearer(&house.token(user)).follow(first)
    };
    let all = "SELECT * FROM house.crm.customers ORDER BY id";

    // The catalog's filter and masks, and the mask of a policy for the catalog's tag.
    assert_eq!(
        ask("eva", all).rows(),
        [[json!(1), json!("xxxxxxx"), json!(null), json!("XXXXXXXX"), json!("EU")]]
    );
    let seen: Vec<_> = ask("otto", all).rows().into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(seen, [json!("Ann Lee"), json!("Bob"), json!(null)]);
    assert_eq!(ask("otto", all).rows()[1][3], json!("987-65-4321"));
    assert!(ask("nora", all).failure().contains("Table 'house.crm.customers' does not exist"));
    assert_eq!(ask("eva", "SELECT count(*) FROM house.crm.customers").value(), json!(1));
    assert_eq!(ask("eva", "SELECT * FROM house.crm.names").rows(), [[json!("xxxxxxx"), json!("XXXXXXXX")]]);

    assert_eq!(notebook(&gateway, &house.token("eva"), all), json!([[1, "xxxxxxx", null, "XXXXXXXX", "EU"]]));
    diagnosed(&gateway);

    // What the audit says of it.
    let answer = ask("eva", all);
    let records = gateway.audit_of(&answer.id, |records| records.len() >= 2);
    let documents = records[0]["documents"].to_string();
    for source in ["read-restrictions (catalog house)", "access (catalog house)", "names-of-people"] {
        assert!(documents.contains(source), "{documents}");
    }
    assert_eq!(records[0]["sensitive"], json!(true), "{}", records[0]);
    let snapshot = direct("SELECT snapshot_id FROM house.crm.\"customers$snapshots\"");
    assert_eq!(records[0]["tables"][0]["snapshot"], snapshot[0][0], "{}", records[0]);

    // With the real command line client.
    let mut cli = Command::new(stack());
    cli.args(["cli", "--server", &format!("https://localhost:{}", gateway.port), "--truststore-path"])
        .arg(certificates().join("ca.pem"))
        .args([
            "--user",
            "eva",
            "--access-token",
            &house.token("eva"),
            "--output-format",
            "CSV",
            "--execute",
            all,
        ]);
    assert_eq!(run(&mut cli), "\"1\",\"xxxxxxx\",\"\",\"XXXXXXXX\",\"EU\"\n");

    // Who has no token of their own is told so; who may read nothing finds nothing.
    let password = gateway.signed_in("eva").query(all).failure();
    assert!(password.contains("must be asked with a token of yours"), "{password}");
    assert_eq!(ask("eva", "SHOW TABLES FROM house.crm").lines(), ["customers", "names", "scores"]);
    let columns = "SELECT count(*) FROM house.information_schema.columns WHERE table_schema = 'crm'";
    assert_eq!(ask("eva", columns).value(), json!(11));
    assert_eq!(ask("otto", columns).value(), json!(12));
    // A column that the catalog's tag hides is nowhere.
    let jdbc =
        "SELECT column_name FROM system.jdbc.columns WHERE table_cat = 'house' AND table_name = 'scores'";
    for listing in ["SHOW COLUMNS FROM house.crm.scores", jdbc, &columns.replace("count(*)", "column_name")] {
        for (user, shown) in [("eva", false), ("otto", true)] {
            let lines = ask(user, listing).lines();
            let named = lines.iter().any(|line| line.split('|').next() == Some("score"));
            assert!(lines.len() > 3 && named == shown, "{user} {listing}: {lines:?}");
        }
    }
    assert!(ask("eva", "SELECT score FROM house.crm.scores").failure().contains("score"));

    what_explain_tells(&house, &gateway);
    assert!(ask("nora", columns).failure().contains("does not exist"));
    let closed = ask("nora", "SHOW TABLES FROM house.crm").failure();
    assert!(closed.contains("not found") || closed.contains("does not exist"), "{closed}");

    // A tag is of a field, whatever its name.
    direct("ALTER TABLE house.crm.customers RENAME COLUMN name TO full_name");
    let renamed = || {
        let answer = ask("eva", "SELECT full_name FROM house.crm.customers");
        answer.error.is_none().then(|| answer.rows())
    };
    let renamed = within(Duration::from_secs(40), renamed).expect("the new name is known in a while");
    assert_eq!(renamed, [[json!("xxxxxxx")]]);

    crate::classify::from_findings_to_a_masked_column(&house, &gateway);

    // Nothing is shown while the catalog does not answer.
    house.rustberg.lock().expect("no panic in a lock").signal("TERM");
    let gone = || {
        let answer = ask("eva", "SELECT ssn FROM house.crm.customers");
        answer.error.is_some().then(|| answer.failure())
    };
    let gone = within(Duration::from_secs(30), gone).expect("it is noticed");
    assert!(gone.contains("can't be asked what you may see"), "{gone}");
}

/// What an administrator is told of a catalog's word: only with a token of the user's.
fn what_explain_tells(house: &House, gateway: &Gateway) {
    let sql = "SELECT score FROM house.crm.scores";
    let explained = |token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_northgate"));
        command.args(["explain", "--user", "eva", "--group", "analysts", "--config"]);
        command.arg(gateway.folder.path().join("northgate.toml"));
        match token {
            Some("file") => {
                let file = gateway.folder.path().join("token");
                std::fs::write(&file, house.token("eva") + "\n").expect("written");
                command.arg("--token-file").arg(file);
            }
            Some(_) => drop(command.env("NORTHGATE_USER_TOKEN", house.token("eva"))),
            None => {}
        }
        run(command.arg(sql))
    };
    assert!(explained(None).contains("not known: the catalog house says who may read it"));
    for from in ["file", "environment"] {
        let shown = explained(Some(from));
        for words in ["access (catalog house)", "masked  ssn", "hidden  score", "rows    where"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }
    let admin = gateway.admin().with("X-Northgate-User-Token", house.token("eva"));
    let shown = admin.send("POST", "/explain?user=eva&group=analysts", sql.as_bytes()).text();
    assert!(shown.contains("hidden  score"), "{shown}");
}
