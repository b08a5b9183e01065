//! Tests of the whole module.

use super::*;

fn parse(text: &str) -> Result<Statement, SqlError> {
    Statement::parse(text, &Limits::default())
}

fn relations(text: &str) -> String {
    let statement = match parse(text) {
        Ok(statement) => statement,
        Err(error) => return format!("error: {error}"),
    };
    let name = |relation: &Relation| {
        relation.name.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
    };
    statement.relations().iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn relations_are_found_wherever_they_stand() {
    let check = |text: &str, expect: &str| assert_eq!(relations(text), expect, "{text}");
    check("SELECT 1", "");
    check("SELECT * FROM a, b.c JOIN d.e.f ON x = y", "a b.c d.e.f");
    check("SELECT name XOR FROM nation", "nation");
    check("SELECT max(name) OVER FROM nation", "nation");
    check("SELECT 1 -- c\rFROM nation", "nation");
    check("TABLE nation", "nation");
    check("SELECT 1 UNION ALL TABLE nation ORDER BY 1", "nation");
    check("SELECT * FROM TABLE(exclude_columns(input => TABLE(nation), columns => DESCRIPTOR(a)))", "nation");
    check("SELECT * FROM TABLE(f(TABLE(SELECT * FROM t) PARTITION BY a ORDER BY b))", "t");
    check("SELECT (SELECT 1 FROM a), EXISTS (SELECT 1 FROM b), x IN (SELECT 1 FROM c)", "a b c");
    check("SELECT x > ALL (SELECT 1 FROM a) FROM b", "a b");
    check("SELECT ((SELECT 1 FROM a) + 2), (((SELECT 1 FROM b)))", "a b");
    check("SELECT ((SELECT 1 FROM a) UNION (SELECT 2 FROM b))", "a b");
    check("SELECT * FROM ((SELECT 1 FROM a) UNION SELECT 2 FROM b) t", "a b");
    check("SELECT * FROM ((SELECT 1 FROM a) t CROSS JOIN b)", "a b");
    check("SELECT * FROM ((a CROSS JOIN b))", "a b");
    check("SELECT * FROM a LEFT JOIN b JOIN c ON 1=1 ON 2=2", "a b c");
    check("SELECT * FROM UNNEST(ARRAY[(SELECT 1 FROM a)]) WITH ORDINALITY t(x)", "a");
    check("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE a.x = b.x) t", "a b");
    check("SELECT * FROM a TABLESAMPLE BERNOULLI (10) WHERE x LIKE 'a' ESCAPE 'b'", "a");
    check("SELECT * FROM a FOR VERSION AS OF 3 AS x", "a");
    check("VALUES (1, (SELECT 2 FROM a)), 3", "a");
    check("SELECT x FROM a GROUP BY GROUPING SETS ((), (x), (y, z)), ROLLUP (q) HAVING count(*) > 1", "a");
    check(
        "SELECT sum(x) FILTER (WHERE y IN (SELECT 1 FROM b)) OVER (PARTITION BY z ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM a",
        "b a",
    );
    check("SELECT json_value(x, 'lax $' RETURNING bigint DEFAULT (SELECT 1 FROM b) ON EMPTY) FROM a", "b a");
    check(
        "SELECT * FROM a MATCH_RECOGNIZE (MEASURES x AS y PATTERN (A B+ {- C -}) DEFINE A AS EXISTS (SELECT 1 FROM b)) AS m",
        "a b",
    );
    check("SELECT transform(x, y -> y + 1) FROM a", "a");
    check("SELECT (a, b) -> a FROM t", "t");
    check("SHOW STATS FOR nation", "nation");
    check("SHOW STATS FOR (SELECT * FROM a)", "a");
    check("DESCRIBE s.t", "s.t");
    check("SELECT 1 FROM \"A\".\"b c\".\"d\"\"e\"", "A.b c.d\"e");
    check("SELECT * FROM (TABLE(f()) AS t)", "");
    check("SELECT limit FROM offset limit", "offset");
    check("SELECT * FROM a WINDOW w AS (ORDER BY x)", "a");
    check("SELECT a.b.c.d.e FROM a.b.c.d", "error: line 1:23: a table's name has at most three parts");
}

#[test]
fn ctes_are_not_relations() {
    let check = |text: &str, expect: &str| assert_eq!(relations(text), expect, "{text}");
    check("WITH a AS (SELECT 1) SELECT * FROM a", "");
    check("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a");
    check("WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x FROM a) SELECT * FROM a", "");
    check("WITH a AS (SELECT 1) SELECT * FROM s.a", "s.a");
    check("WITH A AS (SELECT 1) SELECT * FROM \"a\"", "");
    check("WITH b AS (SELECT * FROM c), c AS (SELECT 1) SELECT * FROM b, c", "c");
    check("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", "a");
    check("WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM b, a", "b");
    check(
        "WITH a AS (SELECT 1) SELECT (SELECT x FROM a), (WITH a AS (SELECT * FROM z) SELECT 1 FROM a)",
        "z",
    );
    check("WITH session AS (SELECT 1) SELECT * FROM session", "");
}

#[test]
fn what_is_not_trinos_is_refused() {
    let check = |text: &str, expect: &str| {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    };
    check("", "line 1:1: the statement ends where a statement was expected");
    check("SELECT 1;", "line 1:9: mismatched input ';', expected the end of the statement");
    check("SELECT 1 /* x", "line 1:10: a comment without an end");
    check("SELECT 'x", "line 1:8: a string without an end");
    check("SELECT `x`", "line 1:8: backquoted identifiers are not supported; use double quotes");
    check("SELECT \u{A0}1", "line 1:8: unexpected character U+00A0");
    check("SELECT \u{FEFF}1", "line 1:8: unexpected character U+FEFF");
    check("SELECT n\u{430}me", "line 1:9: unexpected character U+0430");
    // Without a width, and a letter that is another one in upper case.
    check("SELECT na\u{200B}me FROM t", "line 1:10: unexpected character U+200B");
    check("SELECT a\u{2060}\nFROM t", "line 1:9: unexpected character U+2060");
    check("SELECT \u{17F}sn FROM t", "line 1:8: unexpected character U+017F");
    check("SELECT 1 FROM t\u{2028}", "line 1:16: unexpected character U+2028");
    // Several statements, also where the second one is nothing or hidden.
    check("SELECT 1; SELECT 2", "line 1:9: mismatched input ';', expected the end of the statement");
    check("SELECT 1\n/* x */ ;-- y", "line 2:9: mismatched input ';', expected the end of the statement");
    check("SELECT 1 SELECT 2", "line 1:10: mismatched input 'SELECT', expected the end of the statement");
    // Names and strings that do not end, also where a comment seems to end them.
    check("SELECT \"x FROM t", "line 1:8: a quoted identifier without an end");
    check("SELECT 1 FROM \"t/*\" */ x\"", "line 1:25: a quoted identifier without an end");
    check("SELECT '/*' FROM t */", "line 1:20: mismatched input '*', expected the end of the statement");
    check("SELECT 1 /* /* */ */ FROM t", "line 1:20: mismatched input '/', expected an expression");
    check(
        "SELECT 1a",
        "line 1:8: identifiers must not start with a digit; surround the identifier with double quotes",
    );
    check("SELECT 1\0", "line 1:9: a NUL character");
    check("SELECT 1\nFROM WHERE", "line 2:6: mismatched input 'WHERE', expected an identifier");
    check("SELECT 1 FROM a b c", "line 1:19: mismatched input 'c', expected the end of the statement");
    check("SELECT a = b = c", "line 1:14: mismatched input '=', expected the end of the statement");
    check("FROBNICATE x", "line 1:1: mismatched input 'FROBNICATE', expected a statement");
    check(
        "WITH FUNCTION f() RETURNS int RETURN (SELECT a FROM t) SELECT f()",
        "line 1:56: queries in functions are not supported",
    );
    check(
        "PREPARE a FROM PREPARE b FROM SELECT 1",
        "line 1:16: statements within a statement of this kind are not supported",
    );
}

/// What cannot be read is told with its place, whatever it is.
#[test]
fn escapes_that_are_none_have_a_place() {
    for (text, place) in
        [("SELECT U&\"\\0061\" FROM t", "line 1:9: "), ("SELECT 1 FROM U&\"t\"", "line 1:16: ")]
    {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(place), "{text}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in
        [("(", ")"), ("(SELECT ", ")"), ("ARRAY[", "]"), ("CASE WHEN ", " THEN 1 END"), ("f(", ")")]
    {
        let text = format!("SELECT {}1{}", open.repeat(10_000), close.repeat(10_000));
        assert!(matches!(parse(&text), Err(SqlError::TooDeep { .. })), "{open}");
        let text = format!("SELECT {}1{}", open.repeat(30), close.repeat(30));
        assert!(parse(&text).is_ok(), "{open}");
    }
    for (open, close) in [("(", ")"), ("(SELECT * FROM ", ")"), ("a JOIN ", " ON 1=1")] {
        let text = format!("SELECT * FROM {}a{}", open.repeat(10_000), close.repeat(10_000));
        assert!(matches!(parse(&text), Err(SqlError::TooDeep { .. })), "{open}");
    }
    let text = format!("SELECT CAST(1 AS {}bigint{})", "array(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(parse(&text), Err(SqlError::TooDeep { .. })));
    for flat in ["NOT ", "- ", "1 + ", "1 OR "] {
        assert!(parse(&format!("SELECT {}1", flat.repeat(50_000))).is_ok(), "{flat}");
    }
}

#[test]
fn printing_keeps_tokens_and_drops_comments() {
    let check = |text: &str, expect: &str| {
        let printed = parse(text).expect(text).print(&Edits::default());
        assert_eq!(printed.text, expect, "{text}");
    };
    check("select  Foo/* c */, \"B\"\"x\" -- d\n from\tt", "select Foo , \"B\"\"x\"\nfrom t");
    check("SELECT a.b,1e5||'it''s'", "SELECT a.b,1e5||'it''s'");
}

#[test]
fn places_lead_back() {
    let statement = parse("SELECT x\nFROM  t  WHERE bad").expect("a statement");
    let mut edits = Edits::default();
    edits.replace(statement.relations()[0].tokens.clone(), "(SELECT *\nFROM c.s.t) AS t");
    let printed = statement.print(&edits);
    assert_eq!(printed.text, "SELECT x\nFROM (SELECT *\nFROM c.s.t) AS t WHERE bad");
    let at = |line, column| crate::error::Location { line, column };
    assert_eq!(printed.map.original(at(3, 24)), Some(at(2, 16)));
    assert_eq!(printed.map.original(at(3, 6)), None);
    assert_eq!(printed.map.original(at(1, 8)), Some(at(1, 8)));
}

#[test]
fn the_way_back_is_kept_for_each_token() {
    use super::error::locate;
    let check = |text: &str, replaced: Option<std::ops::Range<u32>>, prefix: &str| {
        let statement = parse(text).expect("a statement");
        let mut edits = Edits::default();
        if let Some(tokens) = &replaced {
            edits.replace(tokens.clone(), "(SELECT 'é'\nFROM c.s.t)");
        }
        let printed = statement.print(&edits);
        let map = printed.map.behind(prefix);
        let sent = format!("{prefix}{}", printed.text);
        let told: SourceMap =
            serde_json::from_slice(&serde_json::to_vec(&map).expect("text")).expect("a map");
        let mut from = prefix.len();
        for (at, token) in (0..).zip(statement.tokens()) {
            if replaced.as_ref().is_some_and(|tokens| tokens.contains(&at)) {
                continue;
            }
            let word = &text[token.start as usize..token.end as usize];
            // Words of one text are told from each other by going on behind the last.
            let place = from + sent[from..].find(word).expect("it was printed");
            from = place + word.len();
            let expect = Some(locate(text, token.start as usize));
            let sent_at = locate(&sent, place);
            assert_eq!((map.original(sent_at), told.original(sent_at)), (expect, expect), "{word} of {sent}");
        }
        if replaced.is_some() {
            assert_eq!(map.original(locate(&sent, sent.find("FROM c.s.t").expect("ours"))), None);
        }
        assert!(map.size() <= 5 * statement.tokens().len(), "{} bytes", map.size());
    };
    for prefix in ["", "EXPLAIN ", "EXPLAIN\n(TYPE IO)\nÉ "] {
        check("SELECT  aa,bb /* no */ FROM tt\n\n  WHERE  aa = 'ä\nö' AND bb=2", None, prefix);
        check("SELECT aa\nFROM tt\nWHERE bb", Some(3..4), prefix);
        let long = format!("SELECT {}\nFROM tt", vec!["column_of_a_long_name"; 500].join(",  "));
        check(&long, Some(1001..1002), prefix);
    }
    for wrong in ["[[[1,5],null],[[1,4],null]]", "[[[1,1],[2,1]],[[1,2],[1,9]]]", "[[[0,1],null]]", "{}"] {
        assert!(serde_json::from_str::<SourceMap>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn references_have_their_scopes() {
    let statement =
        parse("SELECT s.t.a, s.t.* FROM s.t WHERE EXISTS (SELECT 1 FROM u WHERE u.x = s.t.b) ORDER BY s.t.c")
            .expect("ok");
    let shown: Vec<String> = statement
        .references()
        .iter()
        .map(|reference| {
            let parts: Vec<&str> = reference.parts.iter().map(|(part, _)| part.value.as_str()).collect();
            format!("{}{}@{}", parts.join("."), if reference.star { ".*" } else { "" }, reference.scope)
        })
        .collect();
    assert_eq!(shown, ["s.t.a@0", "s.t.*@0", "u.x@1", "s.t.b@1", "s.t.c@0"]);
    assert_eq!(statement.scopes()[1].parent, Some(0));
    assert_eq!(statement.relations()[0].scope, Some(0));
}

#[test]
fn expressions_name_their_columns() {
    let expression = Expression::parse(
        "region = 'EU' AND any_match(tags, t -> t.x = name) AND CAST(a AS date) < current_date",
        &Limits::default(),
    )
    .expect("an expression");
    let columns: Vec<&str> =
        expression.columns().iter().map(|column| column.parts[0].0.value.as_str()).collect();
    assert_eq!(columns, ["region", "tags", "name", "a"]);
    assert_eq!(expression.calls().len(), 1);
    let kinds: Vec<SpecialKind> = expression.specials().iter().map(|special| special.kind).collect();
    assert_eq!(kinds, [SpecialKind::TimeType, SpecialKind::CurrentDate]);
    assert!(Expression::parse("a) OR (b", &Limits::default()).is_err());
}

/// A list of values has no bound of its own: the text and its tokens have.
#[test]
fn long_lists_are_read_or_refused_as_too_long() {
    let list = |count: usize| format!("SELECT a FROM t WHERE a IN (0{})", ", 1".repeat(count));
    let statement = parse(&list(100_000)).expect("a statement");
    assert_eq!(statement.relations().len(), 1);
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    assert!(matches!(
        Statement::parse(&list(100_000), &limits),
        Err(SqlError::TooLong { unit: "bytes", .. })
    ));
    let limits = Limits { tokens: 1_000, ..Limits::default() };
    assert!(matches!(
        Statement::parse(&list(100_000), &limits),
        Err(SqlError::TooLong { unit: "words", .. })
    ));
}
