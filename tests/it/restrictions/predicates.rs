//! Predicates, on values whose order is known.

use serde_json::{Value, json};

use super::{rows, seen};

/// What a value is to the others: where it stands in their order, if it does.
type Rank = Option<i32>;

/// Values as SQL with their ranks, and those among them that a literal is there for. Of each test on each literal, and of
/// its opposite, written both ways, the rows must be those that the ranks tell.
fn check_order(ty: &str, of_trino: &str, term: &Value, values: &[(&str, Rank)], literals: &[(Value, i32)]) {
    type Holds = fn(i32, i32) -> bool;
    let kinds: [(&str, &str, Holds); 5] = [
        ("eq", "not-eq", |a, b| a == b),
        ("lt", "not", |a, b| a < b),
        ("lt-eq", "not", |a, b| a <= b),
        ("gt", "not", |a, b| a > b),
        ("gt-eq", "not", |a, b| a >= b),
    ];
    let mut tests: Vec<(Value, Vec<bool>)> = Vec::new();
    let mut add = |test: Value, opposite: Option<Value>, holds: &dyn Fn(i32) -> bool| {
        let expect: Vec<bool> = values.iter().map(|(_, rank)| rank.is_some_and(holds)).collect();
        let not: Vec<bool> = expect.iter().map(|holds| !holds).collect();
        tests.extend(opposite.map(|opposite| (opposite, not.clone())));
        tests.push((json!({"type": "not", "child": test}), not));
        tests.push((test, expect));
    };
    for (literal, rank) in literals {
        for (kind, opposite, holds) in kinds {
            let of = |kind: &str| json!({"type": kind, "term": term, "value": literal});
            add(of(kind), (opposite != "not").then(|| of(opposite)), &|value| holds(value, *rank));
        }
        for (other, second) in literals {
            let of = |kind: &str| json!({"type": kind, "term": term, "values": [literal, other]});
            add(of("in"), Some(of("not-in")), &|value| value == *rank || value == *second);
        }
    }
    check_tests(ty, of_trino, values.iter().map(|(sql, _)| *sql), &tests);
}

/// Checks of each test for which values it is true; it must be false for the others.
fn check_tests<'a>(
    ty: &str,
    of_trino: &str,
    values: impl Iterator<Item = &'a str>,
    tests: &[(Value, Vec<bool>)],
) {
    let values: Vec<&str> = values.collect();
    let sources: Vec<String> =
        values.iter().enumerate().map(|(at, sql)| format!("({at}, CAST({sql} AS {of_trino}))")).collect();
    for part in tests.chunks(50) {
        let columns: Vec<String> = part
            .iter()
            .map(|(test, _)| {
                let scoped = seen(&json!(ty), of_trino, &json!({"required-row-filter": test}));
                let [filter] = scoped.filters() else { panic!("one filter") };
                filter.render("t", |_, _| String::new())
            })
            .collect();
        let sql = format!(
            "SELECT {} FROM (VALUES {}) AS t(id, c) ORDER BY id",
            columns.join(", "),
            sources.join(", ")
        );
        for (row, value) in rows(&sql).iter().zip(&values) {
            let at = values.iter().position(|other| other == value).expect("it is there");
            for ((test, expect), got) in part.iter().zip(row) {
                assert_eq!(*got, expect[at], "{test} of {ty} {value}");
            }
        }
        // As a filter it must be the same: Trino computes that in another way.
        for (column, (test, expect)) in columns.iter().zip(part).step_by(7) {
            let sql = format!(
                "SELECT id FROM (VALUES {}) AS t(id, c) WHERE {column} ORDER BY id",
                sources.join(", ")
            );
            let got: Vec<u64> = rows(&sql).iter().filter_map(|row| row[0].as_u64()).collect();
            let expect: Vec<u64> = (0..).zip(expect).filter(|(_, holds)| **holds).map(|(at, _)| at).collect();
            assert_eq!(got, expect, "{test} of {ty} as a filter");
        }
    }
}

