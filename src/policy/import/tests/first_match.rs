//! Rules of Trino's with plain names, against a reader of them that is written for this test alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{Column, Described, RelationKind, TableName, Type};
use crate::identity::{Method, Principal};
use crate::policy::{Permit, Salt, Target};

const USERS: [(&str, &[&str]); 5] =
    [("ann", &["red"]), ("bob", &["red", "blue"]), ("cy", &[]), ("svc-x", &["blue"]), ("ada", &["green"])];
const TABLES: [[&str; 3]; 5] = [
    ["lake", "gold", "t"],
    ["lake", "gold", "u"],
    ["lake", "raw", "t"],
    ["mem", "gold", "tu"],
    ["system", "runtime", "t"],
];
const COLUMNS: [&str; 3] = ["a", "b", "c"];

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
        match self.below(8) {
            0 | 1 => rule["user"] = json!(self.pick(&["ann", "bob", "a.*", "ann|cy", "svc-.*", ".*"])),
            2 | 3 => rule["group"] = json!(self.pick(&["red", "blue", "red|green"])),
            4 => {
                rule["user"] = json!(self.pick(&["bob", "a.*", ".*"]));
                rule["group"] = json!(self.pick(&["red", "r.*"]));
            }
            _ => {}
        }
    }

    fn table(&mut self) -> Value {
        let mut rule = json!({});
        self.whom(&mut rule);
        self.maybe(&mut rule, "catalog", &["lake", "mem", ".*", "lake|mem", "system", "l.*", ".*e"]);
        self.maybe(&mut rule, "schema", &["gold", "raw", ".*", "g.*", "run.*|gold"]);
        self.maybe(&mut rule, "table", &["t", "u", "t.*", ".*u", "t|u"]);
        rule["privileges"] = match self.below(6) {
            0 => json!([]),
            1 => json!(["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP"]),
            2 => json!(["INSERT"]),
            _ => json!(["SELECT"]),
        };
        if self.below(3) == 0 {
            rule["filter"] = json!(self.pick(&["a = 1", "b = 2", "c = 3"]));
        }
        if self.below(3) == 0 {
            let mut columns = Vec::new();
            for column in COLUMNS {
                match self.below(5) {
                    0 => columns.push(json!({"name": column, "allow": false})),
                    1 => columns.push(json!({"name": column, "mask": self.pick(&["1", "2", "a + b"])})),
                    _ => {}
                }
            }
            rule["columns"] = json!(columns);
        }
        rule
    }

    fn file(&mut self) -> Value {
        let mut file = json!({});
        let count = 1 + self.below(5);
        file["tables"] = json!((0..count).map(|_| self.table()).collect::<Vec<_>>());
        if self.below(3) == 0 {
            let mut list = Vec::new();
            for _ in 0..=self.below(3) {
                let mut rule = json!({"allow": self.pick(&["all", "read-only", "none", "all"])});
                self.whom(&mut rule);
                self.maybe(&mut rule, "catalog", &["lake", "mem", "l.*", "system"]);
                list.push(rule);
            }
            file["catalogs"] = json!(list);
        }
        if self.below(3) == 0 {
            let mut list = Vec::new();
            for _ in 0..self.below(3) {
                let mut rule = json!({"owner": self.below(2) == 0});
                self.whom(&mut rule);
                self.maybe(&mut rule, "schema", &["gold", "raw", ".*"]);
                list.push(rule);
            }
            file["schemas"] = json!(list);
        }
        if self.below(6) == 0 {
            let mut rule = json!({"allow": [self.pick(&["execute", "kill"])]});
            self.whom(&mut rule);
            file["queries"] = json!([rule, {"group": "red", "allow": ["execute"]}]);
        }
        file
    }
}

/// A regular expression of the few kinds that are made above.
fn matches(regex: Option<&Value>, text: &str) -> bool {
    let Some(regex) = regex.and_then(Value::as_str) else { return true };
    regex.split('|').any(|one| match one.split_once(".*") {
        Some((start, end)) => {
            text.starts_with(start) && text.len() >= start.len() + end.len() && text.ends_with(end)
        }
        None => one == text,
    })
}

fn first<'a>(list: &'a Value, user: (&str, &[&str]), table: [&str; 3]) -> Option<&'a Value> {
    list.as_array()?.iter().find(|rule| {
        matches(rule.get("user"), user.0)
            && (rule.get("group").is_none() || user.1.iter().any(|group| matches(rule.get("group"), group)))
            && matches(rule.get("catalog"), table[0])
            && matches(rule.get("schema"), table[1])
            && matches(rule.get("table"), table[2])
    })
}

#[derive(Debug, PartialEq, Default)]
struct Seen {
    filters: Vec<String>,
    hidden: Vec<String>,
    masks: BTreeMap<String, String>,
}

