//! What stands in place of a relation.

use super::ANN;

/// T13: the shape that was measured to be a barrier.
#[test]
fn t13_filters_are_guarded() {
    let sent = ANN.shown("SELECT CAST(name AS bigint) FROM customers");
    assert_eq!(
        sent,
        "[restricted] SELECT CAST(name AS bigint) FROM (SELECT IF(\"northgate_t\".\"northgate_guard\", \
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
    let sent = ANN.shown("SELECT id FROM plain WHERE id = 1");
    assert_eq!(
        sent,
        "[restricted] SELECT id FROM (SELECT \"northgate_t\".\"id\" AS \"id\", CAST(NULL AS varchar) AS \"region\", \
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
