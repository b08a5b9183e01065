//! Which answers may be given again, and what becomes of those that are kept.

use std::sync::Arc;
use std::time::Duration;

use super::entry::tests::about;
use super::key::tests::any_key;
use super::*;
use crate::catalog::{Column, Described, RelationKind, TableName, Type};
use crate::identity::{Method, Principal};
use crate::policy::{Behind, Salt, Set};
use crate::rewrite::{self, Names};
use crate::sql::{Limits, Statement};
use crate::state::tests::{KEY, Server};
use crate::state::{Backend, Store};
use crate::units::{ByteSize, Span};

const POLICIES: &str = "
version: 1
defaults: {tpch: allow}
policies:
  - {name: all, who: {users: ['*']}, tables: [lake.gold.*], allow: true}
  - {name: trusted, who: {users: ['*']}, tables: [lake.gold.trusted], allow: true, trusted_view: true}
  - {name: rows, who: {users: ['*']}, tables: [lake.gold.filtered], row_filter: region = current_user}
  - name: masked
    who: {users: ['*']}
    tables: [lake.gold.masked]
    column_masks: [{columns: [name], action: show-last-4}, {columns: [region], sql: lower(region)}]
  - {name: salted, who: {users: ['*']}, tables: [lake.gold.salted], column_masks: [{columns: [name], action: sha-256-query-local}]}
  - {name: chance, who: {users: ['*']}, tables: [lake.gold.chance], column_masks: [{columns: [name], sql: 'cast(random() as varchar)'}]}
  - {name: clock, who: {users: ['*']}, tables: [lake.gold.clock], row_filter: \"now() > timestamp '2020-01-01 00:00:00 UTC'\"}
  - {name: today, who: {users: ['*']}, tables: [lake.gold.today], row_filter: day < current_date}
  - {name: groups, who: {users: ['*']}, tables: [lake.gold.groups], row_filter: \"contains(current_groups(), region) or region = attribute('x')\"}
  - {name: mapped, who: {users: ['*']}, tables: [lake.gold.mapped], row_filter: region IN (SELECT m.region FROM lake.gold.map m), run_as: {user: keeper}}
  - {name: of-map, who: {users: [keeper]}, tables: [lake.gold.map], row_filter: 'id > 0'}
  - {name: mapped-badly, who: {users: ['*']}, tables: [lake.gold.badly], row_filter: region IN (SELECT m.region FROM lake.gold.badmap m), run_as: {user: keeper}}
  - {name: of-badmap, who: {users: [keeper]}, tables: [lake.gold.badmap], row_filter: random() > 0.5}
  - {name: mapped-to-view, who: {users: ['*']}, tables: [lake.gold.viewed], row_filter: region IN (SELECT m.region FROM lake.gold.trusted m)}
  - {name: minutes, who: {users: ['*']}, tables: [tpch.sf1.*], cache: {time_to_live: 5m}}
  - {name: seconds, who: {users: ['*']}, tables: [tpch.sf1.orders], cache: {time_to_live: 30s}}
";

fn described(name: &TableName) -> Arc<Described> {
    let columns = [
        ("id", "bigint"),
        ("name", "varchar"),
        ("region", "varchar"),
        ("day", "date"),
        ("at", "timestamp(6)"),
    ];
    let more = (name.table == "clocked").then_some(("t", "array(time(3))"));
    let column = |(name, ty): (&str, &str)| Column { name: name.to_owned(), ty: Type::parse(ty) };
    let kind =
        if matches!(name.table.as_str(), "trusted") { RelationKind::View } else { RelationKind::Table };
    let columns = columns.into_iter().chain(more).map(column).collect();
    Arc::new(Described { name: name.clone(), kind, columns })
}

fn judged(sql: &str) -> Result<Nature, Reason> {
    let set = Set::parse(&[("a.yaml", POLICIES)]).expect("policies");
    let principal = Principal::new("ann", Method::Password);
    let names = Names { catalog: Some("lake"), schema: Some("gold") };
    let mut statements = vec![Statement::parse(sql, &Limits::default()).expect("a statement")];
    if let crate::sql::Kind::ExecuteImmediate { text, .. } = statements[0].kind() {
        let inner = Statement::parse(text, &Limits::default()).expect("a statement");
        statements.push(inner);
    }
    let last = statements.last().expect("one");
    let relations = rewrite::resolve(last, &names).expect("names");
    let relations: Vec<Arc<Described>> = relations.iter().map(described).collect();
    let read = set.read_by_policies(&principal, relations.iter().map(|one| &one.name));
    let read_by_policies = read.into_iter().map(|(name, _)| (name.clone(), described(name))).collect();
    let behind = Behind { read_by_policies, ..Behind::default() };
    let permit = set.decide_through(&principal, &relations, &behind, &Salt::random()).expect("a permit");
    let statements: Vec<&Statement> = statements.iter().collect();
    judge(&statements, &names, &permit, |catalog| catalog == "lake")
}

#[test]
fn what_may_be_given_again() {
    let check = |sql: &str, expect: &str| {
        let nature = judged(sql).unwrap_or_else(|reason| panic!("{sql}: {reason}"));
        assert_eq!(nature.to_string(), expect, "{sql}");
    };
    let same = "to whoever is sent the same text";
    check("SELECT 1", same);
    check("SELECT sum(id) FROM t WHERE name LIKE 'a%'", &format!("{same}, while lake.gold.t is as it was"));
    check("TABLE t", &format!("{same}, while lake.gold.t is as it was"));
    check(
        "WITH a AS (SELECT * FROM t) SELECT * FROM a JOIN u USING (id) ORDER BY 1 LIMIT 10",
        &format!("{same}, while lake.gold.t is as it was, while lake.gold.u is as it was"),
    );
    check("SELECT current_user FROM t", "to the same user, while lake.gold.t is as it was");
    check(
        "SELECT * FROM t WHERE day = current_date",
        &format!("{same}, on the same day, while lake.gold.t is as it was"),
    );
    // Who asks is in the text.
    check("SELECT * FROM filtered", &format!("{same}, while lake.gold.filtered is as it was"));
    check("SELECT * FROM groups", &format!("{same}, while lake.gold.groups is as it was"));
    check("SELECT * FROM masked", &format!("{same}, while lake.gold.masked is as it was"));
    check("SELECT * FROM today", &format!("{same}, on the same day, while lake.gold.today is as it was"));
    check(
        "SELECT * FROM mapped",
        &format!("{same}, while lake.gold.map is as it was, while lake.gold.mapped is as it was"),
    );
    check("SELECT * FROM t FOR VERSION AS OF 7", &format!("{same}, while lake.gold.t is as it was"));
    check("SELECT * FROM tpch.sf1.lineitem", &format!("{same}, for 5m since tpch.sf1.lineitem was read"));
    check("SELECT * FROM tpch.sf1.orders", &format!("{same}, for 30s since tpch.sf1.orders was read"));
    check(
        "EXECUTE IMMEDIATE 'SELECT * FROM t WHERE id = ?' USING 3",
        &format!("{same}, while lake.gold.t is as it was"),
    );
    let nature = judged("SELECT * FROM mapped").expect("one");
    let by_policy: Vec<bool> = nature.tables.values().map(|table| table.by_policy).collect();
    assert_eq!(by_policy, [true, false]);
}

#[test]
fn what_is_asked_anew() {
    let check = |sql: &str, expect: &str| match judged(sql) {
        Ok(_) => panic!("{sql} may be given again"),
        Err(reason) => assert_eq!(reason.to_string(), expect, "{sql}"),
    };
    let chance = |what: &str| format!("{what} may give another answer next time");
    check("SHOW TABLES", "SHOW TABLES is no query");
    check("EXPLAIN SELECT 1", "EXPLAIN is no query");
    check("EXECUTE IMMEDIATE 'SHOW TABLES'", "SHOW TABLES is no query");
    check("SELECT random() FROM t", &chance("random"));
    check("SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE at > now())", &chance("now"));
    check("SELECT * FROM t TABLESAMPLE BERNOULLI (10)", &chance("TABLESAMPLE"));
    check("SELECT * FROM TABLE(sequence(1, 2))", &chance("sequence"));
    check("SELECT * FROM t FOR TIMESTAMP AS OF current_timestamp", &chance("a computed version"));
    check("SELECT * FROM t FOR VERSION AS OF 1 + 1", &chance("a computed version"));
    check("EXECUTE IMMEDIATE 'SELECT * FROM t WHERE id = ?' USING random(3)", &chance("random"));
    check("SELECT CAST(name AS time) FROM t", &chance("time"));
    check(
        "WITH FUNCTION f() RETURNS bigint RETURN 1 SELECT f()",
        "it has functions or session properties of its own",
    );
    check("SELECT * FROM information_schema.tables", "it lists what there is");
    check("SELECT * FROM t, system.metadata.catalogs", "it lists what there is");
    check("SELECT * FROM trusted", "lake.gold.trusted is no table, or a view that is read as it is");
    check("SELECT * FROM viewed", "lake.gold.trusted is no table, or a view that is read as it is");
    check(
        "SELECT id FROM clocked",
        "lake.gold.clocked has a column of the type time, which may become one of today",
    );
    check("SELECT name FROM salted", "a mask hashes with a salt of the query's own");
    check("SELECT * FROM chance", "a policy uses random, which may give another answer next time");
    check("SELECT * FROM clock", "a policy uses now, which may give another answer next time");
    check("SELECT * FROM badly", "a policy uses random, which may give another answer next time");
    check(
        "SELECT * FROM tpch.tiny.orders",
        "no Iceberg REST catalog tells the state of tpch.tiny.orders, and no policy says for how long answers about it hold \
         (cache: {time_to_live})",
    );
}

fn config() -> Config {
    Config {
        memory: ByteSize(8 << 20),
        min_time: Span(Duration::from_millis(500)),
        redis: Some(ByteSize(1 << 20)),
        ..Config::default()
    }
}

fn entry(number: u64, took: Duration) -> Arc<Entry> {
    let about = About { key: any_key(number), took, ..about("ann", "t") };
    Arc::new(Entry::pack(about, "[]".into(), vec![(1, "[[1]]".into())]))
}

#[tokio::test]
async fn what_is_kept() {
    const SLOW: Duration = Duration::from_secs(1);
    let cache = Cache::new(config(), None);
    let found = async |number| cache.look(&any_key(number)).await.expect("here").entry.is_some();
    let epoch = cache.look(&any_key(1)).await.expect("here").epoch;
    assert_eq!(cache.keep(&entry(1, SLOW), epoch).await, Kept::Yes);
    assert!(found(1).await && !found(2).await);
    assert_eq!(cache.keep(&entry(2, Duration::from_millis(499)), epoch).await, Kept::Cheap);
    // One that was begun before a purge is not there after it.
    assert_eq!(cache.purge(&Purge::All).await, Ok(1));
    assert_eq!(cache.keep(&entry(3, SLOW), epoch).await, Kept::Purged);
    assert!(!found(1).await && !found(3).await);
    cache.give_up(any_key(4));
    assert!(cache.is_hopeless(&any_key(4)) && !cache.is_hopeless(&any_key(1)));
}

/// An answer that takes about so many bytes, of each another.
fn large(number: u64, bytes: usize) -> Arc<Entry> {
    let mut rows = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut rows).expect("random");
    let principal = if number.is_multiple_of(2) { "ann" } else { "bob" };
    let about = About { key: any_key(number), origin: format!("q{number}"), ..about(principal, "t") };
    Arc::new(Entry::pack(about, "[]".into(), vec![(1, rows.into())]))
}

/// The files of answers in a folder, in order, and their bytes in blocks.
fn files(folder: &std::path::Path) -> (Vec<std::path::PathBuf>, u64) {
    let listed = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        listed.filter(|path| path.extension().is_some_and(|ending| ending == "answer")).collect();
    let number = |path: &std::path::PathBuf| {
        path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok())
    };
    files.sort_by_key(number);
    let size = files.iter().map(|path| path.metadata().expect("there").len().next_multiple_of(4096)).sum();
    (files, size)
}

