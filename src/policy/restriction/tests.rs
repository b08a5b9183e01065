//! What is restricted, as the SQL that it becomes.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{Column, RelationKind, TableName, Type};

/// A table with a column of every type, called as it, and its types in Trino.
fn table() -> (Schema, Described) {
    let types = [
        ("boolean", "boolean"),
        ("int", "integer"),
        ("long", "bigint"),
        ("float", "real"),
        ("double", "double"),
        ("decimal(9, 2)", "decimal(9,2)"),
        ("date", "date"),
        ("time", "time(6)"),
        ("timestamp", "timestamp(6)"),
        ("timestamptz", "timestamp(6) with time zone"),
        ("timestamp_ns", "timestamp(9)"),
        ("timestamptz_ns", "timestamp(9) with time zone"),
        ("string", "varchar"),
        ("uuid", "uuid"),
        ("fixed[4]", "varbinary"),
        ("binary", "varbinary"),
        ("variant", "json"),
    ];
    let mut fields: Vec<Value> = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    for (at, (ty, of_trino)) in types.into_iter().enumerate() {
        let name = ty.split(['(', '[']).next().unwrap_or_default();
        fields.push(json!({"id": at + 1, "name": name, "required": name == "int", "type": ty}));
        columns.push(Column { name: name.to_owned(), ty: Type::parse(of_trino) });
    }
    let inner = json!([
        {"id": 21, "name": "a.\"b", "required": false, "type": "string"},
        {"id": 22, "name": "bytes", "required": false, "type": "fixed[2]"},
        {"id": 23, "name": "list", "required": false, "type":
            {"type": "list", "element-id": 24, "element-required": false, "element": "string"}},
        {"id": 25, "name": "map", "required": false, "type":
            {"type": "map", "key-id": 26, "key": "string", "value-id": 27, "value-required": true, "value": "date"}}]);
    fields.push(
        json!({"id": 20, "name": "nested", "required": false, "type": {"type": "struct", "fields": inner}}),
    );
    let row =
        "row(\"a.\"\"b\" varchar, \"bytes\" varbinary, \"list\" array(varchar), \"map\" map(varchar, date))";
    columns.push(Column { name: "nested".to_owned(), ty: Type::parse(row) });
    let schema = json!({"schema": {"type": "struct", "fields": fields}});
    let name = TableName::new("lake", "gold", "t").expect("a name");
    let described = Described { name, kind: RelationKind::Table, columns };
    (Schema::read(&schema).expect("a schema"), described)
}

fn read(restrictions: &Value) -> Result<Option<Rule>, String> {
    let Some(restrictions) = ReadRestrictions::read(&restrictions.to_string())? else { return Ok(None) };
    let (schema, described) = table();
    let source = Source { policy: "read-restrictions".to_owned(), file: "catalog lake".to_owned(), line: 0 };
    rule(&restrictions, &schema, &described, source, 7)
}

fn filter(filter: &Value) -> Result<String, String> {
    let rule = read(&json!({"required-row-filter": filter}))?;
    Ok(rule.and_then(|rule| rule.filter).map_or("everything".to_owned(), |filter| filter.text().to_owned()))
}

