//! What becomes of each kind of statement, by what it touches: `tests/golden/statements.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ANN;
use crate::sql::{Change, Kind, Limits, Other, Statement};

/// One statement of each kind at least; `{t}` is a table.
const SAMPLES: [&str; 79] = [
    "SELECT * FROM {t}",
    "SHOW CATALOGS",
    "SHOW SCHEMAS",
    "SHOW TABLES",
    "SHOW COLUMNS FROM {t}",
    "SHOW FUNCTIONS",
    "SHOW SESSION",
    "SHOW CREATE TABLE {t}",
    "SHOW STATS FOR {t}",
    "SHOW STATS FOR (SELECT * FROM {t})",
    "USE lake.gold",
    "SET SESSION query_max_run_time = '1m'",
    "RESET SESSION query_max_run_time",
    "PREPARE p FROM SELECT * FROM {t}",
    "EXECUTE p",
    "EXECUTE IMMEDIATE 'SELECT * FROM {t}'",
    "DEALLOCATE PREPARE p",
    "DESCRIBE INPUT p",
    "DESCRIBE OUTPUT p",
    "EXPLAIN SELECT * FROM {t}",
    "EXPLAIN (TYPE VALIDATE) SELECT * FROM {t}",
    "EXPLAIN ANALYZE SELECT * FROM {t}",
    "START TRANSACTION",
    "COMMIT",
    "ROLLBACK",
    "INSERT INTO {t} VALUES 1",
    "INSERT INTO lake.sandbox.new SELECT * FROM {t}",
    "CREATE TABLE lake.sandbox.new AS SELECT * FROM {t}",
    "CREATE TABLE lake.sandbox.new (LIKE {t})",
    "DROP TABLE {t}",
    "TRUNCATE TABLE {t}",
    "DELETE FROM {t}",
    "UPDATE {t} SET id = 1",
    "MERGE INTO {t} AS a USING tpch.tiny.nation AS b ON true WHEN MATCHED THEN DELETE",
    "MERGE INTO lake.gold.open AS a USING {t} AS b ON true WHEN MATCHED THEN DELETE",
    "ALTER TABLE {t} RENAME TO lake.gold.new",
    "ALTER TABLE {t} ADD COLUMN x bigint",
    "ALTER TABLE {t} DROP COLUMN x",
    "ALTER TABLE {t} RENAME COLUMN x TO y",
    "ALTER TABLE {t} ALTER COLUMN x SET DATA TYPE bigint",
    "ALTER TABLE {t} SET PROPERTIES format = 'ORC'",
    "ALTER TABLE {t} EXECUTE optimize",
    "COMMENT ON TABLE {t} IS ''",
    "ANALYZE {t}",
    "CREATE VIEW lake.sandbox.new AS SELECT * FROM {t}",
    "ALTER VIEW {t} RENAME TO lake.gold.new",
    "DROP VIEW {t}",
    "CREATE MATERIALIZED VIEW lake.sandbox.new AS SELECT * FROM {t}",
    "REFRESH MATERIALIZED VIEW {t}",
    "DROP MATERIALIZED VIEW {t}",
    "CREATE SCHEMA lake.sandbox",
    "DROP SCHEMA lake.sandbox",
    "ALTER MATERIALIZED VIEW {t} RENAME TO x",
    "ALTER SCHEMA lake.gold RENAME TO x",
    "CALL system.f()",
    "CREATE CATALOG x USING memory",
    "CREATE FUNCTION f() RETURNS bigint RETURN 1",
    "CREATE ROLE x",
    "DENY SELECT ON {t} TO x",
    "DROP CATALOG x",
    "DROP FUNCTION f()",
    "DROP ROLE x",
    "GRANT SELECT ON {t} TO x",
    "RESET SESSION AUTHORIZATION",
    "REVOKE SELECT ON {t} FROM x",
    "ALTER TABLE {t} SET AUTHORIZATION x",
    "SET PATH a.b",
    "SET ROLE admin",
    "SET SESSION AUTHORIZATION x",
    "SET TIME ZONE LOCAL",
    "SHOW CREATE FUNCTION f",
    "SHOW CREATE MATERIALIZED VIEW {t}",
    "SHOW CREATE SCHEMA gold",
    "SHOW CREATE VIEW {t}",
    "SHOW GRANTS ON TABLE {t}",
    "SHOW ROLES",
    "SHOW ROLE GRANTS",
    "TABLE {t}",
    "WITH SESSION query_max_run_time = '1m' SELECT * FROM {t}",
];

/// A table that is seen as it is, one with a filter and a mask, one that a policy denies, and a listing.
const TOUCHED: [(&str, &str); 4] = [
    ("open", "lake.gold.open"),
    ("restricted", "lake.gold.customers"),
    ("denied", "lake.bronze.customers"),
    ("a listing", "lake.information_schema.tables"),
];