/// A cache with little memory and a disk, and the folder.
fn on_disk(folder: &std::path::Path) -> Cache {
    let disk = DiskConfig { folder: folder.to_owned(), size: ByteSize(1 << 20) };
    Cache::new(Config { memory: ByteSize(1 << 20), redis: None, disk: Some(disk), ..config() }, None)
}

/// Until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it does not come to be so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Until an answer has been written.
async fn written(cache: &Cache, number: u64) {
    until(|| cache.disk().expect("a disk").has(&any_key(number))).await;
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_on_disk() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("answers");
    let cache = on_disk(&folder);
    let there = async |number| cache.look(&any_key(number)).await.expect("here").entry;
    let epoch = cache.look(&any_key(1)).await.expect("here").epoch;
    // Each takes 10 blocks of the disk, and two users share the memory.
    for number in 0..40 {
        assert_eq!(cache.keep(&large(number, 40_000), epoch).await, Kept::Yes, "{number}");
        written(&cache, number).await;
        assert!(files(&folder).1 <= 1 << 20, "{number}: {} bytes", files(&folder).1);
    }
    assert_eq!((files(&folder).0.len(), cache.load().disk.entries), (25, 25));
    assert!(cache.load().entries < 15, "{:?}", cache.load());
    // The oldest have gone; those that are there are whole, wherever they are.
    for number in 0..40 {
        let found = there(number).await;
        assert_eq!(found.is_some(), number >= 15, "{number}");
        let origin =
            found.map(|entry| (entry.about().origin.clone(), entry.page(0).expect("a page").0.len()));
        assert!(origin.is_none_or(|found| found == (format!("q{number}"), 40_000)));
    }
    // Whoever reads the disk learns nothing.
    let sealed = std::fs::read(&files(&folder).0[0]).expect("a file");
    assert!(!sealed.windows(4).any(|part| part == b"gold"));
    // What is purged is gone there, too.
    let principal = Purge::Principal("ann".to_owned());
    assert_eq!(cache.purge(&principal).await, Ok(12));
    assert_eq!(files(&folder).0.len(), 13);
    assert!(there(38).await.is_none() && there(39).await.is_some());
    assert_eq!(cache.keep(&large(50, 10), epoch).await, Kept::Purged);

    // A second gateway does not get the folder. The next one finds nothing of this one's.
    assert_eq!(on_disk(&folder).load().disk, DiskLoad::default());
    assert_eq!(files(&folder).0.len(), 13);
    drop(cache);
    let next = on_disk(&folder);
    assert!(files(&folder).0.is_empty());
    assert!(next.look(&any_key(39)).await.expect("here").entry.is_none());
}

