//! The catalog before an engine that answers by table.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::error::Failure;

/// Answers each query with the rows it was given, when it is let.
struct Told {
    rows: Mutex<Result<Vec<Value>, EngineError>>,
    asked: Mutex<Vec<String>>,
    let_go: Semaphore,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Told {
    fn new(rows: Vec<Value>, at_once: bool) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::new(Ok(rows)),
            asked: Mutex::default(),
            let_go: Semaphore::new(if at_once { 1_000 } else { 0 }),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("not poisoned").len()
    }
}

impl Engine for Told {
    fn metadata<'a>(&'a self, query: &'a MetadataQuery) -> Metadata<'a> {
        Box::pin(async move {
            self.asked.lock().expect("not poisoned").push(query.text().to_owned());
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            let rows = self.rows.lock().expect("not poisoned").clone();
            self.let_go.acquire().await.expect("open").forget();
            self.running.fetch_sub(1, Ordering::SeqCst);
            rows.map(|rows| rows.into_iter().map(|row| row.as_array().expect("a row").clone()).collect())
        })
    }
}

fn name(text: &str) -> TableName {
    let parts: Vec<&str> = text.split('.').collect();
    TableName::new(parts[0], parts[1], parts[2]).expect("a name")
}

fn table(table: &str) -> Vec<Value> {
    vec![json!(["table", table, "BASE TABLE", "", 0]), json!(["column", table, "id", "bigint", 1])]
}

fn catalog(engine: &Arc<Told>) -> Catalog {
    Catalog::new(Arc::clone(engine) as Arc<dyn Engine>, Config { queries: 2, ..Config::default() })
        .expect("a catalog")
}

/// What rows make of the table `t`: its kind and columns, or the kind of the error.
#[tokio::test]
async fn rows_are_read_in_full_or_not_at_all() {
    async fn check(rows: Value, expect: Result<(RelationKind, &str), &str>) {
        let engine = Told::new(rows.as_array().expect("rows").clone(), true);
        let got = catalog(&engine).describe(&[name("c.s.t")]).await;
        let got = got.map(|all| {
            let columns: Vec<&str> = all[0].columns.iter().map(|column| column.name.as_str()).collect();
            (all[0].kind, columns.join(","))
        });
        assert_eq!(
            got.as_ref().map(|(kind, columns)| (*kind, columns.as_str())).map_err(Failure::kind),
            expect,
            "{rows}"
        );
    }
    let a = json!(["column", "t", "a", "bigint", 1]);
    let b = json!(["column", "t", "B", "row(x integer, y z varchar)", 3]);
    let is = |what: &str| json!(["table", "t", what, "", 0]);
    check(json!([b, a, is("BASE TABLE")]), Ok((RelationKind::Table, "a,B"))).await;
    check(json!([is("VIEW"), a]), Ok((RelationKind::View, "a"))).await;
    let materialized = json!(["materialized", "t", "", "", 0]);
    check(json!([is("BASE TABLE"), a, materialized]), Ok((RelationKind::MaterializedView, "a"))).await;
    check(json!([]), Err("catalog_not_found")).await;
    check(json!([a]), Err("catalog_not_found")).await;
    check(json!([is("BASE TABLE")]), Err("catalog_unreadable")).await;
    check(json!([is("SYNONYM"), a]), Err("catalog_unreadable")).await;
    check(json!([is("VIEW"), is("BASE TABLE"), a]), Err("catalog_unreadable")).await;
    check(json!([is("VIEW"), a, ["column", "t", "c", "date", 1]]), Err("catalog_unreadable")).await;
    check(json!([is("VIEW"), a, ["column", "t", null, "date", 2]]), Err("catalog_unreadable")).await;
    check(json!([is("VIEW"), a, ["trigger", "t", "x", "", 2]]), Err("catalog_unreadable")).await;
    check(json!([["table", "T", "VIEW", "", 0], a]), Err("catalog_not_found")).await;
}

#[tokio::test]
async fn one_query_for_each_schema() {
    let engine = Told::new([table("t"), table("u")].concat(), true);
    let names = [name("c.s.u"), name("c.s.t"), name("c.r.t"), name("c.s.u")];
    let all = catalog(&engine).describe(&names).await.expect("described");
    assert_eq!(all.iter().map(|d| d.name.clone()).collect::<Vec<_>>(), names);
    assert_eq!(engine.asked(), 2);
    let hidden = catalog(&engine).describe(&[name("c.s.t"), name("c.s.t$files")]).await.expect_err("hidden");
    assert_eq!(hidden.kind(), "catalog_hidden");
    assert_eq!(engine.asked(), 2, "nothing is asked about it");
}

