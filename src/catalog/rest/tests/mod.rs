//! The client against what a real Polaris 1.7 answered, and against servers that misbehave.

mod classification;
mod outlines;
pub(crate) mod replay;
mod ruling;

use std::collections::BTreeMap;

use super::client::{Client, Loaded, Loading};
use super::*;
use replay::{Replay, exchanges};

/// A client that signs in as `gw`.
fn client(server: &Replay, scope: &str, change: impl FnOnce(&mut Config)) -> (Client, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(server, &folder, scope);
    change(&mut config);
    config.check().expect("a configuration");
    (Client::new(&config).expect("a client"), folder)
}

/// The gateway as `gw`.
fn config(server: &Replay, folder: &tempfile::TempDir, scope: &str) -> Config {
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "<clientSecret of gw>\n").expect("written");
    Config {
        warehouse: Some("lake".to_owned()),
        client_id: Some("8ddf9ed8baf4f8b1".to_owned()),
        client_secret_file: Some(secret.into()),
        scope: scope.to_owned(),
        ..Config::plain(format!("{}/api/catalog", server.uri))
    }
}

fn user(name: &str) -> Caller {
    Caller::User { token: Secret::new(format!("<access_token of {name}>")), fingerprint: [0; 32] }
}

fn kind<T>(result: &Result<T, RestError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(RestError::Unavailable(_)) => "unavailable",
        Err(RestError::Resting) => "resting",
        Err(RestError::Unauthorized(_)) => "unauthorized",
        Err(RestError::Forbidden(_)) => "forbidden",
        Err(RestError::NotFound(_)) => "not found",
        Err(RestError::Conflict(_)) => "conflict",
        Err(RestError::Garbage(_)) => "garbage",
        Err(RestError::NoToken(_) | RestError::NoUserToken(_)) => "no token",
    }
}

#[tokio::test]
async fn the_gateway_reads_what_tables_are() {
    let server = Replay::start(&[
        "token-gw-gateway",
        "gw-meta-config",
        "gw-meta-load-table",
        "gw-meta-load-view",
        "gw-meta-get-namespace",
        "gw-meta-list-tables",
        "gw-meta-list-namespaces",
        "gw-meta-applicable-policies",
        "gw-meta-load-table-vended",
    ])
    .await;
    let (client, _folder) = client(&server, "PRINCIPAL_ROLE:ALL", |_| {});
    let gateway = Caller::Gateway;
    let loaded = client.load(&gateway, Loading::Table, &["crm"], "customers", None).await.expect("loaded");
    let Loaded::Changed { etag, body } = loaded else { panic!("unchanged") };
    assert!(etag.is_some_and(|etag| etag.starts_with("W/\"")));
    assert!(String::from_utf8_lossy(&body).contains("\"classification.4\":\"pii.ssn\""));
    assert_eq!(kind(&client.load(&gateway, Loading::View, &["crm"], "customer_regions", None).await), "ok");
    let properties = client.namespace(&gateway, &["crm"]).await.expect("properties");
    assert_eq!(properties.get("classification").map(String::as_str), Some("internal"));
    assert_eq!(
        client.names(&gateway, Loading::Table, &["crm"]).await.expect("tables"),
        ["customers", "orders"]
    );
    assert_eq!(client.namespaces(&gateway, &[]).await.expect("namespaces"), [["crm"], ["hr"]]);
    let policies = client.policies(&gateway, &["crm"], "customers").await.expect("policies");
    let kinds: Vec<&str> = policies.iter().map(|policy| policy.kind.as_str()).collect();
    assert_eq!(kinds, ["system.snapshot-expiry", "system.data-compaction"]);
    // To know what a table is gives no right to its rows.
    let data = client.load(&gateway, Loading::TableData, &["crm"], "customers", None).await;
    assert_eq!(kind(&data), "forbidden");
    assert_eq!(server.asked().iter().filter(|name| name.starts_with("token")).count(), 1);
}

#[tokio::test]
async fn users_are_asked_for_in_their_own_name() {
    let server = Replay::start(&[
        "ann-get-config",
        "ann-load-table-vended-credentials",
        "ann-load-table-if-none-match-of-root",
        "ann-load-table-no-grant",
        "ann-load-missing-table-in-granted-ns",
        "ann-load-view",
        "ann-load-table-after-revoke-if-none-match",
    ])
    .await;
    let (client, _folder) = client(&server, "PRINCIPAL_ROLE:ALL", |config| config.access = Access::Delegated);
    let ann = user("ann");
    let load = async |loading, schema: &str, name: &str, etag: Option<&str>| {
        client.load(&ann, loading, &[schema], name, etag).await
    };
    assert_eq!(kind(&load(Loading::TableData, "crm", "customers", None).await), "ok");
    let etag = exchanges()
        .into_iter()
        .find(|one| one.name == "ann-load-table-if-none-match-of-root")
        .and_then(|one| one.request_headers.get("If-None-Match").cloned())
        .expect("a tag");
    let unchanged = load(Loading::Table, "crm", "customers", Some(&etag)).await;
    assert!(matches!(unchanged, Ok(Loaded::Unchanged)), "{unchanged:?}");
    // After a revoke the same question is refused, though nothing has changed.
    assert_eq!(kind(&load(Loading::Table, "crm", "customers", Some(&etag)).await), "forbidden");
    assert_eq!(kind(&load(Loading::Table, "hr", "salaries", None).await), "forbidden");
    assert_eq!(kind(&load(Loading::Table, "crm", "nope", None).await), "not found");
    assert_eq!(kind(&load(Loading::View, "crm", "customer_regions", None).await), "forbidden");
}

