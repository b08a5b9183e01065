//! Unity Catalog's policies.

use super::*;

fn import(source: &str) -> String {
    shown(&super::super::unity(source, &Options::default()))
}

const FUNCTIONS: &str = r#""functions": [
    {"catalog_name": "main", "schema_name": "sec", "name": "by_region", "full_name": "main.sec.by_region", "routine_body": "SQL",
     "input_params": {"parameters": [{"name": "region", "type_text": "string", "position": 0}]},
     "routine_definition": "is_account_group_member('admins') OR region = 'EU'"},
    {"catalog_name": "main", "schema_name": "sec", "name": "hide", "routine_body": "SQL",
     "input_params": {"parameters": [{"name": "v", "type_text": "string", "position": 0}]},
     "routine_definition": "CASE WHEN is_account_group_member('hr') THEN v ELSE '***' END"},
    {"catalog_name": "main", "schema_name": "sec", "name": "last4", "routine_body": "SQL",
     "input_params": {"parameters": [{"name": "v", "position": 0}]}, "routine_definition": "right(v, 4)"},
    {"catalog_name": "main", "schema_name": "sec", "name": "python", "routine_body": "EXTERNAL",
     "input_params": {"parameters": [{"name": "v", "position": 0}]}, "routine_definition": "return v"},
    {"catalog_name": "main", "schema_name": "sec", "name": "nobody", "routine_body": "SQL", "routine_definition": "false"}
]"#;

const TAGS: &str = r#""column_tags": [
    {"catalog_name": "main", "schema_name": "gold", "table_name": "customers", "column_name": "ssn", "tag_name": "pii", "tag_value": "ssn"},
    {"catalog_name": "main", "schema_name": "gold", "table_name": "customers", "column_name": "region", "tag_name": "geo", "tag_value": ""},
    {"catalog_name": "main", "schema_name": "raw", "table_name": "people", "column_name": "tax", "tag_name": "pii", "tag_value": "ssn"},
    {"catalog_name": "other", "schema_name": "raw", "table_name": "people", "column_name": "tax", "tag_name": "pii", "tag_value": "ssn"}
], "table_tags": [{"catalog_name": "main", "schema_name": "raw", "table_name": "people", "tag_name": "old"}], "schema_tags": [], "catalog_tags": []"#;

fn table(rest: &str) -> String {
    format!(
        r#"{{"tables": [{{"catalog_name": "main", "schema_name": "gold", "name": "customers", {rest}}}], {FUNCTIONS}}}"#
    )
}

fn policy(rest: &str) -> String {
    format!(
        r#"{{"policies": [{{"id": "1", "name": "p", "on_securable_type": "CATALOG", "on_securable_fullname": "main",
            "for_securable_type": "TABLE", {rest}}}], {FUNCTIONS}, {TAGS}}}"#
    )
}

