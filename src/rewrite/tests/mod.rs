//! Statements, what they become, and what they cannot do. The names of the threats are those of the threat model.

use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::catalog::{Column, Described, RelationKind, Type};
use crate::error::{Failure, Location};
use crate::identity::{Method, Principal};
use crate::policy::{Behind, Salt, Set};

const POLICIES: &str = "
version: 1
defaults: {tpch: allow}
policies:
  - {name: analysts, who: {users: [ann]}, tables: [lake.gold.*, lake.silver.*], allow: true}
  - {name: rows, who: {users: [ann]}, tables: [lake.gold.customers, lake.silver.customers], row_filter: region = 'EU'}
  - name: people
    who: {users: [ann]}
    tables: [lake.gold.customers, lake.silver.customers]
    column_masks: [{columns: [ssn], action: replace-with-null}]
    deny_columns: [secret]
  - name: cards
    who: {users: [ann]}
    tables: [lake.gold.cards]
    column_masks: [{columns: [number], sql: 'concat(substr(number, 1, 2), substr(secret, 1, 1))'}]
    deny_columns: [secret]
  - {name: writers, who: {users: [ann]}, tables: [lake.gold.open, 'lake.gold.new*', lake.gold.customers, 'lake.gold.cu*'], allow: true, write: true}
  - {name: sandbox, who: {users: [ann]}, tables: [lake.sandbox.*], allow: true, write: true}
  - {name: will, who: {users: [will]}, tables: [lake.gold.*, lake.silver.*], allow: true, write: true}
  - {name: no-bronze, who: {users: ['*'], except_users: [keeper]}, tables: [lake.bronze.*], deny: true}
  - {name: fast, who: {users: [ann]}, tables: [lake.gold.plain], row_filter: region = 'EU', isolation: standard, column_masks: [{columns: [region], action: replace-with-null}]}
  - {name: mapped, who: {users: [ann]}, tables: [lake.gold.mapped], row_filter: 'region IN (SELECT m.region FROM lake.bronze.map m WHERE m.reader = current_user)', run_as: {user: keeper}}
  - {name: map, who: {users: [keeper]}, tables: [lake.bronze.map], allow: true, row_filter: 'm = 1'}
  - {name: events, who: {users: [ann]}, tables: [lake.gold.events], row_filter: id > 0}
  - {name: cells, who: {users: [ann]}, tables: [lake.gold.cells], row_filter: n >= 10}
  - {name: root, who: {users: [root]}, tables: ['*.*.*'], allow: true, trusted_view: true}
  - {name: swift, who: {users: [swift]}, tables: ['*.*.*'], allow: true, trusted_view: true, isolation: standard}
";

