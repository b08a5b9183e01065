//! Commands on files of their own.

use super::*;

/// Writes files into a folder: pairs of a name and a text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn run(command: &Policy) -> (bool, String) {
    match policy(command) {
        Ok(said) => (!said.failed, format!("{}{}", said.err, said.out)),
        Err(message) => (false, format!("ERROR {message}")),
    }
}

#[test]
fn the_shipped_cases_hold() {
    let (file, policies) = (PathBuf::from("policies/tests/bank.yaml"), PathBuf::from("policies"));
    let (ok, text) = run(&Policy::Test { file, policies, environment: None });
    assert!(ok && text == "18 of 18 cases as expected\n", "{text}");
}

/// What the README shows of the policies is what these cases are about.
#[test]
fn the_readme_shows_what_is_shipped() {
    let readme = std::fs::read_to_string("README.md").expect("the README");
    let shown: Vec<&str> =
        readme.split("```yaml\n# ").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(shown.len() >= 4, "{shown:?}");
    for block in shown {
        let (file, text) = block.split_once('\n').expect("a name and a text");
        let shipped = std::fs::read_to_string(file).expect(file);
        assert!(shipped.contains(text), "{file} does not have:\n{text}");
    }
}

const POLICIES: &str = "version: 1
policies:
  - {name: p, who: {groups: [g]}, tables: [lake.gold.t], allow: true, row_filter: a = 1, deny_columns: [d],
     column_masks: [{columns: [b], action: replace-with-null}]}
  - {name: w, who: {users: [will]}, tables: [lake.gold.t], allow: true, write: true}
  - {name: e, who: {users: [ann]}, tables: [lake.gold.t], environments: [other], deny: true}
";

const TABLES: &str = "version: 1
tables:
  lake.gold.t:
    columns: {a: bigint, b: varchar, d: date}
  lake.gold.v: {columns: {b: varchar}, view: SELECT b FROM lake.gold.t}
principals:
  ann: {groups: [g]}
  bob: {}
  will: {}
";

#[test]
fn cases() {
    let check = |case: &str, expect: &str| {
        let cases = format!("{TABLES}cases:\n  - {case}\n");
        let folder = folder(&[("p/a.yaml", POLICIES), ("cases.yaml", &cases)]);
        let command = Policy::Test {
            file: folder.path().join("cases.yaml"),
            policies: folder.path().join("p"),
            environment: Some("test".to_owned()),
        };
        let (ok, text) = run(&command);
        let text = text.replace(&folder.path().display().to_string(), "");
        if expect.is_empty() {
            assert!(ok && text == "1 of 1 cases as expected\n", "{case}\n{text}");
        } else {
            assert!(!ok && text.contains(expect), "{case}\n{text}");
        }
    };
    let all = "{principal: ann, query: 'SELECT a, b FROM lake.gold.t', expect: allowed, filtered: [lake.gold.t], masked: [lake.gold.T.B], hidden: [lake.gold.t.d]}";
    check(all, "");
    check(
        "{principal: ann, query: 'SELECT * FROM t', catalog: lake, schema: gold, expect: allowed, sent: ['CAST(NULL']}",
        "",
    );
    check("{principal: bob, query: 'SELECT * FROM lake.gold.t', expect: denied}", "");
    check("{principal: will, query: 'DELETE FROM lake.gold.t', expect: allowed, filtered: []}", "");
    check("{principal: ann, query: 'DELETE FROM lake.gold.t', expect: denied}", "");
    check(
        "{principal: bob, query: 'SELECT * FROM lake.gold.t', expect: allowed}",
        "/cases.yaml:11: bob: SELECT * FROM lake.gold.t: expected allowed, got denied: no policy allows lake.gold.t",
    );
    check(
        "{principal: ann, query: 'SELECT 1 FROM lake.gold.t', expect: denied}",
        "expected denied, got allowed",
    );
    check(&all.replace("[lake.gold.T.B]", "[]"), "expected masked none, got lake.gold.t.b");
    check(&all.replace("filtered: [lake.gold.t]", "filtered: []"), "expected filtered none, got lake.gold.t");
    check(
        &all.replace("hidden: [lake.gold.t.d]", "hidden: [lake.gold.t.a]"),
        "expected hidden lake.gold.t.a, got lake.gold.t.d",
    );
    check(
        "{principal: ann, query: 'SELECT 1 FROM lake.gold.t', expect: allowed, sent: ['x = 9']}",
        "expected 'x = 9' in",
    );
    // A slip in a case is no denial.
    check(
        "{principal: ann, query: 'SELECT * FROM lake.gold.typo', expect: denied}",
        "lake.gold.typo is not among the tables",
    );
    check("{principal: ann, query: 'SELEC 1', expect: denied}", "cannot be read");
    check("{principal: ann, query: 'SELECT * FROM t', expect: denied}", "");
    check(
        "{principal: eve, query: 'SELECT 1', expect: denied}",
        "/cases.yaml:11: there is no principal 'eve'",
    );
    check("{principal: ann, query: 'SELECT 1', expect: maybe}", "/cases.yaml:11: ");
    check("{principal: ann, query: 'SELECT 1', expect: allowed, maskd: []}", "maskd");
    check(
        "{principal: ann, query: 'SELECT 1', expect: denied, masked: []}",
        "of a query that is denied nothing",
    );
    check(
        "{principal: ann, query: 'SELECT 1', expect: allowed, masked: [lake.gold.t.z]}",
        "'lake.gold.t.z' is not among",
    );
}

