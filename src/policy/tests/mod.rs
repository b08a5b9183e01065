//! Sets, decisions and listings, over the documents that are shipped and over small ones.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::catalog::{Column, RelationKind, TableName, Type};
use crate::error::Failure;
use crate::identity::Method;

mod expressions;
mod reach;
mod rulings;

fn table(name: &str, columns: &str) -> Arc<Described> {
    relation(name, RelationKind::Table, columns)
}

/// `columns` is `name type, name type`; commas within types have no blank behind them.
fn relation(name: &str, kind: RelationKind, columns: &str) -> Arc<Described> {
    let parts: Vec<&str> = name.split('.').collect();
    let columns = columns
        .split(", ")
        .filter_map(|column| column.split_once(' '))
        .map(|(name, ty)| Column { name: name.to_owned(), ty: Type::parse(ty) })
        .collect();
    let name = TableName::new(parts[0], parts[1], parts[2]).expect("a name");
    Arc::new(Described { name, kind, columns })
}

const CUSTOMERS: &str = "id bigint, name varchar, email varchar, ssn varchar, region varchar, balance \
                         decimal(12,2), date_of_birth date";

fn user(name: &str, groups: &[&str]) -> Principal {
    Principal::new(name, Method::Password).with_groups(groups.iter().copied())
}

fn salt() -> Salt {
    Salt::from_bytes([7; 16])
}

fn set(text: &str) -> Set {
    let text = if text.starts_with("version") { text.to_owned() } else { format!("version: 1\n{text}") };
    Set::parse(&[("a.yaml", text)]).expect("a good set")
}

fn errors(text: &str) -> String {
    let text = format!("version: 1\n{text}");
    Set::parse(&[("a.yaml", text)]).map_or_else(|errors| errors.to_string(), |_| "no error".to_owned())
}

/// What a sub-query reads, for short.
fn by_name(scoped: &Scoped, alias: &str) -> String {
    let filters: Vec<String> = scoped.filters().iter().map(|filter| filter.render(alias, by_name)).collect();
    format!("{} where [{}]", scoped.described().name, filters.join(", "))
}

/// A decision as text.
fn shown(decision: &Result<Permit, Denial>) -> String {
    let permit = match decision {
        Ok(permit) => permit,
        Err(denial) => return format!("{}: {denial}\n", denial.code().name),
    };
    let mut text = String::new();
    for scoped in permit.tables() {
        let restricted = if scoped.is_restricted() { "restricted" } else { "as it is" };
        let zone = if permit.pins_time_zone() { ", in UTC" } else { "" };
        let _ = writeln!(text, "{restricted}{zone}");
        for filter in scoped.filters() {
            let _ = writeln!(text, "  where {}", filter.render("t", by_name));
        }
        let columns: Vec<&str> = scoped.columns().map(|column| column.name.as_str()).collect();
        let _ = writeln!(text, "  columns {}", columns.join(", "));
        for column in scoped.columns() {
            if let Some(mask) = scoped.mask(&column.name) {
                let _ = writeln!(text, "  {} = {}", column.name, mask.render("t", by_name));
            }
        }
    }
    text
}

fn shipped() -> Set {
    // Tests run in the folder of the crate.
    Set::load(Path::new("policies"), &Surroundings::default()).expect("the shipped policies")
}

#[test]
fn the_schema_is_the_one_that_is_shipped() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies/schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema()).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("policies/schema.json"), schema());
}

