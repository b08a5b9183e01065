//! Personal access tokens: how they are made, what they open, and what they don't.

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::gateway::binary;
use crate::harness::process::{Guarded, free_ports, run, within};
use crate::harness::{Client, Gateway, Settings, stack, trino};

/// A gateway with tokens, which its own users may be given.
fn start(mut settings: Settings, more: &str) -> Gateway {
    settings.more.push_str("[identity.tokens]\n");
    settings.more.push_str(more);
    Gateway::start(settings)
}

/// `northgate token ...` beside a gateway: what it prints.
pub(crate) fn token(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut command = binary();
    command.arg("token").args(arguments).arg("--config").arg(gateway.folder.path().join("northgate.toml"));
    run(&mut command).trim().to_owned()
}

fn create(gateway: &Gateway, user: &str, more: &[&str]) -> String {
    let mut arguments = vec!["create", "--user", user, "--name", "a report", "--life", "7d"];
    arguments.extend(more);
    let secret = token(gateway, &arguments);
    assert!(secret.starts_with("ngp_") && secret.len() == 53, "{secret}");
    secret
}

/// The id of the only token of a user.
fn id_of(gateway: &Gateway, user: &str) -> String {
    let listed = token(gateway, &["list", "--user", user]);
    let mut lines = listed.lines().skip(1);
    let line = lines.next().unwrap_or_else(|| panic!("{user} has no token: {listed}"));
    assert_eq!(lines.next(), None, "{listed}");
    line.split('\t').next().expect("an id").to_owned()
}

const COUNT: &str = "SELECT count(*) FROM lake.silver.customers";

#[test]
fn a_token_is_made_used_and_revoked() {
    let gateway = start(Settings::new(), "");
    let secret = create(&gateway, "eva", &[]);
    let as_password = gateway.client().basic("eva", &secret);
    let as_bearer = gateway.client().bearer(&secret);
    for client in [&as_password, &as_bearer] {
        assert_eq!(client.query(COUNT).value(), 120, "her policies hold");
        assert_eq!(client.query("SELECT current_user").value(), "eva");
    }
    let id = id_of(&gateway, "eva");
    let records = gateway.audit();
    let made = records.iter().find(|record| record["type"] == "token_created").expect("on record");
    assert_eq!(made["token"]["id"], id);
    assert_eq!(made["token"]["owner"], "eva");
    let intent = records.iter().find(|record| record["type"] == "intent").expect("on record");
    assert_eq!(
        (intent["auth_method"].as_str(), intent["token"].as_str()),
        (Some("token"), Some(id.as_str()))
    );
    assert!(
        within(Duration::from_secs(5), || (!token(&gateway, &["list"]).contains("never")).then_some(()))
            .is_some()
    );

    let wrong = gateway.client().basic("eva", "wrong").submit("SELECT 1");
    let refused = |client: &Client, what: &str| {
        let answer = client.submit("SELECT 1");
        assert_eq!((answer.status, answer.text()), (401, wrong.text()), "{what}");
    };
    refused(&gateway.client().basic("otto", &secret), "another's token with my name");
    refused(&gateway.client().basic("Eva", &secret), "another spelling");
    let guess = create(&start(Settings::for_upstream("http://127.0.0.1:1"), ""), "eva", &[]);
    refused(&gateway.client().basic("eva", &guess), "a token of another gateway");
    refused(&gateway.client().bearer(&guess), "a token of another gateway");
    let elsewhere = create(&gateway, "otto", &["--address", "192.0.2.0/24"]);
    refused(&gateway.client().basic("otto", &elsewhere), "from an address outside of the scope");
    refused(&gateway.client().bearer(&elsewhere), "from an address outside of the scope");
    let impersonating = as_bearer.user("otto").submit("SELECT 1");
    assert_eq!(impersonating.status, 403, "{}", impersonating.text());

    token(&gateway, &["revoke", &id]);
    refused(&as_password, "revoked");
    assert!(
        gateway.audit().iter().any(|record| record["type"] == "token_revoked" && record["token"]["id"] == id)
    );
    // Somebody leaves: all that they have ends at once.
    let theirs = [create(&gateway, "otto", &[]), create(&gateway, "otto", &["--read-only"])];
    assert_eq!(gateway.client().bearer(&theirs[0]).query("SELECT current_user").value(), "otto");
    let kept = create(&gateway, "eva", &[]);
    let said = token(&gateway, &["revoke", "--user", "otto"]);
    assert_eq!(said.lines().count(), 3, "with the one from elsewhere: {said}");
    for secret in &theirs {
        refused(&gateway.client().bearer(secret), "all were revoked");
    }
    assert_eq!(gateway.client().bearer(&kept).query("SELECT current_user").value(), "eva");
    let revocations = |record: &&Value| record["type"] == "token_revoked";
    assert_eq!(gateway.audit().iter().filter(revocations).count(), 4);
    for entry in ["tokens.jsonl", "northgate.log"] {
        let text = std::fs::read_to_string(gateway.folder.path().join(entry)).expect("a file");
        assert!(!text.contains(&secret[4..]), "{entry}");
    }
    assert!(!format!("{:?}", gateway.audit()).contains(&secret[4..]));
}

