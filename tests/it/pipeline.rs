//! Filters and masks hold, whatever the shape of the statement.
//!
//! The same statement runs twice: through the gateway, as an EU analyst, on the tables of the bank; and on Trino
//! directly, on tables that hold only what that analyst may see. The answers must be the same.

use std::sync::OnceLock;

use serde_json::json;

use crate::harness::{Answer, gateway, trino};

/// What `eva` may see of the bank, as tables: made with Trino's own functions, not with the gateway's.
const MODEL: [&str; 4] = [
    "CREATE SCHEMA memory.model",
    "CREATE TABLE memory.model.customers AS SELECT id, name, \
       lower(to_hex(sha256(to_utf8(email)))) AS email, 'nnn-nn-' || substr(ssn, 8) AS ssn, region, \
       CAST(round(balance, -3) AS decimal(12, 2)) AS balance, \
       CAST(date_trunc('year', date_of_birth) AS date) AS date_of_birth \
     FROM lake.silver.customers WHERE region = 'EU'",
    "CREATE TABLE memory.model.orders AS SELECT * FROM lake.silver.orders WHERE region = 'EU'",
    "CREATE TABLE memory.model.card_payments AS SELECT id, customer_id, region, amount, paid_at \
     FROM lake.silver.card_payments WHERE region = 'EU'",
];

fn model() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        for statement in MODEL {
            let answer = trino().query(statement);
            assert!(answer.error.is_none(), "{statement}: {:?}", answer.error);
        }
    });
}

fn sorted(answer: Answer) -> (Vec<String>, Vec<String>) {
    let columns = answer.columns.clone();
    let mut lines = answer.lines();
    lines.sort_unstable();
    (columns, lines)
}

/// The statement gives `eva` what it gives on what she may see.
fn check(sql: &str) {
    model();
    let through = gateway()
        .signed_in("eva")
        .with("X-Trino-Catalog", "lake")
        .with("X-Trino-Schema", "silver")
        .query(sql);
    let direct =
        sql.replace("lake.silver", "memory.model").replace("\"lake\".\"silver\"", "\"memory\".\"model\"");
    let client =
        trino().client().user("eva").with("X-Trino-Catalog", "memory").with("X-Trino-Schema", "model");
    let expected = client.query(&direct);
    assert!(expected.error.is_none(), "the model can't run it: {sql}: {:?}", expected.error);
    assert!(through.error.is_none(), "{sql}: {:?}", through.error);
    assert_eq!(sorted(through), sorted(expected), "{sql}");
}

fn check_all(statements: &[&str]) {
    statements.iter().for_each(|sql| check(sql));
}

#[test]
fn plain_reads() {
    check_all(&[
        "SELECT * FROM customers",
        "SELECT * FROM lake.silver.customers",
        "SELECT * FROM silver.customers".replace("silver.", "lake.silver.").as_str(),
        "TABLE customers",
        "TABLE lake.silver.orders",
        "SELECT c.* FROM customers c",
        "SELECT customers.* FROM customers",
        "SELECT lake.silver.customers.name FROM lake.silver.customers",
        "SELECT customers.name, c2.region FROM customers, customers AS c2 WHERE customers.id = c2.id",
        "SELECT count(*) FROM card_payments",
        "SELECT * FROM card_payments",
        "SELECT id AS ssn, ssn AS id FROM customers",
        "SELECT sum(balance), min(date_of_birth), max(ssn) FROM customers",
        "SELECT name FROM customers WHERE ssn LIKE 'nnn%' AND region <> 'US'",
        "SELECT DISTINCT region FROM orders",
        "SELECT region, count(*) FROM customers GROUP BY region HAVING count(*) > 1",
        "SELECT region, count(*) FROM customers GROUP BY GROUPING SETS ((region), ())",
        "SELECT id, row_number() OVER (PARTITION BY region ORDER BY id) FROM customers",
        "SELECT id FROM customers ORDER BY balance DESC, id OFFSET 3 ROWS FETCH FIRST 5 ROWS ONLY",
        "SELECT count(*) FILTER (WHERE region = 'US') FROM orders",
    ]);
}

