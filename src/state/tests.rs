//! The stores that gateways share. The tests that start the real servers are not run without being asked for: `cargo test --lib -- --ignored`.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::secret;
use crate::units::Span;

const LIFE: Duration = Duration::from_mins(1);

/// A server, which ends with this.
pub(crate) struct Server {
    guard: Child,
    what: String,
    port: u16,
    tls: bool,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(what: &str, tls: bool) -> Self {
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack");
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        if tls {
            let certificates = folder.path().join("certs");
            let made =
                Command::new(stack.join("stack")).arg("certs").arg(&certificates).status().expect("bash");
            assert!(made.success());
        }
        let guard = Self::run(what, port, tls, folder.path());
        Self { guard, what: what.to_owned(), port, tls, folder }
    }

    fn run(what: &str, port: u16, tls: bool, folder: &Path) -> Child {
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack");
        let mut command = Command::new(stack.join("guard"));
        command.args(["--pid".as_ref(), folder.join("pid").as_os_str()]).arg(stack.join("stack")).args([
            what.as_ref(),
            folder.join("server").as_os_str(),
            port.to_string().as_ref(),
        ]);
        if tls {
            command.arg(folder.join("certs"));
        }
        let output = std::fs::File::create(folder.join("log")).expect("a file");
        command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn().expect("bash")
    }

    /// Starts it again where it was, after it was stopped.
    pub(crate) fn again(&mut self) {
        let _ = self.guard.wait();
        self.guard = Self::run(&self.what, self.port, self.tls, self.folder.path());
    }

    fn file(&self, name: &str, text: &str) -> secret::Source {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.into()
    }