#[test]
fn the_admin_listener_wants_its_key_for_tokens() {
    let gateway = start(Settings::for_upstream("http://127.0.0.1:1"), "");
    let path = "/tokens?user=eva&name=n&life=1d";
    for client in [gateway.admin(), gateway.admin().bearer("x"), gateway.admin().basic("eva", "eva-secret")] {
        assert_eq!(client.send("POST", path, b"").status, 401);
        assert_eq!(client.send("GET", "/tokens", b"").status, 401);
    }
    let key = std::fs::read_to_string(gateway.folder.path().join("admin.key")).expect("a key");
    let admin = gateway.admin().bearer(key.trim());
    assert_eq!(admin.send("POST", path, b"").status, 200);
    assert_eq!(
        gateway
            .admin()
            .bearer(key.trim())
            .with("Origin", "http://evil.example")
            .send("POST", path, b"")
            .status,
        403
    );
    for (path, status, expect) in [
        ("/tokens?user=nobody&name=n&life=1d", 404, "has not signed in"),
        ("/tokens?user=eva&name=n&life=400d", 400, "90d at most"),
        ("/tokens?user=eva&name=n&life=0s", 400, "90d at most"),
        ("/tokens?user=eva&name=n&life=1d&address=10.0.0.1/8", 400, "not a network"),
    ] {
        let answer = admin.send("POST", path, b"");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(expect), "{path}: {}", answer.text());
    }
    // Without the section there is nothing of it. The key is for clusters, too.
    let without = Gateway::start(Settings::for_upstream("http://127.0.0.1:1"));
    let key = std::fs::read_to_string(without.folder.path().join("admin.key")).expect("a key");
    assert_eq!(without.admin().send("GET", "/tokens", b"").status, 401);
    assert_eq!(without.admin().bearer(key.trim()).send("GET", "/tokens", b"").status, 404);
}

