//! Each of the bank's people, by the policies that the repository ships, on the real Trino with the bank: how many rows they
//! see, and what of a cell.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::issuer::{Key, claims, write_jwks};
use crate::harness::{Gateway, Settings, repository, trino};

/// Customer 1 is Bruno Costa of the EU.
const ONE: &str = "SELECT name, email, ssn, date_of_birth FROM lake.silver.customers WHERE id = 1";
const AS_IT_IS: &str = "Bruno Costa|bruno.costa1@example.com|901-07-7919|1950-04-14";
const MASKED: &str = "Bruno Costa|xxxxx.xxxxxn@xxxxxxx.xxx|nnn-nn-7919|1950-01-01";
/// What a table says that somebody may not see.
const NONE: &str = "TABLE_NOT_FOUND";

/// Who they are, by their groups.
const PEOPLE: [(&str, &[&str]); 8] = [
    ("eva", &["eu-analysts"]),
    ("emil", &["engineers"]),
    ("cara", &["compliance"]),
    ("aude", &["auditors"]),
    ("sam", &["support"]),
    ("svc-dbt", &["pipelines"]),
    ("svc-fraud", &[]),
    ("guest", &[]),
];

/// Who asks what, and the rows, or the beginning of the error.
const SEEN: [(&str, &str, &str); 33] = [
    // An analyst: her region, masked, also through a view; neither what is raw nor what else there is.
    ("eva", "SELECT count(*), count(DISTINCT region) FROM lake.silver.customers", "120|1"),
    ("eva", ONE, MASKED),
    ("eva", "SELECT count(*), max(email) LIKE '%@xxxxxxx.xxx' FROM lake.gold.customer_directory", "120|true"),
    ("eva", "SELECT count(*) FROM lake.gold.region_revenue WHERE region <> 'EU'", "0"),
    ("eva", "SELECT count(*) FROM lake.bronze.customers", NONE),
    ("eva", "DELETE FROM lake.silver.orders", "PERMISSION_DENIED"),
    // An engineer: all regions, masked; the figures are theirs to write, people are not.
    ("emil", "SELECT count(*), count(DISTINCT region) FROM lake.silver.customers", "240|3"),
    ("emil", ONE, MASKED),
    ("emil", "DELETE FROM lake.gold.region_revenue WHERE region = 'none'", "0"),
    ("emil", "UPDATE lake.gold.customers SET email = NULL WHERE id = 0", "PERMISSION_DENIED"),
    ("emil", "SELECT count(*) FROM lake.bronze.customers", NONE),
    // Compliance: everything, as it is.
    ("cara", "SELECT count(*), count(DISTINCT region) FROM lake.bronze.customers", "240|3"),
    ("cara", ONE, AS_IT_IS),
    ("cara", "SELECT max(email) LIKE '%@example.com' FROM lake.gold.customer_directory", "true"),
    ("cara", "DELETE FROM lake.silver.orders", "PERMISSION_DENIED"),
    // Who audits the gateway sees no table for it.
    ("aude", "SELECT count(*) FROM lake.silver.customers", NONE),
    ("aude", "SHOW TABLES FROM lake.silver", "CATALOG_NOT_FOUND"),
    // Support: who waits, with their address, without their money.
    ("sam", "SELECT count(*) FROM lake.silver.customers", "="),
    ("sam", "SELECT count(*), min(status), max(status) FROM lake.silver.orders", "="),
    (
        "sam",
        "SELECT count_if(email LIKE '%@example.com') > 0, count_if(ssn NOT LIKE 'nnn-nn-%'), \
         max(date_of_birth) = date_trunc('year', max(date_of_birth)) FROM lake.silver.customers",
        "true|0|true",
    ),
    ("sam", "SELECT balance FROM lake.silver.customers", "COLUMN_NOT_FOUND"),
    ("sam", "SELECT amount FROM lake.silver.orders", "COLUMN_NOT_FOUND"),
    ("sam", "SELECT count(*) FROM lake.gold.customers", NONE),
    // A job that carries data: as it is, and no further than it carries it.
    ("svc-dbt", "SELECT count(*), min(ssn) LIKE '9%' FROM lake.bronze.customers", "240|true"),
    ("svc-dbt", ONE, AS_IT_IS),
    ("svc-dbt", "DELETE FROM lake.silver.orders WHERE id = 0", "0"),
    ("svc-dbt", "DELETE FROM lake.bronze.orders WHERE id = 0", "PERMISSION_DENIED"),
    // The fraud model: all payments, cards by a hash.
    ("svc-fraud", "SELECT count(*), count(DISTINCT card_number) FROM lake.silver.card_payments", "="),
    (
        "svc-fraud",
        "SELECT count_if(regexp_like(card_number, '^[0-9a-f]{64}$')) = count(*) FROM lake.silver.card_payments",
        "true",
    ),
    ("svc-fraud", "SELECT count(*) FROM lake.silver.customers", NONE),
    // Everybody else: the benchmark's tables.
    ("guest", "SELECT count(*) FROM lake.silver.orders", NONE),
    ("guest", "SHOW SCHEMAS FROM lake", "CATALOG_NOT_FOUND"),
    ("guest", "SELECT count(*) FROM tpch.tiny.nation", "25"),
];

