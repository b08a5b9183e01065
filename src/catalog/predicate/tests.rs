//! What predicates are read as. They are printed in a short way of their own.

use std::fmt::Write as _;

use super::*;
use crate::catalog::json;

fn print(predicate: &Predicate) -> String {
    let join = |parts: &[Predicate], with: &str| {
        format!("({})", parts.iter().map(print).collect::<Vec<_>>().join(with))
    };
    match predicate {
        Predicate::Constant(constant) => constant.to_string(),
        Predicate::All(parts) => join(parts, " and "),
        Predicate::Any(parts) => join(parts, " or "),
        Predicate::Test { term, test, negated } => {
            let of = match &term.reference {
                Reference::Id(id) => format!("#{id}"),
                Reference::Name(name) => name.clone(),
            };
            let transform = match &term.transform {
                Transform::Identity => String::new(),
                other => format!("{other:?} of "),
            };
            let one = |literal: &Literal| {
                let ty = literal.ty.as_ref().map(|ty| format!(" {ty}")).unwrap_or_default();
                format!("{}{ty}", literal.value)
            };
            let test = match test {
                Test::IsNull => "null".to_owned(),
                Test::IsNan => "nan".to_owned(),
                Test::Eq(literal) => format!("= {}", one(literal)),
                Test::Lt(literal) => format!("< {}", one(literal)),
                Test::LtEq(literal) => format!("<= {}", one(literal)),
                Test::Gt(literal) => format!("> {}", one(literal)),
                Test::GtEq(literal) => format!(">= {}", one(literal)),
                Test::StartsWith(literal) => format!("starts {}", one(literal)),
                Test::In(list) => format!("in [{}]", list.iter().map(one).collect::<Vec<_>>().join(", ")),
            };
            format!("{}{transform}{of} {test}", if *negated { "not " } else { "" })
        }
    }
}

fn read(text: &str) -> Result<Predicate, String> {
    Predicate::read(&json::read(text)?)
}