#[tokio::test]
async fn tokens_that_are_not_good() {
    let server = Replay::start(&["token-wrong-secret", "bogus-bearer-catalog"]).await;
    let (wrong, folder) = client(&server, "PRINCIPAL_ROLE:ALL", |config| {
        config.client_id = Some("root".to_owned());
    });
    drop(wrong);
    std::fs::write(folder.path().join("secret"), "nope").expect("written");
    let config = Config {
        warehouse: Some("lake".to_owned()),
        client_id: Some("root".to_owned()),
        client_secret_file: Some(folder.path().join("secret").into()),
        ..Config::plain(format!("{}/api/catalog", server.uri))
    };
    let wrong = Client::new(&config).expect("a client");
    assert_eq!(kind(&wrong.namespace(&Caller::Gateway, &["crm"]).await), "no token");
    let bogus = Caller::User { token: Secret::new("bogus".to_owned()), fingerprint: [0; 32] };
    assert_eq!(kind(&wrong.namespace(&bogus, &["crm"]).await), "unauthorized");
}

#[tokio::test]
async fn roles_and_grants_are_read() {
    let server = Replay::start(&[
        "token-gw-service_admin",
        "gw-svcadmin-list-principal-roles-of-ann",
        "gw-svcadmin-list-catalog-roles-of-analyst",
        "gw-svcadmin-list-grants-reader",
        "gw-svcadmin-list-principals",
    ])
    .await;
    let management = format!("{}/api/management/v1", server.uri);
    let (client, _folder) = client(&server, "PRINCIPAL_ROLE:gateway", |config| {
        config.access = Access::Grants;
        config.management_uri = Some(management);
        config.management_scope = Some("PRINCIPAL_ROLE:service_admin".to_owned());
    });
    assert_eq!(client.principal_roles("ann").await.expect("roles"), ["analyst"]);
    assert_eq!(client.catalog_roles("analyst").await.expect("roles"), ["reader"]);
    let grants: Grants = client.grants("reader").await.expect("grants");
    let customers = Object { namespace: &["crm"], name: Some("customers") };
    assert!(grants.give(Right::ReadTable, customers));
    assert!(!grants.give(Right::WriteTable, customers));
    assert!(!grants.give(Right::ReadTable, Object { namespace: &["hr"], name: Some("salaries") }));
}

/// What each privilege alone let its holder do, as recorded, is what the evaluation of it says.
#[test]
fn privileges_are_those_of_polaris() {
    let mut recorded: BTreeMap<(String, &str), bool> = BTreeMap::new();
    let operations = ["load-table-vended", "load-view", "set-table-properties"];
    for exchange in exchanges() {
        let Some(rest) = exchange.name.strip_prefix("probe-") else { continue };
        for operation in operations {
            if let Some(privilege) = rest.strip_suffix(&format!("-{operation}")) {
                recorded.insert((privilege.to_owned(), operation), exchange.status == 200);
            }
        }
    }
    assert_eq!(recorded.len(), 3 * 21, "{recorded:#?}");
    for ((privilege, operation), allowed) in recorded {
        let grants = serde_json::json!({"grants": [{"type": "catalog", "privilege": privilege}]});
        let grants: Grants = serde_json::from_value(grants).expect("grants");
        let (right, name) = match operation {
            "load-table-vended" => (Right::ReadTable, "customers"),
            "load-view" => (Right::ReadView, "customer_regions"),
            _ => (Right::AlterTable, "customers"),
        };
        let given = grants.give(right, Object { namespace: &["crm"], name: Some(name) });
        assert_eq!(given, allowed, "{privilege} {operation}");
    }
}

