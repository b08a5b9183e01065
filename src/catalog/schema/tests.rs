//! Schemas as Iceberg's table metadata have them.

use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::catalog::{Column, RelationKind, TableName};

fn of(fields: &Value) -> Result<Schema, String> {
    let schema = json!({"type": "struct", "schema-id": 3, "fields": fields});
    let other = json!({"type": "struct", "schema-id": 0, "fields": []});
    Schema::read(&json!({"current-schema-id": 3, "schemas": [other, schema], "schema": null}))
}

fn every_type() -> Value {
    let names = [
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "decimal(9, 2)",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "timestamp_ns",
        "timestamptz_ns",
        "string",
        "uuid",
        "fixed[4]",
        "binary",
        "variant",
    ];
    let mut fields: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(at, name)| json!({"id": at + 1, "name": format!("c{at}"), "required": at % 2 == 0, "type": name}))
        .collect();
    fields.push(json!({"id": 20, "name": "Nested", "required": false, "type": {"type": "struct", "fields": [
        {"id": 21, "name": "a.b", "required": true, "type": "int"},
        {"id": 22, "name": "list", "required": false, "type":
            {"type": "list", "element-id": 23, "element-required": true, "element": "string"}},
        {"id": 24, "name": "map", "required": false, "type":
            {"type": "map", "key-id": 25, "key": {"type": "struct", "fields": [
                {"id": 27, "name": "k", "required": true, "type": "int"}]},
             "value-id": 26, "value-required": false, "value": "date"}}]}}));
    Value::Array(fields)
}

#[test]
fn what_is_read() {
    let schema = of(&every_type()).expect("a schema");
    let mut lines = String::new();
    for (id, field) in &schema.fields {
        let null = if field.required { "required" } else { "optional" };
        let key = if field.in_key { ", in a key" } else { "" };
        let one = if schema.is_in_structs(field) { "" } else { ", many in a row" };
        let _ = writeln!(lines, "{id}: {} {} {null}{key}{one}", field.path.join(" > "), field.ty);
    }
    insta::assert_snapshot!(lines);
    assert_eq!(schema.named("c0"), Some(1));
    assert_eq!(schema.named("Nested.a.b"), Some(21));
    assert_eq!(schema.named("nested.a.b"), None);
    assert_eq!(schema.named("Nested."), None);
    let old = json!({"schemas": null, "current-schema-id": null,
        "schema": {"type": "struct", "fields": [{"id": 1, "name": "a", "required": true, "type": "int"}]}});
    assert_eq!(Schema::read(&old).expect("version 1").named("a"), Some(1));
    // A name with dots may be a column and a path.
    let twice = json!([
        {"id": 1, "name": "a.b", "required": true, "type": "int"},
        {"id": 2, "name": "a", "required": true, "type": {"type": "struct", "fields": [
            {"id": 3, "name": "b", "required": true, "type": "int"}]}}]);
    assert_eq!(of(&twice).expect("a schema").named("a.b"), None);
}