#[test]
fn a_token_that_may_only_read_changes_nothing() {
    let gateway = start(Settings::new(), "");
    let admin = |sql: &str| trino().query(sql);
    admin("CREATE SCHEMA IF NOT EXISTS memory.scratch").rows();
    admin("DROP TABLE IF EXISTS memory.scratch.eva_tokens").rows();
    admin("CREATE TABLE memory.scratch.eva_tokens (n bigint)").rows();
    let reads = create(&gateway, "eva", &["--read-only"]);
    let writes = create(&gateway, "eva", &[]);
    let rows = || trino().query("SELECT count(*) FROM memory.scratch.eva_tokens").value();
    let insert = "INSERT INTO memory.scratch.eva_tokens VALUES 1";
    gateway.client().bearer(&writes).query(insert).rows();
    assert_eq!(rows(), 1, "she may write, with another token");
    let reader = gateway.client().bearer(&reads);
    let prepared = |sql: &str| {
        let encoded =
            percent_encoding::utf8_percent_encode(sql, percent_encoding::NON_ALPHANUMERIC).to_string();
        gateway.client().bearer(&reads).with("X-Trino-Prepared-Statement", format!("p={encoded}"))
    };
    assert_eq!(reader.query(COUNT).value(), 120);
    for sql in [
        "SHOW TABLES FROM lake.silver",
        "DESCRIBE lake.silver.customers",
        "SET SESSION query_max_run_time = '1h'",
        "EXPLAIN (TYPE VALIDATE) SELECT 1",
        "SELECT * FROM memory.scratch.eva_tokens",
    ] {
        let answer = reader.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    }
    assert_eq!(prepared("SELECT 1").query("EXECUTE p").value(), 1);
    let insert_quoted = insert.replace('\'', "''");
    let refused = |client: &Client, sql: &str| {
        let answer = client.query(sql);
        let failure = answer.failure();
        assert!(
            failure.starts_with("PERMISSION_DENIED") || failure.starts_with("NOT_SUPPORTED"),
            "{sql}: {failure}"
        );
        assert_eq!(rows(), 1, "{sql}");
    };
    for sql in [
        insert,
        "CREATE TABLE memory.scratch.eva_new AS SELECT 1 AS n",
        "CREATE TABLE memory.scratch.eva_new (n bigint)",
        "DELETE FROM memory.scratch.eva_tokens",
        "UPDATE memory.scratch.eva_tokens SET n = 2",
        "TRUNCATE TABLE memory.scratch.eva_tokens",
        "DROP TABLE memory.scratch.eva_tokens",
        "ALTER TABLE memory.scratch.eva_tokens ADD COLUMN m bigint",
        "COMMENT ON TABLE memory.scratch.eva_tokens IS 'x'",
        "ANALYZE memory.scratch.eva_tokens",
        "CREATE VIEW memory.scratch.eva_view AS SELECT 1 AS n",
        "CREATE SCHEMA memory.eva_schema",
        "CALL system.runtime.kill_query('x', 'y')",
        "EXPLAIN ANALYZE INSERT INTO memory.scratch.eva_tokens VALUES 1",
        "EXPLAIN ANALYZE DELETE FROM memory.scratch.eva_tokens",
        "GRANT SELECT ON memory.scratch.eva_tokens TO USER otto",
        &format!("EXECUTE IMMEDIATE '{insert_quoted}'"),
    ] {
        refused(&reader, sql);
    }
    refused(&prepared(insert), "EXECUTE p");
    refused(&prepared("INSERT INTO memory.scratch.eva_tokens VALUES ?"), "EXECUTE p USING 1");
    refused(&prepared("CREATE TABLE memory.scratch.eva_new AS SELECT 1 AS n"), "EXECUTE p");
    refused(&prepared(insert), "DESCRIBE OUTPUT p");
    let told = reader.query(insert).failure();
    assert!(told.contains("may only read"), "{told}");
    let recorded = |record: &Value| record["type"] == "denied" && record["reason"] == "read_only";
    assert!(gateway.audit().iter().any(recorded));
    admin("DROP TABLE memory.scratch.eva_tokens").rows();
}

