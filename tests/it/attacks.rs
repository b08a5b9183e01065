//! The attacker's suite: statements by category, what becomes of each and why (`tests/golden/attacks`).
//!
//! All are `eva`'s. Whatever becomes of one, no value that is hidden from her may be in the answer: every number,
//! address and card of every customer, and the names of those whom only others may see.
//! `UPDATE_GOLDEN=1` writes what happened.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::harness::{Client, gateway, trino};

/// The values that no answer may have.
fn hidden() -> BTreeSet<String> {
    let rows = trino().query(
        "SELECT ssn FROM lake.bronze.customers UNION SELECT lower(trim(email)) FROM lake.bronze.customers WHERE email \
         IS NOT NULL UNION SELECT card_number FROM lake.bronze.card_payments UNION (SELECT name FROM \
         lake.bronze.customers WHERE region <> 'EU' EXCEPT SELECT name FROM lake.bronze.customers WHERE region = 'EU')",
    );
    let values = rows.rows().into_iter().map(|row| row[0].as_str().expect("text").to_owned()).collect();
    let values: BTreeSet<String> = values;
    assert!(values.len() > 500, "{}", values.len());
    values
}

/// What became of a statement: an error's name, or how many rows there were, of which columns.
fn outcome(eva: &Client, sql: &str, hidden: &BTreeSet<String>) -> String {
    let answer = eva.query(sql);
    let everything = answer.everything().to_lowercase();
    for value in hidden {
        // What the user wrote themselves may come back.
        assert!(
            !everything.contains(&value.to_lowercase()) || sql.to_lowercase().contains(&value.to_lowercase()),
            "{sql} gave away {value}: {everything}"
        );
    }
    if let Some(error) = &answer.error {
        return error["errorName"].as_str().expect("a name").to_owned();
    }
    // What there is to list changes while other tests run.
    let listing = ["SHOW ", "information_schema.", "system.metadata.", "system.jdbc."];
    let many = if listing.iter().any(|word| sql.contains(word)) && !answer.rows.is_empty() {
        "some".to_owned()
    } else {
        answer.rows.len().to_string()
    };
    format!("{many} of {}", answer.columns.join(", "))
}

#[test]
fn attacks_end_as_is_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/attacks");
    let eva = gateway().signed_in("eva").with("X-Trino-Catalog", "lake").with("X-Trino-Schema", "silver");
    let hidden = hidden();
    let (mut count, mut wrong) = (0, String::new());
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("read");
        let mut written = String::new();
        let mut sql = "";
        for line in text.lines() {
            match line.strip_prefix("  -> ") {
                None => {
                    sql = line;
                    let _ = writeln!(written, "{line}");
                }
                Some(expect) => {
                    count += 1;
                    // Two characters are written by their names.
                    let sent = sql.replace("{CR}", "\r").replace("{NUL}", "\0");
                    let got = outcome(&eva, &sent, &hidden);
                    let _ = writeln!(written, "  -> {got}");
                    if got != expect {
                        let _ = writeln!(wrong, "{sql}\n  is written to be {expect}, and is {got}");
                    }
                }
            }
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, written).expect("written");
        }
    }
    assert!(count >= 200, "only {count} statements");
    assert!(wrong.is_empty() || std::env::var_os("UPDATE_GOLDEN").is_some(), "{wrong}");
}