#[tokio::test]
async fn what_is_wrong_on_the_disk_is_dropped() {
    let temp = tempfile::tempdir().expect("a folder");
    let cache = on_disk(temp.path());
    let epoch = cache.look(&any_key(1)).await.expect("here").epoch;
    for number in 0..20 {
        assert_eq!(cache.keep(&large(number, 40_000), epoch).await, Kept::Yes);
        written(&cache, number).await;
    }
    let files = files(temp.path()).0;
    let whole: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let mut changed = whole[0].clone();
    *changed.last_mut().expect("not empty") ^= 1;
    // Changed, cut, empty, another's; and not there, though nobody has removed it.
    for (file, bytes) in files.iter().zip([&changed[..], &whole[1][..20_000], &[], &whole[0]]) {
        std::fs::write(file, bytes).expect("written");
    }
    std::fs::remove_file(&files[4]).expect("removed");
    // What was kept first is not in memory any more.
    for number in 0..5 {
        let looked = cache.look(&any_key(number)).await.expect("here");
        assert!(looked.corrupt && looked.entry.is_none(), "{number}");
        let again = cache.look(&any_key(number)).await.expect("here");
        assert!(!again.corrupt && again.entry.is_none(), "{number}");
    }
    assert_eq!(cache.load().disk.entries, 15);
    assert!(cache.look(&any_key(5)).await.expect("here").entry.is_some());
    // A folder that cannot be written to is counted, and costs nothing else.
    std::fs::remove_dir_all(temp.path()).expect("removed");
    assert_eq!(cache.keep(&large(30, 40_000), epoch).await, Kept::Yes);
    until(|| cache.load().disk.failures == 1).await;
    assert!(cache.look(&any_key(30)).await.expect("here").entry.is_some(), "from memory");
}