#[test]
fn a_catalog_outside_of_the_scope_is_not_there() {
    let gateway = start(Settings::new(), "");
    let secret = create(&gateway, "admin", &["--catalog", "LAKE"]);
    let client = || gateway.client().bearer(&secret);
    assert_eq!(client().query(COUNT).value(), 240);
    assert_eq!(
        client()
            .with("X-Trino-Catalog", "lake")
            .with("X-Trino-Schema", "silver")
            .query("SELECT count(*) FROM customers")
            .value(),
        240
    );
    let everything = gateway.signed_in("admin");
    assert_eq!(everything.query("SELECT count(*) FROM tpch.tiny.nation").value(), 25);
    let in_tpch = || client().with("X-Trino-Catalog", "tpch").with("X-Trino-Schema", "tiny");
    let prepared = |sql: &str| {
        let encoded =
            percent_encoding::utf8_percent_encode(sql, percent_encoding::NON_ALPHANUMERIC).to_string();
        client().with("X-Trino-Prepared-Statement", format!("p={encoded}"))
    };
    // As it is for somebody whom no policy lets see the catalog.
    for (client, sql) in [
        (client(), "SELECT count(*) FROM tpch.tiny.nation"),
        (client(), "SELECT count(*) FROM TPCH.tiny.nation"),
        (client(), "SELECT count(*) FROM \"tpch\".\"tiny\".\"nation\""),
        (client(), "SELECT (SELECT count(*) FROM tpch.tiny.nation) FROM lake.silver.customers"),
        (client(), "WITH n AS (SELECT * FROM tpch.tiny.nation) SELECT count(*) FROM n"),
        (client(), "TABLE tpch.tiny.nation"),
        (in_tpch(), "SELECT count(*) FROM nation"),
        (in_tpch(), "SELECT count(*) FROM tiny.nation"),
        (in_tpch(), "SHOW TABLES"),
        (in_tpch(), "SHOW SCHEMAS"),
        (in_tpch(), "DESCRIBE nation"),
        (client(), "USE tpch.tiny"),
        (client(), "SHOW SCHEMAS FROM tpch"),
        (client(), "SHOW TABLES FROM tpch.tiny"),
        (client(), "SHOW COLUMNS FROM tpch.tiny.nation"),
        (client(), "DESCRIBE tpch.tiny.nation"),
        (client(), "SHOW CREATE TABLE tpch.tiny.nation"),
        (client(), "SHOW STATS FOR tpch.tiny.nation"),
        (client(), "SHOW STATS FOR (SELECT * FROM tpch.tiny.nation)"),
        (client(), "SELECT * FROM tpch.information_schema.tables"),
        (client(), "SELECT * FROM tpch.information_schema.columns"),
        (client(), "SELECT * FROM tpch.information_schema.schemata"),
        (client(), "DESCRIBE tpch.information_schema.tables"),
        (client(), "EXPLAIN SELECT * FROM tpch.tiny.nation"),
        (client(), "EXPLAIN ANALYZE SELECT * FROM tpch.tiny.nation"),
        (client(), "EXECUTE IMMEDIATE 'SELECT count(*) FROM tpch.tiny.nation'"),
        (prepared("SELECT count(*) FROM tpch.tiny.nation"), "EXECUTE p"),
        (prepared("SELECT count(*) FROM tpch.tiny.nation"), "DESCRIBE OUTPUT p"),
        (client(), "CREATE TABLE memory.scratch.scoped AS SELECT 1 AS n"),
        (client(), "CREATE SCHEMA memory.scoped"),
        (client(), "DROP SCHEMA memory.scratch"),
        (client(), "CREATE VIEW lake.silver.scoped AS SELECT * FROM tpch.tiny.nation"),
        (client(), "SELECT * FROM system.runtime.queries"),
        (client(), "SHOW SESSION"),
    ] {
        let answer = client.query(sql);
        assert!(answer.error.is_some(), "{sql}: {:?}", answer.rows);
        assert!(
            !answer.everything().contains("ALGERIA") && !answer.everything().contains("nationkey"),
            "{sql}"
        );
    }
    // Listings leave it out.
    for (sql, column) in [
        ("SHOW CATALOGS", 0),
        ("SELECT DISTINCT table_cat FROM system.jdbc.catalogs", 0),
        ("SELECT DISTINCT table_catalog FROM system.jdbc.schemas", 0),
        ("SELECT DISTINCT table_cat FROM system.jdbc.tables", 0),
        ("SELECT DISTINCT table_cat FROM system.jdbc.columns", 0),
        ("SELECT DISTINCT catalog_name FROM system.metadata.catalogs", 0),
        (
            "SELECT DISTINCT catalog_name FROM system.metadata.table_comments WHERE catalog_name IN ('lake', 'tpch')",
            0,
        ),
    ] {
        let seen: Vec<Value> =
            client().query(sql).rows().into_iter().map(|mut row| row.remove(column)).collect();
        assert_eq!(seen, ["lake"], "{sql}");
    }
}