#[test]
fn grants_hold_for_what_is_below() {
    let check = |grant: serde_json::Value, right: Right, object: (&[&str], Option<&str>), expect: bool| {
        let text = format!("{grant} {right:?} {object:?}");
        let grants: Grants = serde_json::from_value(serde_json::json!({"grants": [grant]})).expect("grants");
        assert_eq!(grants.give(right, Object { namespace: object.0, name: object.1 }), expect, "{text}");
    };
    let namespace = |levels: &[&str], privilege: &str| serde_json::json!({"type": "namespace", "namespace": levels, "privilege": privilege});
    let table = |name: &str, privilege: &str| serde_json::json!({"type": "table", "namespace": ["crm"], "tableName": name, "privilege": privilege});
    let customers: (&[&str], Option<&str>) = (&["crm"], Some("customers"));
    let below: (&[&str], Option<&str>) = (&["crm", "eu"], Some("customers"));
    check(namespace(&["crm"], "TABLE_READ_DATA"), Right::ReadTable, customers, true);
    check(namespace(&["crm"], "TABLE_READ_DATA"), Right::ReadTable, below, true);
    check(namespace(&["crm", "eu"], "TABLE_READ_DATA"), Right::ReadTable, customers, false);
    check(namespace(&["cr"], "TABLE_READ_DATA"), Right::ReadTable, customers, false);
    check(namespace(&["crm"], "TABLE_READ_PROPERTIES"), Right::ReadTable, customers, false);
    check(namespace(&["crm"], "TABLE_CREATE"), Right::CreateTable, (&["crm"], None), true);
    check(namespace(&["crm"], "VIEW_CREATE"), Right::CreateTable, (&["crm"], None), false);
    check(table("customers", "TABLE_READ_DATA"), Right::ReadTable, customers, true);
    check(table("customers", "TABLE_READ_DATA"), Right::ReadTable, below, false);
    check(table("orders", "TABLE_READ_DATA"), Right::ReadTable, customers, false);
    check(table("customers", "VIEW_READ_PROPERTIES"), Right::ReadView, customers, false);
    let policy = serde_json::json!({"type": "policy", "policyName": "p", "privilege": "TABLE_READ_DATA"});
    check(policy, Right::ReadTable, customers, false);
}

/// The whole of it, as recorded: what a user may read of a table, what it is tagged with, and what is listed.
#[tokio::test]
async fn rulings_of_polaris() {
    let described = |schema: &str, table: &str, kind| {
        let name = crate::catalog::TableName::new("lake", schema, table).expect("a name");
        crate::catalog::Described { name, kind, columns: Vec::new() }
    };
    let ann = crate::identity::Principal::new("ann", crate::identity::Method::Password);
    let token = Secret::new("<access_token of ann>".to_owned());
    let subject = Subject { principal: &ann, token: Some(&token), is_run_as: false };
    let customers = described("crm", "customers", crate::catalog::RelationKind::Table);

    let server = Replay::start(&[
        "token-gw-gateway",
        "ann-get-config",
        "ann-load-table-vended-credentials",
        "ann-applicable-policies-table",
        "gw-meta-get-namespace",
        "ann-load-view",
    ])
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let delegated = Config { access: Access::Delegated, ..config(&server, &folder, "PRINCIPAL_ROLE:ALL") };
    let catalog = RestCatalog::new("lake", delegated).expect("a catalog");
    let ruling = catalog.ruling(&subject, &customers).await.expect("a ruling");
    assert!(ruling.read && ruling.decides && ruling.restrictions.is_none() && ruling.attached.is_empty());
    let tags = ruling.tags();
    assert_eq!(tags.whole, ["internal"]);
    let words: Vec<String> =
        tags.fields.iter().map(|(path, words)| format!("{}: {}", path.join("."), words.join(" "))).collect();
    assert_eq!(words, ["name: pii.name", "email: pii.email.work", "ssn: pii.ssn"]);
    let view = described("crm", "customer_regions", crate::catalog::RelationKind::View);
    assert!(!catalog.ruling(&subject, &view).await.expect("a ruling").read);

    let server = Replay::start(&[
        "token-gw-service_admin",
        "token-gw-gateway-only",
        "gw-svcadmin-config",
        "gw-meta-load-table",
        "gw-meta-load-table-hr",
        "gw-meta-get-namespace",
        "gw-meta-applicable-policies",
        "gw-svcadmin-list-principal-roles-of-ann",
        "gw-svcadmin-list-catalog-roles-of-analyst",
        "gw-svcadmin-list-grants-reader",
    ])
    .await;
    let grants = Config {
        access: Access::Grants,
        management_uri: Some(format!("{}/api/management/v1", server.uri)),
        management_scope: Some("PRINCIPAL_ROLE:service_admin".to_owned()),
        ..config(&server, &folder, "PRINCIPAL_ROLE:gateway")
    };
    let catalog = RestCatalog::new("lake", grants).expect("a catalog");
    let ruling = catalog.ruling(&subject, &customers).await.expect("a ruling");
    assert!(ruling.read && ruling.decides);
    let readable = catalog.readable(&subject).await.expect("a list");
    assert_eq!(readable, [Extent::Namespace(vec!["crm".to_owned()])]);
    let granted = catalog.granted(&subject).await.expect("grants").expect("grants");
    assert!(granted.give(Right::ReadTable, "crm", Some("orders")));
    assert!(!granted.give(Right::WriteTable, "crm", Some("customers")));
    assert!(!granted.give(Right::ReadTable, "hr", Some("salaries")));
    // Roles and grants are asked for once.
    assert_eq!(server.asked().iter().filter(|name| name.contains("-list-")).count(), 3);
}
