//! What stands in place of a relation.

use super::ANN;

/// T13: the shape that was measured to be a barrier.
#[test]
fn t13_filters_are_guarded() {
    let sent = ANN.shown("SELECT *, CAST(name AS bigint) FROM customers");
    assert_eq!(
        sent,
        "[restricted] SELECT *, CAST(name AS bigint) FROM (SELECT IF(\"northgate_t\".\"northgate_guard\", \
         \"northgate_t\".\"id\") AS \"id\", IF(\"northgate_t\".\"northgate_guard\", \"northgate_t\".\"name\") AS \
         \"name\", IF(\"northgate_t\".\"northgate_guard\", CAST(NULL AS varchar(11))) AS \"ssn\", \
         IF(\"northgate_t\".\"northgate_guard\", \"northgate_t\".\"region\") AS \"region\" FROM (SELECT \
         \"northgate_t\".\"id\" AS \"id\", \"northgate_t\".\"name\" AS \"name\", \"northgate_t\".\"region\" AS \
         \"region\", system.builtin.random() < 2 AS \"northgate_guard\" FROM \"lake\".\"gold\".\"customers\" AS \
         \"northgate_t\" WHERE (\"northgate_t\".\"region\" = 'EU') AND \
         coalesce((\"northgate_t\".\"region\" = 'EU'), false)) AS \"northgate_t\") AS \"customers\""
    );
}

/// T13: where all filters of a table say `standard`, Trino may look through; the filter still sees raw rows, and the
/// masks come behind it.
#[test]
fn t13_standard_isolation_has_no_guard() {
    let sent = ANN.shown("SELECT * FROM plain WHERE id = 1");
    assert_eq!(
        sent,
        "[restricted] SELECT * FROM (SELECT \"northgate_t\".\"id\" AS \"id\", CAST(NULL AS varchar) AS \"region\", \
         \"northgate_t\".\"ssn\" AS \"ssn\" FROM \"lake\".\"gold\".\"plain\" AS \"northgate_t\" WHERE \
         (\"northgate_t\".\"region\" = 'EU')) AS \"plain\" WHERE id = 1"
    );
    assert!(ANN.shown("SELECT id FROM plain TABLESAMPLE SYSTEM (10)").contains("TABLESAMPLE"));
}

/// T2, T11: what a policy's sub-query reads stands in a derived table of its own, under names that are not the user's,
/// and is not to be read by the user.
#[test]
fn t2_t11_policies_read_other_tables() {
    let sent = ANN.shown("SELECT id FROM mapped");
    let filter = sent.split(" WHERE (").nth(1).expect("a filter").to_owned();
    assert_eq!(
        filter + " WHERE (" + sent.split(" WHERE (").nth(2).expect("a second"),
        "\"northgate_t\".\"region\" IN (SELECT \"northgate_t_0\".\"region\" FROM (SELECT \"northgate_t_0\".\"reader\" AS \
         \"reader\", \"northgate_t_0\".\"region\" AS \"region\", \"northgate_t_0\".\"m\" AS \"m\" FROM \
         \"lake\".\"bronze\".\"map\" AS \"northgate_t_0\" WHERE (\"northgate_t_0\".\"m\" = 1)) AS \"northgate_t_0\" WHERE \
         \"northgate_t_0\".\"reader\" = 'ann' ))) AS \"northgate_t\") AS \"mapped\""
    );
    assert!(ANN.shown("SELECT * FROM lake.bronze.map").contains("does not exist"));
    assert!(ANN.shown("SELECT * FROM mapped, lake.bronze.map").contains("does not exist"));
    // The names that stand in the statement are not used.
    let other = ANN.shown("SELECT northgate_t_0.id FROM mapped AS northgate_t_0");
    assert!(other.contains("\"northgate_t1_0\".\"reader\""), "{other}");
}

/// A derived table has the columns that the statement can name.
#[test]
fn columns_that_are_not_named_are_left_out() {
    let check = |sql: &str, expect: &[&str]| {
        let sent = ANN.shown(sql);
        let list = sent.split(" FROM \"lake\".\"gold\".\"cards\"").next().expect("a list");
        let list = list.rsplit("(SELECT ").next().expect("a list");
        let columns: Vec<&str> =
            list.split(" AS \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(columns, expect, "{sql}: {sent}");
    };
    check("SELECT count(*), 2 * 3 FROM cards", &["number"]);
    check("SELECT SSN FROM cards", &["ssn"]);
    check("SELECT \"Number\" FROM cards ORDER BY ssn", &["number", "ssn"]);
    check("SELECT c.ssn FROM cards AS c WHERE (c.ssn = 'x')", &["ssn"]);
    check("SELECT b FROM cards AS c (a, b)", &["number", "ssn"]);
    check("SELECT b FROM cards c (a, b)", &["number", "ssn"]);
    check("SELECT 1, * FROM cards", &["number", "ssn"]);
    check("SELECT DISTINCT * FROM cards", &["number", "ssn"]);
    check("SELECT cards.* FROM cards", &["number", "ssn"]);
    check("SELECT ssn FROM cards NATURAL JOIN open", &["number", "ssn"]);
    check("SELECT ssn FROM open CROSS JOIN (TABLE cards)", &["number", "ssn"]);
    check("SELECT 1 FROM cards JOIN open USING (ssn)", &["ssn"]);
    check("SELECT 1 FROM open WHERE EXISTS (SELECT 1 FROM cards WHERE ssn = open.id)", &["ssn"]);
}