#[test]
fn nothing_is_restricted() {
    for text in [
        json!(null),
        json!({}),
        json!({"required-row-filter": null, "required-column-projections": null}),
        json!({"required-row-filter": true, "required-column-projections": []}),
        json!({"required-row-filter": {"type": "or", "left": true, "right": {"type": "is-null", "term": "int"}}}),
    ] {
        assert_eq!(ReadRestrictions::read(&text.to_string()), Ok(None), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let check = |value: Value, expect: &str| {
        assert_eq!(read(&value).map(|_| ()), Err(expect.to_owned()), "{value}");
    };
    check(json!([]), "no object");
    check(json!({"required-cell-filter": 1}), "'required-cell-filter' is not known");
    check(
        json!({"required-row-filter": {"type": "like"}}),
        "required-row-filter: the expression type 'like' is not known",
    );
    let masks = |value: Value, expect: &str| {
        check(
            json!({"required-column-projections": value}),
            &format!("required-column-projections: {expect}"),
        );
    };
    let one = |id: i64, action: &str| json!({"field-id": id, "action": action});
    masks(json!({}), "no list");
    masks(json!([one(1, "mask-all")]), "the action 'mask-all' is not known");
    masks(json!([{"field-id": 1}]), "a projection has no action");
    masks(json!([{"action": "show-last-4"}]), "a projection names no field by its identifier");
    masks(
        json!([{"field-id": 1, "action": "show-last-4", "keep": 5}]),
        "a projection has 'keep', which is not known",
    );
    masks(json!([one(13, "show-last-4"), one(13, "show-last-4")]), "the field 13 is named twice");
    masks(json!([one(99, "replace-with-null")]), "there is no field 99");
    masks(json!([one(2, "replace-with-null")]), "int is required: replace-with-null is not for it");
    masks(
        json!([one(27, "replace-with-null")]),
        "nested.map.value is required: replace-with-null is not for it",
    );
    masks(
        json!([one(26, "mask-alphanum")]),
        "nested.map.key is the key of a map, or in one: keys cannot be projected",
    );
    masks(
        json!([one(21, "show-last-4"), one(20, "replace-with-null")]),
        "nested is projected, and so is nested.a.\"b in it",
    );
    masks(json!([one(17, "mask-to-fixed-value")]), "variant: there is no fixed value of the type variant");
    masks(
        json!([one(15, "sha-256-global")]),
        "fixed: the action sha-256-global is not for the type fixed[4]",
    );
}

/// Each action on each type: what shows, or that it is not for it.
#[test]
fn masks_by_action_and_type() {
    let (schema, _) = table();
    let mut lines = String::new();
    for action in Action::ALL {
        for id in (1..=17).chain([20, 21, 22, 24, 27]) {
            let rule =
                read(&json!({"required-column-projections": [{"field-id": id, "action": action.as_str()}]}));
            let Ok(Some(rule)) = rule else { continue };
            let [mask] = rule.masks.as_slice() else { panic!("one mask") };
            assert_eq!(mask.strength, 7);
            let with = match &mask.with {
                MaskWith::Action(action) => action.as_str(),
                MaskWith::Formula(formula) => formula.text(),
            };
            let path = schema.field(id).expect("a field").path.join(" > ");
            let literal = mask.columns.len() + mask.fields.len();
            let _ = writeln!(lines, "{} {path}: {with} ({literal})", action.as_str());
        }
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn filters() {
    let of = |id: i64| json!({"type": "reference", "id": id});
    let transformed = |name: &str, id: i64| json!({"type": "transform", "transform": name, "term": of(id)});
    let eq = |term: Value, value: Value| json!({"type": "eq", "term": term, "value": value});
    let mut filters = vec![json!(false)];
    for kind in ["eq", "not-eq", "lt", "lt-eq", "gt", "gt-eq", "starts-with", "not-starts-with"] {
        filters.push(json!({"type": kind, "left": of(13), "right": "EU"}));
        let inner = json!({"type": kind, "term": "nested.a.\"b", "value": "it's"});
        filters.push(json!({"type": "not", "child": inner}));
    }
    for kind in ["is-null", "not-null", "is-nan", "not-nan"] {
        filters.extend([5, 13, 20].map(|id| json!({"type": kind, "child": of(id)})));
    }
    for kind in ["in", "not-in"] {
        filters.push(json!({"type": kind, "child": of(2), "values": [1, -2]}));
        filters.push(json!({"type": kind, "child": of(2), "values": []}));
    }
    for name in [
        "identity",
        "year",
        "month",
        "day",
        "hour",
        "truncate[10]",
        "truncate[0]",
        "bucket[16]",
        "void",
        "mine",
    ] {
        for (id, value) in [
            (2, json!(20)),
            (3, json!(-20)),
            (6, json!("1.20")),
            (7, json!("2020-01-01")),
            (9, json!(5)),
            (10, json!(5)),
            (12, json!("2020-01-01")),
            (13, json!("abc")),
            (16, json!("00ff")),
        ] {
            filters.push(eq(transformed(name, id), value));
        }
    }
    let (a, b) = (json!({"type": "is-null", "term": "int"}), json!({"type": "not-null", "term": "date"}));
    let or = json!({"type": "or", "left": a, "right": b});
    filters.push(json!({"type": "and", "left": or, "right": {"type": "and", "left": b, "right": a}}));
    filters.push(json!({"type": "not", "child": {"type": "and", "left": or, "right": a}}));
    filters.extend([
        eq(of(99), json!(1)),
        eq(json!("none"), json!(1)),
        eq(of(20), json!(1)),
        eq(of(24), json!("x")),
        eq(of(17), json!(1)),
        eq(of(2), json!("1")),
        json!({"type": "starts-with", "term": "int", "value": "1"}),
        json!({"type": "is-null", "child": of(26)}),
        json!({"type": "starts-with", "term": "string", "value": "a\u{1f600}\u{1}"}),
        json!({"type": "starts-with", "term": "string", "value": ""}),
    ]);
    let mut lines = String::new();
    for one in filters {
        let got = filter(&one).unwrap_or_else(|why| format!("refused: {why}"));
        let _ = writeln!(lines, "{one}\n    {got}");
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn what_trino_has_otherwise_is_refused() {
    let (schema, mut described) = table();
    described.columns[2].ty = Type::Integer;
    let restrictions = ReadRestrictions::read(r#"{"required-row-filter": false}"#);
    let restrictions = restrictions.expect("understood").expect("something");
    let source = Source { policy: "p".to_owned(), file: "f".to_owned(), line: 0 };
    let why = rule(&restrictions, &schema, &described, source, 0).map(|_| ());
    assert_eq!(why, Err("long is long in the catalog and integer in Trino".to_owned()));
}

#[test]
fn the_longest_filter_that_an_expression_may_be() {
    let values = |count: usize| {
        let values: Vec<usize> = (0..count).collect();
        filter(&json!({"type": "in", "term": "int", "values": values})).map(|text| text.len())
    };
    assert!(values(2_000).is_ok());
    assert!(values(9_000).is_err());
    let mut deep = json!({"type": "is-null", "term": "int"});
    for level in 0..90 {
        deep = json!({"type": if level % 2 == 0 { "and" } else { "or" }, "left": {"type": "is-nan", "term": "float"}, "right": deep});
    }
    let got = filter(&deep);
    assert!(got.is_ok(), "{got:?}");
}