/// What Trino itself says where a policy of theirs is more than a number: the same for the rows that they may see.
fn expected(who: &str, sql: &str) -> String {
    let open = "FROM lake.silver.orders WHERE status = 'open'";
    let sql = match (who, sql) {
        ("sam", "SELECT count(*) FROM lake.silver.customers") => {
            format!("SELECT count(DISTINCT customer_id) {open}")
        }
        ("sam", sql) => sql.replace("FROM lake.silver.orders", open),
        (_, sql) => sql.to_owned(),
    };
    trino().query(&sql).lines().concat()
}

#[test]
fn each_of_the_banks_people_sees_what_the_policies_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, jwks) = (Key::new("one"), folder.path().join("jwks.json"));
    write_jwks(&jwks, &[&key]);
    let mut settings = Settings::new();
    settings.policies.clear();
    settings.more = format!(
        "[[identity.jwt]]\nissuer = 'https://issuer.example'\naudiences = ['northgate']\njwks_file = '{}'\n\
         user_claim = 'sub'\ngroups_claim = 'groups'\n",
        jwks.display()
    );
    let shipped = fs::read_dir(repository().join("policies")).expect("the documents").flatten();
    for path in
        shipped.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "yaml"))
    {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        settings.policies.push((name.leak(), fs::read_to_string(&path).expect("a document")));
    }
    let gateway = Gateway::start(settings);

    let groups = |who: &str| PEOPLE.iter().find(|(name, _)| *name == who).expect("one of them").1;
    let mut wrong = Vec::new();
    for (who, sql, expect) in SEEN {
        let answer = gateway.client().bearer(&key.sign(&claims(who, groups(who)))).query(sql);
        let got = if answer.error.is_some() { answer.failure() } else { answer.lines().join("\n") };
        let is_right = match expect {
            "=" => got == expected(who, sql),
            NONE | "CATALOG_NOT_FOUND" | "COLUMN_NOT_FOUND" | "PERMISSION_DENIED" => {
                got.starts_with(&format!("{expect}: "))
            }
            _ => got == expect,
        };
        if !is_right {
            wrong.push(format!("{who}: {sql}\n  {got}\n  instead of {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Nobody of whom the documents' own cases speak is left out.
    let cases = fs::read_to_string(repository().join("policies/tests/bank.yaml")).expect("the cases");
    let (_, named) = cases.split_once("\nprincipals:\n").expect("principals");
    let named =
        named.lines().map_while(|line| line.strip_prefix("  ")?.split_once(':').map(|(name, _)| name));
    let seen: BTreeSet<_> = SEEN.iter().map(|(who, ..)| *who).collect();
    assert_eq!(named.collect::<BTreeSet<_>>(), seen);
}
