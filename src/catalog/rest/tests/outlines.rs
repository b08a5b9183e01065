//! What is known of the columns of all relations of a catalog, for listings.

use super::kind;
use super::ruling::{Stub, page};
use crate::catalog::rest::{Access, Config, RestCatalog, Subject};
use crate::identity::{Method, Principal};
use crate::secret::Secret;

const CUSTOMERS: &str = r#"{"metadata": {"table-uuid": "u", "current-schema-id": 0, "schemas": [{"type": "struct",
    "schema-id": 0, "fields": [{"id": 4, "name": "ssn", "required": false, "type": "string"}]}],
    "properties": {"classification.4": "pii.ssn"}}}"#;
const POLICIES: &str = r#"{"applicable-policies": [{"policy-type": "system.access-control", "name": "p",
    "content": "{\"columnProjections\": [\"id\"]}"}]}"#;
const CONFIGURATION: &str = r#"{"endpoints": ["GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "GET polaris/v1/{prefix}/applicable-policies"]}"#;

fn answer(head: &str) -> String {
    let ok = |body: &str| page("200 OK", "", body);
    match head.split_whitespace().nth(1).unwrap_or_default() {
        "/v1/config" => ok(CONFIGURATION),
        "/v1/namespaces" => ok(r#"{"namespaces": [["crm"]]}"#),
        "/v1/namespaces/crm" => ok(r#"{"namespace": ["crm"], "properties": {"classification": "internal"}}"#),
        "/v1/namespaces/crm/tables" => ok(
            r#"{"identifiers": [{"namespace": ["crm"], "name": "customers"}, {"namespace": ["crm"], "name": "closed"}]}"#,
        ),
        "/v1/namespaces/crm/views" => ok(r#"{"identifiers": []}"#),
        "/v1/namespaces/crm/tables/customers" => ok(CUSTOMERS),
        path if path.starts_with("/polaris/v1/applicable-policies") => ok(POLICIES),
        _ => page("403 Forbidden", "", "{}"),
    }
}

#[tokio::test]
async fn of_what_may_be_read_with_tags_and_attached_policies() {
    let stub = Stub::start(answer).await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "own").expect("written");
    let config =
        Config { access: Access::Delegated, token_file: Some(token.into()), ..Config::plain(&stub.uri) };
    let catalog = RestCatalog::new("lake", config).expect("a catalog");
    let ann = Principal::new("ann", Method::Password);
    let token = Secret::new("t".to_owned());
    let subject = Subject { principal: &ann, token: Some(&token), is_run_as: false };
    assert_eq!(catalog.attaches(&subject).await, Ok(true));
    let outlines = catalog.outlines(&subject).await.expect("outlines");
    let [customers] = &outlines[..] else { panic!("{outlines:#?}") };
    assert_eq!(customers.name.to_string(), "lake.crm.customers");
    assert_eq!(customers.tags.iter().collect::<Vec<_>>(), ["internal", "pii.ssn"]);
    assert_eq!(customers.shown, [["id".to_owned()].into()]);
    // All of it is remembered.
    let asked = stub.asked();
    catalog.outlines(&subject).await.expect("outlines");
    assert_eq!((asked, stub.asked()), (7, 0));
    // Who has no token is told nothing.
    let nobody = Subject { token: None, ..subject };
    assert_eq!(kind(&catalog.outlines(&nobody).await), "no token");
}
