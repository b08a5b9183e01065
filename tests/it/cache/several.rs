//! Two gateways that share answers in Redis: each gives again what any has asked, serves any page of it, and drops what does not
//! open in its place.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::Commands as _;
use serde_json::{Value, json};

use super::{ask_with, direct, table};
use crate::harness::barn::barn;
use crate::harness::http::path_of;
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings};
use crate::several::follow;
use crate::tokens::Store;

const SHARED: &str = "[cache]\nmin_time = \"0s\"\nredis = \"64MiB\"\n";

/// The settings of gateways that share answers in a Redis.
pub(super) fn settings(store: &Store) -> Settings {
    let mut settings = super::settings(SHARED);
    settings.files.push(("links.key", STANDARD.encode([7; 32])));
    settings.more += &format!("{}timeout = \"500ms\"\n[links]\nkey_file = \"links.key\"\n", store.lines);
    settings
}

/// The Redis itself.
fn redis(store: &Store) -> redis::Connection {
    let file = store.lines.split("url_file = \"").nth(1).and_then(|rest| rest.split('"').next());
    let url = std::fs::read_to_string(file.expect("a file")).expect("readable");
    redis::Client::open(url).and_then(|client| client.get_connection()).expect("it answers")
}

/// The answers in it.
fn kept(redis: &mut redis::Connection) -> Vec<Vec<u8>> {
    redis.zrange("northgate:{answers}:order", 0, -1).expect("a list")
}

fn place(name: &[u8]) -> Vec<u8> {
    [b"northgate:{answers}:of:", name].concat()
}

/// Submits at the first, and follows with each request at another gateway: what is said of the cache, the id, the rows.
fn asked(clients: &[Client; 2], sql: &str) -> (String, String, usize) {
    let first = clients[0].submit(sql);
    let said = first.header("x-northgate-cache").unwrap_or("nothing").to_owned();
    let page = first.page();
    let id = page["id"].as_str().expect("an id").to_owned();
    let (rows, last) = follow(clients, 1, page);
    assert_eq!(last["error"], Value::Null, "{last}");
    (said, id, rows)
}

fn hit(clients: &[Client; 2], sql: &str) -> (String, usize) {
    let asked = || Some(asked(clients, sql)).filter(|(said, ..)| said == "hit");
    let (_, id, rows) = within(Duration::from_secs(20), asked).unwrap_or_else(|| panic!("{sql} is not kept"));
    (id, rows)
}

#[test]
fn gateways_share_answers() {
    let store = Store::start("redis");
    let gateways = [(); 2].map(|()| Gateway::start(settings(&store)));
    let [one, two] = &gateways;
    let at = |user: &str| [0, 1].map(|number: usize| gateways[number].signed_in(user));
    let swapped = |[one, two]: [Client; 2]| [two, one];
    let said = |gateway: &Gateway, user: &str, sql: &str| ask_with(gateway, user, sql, &[]).said;

    // Whoever served its pages, an answer is kept; and whoever serves them, it is given again, and counted once.
    assert!(barn().table("together"));
    direct(
        "INSERT INTO barn.crm.together SELECT orderkey, comment, 'EU', orderdate, NULL FROM tpch.tiny.orders",
    );
    let sql = "SELECT * FROM barn.crm.together";
    let (_, first, rows) = asked(&at("otto"), sql);
    assert_eq!(rows, 15_000);
    for (taken, clients) in [(two, swapped(at("otto"))), (one, at("test"))] {
        let (id, rows) = hit(&clients, sql);
        assert_eq!(rows, 15_000);
        let records = taken.audit_of(&id, |records| records.len() == 2);
        assert_eq!((&records[0]["cache"], &records[0]["cache_origin"]), (&json!("hit"), &json!(first)));
        assert_eq!((&records[1]["state"], &records[1]["rows"]), (&json!("finished"), &json!(15_000)));
    }
    let same = |asked: &super::Asked| (asked.columns.clone(), asked.rows.clone());
    let ways = [one, two].map(|gateway| same(&ask_with(gateway, "otto", sql, &[])));
    assert_eq!(ways[0], ways[1]);
    // A link is its owner's alone, anywhere; and is none once its query is cancelled.
    let begun = || path_of(one.signed_in("otto").submit(sql).page()["nextUri"].as_str().expect("more"));
    let link = begun();
    assert_eq!(two.signed_in("eva").get(&link).status, 404);
    assert_eq!(two.signed_in("otto").get(&link).page()["stats"]["cached"], true);
    let link = begun();
    assert_eq!(two.signed_in("otto").send("DELETE", &link, b"").status, 204);
    let elsewhere = two.signed_in("otto").get(&link).page();
    assert_eq!(elsewhere["error"]["errorName"], "USER_CANCELED", "{elsewhere}");
    let gone = || (one.signed_in("otto").get(&link).status == 404).then_some(());
    assert!(within(Duration::from_mins(1), gone).is_some());

    // What one has asked anew takes the place of the old everywhere. A commit is known everywhere.
    let nations = "SELECT count(*) FROM tpch.tiny.nation";
    said(one, "admin", nations);
    hit(&at("admin"), nations);
    let anew = ask_with(two, "admin", nations, &[("X-Trino-Client-Tags", "cache=refresh")]);
    assert_eq!(anew.said, "miss");
    let newer = || {
        let (id, _) = hit(&at("admin"), nations);
        (one.audit_of(&id, |records| records.len() == 2)[0]["cache_origin"] == anew.id).then_some(())
    };
    assert!(within(Duration::from_secs(20), newer).is_some());
    direct("DELETE FROM barn.crm.together WHERE id > 100");
    assert_eq!(said(two, "otto", sql), "miss");
    // Gone at one is gone at all; and policy comes first at each.
    let (id, _) = hit(&at("otto"), sql);
    assert!(!id.is_empty());
    hit(&swapped(at("otto")), sql);
    let key = std::fs::read_to_string(one.folder.path().join("admin.key")).expect("a key");
    let purged = one.admin().bearer(key.trim()).send("POST", "/cache/purge?table=barn.crm.together", b"");
    assert!(purged.status == 200 && !purged.text().starts_with("0 "), "{}", purged.text());
    assert_eq!(said(two, "otto", sql), "miss");
    assert_eq!(said(two, "admin", nations), "hit", "another table's stays");
    let denied = two.signed_in("nora").query(sql).failure();
    assert!(denied.contains("does not exist"), "{denied}");

    // Where a policy becomes another, what was kept before it is nobody's any more, at each as soon as it is in force there.
    let sql = "SELECT count(*) FROM barn.crm.together";
    let count = |gateway: &Gateway, user: &str| ask_with(gateway, user, sql, &[]).rows[0][0].clone();
    let before = count(one, "otto");
    hit(&at("otto"), sql);
    hit(&swapped(at("otto")), sql);
    for gateway in &gateways {
        let fewer = "version: 1\npolicies:\n  - {name: fewer, who: {users: [otto]}, tables: [barn.crm.together], row_filter: id > 50}\n";
        std::fs::write(gateway.folder.path().join("policies/fewer.yaml"), fewer).expect("written");
        let changed = || (count(gateway, "otto") != before).then_some(());
        assert!(within(Duration::from_secs(20), changed).is_some(), "{}", gateway.log());
        assert_eq!(count(gateway, "test"), before);
    }
    assert_eq!(count(one, "otto"), count(two, "otto"));
}

