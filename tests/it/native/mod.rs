//! The gateway against Trino's own row filters and column masks.
//!
//! Trino's file-based access control gives the user `native` the filters and masks that the policies give `eva`
//! (tests/stack/trino.sh). Statements are made up from a seed, in every shape that the generator knows, and run
//! as both, on the same tables: the rows must be the same, or both must fail in the same way. One difference is
//! wanted: Trino evaluates a user's predicates on rows that the filter hides, and can fail there; the gateway does not.

pub(crate) mod generate;
mod tpc;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use self::generate::Generator;
use crate::harness::{Answer, Client, gateway, trino};

/// How many statements are run, and from which seed; `NATIVE_QUERIES` and `NATIVE_SEED` say otherwise.
const QUERIES: u64 = 500;
const SEED: u64 = 476;
/// How many statements are looked at as plans.
const PLANS: u64 = 100;
/// At once.
const THREADS: usize = 4;

#[derive(Default)]
struct Tally {
    rows: AtomicU64,
    failed: AtomicU64,
    only_native_failed: AtomicU64,
    only_ours_failed: AtomicU64,
}

/// Whether what was sent fails, too, on tables that have no rows but those that the filters show.
fn fails_without_hidden_rows(answer: &Answer) -> bool {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        assert!(trino().query("CREATE SCHEMA lake.visible").error.is_none());
        for table in ["customers", "orders", "card_payments"] {
            let rows = format!("SELECT * FROM lake.silver.{table} WHERE region = 'EU'");
            let made = trino().query(&format!("CREATE TABLE lake.visible.{table} AS {rows}"));
            assert!(made.error.is_none(), "{:?}", made.error);
        }
    });
    let records = gateway().audit_of(&answer.id, |records| !records.is_empty());
    let sent = records[0]["rewritten"].as_str().expect("text");
    let again = trino().query(&sent.replace("\"lake\".\"silver\"", "\"lake\".\"visible\""));
    let name = |error: &serde_json::Value| error["errorName"].clone();
    again.error.as_ref().map(name) == answer.error.as_ref().map(name)
}