/// Each comparison of the column itself.
fn by(ty: &str, of_trino: &str, values: &[(&str, Rank)], literals: &[(Value, i32)]) {
    check_order(ty, of_trino, &json!({"type": "reference", "id": 1}), values, literals);
}

#[test]
fn numbers_in_order() {
    by(
        "boolean",
        "boolean",
        &[("NULL", None), ("false", Some(0)), ("true", Some(1))],
        &[(json!(false), 0), (json!(true), 1)],
    );
    by(
        "int",
        "integer",
        &[("NULL", None), ("-2147483648", Some(0)), ("-1", Some(1)), ("0", Some(2)), ("2147483647", Some(3))],
        &[(json!(i32::MIN), 0), (json!(0), 2), (json!(i32::MAX), 3)],
    );
    by(
        "long",
        "bigint",
        &[
            ("NULL", None),
            ("'-9223372036854775808'", Some(0)),
            ("0", Some(2)),
            ("'9223372036854775807'", Some(3)),
        ],
        &[(json!(i64::MIN), 0), (json!(-1), 1), (json!(i64::MAX), 3)],
    );
    for (ty, of_trino) in [("float", "real"), ("double", "double")] {
        by(
            ty,
            of_trino,
            &[
                ("NULL", None),
                ("nan()", None),
                ("-infinity()", Some(0)),
                ("-1.5e0", Some(1)),
                ("-0e0", Some(2)),
                ("0e0", Some(2)),
                ("1e-1", Some(3)),
                ("infinity()", Some(4)),
            ],
            &[(json!(-1.5), 1), (json!(-0.0), 2), (json!(0), 2), (json!(0.1), 3)],
        );
        let of = |kind: &str| json!({"type": kind, "child": {"type": "reference", "id": 1}});
        let not = |test: Value| json!({"type": "not", "child": test});
        let tests = [
            (of("is-nan"), vec![false, true, false]),
            (of("not-nan"), vec![true, false, true]),
            (not(of("is-nan")), vec![true, false, true]),
            (not(of("not-nan")), vec![false, true, false]),
            (of("is-null"), vec![true, false, false]),
            (of("not-null"), vec![false, true, true]),
            (not(of("not-null")), vec![true, false, false]),
        ];
        check_tests(ty, of_trino, ["NULL", "nan()", "1"].into_iter(), &tests);
    }
    by(
        "decimal(38, 2)",
        "decimal(38,2)",
        &[
            ("NULL", None),
            ("'-999999999999999999999999999999999999.99'", Some(0)),
            ("'-0.01'", Some(1)),
            ("0", Some(2)),
            ("'14.20'", Some(3)),
        ],
        &[
            (json!("-999999999999999999999999999999999999.99"), 0),
            (json!("-0.01"), 1),
            (json!("0.00"), 2),
            (json!("14.20"), 3),
        ],
    );
}

#[test]
fn times_in_order() {
    by(
        "date",
        "date",
        &[
            ("NULL", None),
            ("DATE '0001-01-01'", Some(0)),
            ("DATE '1969-12-31'", Some(1)),
            ("DATE '9999-12-31'", Some(2)),
        ],
        &[(json!("0001-01-01"), 0), (json!("1969-12-31"), 1), (json!("9999-12-31"), 2)],
    );
    by(
        "time",
        "time(6)",
        &[("NULL", None), ("TIME '00:00:00'", Some(0)), ("TIME '23:59:59.999999'", Some(1))],
        &[(json!("00:00:00"), 0), (json!("23:59:59.999999"), 1)],
    );
    for (ty, of_trino, zone, mark) in [
        ("timestamp", "timestamp(6)", "", ""),
        ("timestamp_ns", "timestamp(9)", "", ""),
        ("timestamptz", "timestamp(6) with time zone", " UTC", "+00:00"),
        ("timestamptz_ns", "timestamp(9) with time zone", " UTC", "+00:00"),
    ] {
        let at = |text: &str| format!("TIMESTAMP '{text}{zone}'");
        let (old, new) = (at("1969-12-31 23:59:59.999999"), at("2022-12-31 23:30:00"));
        let mut values = vec![("NULL", None), (old.as_str(), Some(0)), (new.as_str(), Some(1))];
        if !zone.is_empty() {
            values.push(("TIMESTAMP '2023-01-01 04:30:00 +05:00'", Some(1)));
        }
        by(
            ty,
            of_trino,
            &values,
            &[
                (json!(format!("1969-12-31T23:59:59.999999{mark}")), 0),
                (json!(format!("2022-12-31T23:30:00{mark}")), 1),
            ],
        );
    }
}

