//! Random histories: tables, views, policies and sessions change, and each question is asked of a gateway with a cache, which is
//! one of two that share theirs or has its own, and of one without. The answers are the same, always.
//!
//! `CACHE_STEPS` and `CACHE_SEED` change how many steps and which.

use super::{EAGER, direct, settings, several};
use crate::harness::barn::barn;
use crate::harness::{Answer, Gateway, trino};
use crate::tokens::Store;

/// What policies there are, one set at a time.
const SETS: [&str; 6] = [
    "  - {name: all, who: {users: ['*']}, tables: ['barn.crm.*'], allow: true}",
    "  - {name: all, who: {users: ['*']}, tables: ['barn.crm.*'], allow: true}
  - {name: eu, who: {users: [eva]}, tables: ['barn.crm.h_*'], row_filter: region = 'EU'}",
    "  - {name: all, who: {users: ['*']}, tables: ['barn.crm.*'], allow: true}
  - {name: names, who: {users: ['*'], except_users: [otto]}, tables: ['barn.crm.h_*'], column_masks: [{columns: ['n*'], action: mask-alphanum}]}",
    "  - {name: all, who: {users: ['*'], except_users: [otto]}, tables: ['barn.crm.*'], allow: true}
  - {name: own, who: {users: ['*']}, tables: ['barn.crm.h_*'], row_filter: \"region = upper(substr(current_user, 1, 2)) OR region = 'EU'\"}",
    "  - {name: all, who: {users: ['*']}, tables: ['barn.crm.*'], allow: true}
  - {name: known, who: {users: [eva]}, tables: ['barn.crm.h_a'], row_filter: 'id IN (SELECT b.id FROM barn.crm.h_b b)'}",
    "  - {name: all, who: {users: ['*']}, tables: ['barn.crm.*'], allow: true}
  - {name: hidden, who: {users: [eva]}, tables: ['barn.crm.h_*'], deny_columns: [day]}
  - {name: none, who: {users: [test]}, tables: ['barn.crm.h_b'], deny: true}",
];

/// What is asked. Each gives its rows in an order, or one row.
const QUERIES: [&str; 24] = [
    "SELECT * FROM barn.crm.h_a ORDER BY 1, 2, 3",
    "SELECT * FROM barn.crm.h_b ORDER BY 1, 2, 3",
    "SELECT count(*), sum(id), max(region) FROM barn.crm.h_a",
    "SELECT region, count(*) FROM barn.crm.h_a GROUP BY region ORDER BY 1",
    "SELECT name FROM barn.crm.h_a WHERE id < 5 ORDER BY 1",
    "SELECT a.id, b.name FROM barn.crm.h_a a JOIN barn.crm.h_b b ON a.id = b.id ORDER BY 1, 2",
    "SELECT id FROM barn.crm.h_a WHERE EXISTS (SELECT 1 FROM barn.crm.h_b b WHERE b.id = h_a.id) ORDER BY 1",
    "WITH x AS (SELECT region FROM barn.crm.h_a UNION ALL SELECT region FROM barn.crm.h_b) SELECT region, count(*) FROM x GROUP BY 1 ORDER BY 1",
    "SELECT current_user, id FROM barn.crm.h_a ORDER BY 2",
    "SELECT CAST(at AS varchar), CAST(at AS date) FROM barn.crm.h_a ORDER BY id, 1 LIMIT 3",
    "SELECT max(at) FROM barn.crm.h_a",
    "SELECT count(*) FROM barn.crm.h_a WHERE day < current_date",
    "SELECT count(*) FROM barn.crm.h_a WHERE at < TIMESTAMP '2026-01-02 00:00:00'",
    "SELECT date_format(at, '%M %W') FROM barn.crm.h_a ORDER BY id, 1 LIMIT 2",
    "EXECUTE IMMEDIATE 'SELECT count(*) FROM barn.crm.h_a WHERE id > ?' USING 3",
    "EXECUTE IMMEDIATE 'SELECT count(*) FROM barn.crm.h_a WHERE id > ?' USING 7",
    "EXECUTE q USING 3",
    "EXECUTE q USING 7",
    "SELECT * FROM barn.crm.h_v ORDER BY 1, 2",
    "SELECT count(*) FROM barn.crm.h_v v JOIN barn.crm.h_b b ON v.id = b.id",
    "SELECT count(*), sum(id) FROM barn.crm.h_w",
    "SELECT count(*) FROM barn.crm.h_c",
    "SELECT array_sort(array_agg(id)) FROM barn.crm.h_b",
    "SELECT count(*) FROM barn.crm.h_a FOR TIMESTAMP AS OF TIMESTAMP '2020-01-01 00:00:00 UTC'",
];

/// How a question is asked besides: each is one of a few.
const WHOSE: [(&str, &[&str]); 5] = [
    ("user", &["eva", "otto", "test"]),
    ("X-Trino-Time-Zone", &["Europe/Berlin", "UTC", "Asia/Tokyo"]),
    ("X-Trino-Language", &["en", "fr-FR"]),
    ("X-Trino-Client-Capabilities", &["PARAMETRIC_DATETIME", "PATH"]),
    (
        "X-Trino-Prepared-Statement",
        &[
            "q=SELECT%20count(*)%20FROM%20barn.crm.h_a%20WHERE%20id%20%3E%20%3F",
            "q=SELECT%20count(*)%20FROM%20barn.crm.h_b%20WHERE%20id%20%3C%20%3F",
        ],
    ),
];

/// A question: what is asked, and which of the few of each.
#[derive(Clone, Copy, Debug)]
struct Question {
    sql: &'static str,
    chosen: [usize; WHOSE.len()],
}

impl Question {
    fn draw(lots: &mut Lots) -> Self {
        let mut chosen = [0; WHOSE.len()];
        for (number, (_, list)) in chosen.iter_mut().zip(WHOSE) {
            *number = lots.index(list.len());
        }
        Self { sql: QUERIES[lots.index(QUERIES.len())], chosen }
    }

    /// The same with one thing otherwise, which may be what the two are told apart by.
    fn otherwise(mut self, lots: &mut Lots) -> Self {
        match lots.index(WHOSE.len() + 1) {
            at if at < WHOSE.len() => self.chosen[at] = lots.index(WHOSE[at].1.len()),
            _ => self.sql = QUERIES[lots.index(QUERIES.len())],
        }
        self
    }

    fn whose(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        WHOSE.into_iter().zip(self.chosen).map(|((name, list), at)| (name, list[at]))
    }

    /// Whether it was answered from the cache, and the answer.
    fn ask(self, gateway: &Gateway) -> (bool, String) {
        let mut client = gateway.client();
        for (name, value) in self.whose() {
            client = if name == "user" { gateway.signed_in(value) } else { client.with(name, value) };
        }
        let answer = client.query(self.sql);
        let hit = answer.headers.iter().any(|(name, value)| name == "x-northgate-cache" && value == "hit");
        (hit, shown(&answer))
    }
}

const ROWS: &str = "(1, 'one', 'EU', DATE '2026-01-01', TIMESTAMP '2026-01-01 23:30:00 UTC'), (2, 'two', 'US', DATE '2026-11-30', TIMESTAMP '2026-06-01 01:00:00 UTC'), (9, NULL, NULL, NULL, NULL)";

/// Numbers from a seed (SplitMix64).
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.draw(below as u64)).expect("small")
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.index(list.len())]
    }
}

