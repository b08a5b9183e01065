//! What is hidden makes no difference: two schemas whose tables differ in hidden rows and masked values alone, and every
//! statement has the same answer on both, be it rows, an error, a count, a warning or a statistic.
//!
//! Rows that the filter hides are others, more and fewer in the second schema, and so are the values under masks that show
//! nothing of them. Statements are made up from a seed, with conditions that fail on some values, and there is a list of
//! those that look at tables in other ways. (`TWIN_QUERIES` and `TWIN_SEED` change how many are made up, and which.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{Answer, Client, Gateway, Settings, trino};
use crate::native::generate::Generator;

const QUERIES: u64 = 200;
const SEED: u64 = 4;
/// At once.
const THREADS: usize = 4;

const POLICIES: &str = r#"
version: 1
policies:
  - name: twins
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_a.*", "lake.twin_b.*"]
    allow: true
    row_filter: "region = 'EU'"
  - name: twins-customers
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_a.customers", "lake.twin_b.customers"]
    allow: true
    column_masks:
      - {columns: [ssn], action: show-last-4}
      - {columns: [email], action: replace-with-null}
      - {columns: [date_of_birth], action: truncate-to-year}
      - {columns: [balance], sql: "round(balance, -3)"}
  - name: twins-payments
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_a.card_payments", "lake.twin_b.card_payments"]
    allow: true
    deny_columns: [card_number]
  - name: twins-cells
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_a_cells.*", "lake.twin_b_cells.*"]
    allow: true
    trusted_view: true
    row_filter: "n >= 3"
  - name: twins-views
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_a_views.*", "lake.twin_b_views.*"]
    allow: true
    trusted_view: true
  - name: twins-own
    who: {groups: [eu-analysts]}
    tables: ["lake.twin_own.*"]
    allow: true
    write: true
"#;

/// The second schema: visible rows are the same but for what their masks hide.
const OTHERS: [&str; 3] = [
    "CREATE TABLE lake.twin_b.customers AS SELECT id, name, CAST('other' || CAST(id AS varchar) AS varchar) AS email, '000-00-' || \
     substr(ssn, 8) AS ssn, region, CAST(round(balance, -3) + 1 AS decimal(12, 2)) AS balance, date_add('day', 1, CAST(date_trunc('year', \
     date_of_birth) AS date)) AS date_of_birth FROM lake.twin_a.customers WHERE region = 'EU' UNION ALL SELECT id + 1000, reverse(name), \
     'x', '1', IF(id % 2 = 0, 'LATAM'), CAST(balance * 3 AS decimal(12, 2)), DATE '1900-01-01' FROM lake.twin_a.customers WHERE region <> 'EU' AND id % 3 > 0",
    "CREATE TABLE lake.twin_b.orders AS SELECT * FROM lake.twin_a.orders WHERE region = 'EU' UNION ALL SELECT -id, 0, 'NONE', \
     TIMESTAMP '1999-01-01 00:00:00.000000', 0, 'lost' FROM lake.twin_a.orders WHERE id % 7 = 0 AND region <> 'EU'",
    "CREATE TABLE lake.twin_b.card_payments AS SELECT id, customer_id, region, 'none' AS card_number, amount, paid_at FROM \
     lake.twin_a.card_payments WHERE region = 'EU'",
];