#[test]
fn what_is_wrong_in_redis_is_dropped_and_counted() {
    let store = Store::start("redis");
    let gateways = [(); 2].map(|()| Gateway::start(settings(&store)));
    let [one, two] = &gateways;
    let table = table("broken");
    let mut redis = redis(&store);
    let sqls =
        [1, 2, 3, 4].map(|id| format!("SELECT name, count(*) FROM {table} WHERE id = {id} GROUP BY name"));
    let mut names: Vec<Vec<u8>> = Vec::new();
    for sql in &sqls {
        ask_with(one, "otto", sql, &[]);
        let new = || kept(&mut redis).into_iter().find(|name| !names.contains(name));
        let name = within(Duration::from_secs(20), new).expect("it is kept");
        let sealed: Vec<u8> = redis.hget(place(&name), "answer").expect("an answer");
        assert!(!sealed.windows(5).any(|part| part == b"name "), "it can be read");
        names.push(name);
    }
    let sealed = |redis: &mut redis::Connection, name: &[u8]| -> Vec<u8> {
        redis.hget(place(name), "answer").expect("an answer")
    };
    // Changed, cut, another's, and with a key that is not theirs (random bytes are as good).
    let whole: Vec<Vec<u8>> = names.iter().map(|name| sealed(&mut redis, name)).collect();
    let mut changed = whole[0].clone();
    *changed.last_mut().expect("not empty") ^= 1;
    let broken = [changed, whole[1][..whole[1].len() / 2].to_vec(), whole[0].clone(), vec![7; 500]];
    for ((name, bytes), sql) in names.iter().zip(broken).zip(&sqls) {
        let _: () = redis.hset(place(name), "answer", bytes).expect("written");
        // The one that has it in memory knows that it is the same; the other fetches it.
        let asked = ask_with(two, "otto", sql, &[]);
        assert_eq!((asked.said.as_str(), asked.rows.len()), ("miss", 1), "{sql}");
    }
    let metrics = two.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_cache_answers_total{outcome=\"corrupt\"} 4"), "{metrics}");

    // A Redis that is lost: who has the answer goes on to give it, another says that it is to be asked again, and new questions
    // go to Trino.
    assert!(barn().table("lost"));
    direct(
        "INSERT INTO barn.crm.lost SELECT orderkey, comment, 'EU', shipdate, NULL FROM tpch.tiny.lineitem",
    );
    let sql = "SELECT * FROM barn.crm.lost";
    ask_with(one, "otto", sql, &[]);
    let again = || {
        Some(one.signed_in("otto").submit(sql)).filter(|page| page.header("x-northgate-cache") == Some("hit"))
    };
    let first = within(Duration::from_secs(20), again).expect("it is kept");
    let link = path_of(first.page()["nextUri"].as_str().expect("more"));
    store.process.lock().expect("no panic in a lock").signal("STOP");
    let page = one.signed_in("otto").get(&link).page();
    assert!(page["data"].is_array() && page["nextUri"].is_string(), "{page}");
    let elsewhere = two.signed_in("otto").get(&link);
    assert_eq!(elsewhere.status, 503, "{}", elsewhere.text());
    let asked = ask_with(two, "otto", &sqls[0], &[]);
    assert_eq!((asked.said.as_str(), asked.rows.len()), ("bypass; state does not answer", 1));
    store.process.lock().expect("no panic in a lock").signal("CONT");
    let back = || Some(two.signed_in("otto").get(&link)).filter(|page| page.status == 200);
    let page = within(Duration::from_secs(20), back).expect("it is back").page();
    assert!(page["data"].is_array(), "{page}");
    // With its gateway gone the rest of it is there as well; if it is not, the client is told to ask anew.
    let next = path_of(page["nextUri"].as_str().expect("more"));
    one.process.lock().expect("no panic in a lock").signal("KILL");
    assert!(two.signed_in("otto").get(&next).page()["data"].is_array());
}
