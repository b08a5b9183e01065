//! The fields that are meant, what is made of findings and tables, and the command as a whole.

use super::*;
use crate::catalog::Schema;
use crate::catalog::rest::tests::replay::Replay;
use crate::cli::classify::column::Column;

fn schema(fields: &Value) -> Schema {
    let schema = json!({"type": "struct", "schema-id": 0, "fields": fields});
    Schema::read(&json!({"schema": schema})).expect("a schema")
}

fn field(id: i32, name: &str, ty: &Value) -> Value {
    json!({"id": id, "name": name, "required": false, "type": ty})
}

/// A table with a field of each kind; column 3 was called `mail` before, and what was `ref` then is dropped.
fn customers(tags: &[(i32, &str)]) -> Classified {
    let address = json!({"type": "struct", "fields": [field(11, "city", &json!("string")), field(12, "Zip", &json!("string"))]});
    let phone = json!({"type": "struct", "fields": [field(14, "number", &json!("string"))]});
    let phones = json!({"type": "list", "element-id": 13, "element-required": false, "element": phone});
    let notes = json!({"type": "map", "key-id": 15, "key": "string", "value-id": 16, "value-required": false, "value": "string"});
    let tags = tags.iter().map(|(id, words)| (*id, words.split(' ').map(str::to_owned).collect()));
    let string = || json!("string");
    Classified {
        table: Identifier { namespace: vec!["crm".to_owned()], name: "customers".to_owned() },
        uuid: "u".to_owned(),
        places: vec!["s3://lake/wh/crm/customers".to_owned()],
        schema: schema(&json!([
            field(1, "id", &json!("long")),
            field(2, "name", &string()),
            field(3, "email", &string()),
            field(4, "address", &address),
            field(5, "phones", &phones),
            field(6, "notes", &notes),
            field(7, "list", &string()),
            field(8, "a.b", &string()),
            field(9, "Name2", &string()),
            field(10, "ref", &string())
        ])),
        former: vec![
            schema(&json!([
                field(2, "name", &string()),
                field(3, "mail", &string()),
                field(17, "gone", &string())
            ])),
            schema(&json!([field(3, "ref", &string())])),
        ],
        tags: tags.collect(),
    }
}

#[test]
fn fields_that_are_meant() {
    let table = customers(&[]);
    let said = |column: Result<Column, String>, in_file| match column
        .and_then(|column| column.fields(&table, in_file))
    {
        Ok(ids) => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(why) => why,
    };
    let none = "it has no such column";
    let named = |text: &str, expect: &str| assert_eq!(said(Column::named(text), false), expect, "{text}");
    named("name", "2");
    named("NAME", "2");
    named("name2", "9");
    named("address.zip", "12");
    named("phones.element.number", "14");
    named("phones.number", none);
    named("a.b", "8");
    named("notes.key", "15");
    named("mail", none);
    named("", "it names no column");
    named("x", none);
    let path = |text: &str, expect: &str| assert_eq!(said(Column::json_path(text), true), expect, "{text}");
    path("$.email", "3");
    path("$['email']", "3");
    path("$[\"email\"]", "3");
    path("$['a.b']", "8");
    path("$.address.city", "11");
    path("$.address['Zip']", "12");
    path("$.phones[0].number", "14");
    path("$.phones[*]", "13");
    // As Parquet's writers have lists and maps.
    path("$.phones.list[0].element.number", "14");
    path("$.phones.bag[2].array_element.number", "14");
    path("$.notes.key_value[0].value", "16");
    path("$.notes[0].key", "15");
    path("$.list", "7");
    // Files of before.
    path("$.mail", "3");
    path("$.gone", none);
    path("$.ref", "3 10");
    // What is no path.
    path("email", "the path does not begin with $: it was cut off");
    path("$", "it names no column");
    path("$.", "the path is not understood");
    path("$..email", "the path is not understood");
    path("$['email", "the path is not understood");
    path("$[?(@.a)]", "the path is not understood");
    path("$email", "the path is not understood");
    let deep = format!("${}", ".a".repeat(300));
    path(&deep, "the name of the column is too long");
}