fn described() -> Vec<Described> {
    let table = |name: [&str; 3], kind: RelationKind, columns: &[(&str, &str)]| Described {
        name: TableName::new(name[0], name[1], name[2]).expect("a name"),
        kind,
        columns: columns
            .iter()
            .map(|(name, ty)| Column { name: (*name).to_owned(), ty: Type::parse(ty) })
            .collect(),
    };
    let customers = [
        ("id", "bigint"),
        ("name", "varchar"),
        ("ssn", "varchar(11)"),
        ("region", "varchar"),
        ("secret", "varchar"),
    ];
    vec![
        table(["lake", "gold", "customers"], RelationKind::Table, &customers),
        table(["lake", "silver", "customers"], RelationKind::Table, &customers),
        table(
            ["lake", "gold", "cards"],
            RelationKind::Table,
            &[("number", "varchar"), ("ssn", "varchar"), ("secret", "varchar")],
        ),
        table(
            ["lake", "gold", "open"],
            RelationKind::Table,
            &[("id", "bigint"), ("customers", "row(id bigint)")],
        ),
        table(
            ["lake", "gold", "plain"],
            RelationKind::Table,
            &[("id", "bigint"), ("region", "varchar"), ("ssn", "varchar(11)")],
        ),
        table(
            ["lake", "gold", "events"],
            RelationKind::Table,
            &[("id", "bigint"), ("at", "timestamp(3)"), ("day", "date")],
        ),
        table(["lake", "gold", "mapped"], RelationKind::Table, &[("id", "bigint"), ("region", "varchar")]),
        table(
            ["lake", "bronze", "map"],
            RelationKind::Table,
            &[("reader", "varchar"), ("region", "varchar"), ("m", "bigint")],
        ),
        table(["lake", "gold", "view"], RelationKind::View, &[("id", "bigint"), ("Ssn", "varchar(11)")]),
        table(["lake", "gold", "outermost"], RelationKind::View, &[("ssn", "varchar(11)"), ("n", "bigint")]),
        table(["lake", "gold", "harmless"], RelationKind::View, &[("name", "varchar(25)")]),
        table(["lake", "gold", "cubed"], RelationKind::MaterializedView, &[("name", "varchar(25)")]),
        table(["lake", "gold", "cube_of_people"], RelationKind::MaterializedView, &[("n", "bigint")]),
        table(["lake", "gold", "cells"], RelationKind::View, &[("name", "varchar(25)"), ("n", "bigint")]),
        table(["lake", "gold", "short"], RelationKind::View, &[("id", "bigint")]),
        table(["lake", "gold", "hidden"], RelationKind::View, &[("id", "bigint")]),
        table(["lake", "gold", "round"], RelationKind::View, &[("id", "bigint")]),
        table(["lake", "bronze", "customers"], RelationKind::Table, &customers),
        table(["tpch", "tiny", "nation"], RelationKind::Table, &[("name", "varchar(25)")]),
        table(["tpch", "tiny", "customers"], RelationKind::Table, &[("id", "bigint"), ("ssn", "varchar")]),
        table(["system", "runtime", "queries"], RelationKind::Table, &[("query", "varchar")]),
    ]
}

/// What the views are made of.
const VIEWS: [(&str, &str); 9] = [
    ("view", "SELECT customers.id, ssn FROM lake.gold.customers WHERE lake.gold.customers.name LIKE 'A%'\n"),
    ("outermost", "WITH x AS (TABLE lake.gold.view) SELECT ssn, count(*) FROM x GROUP BY 1"),
    ("harmless", "SELECT name FROM tpch.tiny.nation"),
    ("cubed", "SELECT name FROM tpch.tiny.nation"),
    ("cube_of_people", "SELECT count(*) FROM lake.gold.customers"),
    ("cells", "SELECT name, count(*) AS n FROM tpch.tiny.nation GROUP BY name"),
    ("short", "SELECT id FROM customers"),
    ("hidden", "SELECT id FROM lake.bronze.customers"),
    ("round", "SELECT id FROM lake.gold.round"),
];

struct Session {
    user: &'static str,
    catalog: Option<&'static str>,
    schema: Option<&'static str>,
}

const ANN: Session = Session { user: "ann", catalog: Some("lake"), schema: Some("gold") };
const WILL: Session = Session { user: "will", catalog: Some("lake"), schema: Some("gold") };
const ROOT: Session = Session { user: "root", catalog: Some("lake"), schema: Some("gold") };
const SWIFT: Session = Session { user: "swift", catalog: Some("lake"), schema: Some("gold") };

