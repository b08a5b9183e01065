//! Access rules of Trino's, carried over by `northgate policy import trino`, against a real Trino that has the same rules.
//!
//! Two Trinos hold the same bank. One has the rules as its file-based access control; the other shows all to the gateway,
//! which has what the import made of them. Each user sees through the gateway never more than natively; where the import
//! noted nothing, the same. Rules are made up from a seed (`RULES_CASES` and `RULES_SEED`), after some that people write.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::gateway::binary;
use crate::harness::process::within;
use crate::harness::trino::Trino;
use crate::harness::{Answer, Client, Gateway, Settings};

const CASES: u64 = 6;
const SEED: u64 = 1;
const USERS: [&str; 3] = ["eva", "otto", "nora"];

const QUERIES: [&str; 6] = [
    "SELECT * FROM lake.silver.customers WHERE id < 60",
    "SELECT * FROM lake.silver.orders WHERE id < 100",
    "SELECT id, region FROM lake.silver.customers",
    "SELECT region, count(*) AS n FROM lake.silver.orders GROUP BY region",
    "SELECT * FROM lake.regional.notes",
    "SELECT name, region FROM lake.regional.readers",
];
/// What there is to see: never more than natively.
const LISTS: [&str; 3] = [
    "SHOW TABLES FROM lake.silver",
    "SELECT table_name, column_name FROM lake.information_schema.columns WHERE table_schema IN ('silver', 'regional')",
    "SELECT table_schema, table_name FROM lake.information_schema.tables WHERE table_schema IN ('silver', 'regional', 'gold')",
];
/// Natively these need rights to the target and to what is read.
const CHANGES: [&str; 3] = [
    "EXPLAIN (TYPE VALIDATE) INSERT INTO lake.silver.orders SELECT * FROM lake.silver.orders",
    "EXPLAIN (TYPE VALIDATE) DELETE FROM lake.regional.notes WHERE id = 1",
    "EXPLAIN (TYPE VALIDATE) CREATE TABLE lake.regional.fresh AS SELECT 1 AS one",
];

/// What people write, and what the manual has.
fn written() -> Vec<Value> {
    vec![
        json!({
            "catalogs": [{"user": "admin", "catalog": ".*", "allow": "all"}, {"catalog": "lake", "allow": "read-only"}],
            "schemas": [{"owner": false}],
            "tables": [
                {"user": "nora", "privileges": []},
                {"group": "eu-analysts", "catalog": "lake", "schema": "silver", "table": "customers", "privileges": ["SELECT"],
                 "filter": "region = 'EU'",
                 "columns": [{"name": "ssn", "mask": "'XXX-XX-' || substring(ssn, -4)"}, {"name": "email", "allow": false}]},
                {"group": "eu-analysts|compliance", "catalog": "lake", "schema": "silver", "privileges": ["SELECT"]},
                {"user": "otto", "schema": "regional", "privileges": ["OWNERSHIP", "SELECT", "INSERT", "DELETE", "UPDATE"]},
            ],
        }),
        json!({
            "tables": [
                {"user": "eva", "table": "readers", "privileges": ["SELECT"], "filter": "name = current_user"},
                {"catalog": "lake", "schema": "silver", "table": "orders", "privileges": ["SELECT"],
                 "filter": "region IN (SELECT r.region FROM lake.regional.readers r WHERE r.name = current_user)",
                 "filter_environment": {"user": "admin"}},
                {"user": "admin", "privileges": ["SELECT"]},
                {"catalog": "lake", "privileges": ["SELECT"], "columns": [{"name": "name", "mask": "CAST(NULL AS varchar)"}]},
            ],
        }),
        json!({"tables": [{"privileges": ["SELECT"], "filter": "id % 2 = 0", "table": "customers|orders"}, {"privileges": ["SELECT"]}]}),
        json!({"catalogs": [{"group": "compliance", "catalog": "lake", "allow": "all"}]}),
    ]
}

