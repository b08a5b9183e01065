//! What catalogs say beside the documents.

use super::*;
use crate::catalog::rest::{Facts, Grants, Outline, Right, Ruling, Tags};

const COLUMNS: &str = "id bigint, email varchar, ssn varchar, profile row(city varchar,phone varchar)";

/// What a catalog says: whether it decides, whether it lets read, and tags by path; those of the path `` are the table's.
fn ruling(decides: bool, read: bool, tags: &[(&str, &str)]) -> Arc<Ruling> {
    let mut all = Tags::default();
    for (path, words) in tags {
        let words: Vec<String> = words.split(", ").map(str::to_owned).collect();
        match *path {
            "" => all.whole.extend(words),
            path => all.fields.push((path.split('.').map(str::to_owned).collect(), words)),
        }
    }
    let facts = Facts { uuid: "u".to_owned(), schema: None, tags: all, version: None };
    Arc::new(Ruling {
        catalog: "c".into(),
        decides,
        read,
        facts: Some(Arc::new(facts)),
        inherited: Vec::new(),
        restrictions: None,
        attached: Arc::default(),
        mask_strength: 0,
    })
}

/// The decision about `c.s.t` for `ann` of the group `a`, where the catalog `c` decides.
fn decide(document: &str, ruling: Option<Arc<Ruling>>, surroundings: &Surroundings) -> String {
    let text = format!("version: 1\n{document}");
    let set = match Set::parse_in(&[("a.yaml", text)], surroundings) {
        Ok(set) => set,
        Err(errors) => return errors.to_string(),
    };
    let t = table("c.s.t", COLUMNS);
    let mut behind = Behind::default();
    if let Some(ruling) = ruling {
        behind.rulings.add(None, t.name.clone(), ruling);
    }
    let ann = user("ann", &["a"]);
    let decision = set.decide_through(&ann, &[t], &behind, &salt());
    let sensitive = decision.as_ref().is_ok_and(Permit::is_sensitive);
    let mark = if sensitive { "\n  sensitive" } else { "" };
    format!("{}{mark}", shown(&decision))
}

fn deciding() -> Surroundings {
    Surroundings {
        deciding: ["c".to_owned()].into(),
        environment: Some("test".to_owned()),
        ..Surroundings::default()
    }
}

#[test]
fn a_catalog_that_decides_is_asked_and_documents_can_only_take_away() {
    let check = |document: &str, ruling: Option<Arc<Ruling>>, expect: &str| {
        let got = decide(document, ruling, &deciding());
        assert!(got.contains(expect), "{document}: {got}");
    };
    let allow = "policies:\n  - {name: p, who: {users: ['*']}, tables: [c.s.*], allow: true}\n";
    let deny = "policies:\n  - {name: p, who: {groups: [a]}, tables: [c.s.t], deny: true}\n";
    check("", Some(ruling(true, true, &[])), "as it is");
    check("", Some(ruling(true, false, &[])), "the catalog does not let c.s.t be read");
    // Without a word of the catalog's nothing of it is read, whatever documents say.
    check(allow, None, "the catalog does not let c.s.t be read");
    check(allow, Some(ruling(true, false, &[])), "the catalog does not let c.s.t be read");
    check(allow, Some(ruling(false, true, &[])), "the catalog does not let c.s.t be read");
    check(allow, Some(ruling(true, true, &[])), "as it is");
    check(deny, Some(ruling(true, true, &[])), "c.s.t is denied by p");
    check("defaults: {c: deny}", Some(ruling(true, true, &[])), "no policy allows c.s.t");
    check(&format!("defaults: {{c: deny}}\n{allow}"), Some(ruling(true, true, &[])), "as it is");
}

#[test]
fn tags_of_the_catalog_are_masked_and_hidden() {
    let check = |rule: &str, tags: &[(&str, &str)], expect: &[&str]| {
        let document = format!(
            "tags: {{pii.ssn: [], pii.phone: [], internal: []}}\npolicies:\n  - name: p\n    who: {{users: \
             [ann]}}\n    tables: ['c.*.*']\n    allow: true\n    sensitive: true\n{rule}"
        );
        let got = decide(&document, Some(ruling(true, true, tags)), &deciding());
        for expect in expect {
            assert!(got.contains(expect), "{rule} {tags:?}: {got}");
        }
        let sensitive = expect.iter().any(|line| line.contains("sensitive"));
        assert_eq!(got.contains("sensitive"), sensitive, "{rule} {tags:?}: {got}");
    };
    let mask = "    column_masks: [{tags: ['pii.*'], action: replace-with-null}]\n";
    check(mask, &[("ssn", "pii.ssn")], &["ssn", "CAST(NULL AS varchar)", "sensitive"]);
    check(mask, &[("ssn", "financial, pii.ssn")], &["CAST(NULL AS varchar)", "sensitive"]);
    check(mask, &[("profile.phone", "pii.phone")], &["CAST(ROW(", "CAST(NULL AS varchar)", "sensitive"]);
    check(mask, &[("ssn", "financial")], &["as it is"]);
    check(mask, &[], &["as it is"]);
    // What the whole table is, each of its columns is.
    check(mask, &[("", "pii.phone")], &["CAST(NULL AS bigint)", "CAST(NULL AS varchar)", "sensitive"]);
    let hide = "    deny_tags: [pii.ssn]\n";
    check(hide, &[("ssn", "pii.ssn")], &["columns id, email, profile", "sensitive"]);
    check(hide, &[("profile.phone", "pii.ssn")], &["columns id, email, ssn", "sensitive"]);
    check(hide, &[("", "pii.ssn")], &["all columns of c.s.t are hidden"]);
    let alone = Surroundings { without_tags: true, ..Surroundings::default() };
    let document = "tags: {pii.ssn: []}\npolicies:\n  - {name: p, who: {users: [ann]}, tables: [c.s.t], deny_tags: [pii.ssn]}";
    assert!(decide(document, None, &alone).contains("no catalog gives tags"));
    let unknown = "    deny_tags: [pii.sss]\n";
    check(unknown, &[("ssn", "pii.ssn")], &["there is no tag 'pii.sss'"]);
}