#[test]
fn quoting_case_and_comments() {
    check_all(&[
        r#"SELECT "name" FROM "customers""#,
        r#"SELECT * FROM "lake"."silver"."customers""#,
        "select * from CUSTOMERS",
        "SELECT * FROM LAKE.Silver.Customers".replace("LAKE.Silver", "lake.silver").as_str(),
        "SELECT/**/*/* from nothing */FROM--comment\ncustomers",
        "SELECT 'from customers; -- ' AS text, \"name\" FROM customers -- the end",
        "SELECT U&'\\0041', name FROM customers WHERE name <> U&'x\\0027'",
        "SELECT count(*) AS \"a\"\"b\", '''' AS q FROM customers",
        "\u{a0}SELECT 1 FROM customers".trim_start_matches('\u{a0}'),
        "SELECT name FROM customers AS \"Customers\" WHERE \"Customers\".region = 'EU'",
        "SELECT name FROM customers \"c d\" WHERE \"c d\".id < 40",
    ]);
}

#[test]
fn names_that_shadow() {
    check_all(&[
        "WITH customers AS (SELECT * FROM orders) SELECT * FROM customers",
        "WITH customers AS (SELECT * FROM customers) SELECT * FROM customers",
        "WITH a AS (SELECT * FROM customers), customers AS (SELECT id FROM a) SELECT count(*) FROM customers",
        "WITH x AS (WITH customers AS (SELECT 1 AS id) SELECT * FROM customers) SELECT * FROM x, customers",
        "SELECT * FROM (WITH customers AS (SELECT 7 AS seven) SELECT * FROM customers) a JOIN customers c ON c.id > a.seven",
        "WITH customers AS (SELECT 1 AS id) SELECT * FROM lake.silver.customers",
        "WITH orders AS (SELECT 1 AS id) SELECT count(*) FROM customers WHERE EXISTS (SELECT 1 FROM orders)",
        "SELECT (WITH customers AS (SELECT 5 AS n) SELECT n FROM customers), count(*) FROM customers",
        "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n, count(*) FROM t, customers GROUP BY n",
        "SELECT customers FROM (SELECT id AS customers FROM customers)",
        "SELECT name AS customers FROM customers ORDER BY customers LIMIT 4",
    ]);
}

#[test]
fn joins_and_subqueries() {
    check_all(&[
        "SELECT c.name, o.amount FROM customers c JOIN orders o ON o.customer_id = c.id",
        "SELECT c.name, count(o.id) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.name",
        "SELECT * FROM customers JOIN orders USING (id)",
        "SELECT * FROM (customers JOIN orders ON orders.customer_id = customers.id)",
        "SELECT count(*) FROM customers FULL JOIN orders ON orders.customer_id = customers.id",
        "SELECT count(*) FROM customers CROSS JOIN UNNEST(sequence(1, 2)) AS u (n)",
        "SELECT name, n FROM customers CROSS JOIN UNNEST(ARRAY[id, balance]) WITH ORDINALITY AS u (v, n)",
        "SELECT name, t.total FROM customers c CROSS JOIN LATERAL (SELECT sum(amount) AS total FROM orders o WHERE o.customer_id = c.id) t",
        "SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.amount > 500)",
        "SELECT name FROM customers WHERE id IN (SELECT customer_id FROM card_payments)",
        "SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)",
        "SELECT name, (SELECT max(amount) FROM orders o WHERE o.customer_id = c.id) FROM customers c",
        "SELECT name FROM customers WHERE balance > ALL (SELECT balance FROM customers c2 WHERE c2.id < 20)",
        "SELECT name FROM customers WHERE balance = (SELECT max(balance) FROM customers)",
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM customers WHERE region = 'US') THEN 'leak' ELSE 'none' END",
        "SELECT count(*) FROM orders WHERE region = (SELECT 'US')",
        "SELECT count(*) FROM customers WHERE (region, id) IN (SELECT region, customer_id FROM orders)",
    ]);
}

