//! Answers that are given again: never another one than Trino would give now, to nobody whom policy would give another.

mod disk;
mod history;
mod several;
mod warming;
mod wishes;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::barn::barn;
use crate::harness::http::path_of;
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Response, Settings, trino};

/// Everybody may read the barn; `eva` sees the EU.
pub(super) const POLICIES: &str = "
version: 1
policies:
  - {name: barn, who: {users: ['*'], except_users: [nora]}, tables: ['barn.*.*'], allow: true}
  - {name: barn-eu, who: {users: [eva]}, tables: ['barn.*.*'], row_filter: region = 'EU'}
  - {name: tpch-minutes, who: {users: ['*']}, tables: ['tpch.tiny.*'], allow: true, cache: {time_to_live: 5m}}
";

/// The settings of a gateway with a cache, or without.
pub(super) fn settings(cache: &str) -> Settings {
    let mut settings = Settings::new();
    settings.policies.push(("barn.yaml", POLICIES.to_owned()));
    settings.more = format!("{}{cache}", barn().settings());
    settings
}

/// One that keeps whatever it can.
const EAGER: &str = "[cache]\nmin_time = \"0s\"\n";

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| Gateway::start(settings(EAGER)))
}

fn direct(sql: &str) {
    barn();
    trino().query(sql).rows();
}

/// A table of its own for a test.
fn table(name: &str) -> String {
    assert!(barn().table(name), "{name} is there already");
    let name = format!("barn.crm.{name}");
    direct(&format!(
        "INSERT INTO {name} SELECT n, 'name ' || CAST(n AS varchar), IF(n % 2 = 0, 'EU', 'US'), DATE '2026-01-01' + n * INTERVAL '1' DAY, \
         TIMESTAMP '2026-01-01 23:30:00 UTC' FROM UNNEST(sequence(1, 40)) AS t (n)"
    ));
    name
}

/// What a statement is answered with, and what is said of the cache.
struct Asked {
    said: String,
    age: Option<String>,
    id: String,
    columns: Value,
    rows: Vec<Vec<Value>>,
}

fn ask_with(gateway: &Gateway, user: &str, sql: &str, headers: &[(&str, &str)]) -> Asked {
    let mut client = gateway.signed_in(user);
    for (name, value) in headers {
        client = client.with(name, *value);
    }
    let answer = client.query(sql);
    // Where the first page took a while it is not what the statement was answered with.
    let header = |name: &str| {
        let found = answer.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone())
    };
    let said = header("x-northgate-cache").unwrap_or_else(|| "nothing".to_owned());
    let age = header("age");
    let columns = answer.pages.iter().rev().find_map(|page| page.get("columns").cloned()).unwrap_or_default();
    let id = answer.id.clone();
    Asked { said, age, id, columns, rows: answer.rows() }
}

fn ask(user: &str, sql: &str) -> Asked {
    ask_with(gateway(), user, sql, &[])
}

/// Asks until the answer is one that was kept: keeping takes a moment.
fn hit(user: &str, sql: &str) -> Asked {
    let asked = || Some(ask(user, sql)).filter(|asked| asked.said == "hit");
    within(Duration::from_secs(20), asked).unwrap_or_else(|| panic!("{sql} is not kept: {}", gateway().log()))
}

#[test]
fn an_answer_is_given_again_until_its_table_changes() {
    let table = table("plain");
    let sql = format!("SELECT id, name, at FROM {table} WHERE id < 4 ORDER BY id");
    let first = ask("otto", &sql);
    assert_eq!((first.said.as_str(), first.rows.len()), ("miss", 3));
    let again = hit("otto", &sql);
    assert_eq!((&again.rows, &again.columns), (&first.rows, &first.columns));
    assert_ne!(again.id, first.id);
    assert!(again.age.is_some_and(|age| age.parse::<u64>().is_ok()));

    // On record before the rows are: whose answer it is. And its rows are counted once.
    let records = gateway().audit_of(&again.id, |records| records.len() == 2);
    assert_eq!(records[0]["cache"], "hit", "{}", records[0]);
    assert!(records[0]["cache_origin"].as_str().is_some_and(|origin| origin == first.id), "{}", records[0]);
    assert_eq!(records[1]["state"], "finished", "{}", records[1]);
    assert_eq!(records[1]["rows"], 3, "{}", records[1]);
    assert_eq!(records[1].get("trino_query"), None, "{}", records[1]);

    // Of a commit by anybody the next question knows.
    direct(&format!("INSERT INTO {table} VALUES (0, 'zero', 'EU', DATE '2026-03-01', NULL)"));
    let changed = ask("otto", &sql);
    assert_eq!((changed.said.as_str(), changed.rows.len()), ("miss", 4));
    assert_eq!(hit("otto", &sql).rows, changed.rows);
    direct(&format!("ALTER TABLE {table} RENAME COLUMN name TO label"));
    let renamed = gateway().signed_in("otto").query(&sql).failure();
    assert!(renamed.contains("'name' cannot be resolved"), "{renamed}");
    direct(&format!("ALTER TABLE {table} RENAME COLUMN label TO name"));
    assert_eq!(ask("otto", &sql).said, "miss");
}

