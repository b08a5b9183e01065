//! Nothing of what a user may not see comes out: not in rows, errors, plans, statistics or lists.

use crate::harness::{Answer, Gateway, Settings, gateway, trino};

fn eva(sql: &str) -> Answer {
    gateway().signed_in("eva").with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "silver").query(sql)
}

/// Values of rows and columns that are hidden from `eva`: a customer in the US, and a social security number.
const HIDDEN: [&str; 5] =
    ["Chloe Dubois", "901-07-7919", "chloe.dubois2", "bruno.costa1@", "4000199712007919"];

fn holds_nothing_hidden(sql: &str, answer: &Answer) {
    let everything = answer.everything();
    for value in HIDDEN {
        assert!(!everything.contains(value), "{sql} gave away {value}: {everything}");
    }
}

/// The statement is not answered, whatever it is told.
fn fails(sql: &str) {
    let answer = eva(sql);
    holds_nothing_hidden(sql, &answer);
    assert!(answer.error.is_some(), "{sql} was answered: {:?}", answer.rows);
}

/// The statement is refused with this error.
fn refused(sql: &str, error: &str) {
    let answer = eva(sql);
    holds_nothing_hidden(sql, &answer);
    let failure = answer.failure();
    assert!(failure.starts_with(error), "{sql}: {failure}");
    assert!(answer.rows.is_empty(), "{sql}");
}

#[test]
fn what_is_not_allowed_does_not_exist() {
    for table in [
        "lake.bronze.customers",
        "lake.gold.customers",
        "lake.gold.customer_directory",
        "lake.silver.no_such_table",
    ] {
        for sql in [
            format!("SELECT * FROM {table}"),
            format!("TABLE {table}"),
            format!("SELECT 1 WHERE EXISTS (SELECT 1 FROM {table})"),
            format!("WITH t AS (SELECT * FROM {table}) SELECT 1"),
            format!("SHOW COLUMNS FROM {table}"),
            format!("DESCRIBE {table}"),
            format!("EXECUTE IMMEDIATE 'SELECT * FROM {table}'"),
        ] {
            refused(&sql, "TABLE_NOT_FOUND");
        }
    }
    refused("SELECT card_number FROM card_payments", "COLUMN_NOT_FOUND");
    refused("SELECT p.card_number FROM card_payments p", "COLUMN_NOT_FOUND");
    refused("SELECT id FROM card_payments ORDER BY card_number", "COLUMN_NOT_FOUND");
}

#[test]
fn a_missing_table_and_a_hidden_one_look_alike() {
    let same = |hidden: &str, missing: &str| {
        let message = |name: &str| {
            let failure = eva(&format!("SELECT * FROM {name}")).failure();
            failure.replace(name, "NAME")
        };
        assert_eq!(message(hidden), message(missing));
    };
    same("lake.bronze.customers", "lake.bronze.customerz");
    same("lake.gold.customers", "lake.gold.customerz");
    same("lake.gold.customer_directory", "lake.gold.customer_directorz");
}

#[test]
fn what_reads_files_plans_or_statistics_is_refused() {
    for sql in [
        "SELECT * FROM lake.silver.\"customers$files\"",
        "SELECT * FROM lake.silver.\"customers$snapshots\"",
        "SELECT * FROM lake.silver.\"customers$partitions\"",
        "SELECT * FROM lake.silver.\"customers$data\"",
        "SELECT \"$path\" FROM customers",
        "SHOW STATS FOR customers",
        "SHOW STATS FOR (SELECT * FROM customers)",
        "SHOW CREATE TABLE customers",
        "EXPLAIN ANALYZE SELECT * FROM customers",
        "EXPLAIN SELECT * FROM customers WHERE ssn = '901-07-7919'",
        "EXPLAIN (TYPE IO, FORMAT JSON) SELECT * FROM customers",
        "ANALYZE customers",
        "SELECT * FROM TABLE(lake.system.table_changes('silver', 'customers', 1, 2))",
        "CALL lake.system.rollback_to_snapshot('silver', 'customers', 1)",
        "WITH FUNCTION f(x varchar) RETURNS varchar RETURN x SELECT f(name) FROM customers",
        "SELECT * FROM system.runtime.queries",
        "SELECT * FROM customers FOR VERSION AS OF (SELECT 1)",
        "SELECT * FROM orders TABLESAMPLE BERNOULLI (100)",
        "EXECUTE IMMEDIATE 'SELECT ?' USING (SELECT min(name) FROM lake.bronze.customers)",
    ] {
        fails(sql);
    }
}