#[test]
fn set_operations_values_and_table_functions() {
    check_all(&[
        "SELECT region FROM customers UNION SELECT region FROM orders",
        "(SELECT id FROM customers) INTERSECT (SELECT customer_id FROM orders)",
        "SELECT id FROM customers EXCEPT SELECT customer_id FROM orders",
        "TABLE orders UNION ALL (TABLE orders)",
        "(((SELECT id FROM customers))) ORDER BY id LIMIT 3",
        "SELECT * FROM (VALUES 1, 2) AS v (n) WHERE n IN (SELECT id FROM customers)",
        "SELECT count(*) FROM TABLE(sequence(1, 10)) s, customers",
        "SELECT * FROM customers MATCH_RECOGNIZE (ORDER BY id MEASURES first(A.id) AS f, last(A.id) AS l \
         ONE ROW PER MATCH PATTERN (A B+) DEFINE B AS B.region = 'EU' AND A.region = B.region)",
        "SELECT count(*) FROM customers WHERE name IN (SELECT name FROM (SELECT name FROM (TABLE customers)))",
    ]);
}

#[test]
fn expressions_keep_their_meaning() {
    check_all(&[
        "SELECT CAST(balance AS varchar), TRY_CAST(name AS bigint), -id, id % 7, NOT (id > 5 OR region IS NULL) FROM customers",
        "SELECT CASE region WHEN 'EU' THEN 1 ELSE 2 END, IF(id > 9, 'x', 'y'), NULLIF(id, 9), COALESCE(email, 'none') FROM customers",
        "SELECT name || ' <' || email || '>', substring(name FROM 2 FOR 3), position('a' IN name), trim(BOTH ' ' FROM name) FROM customers",
        "SELECT extract(YEAR FROM date_of_birth), date_of_birth + INTERVAL '1' DAY, date_of_birth BETWEEN DATE '1950-01-01' AND DATE '1960-01-01' FROM customers",
        "SELECT ARRAY[id, 2][1], MAP(ARRAY['k'], ARRAY[id])['k'], CAST(ROW(id, name) AS ROW(a bigint, b varchar)).a FROM customers",
        "SELECT transform(ARRAY[1, 2], x -> x + id), filter(ARRAY[id], id -> id > 10), reduce(ARRAY[1, 2], 0, (s, x) -> s + x, s -> s) FROM customers",
        "SELECT json_value('{\"a\": 1}', 'lax $.a'), json_array(id, name), json_object('k' VALUE region) FROM customers",
        "SELECT listagg(name, ', ') WITHIN GROUP (ORDER BY id) FROM customers",
        "SELECT max_by(name, id), approx_distinct(region), count(DISTINCT region) FROM customers",
        "SELECT id, sum(balance) OVER w, max(id) OVER w FROM customers WINDOW w AS (PARTITION BY region ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
        "SELECT grouping(region, name), count(*) FROM customers GROUP BY CUBE (region, name)",
        "SELECT TIMESTAMP '2025-01-01 00:00:00 UTC' AT TIME ZONE 'Europe/Berlin', current_user FROM customers LIMIT 1",
        "SELECT 1e3, .5, 1_000, 0xFF, DECIMAL '1.10', X'00ff', U&'\\+01F600' FROM customers WHERE id = 1",
    ]);
}