#[test]
fn an_answer_is_shared_where_policy_gives_the_same_text() {
    let table = table("shared");
    let sql = format!("SELECT count(*) FROM {table}");
    assert_eq!(ask("otto", &sql).rows, [[json!(40)]]);
    hit("otto", &sql);
    let other = ask("test", &sql);
    assert_eq!((other.said.as_str(), other.rows), ("hit", vec![vec![json!(40)]]));
    let eva = ask("eva", &sql);
    assert_eq!((eva.said.as_str(), eva.rows), ("miss", vec![vec![json!(20)]]));
    assert_eq!(hit("eva", &sql).rows, [[json!(20)]]);
    // Whoever may not read does not find it here either.
    let denied = gateway().signed_in("nora").query(&sql).failure();
    assert!(denied.contains("does not exist"), "{denied}");
    // What depends on who asks is each one's own.
    let sql = format!("SELECT current_user, id FROM {table} WHERE id = 1");
    assert_eq!(ask("otto", &sql).rows[0][0], "otto");
    hit("otto", &sql);
    let other = ask("test", &sql);
    assert_eq!((other.said.as_str(), &other.rows[0][0]), ("miss", &json!("test")));
}

/// Trino says of each function whether it gives the same for the same arguments.
#[test]
fn functions_on_the_list_give_the_same_again() {
    // Forms of the grammar, which are no functions to Trino.
    const FORMS: [&str; 7] = ["coalesce", "format", "if", "normalize", "nullif", "trim", "try"];
    let known = trino().query("SHOW FUNCTIONS").rows();
    let (mut missing, mut volatile) = (Vec::new(), Vec::new());
    for name in northgate::sql::repeatable_functions() {
        let overloads: Vec<_> = known
            .iter()
            .filter(|row| {
                row[3] != "table" && row[0].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .collect();
        if overloads.is_empty() && !FORMS.contains(&name) {
            missing.push(name);
        }
        if overloads.iter().any(|row| row[4] != json!(true)) {
            volatile.push(name);
        }
    }
    assert!(missing.is_empty() && volatile.is_empty(), "missing: {missing:?}, volatile: {volatile:?}");
}

/// Each part of a question that can be told apart from outside: where it is another, the answer is not that of before.
#[test]
fn each_part_of_a_question_counts() {
    let table = table("parts");
    let ask = |user: &str, sql: &str, headers: &[(&str, &str)]| ask_with(gateway(), user, sql, headers);
    let kept = |sql: &str, headers: &[(&str, &str)]| {
        let asked = || Some(ask("otto", sql, headers)).filter(|asked| asked.said == "hit");
        within(Duration::from_secs(20), asked).unwrap_or_else(|| panic!("{sql} is not kept"))
    };
    let sql = format!(
        "SELECT CAST(at AS varchar), CAST(at AS date), date_format(at, '%M'), at FROM {table} WHERE id = 1"
    );
    let usual = [
        ("X-Trino-Time-Zone", "Europe/Berlin"),
        ("X-Trino-Language", "en"),
        ("X-Trino-Source", "superset"),
        ("X-Trino-Client-Tags", "bi"),
        ("X-Trino-Client-Capabilities", "PARAMETRIC_DATETIME"),
        ("X-Trino-Session", "task_concurrency=2"),
        ("X-Trino-Catalog", "barn"),
        ("X-Trino-Schema", "crm"),
    ];
    let berlin = ask("otto", &sql, &usual);
    assert_eq!((berlin.said.as_str(), &berlin.rows), ("miss", &kept(&sql, &usual).rows));
    for (name, value) in [
        ("X-Trino-Time-Zone", "Asia/Tokyo"),
        ("X-Trino-Language", "de-DE"),
        ("X-Trino-Source", "dbt"),
        ("X-Trino-Client-Tags", "etl"),
        ("X-Trino-Client-Capabilities", "PATH"),
        ("X-Trino-Session", "task_concurrency=4"),
        ("X-Trino-Catalog", "lake"),
        ("X-Trino-Schema", "other"),
    ] {
        let mut headers = usual;
        headers.iter_mut().filter(|header| header.0 == name).for_each(|header| header.1 = value);
        assert_eq!(ask("otto", &sql, &headers).said, "miss", "{name}");
        if name == "X-Trino-Catalog" {
            // There is no schema without.
            continue;
        }
        // And where it is not said at all.
        let without: Vec<(&str, &str)> = usual.into_iter().filter(|header| header.0 != name).collect();
        let asked = ask("otto", &sql, &without);
        assert_eq!(asked.said, "miss", "no {name}");
    }
    // What no answer depends on does not.
    let mut headers = usual.to_vec();
    headers.extend([("X-Trino-Client-Info", "x"), ("X-Trino-Trace-Token", "y")]);
    assert_eq!(kept(&sql, &headers).rows, berlin.rows);
    assert_eq!(kept(&format!("/* other */ {}", sql.replace(' ', "  ")), &usual).rows, berlin.rows);

    // The text, parameters, and what was prepared.
    let prepared = |text: &str| {
        format!(
            "q={}",
            text.replace(' ', "%20")
                .replace('?', "%3F")
                .replace('>', "%3E")
                .replace('<', "%3C")
                .replace('=', "%3D")
        )
    };
    let count = |than: &str| format!("SELECT count(*) FROM {table} WHERE id {than} ?");
    let (more, less) = (prepared(&count(">")), prepared(&count("<=")));
    let execute = |text: &str, value: u32| {
        let headers = [("X-Trino-Prepared-Statement", text)];
        let asked = ask("otto", &format!("EXECUTE q USING {value}"), &headers);
        (asked.said, asked.rows)
    };
    let (miss, hit) = ("miss".to_owned(), "hit".to_owned());
    let rows = |count: u32| vec![vec![json!(count)]];
    assert_eq!(execute(&more, 10), (miss.clone(), rows(30)));
    let again = || Some(execute(&more, 10)).filter(|(said, _)| *said == hit);
    assert_eq!(within(Duration::from_secs(20), again), Some((hit.clone(), rows(30))));
    assert_eq!(execute(&more, 11), (miss.clone(), rows(29)));
    assert_eq!(execute(&less, 10), (miss.clone(), rows(10)));

    // A day has a zone; without one it is not known which day Trino has.
    let today = format!("SELECT count(*) FROM {table} WHERE day < current_date");
    assert_eq!(ask("otto", &today, &[]).said, "bypass; current_date");
}

/// The state of a table: another table of the same name, an older snapshot, a column more.
#[test]
fn each_state_of_a_table_counts() {
    let table = table("states");
    let count = format!("SELECT count(*) FROM {table}");
    let kept = |rows: u32| {
        assert_eq!(hit("otto", &count).rows, [[json!(rows)]]);
    };
    let fresh = |said: &str, rows: u32| {
        let asked = ask("otto", &count);
        assert_eq!((asked.said.as_str(), asked.rows), (said, vec![vec![json!(rows)]]));
    };
    fresh("miss", 40);
    kept(40);
    let first = "SELECT snapshot_id FROM barn.crm.\"states$snapshots\" ORDER BY committed_at DESC LIMIT 1";
    let first = trino().query(first).value();
    direct(&format!("DELETE FROM {table} WHERE id <= 10"));
    fresh("miss", 30);
    kept(30);
    // Back to what was there before. (It is another state, so that nothing is known of it.)
    direct(&format!("ALTER TABLE {table} EXECUTE rollback_to_snapshot({first})"));
    fresh("miss", 40);
    kept(40);
    direct(&format!("ALTER TABLE {table} ADD COLUMN more varchar"));
    fresh("miss", 40);
    kept(40);
    // Another table of the same name with as many snapshots.
    direct(&format!("DROP TABLE {table}"));
    assert!(gateway().signed_in("otto").query(&count).failure().contains("does not exist"));
    assert!(barn().table("states"));
    direct(&format!("INSERT INTO {table} (id) VALUES 1, 2"));
    fresh("miss", 2);
    kept(2);
}

#[test]
fn what_is_not_given_again() {
    let table = table("anew");
    for (sql, said) in [
        (format!("SELECT random() FROM {table}"), "bypass; volatile"),
        (format!("SELECT count(*) FROM {table} WHERE at < now()"), "bypass; volatile"),
        (
            format!("SELECT * FROM {table} FOR TIMESTAMP AS OF current_timestamp - INTERVAL '0.001' SECOND"),
            "bypass; volatile",
        ),
        ("SHOW TABLES FROM barn.crm".to_owned(), "bypass; not a query"),
        ("SELECT count(*) FROM barn.information_schema.tables".to_owned(), "bypass; listing"),
        ("SELECT count(*) FROM lake.silver.customers".to_owned(), "bypass; no version"),
    ] {
        for _ in 0..2 {
            assert_eq!(ask("admin", &sql).said, said, "{sql}");
        }
    }
    // Where a policy says for how long, it is.
    let nations = "SELECT count(*) FROM tpch.tiny.nation";
    assert_eq!(ask("admin", nations).rows, [[json!(25)]]);
    assert_eq!(hit("admin", nations).rows, [[json!(25)]]);
    // Within a transaction nothing is.
    let sql = format!("SELECT count(*) FROM {table}");
    ask("otto", &sql);
    hit("otto", &sql);
    let client = gateway().signed_in("otto").with("X-Trino-Transaction-Id", "NONE");
    let started = client.query("START TRANSACTION READ ONLY");
    let id = started.headers.iter().find(|(name, _)| name == "x-trino-started-transaction-id").expect("one");
    let within = [("X-Trino-Transaction-Id", id.1.as_str())];
    assert_eq!(ask_with(gateway(), "otto", &sql, &within).said, "bypass; transaction");
}

#[test]
fn pages_of_a_kept_answer_are_as_any() {
    assert!(barn().table("pages"));
    let name = "barn.crm.pages";
    direct(&format!(
        "INSERT INTO {name} SELECT orderkey, comment, 'EU', orderdate, NULL FROM tpch.tiny.orders"
    ));
    let sql = format!("SELECT * FROM {name}");
    let asked = ask("otto", &sql);
    let again = hit("otto", &sql);
    assert_eq!((asked.rows.len(), again.rows.len()), (15_000, 15_000));
    assert!(asked.rows == again.rows && asked.columns == again.columns, "the same rows in the same order");

    let client = gateway().signed_in("otto");
    let next = |response: &Response| path_of(response.page()["nextUri"].as_str().expect("a next page"));
    let first = client.submit(&sql);
    assert_eq!(first.header("x-northgate-cache"), Some("hit"));
    let one = next(&first);
    // Any page is there as often as it is asked for, and for its owner alone.
    let (a, b) = (client.get(&one), client.get(&one));
    assert_eq!(a.page()["data"], b.page()["data"]);
    assert_eq!(client.send("HEAD", &one, b"").status, 200);
    assert_eq!(gateway().signed_in("test").get(&one).status, 404);
    assert_eq!(gateway().signed_in("eva").send("HEAD", &one, b"").status, 404);
    let mut last = client.get(&one);
    let mut path = one.clone();
    let mut rows = 0;
    loop {
        let page = last.page();
        assert_eq!(page["stats"]["cached"], true);
        rows += page["data"].as_array().map_or(0, Vec::len);
        let Some(link) = page["nextUri"].as_str() else { break };
        path = path_of(link);
        last = client.get(&path);
    }
    assert_eq!(rows, 15_000);
    // The last one, too, though the query has ended.
    let id = first.page()["id"].as_str().expect("an id").to_owned();
    let records = gateway().audit_of(&id, |records| records.len() == 2);
    assert_eq!((&records[1]["state"], &records[1]["rows"]), (&json!("finished"), &json!(15_000)));
    assert_eq!(client.get(&path).page()["data"], last.page()["data"]);

    // Compressed like any.
    let packed = client.clone().with("Accept-Encoding", "gzip").get(&path);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));

    // Cancelled in the middle.
    let first = client.submit(&sql);
    let one = next(&first);
    assert_eq!(client.send("DELETE", &one, b"").status, 204);
    let id = first.page()["id"].as_str().expect("an id").to_owned();
    let records = gateway().audit_of(&id, |records| records.len() == 2);
    assert_eq!(records[1]["state"], "canceled");
    assert_eq!(client.get(&one).status, 404);
}