/// A change of tables or views. It may fail: what it changes may not be there just now.
fn change(lots: &mut Lots) -> String {
    let table = lots.of(&["barn.crm.h_a", "barn.crm.h_b"]);
    let (id, region) = (lots.draw(12), lots.of(&["EU", "US", "OT"]));
    match lots.draw(18) {
        0..=4 => format!("INSERT INTO {table} (id, region) VALUES ({id}, '{region}')"),
        5 | 6 => format!("DELETE FROM {table} WHERE id = {id}"),
        7 => format!("UPDATE {table} SET region = '{region}' WHERE id = {id}"),
        8 => format!("ALTER TABLE {table} ADD COLUMN n{id} varchar"),
        9 => format!("ALTER TABLE {table} DROP COLUMN n{id}"),
        10 => lots
            .of(&[
                "ALTER TABLE barn.crm.h_a RENAME COLUMN name TO label",
                "ALTER TABLE barn.crm.h_a RENAME COLUMN label TO name",
            ])
            .to_owned(),
        11 => lots
            .of(&[
                "ALTER TABLE barn.crm.h_b RENAME TO barn.crm.h_c",
                "ALTER TABLE barn.crm.h_c RENAME TO barn.crm.h_b",
                "ALTER TABLE barn.crm.h_a RENAME TO barn.crm.h_c",
                "ALTER TABLE barn.crm.h_c RENAME TO barn.crm.h_a",
            ])
            .to_owned(),
        12 => format!("DROP TABLE {table}"),
        13 => rolled_back(table),
        14 | 15 => format!(
            "CREATE OR REPLACE VIEW barn.crm.h_v SECURITY INVOKER AS SELECT id, region FROM {table} WHERE id > {}",
            id / 4
        ),
        16 => format!(
            "CREATE OR REPLACE VIEW barn.crm.h_w SECURITY INVOKER AS SELECT id FROM barn.crm.h_v WHERE id < {id}"
        ),
        _ => format!("ALTER TABLE {table} EXECUTE optimize"),
    }
}