#[test]
fn prepared_statements_are_bound_when_they_run() {
    model();
    let prepared = |name: &str, sql: &str| format!("{name}={}", percent(sql));
    let check = |header: String, sql: &str, expected: &str| {
        let client =
            gateway().signed_in("eva").with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "silver");
        let answer = client.with("X-Trino-Prepared-Statement", header).query(sql);
        let direct =
            trino().client().user("eva").with("X-Trino-Catalog", "memory").with("X-Trino-Schema", "model");
        assert_eq!(sorted(answer), sorted(direct.query(expected)), "{sql}");
    };
    let text = "SELECT * FROM customers WHERE id < ? AND region <> ?";
    check(
        prepared("p", text),
        "EXECUTE p USING 50, 'x'",
        "SELECT * FROM customers WHERE id < 50 AND region <> 'x'",
    );
    check(
        prepared("p", text),
        "EXECUTE \"p\" USING 10 + 40, concat('x', '')",
        "SELECT * FROM customers WHERE id < 50",
    );
    check(prepared("p", "TABLE orders"), "EXECUTE p", "TABLE orders");
    check(
        prepared("q", "SELECT 1"),
        "EXECUTE IMMEDIATE 'SELECT ssn FROM customers WHERE id < ?' USING 30",
        "SELECT ssn FROM customers WHERE id < 30",
    );
}

#[test]
fn others_see_what_their_policies_say() {
    let as_user = |user: &str, sql: &str| gateway().signed_in(user).query(sql);
    let count = "SELECT count(*), count(name), count(DISTINCT region) FROM lake.silver.customers";
    assert_eq!(as_user("admin", count).lines(), ["240|240|3"]);
    assert_eq!(as_user("otto", count).lines(), ["240|0|3"], "compliance sees all rows and no names");
    assert_eq!(as_user("eva", count).lines(), ["120|120|1"]);
    let denied = as_user("nora", count).failure();
    assert!(denied.starts_with("TABLE_NOT_FOUND"), "{denied}");
    let whole = "SELECT * FROM lake.silver.customers ORDER BY id";
    assert_eq!(
        as_user("admin", whole).lines(),
        trino().query(whole).lines(),
        "without restrictions nothing changes"
    );
}

/// For a header value.
pub(crate) fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[test]
fn what_is_written_is_what_its_writer_sees() {
    let eva = gateway().signed_in("eva").with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "silver");
    let done = |sql: &str| {
        let answer = eva.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    };
    done("CREATE TABLE memory.scratch.eva_copy AS SELECT id, ssn, region FROM customers");
    done("INSERT INTO memory.scratch.eva_copy SELECT id, ssn, region FROM customers WHERE id < 10");
    done("EXECUTE IMMEDIATE 'INSERT INTO memory.scratch.eva_copy (id, ssn) VALUES (?, ?)' USING 0, 'x'");
    let written = trino().query(
        "SELECT count(*), count_if(region <> 'EU'), count_if(regexp_like(ssn, '[0-9]{3}-')) FROM memory.scratch.eva_copy",
    );
    let (seen, early) = (
        eva.query("SELECT count(*) FROM customers"),
        eva.query("SELECT count(*) FROM customers WHERE id < 10"),
    );
    let count = |answer: Answer| answer.value().as_u64().expect("a count");
    let rows = count(seen) + count(early) + 1;
    assert_eq!(written.rows(), [[json!(rows), json!(0), json!(0)]]);
    // And it reads what it wrote, as there is a policy for it.
    assert_eq!(eva.query("SELECT ssn FROM memory.scratch.eva_copy WHERE id = 0").value(), "x");
    for (sql, error) in [
        ("INSERT INTO customers SELECT * FROM customers", "PERMISSION_DENIED"),
        ("INSERT INTO memory.scratch.customers SELECT id, name FROM customers", "PERMISSION_DENIED"),
        ("CREATE TABLE memory.scratch.other AS SELECT 1 AS a", "PERMISSION_DENIED"),
        ("CREATE OR REPLACE TABLE customers AS SELECT 1 AS a", "PERMISSION_DENIED"),
        ("CREATE TABLE lake.bronze.mine AS SELECT 1 AS a", "TABLE_NOT_FOUND"),
        ("INSERT INTO lake.bronze.customers SELECT * FROM customers", "TABLE_NOT_FOUND"),
        ("CREATE TABLE memory.scratch.eva_raw AS SELECT * FROM lake.bronze.customers", "TABLE_NOT_FOUND"),
        ("CREATE TABLE memory.scratch.eva_at WITH (location = 'x') AS SELECT 1 AS a", "PERMISSION_DENIED"),
    ] {
        let failure = eva.query(sql).failure();
        assert!(failure.starts_with(error), "{sql}: {failure}");
    }
}