/// Asks a question, and gives the page which says that Trino is asked it. Nobody fetches what is behind that.
fn begun(client: &Client, sql: &str) -> Response {
    let mut first = client.submit(sql);
    while first.header("x-northgate-cache").is_none() {
        first = client.get(&path_of(first.page()["nextUri"].as_str().expect("a next page")));
    }
    assert_eq!(first.header("x-northgate-cache"), Some("miss"));
    first
}

/// Asks the same while that is under way, and gives the page which says that it waits.
fn waiting(client: &Client, sql: &str) -> (Response, String) {
    let second = client.submit(sql);
    assert_eq!(second.header("x-northgate-cache"), None, "{:?}", second.page());
    let id = second.page()["id"].as_str().expect("an id").to_owned();
    (second, id)
}

#[test]
fn many_who_ask_the_same_are_one_query_of_trinos() {
    let table = table("flights");
    let sql = format!("SELECT sum(id) FROM {table}");
    let client = gateway().signed_in("admin");
    let first = begun(&client, &sql);
    let origin = first.page()["id"].as_str().expect("an id").to_owned();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let ask = || {
            let asked = ask("otto", &sql);
            assert_eq!((asked.said.as_str(), &asked.rows), ("hit", &vec![vec![json!(820)]]));
            asked.id
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let (second, id) = waiting(&client, &sql);
        assert_eq!(client.follow(first).rows(), [[json!(820)]]);
        assert_eq!(client.follow(second).rows(), [[json!(820)]]);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).chain([id]).collect()
    });
    for id in ids {
        let records = gateway().audit_of(&id, |records| records.len() == 2);
        let given = records.iter().find_map(|record| record["cache_origin"].as_str());
        assert_eq!(given, Some(&*origin), "{records:?}");
        assert_eq!((records[1].get("trino_query"), &records[1]["rows"]), (None, &json!(1)), "{records:?}");
    }
    assert_ne!(gateway().metric("cache_lookups_total{outcome=\"shared\"}"), 0);
}