/// What Trino would let: what is seen, whether it is written, whether the schema is owned.
fn trino(file: &Value, user: (&str, &[&str]), table: [&str; 3]) -> (Option<Seen>, bool, bool) {
    let mode = match &file["catalogs"] {
        Value::Null => "all",
        list => first(list, user, table).map_or(if table[0] == "system" { "all" } else { "none" }, |rule| {
            rule["allow"].as_str().expect("a mode")
        }),
    };
    let runs = file["queries"].is_null()
        || first(&file["queries"], user, table)
            .is_some_and(|rule| rule["allow"].as_array().expect("a list").contains(&json!("execute")));
    let owns = mode == "all"
        && runs
        && (file["schemas"].is_null()
            || first(&file["schemas"], user, table).is_some_and(|rule| rule["owner"] == json!(true)));
    let Some(rule) = first(&file["tables"], user, table).filter(|_| mode != "none" && runs) else {
        return (None, false, owns);
    };
    let has = |privilege: &str| rule["privileges"].as_array().expect("a list").contains(&json!(privilege));
    if !has("SELECT") {
        return (None, false, owns);
    }
    let mut seen = Seen::default();
    seen.filters.extend(rule["filter"].as_str().map(str::to_owned));
    for column in rule["columns"].as_array().into_iter().flatten() {
        let name = column["name"].as_str().expect("a name").to_owned();
        match column["mask"].as_str() {
            Some(mask) => drop(seen.masks.insert(name, mask.to_owned())),
            None => seen.hidden.push(name),
        }
    }
    (Some(seen), mode == "all" && has("OWNERSHIP"), owns)
}

fn northgate(permit: &Permit, name: &TableName) -> Seen {
    let scoped = permit.scoped(name).expect("decided");
    let plain = |bound: &crate::policy::Bound| {
        let text = bound.render("x", |_, _| String::new()).replace("\"x\".", "").replace('"', "");
        text.trim_start_matches("CAST(").trim_end_matches(" AS bigint)").to_owned()
    };
    let shown: Vec<&str> = scoped.columns().map(|column| column.name.as_str()).collect();
    let mut filters: Vec<String> = scoped.filters().iter().map(plain).collect();
    filters.sort();
    Seen {
        filters,
        hidden: COLUMNS.iter().filter(|name| !shown.contains(name)).map(|name| (*name).to_owned()).collect(),
        masks: shown
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), plain(scoped.mask(name)?))))
            .collect(),
    }
}

/// Never weaker, and the same where nothing is noted.
#[test]
fn the_first_match_holds() {
    let (mut same, mut noted, mut written) = (0, 0, 0);
    for seed in 0..4_000 {
        let file = Random(seed * 7_919 + 1).file();
        let imported = super::super::trino(&file.to_string(), &Options::default()).expect("imported");
        let set = Set::parse(&[("a.yaml", &imported.document)]).expect("a set");
        let exact = imported.notes.is_empty();
        if exact {
            same += 1;
        } else {
            noted += 1;
        }
        for user in USERS {
            let principal = Principal::new(user.0, Method::Password).with_groups(user.1.iter().copied());
            for table in TABLES {
                let at = || {
                    format!("seed {seed}, {} on {}\n{file:#}\n{}", user.0, table.join("."), imported.document)
                };
                let name = TableName::new(table[0], table[1], table[2]).expect("a name");
                let columns = COLUMNS
                    .iter()
                    .map(|name| Column { name: (*name).to_owned(), ty: Type::parse("bigint") })
                    .collect();
                let described =
                    Arc::new(Described { name: name.clone(), kind: RelationKind::Table, columns });
                let (expect, writes, owns) = trino(&file, user, table);
                let decision =
                    set.decide_with(&principal, &[Arc::clone(&described)], &Salt::from_bytes([0; 16]));
                // A pattern with a star does not stand for the catalog `system`.
                let same_here = exact && table[0] != "system";
                let all_hidden = expect.as_ref().is_some_and(|seen| seen.hidden.len() == COLUMNS.len());
                match (&expect, &decision) {
                    (None, decision) => assert!(decision.is_err(), "weaker: {}", at()),
                    (Some(seen), Ok(permit)) => {
                        let got = northgate(permit, &name);
                        if same_here {
                            assert_eq!(got, *seen, "{}", at());
                        }
                        assert!(
                            seen.filters.iter().all(|filter| got.filters.contains(filter)),
                            "weaker: {}",
                            at()
                        );
                        assert!(
                            seen.hidden.iter().all(|column| got.hidden.contains(column)),
                            "weaker: {}",
                            at()
                        );
                        for (column, mask) in &seen.masks {
                            let held = got.hidden.contains(column) || got.masks.get(column) == Some(mask);
                            assert!(held, "weaker: {}", at());
                        }
                    }
                    (Some(_), Err(denial)) => assert!(!same_here || all_hidden, "{denial}: {}", at()),
                }
                let mut permit =
                    set.decide_with(&principal, &[], &Salt::from_bytes([0; 16])).expect("nothing");
                let target = Target {
                    name: &name,
                    expected: RelationKind::Table,
                    existing: Some(&described),
                    ruling: None,
                    granted: None,
                };
                let may = set.permit_write(&mut permit, &principal, &target).is_ok();
                assert!(!may || writes, "weaker, writes: {}", at());
                written += usize::from(may);
                let schema = set.permit_schema(&mut permit, &principal, table[0], table[1], None).is_ok();
                assert!(!schema || owns, "weaker, schema: {}", at());
            }
        }
    }
    assert!(same > 300 && noted > 300 && written > 300, "{same} {noted} {written}");
}
