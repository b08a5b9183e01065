//! What catalogs restrict, computed by the real Trino: each action on each type, and each predicate on values that are in
//! order, on null and on NaN. What must come out is written here from Iceberg's specifications.

mod predicates;

use std::sync::Arc;

use northgate::catalog::rest::{Facts, Ruling, Tags};
use northgate::catalog::{Column, Described, ReadRestrictions, RelationKind, Schema, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::{Behind, Salt, Scoped, Set};
use serde_json::{Value, json};

use crate::harness::trino;

/// What of a table with one column `c`, the field 1, may be seen.
fn seen(ty: &Value, of_trino: &str, restrictions: &Value) -> Scoped {
    let name = TableName::new("lake", "gold", "t").expect("a name");
    let column = Column { name: "c".to_owned(), ty: Type::parse(of_trino) };
    let described = Described { name: name.clone(), kind: RelationKind::Table, columns: vec![column] };
    let field = json!({"id": 1, "name": "c", "required": false, "type": ty});
    let schema = Schema::read(&json!({"schema": {"type": "struct", "fields": [field]}})).expect("a schema");
    let read = ReadRestrictions::read(&restrictions.to_string()).expect("understood");
    let ruling = Ruling {
        catalog: "lake".into(),
        decides: false,
        read: true,
        facts: Some(Arc::new(Facts {
            uuid: String::new(),
            schema: Some(schema),
            tags: Tags::default(),
            version: None,
        })),
        inherited: Vec::new(),
        restrictions: read.map(Arc::new),
        attached: std::sync::Arc::default(),
        mask_strength: 0,
    };
    let mut behind = Behind::default();
    behind.rulings.add(None, name.clone(), Arc::new(ruling));
    let set = Set::parse(&[("p.yaml", "version: 1\ndefaults: {lake: allow}\n")]).expect("a set");
    let principal = Principal::new("eva", Method::Password);
    let permit = set
        .decide_through(&principal, &[Arc::new(described)], &behind, &Salt::from_bytes([7; 16]))
        .unwrap_or_else(|why| panic!("{restrictions}: {why}"));
    permit.scoped(&name).expect("the table").clone()
}

fn rows(sql: &str) -> Vec<Vec<Value>> {
    let answer = trino().query(sql);
    assert!(answer.error.is_none(), "{sql}\n{:?}", answer.error);
    answer.rows
}

/// The SQL of what an action shows of `t.c`.
fn masked(ty: &Value, of_trino: &str, action: &str, field: i64) -> String {
    let restrictions = json!({"required-column-projections": [{"field-id": field, "action": action}]});
    let scoped = seen(ty, of_trino, &restrictions);
    scoped.mask("c").expect("a mask").render("t", |_, _| String::new())
}

/// Values, and what an action shows of each, both as SQL.
fn check_mask(ty: &Value, of_trino: &str, action: &str, field: i64, table: &[(&str, &str)]) {
    let mask = masked(ty, of_trino, action, field);
    let values: Vec<String> = table
        .iter()
        .enumerate()
        .map(|(at, (from, to))| format!("({at}, CAST({from} AS {of_trino}), CAST({to} AS {of_trino}))"))
        .collect();
    let sql = format!(
        "SELECT id, CAST(({mask}) IS NOT DISTINCT FROM e AS varchar) FROM (VALUES {}) AS t(id, c, e) \
         ORDER BY id",
        values.join(", ")
    );
    for row in rows(&sql) {
        let at = usize::try_from(row[0].as_u64().expect("a number")).expect("small");
        assert_eq!(row[1], "true", "{action} of {ty} {}: not {}", table[at].0, table[at].1);
    }
    assert_eq!(rows(&sql).len(), table.len());
}

#[test]
fn actions_on_strings() {
    let check =
        |action: &str, table: &[(&str, &str)]| check_mask(&json!("string"), "varchar", action, 1, table);
    check(
        "mask-alphanum",
        &[
            ("NULL", "NULL"),
            ("''", "''"),
            ("'prashant010696@gmail.com'", "'xxxxxxxxnnnnnn@xxxxx.xxx'"),
            ("'(0),.-@ _/\\[]^'", "'(n),.-@xxxxxxx'"),
            ("U&'\\00e9\\+01f600\\0663e\\0301'", "'xxxxx'"),
            ("from_utf8(X'610a620d00')", "'xxxxx'"),
        ],
    );
    check(
        "show-first-4",
        &[
            ("NULL", "NULL"),
            ("''", "''"),
            ("'a1b2'", "'a1b2'"),
            ("'a1b2c3'", "'a1b2xn'"),
            ("U&'\\+01f600\\+01f600\\+01f600\\+01f600'", "U&'\\+01f600\\+01f600\\+01f600\\+01f600'"),
            (
                "U&'\\+01f600\\+01f600\\+01f600\\+01f600\\+01f600'",
                "U&'\\+01f600\\+01f600\\+01f600\\+01f600x'",
            ),
        ],
    );
    check(
        "show-last-4",
        &[
            ("NULL", "NULL"),
            ("''", "''"),
            ("'a1b2'", "'a1b2'"),
            ("'1a1b2'", "'na1b2'"),
            ("'4111-1111-1111-4444'", "'nnnn-nnnn-nnnn-4444'"),
            (
                "U&'\\+01f600\\+01f601\\+01f602\\+01f603\\+01f604'",
                "U&'x\\+01f601\\+01f602\\+01f603\\+01f604'",
            ),
        ],
    );
    check("replace-with-null", &[("NULL", "NULL"), ("''", "NULL"), ("'a'", "NULL")]);
    check("mask-to-fixed-value", &[("NULL", "'XXXXXXXX'"), ("''", "'XXXXXXXX'"), ("'a'", "'XXXXXXXX'")]);
}

/// The constants, for values and for null.
#[test]
fn fixed_values() {
    let fixed = "mask-to-fixed-value";
    let check = |ty: &str, of_trino: &str, some: &str, expect: &str| {
        check_mask(&json!(ty), of_trino, fixed, 1, &[("NULL", expect), (some, expect)]);
        check_mask(&json!(ty), of_trino, "replace-with-null", 1, &[("NULL", "NULL"), (some, "NULL")]);
    };
    check("boolean", "boolean", "true", "false");
    check("int", "integer", "-2147483648", "999999999");
    check("long", "bigint", "'-9223372036854775808'", "999999999");
    check("float", "real", "nan()", "0e0");
    check("double", "double", "-infinity()", "0e0");
    check("decimal(38, 2)", "decimal(38,2)", "'-999999999999999999999999999999999999.99'", "0");
    check("date", "date", "DATE '-0001-01-01'", "DATE '9999-12-31'");
    check("time", "time(6)", "TIME '23:59:59.999999'", "TIME '00:00:00'");
    check(
        "timestamp",
        "timestamp(6)",
        "TIMESTAMP '1969-12-31 23:59:59.999999'",
        "TIMESTAMP '9999-12-31 00:00:00'",
    );
    check(
        "timestamptz",
        "timestamp(6) with time zone",
        "TIMESTAMP '1969-12-31 23:59:59.999999 +05:30'",
        "TIMESTAMP '9999-12-31 00:00:00 UTC'",
    );
    check(
        "timestamp_ns",
        "timestamp(9)",
        "TIMESTAMP '1969-12-31 23:59:59'",
        "TIMESTAMP '2261-12-31 00:00:00'",
    );
    check(
        "timestamptz_ns",
        "timestamp(9) with time zone",
        "TIMESTAMP '1969-12-31 23:59:59 UTC'",
        "TIMESTAMP '2261-12-31 00:00:00 UTC'",
    );
    check("uuid", "uuid", "uuid()", "UUID '00000000-0000-0000-0000-000000000000'");
    check("fixed[3]", "varbinary", "X'0102ff'", "X'000000'");
    check("binary", "varbinary", "X'0102ff'", "X''");
    let list = json!({"type": "list", "element-id": 2, "element-required": false, "element": "string"});
    check_mask(&list, "array(varchar)", fixed, 1, &[("NULL", "ARRAY[]"), ("ARRAY['a', NULL]", "ARRAY[]")]);
    check_mask(
        &list,
        "array(varchar)",
        "mask-alphanum",
        2,
        &[("NULL", "NULL"), ("ARRAY['a1', NULL]", "ARRAY['xn', NULL]")],
    );
    let map = json!({"type": "map", "key-id": 2, "key": "string", "value-id": 3, "value-required": false, "value": "int"});
    let one = "map(ARRAY['a'], ARRAY[5])";
    check_mask(&map, "map(varchar, integer)", fixed, 1, &[("NULL", "map()"), (one, "map()")]);
    check_mask(
        &map,
        "map(varchar, integer)",
        fixed,
        3,
        &[("NULL", "NULL"), (one, "map(ARRAY['a'], ARRAY[999999999])")],
    );
    let row = json!({"type": "struct", "fields": [
        {"id": 2, "name": "a", "required": true, "type": "fixed[2]"},
        {"id": 3, "name": "b", "required": false, "type": "string"}]});
    let ty = "row(a varbinary, b varchar)";
    check_mask(
        &row,
        ty,
        fixed,
        1,
        &[("NULL", "ROW(X'0000', 'XXXXXXXX')"), ("ROW(X'0102', 'b')", "ROW(X'0000', 'XXXXXXXX')")],
    );
    check_mask(&row, ty, fixed, 2, &[("NULL", "NULL"), ("ROW(X'0102', 'b')", "ROW(X'0000', 'b')")]);
    check_mask(
        &row,
        ty,
        "replace-with-null",
        3,
        &[("NULL", "NULL"), ("ROW(X'0102', 'b')", "ROW(X'0102', NULL)")],
    );
}

#[test]
fn truncations_and_hashes() {
    for (action, month) in [("truncate-to-year", "01"), ("truncate-to-month", "12")] {
        let day = |year: &str| format!("DATE '{year}-{month}-01'");
        let time = |year: &str| format!("TIMESTAMP '{year}-{month}-01 00:00:00'");
        let utc = |year: &str| format!("TIMESTAMP '{year}-{month}-01 00:00:00 UTC'");
        let (d, old, t) = (day("2023"), day("1969"), time("1969"));
        check_mask(
            &json!("date"),
            "date",
            action,
            1,
            &[("NULL", "NULL"), ("DATE '2023-12-31'", &d), ("DATE '1969-12-02'", &old)],
        );
        let some = "TIMESTAMP '1969-12-31 23:59:59.999999'";
        check_mask(&json!("timestamp"), "timestamp(6)", action, 1, &[("NULL", "NULL"), (some, &t)]);
        check_mask(&json!("timestamp_ns"), "timestamp(9)", action, 1, &[("NULL", "NULL"), (some, &t)]);
        // In UTC it is still the last day of 2022, and no longer that of 1969.
        let (z, first) = (utc("2022"), "TIMESTAMP '1970-01-01 00:00:00 UTC'");
        let near = ("TIMESTAMP '2023-01-01 04:59:59.999999 +05:00'", z.as_str());
        let past = ("TIMESTAMP '1969-12-31 19:00:00 -05:00'", first);
        check_mask(
            &json!("timestamptz"),
            "timestamp(6) with time zone",
            action,
            1,
            &[("NULL", "NULL"), near, past],
        );
        check_mask(
            &json!("timestamptz_ns"),
            "timestamp(9) with time zone",
            action,
            1,
            &[("NULL", "NULL"), near, past],
        );
    }
    let digest = |salt: &[u8], bytes: &[u8]| {
        let all: Vec<u8> = salt.iter().chain(bytes).copied().collect();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &all).as_ref().to_vec()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    for (action, salt) in [("sha-256-global", &[][..]), ("sha-256-query-local", &[7_u8; 16][..])] {
        for text in ["", "a", "Grüße \u{1f600}"] {
            let (from, to) = (format!("'{text}'"), format!("'{}'", hex(&digest(salt, text.as_bytes()))));
            check_mask(&json!("string"), "varchar", action, 1, &[("NULL", "NULL"), (&from, &to)]);
            let (from, to) = (
                format!("X'{}'", hex(text.as_bytes())),
                format!("X'{}'", hex(&digest(salt, text.as_bytes()))),
            );
            check_mask(&json!("binary"), "varbinary", action, 1, &[("NULL", "NULL"), (&from, &to)]);
        }
        for number in [0, 1, -1, i32::MIN, i32::MAX] {
            let head: [u8; 4] = digest(salt, &number.to_le_bytes())[..4].try_into().expect("four bytes");
            let (from, to) = (format!("'{number}'"), format!("'{}'", i32::from_le_bytes(head)));
            check_mask(&json!("int"), "integer", action, 1, &[("NULL", "NULL"), (&from, &to)]);
        }
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            let head: [u8; 8] = digest(salt, &number.to_le_bytes())[..8].try_into().expect("eight bytes");
            let (from, to) = (format!("'{number}'"), format!("'{}'", i64::from_le_bytes(head)));
            check_mask(&json!("long"), "bigint", action, 1, &[("NULL", "NULL"), (&from, &to)]);
        }
    }
}