#[test]
fn another_takes_over_from_a_first_that_is_cancelled_or_not_fetched() {
    let table = table("owners");
    let client = gateway().signed_in("admin");
    for (of, cancelled) in [("max", true), ("min", false)] {
        let sql = format!("SELECT {of}(id) FROM {table}");
        let first = begun(&client, &sql);
        let (second, id) = waiting(&client, &sql);
        if cancelled {
            let link = path_of(first.page()["nextUri"].as_str().expect("a next page"));
            assert_eq!(client.send("DELETE", &link, b"").status, 204);
        }
        assert_eq!(client.follow(second).rows().len(), 1);
        let records = gateway().audit_of(&id, |records| records.len() == 2);
        assert_eq!((&records[0]["cache"], &records[1]["rows"]), (&json!("miss"), &json!(1)));
        assert!(records[1]["trino_query"].is_string(), "it was sent after all");
    }
    // What failed fails for each, and nobody waits for it again.
    let sql = format!("SELECT 1 / (max(id) - 40) FROM {table}");
    let first = begun(&client, &sql);
    let (second, id) = waiting(&client, &sql);
    assert!(client.follow(first).failure().contains("DIVISION_BY_ZERO"));
    assert!(client.follow(second).failure().contains("DIVISION_BY_ZERO"));
    let records = gateway().audit_of(&id, |records| records.len() == 2);
    assert!(records[1]["trino_query"].is_string(), "{records:?}");
}