impl Session {
    /// The whole way of a statement, EXECUTE and DESCRIBE INPUT among them: `prepared` is behind every name.
    fn send(&self, sql: &str, prepared: &str) -> Result<ScopedSql, String> {
        let limits = Limits::default();
        let fail = |error: &dyn Failure| format!("{}: {}", error.code().name, error.client_message());
        let parse = |sql: &str| Statement::parse(sql, &limits).map_err(|error| fail(&error));
        let statement = parse(sql)?;
        let inner = match statement.kind() {
            Kind::Execute { .. } | Kind::DescribeInput { .. } | Kind::DescribeOutput { .. } => {
                Some(parse(prepared)?)
            }
            Kind::ExecuteImmediate { text, .. } => Some(parse(text)?),
            _ => None,
        };
        let names = Names { catalog: self.catalog, schema: self.schema };
        let relations =
            resolve(inner.as_ref().unwrap_or(&statement), &names).map_err(|error| fail(&error))?;
        let known = described();
        let found = relations
            .iter()
            .map(|name| {
                let relation = known.iter().find(|relation| relation.name == *name);
                relation.cloned().map(Arc::new).ok_or_else(|| format!("NO SUCH TABLE {name}"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let set = Set::parse(&[("p.yaml", POLICIES)]).expect("policies");
        let principal = Principal::new(self.user, Method::Password);
        let mut behind = Behind::default();
        let opaque = |found: &[Arc<Described>]| -> Vec<TableName> {
            let views = found.iter().filter(|one| one.kind != RelationKind::Table);
            views.filter(|view| !set.trusts(&principal, &view.name)).map(|view| view.name.clone()).collect()
        };
        let mut level = opaque(&found);
        while let Some(name) = level.pop() {
            let (_, definition) = VIEWS.iter().find(|(view, _)| *view == name.table).expect("a definition");
            let view =
                open_view(definition, &limits).map_err(|error| format!("CLOSED VIEW {name}: {error}"))?;
            let reads: Vec<Arc<Described>> =
                known.iter().filter(|one| view.reads.contains(&one.name)).cloned().map(Arc::new).collect();
            level.extend(
                opaque(&reads).into_iter().filter(|read| *read != name && !behind.views.contains_key(read)),
            );
            behind.below.push((name.clone(), reads));
            behind.views.insert(name, Arc::new(view));
        }
        let all = found.iter().chain(behind.below.iter().flat_map(|(_, reads)| reads));
        let of_policies = set.read_by_policies(&principal, all.map(|one| &one.name));
        for one in known.iter().filter(|one| of_policies.iter().any(|(name, _)| **name == one.name)) {
            behind.read_by_policies.insert(one.name.clone(), Arc::new(one.clone()));
        }
        let mut permit = set
            .decide_through(&principal, &found, &behind, &Salt::from_bytes([1; 16]))
            .map_err(|error| fail(&error))?;
        let written = inner.as_ref().unwrap_or(&statement);
        let existing: Vec<Existing> = targets(written, &names)
            .map_err(|error| fail(&error))?
            .iter()
            .map(|name| known.iter().find(|relation| relation.name == *name).cloned().map(Arc::new))
            .map(|described| Existing { described, ..Existing::default() })
            .collect();
        permit_change(written, &names, &principal, &set, &existing, &mut permit).map_err(|denied| {
            match denied {
                ChangeDenied::Policy(denial) => fail(&denial),
                ChangeDenied::Statement(error) => fail(&error),
            }
        })?;
        let context = Context {
            names,
            permit: &permit,
            properties: &["query_max_run_time".to_owned(), "spill_enabled".to_owned()],
            fixed: &[("spill_enabled".to_owned(), "true".to_owned())],
            limits: &limits,
        };
        let scoped = match (statement.kind(), &inner) {
            (Kind::Execute { arguments, .. } | Kind::ExecuteImmediate { arguments, .. }, Some(inner)) => {
                execute(&statement, arguments.clone(), inner, &context)
            }
            (Kind::DescribeInput { name } | Kind::DescribeOutput { name }, Some(inner)) => {
                describe(&statement, &name.value, inner, &context)
            }
            _ => rewrite(&statement, &context),
        };
        scoped.map_err(|error| fail(&error))
    }

    fn shown(&self, sql: &str) -> String {
        match self.send(sql, "SELECT ssn FROM customers WHERE id = ?") {
            Err(message) => message,
            Ok(sent) => {
                let restricted = if sent.restricted() { "[restricted] " } else { "" };
                let prepared =
                    sent.prepared().map_or(String::new(), |(name, text)| format!(" [{name}: {text}]"));
                format!("{restricted}{}{prepared}", sent.text())
            }
        }
    }
}

/// Each statement with what becomes of it. `{gold.customers}` stands for the derived table of that relation.
fn golden(session: &Session, statements: &[&str]) -> String {
    let derived = ["gold.customers", "silver.customers"].map(|name| {
        let sent = ANN.shown(&format!("SELECT * FROM {name}"));
        let text =
            sent.trim_start_matches("[restricted] SELECT * FROM ").trim_end_matches(" AS \"customers\"");
        (text.to_owned(), format!("{{{name}}}"))
    });
    let mut text = String::new();
    for sql in statements {
        let mut shown = session.shown(sql).replace('\n', "\n     ");
        for (long, short) in &derived {
            shown = shown.replace(long, short).replace(&long[1..long.len() - 1], short);
        }
        let _ = writeln!(text, "{sql}\n  -> {shown}");
    }
    text
}

macro_rules! assert_golden {
    ($session:expr, $statements:expr) => {
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(golden($session, $statements));
        });
    };
}

mod conditions;
mod kinds;
mod policies;
mod statements;

#[test]
fn relations_become_derived_tables() {
    assert_golden!(
        &ANN,
        &[
            "SELECT * FROM customers",
            "SELECT * FROM cards",
            "SELECT * FROM open",
            "SELECT * FROM lake.gold.customers AS c (a, b, d, e)",
            "SELECT c.name -- the name\nFROM lake /* x */ . gold.customers c JOIN tpch.tiny.nation n ON c.name = n.name",
            "SELECT customers.name FROM gold.customers",
            "TABLE customers ORDER BY 1",
            "SELECT 1 UNION ALL (TABLE customers)",
            "SELECT * FROM TABLE(exclude_columns(input => TABLE(customers), columns => DESCRIPTOR(ssn)))",
            "SELECT * FROM TABLE(system.builtin.exclude_columns(TABLE(customers) AS c, DESCRIPTOR(ssn)))",
            "SELECT * FROM customers FOR VERSION AS OF 12 AS c",
            "SELECT * FROM customers FOR TIMESTAMP AS OF TIMESTAMP '2025-01-01 00:00:00 UTC'",
            "SELECT * FROM open FOR VERSION AS OF 12",
            "SELECT current_catalog, current_schema FROM open",
            "VALUES 1, 2",
            "SELECT * FROM customers MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS true) AS m",
        ]
    );
}

#[test]
fn t1_other_spellings_of_a_name() {
    let expect = ANN.shown("SELECT 1 FROM lake.gold.customers");
    assert!(expect.starts_with("[restricted] SELECT 1 FROM (SELECT IF("), "{expect}");
    for name in [
        "customers",
        "CUSTOMERS",
        "\"Customers\"",
        "gold.customers",
        "\"LAKE\".\"Gold\".\"CUSTOMERS\"",
        "\"la\u{212a}e\".gold.customers",
        "gold . customers",
        "gold/**/./**/customers",
        "gold.--\ncustomers",
    ] {
        assert_eq!(ANN.shown(&format!("SELECT 1 FROM {name}")), expect, "{name}");
        assert!(ANN.shown(&format!("SELECT 1 FROM ({name})")).contains("( (SELECT IF("), "({name})");
    }
    let check = |sql: &str, expect: &str| assert_eq!(ANN.shown(sql), expect, "{sql}");
    // U+017F is no s in the name of a table.
    check("SELECT 1 FROM \"cu\u{17f}tomers\"", "NO SUCH TABLE lake.gold.\"cu\u{17f}tomers\"");
    check("SELECT 1 FROM \"customers \"", "NO SUCH TABLE lake.gold.\"customers \"");
    // A homonym elsewhere stays as it is.
    check("SELECT 1 FROM tpch.tiny.customers", "SELECT 1 FROM \"tpch\".\"tiny\".\"customers\"");
    let nowhere = Session { catalog: None, schema: None, ..ANN };
    assert_eq!(
        nowhere.shown("SELECT 1 FROM customers"),
        "MISSING_SCHEMA_NAME: Schema must be specified when session schema is not set"
    );
    let elsewhere = Session { catalog: Some(" TPCH "), schema: Some("Tiny"), ..ANN };
    assert_eq!(elsewhere.shown("SELECT 1 FROM customers"), "SELECT 1 FROM \"tpch\".\"tiny\".\"customers\"");
}

/// How often a restricted table is read in what is sent.
fn read(sql: &str) -> usize {
    let sent = ANN.send(sql, "").unwrap_or_else(|message| panic!("{sql}: {message}"));
    sent.text().matches("FROM \"lake\".\"gold\".\"customers\"").count()
}

#[test]
fn t2_ctes_and_protected_names() {
    let check = |sql: &str, expect: usize| assert_eq!(read(sql), expect, "{sql}");
    check("WITH customers AS (SELECT 1 AS ssn) SELECT ssn FROM customers", 0);
    check("WITH customers AS (SELECT * FROM customers) SELECT ssn FROM customers", 1);
    check("WITH \"Customers\" AS (SELECT 1 x) SELECT * FROM CUSTOMERS", 0);
    check("WITH a AS (SELECT * FROM customers), customers AS (SELECT 1 x) SELECT * FROM a, customers", 1);
    check("WITH customers AS (SELECT 1 x) SELECT * FROM gold.customers", 1);
    check("SELECT * FROM (WITH customers AS (SELECT 1 x) SELECT * FROM customers) a, customers", 1);
    check("WITH customers AS (SELECT 1 x) SELECT (SELECT max(x) FROM customers)", 0);
    check(
        "WITH customers AS (SELECT 1 x) SELECT * FROM TABLE(exclude_columns(TABLE(customers), DESCRIPTOR(y)))",
        0,
    );
    check(
        "WITH RECURSIVE customers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM customers WHERE n < 3) SELECT * FROM customers",
        0,
    );
    check(
        "WITH RECURSIVE a(n) AS (SELECT id FROM customers), customers(n) AS (SELECT n FROM a) SELECT * FROM customers",
        1,
    );
    // Trino reads the table here, though a recursive query of its name is around.
    let sql = "WITH RECURSIVE customers(n) AS (WITH customers AS (SELECT ssn FROM customers) SELECT * FROM customers) SELECT * FROM customers";
    assert!(ANN.shown(sql).starts_with("NOT_SUPPORTED: "), "{}", ANN.shown(sql));
}

/// T3: wherever a relation can stand, it is found.
#[test]
fn t3_references_in_every_place() {
    let one = "(SELECT max(ssn) FROM customers)";
    for sql in [
        format!("SELECT {one}"),
        format!("SELECT 1 FROM open WHERE '' = {one}"),
        format!("SELECT 1 FROM open a JOIN open b ON '' = {one}"),
        format!("SELECT 1 FROM open GROUP BY {one}"),
        format!("SELECT count(*) FROM open HAVING '' = {one}"),
        format!("SELECT 1 FROM open ORDER BY {one}"),
        format!("SELECT sum(id) OVER (PARTITION BY {one} ORDER BY id) FROM open"),
        format!("SELECT sum(id) OVER w FROM open WINDOW w AS (PARTITION BY {one})"),
        format!("SELECT count(*) FILTER (WHERE '' = {one}) FROM open"),
        format!("SELECT CASE WHEN '' = {one} THEN 1 END"),
        format!("SELECT CAST({one} AS varchar), TRY_CAST({one} AS varchar)").replacen(one, "1", 1),
        format!("SELECT filter(ARRAY['a'], x -> x = {one})"),
        format!("SELECT ARRAY[{one}], ROW(1)"),
        format!("SELECT ARRAY['a'][length({one})]"),
        format!("SELECT a FROM UNNEST(ARRAY[{one}]) t(a)"),
        format!("SELECT a FROM LATERAL (SELECT {one} AS a)"),
        format!("VALUES ({one})"),
        format!("SELECT * FROM JSON_TABLE({one}, 'lax $' COLUMNS (x varchar PATH 'lax $'))"),
        format!("SELECT json_value('{{}}', 'lax $' PASSING {one} AS x)"),
        format!("SELECT EXTRACT(year FROM date({one})), trim(BOTH FROM 'x')"),
        format!("SELECT listagg({one}, ',') WITHIN GROUP (ORDER BY 1)"),
        format!("SELECT coalesce({one}, ''), 1"),
        "SELECT id IN (SELECT id FROM customers) FROM open".to_owned(),
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM customers)".to_owned(),
        "SELECT 1 WHERE 1 = ALL (SELECT id FROM customers)".to_owned(),
        "SELECT 1 EXCEPT SELECT id FROM customers".to_owned(),
        "(SELECT id FROM customers) UNION DISTINCT CORRESPONDING SELECT 1 AS id".to_owned(),
        "SELECT * FROM ((open CROSS JOIN (customers)))".to_owned(),
        "SELECT 1 FROM open LEFT JOIN customers USING (id)".to_owned(),
        "SELECT name XOR FROM customers".to_owned(),
        "SELECT max(name) OVER FROM customers".to_owned(),
        "SELECT 1 --\rFROM customers".to_owned(),
        "SELECT 1 FROM open, customers".to_owned(),
        "SELECT * FROM TABLE(exclude_columns(TABLE(SELECT * FROM customers), DESCRIPTOR(ssn)))".to_owned(),
        "EXPLAIN (TYPE VALIDATE) SELECT * FROM customers".to_owned(),
    ] {
        assert_eq!(read(&sql), 1, "{sql}");
    }
}

/// T4: what looks like a comment, a string or a name to somebody else.
#[test]
fn t4_lexer_differentials() {
    assert_golden!(
        &ANN,
        &[
            "SELECT '--', ssn FROM open -- FROM customers",
            "SELECT /* /* */ 1 /* */ FROM open",
            "SELECT '\\' FROM open WHERE '' <> ' FROM customers'",
            "SELECT \"a\"\"b\" FROM open",
            "SELECT U&'\\0041' FROM open",
            "SELECT 1 FROM open; SELECT 1 FROM customers",
            "SELECT `ssn` FROM customers",
            "SELECT 1 FROM customers\u{0}",
            "\u{feff}SELECT 1 FROM customers",
            "SELECT\u{a0}1 FROM customers",
            "SELECT 'unterminated FROM customers",
            "SELECT 1 /* FROM customers",
            "SELECT ssn FROM U&\"customers\"",
        ]
    );
}

#[test]
fn t6_column_references() {
    assert_golden!(
        &ANN,
        &[
            "SELECT gold.customers.ssn, lake.gold.customers.id, customers.id FROM lake.gold.customers",
            "SELECT gold.customers.* FROM lake.gold.customers",
            "SELECT lake.gold.customers.* FROM lake.gold.customers",
            "SELECT \"Gold\".\"CUSTOMERS\".\"S\u{17f}N\" FROM gold.customers",
            // The name has fewer parts than the reference: an error at Trino, before and after.
            "SELECT gold.customers.ssn FROM customers",
            "SELECT gold.customers.ssn FROM gold.customers AS c",
            "SELECT (SELECT gold.customers.id) FROM gold.customers",
            "SELECT 1 FROM gold.customers WHERE EXISTS (SELECT 1 FROM gold.open WHERE open.id = gold.customers.id)",
            "SELECT gold.customers.id, silver.customers.id FROM gold.customers, silver.customers",
            "SELECT name FROM gold.customers, silver.customers c",
            "SELECT gold.customers.id FROM gold.customers JOIN gold.open o ON o.id = gold.customers.id ORDER BY gold.customers.name",
            // A field of a row column, not a table.
            "SELECT gold.open.customers.id FROM gold.open",
        ]
    );
}

/// T7, T8: what is not a table's own.
#[test]
fn t7_t8_hidden_columns_and_metadata_tables() {
    let columns = "id, name, ssn, region";
    let sent = ANN.shown("SELECT * FROM customers");
    assert!(!sent.contains("AS \"secret\""), "{columns}: {sent}");
    for name in [
        "\"customers$files\"",
        "gold.\"CUSTOMERS$PARTITIONS\"",
        "\"open$snapshots\"",
        "\"mv$materialized_view_storage\"",
        "\"gold$x\".customers",
        "\"lake$\".gold.customers",
    ] {
        for user in [&ANN, &ROOT] {
            let shown = user.shown(&format!("SELECT * FROM {name}"));
            assert!(shown.starts_with("TABLE_NOT_FOUND: Table '"), "{name}: {shown}");
        }
    }
}

#[test]
fn t9_table_functions() {
    assert_golden!(
        &ANN,
        &[
            "SELECT * FROM TABLE(sequence(1, 3))",
            "SELECT * FROM TABLE(SYSTEM.builtin.\"Sequence\"(1, 3))",
            "SELECT * FROM TABLE(lake.system.table_changes('gold', 'customers', 1, 2))",
            "SELECT * FROM TABLE(system.table_changes('gold', 'customers', 1, 2))",
            "SELECT * FROM TABLE(table_changes('gold', 'customers', 1, 2))",
            "SELECT * FROM TABLE(postgres.system.query('SELECT 1'))",
            "SELECT * FROM TABLE(query('SELECT 1'))",
            "SELECT lake.gold.f(1)",
            "SELECT gold.f(1)",
            "SELECT system.builtin.lower('A')",
        ]
    );
}

#[test]
fn t10_versions_and_samples() {
    assert_golden!(
        &ANN,
        &[
            "SELECT 1 FROM customers FOR VERSION AS OF 1 + 1",
            "SELECT 1 FROM customers FOR VERSION AS OF ?",
            "SELECT 1 FROM customers FOR VERSION AS OF (SELECT max(id) FROM open)",
            "SELECT 1 FROM customers TABLESAMPLE BERNOULLI (10)",
            "SELECT 1 FROM (customers) TABLESAMPLE SYSTEM (10)",
            "SELECT 1 FROM customers AS c TABLESAMPLE SYSTEM (10)",
            "SELECT 1 FROM open TABLESAMPLE BERNOULLI (10)",
            "SELECT 1 FROM information_schema.tables TABLESAMPLE BERNOULLI (10)",
        ]
    );
}

/// T11: nothing of the statement can stand in the place of a policy's function, or of its columns.
#[test]
fn t11_inline_functions_and_captured_names() {
    let check = |sql: &str, expect: &str| {
        let shown = ANN.shown(sql);
        assert!(shown.starts_with(expect), "{sql}: {shown}");
    };
    let denied = "PERMISSION_DENIED: Access Denied: functions of the statement's own";
    check("WITH FUNCTION random() RETURNS double RETURN 3 SELECT * FROM customers", denied);
    check("WITH FUNCTION lower(x varchar) RETURNS varchar RETURN x TABLE information_schema.tables", denied);
    check(
        "WITH FUNCTION f() RETURNS bigint RETURN 3 SELECT f() FROM open",
        "WITH FUNCTION f() RETURNS bigint",
    );
    check("WITH FUNCTION f() RETURNS bigint RETURN (SELECT max(id) FROM open) SELECT f()", "NOT_SUPPORTED");
    check("WITH FUNCTION f() RETURNS bigint LANGUAGE PYTHON AS $$ x $$ SELECT f()", "NOT_SUPPORTED");
    check("WITH FUNCTION f() RETURNS bigint RETURN a.b.c() SELECT f()", "PERMISSION_DENIED");
    check(
        "WITH SESSION query_max_run_time = '1s' SELECT id FROM open",
        "WITH SESSION query_max_run_time = '1s'",
    );
    check("WITH SESSION time_zone_id = 'UTC' SELECT id FROM open", "INVALID_SESSION_PROPERTY");
    // What the class sets stands; in the session its value comes last.
    check("WITH SESSION spill_enabled = false SELECT id FROM open", "INVALID_SESSION_PROPERTY");
    check("WITH SESSION \"Spill_Enabled\" = false SELECT id FROM open", "INVALID_SESSION_PROPERTY");
    check(
        "EXPLAIN ANALYZE WITH SESSION spill_enabled = false SELECT id FROM open",
        "INVALID_SESSION_PROPERTY",
    );
    check("EXECUTE IMMEDIATE 'WITH SESSION spill_enabled = false SELECT 1'", "INVALID_SESSION_PROPERTY");
    check("WITH SESSION query_max_run_time = (SELECT name FROM customers) SELECT 1", "NOT_SUPPORTED");
    // The alias inside is none that the statement has, so that a dropped column finds nothing.
    let sent =
        ANN.shown("SELECT (SELECT max(ssn) FROM customers) FROM (VALUES ('EU')) AS northgate_t (region)");
    assert!(sent.contains("WHERE (\"northgate_t1\".\"region\" = 'EU')"), "{sent}");
    let sent = ANN
        .shown("SELECT (SELECT max(ssn) FROM customers) FROM (VALUES ('EU')) AS \"NorthGate_T1\" (region)");
    assert!(sent.contains("WHERE (\"northgate_t2\".\"region\" = 'EU')"), "{sent}");
}