/// Both spellings of every predicate.
#[test]
fn what_is_read() {
    let texts = [
        "true",
        r#"{"type":"false"}"#,
        r#"{"type":"literal","value":false}"#,
        r#"{"type":"not","child":true}"#,
        r#"{"type":"is-null","term":"a"}"#,
        r#"{"type":"not-null","child":{"type":"reference","id":3}}"#,
        r#"{"type":"is-nan","child":{"type":"reference","name":"a.b"}}"#,
        r#"{"type":"not-nan","term":{"type":"reference","term":"a"}}"#,
        r#"{"type":"eq","term":"a","value":"EU"}"#,
        r#"{"type":"eq","left":{"type":"reference","id":1},"right":{"type":"literal","value":"EU"}}"#,
        r#"{"type":"not-eq","left":{"type":"reference","id":1},"right":"EU"}"#,
        r#"{"type":"lt","left":5,"right":{"type":"reference","id":1}}"#,
        r#"{"type":"gt-eq","left":{"type":"literal","value":5,"data-type":"long"},"right":{"type":"reference","id":1}}"#,
        r#"{"type":"lt-eq","term":"a","value":1.5}"#,
        r#"{"type":"gt","term":"a","value":true}"#,
        r#"{"type":"starts-with","term":"a","value":"x"}"#,
        r#"{"type":"not-starts-with","left":{"type":"reference","id":1},"right":"x"}"#,
        r#"{"type":"in","term":"a","values":["x",{"type":"literal","value":"y"}]}"#,
        r#"{"type":"not-in","child":{"type":"reference","id":1},"values":{"type":"literals","values":[1,2],"data-type":"int"}}"#,
        r#"{"type":"in","term":"a","values":[]}"#,
        r#"{"type":"not-in","term":"a","values":[]}"#,
        r#"{"type":"eq","term":{"type":"transform","transform":"bucket[16]","term":"a"},"value":3}"#,
        r#"{"type":"eq","term":{"type":"transform","transform":"truncate[4]","term":{"type":"reference","id":2}},"value":"abcd"}"#,
        r#"{"type":"eq","left":{"type":"transform","transform":"year","term":"a"},"right":{"type":"literal","value":3}}"#,
        r#"{"type":"eq","left":{"type":"apply","function":{"catalog":"iceberg_functions","identifier":["truncate"]},"arguments":[10,{"type":"reference","id":2}]},"right":30}"#,
        r#"{"type":"eq","left":{"type":"apply","function":{"catalog":"iceberg_functions","identifier":["day"]},"arguments":[{"type":"reference","id":2}]},"right":"2020-01-01"}"#,
        r#"{"type":"and","left":{"type":"and","left":{"type":"is-null","term":"a"},"right":{"type":"is-null","term":"b"}},"right":{"type":"or","left":{"type":"is-null","term":"c"},"right":{"type":"not-null","term":"d"}}}"#,
        r#"{"type":"not","child":{"type":"and","left":{"type":"lt","term":"a","value":1},"right":{"type":"not","child":{"type":"not-eq","term":"b","value":1}}}}"#,
        r#"{"type":"or","left":{"type":"is-null","term":"a"},"right":true}"#,
        r#"{"type":"and","left":{"type":"is-null","term":"a"},"right":true}"#,
        r#"{"type":"and","left":{"type":"is-null","term":"a"},"right":{"type":"not","child":true}}"#,
    ];
    let mut lines = String::new();
    for text in texts {
        let got = read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let _ = writeln!(lines, "{text}\n    {}", print(&got));
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn what_is_refused() {
    let deep = r#"{"type":"not","child":"#.repeat(10_000);
    let many = format!(r#"{{"type":"in","term":"a","values":[{}1]}}"#, "1,".repeat(10_000));
    let texts = [
        "1",
        "\"a\"",
        "null",
        "[]",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"like","term":"a","value":"x"}"#,
        r#"{"type":"EQ","term":"a","value":"x"}"#,
        r#"{"type":"literal","value":"x"}"#,
        r#"{"type":"eq","term":"a"}"#,
        r#"{"type":"eq","term":"a","value":null}"#,
        r#"{"type":"eq","term":"a","value":[1]}"#,
        r#"{"type":"eq","term":"a","value":{"type":"reference","id":1}}"#,
        r#"{"type":"eq","term":"a","value":1,"case-sensitive":false}"#,
        r#"{"type":"eq","term":"a","left":{"type":"reference","id":1},"right":1}"#,
        r#"{"type":"eq","left":"a","right":"b"}"#,
        r#"{"type":"eq","left":{"type":"reference","id":1},"right":{"type":"reference","id":2}}"#,
        r#"{"type":"starts-with","left":"ab","right":{"type":"reference","id":2}}"#,
        r#"{"type":"eq","term":{"type":"reference","id":1,"name":"a"},"value":1}"#,
        r#"{"type":"eq","term":{"type":"reference","id":4294967297},"value":1}"#,
        r#"{"type":"eq","term":{"type":"reference"},"value":1}"#,
        r#"{"type":"is-null","child":"a"}"#,
        r#"{"type":"in","term":"a","values":"x"}"#,
        r#"{"type":"in","term":"a","values":[null]}"#,
        r#"{"type":"and","left":true}"#,
        r#"{"type":"and","left":true,"right":true,"third":false}"#,
        r#"{"type":"not","child":1}"#,
        r#"{"type":"eq","type":"not-eq","term":"a","value":1}"#,
        r#"{"type":"eq","left":{"type":"apply","function":"mine","arguments":[{"type":"reference","id":2}]},"right":30}"#,
        r#"{"type":"eq","term":{"type":"transform","transform":"year","term":{"type":"transform","transform":"month","term":"a"}},"value":3}"#,
        &deep,
        &many,
    ];
    let mut lines = String::new();
    for text in texts {
        let why = read(text).map(|got| print(&got)).expect_err(text);
        let short: String = text.chars().take(150).collect();
        let _ = writeln!(lines, "{short}\n    {why}");
    }
    insta::assert_snapshot!(lines);
}