#[test]
fn policies_are_for_environments() {
    let check = |keys: &str, environment: Option<&str>, expect: &str| {
        let document = format!(
            "defaults: {{c: allow}}\npolicies:\n  - {{name: p, who: {{users: [ann]}}, tables: [c.s.t], \
             deny_columns: [ssn], {keys}}}\n"
        );
        let surroundings =
            Surroundings { environment: environment.map(str::to_owned), ..Surroundings::default() };
        let got = decide(&document, None, &surroundings);
        assert!(got.contains(expect), "{keys} {environment:?}: {got}");
    };
    let hidden = "columns id, email, profile";
    check("environments: [production]", Some("production"), hidden);
    check("environments: [production]", Some("test"), "as it is");
    check("except_environments: [production]", Some("production"), "as it is");
    check("except_environments: [production]", Some("test"), hidden);
    check("environments: [production]", None, "does not say which environment this is");
    check("except_environments: [production]", None, "does not say which environment this is");
}

/// What grants give is what is listed, and nothing else of the catalog.
#[test]
fn listings_follow_grants() {
    let one = r#"{"grants": [{"type": "namespace", "namespace": ["crm"], "privilege": "TABLE_READ_DATA"}]}"#;
    let all = r#"{"grants": [{"type": "catalog", "privilege": "CATALOG_MANAGE_CONTENT"}]}"#;
    let mut lines = String::new();
    for (document, grants) in [
        ("", one),
        ("", r#"{"grants": []}"#),
        ("", all),
        ("defaults: {c: deny}", one),
        ("policies:\n  - {name: p, who: {users: [ann]}, tables: [c.hr.*, d.*.*], allow: true}", one),
    ] {
        let set =
            Set::parse_in(&[("a.yaml", format!("version: 1\n{document}"))], &deciding()).expect("a set");
        let grants: Grants = serde_json::from_str(grants).expect("grants");
        let extents = grants.extents(Right::ReadTable).collect();
        let behind = Behind { readable: [("c".to_owned(), extents)].into(), ..Behind::default() };
        let permit = set.decide_through(&user("ann", &[]), &[], &behind, &salt()).expect("a permit");
        let _ = writeln!(lines, "{document}\n  {}", permit.visibility().tables_predicate("c", "s", "t"));
    }
    insta::assert_snapshot!(lines);
}

/// Columns that catalogs' words hide are not listed; of a catalog without an answer none are.
#[test]
fn listings_of_columns_follow_tags_and_attached_policies() {
    let outline = |table: &str, path: &str, shown: Option<&str>| {
        let name = TableName::new("c", "s", table).expect("a name");
        let mut tags = Tags::default();
        let word = vec!["pii.ssn".to_owned()];
        match path {
            "" => {}
            "*" => tags.whole = word,
            path => tags.fields.push((path.split('.').map(str::to_owned).collect(), word)),
        }
        let shown = shown.map(|column| [column.to_owned()].into()).into_iter().collect();
        Outline { name, tags, shown }
    };
    let document = "version: 1\ndefaults: {c: allow, d: allow}\ntags: {pii.ssn: []}\npolicies:\n  - {name: p, who: {users: \
                    [ann]}, tables: ['c.s.*'], deny_tags: ['pii.*']}";
    let set = Set::parse(&[("a.yaml", document)]).expect("a set");
    assert!(set.hides_by_tag(&user("ann", &[]), "c") && !set.hides_by_tag(&user("ann", &[]), "d"));
    assert!(!set.hides_by_tag(&user("bob", &[]), "c"));
    let all = vec![
        outline("one", "SSN", None),
        outline("two", "ssn", None),
        outline("three", "profile.ssn", None),
        outline("four", "*", None),
        outline("five", "", Some("Id")),
        outline("six", "", None),
    ];
    let mut lines = String::new();
    for (who, outlines) in [("ann", Some(all.clone())), ("ann", None), ("bob", Some(all))] {
        let behind = Behind { outlines: [("c".to_owned(), outlines)].into(), ..Behind::default() };
        let permit = set.decide_through(&user(who, &[]), &[], &behind, &salt()).expect("a permit");
        let text = permit.visibility().columns_predicate("k", "s", "t", "n");
        let hidden: Vec<&str> = text.split(" AND NOT ").skip(1).collect();
        let _ = writeln!(lines, "{who}\n  {}", hidden.join("\n  "));
    }
    insta::assert_snapshot!(lines);
}
