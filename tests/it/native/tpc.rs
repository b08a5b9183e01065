//! TPC-H and TPC-DS, with a filter and a mask on every table (`tests/stack/tpc.json`): what comes out of the gateway is
//! what comes out of Trino, which enforces the same for another user.
//!
//! The texts are taken from a published package when the test runs. The limit at their end is left out: it cuts among
//! rows that are equal to its order.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::sorted;
use crate::harness::gateway::{Gateway, Settings};
use crate::harness::process::run_stack;
use crate::harness::{Client, trino};

/// Which of the queries are run: each so-manieth. `TPC_EVERY` says otherwise; what merges is judged by all of them.
const EVERY: usize = 6;
/// At once.
const THREADS: usize = 3;

/// Files of queries, each a statement.
fn queries(folder: &Path, catalog: &str) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the queries").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let mut queries = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a query");
        let name = format!("{catalog} {}", path.file_stem().expect("a name").to_string_lossy());
        let text = text
            .replace("${database}", catalog)
            .replace("${schema}", "tiny")
            .replace("${prefix}", "")
            .replace("${scale}", "1");
        assert!(!text.contains("${"), "{name}: {text}");
        for (number, statement) in text.split(';').map(str::trim).filter(|text| !text.is_empty()).enumerate()
        {
            let (head, last) = statement.rsplit_once('\n').unwrap_or((statement, ""));
            let limited = last.trim().to_uppercase().starts_with("LIMIT ");
            queries.push((format!("{name}.{number}"), if limited { head } else { statement }.to_owned()));
        }
    }
    queries
}

#[test]
#[allow(clippy::print_stdout)] // how many gave rows is worth knowing
fn tpc_h_and_tpc_ds_are_as_trino_has_them() {
    let folder = PathBuf::from(run_stack(&["benchmarks"]).trim()).join("sql/presto");
    let mut all = queries(&folder.join("tpch"), "tpch_decimal");
    assert_eq!(all.len(), 22);
    all.extend(queries(&folder.join("tpcds"), "tpcds"));
    assert!(all.len() >= 22 + 99, "{}", all.len());
    let every = std::env::var("TPC_EVERY").map_or(EVERY, |text| text.parse().expect("a number"));
    let all: Vec<_> = all.into_iter().step_by(every).collect();
    let mut settings = Settings::new();
    settings.policies = vec![("tpc.yaml", run_stack(&["tpc-policies", "strict"]))];
    let gateway = Gateway::start(settings);
    let (next, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let through = session(gateway.signed_in("eva"));
        let natively = session(trino().client().user("native_tpc"));
        let mut differences = String::new();
        while let Some((name, sql)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (ours, theirs) = (through.query(sql), natively.query(sql));
            let failure = |error: &serde_json::Value| error["errorName"].clone();
            match (ours.error.as_ref().map(failure), theirs.error.as_ref().map(failure)) {
                (None, None) => {}
                // Two of TPC-DS divide by a count that is 0 in so little data.
                (Some(ours), Some(theirs)) if ours == theirs && ours == "DIVISION_BY_ZERO" => continue,
                _ => {
                    let _ = writeln!(differences, "{name}: {:?}\n{:?}\n{sql}", ours.error, theirs.error);
                    continue;
                }
            }
            rows.fetch_add(usize::from(!theirs.rows.is_empty()), Ordering::Relaxed);
            let (ours, theirs) = (sorted(ours), sorted(theirs));
            if ours != theirs {
                let count = |(_, lines): &(Vec<String>, Vec<String>)| lines.len();
                let _ = writeln!(differences, "{name}: {} rows and {}\n{sql}", count(&ours), count(&theirs));
            }
        }
        differences
    };
    let differences: String = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let rows = rows.into_inner();
    println!("{} queries of TPC-H and TPC-DS, {rows} with rows", all.len());
    assert!(differences.is_empty(), "{differences}");
    assert!(rows * 2 > all.len(), "only {rows} of {} queries gave rows", all.len());
}

fn session(client: Client) -> Client {
    client.with("X-Trino-Session", "query_max_run_time=120s")
}
