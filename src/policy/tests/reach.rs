//! Sign-ins for which there are only some of the catalogs.

use std::collections::BTreeSet;

use super::*;

const DOCUMENT: &str = "defaults: {d: allow}\npolicies:\n  - {name: p, who: {users: [ann]}, tables: [\"*.*.*\"], allow: true, write: true}\n";

fn ann(catalogs: &[&str]) -> Principal {
    let catalogs: BTreeSet<String> = catalogs.iter().map(ToString::to_string).collect();
    user("ann", &[]).within(Some(Arc::new(catalogs)))
}

#[test]
fn what_is_out_of_reach_is_as_what_no_policy_allows() {
    let set = set(DOCUMENT);
    let nobody = user("nobody", &[]);
    for (catalog, other) in [("c", "d"), ("d", "c")] {
        let (here, there) =
            (table(&format!("{catalog}.s.t"), "id bigint"), table(&format!("{other}.s.t"), "id bigint"));
        let reader = ann(&[catalog]);
        let decided = |principal: &Principal, relation: &Arc<Described>| {
            set.decide(principal, std::slice::from_ref(relation)).map(drop)
        };
        assert_eq!(decided(&reader, &here), Ok(()));
        assert_eq!(set.check_name(&reader, &here.name), Ok(()));
        let denial = Err(Denial::NotAllowed(there.name.clone()));
        assert_eq!(decided(&reader, &there), denial);
        assert_eq!(set.check_name(&reader, &there.name), denial);
        let write = |described: &Arc<Described>| {
            let mut permit = set.decide(&reader, &[]).expect("nothing is read");
            let target = Target {
                name: &described.name,
                expected: RelationKind::Table,
                existing: None,
                ruling: None,
                granted: None,
            };
            set.permit_write(&mut permit, &reader, &target)
        };
        assert_eq!(write(&here), Ok(()));
        assert_eq!(write(&there), denial);
        let mut permit = set.decide(&reader, &[]).expect("nothing is read");
        assert!(set.permit_schema(&mut permit, &reader, catalog, "new", None).is_ok());
        assert!(set.permit_schema(&mut permit, &reader, other, "new", None).is_err());
        assert!(set.permit_schema(&mut permit, &reader, other, "new", Some(true)).is_err());

        let visibility = set.visibility(&reader);
        assert!(visibility.catalog_may_be_seen(catalog) && !visibility.catalog_may_be_seen(other));
        for schema in ["s", "information_schema"] {
            assert!(visibility.schema_may_be_seen(catalog, schema), "{schema}");
            assert!(!visibility.schema_may_be_seen(other, schema), "{schema}");
        }
        assert!(
            !visibility.all_catalogs_may_be_seen()
                && set.visibility(&user("ann", &[])).all_catalogs_may_be_seen()
        );
        let only = format!(" AND k IN ('{catalog}')");
        for predicate in [
            visibility.catalogs_predicate("k"),
            visibility.schemas_predicate("k", "s"),
            visibility.tables_predicate("k", "s", "t"),
            visibility.columns_predicate("k", "s", "t", "c"),
        ] {
            // Each of the ways in which a row may be listed has it.
            assert!(
                predicate.matches(&only).count() >= predicate.matches(" OR (").count().max(1),
                "{predicate}"
            );
        }
        assert!(decided(&nobody.clone().within(Some(Arc::default())), &table("c.s.t", "id bigint")).is_err());
    }
}

#[test]
fn what_a_policy_reads_is_not_out_of_its_reach() {
    let set = set(
        "policies:\n  - {name: p, who: {users: [ann]}, tables: [c.s.t], allow: true, row_filter: \"id IN (SELECT m.id FROM \
         d.s.m m)\"}\n  - {name: m, who: {users: [ann]}, tables: [d.s.m], allow: true}\n",
    );
    let map = table("d.s.m", "id bigint");
    let behind =
        Behind { read_by_policies: [(map.name.clone(), Arc::clone(&map))].into(), ..Behind::default() };
    let decided = set.decide_through(&ann(&["c"]), &[table("c.s.t", "id bigint")], &behind, &salt());
    assert!(shown(&decided).contains("where"), "{}", shown(&decided));
    let itself = set.decide_through(&ann(&["c"]), &[map], &behind, &salt());
    assert!(itself.is_err(), "{}", shown(&itself));
}
