//! Many policies, many tables, many principals: what deciding costs, reading the documents, and remembering what a catalog
//! said.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use northgate::catalog::rest::{self, RestCatalog, Ruling, Subject};
use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::{Behind, Rulings, Salt, Set, Surroundings};
use northgate::secret::Secret;
use tokio::net::TcpListener;

use crate::fault::{Result, Trying as _, unusable};
use crate::library::micros;
use crate::processes::bytes_of;
use crate::report::Figure;

/// Documents, each about tables of its own.
const DOCUMENTS: usize = 1_000;
const TABLES_EACH: usize = 10;
const GROUPS: usize = 500;
/// How often a decision is made.
const TIMES: usize = 5_000;
/// Tables and principals whose answers are remembered.
const TABLES: usize = 1_000;
const PRINCIPALS: usize = 100;
/// Tables that nothing is known of yet.
const COLD: usize = 500;
/// How many questions are asked at once.
const AT_ONCE: usize = 16;

fn documents() -> Vec<(String, String)> {
    (0..DOCUMENTS)
        .map(|number| {
            let mut text = String::from("version: 1\npolicies:\n");
            let tables: Vec<String> =
                (0..TABLES_EACH).map(|table| format!("lake.s{number}.t{table}")).collect();
            let _ = write!(
                text,
                "  - name: p{number}\n    who: {{groups: [g{}]}}\n    tables: [{}]\n    allow: true\n    row_filter: \
                 region = 'EU'\n    column_masks: [{{columns: [ssn], action: show-last-4}}]\n",
                number % GROUPS,
                tables.join(", ")
            );
            (format!("p{number}.yaml"), text)
        })
        .collect()
}

fn surroundings() -> Surroundings {
    Surroundings { deciding: ["lake".to_owned()].into(), ..Surroundings::default() }
}

fn described(schema: &str, table: &str) -> Result<Described> {
    let name = TableName::new("lake", schema, table).ok_or_else(|| unusable("a bad name"))?;
    let columns = ["id bigint", "name varchar", "email varchar", "ssn varchar", "region varchar"];
    let columns = columns
        .iter()
        .filter_map(|column| column.split_once(' '))
        .map(|(name, ty)| Column { name: name.to_owned(), ty: Type::parse(ty) })
        .collect();
    Ok(Described { name, kind: RelationKind::Table, columns })
}

/// `policy_decision_p50`.
pub(crate) fn decision() -> Result<Figure> {
    let set = Set::parse_in(&documents(), &surroundings()).map_err(|errors| unusable(errors.to_string()))?;
    let ann = Principal::new("ann", Method::Password).with_groups((0..20).map(|group| format!("g{group}")));
    let table = Arc::new(described("s7", "t3")?);
    let ruling = Ruling {
        catalog: "lake".into(),
        decides: true,
        read: true,
        facts: None,
        inherited: Vec::new(),
        restrictions: None,
        attached: Arc::default(),
        mask_strength: 0,
    };
    let mut rulings = Rulings::default();
    rulings.add(None, table.name.clone(), Arc::new(ruling));
    let behind = Behind { rulings, lists_nothing: true, ..Behind::default() };
    let decide = || set.decide_through(&ann, std::slice::from_ref(&table), &behind, &Salt::random());
    let permit = decide().map_err(|denial| unusable(denial.to_string()))?;
    let scoped = permit.scoped(&table.name).ok_or_else(|| unusable("no decision"))?;
    if scoped.filters().len() != 1 || scoped.mask("ssn").is_none() {
        return Err(unusable("the policy does not apply"));
    }
    let (p50, p99) = micros(TIMES, || drop(black_box(decide())));
    let tables = DOCUMENTS * TABLES_EACH;
    let note = format!("p99 {p99:.0} us; {DOCUMENTS} documents, {tables} tables, {GROUPS} groups");
    Ok(Figure::alone("policy_decision_p50", p50, "us", "<= 20").note(note))
}

/// `policy_reload`.
pub(crate) fn reload() -> Result<Figure> {
    let documents = documents();
    let before = Instant::now();
    let set = Set::parse_in(&documents, &surroundings()).map_err(|errors| unusable(errors.to_string()))?;
    let took = before.elapsed().as_secs_f64() * 1e3;
    let note = format!("{} policies; read on a thread of its own", set.len());
    Ok(Figure::alone("policy_reload", took, "ms", "<= 1000").note(note))
}

/// `catalog_cache_rss`.
pub(crate) fn cache() -> Result<Figure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .trying(|| "start threads".to_owned())?;
    runtime.block_on(remember())
}

/// Starts a catalog: its address, and how often it is asked.
async fn start() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.trying(|| "take a port".to_owned())?;
    let address = listener.local_addr().trying(|| "take a port".to_owned())?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            let service = service_fn(move |request: http::Request<Incoming>| {
                counter.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Ok::<_, Infallible>(answer(request.uri().path())))
            });
            let serve =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serve);
        }
    });
    Ok((format!("http://{address}"), asked))
}