    pub(crate) fn config(&self, backend: Backend, key: &str) -> Config {
        let port = self.port;
        let url = match (backend, self.tls) {
            (Backend::Postgres, false) => format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
            (Backend::Postgres, true) => {
                format!("postgresql://postgres@localhost:{port}/postgres?hostaddr=127.0.0.1&sslmode=require")
            }
            (_, false) => format!("redis://127.0.0.1:{port}/0"),
            (_, true) => format!("rediss://localhost:{port}/0"),
        };
        Config {
            backend,
            url_file: Some(self.file("url", &url)),
            key_file: Some(self.file(&format!("key-{}", &key[..1]), key)),
            timeout: Span(Duration::from_secs(2)),
            ca_file: self.tls.then(|| self.folder.path().join("certs/ca.pem")),
            ..Config::default()
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.guard.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = self.guard.wait();
    }
}

/// Waits until the store answers.
async fn up(store: &Store) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while let Err(error) = store.find::<String>(Key::new(Kind::Session, "nobody")).await {
        assert!(Instant::now() < deadline, "{error}");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn redis() {
    Box::pin(on(Backend::Redis, "redis")).await;
    in_tls(Backend::Redis, "redis").await;
}

#[tokio::test]
#[ignore = "starts a PostgreSQL"]
async fn postgres() {
    Box::pin(on(Backend::Postgres, "postgres")).await;
    in_tls(Backend::Postgres, "postgres").await;
}

pub(crate) const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=";

async fn on(backend: Backend, what: &str) {
    let mut server = Server::start(what, false);
    let open = |key: &str| Store::open(&server.config(backend, key)).expect("opened");
    // Two gateways, that come at the same time.
    let (one, two) = (Arc::new(open(KEY)), Arc::new(open(KEY)));
    tokio::join!(up(&one), up(&two));
    entries(&one, &two).await;
    once(&one, &two).await;
    lists(&one, &two).await;
    assert_eq!(one.scripts().is_some(), backend == Backend::Redis);
    if let (Some(one), Some(two)) = (one.scripts(), two.scripts()) {
        scripts(&one, &two, &open(OTHER_KEY)).await;
    }
    let stranger = open(OTHER_KEY);
    let key = Key::new(Kind::Session, "sealed");
    one.put(key, &"text", LIFE).await.expect("kept");
    assert!(matches!(stranger.find::<String>(key).await, Err(StoreError::Form(_))));
    let listed: Vec<([u8; 32], String)> =
        stranger.shared().expect("shared").list(Kind::Token, None).await.expect("listed");
    assert_eq!(listed, []);
    assert_eq!(
        stranger.add(key, &"mine", LIFE).await,
        Ok(false),
        "what cannot be opened is there all the same"
    );
    server.stop();
    let before = Instant::now();
    for _ in 0..3 {
        let lost = one.find::<String>(key).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
        let lost = one.add(Key::new(Kind::Used, "lost"), &(), LIFE).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    }
    assert!(before.elapsed() < Duration::from_secs(20), "bounded by the timeout of each");
}

/// Over TLS, and only to a server whose certificate is of the authority that is named.
async fn in_tls(backend: Backend, what: &str) {
    let server = Server::start(what, true);
    let config = server.config(backend, KEY);
    let store = Store::open(&config).expect("opened");
    up(&store).await;
    let key = Key::new(Kind::Session, "a");
    store.put(key, &"text", LIFE).await.expect("kept");
    assert_eq!(store.find(key).await, Ok(Some("text".to_owned())));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let ca_file = server.file("other.pem", &other.cert.pem()).file().map(Path::to_owned);
    let stranger = Store::open(&Config { ca_file, ..config }).expect("opened");
    let refused = stranger.find::<String>(key).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up() {
    // It takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = silent.local_addr().expect("bound").port();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        Some(folder.path().join(name).into())
    };
    for (backend, url) in [
        (Backend::Redis, format!("redis://127.0.0.1:{port}")),
        (Backend::Postgres, format!("postgresql://p@127.0.0.1:{port}/p")),
    ] {
        let config = Config {
            backend,
            url_file: file("url", &url),
            key_file: file("key", KEY),
            timeout: Span(Duration::from_millis(50)),
            ..Config::default()
        };
        let store = Store::open(&config).expect("opened");
        let answer =
            tokio::time::timeout(Duration::from_secs(30), store.find::<String>(Key::new(Kind::Session, "a")));
        let answer = answer.await.expect("it is bounded");
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        Some(folder.path().join(name).into())
    };
    let check = |backend: Backend, url: &str, key: &str, expect: &str| {
        let config =
            Config { backend, url_file: file("url", url), key_file: file("key", key), ..Config::default() };
        let error = Store::open(&config).map(drop).expect_err(url).to_string();
        assert!(error.contains(expect) && !error.contains("hunter2"), "{url}: {error}");
    };
    check(Backend::Redis, "redis://u:hunter2@store.example:6379", KEY, "must be rediss:");
    check(Backend::Redis, "rediss://u:hunter2@store.example:6379/#insecure", KEY, "not a URL");
    check(Backend::Redis, "http://u:hunter2@store.example", KEY, "not a URL");
    check(Backend::Redis, "hunter2", KEY, "not a URL");
    check(Backend::Postgres, "hunter2 host", KEY, "not a URL");
    check(Backend::Postgres, "postgresql://u:hunter2@store.example:x/d", KEY, "not a URL");
    check(Backend::Redis, "redis://localhost", "AQEB", "32 bytes in base64");
    check(Backend::Redis, "redis://localhost", "hunter2!", "32 bytes in base64");
    let without = |change: fn(&mut Config)| {
        let mut config = Config {
            backend: Backend::Redis,
            url_file: file("url", "redis://localhost"),
            key_file: file("key", KEY),
            ..Config::default()
        };
        change(&mut config);
        Store::open(&config).map(drop).expect_err("refused").to_string()
    };
    assert!(without(|config| config.key_file = None).contains("key_file"));
    assert!(without(|config| config.url_file = None).contains("url_file"));
    assert!(without(|config| config.timeout = Span(Duration::ZERO)).contains("timeout"));
    Store::open(&Config::default()).expect("memory needs nothing");
}

async fn entries(one: &Store, two: &Store) {
    let key = Key::new(Kind::Session, "a");
    one.put(key, &"first", LIFE).await.expect("kept");
    assert_eq!(two.find(key).await, Ok(Some("first".to_owned())));
    assert_eq!(two.find::<String>(Key::new(Kind::Attempt, "a")).await, Ok(None), "another kind");
    two.put(key, &"second", LIFE).await.expect("kept");
    assert_eq!(one.find(key).await, Ok(Some("second".to_owned())));
    assert_eq!(two.take(key).await, Ok(Some("second".to_owned())));
    assert_eq!(one.take::<String>(key).await, Ok(None));
    one.put(key, &"third", LIFE).await.expect("kept");
    two.remove(key).await.expect("removed");
    assert_eq!(one.find::<String>(key).await, Ok(None));
    // What has ended is not there, and its place is free.
    one.put(key, &"short", Duration::from_millis(100)).await.expect("kept");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(one.find::<String>(key).await, Ok(None));
    assert_eq!(one.add(key, &"new", Duration::from_millis(100)).await, Ok(true));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(two.take::<String>(key).await, Ok(None));
    assert_eq!(two.add(key, &"newer", LIFE).await, Ok(true));
    assert_eq!(one.find(key).await, Ok(Some("newer".to_owned())));
}

async fn scripts(one: &Scripts, two: &Scripts, stranger: &Store) {
    let count = Script::new("return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1], ARGV[1]}");
    let key = "northgate:{test}:count";
    let answer: (u64, String, String) = one.run(&count, &[key], &[b"2"]).await.expect("run");
    assert_eq!(answer, (2, key.to_owned(), "2".to_owned()));
    let (sum, ..): (u64, String, String) = two.run(&count, &[key], &[b"3"]).await.expect("run");
    assert_eq!(sum, 5);
    // What is wrong with a script says so, and the connection is good.
    let wrong = Script::new("return redis.error_reply('ERR no such thing')");
    let failed = one.run::<()>(&wrong, &[], &[]).await;
    assert!(matches!(&failed, Err(StoreError::Form(why)) if why.contains("no such thing")), "{failed:?}");
    let other: Result<u64, _> = one.run(&count, &[key], &[b"1"]).await;
    assert!(matches!(other, Err(StoreError::Form(_))), "another type: {other:?}");
    assert!(one.run::<(u64, String, String)>(&count, &[key], &[b"1"]).await.is_ok());
    assert_eq!(one.name("ann"), two.name("ann"));
    assert!(one.name("ann") != one.name("bob") && one.name("ann").len() == 32);
    assert_ne!(stranger.scripts().expect("Redis").name("ann"), one.name("ann"));
}

/// Of many who add, and of many who take, one succeeds.
async fn once(one: &Arc<Store>, two: &Arc<Store>) {
    for round in 0..20 {
        let key = Key::new(Kind::Used, &format!("round {round}"));
        let mut adding = tokio::task::JoinSet::new();
        for n in 0..16 {
            let store = Arc::clone(if n % 2 == 0 { one } else { two });
            adding.spawn(async move { store.add(key, &n, LIFE).await.expect("asked") });
        }
        assert_eq!(adding.join_all().await.iter().filter(|added| **added).count(), 1);
        let mut taking = tokio::task::JoinSet::new();
        for n in 0..16 {
            let store = Arc::clone(if n % 2 == 0 { one } else { two });
            taking.spawn(async move { store.take::<u32>(key).await.expect("asked") });
        }
        assert_eq!(taking.join_all().await.iter().flatten().count(), 1);
    }
}

async fn lists(one: &Store, two: &Store) {
    let (first, second) = (one.shared().expect("shared"), two.shared().expect("shared"));
    let list = async |owner| {
        let listed: Vec<([u8; 32], String)> = second.list(Kind::Token, owner).await.expect("listed");
        let mut names: Vec<String> = listed.into_iter().map(|(_, name)| name).collect();
        names.sort();
        names.join(" ")
    };
    let place = |name: &str| Key::new(Kind::Token, name);
    for (name, owner) in [("a", "ann"), ("b", "ann"), ("c", "carl")] {
        first.put_of(place(name), owner, &name, LIFE).await.expect("kept");
    }
    first.put_of(place("short"), "ann", &"short", Duration::from_millis(100)).await.expect("kept");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(list(Some("ann")).await, "a b");
    assert_eq!(list(Some("carl")).await, "c");
    assert_eq!(list(Some("nobody")).await, "");
    assert_eq!(list(None).await, "a b c");
    assert_eq!(second.remove_of(place("a"), "ann").await, Ok(true));
    assert_eq!(second.remove_of(place("a"), "ann").await, Ok(false));
    assert_eq!((list(Some("ann")).await, list(None).await), ("b".to_owned(), "b c".to_owned()));
    for n in 0..1200 {
        let name = format!("{n}");
        first.put_of(place(&name), "many", &name, LIFE).await.expect("kept");
    }
    assert_eq!(list(Some("many")).await.split(' ').count(), 1200);
}