#[test]
fn import_writes_and_notes() {
    let clear = r#"{"tables": [{"group": "g", "catalog": "lake", "privileges": ["SELECT"]}]}"#;
    let noted = r#"{"tables": [{"role": "r", "privileges": ["SELECT"]}]}"#;
    let folder = folder(&[("clear.json", clear), ("noted.json", noted), ("there.yaml", "kept")]);
    let import = |file: &str, output: Option<&str>, strict: bool| {
        let (ok, text) = run(&Policy::Import {
            from: From::Trino,
            file: folder.path().join(file),
            catalog: None,
            roles_as_groups: false,
            tags: None,
            output: output.map(|name| folder.path().join(name)),
            strict,
        });
        (ok, text.replace(&folder.path().display().to_string(), ""))
    };
    let (ok, text) = import("clear.json", None, true);
    assert!(ok && text.contains("tables: [lake.*.*]"), "{text}");
    let (ok, text) = import("noted.json", None, false);
    assert!(
        ok && text.contains("/noted.json: tables[0]: role 'r'") && text.contains("policies: []"),
        "{text}"
    );
    let (ok, text) = import("noted.json", Some("new.yaml"), true);
    assert!(!ok && text.contains("nothing is written"), "{text}");
    assert!(!folder.path().join("new.yaml").exists());
    assert_eq!(import("clear.json", Some("new.yaml"), true), (true, String::new()));
    assert!(std::fs::read_to_string(folder.path().join("new.yaml")).expect("written").contains("lake.*.*"));
    let (ok, text) = import("clear.json", Some("there.yaml"), false);
    assert!(!ok && text.contains("exists"), "{text}");
    let (ok, text) = import("gone.json", None, false);
    assert!(!ok && text.contains("/gone.json: "), "{text}");
}

/// What `policy diff` says of two documents.
fn differ(old: &str, new: &str, tables: Option<&str>, expect: &[&str]) {
    let all = |text: &str| format!("version: 1\n{text}");
    let (old, new) = (all(old), all(new));
    let folder =
        folder(&[("old/a.yaml", &old), ("new/a.yaml", &new), ("t.yaml", tables.unwrap_or_default())]);
    let (ok, text) = run(&Policy::Diff {
        old: folder.path().join("old"),
        new: folder.path().join("new"),
        tables: tables.map(|_| folder.path().join("t.yaml")),
        environment: None,
    });
    assert_eq!(text.lines().collect::<Vec<_>>(), expect, "{old}\n{new}");
    assert_eq!(ok, expect.is_empty());
}

fn of(policies: &[&str]) -> String {
    let named = policies.iter().enumerate().map(|(n, text)| format!("\n  - {{name: p{n}, {text}}}"));
    format!("policies:{}", named.collect::<String>())
}