/// Statements that look at tables in other ways than the generator's. `{T}` is the schema.
const LIST: &[&str] = &[
    "SELECT count(*) FROM {T}.customers WHERE name = 'Anna Becker'",
    "SELECT count(*) FROM {T}.customers WHERE name IN ('Anna Becker', 'Anna Costa') AND 1/0 = 1",
    "SELECT count(*) FROM {T}.orders WHERE status = 'lost' AND 1/0 = 1",
    "SELECT count(*) FROM {T}.orders WHERE id < 0 AND CAST(status AS integer) = 1",
    "SELECT count(*) FROM {T}_cells.cells WHERE cell = 'small' AND 1/0 = 1",
    "SELECT count(*) FROM {T}_cells.cells WHERE cell = 'none' AND 1/0 = 1",
    "SELECT sum(n) FROM {T}_cells.cells WHERE cell = 'small' OR 10 / (n - 2) > 1",
    "SELECT count(*), checksum(name) FROM {T}_views.people",
    "SELECT count(*) FROM {T}_views.people WHERE 1 / IF(id > 1000, 0, 1) >= 0",
    "SELECT count(*) FROM {T}_views.people p JOIN {T}.orders o ON 1 / IF(p.id > 1000, 0, p.id) = o.id",
    "SELECT count(*) FROM {T}.customers WHERE CAST(date_of_birth AS varchar) = '1900-01-01' AND fail('x') IS NULL",
    "SELECT count(*), min(id), max(id), approx_distinct(name), checksum(name) FROM {T}.customers",
    "SELECT max(length(ssn)), min(email), sum(balance), max(date_of_birth) FROM {T}.customers",
    "SELECT count(*) FROM {T}.customers c FULL JOIN {T}.orders o ON c.id = o.customer_id WHERE o.id IS NULL OR c.id IS NULL",
    "SELECT (SELECT name FROM {T}.customers WHERE id > 1000)",
    "SELECT (SELECT name FROM {T}.customers WHERE name LIKE 'Anna%')",
    "SELECT count(*) FROM {T}.customers FOR VERSION AS OF 1",
    "SELECT count(*) FROM {T}.customers FOR TIMESTAMP AS OF TIMESTAMP '1999-01-01 00:00:00'",
    "SELECT * FROM {T}.customers MATCH_RECOGNIZE (ORDER BY id MEASURES A.id AS a, count(*) AS n PATTERN (A B*) DEFINE B AS B.id > 10 / (PREV(B.id) - 1001)) ORDER BY 1",
    "SELECT count(*) FROM {T}.customers c CROSS JOIN JSON_TABLE(c.name, 'strict $' COLUMNS (x varchar PATH 'lax $') ERROR ON ERROR) j WHERE c.id > 1000",
    "SELECT count(*) FROM {T}.customers CROSS JOIN UNNEST(sequence(1, id, IF(id > 1000, 0, 1000000000)))",
    "SELECT grouping(region, id), count(*) FROM {T}.customers GROUP BY GROUPING SETS ((region), (id), ()) ORDER BY 1, 2 LIMIT 5",
    "SELECT region, id FROM {T}.customers GROUP BY CUBE (region, id) HAVING 10 / (coalesce(id, 1) - 1001) > 5 ORDER BY 1, 2",
    "SELECT sum(10 / (id - 1001)) OVER (ORDER BY id) FROM {T}.customers ORDER BY 1 LIMIT 3",
    "WITH RECURSIVE r (id) AS (SELECT min(id) FROM {T}.customers UNION ALL SELECT c.id FROM r, {T}.customers c WHERE c.id = r.id + 3) SELECT * FROM r ORDER BY 1",
    "SELECT * FROM TABLE(exclude_columns(input => TABLE({T}.orders), columns => DESCRIPTOR(ordered_at))) ORDER BY id LIMIT 3",
    "SELECT reduce_agg(id, 0, (s, x) -> s + 10 / (x - 1001), (a, b) -> a + b) FROM {T}.customers",
    "SELECT count(*) FROM {T}.customers WHERE any_match(ARRAY[id], x -> 1 / (x - 1001) = 0)",
    "SELECT count(*) FROM {T}.customers c WHERE EXISTS (SELECT 1 FROM {T}.orders o WHERE o.customer_id = c.id AND 1 / (c.id - 1001) = 0)",
    "SELECT count(*) FROM {T}.customers c JOIN (VALUES 1001, 1, 2) v (x) ON c.id = v.x WHERE 1 / (v.x - 1001) = 0",
    "SELECT max(id) FROM {T}.customers WHERE id BETWEEN 900 AND 2000 OR name = 'x' AND 1 / (id - 1001) = 0",
    "SHOW STATS FOR {T}.customers",
    "SHOW STATS FOR (SELECT id FROM {T}.customers WHERE id > 1000)",
    "EXPLAIN SELECT id FROM {T}.customers",
    "EXPLAIN (TYPE VALIDATE) SELECT id FROM {T}.customers WHERE 1 / (id - 1001) = 0",
    "EXPLAIN ANALYZE SELECT id FROM {T}.customers",
    "SHOW COLUMNS FROM {T}.customers",
    "SHOW TABLES FROM {T}",
    "SHOW CREATE TABLE {T}.customers",
    "ANALYZE {T}.customers",
    "SELECT * FROM lake.information_schema.columns WHERE table_schema = '{T}' AND ordinal_position > 10 / (length(table_name) - 9)",
    "DELETE FROM lake.twin_own.{T} WHERE id IN (SELECT id + 1000 FROM {T}.customers)",
    "UPDATE lake.twin_own.{T} SET id = id + 1 WHERE id = (SELECT max(id) FROM {T}.customers)",
    "MERGE INTO lake.twin_own.{T} k USING {T}.customers c ON k.id = c.id WHEN MATCHED AND c.id > 1000 THEN DELETE WHEN NOT MATCHED AND c.id > 1000 THEN INSERT VALUES (c.id, c.name)",
    "INSERT INTO lake.twin_own.{T} SELECT id, name FROM {T}.customers WHERE id > 1000 OR 10 / (id - 1001) > 1",
    "CREATE TABLE lake.twin_own.made_{T} AS SELECT * FROM {T}.customers WHERE 10 / (id - 1001) >= 0",
    "DROP TABLE lake.twin_own.made_{T}",
    "EXECUTE IMMEDIATE 'SELECT count(*) FROM {T}.customers WHERE id > ? AND 1/? = 1' USING 1000, 0",
];

