//! Sub-queries, and masks of fields.

use super::*;

const TABLES: [(&str, &str); 4] = [
    ("c.s.t", "id bigint, region varchar, at timestamp(3)"),
    ("c.m.regions", "reader varchar, region varchar, note varchar"),
    ("c.m.closed", "reader varchar, code varchar"),
    ("c.m.dated", "day timestamp(3), code varchar"),
];

/// The decision about `c.s.t` for `ann`, with a filter, and more policies.
fn decide(filter: &str, more: &str) -> String {
    let text = format!(
        "policies:\n  - name: t\n    who: {{users: [ann]}}\n    tables: [c.s.t]\n    allow: true\n    row_filter: \
         \"{filter}\"\n{more}"
    );
    let set = set(&text);
    let ann = user("ann", &[]);
    let t = table(TABLES[0].0, TABLES[0].1);
    let mut behind = Behind::default();
    for (name, _) in set.read_by_policies(&ann, [&t.name].into_iter()) {
        if let Some((_, columns)) = TABLES.iter().find(|(known, _)| *known == name.to_string()) {
            behind.read_by_policies.insert(name.clone(), table(&name.to_string(), columns));
        }
    }
    shown(&set.decide_through(&ann, &[t], &behind, &salt()))
}

const READERS: &str = "  - {name: m, who: {users: [ann]}, tables: [c.m.regions, c.m.dated], allow: true}\n";
const CLOSED: &str = "    run_as: {user: keeper}\n  - {name: k, who: {users: [keeper]}, tables: [c.m.closed], \
                      allow: true, row_filter: code > 'a'}\n";

#[test]
fn they_are_bound_to_one_table_each() {
    let check = |filter: &str, more: &str, expect: &str| {
        let decision = decide(filter, more);
        let line = decision.lines().find(|line| line.contains("where")).unwrap_or(&decision);
        assert_eq!(line.trim(), expect, "{filter}");
    };
    check(
        "EXISTS (SELECT 1 FROM c.m.regions m WHERE m.region = t.region AND reader = current_user)",
        READERS,
        "where EXISTS (SELECT 1 FROM (c.m.regions where []) AS \"t_0\" WHERE \"t_0\".\"region\" = \
         \"t\".\"region\" AND \"t_0\".\"reader\" = 'ann' )",
    );
    check(
        "region IN (SELECT r.region FROM c.m.regions AS r JOIN c.m.dated ON code = r.note GROUP BY r.region HAVING \
         count(*) > 1)",
        READERS,
        "where \"t\".\"region\" IN (SELECT \"t_0\".\"region\" FROM (c.m.regions where []) AS \"t_0\" JOIN \
         (c.m.dated where []) AS \"t_1\" ON \"t_1\".\"code\" = \"t_0\".\"note\" GROUP BY \
         \"t_0\".\"region\" HAVING system.builtin.count (*) > 1)",
    );
    check(
        "id > (SELECT max(length(code)) FROM c.m.closed WHERE NOT EXISTS (SELECT * FROM c.m.regions WHERE \
         regions.region = closed.code))",
        &format!("{CLOSED}  - {{name: r, who: {{users: [keeper]}}, tables: [c.m.regions], allow: true}}\n"),
        "where \"t\".\"id\" > (SELECT system.builtin.max ( system.builtin.length ( \"t_0\".\"code\" )) FROM \
         (c.m.closed where [\"t_0\".\"code\" > 'a']) AS \"t_0\" WHERE NOT EXISTS (SELECT * FROM (c.m.regions \
         where []) AS \"t_1\" WHERE \"t_1\".\"region\" = \"t_0\".\"code\" ))",
    );
}

#[test]
fn the_time_zone_of_what_they_read_is_pinned() {
    let zone = |filter: &str| decide(filter, READERS).contains("in UTC");
    assert!(zone("region IN (SELECT code FROM c.m.dated WHERE day > DATE '2020-01-01')"));
    assert!(!zone("region IN (SELECT code FROM c.m.dated)"));
}

#[test]
fn what_cannot_be_read_surely_is_refused() {
    let check = |filter: &str, more: &str, expect: &str| {
        let decision = decide(filter, more);
        assert!(decision.contains(expect), "{filter}: {decision}");
    };
    let in_regions = "region IN (SELECT m.region FROM c.m.regions m)";
    check(in_regions, "", "ann cannot read c.m.regions: no policy allows c.m.regions");
    check(in_regions, CLOSED, "keeper cannot read c.m.regions");
    check("id IN (SELECT 1 FROM c.m.missing)", READERS, "it reads c.m.missing, which is not there");
    // What would be another column's when the table gets one of that name.
    check("id IN (SELECT 1 FROM c.m.regions WHERE region = note)", READERS, "region may be one of several");
    check("id IN (SELECT 1 FROM c.m.regions WHERE x = note)", READERS, "there is no column \"x\"");
    check("id IN (SELECT 1 FROM c.m.regions m WHERE regions.note = '')", READERS, "no column \"regions\"");
    let through = "  - {name: m, who: {users: [ann]}, tables: [c.m.regions], allow: true, row_filter: \"note IN (SELECT \
                   t.region FROM c.s.t)\"}\n";
    check(in_regions, through, "its policies would have to be applied within themselves");
}