#[test]
fn texts_and_bytes_in_order() {
    // The order of UTF-8, which is not that of UTF-16: what is behind U+FFFF is the greatest.
    by(
        "string",
        "varchar",
        &[
            ("NULL", None),
            ("''", Some(0)),
            ("'A'", Some(1)),
            ("'A '", Some(2)),
            ("'a'", Some(3)),
            ("U&'\\ff5e'", Some(4)),
            ("U&'\\+01f600'", Some(5)),
        ],
        &[(json!(""), 0), (json!("A"), 1), (json!("a"), 3), (json!("\u{ff5e}"), 4), (json!("\u{1f600}"), 5)],
    );
    by(
        "uuid",
        "uuid",
        &[
            ("NULL", None),
            ("UUID '00000000-0000-0000-0000-000000000000'", Some(0)),
            ("UUID '7fffffff-ffff-ffff-ffff-ffffffffffff'", Some(1)),
            ("UUID '80000000-0000-0000-0000-000000000000'", Some(2)),
            ("UUID '80000000-0000-0000-8000-000000000000'", Some(3)),
        ],
        &[
            (json!("7FFFFFFF-ffff-ffff-ffff-ffffffffffff"), 1),
            (json!("80000000-0000-0000-0000-000000000000"), 2),
        ],
    );
    by(
        "fixed[2]",
        "varbinary",
        &[("NULL", None), ("X'0000'", Some(0)), ("X'7fff'", Some(1)), ("X'8000'", Some(2))],
        &[(json!("0000"), 0), (json!("7FFF"), 1), (json!("8000"), 2)],
    );
    by(
        "binary",
        "varbinary",
        &[
            ("NULL", None),
            ("X''", Some(0)),
            ("X'00'", Some(1)),
            ("X'7f'", Some(2)),
            ("X'7f00'", Some(3)),
            ("X'80'", Some(4)),
        ],
        &[(json!(""), 0), (json!("7f"), 2), (json!("80"), 4)],
    );
}

#[test]
fn prefixes() {
    let of =
        |kind: &str, text: &str| json!({"type": kind, "left": {"type": "reference", "id": 1}, "right": text});
    let values = ["NULL", "''", "'a'", "'a%c'", "'abc'", "'A'", "U&'\\+01f600x'", "from_utf8(X'610062')"];
    let mut tests = Vec::new();
    for (prefix, starting) in [
        ("", &[1, 2, 3, 4, 5, 6, 7][..]),
        ("a", &[2, 3, 4, 7]),
        ("a%", &[3]),
        ("a_", &[]),
        ("abcd", &[]),
        ("\u{1f600}", &[6]),
        ("a\u{0}", &[7]),
    ] {
        let expect: Vec<bool> = (0..values.len()).map(|at| starting.contains(&at)).collect();
        let not: Vec<bool> = expect.iter().map(|holds| !holds).collect();
        tests.push((of("not-starts-with", prefix), not.clone()));
        tests.push((json!({"type": "not", "child": of("starts-with", prefix)}), not));
        tests.push((of("starts-with", prefix), expect));
    }
    check_tests("string", "varchar", values.into_iter(), &tests);
}