/// The lines of a plan for the table, and what is said beside it.
fn planned(text: &str, tables: &[Classified], remove: bool) -> Vec<String> {
    let findings = Findings::read(text, &Types::default()).expect("findings");
    let plan = plan(&findings, &Tables::new("lake", tables), remove);
    let tables = plan
        .tables
        .iter()
        .flat_map(|change| change.lines.iter().map(|line| format!("{}: {line}", change.table)));
    let notes = plan.notes.iter().map(|note| format!("NOTE {note}"));
    let problems = plan.problems.iter().map(|problem| format!("PROBLEM {problem}"));
    let left = (plan.left > 0).then(|| format!("LEFT {}", plan.left));
    tables.chain(notes).chain(problems).chain(left).collect()
}

#[test]
fn plans_for_csv() {
    let check = |rows: &str, tags: &[(i32, &str)], remove: bool, expect: &[&str]| {
        let text = format!("table,column,tags\n{rows}");
        assert_eq!(planned(&text, &[customers(tags)], remove), expect, "{rows}");
    };
    check(
        "crm.customers,name,pii.name",
        &[],
        false,
        &["crm.customers: + name (field 2): pii.name, by line 2"],
    );
    check("Lake.CRM.Customers,name,pii.name", &[(2, "pii.name")], false, &[]);
    check(
        "crm.orders,name,pii",
        &[],
        false,
        &["PROBLEM crm.orders: there is no such table in the catalog (as the file calls it)"],
    );
    check(
        "crm.customers,name,pii.name\ncrm.customers,what,pii\ncrm.customers,what,pii",
        &[(3, "pii.email")],
        true,
        &[
            "crm.customers: + name (field 2): pii.name, by line 2",
            "NOTE crm.customers: nothing is removed, as the file may not say all of it",
            "PROBLEM crm.customers: column what: it has no such column (line 3)",
        ],
    );
    // A CSV says all of a table: other tags go, of other fields too, but not of fields that are gone.
    let tags: &[(i32, &str)] = &[(2, "pii.name pii.name.full internal"), (3, "pii.email"), (99, "pii.old")];
    check("crm.customers,name,pii.name", tags, false, &["LEFT 3"]);
    check(
        "crm.customers,name,pii.name",
        tags,
        true,
        &[
            "crm.customers: - name (field 2): internal",
            "crm.customers: - name (field 2): pii.name.full",
            "crm.customers: - email (field 3): pii.email",
        ],
    );
    // Where it is not understood in full, nothing goes.
    check(
        "crm.customers,name,pii.name\nx",
        tags,
        true,
        &[
            "NOTE crm.customers: nothing is removed, as the file may not say all of it",
            "PROBLEM line 3: it has too few columns (it is left out)",
        ],
    );
}

#[test]
fn plans_for_macie() {
    let at = |key: &str, detections: Value| {
        let mut finding = finding(&detections);
        finding["resourcesAffected"]["s3Object"]["key"] = json!(key);
        finding
    };
    let mut orders = customers(&[]);
    orders.table.name = "orders".to_owned();
    // Within another table's folder, and with a folder of files elsewhere.
    orders.places = vec!["s3a://lake/wh/crm/customers/orders/".to_owned(), "s3://files/orders".to_owned()];
    let check = |findings: &[Value], tags: &[(i32, &str)], remove: bool, expect: &[&str]| {
        let tables = [customers(tags), orders.clone()];
        assert_eq!(planned(&json!(findings).to_string(), &tables, remove), expect, "{findings:#?}");
    };
    let email = |key: &str, path: &str| at(key, records("EMAIL_ADDRESS", &[path]));
    check(
        &[email("wh/crm/customers/data/1.parquet", "$.mail")],
        &[],
        false,
        &["crm.customers: + email (field 3): pii.email, by finding f1, where it is called $.mail"],
    );
    check(
        &[email("wh/crm/customers/orders/data/1.parquet", "$.email")],
        &[],
        false,
        &["crm.orders: + email (field 3): pii.email, by finding f1"],
    );
    check(
        &[
            email("wh/crm/customers/metadata/1-m0.avro", "$.upper_bounds[0].value"),
            email("wh/crm/customers2/1.parquet", "$.x"),
        ],
        &[],
        false,
        &[
            "NOTE objects that belong to no table of the catalog: 1 (s3://lake/wh/crm/customers2/1.parquet)",
            "NOTE objects of tables' metadata, which tags do not protect: let nobody but the catalog and its engines read \
             them: 1 (s3://lake/wh/crm/customers/metadata/1-m0.avro)",
        ],
    );
    let (one, two) = ("wh/crm/customers/data/1.parquet", "wh/crm/customers/data/2.parquet");
    check(
        &[email(one, "$.x"), email(two, "$.x")],
        &[],
        false,
        &[
            "PROBLEM crm.customers: column $.x: it has no such column (s3://lake/wh/crm/customers/data/1.parquet, finding f1, and 1 more)",
        ],
    );
    // A finer tag does not stand for the plainer one, and is not taken away. Tags that Macie has no word for stay.
    let tags: &[(i32, &str)] = &[(3, "pii.email.work pii.phone internal"), (2, "pii.name gdpr")];
    check(
        &[email(one, "$.email")],
        tags,
        true,
        &[
            "crm.customers: - name (field 2): pii.name",
            "crm.customers: + email (field 3): pii.email, by finding f1",
            "crm.customers: - email (field 3): pii.phone",
        ],
    );
    // Where it did not say all, nothing goes.
    let mut more = email(one, "$.email");
    more["classificationDetails"]["result"]["additionalOccurrences"] = json!(true);
    check(
        &[more, email(two, "$.email")],
        tags,
        true,
        &[
            "crm.customers: + email (field 3): pii.email, by finding f1",
            "NOTE crm.customers: nothing is removed, as the file may not say all of it",
        ],
    );
    let text = json!([{"type": "NAME", "count": 1, "occurrences": {"lineRanges": [{"start": 1, "end": 1}]}}]);
    check(
        &[at("other/1.txt", text.clone())],
        &[],
        false,
        &["NOTE objects that belong to no table of the catalog: 1 (s3://lake/other/1.txt)"],
    );
    check(
        &[at(one, text)],
        &[],
        true,
        &[
            "PROBLEM crm.customers: NAME: it is in text that has no columns (s3://lake/wh/crm/customers/data/1.parquet, finding f1)",
        ],
    );
}

