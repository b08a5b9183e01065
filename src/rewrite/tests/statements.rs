//! Statements other than plain queries: plans, prepared statements, listings, the session, and what is denied.

use super::*;

/// T14: plans and statistics.
#[test]
fn t14_plans_and_statistics() {
    assert_golden!(
        &ANN,
        &[
            "EXPLAIN SELECT * FROM open",
            "EXPLAIN SELECT * FROM customers",
            "EXPLAIN ANALYZE SELECT * FROM customers",
            "EXPLAIN ANALYZE VERBOSE SELECT * FROM open",
            "EXPLAIN (TYPE IO, FORMAT JSON) SELECT * FROM cards",
            "EXPLAIN (TYPE VALIDATE) SELECT ssn FROM customers",
            "EXPLAIN SELECT * FROM information_schema.tables",
            "EXPLAIN SHOW TABLES",
            "EXPLAIN INSERT INTO open SELECT * FROM customers",
            "SHOW STATS FOR open",
            "SHOW STATS FOR customers",
            "SHOW STATS FOR (SELECT ssn FROM customers)",
            "SHOW STATS FOR (SELECT id FROM open)",
            "SHOW CREATE TABLE open",
            "SHOW CREATE TABLE customers",
            "ANALYZE customers",
        ]
    );
}

/// T18: statements in strings.
#[test]
fn t18_prepared_statements() {
    assert_golden!(
        &ANN,
        &[
            "EXECUTE p USING 1",
            "EXECUTE p",
            "EXECUTE p USING (SELECT max(id) FROM customers)",
            "EXECUTE p USING length(current_schema), 'it''s'",
            "EXECUTE p USING lake.gold.f(1)",
            "EXECUTE IMMEDIATE 'SELECT ''it''''s'', ssn FROM customers WHERE id = ?' USING 1",
            "EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE ''SELECT ssn FROM customers'''",
            "EXECUTE IMMEDIATE 'PREPARE x FROM SELECT 1'",
            "EXECUTE IMMEDIATE 'EXECUTE p'",
            "EXECUTE IMMEDIATE 'EXPLAIN SELECT * FROM customers'",
            "EXECUTE IMMEDIATE 'DELETE FROM customers'",
            "EXECUTE IMMEDIATE 'SHOW TABLES'",
            "DESCRIBE INPUT p",
            "DESCRIBE OUTPUT p",
        ]
    );
    for sql in ["SELECT 1", "SHOW TABLES", "EXPLAIN SELECT 1", "USE a.b"] {
        let statement = Statement::parse(sql, &Limits::default()).expect("a statement");
        assert!(check_prepared(&statement).is_ok(), "{sql}");
    }
    for sql in [
        "PREPARE a FROM SELECT 1",
        "EXECUTE a",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "DEALLOCATE PREPARE a",
        "GRANT SELECT ON a TO b",
        "DESCRIBE INPUT a",
    ] {
        let statement = Statement::parse(sql, &Limits::default()).expect("a statement");
        assert!(check_prepared(&statement).is_err(), "{sql}");
    }
}

/// T22: listings and Trino's own tables.
#[test]
fn t22_listings() {
    assert_golden!(
        &ANN,
        &[
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'gold'",
            "SELECT * FROM lake.information_schema.columns c",
            "SELECT column_name, c.comment, Extra_Info FROM lake.information_schema.columns AS c",
            "SELECT comment FROM lake.information_schema.columns c(a, b, comment)",
            "TABLE lake.information_schema.columns",
            "SELECT * FROM information_schema.schemata",
            "SELECT * FROM information_schema.views",
            "SELECT * FROM information_schema.roles",
            "SELECT * FROM hidden.information_schema.tables",
            "SELECT * FROM system.jdbc.catalogs",
            "SELECT * FROM system.jdbc.tables",
            "SELECT * FROM system.jdbc.types",
            "SELECT * FROM system.jdbc.whatever",
            "SELECT * FROM system.metadata.catalogs",
            "SELECT * FROM system.metadata.materialized_views",
            "SELECT * FROM system.runtime.queries",
            "SELECT information_schema.tables.table_name FROM information_schema.tables",
        ]
    );
    assert!(ROOT.shown("SELECT * FROM system.runtime.queries").starts_with("TABLE_NOT_FOUND"));
}