#[test]
fn transforms() {
    let by = |ty: &str, of_trino: &str, name: &str, values: &[(&str, Rank)], literals: &[(Value, i32)]| {
        let term = json!({"type": "transform", "transform": name, "term": {"type": "reference", "id": 1}});
        check_order(ty, of_trino, &term, values, literals);
    };
    let numbers = |numbers: &[i32]| -> Vec<(Value, i32)> {
        numbers.iter().map(|number| (json!(number), *number)).collect()
    };
    let dates = [
        ("NULL", None),
        ("DATE '1969-12-31'", Some(-1)),
        ("DATE '1970-01-01'", Some(0)),
        ("DATE '2017-12-01'", Some(575)),
    ];
    by("date", "date", "month", &dates, &numbers(&[-1, 0, 575]));
    let years = [
        ("NULL", None),
        ("DATE '1969-12-31'", Some(-1)),
        ("DATE '1970-01-01'", Some(0)),
        ("DATE '2017-12-01'", Some(47)),
    ];
    by("date", "date", "year", &years, &numbers(&[-1, 0, 47]));
    for (ty, of_trino, zone) in [
        ("timestamp", "timestamp(6)", ""),
        ("timestamp_ns", "timestamp(9)", ""),
        ("timestamptz", "timestamp(6) with time zone", " UTC"),
        ("timestamptz_ns", "timestamp(9) with time zone", " UTC"),
    ] {
        let at = |text: &str| format!("TIMESTAMP '{text}{zone}'");
        let (old, zero, new) =
            (at("1969-12-31 23:59:59.999999"), at("1970-01-01 00:00:00"), at("2017-12-01 10:30:00"));
        let of = |ranks: [i32; 3]| {
            let mut values = vec![
                ("NULL", None),
                (old.as_str(), Some(ranks[0])),
                (zero.as_str(), Some(ranks[1])),
                (new.as_str(), Some(ranks[2])),
            ];
            if !zone.is_empty() {
                values.push(("TIMESTAMP '1969-12-31 19:00:00 -05:00'", Some(ranks[1])));
                values.push(("TIMESTAMP '1970-01-01 05:29:59 +05:30'", Some(ranks[0])));
            }
            values
        };
        by(ty, of_trino, "year", &of([-1, 0, 47]), &numbers(&[-1, 0, 47]));
        by(ty, of_trino, "month", &of([-1, 0, 575]), &numbers(&[-1, 0, 575]));
        by(ty, of_trino, "hour", &of([-1, 0, 420_034]), &numbers(&[-1, 0, 420_034]));
        let days = [(json!("1969-12-31"), 0), (json!("1970-01-01"), 1), (json!("2017-12-01"), 2)];
        by(ty, of_trino, "day", &of([0, 1, 2]), &days);
    }
    let down = [
        ("NULL", None),
        ("-2147483648", Some(i32::MIN)),
        ("-1", Some(-10)),
        ("0", Some(0)),
        ("9", Some(0)),
        ("10", Some(10)),
    ];
    by("int", "integer", "truncate[10]", &down, &numbers(&[-10, 0, 10]));
    by(
        "long",
        "bigint",
        "truncate[10]",
        &[
            ("'-9223372036854775808'", Some(-99)),
            ("'9223372036854775807'", Some(99)),
            ("-10", Some(-10)),
            ("-11", Some(-20)),
        ],
        &numbers(&[-10, -20]),
    );
    by(
        "decimal(9, 2)",
        "decimal(9,2)",
        "truncate[50]",
        &[("NULL", None), ("'10.65'", Some(2)), ("'-0.05'", Some(0)), ("'0.49'", Some(1))],
        &[(json!("10.50"), 2), (json!("-0.50"), 0), (json!("0.00"), 1)],
    );
    by(
        "string",
        "varchar",
        "truncate[3]",
        &[
            ("NULL", None),
            ("''", Some(0)),
            ("'iceberg'", Some(1)),
            ("'ice'", Some(1)),
            ("U&'\\+01f600\\+01f600\\+01f600a'", Some(2)),
        ],
        &[(json!(""), 0), (json!("ice"), 1), (json!("\u{1f600}\u{1f600}\u{1f600}"), 2)],
    );
    by(
        "binary",
        "varbinary",
        "truncate[1]",
        &[("NULL", None), ("X'0102'", Some(0)), ("X'ff'", Some(1))],
        &[(json!("01"), 0), (json!("ff"), 1)],
    );
}