/// Each kind of change on a schema of one's own, as a job that builds tables goes about it.
#[test]
fn a_job_makes_its_tables() {
    let eva = gateway().signed_in("eva").with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "lab");
    for sql in [
        "CREATE SCHEMA IF NOT EXISTS lab",
        "DROP TABLE IF EXISTS people",
        "CREATE TABLE people (id bigint NOT NULL, ssn varchar COMMENT 'x') WITH (format = 'PARQUET')",
        "INSERT INTO people SELECT id, ssn FROM silver.customers",
        "MERGE INTO people p USING silver.customers c ON p.id = c.id WHEN MATCHED AND c.id < 10 THEN UPDATE SET ssn = \
         concat('m', c.ssn) WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (c.id, c.ssn)",
        "UPDATE people SET ssn = (SELECT max(ssn) FROM silver.customers) WHERE id IN (SELECT min(id) FROM people)",
        "DELETE FROM people WHERE id > 500",
        "ALTER TABLE people ADD COLUMN note varchar",
        "ALTER TABLE people RENAME COLUMN note TO remark",
        "ALTER TABLE people DROP COLUMN remark",
        "ALTER TABLE people ALTER COLUMN id DROP NOT NULL",
        "ALTER TABLE people EXECUTE optimize",
        "COMMENT ON TABLE people IS 'those of the EU'",
        "COMMENT ON COLUMN lab.people.ssn IS 'masked'",
        "ANALYZE people",
        "EXPLAIN ANALYZE INSERT INTO people VALUES (0, 'z')",
        "ALTER TABLE people RENAME TO people2",
        "CREATE TABLE IF NOT EXISTS people3 (LIKE people2)",
        "CREATE OR REPLACE VIEW seen AS SELECT id FROM people2 WHERE people2.id > 1",
        "DROP VIEW seen",
    ] {
        let answer = eva.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    }
    let raw = trino().query(
        "SELECT count(*) > 10, count_if(regexp_like(ssn, '[0-9]{3}-')), count_if(ssn LIKE 'm%') > 0 \
                             FROM lake.lab.people2",
    );
    assert_eq!(raw.rows(), [[json!(true), json!(0), json!(true)]]);
    for (sql, error) in [
        ("CREATE VIEW seen AS SELECT id FROM silver.customers", "PERMISSION_DENIED"),
        ("ALTER TABLE people2 RENAME TO silver.people", "PERMISSION_DENIED"),
        (
            "ALTER TABLE people2 EXECUTE add_files(location => 's3://x', format => 'PARQUET')",
            "PERMISSION_DENIED",
        ),
        ("ALTER TABLE people2 SET PROPERTIES location = 's3://x'", "PERMISSION_DENIED"),
        ("CREATE TABLE people4 (LIKE people2 INCLUDING PROPERTIES)", "PERMISSION_DENIED"),
        ("ALTER TABLE people2 SET AUTHORIZATION otto", "PERMISSION_DENIED"),
        ("EXPLAIN ANALYZE INSERT INTO people2 SELECT id, ssn FROM silver.customers", "PERMISSION_DENIED"),
        ("DROP SCHEMA lab CASCADE", "PERMISSION_DENIED"),
        ("CREATE SCHEMA lab2", "PERMISSION_DENIED"),
        ("DROP SCHEMA silver", "PERMISSION_DENIED"),
    ] {
        let failure = eva.query(sql).failure();
        assert!(failure.starts_with(error), "{sql}: {failure}");
    }
    for sql in ["TRUNCATE TABLE people3", "DROP TABLE people2", "DROP TABLE people3", "DROP SCHEMA lab"] {
        let answer = eva.query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    }
}