/// A view is in one catalog and reads another. It is read as its reader may read what it is made of: with a token for the
/// one catalog, not the other.
#[test]
fn a_view_leads_to_no_catalog_outside_of_the_scope() {
    trino().query("CREATE SCHEMA IF NOT EXISTS memory.scratch").rows();
    trino()
        .query("CREATE OR REPLACE VIEW memory.scratch.nations AS SELECT name FROM tpch.tiny.nation")
        .rows();
    let mut settings = Settings::new();
    let policy = "version: 1\npolicies:\n  - name: both\n    who: { groups: [eu-analysts] }\n    \
                  tables: [\"memory.scratch.nations\", \"tpch.*.*\"]\n    allow: true\n";
    settings.policies.push(("both.yaml", policy.to_owned()));
    let gateway = start(settings, "");
    let count = "SELECT count(*) FROM memory.scratch.nations";
    let whole = create(&gateway, "eva", &[]);
    assert_eq!(gateway.client().bearer(&whole).query(count).value(), 25);
    let both = create(&gateway, "eva", &["--catalog", "memory", "--catalog", "tpch"]);
    assert_eq!(gateway.client().bearer(&both).query(count).value(), 25);
    let one = create(&gateway, "eva", &["--catalog", "memory"]);
    let client =
        || gateway.client().bearer(&one).with("X-Trino-Catalog", "memory").with("X-Trino-Schema", "scratch");
    for sql in [
        count,
        "SELECT * FROM nations",
        "EXECUTE IMMEDIATE 'SELECT * FROM nations'",
        "WITH n AS (TABLE nations) SELECT * FROM n",
        "SHOW CREATE VIEW memory.scratch.nations",
        "EXPLAIN SELECT * FROM nations",
        "SELECT (SELECT max(name) FROM nations)",
    ] {
        let answer = client().query(sql);
        assert!(answer.error.is_some(), "{sql}: {:?}", answer.rows);
        assert!(!answer.everything().contains("VIETNAM"), "{sql}");
    }
    trino().query("DROP VIEW memory.scratch.nations").rows();
}