/// `catalog_cold_requests`.
pub(crate) fn cold() -> Result<Figure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .trying(|| "start a thread".to_owned())?;
    runtime.block_on(async {
        let (uri, asked) = start().await?;
        let folder = tempfile::tempdir().trying(|| "make a folder".to_owned())?;
        let token = folder.path().join("token");
        std::fs::write(&token, "token-of-the-gateway").trying(|| "write a token".to_owned())?;
        // With the tags of namespaces: those are read once for all tables in one.
        let config = rest::Config {
            access: rest::Access::Delegated,
            token_file: Some(token.into()),
            ..rest::Config::plain(uri)
        };
        let catalog = RestCatalog::new("lake", config).map_err(unusable)?;
        ask(&catalog, "ann", 0).await?;
        let first = asked.swap(0, Ordering::SeqCst);
        let started = Instant::now();
        for table in 1..=COLD {
            ask(&catalog, "ann", table).await?;
        }
        let took = started.elapsed().as_secs_f64() * 1e6;
        #[allow(clippy::cast_precision_loss)] // hundreds
        let (requests, tables) = (asked.load(Ordering::SeqCst) as f64, COLD as f64);
        let note = format!(
            "{COLD} tables of one namespace, {:.0} us each; the very first asks {first} times: for the catalog's \
             configuration and the namespace, too",
            took / tables
        );
        Ok(Figure::alone("catalog_cold_requests", requests / tables, "requests", "<= 1").note(note))
    })
}

async fn remember() -> Result<Figure> {
    let (uri, _) = start().await?;
    let config =
        rest::Config { access: rest::Access::Delegated, inherited_tags: false, ..rest::Config::plain(uri) };
    let catalog = Arc::new(RestCatalog::new("lake", config).map_err(unusable)?);
    let own = std::process::id();
    // What a connection and the first answer take is none of the cache's.
    ask(&catalog, "nobody", 0).await?;
    let before = bytes_of(own, "VmRSS");
    let started = Instant::now();
    for principal in 0..PRINCIPALS {
        let tasks = (0..AT_ONCE).map(|first| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move {
                for table in (first..TABLES).step_by(AT_ONCE) {
                    ask(&catalog, &format!("user{principal}"), table).await?;
                }
                Ok::<(), crate::fault::Fault>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.map_err(|error| unusable(error.to_string()))??;
        }
    }
    let took = started.elapsed().as_secs_f64();
    let grown = bytes_of(own, "VmRSS").saturating_sub(before);
    #[allow(clippy::cast_precision_loss)] // megabytes
    let megabytes = grown as f64 / 1e6;
    let note = format!(
        "{TABLES} tables for {PRINCIPALS} principals, asked for in {took:.0} s, server in this process"
    );
    Ok(Figure::alone("catalog_cache_rss", megabytes, "MB", "<= 256").note(note))
}

async fn ask(catalog: &RestCatalog, user: &str, table: usize) -> Result<()> {
    let principal = Principal::new(user, Method::Password);
    let token = Secret::new(format!("token-of-{user}"));
    let subject = Subject { principal: &principal, token: Some(&token), is_run_as: false };
    let described = described("crm", &format!("t{table}"))?;
    let ruling = catalog.ruling(&subject, &described).await.map_err(|error| unusable(error.to_string()))?;
    if !ruling.read || ruling.restrictions.is_none() {
        return Err(unusable("the stub's answer was not understood"));
    }
    Ok(())
}

/// A table as a catalog tells it, with snapshots and restrictions.
fn answer(path: &str) -> http::Response<Full<Bytes>> {
    let body = if path.ends_with("/config") {
        "{}".to_owned()
    } else {
        let table = path.rsplit('/').next().unwrap_or_default();
        let fields: Vec<String> = ["long", "string", "string", "string", "string"]
            .iter()
            .zip(["id", "name", "email", "ssn", "region"])
            .enumerate()
            .map(|(number, (ty, name))| {
                format!(r#"{{"id": {}, "name": "{name}", "required": false, "type": "{ty}"}}"#, number + 1)
            })
            .collect();
        format!(
            r#"{{"metadata": {{"table-uuid": "{table}", "location": "s3://lake/crm/{table}", "current-schema-id": 0,
            "schemas": [{{"type": "struct", "schema-id": 0, "fields": [{}]}}],
            "properties": {{"classification.4": "pii.ssn"}}, "snapshots": [{}]}},
            "read-restrictions": {{"required-row-filter": {{"type": "eq", "term": "region", "value": "EU"}},
            "required-column-projections": [{{"field-id": 4, "action": "show-last-4"}}]}}}}"#,
            fields.join(", "),
            [r#"{"snapshot-id": 1, "timestamp-ms": 1, "summary": {"operation": "append"}}"#; 20].join(", ")
        )
    };
    let etag = format!("W/\"{path}\"");
    let response = http::Response::builder().header("etag", etag).body(Full::new(Bytes::from(body)));
    response.unwrap_or_default()
}