#[test]
fn what_is_refused() {
    let check = |fields: Value, expect: &str| {
        let why = of(&fields).expect_err(expect);
        assert_eq!(why, expect, "{fields}");
    };
    let field =
        |id: i64, name: &str, ty: Value| json!({"id": id, "name": name, "required": false, "type": ty});
    check(
        json!([field(1, "a", json!("int")), field(1, "b", json!("int"))]),
        "two fields have the identifier 1",
    );
    check(
        json!([field(1, "a", json!("int")), field(2, "A", json!("int"))]),
        "two fields are called A, if case is left out of account",
    );
    check(json!([field(1, "", json!("int"))]), "a field without a name");
    check(json!([field(1 << 40, "a", json!("int"))]), "the field a has no identifier");
    check(json!([field(1, "a", json!("decimal(39, 2)"))]), "the type 'decimal(39, 2)' is none of Iceberg's");
    check(json!([field(1, "a", json!("fixed[+4]"))]), "the type 'fixed[+4]' is none of Iceberg's");
    check(json!([field(1, "a", json!({"type": "tree"}))]), "the type 'tree' is none of Iceberg's");
    check(json!([{"id": 1, "name": "a", "type": "int"}]), "required is neither true nor false");
    check(json!([5]), "a field that is no object");
    check(json!(null), "a struct without fields");
    let mut deep = json!("int");
    for id in 0..100 {
        deep = json!({"type": "list", "element-id": id, "element-required": true, "element": deep});
    }
    check(json!([field(200, "a", deep)]), "fields lie within each other more than 64 levels deep");
    let many: Vec<Value> = (0..20_001).map(|id| field(id, &format!("c{id}"), json!("int"))).collect();
    check(Value::Array(many), "there are more than 20000 fields");
    for metadata in [
        json!({}),
        json!({"schemas": [], "current-schema-id": 0}),
        json!({"schemas": [{"schema-id": 0, "fields": []}], "current-schema-id": 1}),
        json!({"schemas": [{"fields": []}], "current-schema-id": null, "schema": {"fields": []}}),
    ] {
        assert_eq!(Schema::read(&metadata), Err("there is no current schema".to_owned()), "{metadata}");
    }
}

#[test]
fn trino_and_the_catalog_agree_or_not() {
    let every = "boolean;integer;bigint;real;double;decimal(9,2);date;time(6);timestamp(6);\
                 timestamp(6) with time zone;timestamp(9);timestamp(9) with time zone;varchar;uuid;varbinary;varbinary;\
                 json;row(\"A.B\" integer, \"list\" array(varchar), \"map\" map(row(\"k\" integer), date))";
    let described = |types: &str, last: &str| Described {
        name: TableName::new("lake", "gold", "t").expect("a name"),
        kind: RelationKind::Table,
        columns: types
            .split(';')
            .enumerate()
            .map(|(at, ty)| Column {
                name: if at == 17 { last.to_owned() } else { format!("C{at}") },
                ty: Type::parse(ty),
            })
            .collect(),
    };
    let schema = of(&every_type()).expect("a schema");
    let check = |types: &str, last: &str, expect: Option<&str>| {
        assert_eq!(schema.disagreement(&described(types, last)).as_deref(), expect, "{types}");
    };
    let with = |from: &str, to: &str| {
        assert!(every.contains(from), "{from}");
        every.replacen(from, to, 1)
    };
    check(every, "nested", None);
    check(
        &with("integer;bigint", "bigint;bigint"),
        "nested",
        Some("c1 is int in the catalog and bigint in Trino"),
    );
    check(
        &with("(9,2)", "(9,3)"),
        "nested",
        Some("c5 is decimal(9, 2) in the catalog and decimal(9,3) in Trino"),
    );
    check(
        &with("timestamp(6) with time zone", "timestamp(6)"),
        "nested",
        Some("c9 is timestamptz in the catalog and timestamp(6) in Trino"),
    );
    check(
        &with("timestamp(9);", "timestamp(6);"),
        "nested",
        Some("c10 is timestamp_ns in the catalog and timestamp(6) in Trino"),
    );
    check(
        &with(";varchar", ";varchar(5)"),
        "nested",
        Some("c12 is string in the catalog and varchar(5) in Trino"),
    );
    check(
        &with("\"list\"", "\"lists\""),
        "nested",
        Some("Nested has the field list in the catalog where Trino has lists"),
    );
    check(
        &with("array(varchar)", "array(date)"),
        "nested",
        Some("Nested.list.element is string in the catalog and date in Trino"),
    );
    check(
        &with("\"k\" integer", "\"k\" bigint"),
        "nested",
        Some("Nested.map.key.k is int in the catalog and bigint in Trino"),
    );
    check(&with("(\"k\" integer)", "(k one integer)"), "nested", None);
    check(every, "nest", Some("the catalog has no column nest"));
    let (columns, _) = every.split_once(";row").expect("a row");
    check(columns, "", Some("Trino has no column Nested"));
}