#[test]
fn answers_are_purged_and_that_is_on_record() {
    let gateway = Gateway::start(settings(EAGER));
    let (one, other) = (table("purged"), table("purged_not"));
    let sql = |table: &str| format!("SELECT count(*) FROM {table}");
    let hit = |user: &str, table: &str| {
        let asked = || Some(ask_with(&gateway, user, &sql(table), &[])).filter(|asked| asked.said == "hit");
        within(Duration::from_secs(20), asked).expect("it is kept");
    };
    let purge = |arguments: &[&str]| {
        let mut command = crate::harness::gateway::binary();
        command.args(["cache", "purge", "--config"]).arg(gateway.folder.path().join("northgate.toml"));
        crate::harness::process::run(command.args(arguments))
    };
    let said = |user: &str, table: &str| ask_with(&gateway, user, &sql(table), &[]).said;
    for (arguments, goes) in [
        (&["--table", one.as_str()][..], [true, false, false]),
        (&["--principal", "eva"], [false, false, true]),
        (&["--tag", "pii.none"], [false, false, false]),
        (&["--all"], [true, true, true]),
    ] {
        hit("otto", &one);
        hit("otto", &other);
        hit("eva", &other);
        let count = goes.iter().filter(|goes| **goes).count();
        assert_eq!(purge(arguments), format!("{count} answers were removed\n"), "{arguments:?}");
        let now = [said("otto", &one), said("otto", &other), said("eva", &other)];
        assert_eq!(now.map(|said| said == "miss"), goes, "{arguments:?}");
    }
    let records = gateway.audit();
    let purges: Vec<&Value> = records.iter().filter(|record| record["action"] == "cache_purge").collect();
    assert_eq!(purges.len(), 4);
    assert_eq!(purges[0]["detail"], "table barn.crm.purged");
    // Without the key nobody does.
    assert_eq!(gateway.admin().send("POST", "/cache/purge?all=true", b"").status, 401);
}