/// Conditions on a listing that go behind its barrier, and those that must not.
#[test]
fn t13_conditions_on_listings() {
    let check = |sql: &str, expect: &str| {
        let sent = ANN.shown(sql);
        let (_, rest) = sent.split_once("'bronze')))))").unwrap_or_else(|| panic!("{sql}: {sent}"));
        let copied = rest.split(" LIMIT 9223372036854775807").next().unwrap_or_default();
        assert_eq!(copied, expect, "{sql}");
    };
    let from = "SELECT 1 FROM information_schema.tables";
    check(&format!("{from} WHERE table_schema = 'gold'"), " AND \"table_schema\" = 'gold'");
    check(
        &format!(
            "{from} t WHERE TABLE_SCHEMA = 'a' AND t.\"Table_Name\" LIKE 'x\\_%' ESCAPE '\\' ORDER BY 1"
        ),
        " AND \"table_schema\" = 'a' AND \"table_name\" LIKE 'x\\_%' ESCAPE '\\'",
    );
    check(
        &format!("{from} AS t WHERE table_name IN ('a', 'b''c') LIMIT 1"),
        " AND \"table_name\" IN ('a', 'b''c')",
    );
    check(&format!("SELECT * FROM ({from} WHERE table_name = 'a') x"), " AND \"table_name\" = 'a'");
    check(
        &format!("{from} WHERE 1 / length(table_name) = 1 AND table_schema = 'a'"),
        " AND \"table_schema\" = 'a'",
    );
    check(
        &format!("{from} WHERE table_schema = 'a' AND (table_name = 'b' OR true)"),
        " AND \"table_schema\" = 'a'",
    );
    for rest in [
        "WHERE table_schema = 'a' AND true OR table_name = 'b'",
        "WHERE NOT table_schema = 'a'",
        "WHERE table_schema = 'a' || 'b'",
        "WHERE table_schema = 'a' IS NULL",
        "WHERE table_schema = ?",
        "WHERE table_schema LIKE 'a' ESCAPE 'bb'",
        "WHERE table_schema LIKE 'a\\' ESCAPE '\\'",
        "WHERE CASE WHEN true AND table_schema = 'a' THEN true ELSE true END",
        "WHERE 1 BETWEEN 0 AND table_schema = 'a'",
        "WHERE other = 'a'",
        "WHERE x.table_schema = 'a'",
        "WHERE table_schema = 'a' AND limit = 'b' OR true",
        "t CROSS JOIN open WHERE table_schema = 'a'",
        ", open WHERE table_schema = 'a'",
        "GROUP BY 1 HAVING table_schema = 'a'",
        "t (a, b) WHERE table_schema = 'a'",
    ] {
        let sql = format!("{from} {rest}");
        if Statement::parse(&sql, &Limits::default()).is_ok() {
            check(&sql, "");
        }
    }
    check("SELECT 1 FROM open, information_schema.tables WHERE table_schema = 'a'", "");
    check("SELECT 1 FROM open LEFT JOIN information_schema.tables ON true WHERE table_schema = 'a'", "");
    // The places of columns are counted among all of a table that are shown.
    let sent =
        ANN.shown("SELECT 1 FROM information_schema.columns WHERE table_name = 'a' AND column_name = 'b'");
    assert!(sent.contains(" AND \"table_name\" = 'a' LIMIT 9223372036854775807"), "{sent}");
}