/// Not run without being asked for: `cargo test --lib cache:: -- --ignored`.
#[tokio::test]
#[ignore = "starts a Redis"]
async fn gateways_share_a_bounded_tier() {
    let server = Server::start("redis", false);
    let gateway = |key: &str| {
        let store = Store::open(&server.config(Backend::Redis, key)).expect("opened");
        Cache::new(config(), store.scripts())
    };
    let (one, two) = (gateway(KEY), gateway(KEY));
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let epoch = loop {
        match one.look(&any_key(1)).await {
            Ok(looked) => break looked.epoch,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // What one keeps both have, the latest of it; and Redis has no more than it may.
    for number in 0..50 {
        assert_eq!(one.keep(&large(number, 40_000), epoch).await, Kept::Yes, "{number}");
    }
    let there = async |cache: &Cache, number| cache.look(&any_key(number)).await.expect("up").entry.is_some();
    let mut kept = 0;
    for number in 0..50 {
        let found = there(&two, number).await;
        assert_eq!(there(&one, number).await, found, "{number}");
        assert!(found || kept == 0, "the oldest go first");
        kept += usize::from(found);
    }
    assert!((23..=25).contains(&kept), "{kept} of 40 kB in 1 MiB");
    assert_eq!(one.keep(&large(60, 70_000), epoch).await, Kept::TooLarge, "a sixteenth");
    // The same answer by its query; not another's.
    assert!(two.given(&any_key(49), "q49").await.expect("up").entry.is_some());
    assert!(two.given(&any_key(49), "q48").await.expect("up").entry.is_none());
    // One that is asked anew takes the place of the old at both.
    let newer = Entry::pack(
        About { origin: "newer".to_owned(), ..large(49, 0).about().clone() },
        "[]".into(),
        vec![],
    );
    assert_eq!(two.keep(&Arc::new(newer), epoch).await, Kept::Yes);
    let found = one.look(&any_key(49)).await.expect("up").entry.expect("there");
    assert_eq!(found.about().origin, "newer");
    // Pages are taken once, and are no answers.
    one.put_page("q", 7, b"page").await;
    assert_eq!(two.page("q", 7).await, Ok(Some(b"page".to_vec())));
    assert_eq!(two.page("q", 7).await, Ok(None));
    one.put_page("q", 8, b"page").await;
    // Gone at one, gone at both; and what was begun before is not kept by either.
    let of_ann = kept / 2;
    assert_eq!(two.purge(&Purge::Principal("ann".to_owned())).await, Ok(of_ann));
    assert!(!there(&one, 48).await && there(&one, 47).await);
    assert_eq!(one.load().entries, 1, "its memory holds what was found since");
    assert_eq!(one.page("q", 8).await, Ok(None));
    assert_eq!(one.keep(&large(61, 10), epoch).await, Kept::Purged);
    // One gateway asks what all would.
    let minute = Duration::from_mins(1);
    assert_eq!(one.claim(&any_key(70), 1, minute).await, Ok(true));
    assert_eq!(two.claim(&any_key(70), 2, minute).await, Ok(false));
    assert_eq!(one.claim(&any_key(70), 1, Duration::from_millis(1)).await, Ok(true), "it may say so again");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(two.claim(&any_key(70), 2, minute).await, Ok(true));
    // Another key opens nothing, drops what it finds, and goes on.
    let foreign = gateway("BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=");
    let looked = foreign.look(&any_key(47)).await.expect("up");
    assert!(looked.corrupt && looked.entry.is_none());
    assert!(!there(&one, 47).await);
}

#[test]
fn what_is_collected_is_bounded() {
    let cache = Cache::new(config(), None);
    let (mut one, mut other) = (cache.room(), cache.room());
    assert!(one.take(1 << 20) && other.take(1 << 20));
    assert!(!other.take(1), "a quarter of the memory in all");
    drop(other);
    assert!(cache.room().take(1 << 20));
}

#[test]
fn settings_are_checked() {
    let check = |change: fn(&mut Config), expect: &str| {
        let mut config = Config::default();
        change(&mut config);
        assert_eq!(config.check().err().unwrap_or_default(), expect);
    };
    check(|_| {}, "");
    check(|config| config.memory = ByteSize(1 << 19), "cache.memory is below 1MiB");
    check(
        |config| config.max_result = ByteSize(100 << 20),
        "cache.max_result is above a quarter of cache.memory",
    );
    check(
        |config| config.per_principal = Some(ByteSize(1 << 30)),
        "cache.per_principal is above cache.memory",
    );
    check(
        |config| {
            config.redis = Some(ByteSize(1 << 20));
            config.disk = Some(DiskConfig { folder: "answers".into(), size: ByteSize(1 << 30) });
        },
        "cache.disk: not beside cache.redis, where answers are for all gateways",
    );
    check(
        |config| config.disk = Some(DiskConfig { folder: "answers".into(), size: ByteSize(1 << 20) }),
        "cache.disk.size is below 16MiB",
    );
    check(|config| config.warming_every = Span(Duration::ZERO), "cache.warming_every: from 1s to 1h");
    check(
        |config| config.warming = vec![Warming::default()],
        "cache.warming '': name: 1 to 40 small letters, digits and hyphens",
    );
    check(
        |config| {
            let of = |users: usize| Warming {
                name: "sales".to_owned(),
                users: vec!["bi".to_owned(); users],
                sql: "SELECT 1".to_owned(),
                ..Warming::default()
            };
            config.warming = vec![of(1), of(1)];
        },
        "cache.warming 'sales': is there twice",
    );
    check(|config| config.life = Span(Duration::ZERO), "cache.life: at least 1ms and at most 30d");
    check(|config| config.freshness = Span(Duration::from_hours(2)), "cache.freshness is above 1h");
}