#[test]
fn what_is_too_large_is_not_kept() {
    let gateway =
        Gateway::start(settings("[cache]\nmin_time = \"0s\"\nmemory = \"1MiB\"\nmax_result = \"20kB\"\n"));
    let large = "SELECT * FROM tpch.tiny.customer";
    let small = "SELECT * FROM tpch.tiny.region";
    assert_eq!(ask_with(&gateway, "admin", large, &[]).rows.len(), 1500);
    assert_eq!(ask_with(&gateway, "admin", large, &[]).said, "bypass; too large");
    ask_with(&gateway, "admin", small, &[]);
    let kept = || Some(ask_with(&gateway, "admin", small, &[])).filter(|asked| asked.said == "hit");
    assert!(within(Duration::from_secs(20), kept).is_some());
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains("northgate_cache_answers_total{outcome=\"too_large\"} 1"), "{metrics}");
    assert!(metrics.contains("northgate_cache_entries 1"), "{metrics}");
}

#[test]
fn a_catalog_that_does_not_answer_is_no_reason_for_an_old_answer() {
    let table = table("silent");
    let door = Door::open(barn().port);
    // Who may read is believed for a while longer, so that the query is run at all.
    let mut settings = settings(EAGER);
    settings.more = settings.more.replace(&format!(":{}\"", barn().port), &format!(":{}\"", door.port));
    settings.more = settings.more.replace(
        "[catalog.rest.barn]\n",
        "[catalog.rest.barn]\ngrace = \"1h\"\ntimeout = \"500ms\"\nretries = 0\n",
    );
    let gateway = Gateway::start(settings);
    let sql = format!("SELECT count(*) FROM {table}");
    let ask = || ask_with(&gateway, "otto", &sql, &[]);
    assert_eq!(ask().rows, [[json!(40)]]);
    assert!(within(Duration::from_secs(20), || Some(ask()).filter(|asked| asked.said == "hit")).is_some());
    door.shut.store(true, Ordering::SeqCst);
    direct(&format!("DELETE FROM {table} WHERE id = 1"));
    let asked = ask();
    assert_eq!((asked.said.as_str(), asked.rows), ("bypass; catalog does not answer", vec![vec![json!(39)]]));
    door.shut.store(false, Ordering::SeqCst);
    // The catalog rests for a moment when it has not answered.
    let back = || Some(ask()).filter(|asked| asked.said == "hit");
    assert_eq!(within(Duration::from_mins(1), back).expect("it is kept again").rows, [[json!(39)]]);
}

/// A way to a port that can be shut.
struct Door {
    port: u16,
    shut: Arc<AtomicBool>,
}

impl Door {
    fn open(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shut = Arc::new(AtomicBool::new(false));
        let is_shut = Arc::clone(&shut);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let is_shut = Arc::clone(&is_shut);
                let Ok(other) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let pass = |mut from: TcpStream, mut to: TcpStream, is_shut: Arc<AtomicBool>| {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 16 << 10];
                        while let Ok(count) = from.read(&mut bytes) {
                            if count == 0
                                || is_shut.load(Ordering::SeqCst)
                                || to.write_all(&bytes[..count]).is_err()
                            {
                                break;
                            }
                        }
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                };
                let copies = (stream.try_clone().expect("a copy"), other.try_clone().expect("a copy"));
                pass(stream, other, Arc::clone(&is_shut));
                pass(copies.1, copies.0, is_shut);
            }
        });
        Self { port, shut }
    }
}