#[test]
fn session_statements() {
    assert_golden!(
        &ANN,
        &[
            "SHOW CATALOGS",
            "SHOW CATALOGS LIKE 'l%'",
            "SHOW SCHEMAS",
            "SHOW SCHEMAS FROM tpch LIKE 'a\\_%' ESCAPE '\\'",
            "SHOW SCHEMAS FROM hidden",
            "SHOW TABLES",
            "SHOW TABLES FROM silver LIKE 'x'",
            "SHOW TABLES IN \"Lake\".\"Silver\"",
            "SHOW TABLES FROM bronze",
            "SHOW TABLES FROM hidden.x",
            "SHOW COLUMNS FROM customers",
            "DESCRIBE lake.gold.open",
            "DESC customers",
            "SHOW COLUMNS FROM customers LIKE 's%'",
            "SHOW COLUMNS FROM bronze.customers",
            "SHOW COLUMNS FROM \"customers$files\"",
            "DESCRIBE information_schema.tables",
            "SHOW FUNCTIONS",
            "SHOW FUNCTIONS LIKE 'a%'",
            "SHOW FUNCTIONS FROM lake.gold",
            "SHOW SESSION LIKE 'query%'",
            "SHOW SESSION LIKE 'query_max_run_time'",
            "USE silver",
            "USE \"LAKE\".Gold",
            "USE bronze",
            "USE hidden.x",
            "SET SESSION query_max_run_time = '1h'",
            "SET SESSION QUERY_MAX_RUN_TIME = '1h'",
            "SET SESSION query_max_run_time = (SELECT ssn FROM customers)",
            "SET SESSION lake.x = 1",
            "RESET SESSION query_max_run_time",
            "RESET SESSION other",
            "START TRANSACTION READ ONLY",
            "COMMIT",
            "ROLLBACK WORK",
        ]
    );
}

/// T19, T20: what changes data, and everything else that is not a query.
#[test]
fn t19_t20_all_else_is_denied_by_name() {
    assert_golden!(
        &ROOT,
        &[
            "ALTER MATERIALIZED VIEW a SET PROPERTIES x = 1",
            "ALTER MATERIALIZED VIEW a RENAME TO b",
            "ALTER SCHEMA gold RENAME TO silver",
            "ALTER SCHEMA gold SET AUTHORIZATION USER ann",
            "ALTER TABLE open SET AUTHORIZATION ROLE r",
            "ALTER VIEW view SET AUTHORIZATION ann",
            "CALL lake.system.register_table('a', table_name => 'b')",
            "CREATE CATALOG c USING memory",
            "CREATE FUNCTION f(x bigint) RETURNS bigint RETURN x",
            "CREATE ROLE r WITH ADMIN CURRENT_USER IN lake",
            "DENY SELECT ON open TO ann",
            "DROP CATALOG c",
            "DROP FUNCTION f(bigint)",
            "DROP ROLE r",
            "GRANT SELECT, INSERT ON open TO ann WITH GRANT OPTION",
            "GRANT r TO USER ann",
            "REVOKE ALL PRIVILEGES ON open FROM ann",
            "RESET SESSION AUTHORIZATION",
            "SET PATH a.b",
            "SET ROLE admin",
            "SET SESSION AUTHORIZATION root",
            "SET TIME ZONE LOCAL",
            "SHOW CREATE FUNCTION f",
            "SHOW CREATE MATERIALIZED VIEW a",
            "SHOW CREATE SCHEMA gold",
            "SHOW CREATE VIEW view",
            "SHOW GRANTS ON TABLE open",
            "SHOW ROLE GRANTS",
            "SHOW CURRENT ROLES",
            // Not read to its end, and so not read at all.
            "GRANT SELECT ON open TO ann; SELECT 1",
            "SET ROLE admin SELECT 1",
        ]
    );
}