fn prepare() {
    let admin = |sql: &str| {
        let answer = trino().query(sql);
        assert!(answer.error.is_none(), "{sql}: {:?}", answer.error);
    };
    for schema in ["twin_a", "twin_b", "twin_own"] {
        admin(&format!("CREATE SCHEMA lake.{schema}"));
    }
    for table in ["customers", "orders", "card_payments"] {
        admin(&format!("CREATE TABLE lake.twin_a.{table} AS SELECT * FROM lake.silver.{table}"));
    }
    OTHERS.into_iter().for_each(admin);
    for own in ["twin_a", "twin_b"] {
        admin(&format!(
            "CREATE TABLE lake.twin_own.{own} AS SELECT id, name FROM lake.twin_a.customers WHERE region = 'EU'"
        ));
    }
    // Groups of three rows and more are shown.
    for (schema, small) in [("twin_a", "small"), ("twin_b", "other")] {
        admin(&format!("CREATE SCHEMA lake.{schema}_cells"));
        admin(&format!(
            "CREATE TABLE lake.{schema}_cells.facts AS SELECT * FROM (VALUES 'big', 'big', 'big', '{small}', '{small}') AS t (cell)"
        ));
        admin(&format!(
            "CREATE VIEW lake.{schema}_cells.cells AS SELECT cell, count(*) AS n FROM lake.{schema}_cells.facts GROUP BY cell"
        ));
    }
    // Views that are read as they are, of what their readers may not see.
    for schema in ["twin_a", "twin_b"] {
        admin(&format!("CREATE SCHEMA lake.{schema}_views"));
        admin(&format!(
            "CREATE VIEW lake.{schema}_views.people AS SELECT id, name FROM lake.{schema}.customers \
             WHERE region IN (SELECT region FROM lake.regional.readers WHERE name = 'eva' AND region = 'EU')"
        ));
    }
    // They do differ, natively.
    let of = |schema: &str| {
        trino().query(&format!("SELECT count(*), checksum(ssn) FROM lake.{schema}.customers")).lines()
    };
    assert_ne!(of("twin_a"), of("twin_b"));
}

#[test]
fn what_is_hidden_makes_no_difference() {
    prepare();
    let mut settings = Settings::new();
    settings.policies.push(("twins.yaml", POLICIES.to_owned()));
    let gateway = Gateway::start(settings);
    let client = || {
        let eva = gateway.signed_in("eva").with("X-Trino-Catalog", "lake");
        eva.with("X-Trino-Session", "query_max_run_time=20s")
    };
    let from =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (from("TWIN_QUERIES", QUERIES), from("TWIN_SEED", SEED));
    let mut differences: Vec<String> =
        LIST.iter().filter_map(|sql| differs(&client(), &|schema| sql.replace("{T}", schema))).collect();
    let next = AtomicU64::new(0);
    differences.extend(thread::scope(|scope| {
        let work = || {
            let client = client();
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || found.len() >= 5 {
                    return found;
                }
                let sql = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(number)).statement();
                let within =
                    |schema: &str| sql.replace("silver", schema).replace("SILVER", &schema.to_uppercase());
                found.extend(differs(&client, &within));
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    }));
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// How the answers in the two schemas differ, if they do.
fn differs(client: &Client, sql: &dyn Fn(&str) -> String) -> Option<String> {
    let ask = |schema: &str| {
        let client = client.clone().with("X-Trino-Schema", schema);
        Some(told(client.query(&sql(schema)))?.replace(schema, "T"))
    };
    // What takes too long on one of the two says nothing.
    let (one, other) = (ask("twin_a")?, ask("twin_b")?);
    (one != other).then(|| format!("{}\n{one}\n{other}", sql("twin_a")))
}

/// All that an answer says but for what is of its query alone, and times; none if it took too long.
fn told(answer: Answer) -> Option<String> {
    let last = answer.pages.last().cloned().unwrap_or_default();
    let mut error = answer.error.clone().unwrap_or_default();
    if let Some(message) = error["message"].as_str() {
        // The query's id is at the end.
        error["message"] = message.split(" (query ").next().unwrap_or_default().into();
        // The same once more.
        error["failureInfo"] = Value::Null;
    }
    if error["errorName"] == "EXCEEDED_TIME_LIMIT" {
        return None;
    }
    let mut stats = last["stats"].clone();
    if let Some(stats) = stats.as_object_mut() {
        stats.retain(|name, _| !name.ends_with("Millis"));
    }
    let (columns, warnings, update): (_, &Value, &Value) =
        (answer.columns.clone(), &last["warnings"], &last["updateCount"]);
    let head = format!("{error} {columns:?} {warnings} {update} {stats}");
    let mut lines = if answer.error.is_none() { answer.lines() } else { Vec::new() };
    lines.sort_unstable();
    Some(format!("{head}\n{}", lines.join("\n")))
}