#[test]
fn statements_that_change_something_are_refused() {
    for sql in [
        "INSERT INTO customers SELECT * FROM customers",
        "DELETE FROM customers",
        "UPDATE customers SET name = 'x'",
        "MERGE INTO customers USING orders ON false WHEN MATCHED THEN DELETE",
        "CREATE TABLE memory.scratch.copy AS SELECT * FROM customers",
        "CREATE VIEW memory.scratch.v AS SELECT * FROM customers",
        "CREATE OR REPLACE VIEW memory.scratch.v SECURITY DEFINER AS SELECT * FROM lake.silver.customers",
        "DROP TABLE memory.scratch.customers",
        "ALTER TABLE customers RENAME TO customers2",
        "TRUNCATE TABLE memory.scratch.customers",
        "GRANT SELECT ON customers TO USER eva",
        "SET ROLE admin",
        "SET SESSION AUTHORIZATION admin",
        "SET PATH memory.scratch",
        "COMMENT ON TABLE customers IS 'x'",
        "CREATE FUNCTION memory.scratch.f() RETURNS bigint RETURN 1",
        "SELECT 1; SELECT 2",
        "KILL",
    ] {
        let answer = eva(sql);
        let failure = answer.failure();
        assert!(!failure.contains("Internal"), "{sql}: {failure}");
        assert!(
            failure.len() > 40 || failure.starts_with("SYNTAX_ERROR"),
            "{sql} is refused without a word: {failure}"
        );
    }
}

#[test]
fn rows_behind_the_filter_cannot_make_a_query_fail() {
    for sql in [
        "SELECT count(*) FROM customers WHERE 1 / (CASE WHEN region = 'US' THEN 0 ELSE 1 END) = 1",
        "SELECT count(*) FROM customers WHERE CAST(CASE WHEN region <> 'EU' THEN name ELSE '1' END AS bigint) = 1",
        "SELECT count(*) FROM customers c JOIN orders o ON c.id = o.customer_id AND 1 / (CASE WHEN c.region = 'US' THEN 0 ELSE 1 END) = 1",
        "SELECT sum(1 / (CASE WHEN region = 'APAC' THEN 0 ELSE 1 END)) FROM orders",
    ] {
        let answer = eva(sql);
        holds_nothing_hidden(sql, &answer);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    }
}