/// T19, T20: each kind of change, where a policy lets the principal write and where none does.
#[test]
fn t19_t20_changes() {
    assert_golden!(
        &ANN,
        &[
            "DELETE FROM open WHERE id IN (SELECT customer_id FROM cards WHERE open.region = 'EU')",
            "DELETE FROM customers",
            "UPDATE open SET region = (SELECT max(region) FROM customers WHERE gold.open.id = customers.id)",
            "UPDATE customers SET ssn = ''",
            "MERGE INTO open AS o USING customers ON o.id = gold.customers.id WHEN MATCHED THEN UPDATE SET region = \
             customers.region WHEN NOT MATCHED AND customers.id > 1 THEN INSERT (id) VALUES (customers.id)",
            "MERGE INTO customers USING open ON true WHEN MATCHED THEN DELETE",
            "TRUNCATE TABLE open",
            "TRUNCATE TABLE customers",
            "CREATE TABLE new2 (a bigint NOT NULL COMMENT 'x', LIKE tpch.tiny.nation INCLUDING PROPERTIES)",
            "CREATE TABLE new2 (LIKE tpch.tiny.nation EXCLUDING PROPERTIES)",
            "CREATE TABLE new2 (LIKE customers)",
            "CREATE TABLE new2 (a bigint) WITH (location = 's3://elsewhere')",
            "CREATE TABLE new2 (a bigint WITH (location = 's3://elsewhere'))",
            "DROP TABLE IF EXISTS new2",
            "DROP TABLE open",
            "DROP TABLE bronze.customers",
            "ALTER TABLE open RENAME TO new3",
            "ALTER TABLE open RENAME TO silver.new3",
            "ALTER TABLE open RENAME TO customers",
            "ALTER TABLE customers RENAME TO new3",
            "ALTER TABLE open ADD COLUMN x varchar",
            "ALTER TABLE open ADD COLUMN x varchar WITH (location = 'y')",
            "ALTER TABLE open DROP COLUMN region",
            "ALTER TABLE open RENAME COLUMN region TO area",
            "ALTER TABLE open ALTER COLUMN region SET DATA TYPE varchar",
            "ALTER TABLE open SET PROPERTIES format = 'ORC'",
            "ALTER TABLE open SET PROPERTIES location = DEFAULT",
            "ALTER TABLE open EXECUTE optimize(file_size_threshold => '10MB') WHERE region = 'EU'",
            "ALTER TABLE open EXECUTE optimize WHERE region = (SELECT max(region) FROM customers)",
            "ALTER TABLE open EXECUTE add_files('s3://elsewhere', 'ORC')",
            "ALTER TABLE customers EXECUTE optimize",
            "COMMENT ON TABLE open IS 'x'",
            "COMMENT ON COLUMN gold.open.id IS NULL",
            "COMMENT ON COLUMN customers.ssn IS 'x'",
            "ANALYZE open WITH (columns = ARRAY['id'])",
            "ANALYZE customers",
            "CREATE VIEW new_view AS SELECT id FROM open WHERE open.id > 1",
            "CREATE OR REPLACE VIEW new_view COMMENT 'x' SECURITY INVOKER AS TABLE tpch.tiny.nation",
            "CREATE VIEW new_view AS SELECT id FROM customers",
            "CREATE VIEW new_view AS SELECT * FROM information_schema.tables",
            "CREATE VIEW new_view AS WITH FUNCTION f() RETURNS bigint RETURN 1 SELECT f() x",
            "CREATE VIEW open AS SELECT 1 x",
            "CREATE MATERIALIZED VIEW new_m WITH (storage_schema = 'x') AS SELECT 1 x",
            "CREATE MATERIALIZED VIEW new_m GRACE PERIOD INTERVAL '1' HOUR AS SELECT id FROM open",
            "REFRESH MATERIALIZED VIEW new_m",
            "DROP VIEW IF EXISTS new_view",
            "DROP VIEW open",
            "DROP MATERIALIZED VIEW IF EXISTS new_m",
            "ALTER VIEW new_view RENAME TO new_view2",
            "CREATE SCHEMA sandbox",
            "CREATE SCHEMA IF NOT EXISTS lake.sandbox",
            "CREATE SCHEMA sandbox WITH (location = 's3://elsewhere')",
            "CREATE SCHEMA gold",
            "DROP SCHEMA sandbox",
            "DROP SCHEMA sandbox CASCADE",
            "EXPLAIN DELETE FROM open",
            "EXPLAIN ANALYZE DELETE FROM open WHERE id IN (SELECT id FROM customers)",
            "EXPLAIN DROP TABLE open",
        ]
    );
    // Somebody who sees all as it is, where others do not.
    assert_golden!(
        &WILL,
        &[
            "UPDATE customers SET ssn = 'x' WHERE customers.name = 'y'",
            "ALTER TABLE customers RENAME TO new2",
            "ALTER TABLE open RENAME TO customers2",
            "ALTER TABLE open RENAME TO silver.customers",
            "ALTER TABLE customers RENAME COLUMN ssn TO x",
            "ALTER TABLE customers RENAME COLUMN name TO ssn",
            "ALTER TABLE customers RENAME COLUMN name TO x",
            "ALTER TABLE customers RENAME COLUMN name.first TO ssn",
            "ALTER TABLE customers DROP COLUMN ssn",
            "CREATE VIEW new_view AS SELECT ssn FROM customers",
        ]
    );
}

