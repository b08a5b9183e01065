//! Ranger's policies.

use super::*;

const TAGS: &str = r#"{
    "serviceName": "lake", "op": "add_or_update", "tagVersion": 4,
    "tagDefinitions": {"1": {"name": "PII"}},
    "tags": {"1": {"type": "PII", "attributes": {}}, "2": {"type": "SECRET"}},
    "serviceResources": [
        {"id": 7, "resourceElements": {"catalog": {"values": ["lake"]}, "schema": {"values": ["gold"]},
            "table": {"values": ["Customers"]}, "column": {"values": ["ssn", "e.mail"]}}},
        {"id": 8, "resourceElements": {"catalog": {"values": ["lake"]}, "schema": {"values": ["hr"]}, "table": {"values": ["pay"]}}}
    ],
    "resourceToTagIds": {"7": [1], "8": [2]}
}"#;

fn import(source: &str) -> String {
    let options = Options { tags: Some(TAGS.to_owned()), ..Options::default() };
    shown(&super::super::ranger(source, &options))
}

/// A policy about a table, with what else it says.
fn policy(id: u32, table: &str, rest: &str) -> String {
    let parts: Vec<&str> = table.split('.').collect();
    let mut resources = String::new();
    for (key, value) in ["catalog", "schema", "table", "column"].iter().zip(&parts) {
        let comma = if resources.is_empty() { "" } else { ", " };
        let _ = write!(resources, r#"{comma}"{key}": {{"values": ["{}"]}}"#, value.replace(' ', "\", \""));
    }
    format!(
        r#"{{"id": {id}, "name": "p{id}", "service": "lake", "isEnabled": true, "isAuditEnabled": true, "resources": {{{resources}}}, {rest}}}"#
    )
}

fn item(who: &str, rest: &str) -> String {
    let groups = who.strip_prefix('@').map_or_else(String::new, |group| format!("\"{group}\""));
    let users = if who.starts_with('@') { String::new() } else { format!("\"{who}\"") };
    format!(
        r#"{{"accesses": [{{"type": "select", "isAllowed": true}}], "users": [{users}], "groups": [{groups}], "delegateAdmin": false{rest}}}"#
    )
}

/// All may use the catalog and run queries.
fn with(policies: &[String]) -> String {
    let any = r#""policyItems": [{"accesses": [{"type": "use"}, {"type": "execute"}], "users": ["{USER}"]}]"#;
    let queries = policy(1, "", any).replace(
        r#""resources": {"catalog": {"values": [""]}}"#,
        r#""resources": {"queryid": {"values": ["*"]}}"#,
    );
    let mut all = vec![queries, policy(2, "lake", any)];
    all.extend_from_slice(policies);
    format!(r#"{{"metaDataInfo": {{"Host name": "x"}}, "policies": [{}]}}"#, all.join(","))
}

fn mask(kind: &str) -> String {
    format!(r#", "dataMaskInfo": {{"dataMaskType": "{kind}"}}"#)
}

#[test]
fn policies_of_trino() {
    let filter = |text: &str| format!(r#", "rowFilterInfo": {{"filterExpr": "{text}"}}"#);
    let source = with(&[
        policy(3, "lake.gold.*.*", &format!(r#""policyItems": [{}], "allowExceptions": [{}]"#, item("@analysts", ""), item("eve", ""))),
        policy(4, "lake.gold.customers.notes", &format!(r#""denyPolicyItems": [{}], "denyExceptions": [{}]"#, item("@public", ""), item("@compliance", ""))),
        policy(5, "lake.hr.*.*", &format!(r#""denyPolicyItems": [{}]"#, item("@analysts", ""))),
        policy(
            6,
            "lake.gold.customers",
            &format!(
                r#""policyType": 2, "rowFilterPolicyItems": [{}, {}, {}]"#,
                item("@compliance", &filter("")),
                item("@eu", &filter("region = 'EU'")),
                item("@analysts", &filter("region = 'US'"))
            ),
        ),
        policy(
            7,
            "lake.gold.customers.ssn email",
            &format!(
                r#""policyType": 1, "dataMaskPolicyItems": [{}, {}, {}]"#,
                item("@compliance", &mask("MASK_NONE")),
                item("@eu", &mask("MASK_SHOW_LAST_4")),
                item("@public", &mask("MASK_HASH"))
            ),
        ),
        r#"{"id": 8, "name": "pii", "policyType": 1, "resources": {"tag": {"values": ["PII"]}},
            "dataMaskPolicyItems": [{"accesses": [{"type": "trino:select"}], "groups": ["analysts"], "dataMaskInfo": {"dataMaskType": "trino:MASK_NULL"}}]}"#.to_owned(),
        r#"{"id": 9, "name": "secret", "policyType": 0, "resources": {"tag": {"values": ["SECRET"]}}, "isDenyAllElse": true,
            "denyExceptions": [{"accesses": [], "groups": ["payroll"]}]}"#.to_owned(),
        policy(10, "lake.off.*.*", &format!(r#""policyItems": [{}]"#, item("ann", ""))).replace("\"isEnabled\": true", "\"isEnabled\": false"),
    ]);
    insta::assert_snapshot!(import(&source));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_be_carried_over() {
    let allow = |who: &str, rest: &str| format!(r#""policyItems": [{}]"#, item(who, rest));
    let deny = |who: &str, rest: &str| format!(r#""denyPolicyItems": [{}]"#, item(who, rest));
    let masked =
        |kind: &str| format!(r#""policyType": 1, "dataMaskPolicyItems": [{}]"#, item("@eu", &mask(kind)));
    let conditional = r#", "conditions": [{"type": "ip", "values": ["10.0.0.1"]}]"#;
    let mut text = String::new();
    for (what, policies) in [
        ("some columns", vec![policy(3, "lake.gold.t.a", &allow("ann", ""))]),
        ("a schema alone", vec![policy(3, "lake.gold", &allow("ann", ""))]),
        ("a condition that allows", vec![policy(3, "lake.gold.*.*", &allow("ann", conditional))]),
        ("a condition that denies", vec![policy(3, "lake.gold.*.*", &deny("ann", conditional))]),
        (
            "a schedule",
            vec![policy(
                3,
                "lake.gold.*.*",
                &format!(r#"{}, "validitySchedules": [{{"startTime": "x"}}]"#, allow("ann", "")),
            )],
        ),
        ("a key", vec![policy(3, "lake.gold.*.*", &format!(r#"{}, "novelty": 1"#, allow("ann", "")))]),
        ("a key of an item", vec![policy(3, "lake.gold.*.*", &deny("ann", r#", "novelty": 1"#))]),
        (
            "a question mark",
            vec![policy(3, "lake.g?ld.t.*", &allow("ann", "")), policy(4, "lake.g?ld.t.*", &deny("bob", ""))],
        ),
        (
            "an owner",
            vec![
                policy(3, "lake.gold.t.*", &allow("{OWNER}", "")),
                policy(4, "lake.gold.u.*", &deny("{OWNER}", "")),
            ],
        ),
        ("roles", vec![policy(3, "lake.gold.t.*", &deny("bob", r#", "roles": ["r"]"#))]),
        (
            "exclusion",
            vec![
                policy(3, "lake.gold.t.*", &allow("ann", ""))
                    .replace(r#"{"values": ["t"]}"#, r#"{"values": ["t"], "isExcludes": true}"#),
                policy(4, "lake.gold.t.ssn", &allow("ann", ""))
                    .replace(r#"{"values": ["ssn"]}"#, r#"{"values": ["ssn"], "isExcludes": true}"#),
            ],
        ),
        (
            "deny all else",
            vec![policy(3, "lake.gold.t.*", &format!(r#"{}, "isDenyAllElse": true"#, allow("ann", "")))],
        ),
        (
            "an override",
            vec![policy(3, "lake.gold.t.*", &format!(r#"{}, "policyPriority": 1"#, allow("ann", "")))],
        ),
        (
            "zones",
            vec![
                policy(3, "lake.gold.t.*", &allow("ann", "")),
                policy(4, "lake.z.t.*", &format!(r#"{}, "zoneName": "z""#, allow("ann", ""))),
            ],
        ),
        ("a mask of many", vec![policy(3, "lake.gold.t.*", &masked("MASK"))]),
        ("a mask that is not known", vec![policy(3, "lake.gold.t.a", &masked("SHUFFLE"))]),
        (
            "a custom mask",
            vec![policy(
                3,
                "lake.gold.t.a",
                &masked("CUSTOM").replace("\"CUSTOM\"", r#""CUSTOM", "valueExpr": "substr({col}, 1, 2)""#),
            )],
        ),
        (
            "a name with a dot",
            vec![policy(3, "lake.gold.t.DOT", &masked("MASK_NULL")).replace("DOT", "e.mail")],
        ),
        (
            "a pattern with a dot",
            vec![policy(3, "lake.gold.t.DOT", &masked("MASK_NULL")).replace("DOT", "e.*")],
        ),
        (
            "values under a condition",
            vec![policy(
                3,
                "lake.gold.t.a",
                &format!(
                    r#""policyType": 1, "dataMaskPolicyItems": [{}, {}]"#,
                    item("@hr", r#", "dataMaskInfo": {"dataMaskType": "MASK_NONE", "conditionExpr": "x"}"#),
                    item("@public", &mask("MASK_NULL"))
                ),
            )],
        ),
        (
            "two masks",
            vec![
                policy(3, "lake.gold.t.a", &masked("MASK")),
                policy(4, "lake.*.t.a", &masked("MASK_HASH")),
                policy(5, "lake.gold.t.a", &masked("MASK_NULL")),
            ],
        ),
        (
            "a filter",
            vec![policy(
                3,
                "lake.gold.t",
                &format!(
                    r#""policyType": 2, "rowFilterPolicyItems": [{}]"#,
                    item("@eu", r#", "rowFilterInfo": {"filterExpr": "a || 'x' = ${{USER._name}}"}"#)
                ),
            )],
        ),
        (
            "changes",
            vec![policy(
                3,
                "lake.gold.t.*",
                r#""policyItems": [{"accesses": [{"type": "all"}], "users": ["ann"]}, {"accesses": [{"type": "select"}, {"type": "insert"}], "users": ["bob"]}]"#,
            )],
        ),
        (
            "another kind",
            vec![r#"{"id": 3, "name": "x", "resources": {"trinouser": {"values": ["*"]}}}"#.to_owned()],
        ),
    ] {
        let _ = writeln!(text, "--- {what}\n{}", import(&with(&policies)));
    }
    let alone = format!("[{}]", policy(3, "lake.gold.t.*", &allow("ann", "")));
    let _ = writeln!(text, "--- nobody may use the catalog\n{}", import(&alone));
    insta::assert_snapshot!(text);
}

#[test]
fn odd_and_hostile_sources() {
    let check = |source: &str, expect: &str| {
        let got = import(source);
        assert!(got.contains(expect), "{source:.200}\n{got}");
    };
    check("", "ERROR");
    check("3", "neither a list");
    check(r#"{"policies": [], "novelty": 1}"#, "'novelty' is not known");
    check(r#"{"policies": [], "securityZones": {"a": {}}}"#, "one zone at a time");
    check(r#"{"policies": [{"id": "x"}]}"#, "ERROR");
    check(r#"[{"policyType": 9, "resources": {"catalog": {"values": ["a"]}}}]"#, "policyType is not known");
    check(r#"[{"resources": {"database": {"values": ["a"]}}}]"#, "--catalog");
    check(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "recursion");
    check(&format!("[{}]", vec!["{}"; 3_000].join(",")), "too large");
    let untagged =
        super::super::ranger(r#"[{"resources": {"tag": {"values": ["PII"]}}}]"#, &Options::default());
    assert!(shown(&untagged).contains("--tags"));
    let hive = r#"[{"id": 1, "resources": {"database": {"values": ["hr"]}, "table": {"values": ["*"]}, "column": {"values": ["*"]}},
        "policyItems": [{"accesses": [{"type": "select"}], "groups": ["public"]}]}]"#;
    let got = shown(&super::super::ranger(
        hive,
        &Options { catalog: Some("lake".to_owned()), ..Options::default() },
    ));
    assert!(got.contains("tables: [lake.hr.*]") && !got.contains("NOTE"), "{got}");
}