#[test]
fn differences() {
    let check = differ;
    let base = "who: {groups: [eu]}, tables: ['lake.gold.*'], allow: true";
    check(&of(&[base]), &of(&[base]), None, &[]);
    check(&of(&[base]), "policies: []", None, &["group eu: lake.gold.*: may not be read any more"]);
    check(
        &of(&[base]),
        &of(&[base, "who: {groups: [eu]}, tables: [lake.gold.customers], row_filter: a = 1"]),
        None,
        &["group eu: lake.gold.customers: filter added: a = 1"],
    );
    check(
        &of(&[
            base,
            "who: {users: ['*']}, tables: ['*.*.customers'], column_masks: [{columns: [ssn], action: show-last-4}]",
        ]),
        &of(&[
            base,
            "who: {users: ['*'], except_groups: [hr]}, tables: ['*.*.customers'], column_masks: [{columns: [ssn], action: replace-with-null}]",
        ]),
        None,
        &[
            "group eu: lake.gold.customers: column ssn: masked by replace-with-null, was masked by show-last-4",
            "groups eu and hr: lake.gold.customers: column ssn: shown, was masked by show-last-4",
        ],
    );
    check(
        &of(&["who: {users: [ann]}, tables: [lake.gold.t], allow: true, deny_columns: [a]"]),
        &of(&["who: {users: [ann]}, tables: [lake.gold.t], allow: true, write: true, trusted_view: true"]),
        None,
        &[
            "user ann: lake.gold.t: as a view is read as it is now",
            "user ann: lake.gold.t: column a: shown, was hidden",
            "user ann: lake.gold.t: may be changed now",
        ],
    );
    check(
        "policies: []",
        &of(&[
            "who: {users: ['*']}, tables: [lake.gold.t], allow: true, row_filter: a = 1",
            "who: {users: ['svc-*']}, tables: ['lake.*.t'], deny: true",
        ]),
        None,
        &["everybody else: lake.gold.t: may be read now (filter a = 1)"],
    );
    check(
        "defaults: {tpch: allow}",
        "defaults: {}",
        None,
        &["everybody else: tpch.*.*: may not be read any more"],
    );
    let tagged = "who: {groups: [g]}, tables: [lake.gold.t], allow: true";
    check(
        &format!("tags: {{pii: []}}\n{}", of(&[tagged])),
        &format!(
            "tags: {{pii: []}}\n{}",
            of(&[&format!("{tagged}, column_masks: [{{tags: [pii], action: replace-with-null}}]")])
        ),
        None,
        &["group g: lake.gold.t: column tagged pii: masked by replace-with-null, was shown"],
    );
    check(
        &of(&["who: {groups: [g]}, tables: [lake.gold.t], allow: true, row_filter: a = 1"]),
        &of(&[
            "who: {groups: [g]}, tables: [lake.gold.t], allow: true, row_filter: a = 1, isolation: standard",
        ]),
        None,
        &["group g: lake.gold.t: its filters are standard now"],
    );
    let tables = format!("{TABLES}cases: []\n");
    check(
        "policies: []",
        &of(&["who: {groups: [g]}, tables: ['lake.gold.*'], allow: true, deny_columns: ['a*']"]),
        Some(&tables),
        &["group g: lake.gold.t: may be read now (a hidden)", "group g: lake.gold.v: may be read now"],
    );
}

#[test]
fn differences_of_what_is_marked() {
    let check = differ;
    let tagged = "who: {groups: [g]}, tables: [lake.gold.t], allow: true";
    let masked = format!("{tagged}, column_masks: [{{tags: [pii], action: replace-with-null}}]");
    let marks = |policies: &[&str]| format!("tags: {{pii: []}}\n{}", of(policies));
    let (always, by_tag) = (format!("{tagged}, sensitive: true"), format!("{masked}, sensitive: true"));
    let change = "group g: lake.gold.t: marked as sensitive in the audit";
    check(&marks(&[tagged]), &marks(&[&always]), None, &[&format!("{change} always, was never")]);
    check(
        &marks(&[&masked]),
        &marks(&[&by_tag]),
        None,
        &[&format!("{change} where columns are tagged pii, was never")],
    );
    check(
        &marks(&[&by_tag, &always]),
        &marks(&[&by_tag, tagged]),
        None,
        &[&format!("{change} where columns are tagged pii, was always")],
    );
    check(&marks(&[&by_tag, &always]), &marks(&[&masked, &always]), None, &[]);
    check(
        "policies: []",
        &of(&[&always]),
        None,
        &["group g: lake.gold.t: may be read now (marked as sensitive in the audit always)"],
    );
}