#[test]
#[allow(clippy::print_stdout)] // how many of the answers were equal is worth knowing
fn an_import_shows_what_trino_would() {
    let native = Trino::start();
    let mut settings = Settings::new();
    settings.policies.clear();
    let gateway = Gateway::start(settings);
    let from =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (cases, seed) = (from("RULES_CASES", CASES), from("RULES_SEED", SEED));
    let made =
        (0..cases).map(|number| Random(seed.wrapping_mul(1_000_003).wrapping_add(number * 7_919 + 1)).file());
    let (mut wrong, mut equal, mut files, mut exact_files) = (Vec::new(), 0, 0, 0);
    for (number, rules) in written().into_iter().chain(made).enumerate() {
        let (document, notes) = import(&gateway, &rules);
        files += 1;
        exact_files += usize::from(notes.is_empty());
        put_in_force(&gateway, &document);
        put_in_force_natively(&native, &rules, number);
        for user in USERS {
            let through = gateway.signed_in(user);
            let natively = native.client().user(user);
            for sql in QUERIES.into_iter().chain(LISTS).chain(CHANGES) {
                let list = LISTS.contains(&sql);
                // What a policy lets be written is less than the privileges of Trino, whatever the notes say.
                let exact = notes.is_empty() && !list && !CHANGES.contains(&sql);
                match compare(&through, &natively, sql, exact) {
                    Ok(same) => equal += usize::from(same),
                    Err(why) => wrong.push(format!("{why}\n{user}: {sql}\n{rules:#}\n{document}\n{notes}")),
                }
            }
        }
    }
    println!("{files} files, {exact_files} of them without a note; {equal} equal answers");
    assert!(wrong.is_empty(), "{} of them: {}", wrong.len(), wrong.join("\n\n"));
    assert!(exact_files > 2 && equal > 100, "{exact_files} {equal}");
}

/// What `northgate policy import` makes of rules, and its notes.
fn import(gateway: &Gateway, rules: &Value) -> (String, String) {
    let file = gateway.folder.path().join("rules.json");
    std::fs::write(&file, rules.to_string()).expect("the folder is ours");
    let output = binary().args(["policy", "import", "trino"]).arg(file).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (document, notes) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{rules}: {notes}");
    (document, notes)
}

fn put_in_force(gateway: &Gateway, document: &str) {
    let path = gateway.folder.path().join("policies/imported.yaml");
    std::fs::write(path, document).expect("the folder is ours");
    let answer = gateway.admin().send("POST", "/reload", b"");
    assert_eq!(answer.status, 200, "{}\n{document}", answer.text());
}

/// The same rules, and one more, by which it is seen that they are in force.
fn put_in_force_natively(native: &Trino, rules: &Value, number: usize) {
    let mut rules = rules.clone();
    let mark = format!("rules {number}");
    let own = json!({"user": "marker", "privileges": ["SELECT"], "catalog": "tpch", "schema": "tiny", "table": "region",
        "columns": [{"name": "name", "mask": format!("CAST('{mark}' AS varchar(25))")}]});
    let first = |list: &mut Value, rule: Value| {
        if let Some(list) = list.as_array_mut() {
            list.insert(0, rule);
        }
    };
    if rules.get("tables").is_none() {
        // Without rules for tables all are shown.
        rules["tables"] =
            json!([{"privileges": ["SELECT", "INSERT", "UPDATE", "DELETE", "OWNERSHIP", "GRANT_SELECT"]}]);
    }
    first(&mut rules["tables"], own);
    if rules.get("catalogs").is_some() {
        first(&mut rules["catalogs"], json!({"user": "marker", "allow": "all"}));
    }
    native.rule(&rules);
    let marked = || {
        let answer = native.client().user("marker").query("SELECT DISTINCT name FROM tpch.tiny.region");
        (answer.error.is_none() && answer.lines() == [mark.clone()]).then_some(())
    };
    assert!(within(Duration::from_mins(1), marked).is_some(), "the rules are not in force: {rules:#}");
}