/// Every principal on every kind of object. A new object belongs in here.
#[test]
fn principal_x_object_golden() {
    let payments = "id bigint, customer_id bigint, region varchar, card_number varchar, amount decimal(12,2), \
                    paid_at timestamp(6)";
    let orders = "id bigint, customer_id bigint, region varchar, ordered_at timestamp(6), amount decimal(12,2), \
                  status varchar";
    let objects = [
        table("lake.bronze.customers", CUSTOMERS),
        table("lake.silver.customers", CUSTOMERS),
        table("lake.gold.customers", CUSTOMERS),
        table("lake.silver.orders", orders),
        table("lake.silver.card_payments", payments),
        table("lake.gold.without_region", "id bigint"),
        table("lake.sandbox.people", "email varchar, note varchar"),
        relation("lake.gold.directory", RelationKind::View, "email varchar, region varchar"),
        relation("lake.gold.cube", RelationKind::MaterializedView, "region varchar, amount double"),
        table("lake.silver.customers$files", "file_path varchar"),
        table("lake.information_schema.tables", "table_name varchar"),
        table("system.runtime.queries", "query_id varchar"),
        table("tpch.tiny.nation", "name varchar(25)"),
        relation("tpch.tiny.view", RelationKind::View, "name varchar(25)"),
        table("memory.scratch.t", "a bigint"),
    ];
    let principals = [
        user("ann", &["eu-analysts"]),
        user("cara", &["compliance"]),
        user("both", &["compliance", "eu-analysts"]),
        user("emil", &["engineers"]),
        user("sam", &["support"]),
        user("svc-dbt", &["pipelines"]),
        user("svc-fraud", &[]),
        user("nobody", &[]),
    ];
    let set = shipped();
    let mut text = String::new();
    for principal in &principals {
        for object in &objects {
            let decision = set.decide_with(principal, &[Arc::clone(object)], &salt());
            let _ = writeln!(text, "{principal} reads {} {:?}", object.name, object.kind);
            text.push_str(&shown(&decision));
        }
        let seen = set.visibility(principal);
        let _ = writeln!(text, "{principal} lists");
        let _ = writeln!(text, "  catalogs {}", seen.catalogs_predicate("c"));
        let _ = writeln!(text, "  schemas {}", seen.schemas_predicate("c", "s"));
        let _ = writeln!(text, "  tables {}", seen.tables_predicate("c", "s", "t"));
        let _ = writeln!(text, "  columns {}", seen.columns_predicate("c", "s", "t", "x"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn rules_of_the_decision() {
    let check = |policies: &str, object: &Arc<Described>, expect: &str| {
        let decision = set(policies).decide_with(&user("ann", &["a"]), &[Arc::clone(object)], &salt());
        assert_eq!(shown(&decision).trim_end(), expect, "{policies}");
    };
    let t = table("c.s.t", "a varchar, b bigint");
    let all = "\n  - {name: all, who: {users: [ann]}, tables: [c.s.t], allow: true}";
    let with = |rest: &str| {
        format!("policies:{all}\n  - {{name: p, who: {{groups: [a]}}, tables: ['c.*.t'], {rest}}}")
    };
    check("policies: []", &t, "TABLE_NOT_FOUND: no policy allows c.s.t");
    check(&format!("policies:{all}"), &t, "as it is\n  columns a, b");
    check(&with("deny: true"), &t, "TABLE_NOT_FOUND: c.s.t is denied by p (a.yaml:4)");
    check(&with("row_filter: 'b > 1'"), &t, "restricted\n  where \"t\".\"b\" > 1\n  columns a, b");
    check(
        &with("row_filter: 'B > 1 AND lower(a) = current_user'"),
        &t,
        "restricted\n  where \"t\".\"b\" > 1 AND system.builtin.lower ( \"t\".\"a\" ) = 'ann'\n  columns a, b",
    );
    check(&with("deny_columns: ['B']"), &t, "restricted\n  columns a");
    check(&with("deny_columns: ['*']"), &t, "TABLE_NOT_FOUND: all columns of c.s.t are hidden");
    check(
        &with("column_masks: [{columns: [b], action: replace-with-null}]"),
        &t,
        "restricted\n  columns a, b\n  b = CAST(NULL AS bigint)",
    );
    check(
        &with("column_masks: [{columns: [b], sql: 'b + length(a)'}]"),
        &t,
        "restricted\n  columns a, b\n  b = CAST(\"t\".\"b\" + system.builtin.length ( \"t\".\"a\" ) AS bigint)",
    );
    check(
        &with("column_masks: [{columns: ['*'], action: mask-alphanum}]"),
        &t,
        "PERMISSION_DENIED: p (a.yaml:4) cannot be applied to c.s.t: column b: the action mask-alphanum does not apply \
         to the type bigint",
    );
    // A literal that holds what looks like a column or an alias is a literal still.
    check(
        &with("row_filter: \"a = 'b, \\\"t\\\".\\\"b\\\"'\""),
        &t,
        "restricted\n  where \"t\".\"a\" = 'b, \"t\".\"b\"'\n  columns a, b",
    );
    check(
        &with("row_filter: 'ts > 1'"),
        &t,
        "PERMISSION_DENIED: p (a.yaml:4) cannot be applied to c.s.t: row_filter: there is no column \"ts\"",
    );
    let view = relation("c.s.t", RelationKind::View, "a varchar");
    check(
        &format!("policies:{all}"),
        &view,
        "PERMISSION_DENIED: c.s.t is a view that no policy trusts, and what it reads is not to be seen or not clear",
    );
    check(
        &format!("policies:{all}").replace("allow: true", "allow: true, trusted_view: true"),
        &view,
        "as it is, in UTC\n  columns a",
    );
}

#[test]
fn who_may_write() {
    let check = |policies: &str, existing: Option<&Arc<Described>>, expect: &str| {
        let (set, ann) = (set(policies), user("ann", &["a"]));
        let mut permit = set.decide_with(&ann, &[], &salt()).expect("nothing is read");
        let name = TableName::new("c", "s", "t").expect("a name");
        let written = set.permit_write(
            &mut permit,
            &ann,
            &Target { name: &name, expected: RelationKind::Table, existing, ruling: None, granted: None },
        );
        let shown = written.map_or_else(|denial| denial.to_string(), |()| "may write".to_owned());
        assert_eq!(shown, expect, "{policies}");
        assert_eq!(permit.may_write(&name), expect == "may write", "{policies}");
    };
    let t = table("c.s.t", "a varchar, b bigint");
    let of =
        |rest: &str| format!("policies:\n  - {{name: p, who: {{groups: [a]}}, tables: ['c.s.*'], {rest}}}");
    for existing in [None, Some(&t)] {
        check("policies: []", existing, "no policy allows c.s.t");
        check(&of("allow: true"), existing, "no policy lets c.s.t be written");
        check(&of("allow: true, write: true"), existing, "may write");
        check(&of("deny: true"), existing, "c.s.t is denied by p (a.yaml:3)");
        check("defaults: {c: allow}", existing, "no policy lets c.s.t be written");
    }
    let restricted =
        "c.s.t cannot be changed by somebody who does not see it as it is, or is of another kind";
    for rest in [
        "row_filter: 'b > 1'",
        "deny_columns: [b]",
        "column_masks: [{columns: [b], action: replace-with-null}]",
    ] {
        check(&of(&format!("allow: true, write: true, {rest}")), Some(&t), restricted);
    }
    let view = relation("c.s.t", RelationKind::View, "a varchar");
    check(&of("allow: true, write: true, trusted_view: true"), Some(&view), restricted);
    let wrong = Set::parse(&[("a.yaml", format!("version: 1\n{}", of("write: true")))])
        .expect_err("it allows nothing");
    assert!(wrong.to_string().contains("write needs allow"), "{wrong}");
}

#[test]
fn the_strongest_mask_holds() {
    let two = |one: &str, other: &str| {
        format!(
            "policies:\n  - {{name: x, who: {{groups: [a]}}, tables: [c.s.t], allow: true, column_masks: [{one}]}}\n  \
             - {{name: y, who: {{groups: [b]}}, tables: ['c.*.*'], column_masks: [{other}]}}"
        )
    };
    let null = "{columns: [a], action: replace-with-null, strength: 5}";
    let stars = "{columns: ['a*'], sql: \"'***'\"}";
    let t = table("c.s.t", "a varchar, b bigint");
    let set = set(&two(null, stars));
    let check = |groups: &[&str], expect: &str| {
        let permit = set.decide_with(&user("ann", groups), &[Arc::clone(&t)], &salt()).expect("permitted");
        let scoped = permit.scoped(&t.name).expect("decided");
        assert_eq!(scoped.mask("a").expect("masked").render("t", by_name), expect);
    };
    check(&["a", "b"], "CAST(NULL AS varchar)");
    check(&["a"], "CAST(NULL AS varchar)");
    let conflict = errors(&two(null, "{columns: ['*'], sql: \"'***'\", strength: 5}"));
    assert!(conflict.contains("'y'") && conflict.contains("of policy x (a.yaml:3)"), "{conflict}");
    assert_eq!(errors(&two(null, "{columns: [A], action: replace-with-null, strength: 5}")), "no error");
    assert_eq!(errors(&two(null, "{columns: [b], action: mask-to-fixed-value, strength: 5}")), "no error");
}

#[test]
fn attributes_and_groups_are_literals() {
    let set = set(
        "policies: [{name: p, who: {users: ['*']}, tables: [c.s.t], allow: true, row_filter: \"contains(current_groups(), a) OR a = attribute('o''region')\"}]",
    );
    let t = table("c.s.t", "a varchar");
    let check = |principal: Principal, expect: &str| {
        let permit = set.decide_with(&principal, &[Arc::clone(&t)], &salt()).expect("permitted");
        assert_eq!(permit.scoped(&t.name).expect("decided").filters()[0].render("x", by_name), expect);
    };
    check(
        user("ann", &["g'1", "g2"]).with_attributes([("o'region", "E'U")]),
        "system.builtin.contains ( CAST(ARRAY['g''1', 'g2'] AS array(varchar)) , \"x\".\"a\" ) OR \"x\".\"a\" = 'E''U'",
    );
    check(
        user("bob", &[]),
        "system.builtin.contains ( CAST(ARRAY[] AS array(varchar)) , \"x\".\"a\" ) OR \"x\".\"a\" = CAST(NULL AS varchar)",
    );
    let decision = set.decide_with(&user("a\u{1}.\"b", &[]), &[t], &salt());
    assert!(matches!(decision, Err(Denial::Unprintable(_))));
}

/// T16: a column that a policy names and the table has no more.
#[test]
fn t16_drift_fails_closed() {
    let check = |rest: &str, ok: bool| {
        let set = set(&format!(
            "tags: {{id: [lake.gold.t.ssn], ids: ['lake.*.*.ssn']}}\npolicies: [{{name: p, who: {{users: ['*']}}, allow: true, {rest}}}]"
        ));
        let renamed = table("lake.gold.t", "tax_id varchar, x varchar");
        let decision = set.decide_with(&user("ann", &[]), &[renamed], &salt());
        assert_eq!(decision.is_ok(), ok, "{rest}: {decision:?}");
    };
    check("tables: [lake.gold.t], column_masks: [{columns: [ssn], action: mask-alphanum}]", false);
    check("tables: ['lake.*.t'], column_masks: [{columns: [ssn], action: mask-alphanum}]", true);
    check("tables: [lake.gold.t], deny_columns: [ssn]", false);
    check("tables: ['lake.*.t'], row_filter: \"ssn IS NULL\"", false);
    check("tables: ['lake.*.t'], column_masks: [{tags: [id], action: mask-alphanum}]", false);
    check("tables: ['lake.*.t'], column_masks: [{tags: [ids], action: mask-alphanum}]", true);
    check("tables: [lake.gold.t], column_masks: [{columns: [x], sql: 'ssn'}]", false);
}

/// T17: what a policy reads of the session is pinned.
#[test]
fn t17_the_time_zone_is_pinned() {
    let check = |filter: &str, expect: bool| {
        let set = set(&format!(
            "policies: [{{name: p, who: {{users: ['*']}}, tables: [c.s.t], allow: true, row_filter: \"{filter}\"}}]"
        ));
        let t = table("c.s.t", "a varchar, d date, ts timestamp(6), z timestamp(6) with time zone");
        let permit = set.decide_with(&user("ann", &[]), &[t], &salt()).expect("permitted");
        assert_eq!(permit.pins_time_zone(), expect, "{filter}");
    };
    check("a = 'x'", false);
    check("d > DATE '2020-01-01'", false);
    check("d > current_date", true);
    check("now() > z", true);
    check("ts > TIMESTAMP '2020-01-01 00:00:00'", true);
    check("CAST(a AS timestamp(3) with time zone) IS NOT NULL", true);
    check("from_unixtime(1) IS NOT NULL", true);
}

/// T11: functions are Trino's own; nothing that is looked up by name is left.
#[test]
fn t11_expressions_that_are_refused() {
    let check = |sql: &str, expect: &str| {
        let text = errors(&format!(
            "policies: [{{name: p, who: {{users: ['*']}}, tables: [c.s.t], allow: true, row_filter: {sql:?}}}]"
        ));
        assert!(
            text.contains("a.yaml:2: policies[0].row_filter: ") && text.contains(expect),
            "{sql}: {text}"
        );
    };
    check("a || b = 'x'", "||");
    check("f.g(a)", "named by one part");
    check("system.builtin.lower(a) = 'x'", "named by one part");
    check("a IN (SELECT b FROM u)", "with catalog and schema");
    check("a = ?", "parameters");
    check("z AT TIME ZONE 'UTC' > now()", "at_timezone");
    check("max(a) = 1", "many rows");
    check("f(a) OVER () = 1", "many rows");
    check("f(a) FILTER (WHERE true)", "many rows");
    check("current_catalog = 'x'", "user's hands");
    check("a = 'x') OR (1 = 1", "mismatched");
    check("a = 'x'; SELECT 1", "");
    check("attribute(a) = 'x'", "one argument");
    check("attribute('a', 'b') = 'x'", "one argument");
    check("", "");
}

#[test]
fn mistakes_name_file_line_and_key() {
    let check = |text: &str, expect: &str| {
        let found = errors(text);
        assert!(found.contains(expect), "{text}\n{found}");
    };
    let policy = |rest: &str| format!("policies:\n  - name: p\n    who: {{users: ['*']}}\n{rest}");
    check("extra: 1", "a.yaml:2: ");
    check("extra: 1", "extra");
    check(&policy("    tables: [c.s.t]\n    alow: true"), "a.yaml:6: ");
    check(&policy("    tables: [c.s.t]\n    alow: true"), "alow");
    check(&policy("    tables: [c.s]\n    allow: true"), "a.yaml:5: policies[0].tables[0]: ");
    check(&policy("    tables: []\n    allow: true"), "a.yaml:3: policies[0].tables: ");
    check(&policy("    tables: [c.s.t]"), "policies[0].allow: the policy says nothing");
    check(&policy("    tables: [c.s.t]\n    deny: true\n    allow: true"), "policies[0].deny: ");
    check(
        &policy("    tables: [c.s.t]\n    deny_columns: [a]\n    trusted_view: true"),
        "trusted_view needs allow",
    );
    check(
        &policy("    tables: [c.s.t]\n    deny_tags: [nope]"),
        "a.yaml:6: policies[0].deny_tags[0]: there is no tag 'nope'",
    );
    check(
        &policy("    tables: [c.s.t]\n    column_masks: [{columns: [a]}]"),
        "policies[0].column_masks[0].action: ",
    );
    check(
        &policy("    tables: [c.s.t]\n    column_masks: [{action: replace-with-null}]"),
        "column_masks[0].columns: ",
    );
    check(&policy("    tables: [c.s.t]\n    column_masks: [{columns: [a], action: rot13}]"), "a.yaml:6: ");
    check("policies: [{name: p, who: {}, tables: [c.s.t], allow: true}]", "policies[0].who: nobody");
    check(
        "policies: [{name: p, who: {groups: ['a*']}, tables: [c.s.t], allow: true}]",
        "policies[0].who.groups[0]",
    );
    check(
        "policies: [{name: p, who: {users: [a]}, tables: [c.s.t], allow: true}, {name: p, who: {users: [b]}, tables: [c.s.t], allow: true}]",
        "another policy, too: p (a.yaml:2)",
    );
    check(
        &policy("    tables: [c.s.t]\n    allow: true\n    isolation: standard"),
        "policies[0].isolation: isolation goes with row_filter",
    );
    check("defaults: {system: allow}", "a.yaml:2: defaults.system: ");
    check("defaults: {lake: maybe}", "a.yaml:2: ");
    check("tags: {x: [a.b.c]}", "a.yaml:2: tags.x[0]: ");
    let version = Set::parse(&[("a.yaml", "version: 2")]).expect_err("another version").to_string();
    assert_eq!(version, "a.yaml:1: version: the version of the format is 1");
    assert!(Set::parse(&[("a.yaml", "")]).is_err());
    assert!(Set::parse(&[("a.yaml", "version: 1\nversion: 1")]).is_err());
}

/// Of several filters on a table, one that is strict makes it strict.
#[test]
fn isolation_is_strict_unless_all_say_standard() {
    let isolation = |text: &str| {
        let decision = set(text).decide(&user("ann", &[]), &[table("c.s.t", "a bigint")]);
        decision.expect("a permit").tables().next().expect("a table").isolation()
    };
    let allow = "{name: a, who: {users: ['*']}, tables: [c.s.t], allow: true, row_filter: a > 0";
    let second = "{name: b, who: {users: ['*']}, tables: [c.s.t], row_filter: a < 9";
    assert_eq!(isolation(&format!("policies: [{allow}}}]")), Isolation::Strict);
    assert_eq!(isolation(&format!("policies: [{allow}, isolation: standard}}]")), Isolation::Standard);
    let mixed = format!("policies: [{allow}, isolation: standard}}, {second}}}]");
    assert_eq!(isolation(&mixed), Isolation::Strict);
    let both = format!("policies: [{allow}, isolation: standard}}, {second}, isolation: standard}}]");
    assert_eq!(isolation(&both), Isolation::Standard);
}

#[test]
fn sets_have_revisions() {
    let one = Set::parse(&[("a.yaml", "version: 1\n")]).expect("a set");
    let same = Set::parse(&[("b.yaml", "version: 1\n")]).expect("a set");
    let other = Set::parse(&[("a.yaml", "version: 1\n\n")]).expect("a set");
    assert_eq!(one.revision(), same.revision());
    assert_ne!(one.revision(), other.revision());
    assert!(one.is_empty());
    assert!(Set::load(&PathBuf::from("/nowhere"), &Surroundings::default()).is_err());
}

/// A fault in a large YAML, or one that is meant to be expanded without end, is an error and no hang.
#[test]
fn documents_are_bounded() {
    let mut bomb = "version: 1\nx0: &x0 [a, a]\n".to_owned();
    for i in 1..40 {
        let _ = writeln!(bomb, "x{i}: &x{i} [*x{0}, *x{0}]", i - 1);
    }
    assert!(Set::parse(&[("a.yaml", bomb)]).is_err());
    let deep = format!("version: 1\npolicies: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(Set::parse(&[("a.yaml", deep)]).is_err());
}