/// T19, T20: what is written is what the writer sees, to tables that a policy lets them write and that they see as
/// they are.
#[test]
fn t19_writes() {
    assert_golden!(
        &ANN,
        &[
            "INSERT INTO open SELECT * FROM customers",
            "INSERT INTO Open (id, region) WITH x AS (SELECT id, region FROM customers) SELECT * FROM x",
            "INSERT INTO open (SELECT 1, 'a')",
            "INSERT INTO open TABLE customers",
            "INSERT INTO open VALUES (1, (SELECT max(ssn) FROM customers))",
            "INSERT INTO customers SELECT * FROM open",
            "INSERT INTO cards SELECT * FROM open",
            "INSERT INTO bronze.customers SELECT 1",
            "INSERT INTO nowhere.at_all SELECT 1",
            "INSERT INTO information_schema.tables SELECT 1",
            "INSERT INTO \"open$data\" SELECT 1",
            "INSERT INTO open@branch SELECT 1",
            "INSERT INTO open SELECT * FROM TABLE(query('x'))",
            "CREATE TABLE new1 AS SELECT * FROM customers",
            "CREATE TABLE IF NOT EXISTS gold.new2 (a, b) COMMENT 'c' WITH (format = 'PARQUET', partitioning = ARRAY['a']) AS (SELECT id, region FROM customers) WITH NO DATA",
            "CREATE OR REPLACE TABLE new3 AS TABLE open",
            "CREATE OR REPLACE TABLE customers AS TABLE open",
            "CREATE TABLE other AS SELECT 1 AS a",
            "CREATE TABLE bronze.new AS SELECT 1 AS a",
            "CREATE TABLE new4 WITH (location = 's3://lake/gold/customers') AS SELECT 1 AS a",
            "CREATE TABLE new5 WITH (format = (SELECT max(ssn) FROM customers)) AS SELECT 1 AS a",
            "EXPLAIN INSERT INTO open SELECT * FROM customers",
            "EXECUTE IMMEDIATE 'INSERT INTO open SELECT id, ? FROM customers' USING 'a'",
        ]
    );
}