#[test]
fn filters_masks_and_policies() {
    let mut text = String::new();
    for source in [
        table(
            r#""table_type": "MANAGED", "columns": [
                {"name": "ssn", "type_text": "string", "mask": {"function_name": "main.sec.hide"}},
                {"name": "card", "type_text": "string", "mask": {"function_name": "main.sec.last4"}},
                {"name": "region", "type_text": "string"}],
               "row_filter": {"function_name": "main.sec.by_region", "input_column_names": ["region"]}"#,
        ),
        policy(
            r#""policy_type": "POLICY_TYPE_COLUMN_MASK", "to_principals": ["account users"], "except_principals": ["hr", "ann@corp.com"],
               "match_columns": [{"condition": "has_tag_value('pii', 'ssn')", "alias": "m"}],
               "column_mask": {"function_name": "main.sec.hide", "on_column": "m"}"#,
        ),
        policy(
            r#""policy_type": "POLICY_TYPE_ROW_FILTER", "to_principals": ["analysts"], "when_condition": "hasTag('pii')",
               "match_columns": [{"condition": "has_tag('geo')", "alias": "r"}],
               "row_filter": {"function_name": "main.sec.by_region", "using": [{"alias": "r"}]}"#,
        ),
        policy(
            r#""policy_type": "POLICY_TYPE_COLUMN_MASK", "to_principals": ["analysts"], "when_condition": "has_tag('old')",
               "match_columns": [{"condition": "has_tag('pii')", "alias": "m"}],
               "column_mask": {"function_name": "main.sec.hide", "on_column": "m"}"#,
        ),
        policy(
            r#""policy_type": "POLICY_TYPE_ROW_FILTER", "to_principals": ["bots"], "row_filter": {"function_name": "main.sec.nobody"}"#,
        ),
        format!(
            r#"{{"row_filters": [{{"CATALOG_NAME": "main", "SCHEMA_NAME": "gold", "TABLE_NAME": "t", "FILTER_CATALOG": "main",
                "FILTER_SCHEMA": "sec", "FILTER_NAME": "by_region", "FILTER_COL_USAGE": "area"}}], {FUNCTIONS}}}"#
        ),
    ] {
        let _ = writeln!(text, "---\n{}", import(&source));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_cannot_be_carried_over() {
    let mut text = String::new();
    let mask = |function: &str| {
        table(&format!(
            r#""columns": [{{"name": "ssn", "type_text": "string", "mask": {{"function_name": "{function}"}}}}]"#
        ))
    };
    let filter = |rest: &str| {
        table(&format!(
            r#""columns": [{{"name": "region", "type_text": "int"}}], "row_filter": {{"function_name": "main.sec.by_region", {rest}}}"#
        ))
    };
    let masked = |rest: &str| {
        policy(&format!(
            r#""policy_type": "POLICY_TYPE_COLUMN_MASK", "to_principals": ["analysts"], {rest},
               "column_mask": {{"function_name": "main.sec.hide", "on_column": "m"}}"#
        ))
    };
    for (what, source) in [
        ("another language", mask("main.sec.python")),
        ("no function", mask("main.sec.gone")),
        ("another type", filter(r#""input_column_names": ["region"]"#)),
        ("another number", filter(r#""input_column_names": []"#)),
        ("a key", table(r#""novelty": true, "columns": []"#)),
        ("a condition", masked(r#""match_columns": [{"condition": "NOT has_tag('x')", "alias": "m"}]"#)),
        (
            "when",
            masked(
                r#""when_condition": "has_column('x')", "match_columns": [{"condition": "has_tag('pii')", "alias": "m"}]"#,
            ),
        ),
        ("nothing matches", masked(r#""match_columns": [{"condition": "has_tag('x')", "alias": "m"}]"#)),
        (
            "a key of a policy",
            masked(r#""novelty": 1, "match_columns": [{"condition": "has_tag('pii')", "alias": "m"}]"#),
        ),
        ("another kind", policy(r#""policy_type": "POLICY_TYPE_DENY", "to_principals": ["analysts"]"#)),
        ("a grant", policy(r#""policy_type": "POLICY_TYPE_GRANT", "to_principals": ["analysts"]"#)),
    ] {
        let _ = writeln!(text, "--- {what}\n{}", import(&source));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn odd_and_hostile_sources() {
    let check = |source: &str, expect: &str| {
        let got = import(source);
        assert!(got.contains(expect), "{source:.200}\n{got}");
    };
    check("", "ERROR");
    check("[]", "ERROR");
    check("{}", "policies: []");
    check(r#"{"novelty": []}"#, "unknown field");
    check(r#"{"tables": [], "next_page_token": "x"}"#, "first page");
    check(&format!("{{\"tables\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)), "recursion");
    check(
        r#"{"policies": [{"name": "p", "on_securable_type": "CATALOG", "on_securable_fullname": "main", "policy_type": "POLICY_TYPE_COLUMN_MASK",
            "to_principals": ["a"], "match_columns": [{"condition": "has_tag('x')", "alias": "m"}]}]}"#,
        "give column_tags",
    );
    let lake = Options { catalog: Some("lake".to_owned()), ..Options::default() };
    let source =
        table(r#""row_filter": {"function_name": "main.sec.by_region", "input_column_names": ["region"]}"#);
    assert!(shown(&super::super::unity(&source, &lake)).contains("tables: [lake.gold.customers]"));
}