#[test]
#[allow(clippy::print_stdout)] // how many statements gave rows is worth knowing
fn masks_and_filters_are_those_that_trino_would_apply() {
    let from =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (from("NATIVE_QUERIES", QUERIES), from("NATIVE_SEED", SEED));
    let (next, tally) = (AtomicU64::new(0), Tally::default());
    let differences: Vec<String> = thread::scope(|scope| {
        let work = || {
            let through = session(gateway().signed_in("eva"));
            let natively = session(trino().client().user("native"));
            let mut differences = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || differences.len() >= 5 {
                    return differences;
                }
                let sql = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(number)).statement();
                differences.extend(compare(&sql, &through, &natively, &tally));
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    println!("{count} statements from seed {seed}: {tally:?}");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    // Were most of them to fail, nothing would be compared.
    let rows = tally.rows.load(Ordering::Relaxed);
    assert!(rows * 2 >= count, "only {rows} of {count} statements gave rows");
}

/// What Trino's planner says that the sent texts read is what the permit covers.
#[test]
fn plans_read_what_is_permitted() {
    let through = session(gateway().signed_in("eva"));
    let ids: Vec<String> = (0..PLANS)
        .map(|number| Generator::new(7_000_000 + number).statement())
        .map(|sql| through.query(&sql).id)
        .collect();
    let sent: Vec<String> = gateway()
        .audit()
        .iter()
        .filter(|record| record["type"] == "intent" && ids.iter().any(|id| record["query"] == id.as_str()))
        .map(|record| record["rewritten"].as_str().expect("text").to_owned())
        .collect();
    assert!(sent.len() as u64 > PLANS * 9 / 10, "only {} of {PLANS} statements were sent", sent.len());
    let mut read = std::collections::BTreeSet::new();
    for text in sent {
        let answer = trino().query(&format!("EXPLAIN (TYPE IO, FORMAT JSON) {text}"));
        // What cannot be planned reads nothing.
        if answer.error.is_some() {
            continue;
        }
        let plan = answer.value();
        let plan: serde_json::Value = serde_json::from_str(plan.as_str().expect("text")).expect("JSON");
        for input in plan["inputTableColumnInfos"].as_array().expect("tables") {
            let table = &input["table"];
            let name = format!(
                "{}.{}.{}",
                table["catalog"].as_str().unwrap_or_default(),
                table["schemaTable"]["schema"].as_str().unwrap_or_default(),
                table["schemaTable"]["table"].as_str().unwrap_or_default()
            );
            assert!(!input.to_string().contains("card_number"), "{text}\n{input}");
            read.insert(name);
        }
    }
    let expect = ["lake.silver.card_payments", "lake.silver.customers", "lake.silver.orders"];
    assert_eq!(read.iter().map(String::as_str).collect::<Vec<_>>(), expect);
}

/// Those of which something came out once: each disagreement becomes a case.
#[test]
fn disagreements_of_the_past() {
    let (through, natively) = (session(gateway().signed_in("eva")), session(trino().client().user("native")));
    let tally = Tally::default();
    for sql in [
        "SELECT count(*) AS g0 FROM lake.silver.customers LEFT JOIN (SELECT * FROM lake.silver.CARD_PAYMENTS) AS x1 ON \
         lake.silver.customers.id = x1.id LEFT JOIN (TABLE lake.\"SILVER\".customers) AS northgate_t2 ON \
         lake.silver.customers.id = northgate_t2.id WHERE 10 / (x1.\"id\" - 180) >= 0 GROUP BY GROUPING SETS \
         ((x1.paid_at), ())",
        "SELECT count(*) FROM orders WHERE ordered_at <= current_timestamp",
        "SELECT count(*) FROM orders o WHERE o.ordered_at = o.ordered_at AND ordered_at BETWEEN TIMESTAMP '2025-01-01 00:00:00' \
         AND now()",
        "SELECT count(*) FROM customers WHERE id IN (5, 6, 0.5) AND balance > 1e1",
    ] {
        if let Some(difference) = compare(sql, &through, &natively, &tally) {
            panic!("{difference}");
        }
    }
}

/// A filter that looks into another table, and masks of fields.
#[test]
fn sub_queries_and_fields_are_as_trino_has_them() {
    let (through, natively) = (session(gateway().signed_in("eva")), session(trino().client().user("native")));
    let tally = Tally::default();
    for sql in [
        "SELECT * FROM lake.regional.branches",
        "SELECT id, contact.name, contact.phone, contact.address.zip, contact.address.city FROM lake.regional.branches",
        "SELECT b.contact.address FROM lake.regional.branches b WHERE b.contact.address.zip LIKE '0%'",
        "SELECT region, count(*), count(contact), count(contact.phone) FROM lake.regional.branches GROUP BY 1",
        "SELECT id, kind, number FROM lake.regional.branches CROSS JOIN UNNEST(phones) AS t (kind, number)",
        "SELECT p.kind, p.number FROM lake.regional.branches CROSS JOIN UNNEST(transform(phones, p -> p)) AS t (kind, number) \
         CROSS JOIN UNNEST(phones) AS p (kind, number)",
        "SELECT c.id, b.id FROM customers c JOIN lake.regional.branches b ON b.region = c.region AND b.id = c.id",
        "SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM lake.regional.branches b WHERE b.id = c.id AND b.region \
         = c.region AND b.contact.name IS NOT NULL)",
        "SELECT id FROM lake.regional.branches b WHERE id = (SELECT max(id) FROM lake.regional.branches o WHERE o.region = \
         b.region)",
        "SELECT (SELECT count(*) FROM lake.regional.branches b WHERE b.region = c.region AND b.id > c.id), c.id FROM \
         customers c",
        "SELECT map_agg(id, contact), array_agg(phones ORDER BY id) FROM lake.regional.branches",
        "SELECT branches.contact.* FROM lake.regional.branches",
        "SELECT contact.* FROM lake.regional.branches",
        "SELECT (contact).* FROM lake.regional.branches",
        "SELECT (b.contact).address.* FROM lake.regional.branches b",
        "SELECT typeof(contact), typeof(phones) FROM lake.regional.branches LIMIT 1",
        "SELECT a.id FROM lake.regional.branches a LEFT JOIN lake.regional.branches b ON a.id = b.id + 2 WHERE b.id IS NULL",
    ] {
        if let Some(difference) = compare(sql, &through, &natively, &tally) {
            panic!("{difference}");
        }
    }
    // Trino takes what stands before the star for a table.
    assert_eq!(tally.failed.load(Ordering::Relaxed), 2, "{tally:?}");
    let closed = through.query("SELECT * FROM lake.regional.readers").failure();
    assert!(closed.starts_with("TABLE_NOT_FOUND"), "{closed}");
    // What the policy read is in the audit, and its rows are nowhere.
    let id = through.query("SELECT DISTINCT region FROM lake.regional.branches").id;
    let records = gateway().audit_of(&id, |records| !records.is_empty());
    assert!(records[0].to_string().contains("lake.regional.readers"), "{}", records[0]);
}

/// A condition on a column that is shown as it is reaches the table, so that files are left out as they are natively.
#[test]
fn conditions_prune_files() {
    let through = session(gateway().signed_in("eva"));
    let natively = session(trino().client().user("native"));
    let ranges = |answer: Answer| -> serde_json::Value {
        let plan: serde_json::Value =
            serde_json::from_str(answer.value().as_str().expect("text")).expect("JSON");
        let constraint = &plan["inputTableColumnInfos"][0]["constraint"]["columnConstraints"];
        let of = constraint.as_array().expect("constraints").iter();
        of.filter(|column| column["columnName"] == "ordered_at")
            .map(|column| column["domain"].clone())
            .collect()
    };
    for condition in [
        "ordered_at >= TIMESTAMP '2025-06-01 00:00:00.000000' AND length(status) > 2",
        "ordered_at BETWEEN TIMESTAMP '2025-02-01 00:00:00' AND TIMESTAMP '2025-03-01 00:00:00'",
    ] {
        let sql = format!("SELECT count(*) FROM orders WHERE {condition}");
        let id = through.query(&sql).id;
        let records = gateway().audit_of(&id, |records| !records.is_empty());
        let sent = records[0]["rewritten"].as_str().expect("text");
        let ours = ranges(trino().query(&format!("EXPLAIN (TYPE IO, FORMAT JSON) {sent}")));
        let theirs = ranges(natively.query(&format!("EXPLAIN (TYPE IO, FORMAT JSON) {sql}")));
        assert!(ours.as_array().is_some_and(|found| found.len() == 1), "{sent}: {ours}");
        assert_eq!(ours, theirs, "{sent}");
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rows, failed) = (of(&self.rows), of(&self.failed));
        let (native, ours) = (of(&self.only_native_failed), of(&self.only_ours_failed));
        write!(
            f,
            "{rows} with rows, {failed} failed alike, {native} failed natively alone, {ours} through the gateway alone, on rows \
             that are shown"
        )
    }
}

fn session(client: Client) -> Client {
    let client = client.with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "silver");
    client.with("X-Trino-Session", "query_max_run_time=20s")
}

