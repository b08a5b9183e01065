//! How tables are classified, read from and written to a real Polaris 1.7 as it was recorded, and where others change the
//! same table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::replay::{Replay, exchanges};
use super::ruling::{Stub, page};
use crate::catalog::rest::{Classification, Config, Identifier, RestError, Retagged};

fn root(server: &Replay, folder: &tempfile::TempDir) -> Config {
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cr3t").expect("written");
    Config {
        warehouse: Some("lake".to_owned()),
        client_id: Some("root".to_owned()),
        client_secret_file: Some(secret.into()),
        ..Config::plain(format!("{}/api/catalog", server.uri))
    }
}

fn customers() -> Identifier {
    Identifier { namespace: vec!["crm".to_owned()], name: "customers".to_owned() }
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn tables_are_found_and_changed() {
    let server = Replay::start(&[
        "token-root",
        "get-config",
        "list-namespaces",
        "list-tables",
        "load-table",
        "commit-set-properties",
    ])
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Classification::new(&root(&server, &folder)).expect("a catalog");
    let tables = catalog.tables(|namespace| namespace == ["crm"]).await.expect("tables");
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["crm.customers", "crm.orders"]);
    let (read, failed) = catalog.load(vec![customers()], |_, _| true).await;
    assert_eq!(failed, []);
    let [table] = read.as_slice() else { panic!("{read:#?}") };
    assert_eq!(table.places, ["file:///warehouse/crm/customers"]);
    let tags: Vec<_> = table.tags.iter().map(|(id, tags)| (*id, tags.clone())).collect();
    assert_eq!(tags, [(3, words(&["pii.email"])), (4, words(&["pii.ssn"]))]);
    let changes = BTreeMap::from([
        (2, Retagged { added: words(&["pii.name"]), removed: words(&[]) }),
        (3, Retagged { added: words(&["pii.email.work"]), removed: words(&["pii.email"]) }),
        (4, Retagged { added: words(&["pii.ssn"]), removed: words(&["pii.other"]) }),
    ]);
    catalog.write(&table.table, &table.uuid, &changes).await.expect("written");
    assert_eq!(server.asked().iter().filter(|name| *name == "commit-set-properties").count(), 1);
    // What is so already is not written again.
    let same = BTreeMap::from([(4, Retagged { added: words(&["pii.ssn"]), removed: words(&[]) })]);
    catalog.write(&table.table, &table.uuid, &same).await.expect("nothing to do");
    assert_eq!(server.asked().iter().filter(|name| *name == "commit-set-properties").count(), 1);
    // Another table by the name is not changed.
    let other = catalog.write(&table.table, "another", &changes).await;
    assert!(matches!(other, Err(RestError::Conflict(_))), "{other:?}");
}

/// What commits are answered, one after another; then all is well. The table is as Polaris has it.
#[tokio::test]
async fn what_gets_in_the_way_is_tried_once_more() {
    async fn check(statuses: &'static [&'static str], expect: &str, commits: usize) {
        let table = exchanges().into_iter().find(|one| one.name == "load-table").expect("a recording");
        let table = table.response_body.to_string();
        let refused = exchanges().into_iter().find(|one| one.name == "commit-bad-uuid").expect("a recording");
        let (refused, uuid) = (refused.response_body.to_string(), "c11af288-e71b-470f-90c9-7fad54284d61");
        let (asked, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&counted);
        let server = Stub::start(move |request| {
            if !request.starts_with("POST") {
                return page("200 OK", "", if request.contains("/v1/config") { "{}" } else { &table });
            }
            counter.fetch_add(1, Ordering::SeqCst);
            match statuses.get(asked.fetch_add(1, Ordering::SeqCst)) {
                Some(status) => page(status, "", &refused),
                None => page("200 OK", "", "{}"),
            }
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "t").expect("written");
        let config = Config { token_file: Some(token.into()), ..Config::plain(&server.uri) };
        let catalog = Classification::new(&config).expect("a catalog");
        let changes = BTreeMap::from([(2, Retagged { added: words(&["pii.name"]), removed: words(&[]) })]);
        let outcome = catalog.write(&customers(), uuid, &changes).await;
        let text = outcome.map_or_else(|error| error.to_string(), |()| "written".to_owned());
        assert!(text.contains(expect), "{statuses:?}: {text}");
        assert_eq!(counted.load(Ordering::SeqCst), commits, "{statuses:?}");
    }
    check(&[], "written", 1).await;
    check(&["409 Conflict"], "written", 2).await;
    check(&["409 Conflict", "409 Conflict"], "Requirement failed", 2).await;
    check(&["403 Forbidden"], "it says no: 403", 1).await;
    // It may have been done.
    check(&["504 Gateway Timeout"], "504", 1).await;
}

/// Each as JSON of a table: what can be told from its metadata.
#[tokio::test]
async fn metadata_of_all_kinds() {
    async fn check(metadata: serde_json::Value, expect: &str) {
        let body = serde_json::json!({"metadata": metadata}).to_string();
        let server = Stub::start(move |request| {
            page("200 OK", "", if request.contains("/v1/config") { "{}" } else { &body })
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "t").expect("written");
        let config = Config { token_file: Some(token.into()), ..Config::plain(&server.uri) };
        let catalog = Classification::new(&config).expect("a catalog");
        let (read, failed) = catalog.load(vec![customers()], |_, _| true).await;
        let read = read.iter().map(|table| {
            let former: Vec<String> = table
                .former
                .iter()
                .filter_map(|one| one.field(1))
                .map(|field| field.path.join("."))
                .collect();
            format!("{} {:?} {:?}", table.places.join(" "), former, table.tags)
        });
        let failed = failed.iter().map(|(table, error)| format!("{table}: {error}"));
        let text: Vec<String> = read.chain(failed).collect();
        assert_eq!(text, [expect]);
    }
    let schema = |id: i32, name: &str| serde_json::json!({"type": "struct", "schema-id": id, "fields": [{"id": 1, "name": name, "required": true, "type": "long"}]});
    let table = |properties: serde_json::Value| serde_json::json!({"table-uuid": "u", "location": "s3://lake/crm/customers/", "current-schema-id": 2, "schemas": [schema(0, "a"), schema(1, "b"), schema(2, "c")], "properties": properties});
    check(table(serde_json::json!({})), r#"s3://lake/crm/customers ["b", "a"] {}"#).await;
    check(
        table(serde_json::json!({"write.data.path": "s3://data/x", "classification": "internal", "classification.7": "PII, pii"})),
        r#"s3://lake/crm/customers s3://data/x ["b", "a"] {7: {"pii"}}"#,
    )
    .await;
    check(
        table(serde_json::json!({"classification.x": "pii"})),
        "crm.customers: its answer cannot be used: the property classification.x names no field",
    )
    .await;
    check(
        table(serde_json::json!({"classification.1": "p*"})),
        "crm.customers: its answer cannot be used: the property classification.1 is no list of tags",
    )
    .await;
    check(
        serde_json::json!({"location": "s3://x"}),
        "crm.customers: its answer cannot be used: the table has no uuid",
    )
    .await;
}
