//! Rulings: what is made of answers, for how long they are believed, and of servers that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::catalog::{Column, Described, RelationKind, TableName, Type};
use crate::identity::{Method, Principal};
use crate::units::{ByteSize, Span};

type Answers = dyn Fn(&str) -> String + Send + Sync;

/// A server that says what it is told to say to a request, byte for byte, and closes the connection.
pub(super) struct Stub {
    pub(super) uri: String,
    answers: Arc<Mutex<Arc<Answers>>>,
    asked: Arc<AtomicUsize>,
}

impl Stub {
    pub(super) async fn start(answers: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("http://{}", listener.local_addr().expect("an address"));
        let answers: Arc<Mutex<Arc<Answers>>> = Arc::new(Mutex::new(Arc::new(answers)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (shared, counted) = (Arc::clone(&shared), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !is_whole(&head) {
                        let mut piece = [0; 4096];
                        match stream.read(&mut piece).await {
                            Ok(0) | Err(_) => return,
                            Ok(length) => head.extend_from_slice(&piece[..length]),
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    if !head.contains("/v1/config") {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    let answers = Arc::clone(&*shared.lock().expect("not poisoned"));
                    let _ = stream.write_all(answers(&head).as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { uri, answers, asked }
    }

    fn say(&self, answers: impl Fn(&str) -> String + Send + Sync + 'static) {
        *self.answers.lock().expect("not poisoned") = Arc::new(answers);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

/// Whether a request is there to the end of its body.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().expect("a length"));
    request.len() >= end + 4 + length
}

pub(super) fn page(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n{body}")
}

/// An answer to a load; to all else as a catalog without a prefix.
fn load(head: &str, answer: String) -> String {
    if head.contains("/v1/config") { page("200 OK", "", "{}") } else { answer }
}

fn table(properties: &str) -> String {
    let body = format!(
        r#"{{"metadata": {{"table-uuid": "u", "current-schema-id": 0, "schemas": [{{"type": "struct", "schema-id": 0,
        "fields": [{{"id": 1, "name": "id", "required": true, "type": "long"}}]}}], "properties": {{{properties}}}}}}}"#
    );
    page("200 OK", "ETag: \"1\"\r\n", &body)
}

fn catalog(stub: &Stub, change: impl FnOnce(&mut Config)) -> RestCatalog {
    let mut config = Config {
        access: Access::Delegated,
        inherited_tags: false,
        timeout: Span(Duration::from_secs(2)),
        max_answer: ByteSize(400_000),
        ..Config::plain(&stub.uri)
    };
    change(&mut config);
    RestCatalog::new("lake", config).expect("a catalog")
}

fn described() -> Described {
    let name = TableName::new("lake", "crm", "customers").expect("a name");
    let columns = vec![Column { name: "id".to_owned(), ty: Type::Bigint }];
    Described { name, kind: RelationKind::Table, columns }
}

async fn ruling(catalog: &RestCatalog, token: &str) -> Result<Ruling, RestError> {
    let ann = Principal::new("ann", Method::Password);
    let token = Secret::new(token.to_owned());
    let subject = Subject { principal: &ann, token: Some(&token), is_run_as: false };
    catalog.ruling(&subject, &described()).await
}

#[tokio::test]
async fn what_a_catalog_answers_and_what_becomes_of_it() {
    async fn check(answer: impl Fn() -> String + Send + Sync + 'static, expect: &str, asked: usize) {
        let stub = Stub::start(move |head| load(head, answer())).await;
        let result = ruling(&catalog(&stub, |_| {}), "t").await;
        let got = match &result {
            Ok(ruling) if ruling.read => "read",
            Ok(_) => "closed",
            Err(_) => kind(&result),
        };
        assert_eq!(got, expect, "{result:?}");
        assert_eq!(stub.asked(), asked, "{result:?}");
    }
    check(|| table(""), "read", 1).await;
    check(|| page("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", ""), "unauthorized", 1).await;
    check(|| page("403 Forbidden", "", "{}"), "closed", 1).await;
    check(|| page("404 Not Found", "", "{}"), "closed", 1).await;
    check(|| page("419 Authentication Timeout", "", "{}"), "unauthorized", 1).await;
    check(|| page("429 Too Many Requests", "Retry-After: 0\r\n", "{}"), "unavailable", 3).await;
    check(|| page("500 Internal Server Error", "", "{}"), "unavailable", 3).await;
    check(|| page("503 Service Unavailable", "Retry-After: 0\r\n", "{}"), "unavailable", 3).await;
    check(|| page("301 Moved", "Location: /v1/elsewhere\r\n", ""), "garbage", 1).await;
    // To itself, for ever: it is not followed once.
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let itself = "Location: /v1/namespaces/crm/tables/customers\r\n";
        check(move || page(status, itself, ""), "garbage", 1).await;
    }
    check(|| page("204 No Content", "", ""), "garbage", 1).await;
    check(|| page("304 Not Modified", "", ""), "garbage", 1).await;
    check(|| page("200 OK", "", "<html>"), "garbage", 1).await;
    check(|| page("200 OK", "", "{\"metadata\": {"), "garbage", 1).await;
    // Cut off: the server promises more than it sends.
    check(|| table("").replace("Content-Length: 2", "Content-Length: 92"), "unavailable", 3).await;
    // Longer than what is read, whether the server says so or not.
    check(|| page("200 OK", "", &"x".repeat(500_000)), "garbage", 1).await;
    check(|| format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(1 << 20)), "garbage", 1).await;
    let long =
        |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(500_000));
    check(move || long(1 << 30), "garbage", 1).await;
    check(|| table("\"classification.x\": \"pii\""), "garbage", 1).await;
    check(|| table("\"classification\": \"p*\""), "garbage", 1).await;
    // Another table's metadata: that it has other columns is found when it is held against Trino's word.
    let restricted = |more: &str| {
        table("")
            .replace("{\"metadata\":", &format!("{{\"read-restrictions\": {more}, \"metadata\":"))
            .replace("Content-Length: ", "X-Length: ")
    };
    check(move || restricted("{}"), "read", 1).await;
    check(move || restricted(r#"{"required-row-filter": {"type": "guess"}}"#), "garbage", 1).await;
    for nested in [
        format!("{}true{}", r#"{"type":"not","child":"#.repeat(10_000), "}".repeat(10_000)),
        format!("{}true{}", r#"{"type":"or","left":true,"right":"#.repeat(10_000), "}".repeat(10_000)),
    ] {
        check(move || restricted(&format!(r#"{{"required-row-filter": {nested}}}"#)), "garbage", 1).await;
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!("{{\"metadata\": {{\"properties\": {deep}}}}}");
    check(move || page("200 OK", "", &nested), "garbage", 1).await;
}

#[tokio::test]
async fn an_answer_is_for_one_token_only() {
    let stub = Stub::start(|head| {
        let open = head.contains("Bearer ann");
        load(head, if open { table("") } else { page("403 Forbidden", "", "{}") })
    })
    .await;
    let catalog = catalog(&stub, |_| {});
    for (token, read) in [("ann", true), ("bob", false), ("ann", true), ("bob", false)] {
        assert_eq!(ruling(&catalog, token).await.map(|ruling| ruling.read), Ok(read), "{token}");
    }
    assert_eq!(stub.asked(), 2);
    let ann = Principal::new("ann", Method::Password);
    let subject = Subject { principal: &ann, token: None, is_run_as: false };
    let nobody = catalog.ruling(&subject, &described()).await;
    assert!(matches!(nobody, Err(RestError::NoUserToken(_))), "{nobody:?}");
}

/// The life of an answer, a revoke, an outage, and the grace.
#[tokio::test]
async fn answers_are_believed_for_their_life() {
    let life = Duration::from_millis(200);
    let tagged = |head: &str| {
        let known = head.to_lowercase().contains("if-none-match: \"1\"");
        load(
            head,
            if known { page("304 Not Modified", "", "") } else { table("\"classification\": \"pii\"") },
        )
    };
    let stub = Stub::start(tagged).await;
    let catalog = catalog(&stub, |config| {
        config.life = Span(life);
        config.grace = Span(Duration::from_secs(2));
        config.retries = 0;
    });
    let tags = async || ruling(&catalog, "t").await.map(|ruling| (ruling.read, ruling.tags().whole));
    let read = || Ok((true, vec!["pii".to_owned()]));
    assert_eq!(tags().await, read());
    assert_eq!(tags().await, read());
    assert_eq!(stub.asked(), 1);
    tokio::time::sleep(life).await;
    // Unchanged, by its tag.
    assert_eq!(tags().await, read());
    assert_eq!(stub.asked(), 1);
    // In an outage what was said holds for the grace, since nothing was restricted.
    stub.say(|head| load(head, page("503 Service Unavailable", "", "")));
    tokio::time::sleep(life).await;
    assert_eq!(tags().await, read());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(kind(&tags().await), "unavailable");
    // A revoke is seen.
    stub.say(|head| load(head, page("403 Forbidden", "", "{}")));
    assert_eq!(tags().await.map(|(read, _)| read), Ok(false));
    stub.say(tagged);
    tokio::time::sleep(life).await;
    assert_eq!(tags().await, read());
}

#[tokio::test]
async fn a_catalog_that_does_not_answer_is_left_alone_for_a_while() {
    let stub = Stub::start(|head| load(head, page("503 Service Unavailable", "", ""))).await;
    let catalog = catalog(&stub, |config| config.retries = 0);
    for number in 0..8 {
        let expect = if number < 5 { "unavailable" } else { "resting" };
        assert_eq!(kind(&ruling(&catalog, "t").await), expect, "{number}");
    }
    assert_eq!(stub.asked(), 5);
}

#[test]
fn configurations_that_are_not_in_order() {
    let check = |change: &dyn Fn(&mut Config), expect: &str| {
        let mut config = Config {
            token_file: Some(std::path::PathBuf::from("t").into()),
            ..Config::plain("https://c.example")
        };
        change(&mut config);
        let got = config.check().err().unwrap_or_default();
        assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{expect}: {got}");
    };
    check(&|_| {}, "");
    check(&|config| config.uri = "http://c.example".to_owned(), "uri: must be https");
    check(&|config| config.uri = "https://c.example?x".to_owned(), "uri: must have no query");
    check(&|config| config.token_file = None, "access: for all but");
    check(&|config| config.client_id = Some("x".to_owned()), "client_id: goes with");
    check(&|config| config.access = Access::Grants, "management_uri: access = \"grants\"");
    check(&|config| config.user_token = UserToken::Exchanged, "user_token: is for");
    check(&|config| config.principal_roles = PrincipalRoles::Groups, "principal_roles: is for");
    check(&|config| config.retries = 11, "retries: at most 10");
    check(
        &|config| {
            config.access = Access::Delegated;
            config.token_file = None;
        },
        "inherited_tags: to read namespaces",
    );
}

/// A gateway's own token is renewed when the catalog does not take it; lists have pages; a user's token is exchanged.
#[tokio::test]
async fn tokens_are_renewed_and_exchanged() {
    let issued = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&issued);
    let stub = Stub::start(move |head| {
        if head.contains("/v1/oauth/tokens") {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"{{"access_token": "own{number}", "expires_in": 3600}}"#);
            return page("200 OK", "", &body);
        }
        let first = head.contains("Bearer own0");
        match head.split_whitespace().nth(1).unwrap_or_default() {
            _ if first => page("419 Authentication Timeout", "", "{}"),
            path if path.starts_with("/v1/config") => page("200 OK", "", "{}"),
            "/v1/namespaces" => page("200 OK", "", r#"{"namespaces": [["a"]], "next-page-token": "x y"}"#),
            "/v1/namespaces?pageToken=x%20y" => {
                page("200 OK", "", r#"{"namespaces": [["b"]], "next-page-token": null}"#)
            }
            _ => table(""),
        }
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), "s").expect("written");
    let config = |user_token| Config {
        client_id: Some("gateway".to_owned()),
        client_secret_file: Some(folder.path().join("secret").into()),
        access: Access::Delegated,
        user_token,
        inherited_tags: false,
        ..Config::plain(&stub.uri)
    };
    let client = Client::new(&config(UserToken::Passed)).expect("a client");
    assert_eq!(
        client.namespaces(&Caller::Gateway, &[]).await,
        Ok(vec![vec!["a".to_owned()], vec!["b".to_owned()]])
    );
    assert_eq!(issued.swap(0, Ordering::SeqCst), 2);
    // The same for what a user's token is exchanged for, which is kept.
    let catalog = RestCatalog::new("lake", config(UserToken::Exchanged)).expect("a catalog");
    for _ in 0..3 {
        assert_eq!(ruling(&catalog, "ann").await.map(|ruling| ruling.read), Ok(true));
    }
    assert_eq!(issued.load(Ordering::SeqCst), 2);
}

/// Another table's metadata, or a schema that Trino does not know yet.
#[tokio::test]
async fn what_trino_and_the_catalog_say_must_agree() {
    struct Told;
    impl crate::catalog::Engine for Told {
        fn metadata<'a>(&'a self, _: &'a crate::catalog::MetadataQuery) -> crate::catalog::Metadata<'a> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }
    let stub = Stub::start(|head| load(head, table(""))).await;
    let rest = Config { access: Access::Delegated, inherited_tags: false, ..Config::plain(&stub.uri) };
    let config = crate::catalog::Config {
        rest: [("lake".to_owned(), rest)].into(),
        ..crate::catalog::Config::default()
    };
    let catalog = crate::catalog::Catalog::new(Arc::new(Told), config).expect("a catalog");
    let ann = Principal::new("ann", Method::Password);
    let token = Secret::new("t".to_owned());
    let subject = Subject { principal: &ann, token: Some(&token), is_run_as: false };
    let same = Arc::new(described());
    assert_eq!(catalog.rulings(&subject, &[same]).await.map(|rulings| rulings.len()), Ok(1));
    assert_eq!(stub.asked(), 1);
    let mut other = described();
    other.columns[0].name = "ssn".to_owned();
    let error = catalog.rulings(&subject, &[Arc::new(other)]).await.expect_err("they differ");
    assert!(matches!(error, crate::catalog::CatalogError::Differs { .. }), "{error:?}");
    // It was asked once more, in case that it was what is remembered that is old.
    assert_eq!(stub.asked(), 1);
}

#[tokio::test]
async fn the_state_of_a_table_is_asked_for_each_time() {
    /// A table at a state, which says that it has not changed to whoever knows its tag.
    fn at(number: u32, updated: u32, tag: &str) -> impl Fn(&str) -> String + Send + Sync + 'static {
        let tag = format!("\"{tag}\"");
        let body = format!(
            r#"{{"metadata-location": "s3://m/{number}", "metadata": {{"table-uuid": "u", "last-updated-ms": {updated},
            "current-snapshot-id": {number}, "current-schema-id": 0, "schemas": [{{"type": "struct", "schema-id": 0,
            "fields": [{{"id": 1, "name": "id", "required": true, "type": "long"}}]}}]}}}}"#
        );
        move |head| {
            let known = head.to_lowercase().contains(&format!("if-none-match: {tag}"));
            load(
                head,
                if known {
                    page("304 Not Modified", "", "")
                } else {
                    page("200 OK", &format!("ETag: {tag}\r\n"), &body)
                },
            )
        }
    }
    let stub = Stub::start(at(1, 1, "a")).await;
    let catalog = catalog(&stub, |config| config.retries = 0);
    let state = async |freshness: Duration| {
        let ann = Principal::new("ann", Method::Password);
        let token = Secret::new("t".to_owned());
        let subject = Subject { principal: &ann, token: Some(&token), is_run_as: false };
        let version = catalog.version(&subject, &described().name, freshness).await;
        version.map(|version| version.and_then(|version| version.snapshot))
    };
    let now = Duration::ZERO;
    assert_eq!((state(now).await.expect("an answer"), stub.asked()), (Some(1), 1));
    assert_eq!((state(now).await.expect("an answer"), stub.asked()), (Some(1), 1), "asked, and unchanged");
    assert_eq!((state(Duration::from_mins(1)).await.expect("an answer"), stub.asked()), (Some(1), 0));
    stub.say(at(2, 2, "b"));
    assert_eq!((state(now).await.expect("an answer"), stub.asked()), (Some(2), 1));
    // A copy that lags behind is no answer; nor is one that answers nothing, or does not say where its metadata are.
    stub.say(at(1, 1, "a"));
    assert_eq!(kind(&state(now).await), "garbage");
    stub.say(|head| load(head, page("500 Internal Server Error", "", "{}")));
    assert_eq!(kind(&state(now).await), "unavailable");
    stub.say(|head| load(head, table("")));
    assert_eq!(state(now).await.expect("an answer"), None);
    stub.say(|head| load(head, page("403 Forbidden", "", "{}")));
    assert_eq!(state(now).await.expect("an answer"), None);
    // One whose tags are not of one state each is found out as soon as it gives two for one, and believed no more.
    stub.say(at(3, 3, "c"));
    assert_eq!(state(now).await.expect("an answer"), Some(3));
    stub.say(at(4, 4, "d"));
    assert_eq!(state(now).await.expect("an answer"), Some(4));
    stub.say(at(5, 5, "c"));
    assert_eq!(state(now).await.expect("an answer"), Some(5));
    stub.say(at(6, 6, "c"));
    assert_eq!(state(now).await.expect("an answer"), Some(6));
}