/// T21: a view reads what nobody has looked at.
#[test]
fn t21_views() {
    assert_golden!(
        &ANN,
        &[
            "SELECT view.ssn, gold.view.id FROM gold.view",
            "SELECT * FROM outermost AS o (a, b) JOIN customers ON a = ssn",
            "SELECT * FROM harmless",
            "SELECT * FROM cubed",
            "SELECT * FROM cube_of_people",
            "SELECT * FROM short",
            "SELECT * FROM hidden",
            "SELECT * FROM round",
            "SELECT * FROM view FOR VERSION AS OF 1",
            "SELECT * FROM harmless FOR VERSION AS OF 1",
            "SELECT * FROM view TABLESAMPLE BERNOULLI (10)",
            "SELECT (SELECT max(id) FROM view WHERE northgate_t = 1) FROM open",
            "TABLE view",
            "DESCRIBE view",
            "SHOW STATS FOR view",
            "SHOW STATS FOR harmless",
            "SHOW CREATE TABLE harmless",
            "EXPLAIN SELECT * FROM view",
            "EXPLAIN SELECT * FROM harmless",
            "CREATE VIEW new_view AS SELECT * FROM view",
            "CREATE VIEW new_view AS SELECT * FROM harmless",
            "CREATE TABLE new_table AS SELECT * FROM view",
            "INSERT INTO view SELECT 1, 'x'",
            "WITH FUNCTION f() RETURNS bigint RETURN 1 SELECT f() FROM view",
            "WITH FUNCTION f() RETURNS bigint RETURN 1 SELECT f() FROM harmless",
        ]
    );
    // What it leaves out is withheld from errors and figures.
    let shown = ROOT.shown("SELECT id FROM view WHERE 1 / id = 1");
    assert!(
        shown.starts_with("[restricted] SELECT id FROM (SELECT IF(\"northgate_t\".\"northgate_guard\", "),
        "{shown}"
    );
    assert!(shown.contains(" FROM \"lake\".\"gold\".\"view\" AS \"northgate_t\") AS "), "{shown}");
    // Where a policy says so, Trino may optimise through it.
    assert_eq!(SWIFT.shown("SELECT * FROM view"), "[restricted] SELECT * FROM \"lake\".\"gold\".\"view\"");
}

/// T33: short statements that would become long ones.
#[test]
fn t33_growth_is_bounded() {
    let many = format!("SELECT 1 FROM {}", vec!["customers"; 5_001].join(", "));
    let shown = ANN.shown(&many);
    assert!(
        shown.starts_with("NOT_SUPPORTED: The statement names more than 5000 tables"),
        "{}",
        &shown[..200.min(shown.len())]
    );
    let tables: Vec<String> = (0..2_000).map(|i| format!("t{i}")).collect();
    let shown = ANN.shown(&format!("SELECT 1 FROM {}", tables.join(", ")));
    assert_eq!(shown, "NOT_SUPPORTED: The statement names more than 1000 tables. Split it.");
    // Many references to many relations.
    let names = vec!["gold.customers"; 5_000].join(", ");
    let references = vec!["x.y.z"; 50_000].join(", ");
    let shown = ANN.shown(&format!("SELECT {references} FROM {names}"));
    assert!(shown.starts_with("[restricted]"), "{}", &shown[..200.min(shown.len())]);
}

/// Errors of Trino lead back to where the user wrote what they are about.
#[test]
fn positions_lead_back() {
    let sent = ANN.send("SELECT id,\n  nope FROM customers /* x */ WHERE nope2", "").expect("sent");
    let at = |word: &str| {
        let before = &sent.text()[..sent.text().find(word).expect("the word")];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        let place = |number: usize| u32::try_from(number + 1).expect("short");
        Location { line: place(line), column: place(column) }
    };
    let original = |word: &str| sent.positions().expect("a map").original(at(word));
    assert_eq!(original("nope"), Some(Location { line: 2, column: 3 }));
    assert_eq!(original("nope2"), Some(Location { line: 2, column: 37 }));
}

/// T34: what the user is shown of a policy.
#[test]
fn t34_messages_hide_policies() {
    for sql in [
        "SELECT * FROM bronze.customers",
        "SELECT * FROM hidden",
        "SELECT 1 FROM customers TABLESAMPLE BERNOULLI (1)",
    ] {
        let shown = ANN.shown(sql);
        for secret in ["no-bronze", "p.yaml", "'EU'", "analysts"] {
            assert!(!shown.contains(secret), "{sql}: {shown}");
        }
    }
    // Denied and missing are told alike.
    assert_eq!(
        ANN.shown("SELECT * FROM bronze.customers"),
        "TABLE_NOT_FOUND: Table 'lake.bronze.customers' does not exist"
    );
}
