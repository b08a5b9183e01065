//! Trino's rules.

use super::*;

fn import(source: &str) -> String {
    shown(&trino_of(source, &Options::default()))
}

fn trino_of(source: &str, options: &Options) -> Result<Imported, ImportError> {
    super::super::trino(source, options)
}

/// One file with all that people write.
#[test]
fn a_file_reads_as_if_a_person_wrote_it() {
    let source = r#"{
        "catalogs": [
            {"group": "admins", "catalog": ".*", "allow": "all"},
            {"catalog": "lake", "allow": "read-only"},
            {"catalog": "system", "allow": "none"}
        ],
        "schemas": [{"group": "admins", "owner": true}, {"owner": false}],
        "tables": [
            {"group": "admins", "privileges": ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP"]},
            {"user": "mallory", "privileges": []},
            {"group": "eu-analysts", "catalog": "lake", "schema": "gold", "table": "customers", "privileges": ["SELECT"],
             "filter": "region = 'EU'",
             "columns": [{"name": "ssn", "mask": "concat('***', substr(ssn, -4))"}, {"name": "notes", "allow": false}]},
            {"group": "eu-analysts|us-analysts", "catalog": "lake", "schema": "gold", "privileges": ["SELECT"]},
            {"catalog": "lake", "schema": "open_.*", "privileges": ["SELECT"]}
        ]
    }"#;
    insta::assert_snapshot!(import(source));
}

#[test]
fn what_cannot_be_carried_over() {
    let mut text = String::new();
    for rules in [
        r#"{"tables": [{"user": "[a-c].*", "privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"user": "[a-c].*", "table": "t", "privileges": []}, {"privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"user": "[a-c].*", "privileges": ["SELECT"], "filter": "a = 1", "columns": [{"name": "b", "mask": "1"}]}, {"privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"role": "admin", "privileges": ["SELECT"]}, {"privileges": ["SELECT"], "filter": "a = 1"}]}"#,
        r#"{"tables": [{"user": "ann@corp.com", "schema": "s", "privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"user": "ann", "group": "g", "privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"schema": "Gold", "privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"privileges": ["SELECT"], "filter": "a || b = 'x'"}, {"privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"catalog": "c", "schema": "s", "table": "t", "privileges": ["SELECT"], "filter": "a IN (SELECT x FROM c.s.t)"}, {"privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"catalog": "c", "schema": "s", "table": "t", "privileges": ["SELECT"], "filter": "a IN (SELECT x FROM c.s.u)", "filter_environment": {"user": "keeper"}}]}"#,
        r#"{"tables": [{"privileges": ["SELECT"], "columns": [{"name": "SSN", "mask": "'x' || 'y'"}]}]}"#,
        r#"{"tables": [{"privileges": ["INSERT"]}]}"#,
        r#"{"tables": [{"privileges": ["SELECT", "INSERT"]}]}"#,
        r#"{"tables": [{"user": "ann", "table": "t", "privileges": ["SELECT"]}, {"schema": "hr", "privileges": []}, {"privileges": ["SELECT"]}]}"#,
        r#"{"tables": [{"table": "t", "group": "g", "privileges": ["SELECT"]}, {"privileges": ["SELECT"], "filter": "a = 1"}]}"#,
        r#"{"tables": [{"table": "x\\$files", "privileges": ["SELECT"]}]}"#,
        r#"{"tables": [], "queries": [{"user": "a", "allow": ["execute", "kill"]}, {"queryOwner": "a", "allow": ["view"]}],
            "impersonation": [{"original_user": "dash|board", "new_user": "team-.*"}, {"original_user": "(.*)", "new_user": "$1_x"}],
            "principals": [{}], "system_information": [{}], "system_session_properties": [{}], "functions": [{}], "procedures": [{}]}"#,
        "{}",
    ] {
        let _ = writeln!(text, "--- {rules}\n{}", import(rules));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_catalogs_own_file() {
    let of = |source: &str, catalog: &str| {
        shown(&trino_of(source, &Options { catalog: Some(catalog.to_owned()), ..Options::default() }))
    };
    let tables = r#"{"tables": [{"schema": "gold", "privileges": ["SELECT"]}]}"#;
    assert!(of(tables, "lake").contains("tables: [lake.gold.*]"), "{}", of(tables, "lake"));
    assert!(
        of(r#"{"catalogs": [{"catalog": "x", "allow": "all"}]}"#, "lake").contains("leave --catalog out")
    );
    assert!(of(tables, "la*ke").contains("no name of a catalog"));
    let roles = Options { roles_are_groups: true, ..Options::default() };
    let read = shown(&trino_of(r#"{"tables": [{"role": "r", "privileges": ["SELECT"]}]}"#, &roles));
    assert!(read.contains("groups: [r]") && !read.contains("NOTE"), "{read}");
}

#[test]
fn odd_and_hostile_sources() {
    let check = |source: &str, expect: &str| {
        let got = import(source);
        assert!(got.contains(expect), "{source:.200}\n{got}");
    };
    check("", "ERROR");
    check("[]", "ERROR");
    check(r#"{"table": []}"#, "unknown field `table`");
    check(r#"{"tables": [{"privileges": ["SELECT"], "colums": []}]}"#, "unknown field `colums`");
    check(r#"{"tables": [{}]}"#, "privileges");
    check(r#"{"tables": [{"privileges": ["select"]}]}"#, "unknown variant");
    check(r#"{"tables": [{"privileges": ["SELECT"], "columns": [{"name": "a"}, {"name": "A"}]}]}"#, "twice");
    check(r#"{"tables": [], "tables": []}"#, "duplicate field");
    check(r#"{"catalogs": [{"allow": "some"}]}"#, "allow is 'some'");
    check(r#"{"queries": [{"allow": ["run"]}]}"#, "the word 'run'");
    check(&format!("{{\"tables\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)), "ERROR");
    check(&format!("{{\"principals\": [{}{}]}}", "[".repeat(10_000), "]".repeat(10_000)), "recursion");
    check(&" ".repeat(MAX_SOURCE + 1), "too large");
    let many = |count: usize| {
        let rules: Vec<String> = (0..count)
            .map(|n| format!(r#"{{"user": "u{n}", "table": "t{n}", "privileges": ["SELECT"]}}"#))
            .collect();
        format!(r#"{{"tables": [{}]}}"#, rules.join(","))
    };
    check(&many(3_000), "too large");
    check(&many(300), "tables: [\"*.*.t299\"]");
    // What is written in a rule stays in its place in the document.
    let user = r#"{"tables": [{"user": "a\n  - name: x\u0085", "privileges": ["SELECT"]}]}"#;
    check(user, "policies: []");
    let filter = r#"{"tables": [{"privileges": ["SELECT"], "filter": "a = '\"\\\\ # x: \u2028'"}]}"#;
    check(filter, r#"row_filter: "a = '\"\\\\ # x: \U00002028'""#);
    let group = r#"{"tables": [{"group": "yes|12|on: x|'", "privileges": ["SELECT"]}]}"#;
    check(group, r#"groups: ["'", "12", "on: x", "yes"]"#);
}