/// The command against a real Polaris as it was recorded.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_file_to_properties() {
    let exchanges =
        ["token-root", "get-config", "list-namespaces", "list-tables", "load-table", "commit-set-properties"];
    let server = Replay::start(&exchanges).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    file("secret", "s3cr3t");
    let uri = &server.uri;
    let settings = format!(
        "[trino]\nurl = \"http://127.0.0.1:1\"\nuser = \"northgate\"\n[catalog.rest.lake]\nuri = \"{uri}/api/catalog\"\n\
         warehouse = \"lake\"\nclient_id = \"root\"\nclient_secret_file = \"secret\"\n"
    );
    let config = file("northgate.toml", &settings);
    let rows = "table,column,tags\ncrm.customers,name,pii.name\ncrm.customers,email,pii.email.work\ncrm.customers,ssn,pii.ssn\n";
    let findings = file("findings.csv", rows);
    let run = async |file: &Path, catalog: Option<&str>, write: bool| {
        let command = Classify::Import {
            file: file.to_owned(),
            config: config.clone(),
            catalog: catalog.map(str::to_owned),
            types: None,
            write,
            remove: true,
        };
        tokio::task::spawn_blocking(move || classify(&command)).await.expect("no panic")
    };
    let diff = "crm.customers\n  + name (field 2): pii.name, by line 2\n  + email (field 3): pii.email.work, by line 3\n  \
                - email (field 3): pii.email\ntags of 1 table: 2 to add, 1 to remove; ";
    let dry = run(&findings, None, false).await.expect("said");
    let expect =
        Said { out: format!("{diff}nothing is written without --write\n"), err: String::new(), failed: true };
    assert_eq!(dry, expect);
    assert!(!server.asked().contains(&"commit-set-properties".to_owned()));
    let wet = run(&findings, Some("lake"), true).await.expect("said");
    assert_eq!(wet, Said { out: format!("{diff}written: 1 of 1\n"), err: String::new(), failed: false });
    assert!(server.asked().contains(&"commit-set-properties".to_owned()));
    let same =
        file("same.csv", "table,column,tags\ncrm.customers,ssn,pii.ssn\ncrm.customers,email,pii.email\n");
    let same = run(&same, None, true).await.expect("said");
    assert_eq!(same, Said { out: "nothing to change\n".to_owned(), err: String::new(), failed: false });
    let none = run(&findings, Some("sea"), true).await.expect_err("none");
    assert_eq!(none, "there is no [catalog.rest.sea]; there are lake");
    let empty = file("empty.json", "");
    assert!(run(&empty, None, false).await.expect_err("empty").ends_with("empty.json: the file is empty"));
}