fn compare(sql: &str, through: &Client, natively: &Client, tally: &Tally) -> Option<String> {
    let (ours, theirs) = (through.query(sql), natively.query(sql));
    let name = |answer: &Answer| answer.error.as_ref().map(|error| error["errorName"].clone());
    match (name(&ours), name(&theirs)) {
        (None, None) => {
            let (ours, theirs) = (sorted(ours), sorted(theirs));
            if !theirs.1.is_empty() {
                tally.rows.fetch_add(1, Ordering::Relaxed);
            }
            let show = |(columns, lines): &(Vec<String>, Vec<String>)| {
                format!("{} rows of {columns:?}: {:?}", lines.len(), lines.iter().take(5).collect::<Vec<_>>())
            };
            (ours != theirs).then(|| format!("{sql}\nours:   {}\nTrino's: {}", show(&ours), show(&theirs)))
        }
        (Some(ours), Some(theirs)) if ours == theirs => {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            None
        }
        // A product of large tables: nothing to compare.
        (Some(error), _) | (_, Some(error)) if error == "EXCEEDED_TIME_LIMIT" => {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            None
        }
        // Trino is free to evaluate a user's condition on rows that a join would drop, and need not do the same with both.
        (Some(error), None) if error == "DIVISION_BY_ZERO" || error == "INVALID_CAST_ARGUMENT" => {
            if fails_without_hidden_rows(&ours) {
                tally.only_ours_failed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Some(format!("{sql}\nours: {:?}, and not where there are no hidden rows", ours.error))
        }
        (None, Some(error)) if error == "DIVISION_BY_ZERO" || error == "INVALID_CAST_ARGUMENT" => {
            tally.only_native_failed.fetch_add(1, Ordering::Relaxed);
            None
        }
        _ => Some(format!("{sql}\nours:   {:?}\nTrino's: {:?}", ours.error, theirs.error)),
    }
}

fn sorted(answer: Answer) -> (Vec<String>, Vec<String>) {
    let columns = answer.columns.clone();
    let mut lines = answer.lines();
    lines.sort_unstable();
    (columns, lines)
}