/// Somebody names one table after the other: others are told of theirs meanwhile.
#[tokio::test]
async fn nobody_has_all_turns() {
    let engine = Told::new(table("t"), false);
    let catalog = catalog(&engine);
    let ask = |who: &str, table: &str| {
        let (catalog, names) = (catalog.clone().asked_by(who), [name(table)]);
        tokio::spawn(async move { catalog.describe(&names).await })
    };
    let missing: Vec<_> = (0..10).map(|n| ask("eva", &format!("c.s.x{n}"))).collect();
    let there = ask("ann", "c.s.t");
    while engine.asked() < 2 {
        tokio::task::yield_now().await;
    }
    let asked = engine.asked.lock().expect("not poisoned").concat();
    assert!(asked.contains("'t'"), "{asked}");
    engine.let_go.add_permits(100);
    assert!(there.await.expect("it ends").is_ok());
    for one in missing {
        assert_eq!(one.await.expect("it ends").map_err(|error| error.kind()), Err("catalog_not_found"));
    }
}

#[test]
fn names_are_quoted() {
    let text = describe::query(&[name("a\"b.c'd.e'); drop")]).expect("a query").0;
    assert!(text.contains(r#"FROM "a""b".information_schema.columns WHERE table_schema = 'c''d'"#), "{text}");
    assert!(text.contains("table_name IN ('e''); drop')"), "{text}");
}

#[tokio::test]
async fn whoever_wants_the_same_waits_for_it() {
    let engine = Told::new(table("t"), false);
    let catalog = catalog(&engine);
    let names = [name("c.s.t")];
    let ask = || {
        let (catalog, names) = (catalog.clone(), names.clone());
        tokio::spawn(async move { catalog.describe(&names).await })
    };
    let first = ask();
    while engine.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..100).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    // The one that began it goes away.
    first.abort();
    tokio::task::yield_now().await;
    engine.let_go.add_permits(1);
    for other in others {
        assert!(other.await.expect("no panic").is_ok());
    }
    assert_eq!(engine.asked(), 1);
    assert!(catalog.describe(&names).await.is_ok());
    assert_eq!(engine.asked(), 1, "it is remembered");
}

#[tokio::test]
async fn what_is_forgotten_is_asked_for_again_also_in_flight() {
    let engine = Told::new(table("t"), false);
    let catalog = catalog(&engine);
    let names = [name("c.s.t")];
    let mut slow = Box::pin(catalog.describe(&names));
    assert!(futures_util::poll!(&mut slow).is_pending());
    while engine.asked() == 0 {
        tokio::task::yield_now().await;
    }
    catalog.forget(&names);
    engine.let_go.add_permits(1);
    slow.await.expect("it gets what was under way");
    engine.let_go.add_permits(1);
    catalog.describe(&names).await.expect("described");
    assert_eq!(engine.asked(), 2, "what was under way was not kept");
    catalog.describe(&names).await.expect("remembered");
    assert_eq!(engine.asked(), 2);
}

#[tokio::test]
async fn errors_are_not_remembered_and_queries_are_few() {
    let engine = Told::new(Vec::new(), true);
    let catalog = catalog(&engine);
    *engine.rows.lock().expect("not poisoned") = Err(EngineError::Unavailable("down".into()));
    let error = catalog.describe(&[name("c.s.t")]).await.expect_err("down");
    assert_eq!(error.kind(), "catalog_engine");
    assert!(!error.client_message().contains("down"));
    *engine.rows.lock().expect("not poisoned") = Ok(table("t"));
    assert!(catalog.describe(&[name("c.s.t")]).await.is_ok());
    let names: Vec<TableName> = (0..20).map(|n| name(&format!("c.s{n}.t"))).collect();
    assert!(catalog.describe(&names).await.is_ok());
    assert!(engine.most.load(Ordering::SeqCst) <= 2);
}

/// Whatever a REST catalog answers, the user is told what they can do, and nothing of what it said.
#[test]
fn a_catalogs_failures_have_a_message_without_its_words() {
    use rest::RestError;

    let check = |error: RestError, code: &str, expect: &str| {
        let error = CatalogError::Rest { catalog: "lake".to_owned(), error };
        let message = error.client_message();
        assert!(message.contains(expect) && message.contains("lake"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!(error.code().name, code, "{message}");
    };
    let said = || "principal hunter2 has the roles hunter2".to_owned();
    check(RestError::Unavailable(said()), "REMOTE_HOST_GONE", "Try again later");
    check(RestError::Resting, "REMOTE_HOST_GONE", "Try again later");
    check(RestError::Unauthorized(said()), "PERMISSION_DENIED", "Sign in again");
    check(RestError::NoUserToken(said()), "PERMISSION_DENIED", "with a token of yours");
    for error in [
        RestError::Forbidden(said()),
        RestError::NotFound(said()),
        RestError::Conflict(said()),
        RestError::Garbage(said()),
        RestError::NoToken(said()),
    ] {
        check(error, "REMOTE_HOST_GONE", "Tell the operators");
    }
    let name = TableName::new("lake", "crm", "t").expect("a name");
    let differs = CatalogError::Differs { name, why: said() };
    assert!(differs.client_message().contains("do not agree on what columns lake.crm.t has"));
}