#[test]
fn errors_tell_no_values() {
    for sql in [
        "SELECT CAST(name AS bigint) FROM customers",
        "SELECT CAST(ssn AS bigint) FROM customers",
        "SELECT json_parse(name) FROM customers",
        "SELECT fail(name) FROM customers",
        "SELECT 1 / (id - id) FROM customers",
        "SELECT element_at(ARRAY[1], id)[1] FROM customers",
        "SELECT from_base64(email), CAST(JSON '\"x\"' AS bigint) FROM customers",
    ] {
        let answer = eva(sql);
        holds_nothing_hidden(sql, &answer);
        let failure = answer.failure();
        assert!(!failure.contains("Anna") && !failure.contains("nnn-nn"), "{sql}: {failure}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (sql, error, line, column) in [
        ("SELECT nope FROM customers", "COLUMN_NOT_FOUND", 1, 8),
        ("SELECT id,\n  nope\nFROM customers", "COLUMN_NOT_FOUND", 2, 3),
        (
            "SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.nope = 1",
            "COLUMN_NOT_FOUND",
            1,
            74,
        ),
        ("SELECT id FROM customers JOIN orders ON true", "AMBIGUOUS_NAME", 1, 8),
        ("SELECT name FROM customers GROUP BY id", "EXPRESSION_NOT_AGGREGATE", 1, 8),
        ("SELECT id + name FROM customers", "TYPE_MISMATCH", 1, 11),
        ("SELECT no_such_function(id) FROM customers", "FUNCTION_NOT_FOUND", 1, 8),
        ("SELECT FROM customers WHERE", "SYNTAX_ERROR", 1, 8),
        // Within the statement that is executed.
        (
            "EXECUTE IMMEDIATE 'SELECT ''a'', nope FROM customers WHERE id = ?' USING 1",
            "COLUMN_NOT_FOUND",
            1,
            13,
        ),
    ] {
        let answer = eva(sql);
        let failure = answer.failure();
        assert!(failure.starts_with(error), "{sql}: {failure}");
        let place = &answer.error.as_ref().expect("it failed")["errorLocation"];
        assert_eq!(
            (place["lineNumber"].as_u64(), place["columnNumber"].as_u64()),
            (Some(line), Some(column)),
            "{sql}: {failure}"
        );
    }
}

#[test]
fn lists_show_what_may_be_seen() {
    for (sql, expected) in [
        ("SHOW CATALOGS", &["lake", "memory", "tpch"][..]),
        ("SHOW SCHEMAS FROM lake", &["information_schema", "regional", "silver"]),
        ("SHOW TABLES FROM lake.silver", &["card_payments", "customers", "orders"]),
        ("SHOW TABLES FROM lake.silver LIKE 'c%'", &["card_payments", "customers"]),
        (
            "SELECT table_name FROM lake.information_schema.tables WHERE table_schema IN ('bronze', 'silver')",
            &["card_payments", "customers", "orders"],
        ),
        (
            // There is no gap where a column is hidden.
            "SELECT concat(CAST(ordinal_position AS varchar), column_name) FROM lake.information_schema.columns WHERE table_name = 'card_payments'",
            &["1id", "2customer_id", "3region", "4amount", "5paid_at"],
        ),
        (
            "SELECT table_name FROM system.jdbc.tables WHERE table_cat = 'lake' AND table_schem <> 'information_schema'",
            &["branches", "card_payments", "customers", "notes", "orders"],
        ),
        (
            "SELECT concat(CAST(ordinal_position AS varchar), column_name) FROM system.jdbc.columns WHERE table_cat = 'lake' AND table_name = 'card_payments' AND column_name LIKE '%a%'",
            &["4amount", "5paid_at"],
        ),
        (
            "SELECT table_schem FROM system.jdbc.schemas WHERE table_catalog = 'lake'",
            &["information_schema", "regional", "silver"],
        ),
    ] {
        let answer = eva(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
        let mut lines = answer.lines();
        lines.retain(|line| line != "information_schema" || expected.contains(&"information_schema"));
        lines.sort_unstable();
        assert_eq!(lines, expected, "{sql}");
    }
    refused("SHOW TABLES FROM lake.bronze", "SCHEMA_NOT_FOUND");
    let described: Vec<_> = eva("DESCRIBE card_payments").lines();
    assert!(described.iter().all(|line| !line.starts_with("card_number")), "{described:?}");
    assert_eq!(described.len(), 5);
}

#[test]
fn counters_of_a_restricted_query_are_withheld() {
    let answer = eva("SELECT count(*) FROM customers");
    for page in &answer.pages {
        for counter in ["processedRows", "processedBytes", "physicalInputBytes", "peakMemoryBytes"] {
            assert_eq!(page["stats"][counter].as_u64().unwrap_or(0), 0, "{page}");
        }
        assert!(page["stats"].get("rootStage").is_none_or(serde_json::Value::is_null), "{page}");
    }
    assert_eq!(answer.value(), 120);
    let unrestricted = gateway().signed_in("admin").query("SELECT count(*) FROM lake.silver.customers");
    let rows = |page: &serde_json::Value| page["stats"]["processedRows"].as_u64().unwrap_or(0);
    assert!(unrestricted.pages.iter().any(|page| rows(page) == 240), "without restrictions they are told");
}

/// Views are made by somebody who sees everything, and read by somebody who does not.
#[test]
fn views_are_read_through() {
    for sql in [
        "CREATE OR REPLACE VIEW memory.scratch.people SECURITY DEFINER AS SELECT id, ssn AS number, region FROM \
         lake.silver.customers WHERE id < 100",
        "CREATE OR REPLACE VIEW memory.scratch.people2 SECURITY INVOKER AS SELECT number, count(*) AS n FROM \
         memory.scratch.people GROUP BY number",
        "CREATE OR REPLACE VIEW memory.scratch.raw AS SELECT * FROM lake.bronze.customers",
        "CREATE OR REPLACE VIEW memory.scratch.nations AS SELECT name FROM tpch.tiny.nation",
        "CREATE OR REPLACE MATERIALIZED VIEW lake.silver.people_m AS SELECT id, ssn, region FROM lake.silver.customers",
        "REFRESH MATERIALIZED VIEW lake.silver.people_m",
    ] {
        let answer = trino().query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    }
    let expect = eva("SELECT id, ssn, region FROM customers WHERE id < 100 ORDER BY id").lines();
    assert!(!expect.is_empty());
    for sql in [
        "SELECT id, number, region FROM memory.scratch.people ORDER BY id",
        "SELECT * FROM memory.scratch.people ORDER BY 1",
        "SELECT people.id, memory.scratch.people.number, region FROM memory.scratch.people ORDER BY 1",
        "SELECT * FROM lake.silver.people_m WHERE id < 100 ORDER BY id",
        "SELECT id, number, region FROM memory.scratch.people WHERE number IN (SELECT number FROM \
         memory.scratch.people2) ORDER BY 1",
        "TABLE memory.scratch.people ORDER BY 1",
    ] {
        let answer = eva(sql);
        holds_nothing_hidden(sql, &answer);
        assert_eq!(answer.lines(), expect, "{sql}");
    }
    assert_eq!(eva("SELECT count(*) FROM memory.scratch.nations").value(), 25);
    for sql in [
        "SELECT * FROM memory.scratch.raw",
        "SELECT 1 / (CASE WHEN region = 'US' THEN 0 ELSE 1 END) FROM memory.scratch.raw",
        "SHOW STATS FOR memory.scratch.people",
        "SHOW CREATE TABLE memory.scratch.people",
        "EXPLAIN SELECT * FROM memory.scratch.people2",
        "SELECT * FROM lake.silver.\"people_m$materialized_view_storage\"",
        "SHOW CREATE VIEW memory.scratch.people",
        "SHOW CREATE MATERIALIZED VIEW lake.silver.people_m",
        "CREATE OR REPLACE VIEW memory.scratch.eva_v AS SELECT * FROM memory.scratch.people",
        "WITH FUNCTION f(x varchar) RETURNS varchar RETURN x SELECT f(number) FROM memory.scratch.people",
    ] {
        fails(sql);
    }
    // A predicate does not meet rows that a filter below a view hides.
    let answer = eva(
        "SELECT count(*) FROM memory.scratch.people WHERE 1 / (CASE WHEN region = 'US' THEN 0 ELSE 1 END) = 1",
    );
    assert!(answer.error.is_none(), "{:?}", answer.error);
    for sql in [
        "DROP VIEW memory.scratch.people",
        "DROP VIEW memory.scratch.people2",
        "DROP VIEW memory.scratch.raw",
        "DROP VIEW memory.scratch.nations",
        "DROP MATERIALIZED VIEW lake.silver.people_m",
    ] {
        trino().query(sql);
    }
}

/// A materialized view may be stored in a table that anybody can name; what it holds was read with its owner's rights.
#[test]
fn the_storage_of_a_materialized_view_does_not_exist() {
    let storage = "lake.regional.st_0123456789abcdef0123456789abcdef";
    let made = trino()
        .query(&format!("CREATE TABLE {storage} AS SELECT id, ssn, region FROM lake.bronze.customers"));
    assert!(made.error.is_none(), "{:?}", made.error);
    // All tables of the schema are this reader's, but for this one.
    let mut settings = Settings::new();
    let document = "version: 1\npolicies: [{name: all, who: {users: [eva]}, tables: [lake.regional.*], allow: true, write: true}]";
    settings.policies = vec![("all.yaml", document.to_owned())];
    let gateway = Gateway::start(settings);
    let ask = |sql: &str| gateway.signed_in("eva").query(sql);
    assert!(ask("SELECT * FROM lake.regional.notes").error.is_none());
    for sql in [
        format!("SELECT * FROM {storage}"),
        format!("SELECT * FROM {}", storage.to_uppercase()),
        format!("DELETE FROM {storage}"),
        format!("DROP TABLE {storage}"),
        format!("SHOW COLUMNS FROM {storage}"),
    ] {
        let failure = ask(&sql).failure();
        assert!(failure.starts_with("TABLE_NOT_FOUND"), "{sql}: {failure}");
    }
    for list in [
        "SHOW TABLES FROM lake.regional",
        "SELECT table_name FROM lake.information_schema.tables",
        "SELECT table_name FROM lake.information_schema.columns",
        "SELECT table_name FROM system.jdbc.tables",
    ] {
        let lines = ask(list).lines();
        assert!(lines.len() > 2 && !lines.iter().any(|line| line.contains("st_0")), "{list}: {lines:?}");
    }
    assert!(trino().query(&format!("DROP TABLE {storage}")).error.is_none());
}

/// Views and materialized views whose parts are moved about by somebody who may write them.
#[test]
fn views_that_are_moved_show_no_more() {
    let admin = trino().client().user("admin");
    let made = |sql: &str| {
        let answer = admin.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    };
    let may = |sql: &str| {
        let answer = eva(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    };
    let masked = |sql: &str| {
        let answer = eva(sql);
        holds_nothing_hidden(sql, &answer);
        answer
    };
    made("CREATE SCHEMA IF NOT EXISTS lake.lab");
    made("CREATE VIEW lake.lab.moved_v AS SELECT id, ssn FROM lake.silver.customers");
    made("CREATE MATERIALIZED VIEW lake.lab.moved_m AS SELECT id, ssn FROM lake.lab.moved_v");
    made("REFRESH MATERIALIZED VIEW lake.lab.moved_m");
    let read = "SELECT id, ssn FROM lake.lab.moved_m WHERE id IN (1, 2)";
    assert_eq!(masked(read).rows.len(), 1);
    // What a materialized view stored is not what its parts are now.
    let nations = "SELECT nationkey AS id, CAST(name AS varchar) AS ssn FROM tpch.tiny.nation";
    may(&format!("CREATE OR REPLACE VIEW lake.lab.moved_v AS {nations}"));
    assert_eq!(masked(read).rows.len(), 2);
    // Somebody else's view over what is restricted is not moved to a name of one's own, nor stored by its owner.
    made("CREATE VIEW memory.scratch.eva_moved AS SELECT id, ssn FROM lake.silver.customers");
    refused("ALTER VIEW memory.scratch.eva_moved RENAME TO eva_moved2", "PERMISSION_DENIED");
    made("CREATE MATERIALIZED VIEW lake.lab.moved_n AS SELECT id, ssn FROM memory.scratch.eva_moved");
    refused("REFRESH MATERIALIZED VIEW lake.lab.moved_n", "PERMISSION_DENIED");
    // A view over a listing lists what the reader may see, counts nothing else, and has no plan.
    made("CREATE VIEW memory.scratch.eva_listing AS SELECT table_schema FROM lake.information_schema.tables");
    let seen = masked("SELECT DISTINCT table_schema FROM memory.scratch.eva_listing").lines();
    assert!(!seen.iter().any(|line| line == "bronze" || line == "gold"), "{seen:?}");
    refused("EXPLAIN SELECT * FROM memory.scratch.eva_listing", "PERMISSION_DENIED");
    refused("EXPLAIN ANALYZE SELECT * FROM memory.scratch.eva_listing", "PERMISSION_DENIED");
    may("CREATE MATERIALIZED VIEW lake.lab.moved_l AS SELECT nationkey FROM tpch.tiny.nation");
    may("REFRESH MATERIALIZED VIEW lake.lab.moved_l");
    may("DROP MATERIALIZED VIEW lake.lab.moved_l");
    for sql in [
        "DROP MATERIALIZED VIEW lake.lab.moved_m",
        "DROP MATERIALIZED VIEW lake.lab.moved_n",
        "DROP VIEW lake.lab.moved_v",
        "DROP VIEW memory.scratch.eva_moved",
        "DROP VIEW memory.scratch.eva_listing",
    ] {
        made(sql);
    }
}

/// What is being changed is described anew for each statement, until the change has ended.
#[test]
fn a_change_that_nobody_follows_is_noticed() {
    let admin = trino().client().user("admin");
    for sql in [
        "CREATE TABLE memory.scratch.eva_held (id bigint, ssn varchar)",
        "CREATE TABLE memory.scratch.eva_held2 (id bigint)",
    ] {
        assert!(admin.query(sql).error.is_none());
    }
    assert_eq!(eva("SELECT * FROM memory.scratch.eva_held").columns, ["id", "ssn"]);
    // One that is sent and not followed.
    let client = gateway().signed_in("eva");
    let first = client.submit("ALTER TABLE memory.scratch.eva_held ADD COLUMN more bigint");
    assert_eq!(first.status, 200);
    for sql in [
        "ALTER TABLE memory.scratch.eva_held RENAME TO memory.scratch.eva_held3",
        "ALTER TABLE memory.scratch.eva_held2 RENAME TO memory.scratch.eva_held",
    ] {
        let answer = admin.query(sql);
        assert!(answer.error.is_none(), "{:?}", answer.error);
    }
    assert_eq!(eva("SELECT * FROM memory.scratch.eva_held").columns[..1], ["id"]);
    assert!(!eva("SELECT * FROM memory.scratch.eva_held").columns.contains(&"ssn".to_owned()));
    for table in ["eva_held", "eva_held3"] {
        admin.query(&format!("DROP TABLE memory.scratch.{table}"));
    }
}

/// Columns that a table had, or will have by the time that it is read: no rule was asked about them.
#[test]
fn columns_that_were_not_decided_about_are_not_shown() {
    let admin = trino().client().user("admin");
    let made = |sql: &str| {
        let answer = admin.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
        answer
    };
    made("CREATE SCHEMA IF NOT EXISTS lake.shifting");
    for table in ["past", "soon", "held"] {
        made(&format!(
            "CREATE TABLE lake.shifting.{table} AS SELECT 1 AS id, '900-11-2222' AS ssn, '4000123412341234' AS card_number"
        ));
    }
    let first = made("SELECT max(snapshot_id) FROM lake.shifting.\"past$snapshots\"").value();
    for table in ["past", "soon"] {
        made(&format!("CREATE OR REPLACE TABLE lake.shifting.{table} AS SELECT 1 AS id, 'x' AS note"));
    }
    let mut settings = Settings::new();
    let policy = "version: 1\npolicies:\n  - {name: shifting, who: {users: [eva]}, tables: ['lake.shifting.*'], allow: true, \
                  deny_columns: [card_number], column_masks: [{columns: [ssn], action: show-last-4}]}\n  - {name: looked-up, who: {users: \
                  [eva]}, tables: ['lake.shifting.held'], row_filter: 'EXISTS (SELECT 1 FROM lake.silver.customers c WHERE c.id > 0)'}\n";
    settings.policies.push(("shifting.yaml", policy.to_owned()));
    let gateway = Gateway::start(settings);
    let eva = gateway.signed_in("eva");
    let safe = |sql: &str| {
        let answer = eva.query(sql);
        let text = answer.everything();
        assert!(!text.contains("900-11") && !text.contains("40001234"), "{sql}: {text}");
        answer
    };
    let failed =
        |answer: Answer, with: &str| assert!(answer.failure().starts_with(with), "{}", answer.failure());
    // Of before.
    for sql in [
        format!("SELECT * FROM lake.shifting.past FOR VERSION AS OF {first}"),
        format!("SELECT ssn FROM lake.shifting.past FOR VERSION AS OF {first}"),
        format!(
            "WITH w AS (SELECT t.* FROM lake.shifting.past FOR VERSION AS OF {first} AS t) SELECT * FROM w"
        ),
    ] {
        failed(safe(&sql), "COLUMN_NOT_FOUND");
    }
    // What it has now, and where it is from.
    assert_eq!(safe("SELECT * FROM lake.shifting.past").columns, ["id", "note"]);
    assert_eq!(safe("SELECT note FROM lake.shifting.past TABLESAMPLE BERNOULLI (100)").value(), "x");
    assert!(safe("SELECT \"$path\" FROM lake.shifting.past").error.is_none());
    // Of the next moment: its description is remembered.
    assert_eq!(safe("SELECT * FROM lake.shifting.soon").columns, ["id", "note"]);
    made("CREATE OR REPLACE TABLE lake.shifting.soon AS SELECT 1 AS id, 'x' AS note, '900-11-5555' AS ssn");
    assert_eq!(safe("SELECT * FROM lake.shifting.soon").columns, ["id", "note"]);
    // What a policy looks up is not looked up in a transaction, which sees what was.
    assert!(safe("SELECT id FROM lake.shifting.held").error.is_none());
    let begun = eva.clone().with("X-Trino-Transaction-Id", "NONE").query("START TRANSACTION");
    let id = begun
        .headers
        .iter()
        .find(|(name, _)| name == "x-trino-started-transaction-id")
        .expect("a transaction");
    let within = eva.clone().with("X-Trino-Transaction-Id", id.1.as_str());
    failed(within.query("SELECT id FROM lake.shifting.held"), "PERMISSION_DENIED");
    // What only reads a restricted table is not sampled either: splits are drawn before rows are filtered.
    let sampled =
        safe("WITH c AS (SELECT * FROM lake.shifting.held) SELECT count(*) FROM c TABLESAMPLE SYSTEM (50)");
    failed(sampled, "PERMISSION_DENIED");
    // Names that the user gives to columns hide from nobody which were read.
    let answer = eva.query("SELECT d FROM lake.shifting.held AS h (a, d) WHERE a = 1");
    let records = gateway.audit_of(&answer.id, |records| !records.is_empty());
    assert_eq!(records[0]["tables"][0]["columns"], serde_json::json!(["id", "ssn"]), "{}", records[0]);
    for table in ["past", "soon", "held"] {
        made(&format!("DROP TABLE lake.shifting.{table}"));
    }
}