#[test]
fn they_have_one_shape() {
    let check = |filter: &str, expect: &str| {
        let found = errors(&format!(
            "policies:\n  - name: t\n    who: {{users: [ann]}}\n    tables: [c.s.t]\n    allow: true\n    \
             row_filter: \"{filter}\"\n"
        ));
        assert!(found.contains(expect), "{filter}: {found}");
    };
    for (query, expect) in [
        ("SELECT 1 FROM m", "with catalog and schema"),
        ("SELECT 1 FROM s.m", "with catalog and schema"),
        ("SELECT 1 FROM c.s.\\\"m$files\\\"", "whose name it cannot"),
        ("SELECT x.a FROM (SELECT a FROM c.s.m) x", "not other queries"),
        ("WITH m AS (SELECT 1) SELECT 1 FROM c.s.m", "without WITH"),
        ("SELECT 1 FROM c.s.m ORDER BY 1", "without ORDER"),
        ("SELECT 1 FROM c.s.m LIMIT 1", "without LIMIT"),
        ("SELECT 1 FROM c.s.m UNION SELECT 1 FROM c.s.n", "without UNION"),
        ("SELECT 1 FROM c.s.m JOIN c.s.n USING (a)", "without USING"),
        ("SELECT 1 FROM c.s.m NATURAL JOIN c.s.n", "without NATURAL"),
        ("SELECT 1 FROM UNNEST(ARRAY[1])", "without UNNEST"),
        ("VALUES 1", "without VALUES"),
        ("TABLE c.s.m", "without TABLE"),
        ("SELECT 1 FROM c.s.m TABLESAMPLE SYSTEM (1)", "as it is, in FROM"),
        ("SELECT 1 FROM c.s.m FOR VERSION AS OF 1", "as it is, in FROM"),
        ("SELECT 1 FROM c.s.m x (a)", "does not rename"),
        ("SELECT rank() OVER (PARTITION BY a) FROM c.s.m", "OVER goes with"),
        ("SELECT 1 FROM c.s.t x", "which it is itself about"),
    ] {
        check(&format!("id IN ({query})"), expect);
    }
    check("max(id) IN (SELECT 1 FROM c.s.m)", "max looks at many rows");
    let alone = "policies: [{name: t, who: {users: [ann]}, tables: [c.s.t], allow: true, run_as: {user: k}}]";
    assert!(errors(alone).contains("run_as goes with a sub-query"));
}

/// Masks of fields: the row, the array or the map around them is built anew.
#[test]
fn masks_of_fields() {
    let profile = "row(ssn varchar,address row(city varchar,zip varchar),phones array(row(number varchar,kind varchar)))";
    let columns = format!(
        "id bigint, profile {profile}, notes map(varchar,varchar), tags array(varchar), odd row(a b c)"
    );
    let decide = |masks: &str| {
        let text = format!(
            "policies: [{{name: p, who: {{users: ['*']}}, tables: [c.s.t], allow: true, column_masks: [{masks}]}}]"
        );
        shown(&set(&text).decide_with(&user("ann", &[]), &[table("c.s.t", &columns)], &salt()))
    };
    let check = |masks: &str, expect: &str| {
        let decision = decide(masks);
        assert!(decision.contains(expect), "{masks}: {decision}");
    };
    check(
        "{columns: [Profile.SSN], action: replace-with-null}",
        "  profile = IF(\"t\".\"profile\" IS NOT NULL, CAST(ROW(CAST(NULL AS varchar), \"t\".\"profile\"[2], \
         \"t\".\"profile\"[3]) AS row(\"ssn\" varchar, \"address\" row(\"city\" varchar, \"zip\" varchar), \"phones\" \
         array(row(\"number\" varchar, \"kind\" varchar)))))\n",
    );
    check(
        "{columns: [profile.address.zip], sql: 'concat(substr(profile.address.zip, 1, 1), cast(id as varchar))'}",
        "\"t\".\"profile\"[1], IF(\"t\".\"profile\"[2] IS NOT NULL, CAST(ROW(\"t\".\"profile\"[2][1], \
         CAST(system.builtin.concat ( system.builtin.substr",
    );
    check(
        "{columns: [profile.phones.element.number], action: replace-with-null}",
        "system.builtin.transform(\"t\".\"profile\"[3], \"northgate_e1\" -> IF(\"northgate_e1\" IS NOT NULL, \
         CAST(ROW(CAST(NULL AS varchar), \"northgate_e1\"[2]) AS row(",
    );
    check(
        "{columns: [notes.value, 'tags.*'], action: replace-with-null}",
        "  notes = system.builtin.transform_values(\"t\".\"notes\", (\"northgate_k0\", \"northgate_e0\") -> CAST(NULL AS \
         varchar))\n  tags = system.builtin.transform(\"t\".\"tags\", \"northgate_e0\" -> CAST(NULL AS varchar))",
    );
    // A mask of the whole stands for all that is in it, unless one of these is stronger.
    let whole = "{columns: [profile], action: replace-with-null}";
    let field = "{columns: [profile.ssn], action: mask-alphanum";
    check(&format!("{whole}, {field}}}"), "  profile = CAST(NULL AS row(");
    check(&format!("{whole}, {field}, strength: 1}}"), "two masks of the same strength");
    check(&format!("{field}}}, {{columns: ['profile.s*'], action: show-last-4, strength: -1}}"), "'[^0-9()");
    for masks in [
        "{columns: [profile.nope], action: replace-with-null}",
        "{columns: [id.x], action: replace-with-null}",
        "{columns: [nope.x], action: replace-with-null}",
        "{columns: [notes.key], action: replace-with-null}",
        "{columns: [odd.a], action: replace-with-null}",
        "{columns: [profile.address], action: show-last-4}",
    ] {
        check(masks, "PERMISSION_DENIED");
    }
    assert!(errors(&format!("policies: [{{name: p, who: {{users: ['*']}}, tables: [c.s.t], allow: true, column_masks: [{field}}}, \
        {{columns: ['profile.s*'], action: show-last-4}}]}}]")).contains("may meet on one column"));
}