#[test]
fn guesses_are_limited() {
    let mut settings = Settings::for_upstream("http://127.0.0.1:1");
    settings.identity = Some("attempts = { per_address = 5, per_name = 5 }".to_owned());
    let gateway = start(settings, "");
    let secret = create(&gateway, "eva", &[]);
    let other = start(Settings::for_upstream("http://127.0.0.1:1"), "");
    let guess = create(&other, "eva", &[]);
    let probe = |client: Client| client.send("HEAD", "/v1/statement", b"").status;
    assert_eq!(probe(gateway.client().bearer(&secret)), 200);
    let statuses: Vec<u16> = (0..8).map(|_| probe(gateway.client().basic("eva", "guess"))).collect();
    assert!(statuses.starts_with(&[401, 401, 401]) && statuses.ends_with(&[429]), "{statuses:?}");
    let fresh = create(&gateway, "eva", &[]);
    assert_eq!(
        probe(gateway.client().basic("eva", &fresh)),
        200,
        "passwords of a name keep no token of it out"
    );
    let guesses = [gateway.client().bearer(&guess), gateway.client().basic("eva", &guess)];
    let statuses: Vec<u16> = guesses.iter().cycle().take(8).map(|client| probe(client.clone())).collect();
    assert!(statuses.starts_with(&[401, 401, 401]) && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(probe(gateway.client().bearer(&secret)), 200, "who had signed in is not locked out");
}

/// A store, and the lines of settings for it.
pub(crate) struct Store {
    pub(crate) process: Mutex<Guarded>,
    _folders: [tempfile::TempDir; 2],
    pub(crate) lines: String,
}

impl Store {
    pub(crate) fn start(backend: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-state-").tempdir().expect("a folder");
        let settings = tempfile::Builder::new().prefix("northgate-state-").tempdir().expect("a folder");
        let [port] = free_ports();
        let mut command = Command::new(stack());
        command.arg(backend).arg(folder.path()).arg(port.to_string());
        let process = Guarded::spawn(&command, folder.path(), &folder.path().join("log")).expect("bash");
        let url = match backend {
            "redis" => format!("redis://127.0.0.1:{port}"),
            _ => format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
        };
        let file = |name: &str, text: &str| {
            std::fs::write(settings.path().join(name), text).expect("the folder is ours");
            settings.path().join(name).display().to_string()
        };
        let key = file("key", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        let url = file("url", &url);
        let lines = format!("[state]\nbackend = \"{backend}\"\nurl_file = \"{url}\"\nkey_file = \"{key}\"\n");
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        assert!(within(Duration::from_mins(2), up).is_some(), "{backend} does not start");
        Self { process: Mutex::new(process), _folders: [folder, settings], lines }
    }
}

#[test]
fn two_gateways_share_tokens_in_redis() {
    two_gateways("redis");
}

#[test]
fn two_gateways_share_tokens_in_postgres() {
    two_gateways("postgres");
}

fn two_gateways(backend: &str) {
    let store = Store::start(backend);
    let gateways = [(); 2].map(|()| start(Settings::for_upstream(&trino().url()), &store.lines));
    let [one, two] = &gateways;
    let shared = || create(one, "eva", &[]);
    let first = within(Duration::from_secs(30), || Some(shared())).expect("the store answers");
    assert!(!one.folder.path().join("tokens.jsonl").exists());
    for gateway in &gateways {
        assert_eq!(gateway.client().basic("eva", &first).query(COUNT).value(), 120);
    }
    let probe = |gateway: &Gateway, secret: &str| {
        gateway.client().bearer(secret).send("HEAD", "/v1/statement", b"").status
    };
    // Revoked at the one that did not make it: there at once, at the other within the five seconds that are promised.
    let id = id_of(one, "eva");
    assert_eq!(id_of(two, "eva"), id);
    let revoked = Instant::now();
    token(two, &["revoke", &id]);
    assert_eq!(probe(two, &first), 401);
    assert!(within(Duration::from_secs(8), || (probe(one, &first) == 401).then_some(())).is_some());
    assert!(revoked.elapsed() < Duration::from_secs(8));
    let second = create(two, "eva", &[]);
    assert_eq!(probe(one, &second), 200);
    // The store is lost: nobody gets in who has to be looked up, and they are told to come back.
    store.process.lock().expect("no panic in a lock").signal("KILL");
    let lost = within(Duration::from_secs(15), || {
        let answer = one.client().bearer(&second).submit(COUNT);
        (answer.status != 200).then_some(answer)
    });
    let lost = lost.expect("what was found is believed for five seconds alone");
    assert_eq!(lost.status, 503, "{}", lost.text());
    assert!(lost.header("retry-after").is_some(), "{lost:?}");
    assert!(lost.text().contains("cannot check sign-ins"), "{}", lost.text());
    assert_eq!(probe(one, &first), 503, "a revoked one is not let in either");
    assert_eq!(probe(two, &first), 401, "where it was revoked that is known without the store");
    assert_eq!(two.signed_in("eva").query(COUNT).value(), 120, "who needs no store is served");
    let mut command = binary();
    command.args(["token", "list", "--config"]).arg(one.folder.path().join("northgate.toml"));
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
}
