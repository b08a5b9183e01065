//! Conditions of the user's that are copied in front of the barrier.

use super::*;

/// T13: what of a user's conditions stands before the barrier: comparisons with literals of columns that are shown as
/// they are, which cannot fail.
#[test]
fn t13_conditions_that_prune_files() {
    let check = |from_where: &str, expect: &str| {
        let sent = ANN.shown(&format!("SELECT 1 FROM {from_where}"));
        let filter = if from_where.starts_with("events") { "\"id\" > 0" } else { "\"region\" = 'EU'" };
        let rest = sent.split(&format!("{filter}), false)")).nth(1).unwrap_or(&sent);
        let copied = rest.split(") AS \"northgate_t\"").next().unwrap_or_default();
        assert_eq!(copied.replace("\"northgate_t\".", ""), expect, "{from_where}: {sent}");
    };
    check("customers WHERE id = 1", " AND \"id\" = 1");
    // The common type would not hold all values.
    check("customers WHERE id IN (5, 0.00000000000000000000000000000000000002)", "");
    check("customers WHERE id = 12345678901234567890", "");
    // Nothing behind what is not a literal.
    check("events WHERE at = now AND id = 1", " AND \"id\" = 1");
    check("events WHERE at = at", "");
    check("events WHERE at <= current_timestamp", "");
    check("events WHERE at BETWEEN TIMESTAMP '2020-01-01 00:00:00' AND x", "");
    check(
        "customers WHERE ID >= -1.5 AND name IN ('a', 'b')",
        " AND \"id\" >= -1.5 AND \"name\" IN ('a', 'b')",
    );
    check(
        "customers WHERE id BETWEEN 1 AND 2 AND Region <> 'x'",
        " AND \"id\" BETWEEN 1 AND 2 AND \"region\" <> 'x'",
    );
    check("customers c WHERE c.id < 1e3 AND x.id = 1", " AND \"id\" < 1e3");
    check("customers WHERE gold.customers.id = 1", "");
    check("customers c JOIN open o ON o.id = c.id WHERE c.id = 1 AND o.id = 2 AND id = 3", " AND \"id\" = 1");
    check("open o LEFT JOIN customers c ON o.id = c.id WHERE c.name LIKE 'a%'", " AND \"name\" LIKE 'a%'");
    check(
        "open o, customers AS c WHERE c.name LIKE 'a\\%' ESCAPE '\\'",
        " AND \"name\" LIKE 'a\\%' ESCAPE '\\'",
    );
    check("customers WHERE 1 = id", " AND 1 = \"id\"");
    check("customers c WHERE 'a' <= c.name AND 2 > c.id", " AND 'a' <= \"name\" AND 2 > \"id\"");
    check("customers WHERE id = 1 OR id = 2", " AND (\"id\" = 1 OR \"id\" = 2)");
    check(
        "customers WHERE ((id = 1 OR (name = 'a'))) AND id BETWEEN 1 AND 2 AND (id = 3)",
        " AND (\"id\" = 1 OR \"name\" = 'a') AND \"id\" BETWEEN 1 AND 2 AND \"id\" = 3",
    );
    check("customers WHERE id BETWEEN 1 AND 2 OR id = 5", " AND (\"id\" BETWEEN 1 AND 2 OR \"id\" = 5)");
    check("customers WHERE id = 1 AND name = 'a' OR id = 2", "");
    check(
        "events WHERE at >= DATE '2020-01-01' AND at < DATE '2020-01-01' + INTERVAL '1' MONTH",
        " AND \"at\" >= DATE '2020-01-01' AND \"at\" < DATE '2020-01-01' + INTERVAL '1' MONTH",
    );
    check(
        "events WHERE day BETWEEN DATE '2020-01-31' - INTERVAL '2' YEAR AND DATE '2020-01-31' AND DATE '2020-01-01' > at",
        " AND \"day\" BETWEEN DATE '2020-01-31' - INTERVAL '2' YEAR AND DATE '2020-01-31' AND DATE '2020-01-01' > \"at\"",
    );
    check("events WHERE at > TIMESTAMP '2020-01-01 00:00:00 UTC'", "");
    // What is masked, may fail, may be true of NULL, or may be of another relation stays behind it.
    for other in [
        "customers WHERE ssn = '1'",
        "customers WHERE secret = '1'",
        "customers WHERE id = 1 OR ssn = '1'",
        "customers WHERE id = 1 OR 1 / 0 = 1",
        "customers WHERE id = 1 OR id IS NULL",
        "customers c JOIN open o ON true WHERE c.id = 1 OR o.id = 2",
        "customers WHERE 1 / 0 = id",
        "customers WHERE (id = 1) = true",
        "customers WHERE (id = 1) OR (name)",
        "events WHERE at < DATE '2020-01-01' + INTERVAL '1' SECOND",
        "events WHERE at < DATE '2020-01-01' + INTERVAL '99999' YEAR",
        "events WHERE at < DATE '9999-12-31' + INTERVAL '1' DAY",
        "events WHERE at < DATE '2020-01-01' + INTERVAL -'1' DAY",
        "events WHERE at < DATE '2020-01-01' + x",
        "customers WHERE id IS NULL",
        "customers WHERE NOT id = 1",
        "customers WHERE id = CAST(name AS bigint)",
        "customers WHERE id = 1 / 0",
        "customers WHERE id + 1 = 1",
        "customers WHERE id = ?",
        "customers WHERE id = name",
        "customers WHERE id IN (1, name)",
        "customers WHERE id IN (SELECT 1)",
        "customers WHERE id = '1'",
        "customers WHERE name = 1",
        "customers WHERE name LIKE 'a\\x' ESCAPE '\\'",
        "customers WHERE name LIKE 'a' ESCAPE 'xy'",
        "customers WHERE CASE WHEN id = 1 AND name = 'a' THEN true END",
        "customers c (id, name, ssn, region) WHERE c.id = 1",
        "customers MATCH_RECOGNIZE (MEASURES 1 AS id PATTERN (a) DEFINE a AS true) WHERE id = 1",
        "(customers c CROSS JOIN open) AS c WHERE c.id = 1",
        "customers c CROSS JOIN open WHERE id = 1",
        "(SELECT * FROM customers) c WHERE c.id = 1",
    ] {
        check(other, "");
    }
}

/// T13: none for a view. Below its grouping Trino would evaluate them and a condition without columns, and the filter above.
#[test]
fn t13_no_conditions_for_views() {
    let sent = ANN.shown("SELECT count(*) FROM cells WHERE name = 'a' AND 1 / 0 = 1");
    assert!(sent.contains(r#"coalesce(("northgate_t"."n" >= 10), false)) AS "northgate_t""#), "{sent}");
}