/// Whether the gateway's answer is the native one; what is wrong where it is more, or another one although it must be the
/// same.
fn compare(through: &Client, natively: &Client, sql: &str, exact: bool) -> Result<bool, String> {
    let (ours, theirs) = (through.query(sql), natively.query(sql));
    let show = |answer: &Answer| match &answer.error {
        Some(error) => format!("{}: {}", error["errorName"], error["message"]),
        None => format!("{} rows of {:?}: {:?}", answer.rows.len(), answer.columns, answer.rows.first()),
    };
    let both = format!("ours:   {}\nTrino's: {}", show(&ours), show(&theirs));
    match (&ours.error, &theirs.error) {
        (Some(_), Some(_)) => Ok(true),
        (Some(_), None) if exact => Err(format!("less, and no note\n{both}")),
        (Some(_), None) => Ok(false),
        (None, Some(_)) if ours.rows.is_empty() => Ok(true),
        (None, Some(_)) => Err(format!("more\n{both}")),
        (None, None) => {
            let columns: Option<Vec<usize>> = ours
                .columns
                .iter()
                .map(|name| theirs.columns.iter().position(|other| other == name))
                .collect();
            let columns = columns.ok_or_else(|| format!("more columns\n{both}"))?;
            let project = |row: &Vec<Value>| columns.iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
            let mut left: Vec<Vec<Value>> = theirs.rows.iter().map(project).collect();
            for row in &ours.rows {
                // What a note makes stricter may be NULL.
                let same =
                    |other: &Vec<Value>| other.iter().zip(row).all(|(a, b)| a == b || !exact && b.is_null());
                match left.iter().position(same) {
                    Some(at) => drop(left.swap_remove(at)),
                    // Of less rows there are other counts.
                    None if !exact && sql.contains("count(") => {}
                    None => return Err(format!("another row: {row:?}\n{both}")),
                }
            }
            let equal = left.is_empty() && columns.len() == theirs.columns.len();
            if exact && !equal { Err(format!("less, and no note\n{both}")) } else { Ok(equal) }
        }
    }
}

/// Makes rules up.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("small") % most
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn maybe(&mut self, rule: &mut Value, key: &str, of: &[&str]) {
        if self.below(2) == 0 {
            rule[key] = json!(self.pick(of));
        }
    }

    fn whom(&mut self, rule: &mut Value) {
        match self.below(6) {
            0 | 1 => rule["user"] = json!(self.pick(&["eva", "otto", "e.*", "eva|nora", ".*a", "[en].*"])),
            2 | 3 => {
                rule["group"] =
                    json!(self.pick(&["eu-analysts", "compliance", "eu-.*", "eu-analysts|compliance"]));
            }
            _ => {}
        }
    }

    fn table(&mut self) -> Value {
        let mut rule = json!({});
        self.whom(&mut rule);
        self.maybe(&mut rule, "catalog", &["lake", ".*", "lake|memory", "l.*"]);
        self.maybe(&mut rule, "schema", &["silver", "regional", ".*", "s.*|regional"]);
        self.maybe(&mut rule, "table", &["customers", "orders", "customers|orders", "c.*", "[a-c].*", ".*s"]);
        rule["privileges"] = match self.below(5) {
            0 => json!([]),
            1 => json!(["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP"]),
            _ => json!(["SELECT"]),
        };
        if self.below(3) == 0 {
            rule["filter"] =
                json!(self.pick(&["region = 'EU'", "region <> 'US' OR region IS NULL", "region LIKE 'E%'"]));
        }
        let mut columns = Vec::new();
        for (column, mask) in [
            ("name", "'x' || name"),
            ("id", "id + 1"),
            ("ssn", "substr(ssn, 1, 3)"),
            ("region", "lower(region)"),
        ] {
            match self.below(8) {
                0 => columns.push(json!({"name": column, "allow": false})),
                1 => columns.push(json!({"name": column, "mask": mask})),
                _ => {}
            }
        }
        if !columns.is_empty() {
            rule["columns"] = json!(columns);
        }
        rule
    }

    fn file(&mut self) -> Value {
        let count = 1 + self.below(4);
        let mut file = json!({"tables": (0..count).map(|_| self.table()).collect::<Vec<_>>()});
        if self.below(3) == 0 {
            let mut rule = json!({"allow": self.pick(&["all", "read-only", "none"])});
            self.whom(&mut rule);
            file["catalogs"] = json!([rule, {"catalog": "lake", "allow": "all"}]);
        }
        if self.below(4) == 0 {
            let mut rule = json!({"owner": true});
            self.whom(&mut rule);
            file["schemas"] = json!([rule]);
        }
        file
    }
}