/// A number for each kind. A kind that is new does not compile until it has one, and then is missing in the samples.
fn number(kind: &Kind) -> usize {
    match kind {
        Kind::Query => 0,
        Kind::ShowCatalogs { .. } => 1,
        Kind::ShowSchemas { .. } => 2,
        Kind::ShowTables { .. } => 3,
        Kind::ShowColumns { .. } => 4,
        Kind::ShowFunctions => 5,
        Kind::ShowSession => 6,
        Kind::ShowCreateTable => 7,
        Kind::ShowStats => 8,
        Kind::Use { .. } => 9,
        Kind::SetSession { .. } => 10,
        Kind::ResetSession { .. } => 11,
        Kind::Prepare { .. } => 12,
        Kind::Execute { .. } => 13,
        Kind::ExecuteImmediate { .. } => 14,
        Kind::Deallocate { .. } => 15,
        Kind::DescribeInput { .. } => 16,
        Kind::DescribeOutput { .. } => 17,
        Kind::Explain { analyze: false, .. } => 18,
        Kind::Explain { analyze: true, .. } => 19,
        Kind::StartTransaction => 20,
        Kind::Commit => 21,
        Kind::Rollback => 22,
        Kind::Change(change) => match change {
            Change::Insert => 23,
            Change::CreateTableAs { .. } => 24,
            Change::CreateTable { .. } => 25,
            Change::DropTable => 26,
            Change::Truncate => 27,
            Change::Delete => 28,
            Change::Update => 29,
            Change::Merge => 30,
            Change::RenameTable => 31,
            Change::AddColumn { .. } => 32,
            Change::DropColumn => 33,
            Change::RenameColumn { .. } => 34,
            Change::AlterColumn => 35,
            Change::SetProperties { .. } => 36,
            Change::Execute { .. } => 37,
            Change::Comment => 38,
            Change::Analyze => 39,
            Change::CreateView { .. } => 40,
            Change::RenameView => 41,
            Change::DropView => 42,
            Change::CreateMaterializedView { .. } => 43,
            Change::RefreshMaterializedView => 44,
            Change::DropMaterializedView => 45,
            Change::CreateSchema { .. } => 46,
            Change::DropSchema { .. } => 47,
        },
        Kind::Other(other) => 48 + Other::ALL.iter().position(|one| one == other).expect("one of all"),
    }
}

fn outcome(sql: &str) -> String {
    let done = |sent: Result<super::ScopedSql, String>| match sent {
        Err(message) => message.split(':').next().unwrap_or_default().to_owned(),
        Ok(sent) if sent.restricted() => "rewritten".to_owned(),
        Ok(_) => "sent".to_owned(),
    };
    match Statement::parse(sql, &Limits::default()).expect("a sample can be read").kind() {
        Kind::Prepare { inner, .. } => {
            crate::rewrite::check_prepared(inner).expect("can be prepared");
            "kept for the client, judged when it is executed".to_owned()
        }
        Kind::Deallocate { .. } => "answered here".to_owned(),
        _ => done(ANN.send(sql, "SELECT 1")),
    }
}

#[test]
fn every_kind_has_a_rule() {
    let mut text = "# What becomes of each kind of statement\n\nFor somebody who may read all tables but the denied one, \
                    and write to the open one. \"Sent\" is printed anew with full names; \"rewritten\" stands in \
                    derived tables. All else is the name of the error. Written by `UPDATE_GOLDEN=1 cargo test --lib kinds`.\n\n"
        .to_owned();
    let heads: Vec<&str> = TOUCHED.iter().map(|(head, _)| *head).collect();
    let _ = writeln!(text, "| statement | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    let mut seen = BTreeSet::new();
    let mut names = BTreeMap::new();
    for sample in SAMPLES {
        let outcomes: Vec<String> = if sample.contains("{t}") {
            TOUCHED.iter().map(|(_, table)| outcome(&sample.replace("{t}", table))).collect()
        } else {
            vec![outcome(sample); 1]
        };
        let cells = if outcomes.len() == 1 { vec![outcomes[0].clone(); TOUCHED.len()] } else { outcomes };
        let _ = writeln!(text, "| `{}` | {} |", sample.replace("{t}", "t"), cells.join(" | "));
        let statement = Statement::parse(&sample.replace("{t}", "t"), &Limits::default()).expect("read");
        seen.insert(number(statement.kind()));
        names.insert(number(statement.kind()), statement.kind().name());
    }
    let all: BTreeSet<usize> = (0..48 + Other::ALL.len()).collect();
    let missing: Vec<&usize> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "no sample of {missing:?}; there are {names:?}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/statements.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
}