/// Back to the first state that is known, if the table is there.
fn rolled_back(table: &str) -> String {
    let name = table.replace("h_", "\"h_") + "$snapshots\"";
    let oldest = format!("SELECT snapshot_id FROM {name} ORDER BY committed_at LIMIT 1");
    let found = trino().query(&oldest).rows.first().map(|row| row[0].to_string());
    format!("ALTER TABLE {table} EXECUTE rollback_to_snapshot({})", found.unwrap_or_else(|| "0".to_owned()))
}

/// Makes a table with some rows, if there is none.
fn filled(name: &str) {
    if barn().table(name) {
        direct(&format!("INSERT INTO barn.crm.{name} VALUES {ROWS}"));
    }
}

fn policies(set: &str) -> String {
    format!("version: 1\npolicies:\n{set}\n")
}

fn put_in_force(gateways: &[&Gateway], set: &str) {
    for gateway in gateways {
        std::fs::write(gateway.folder.path().join("policies/barn.yaml"), policies(set))
            .expect("the folder is ours");
        let reloaded = gateway.admin().send("POST", "/reload", b"");
        assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    }
}

/// What there is to compare of an answer.
fn shown(answer: &Answer) -> String {
    if answer.error.is_some() {
        // Each query has a name of its own.
        let failure = answer.failure();
        return failure.split(" (query ").next().unwrap_or_default().to_owned();
    }
    let columns = answer.pages.iter().rev().find_map(|page| page.get("columns"));
    format!("{columns:?}\n{:?}", answer.rows)
}

#[test]
#[allow(clippy::print_stdout)] // how much was tried is worth knowing
fn with_and_without_a_cache_answers_are_the_same() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (steps, seed) = (number("CACHE_STEPS", 60), number("CACHE_SEED", 20_261_130));
    let mut lots = Lots(seed);
    for name in ["h_a", "h_b"] {
        filled(name);
    }
    let store = Store::start("redis");
    let shared = || Gateway::start(several::settings(&store));
    let (caching, without) =
        ([Gateway::start(settings(EAGER)), shared(), shared()], Gateway::start(settings("")));
    let all: Vec<&Gateway> = caching.iter().chain([&without]).collect();
    put_in_force(&all, SETS[0]);
    let began = std::time::Instant::now();
    let (mut hits, mut failures, mut changes, mut set) = (0, 0, 0, 0);
    let mut lately: Vec<Question> = Vec::new();
    for step in 0..steps {
        match lots.draw(100) {
            0..=14 => {
                let statement = change(&mut lots);
                changes += u64::from(trino().query(&statement).error.is_none());
                // What is gone is made anew now and then: another table of the same name.
                filled(lots.of(&["h_a", "h_b"]));
            }
            15..=18 => {
                set = lots.index(SETS.len());
                put_in_force(&all, SETS[set]);
            }
            // Mostly what was asked a moment ago, or nearly that: what may be answered wrongly.
            number => {
                let before = lately.get(lots.index(6)).copied();
                let question = match before {
                    Some(before) if number < 55 => before,
                    Some(before) if number < 85 => before.otherwise(&mut lots),
                    _ => Question::draw(&mut lots),
                };
                lately.insert(0, question);
                lately.truncate(6);
                let with = &caching[lots.index(caching.len())];
                let ((hit, got), (_, expect)) = std::thread::scope(|scope| {
                    let other = scope.spawn(|| question.ask(&without));
                    (question.ask(with), other.join().expect("no panic"))
                });
                assert_eq!(
                    got,
                    expect,
                    "seed {seed}, step {step}, hit: {hit}, policies {set}: {}, {:?}",
                    question.sql,
                    question.whose().collect::<Vec<_>>()
                );
                hits += u64::from(hit);
                failures += u64::from(!expect.starts_with("Some"));
            }
        }
    }
    let seconds = began.elapsed().as_secs();
    println!(
        "{steps} steps of seed {seed} in {seconds} s: {hits} hits, {failures} failures, {changes} changes"
    );
    assert!(hits * 20 > steps, "{hits} hits in {steps} steps: too few to tell");
    for name in [
        "TABLE barn.crm.h_a",
        "TABLE barn.crm.h_b",
        "TABLE barn.crm.h_c",
        "VIEW barn.crm.h_v",
        "VIEW barn.crm.h_w",
    ] {
        trino().query(&format!("DROP {name}"));
    }
}
