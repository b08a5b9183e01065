//! Questions that the gateway asks by itself after a commit: their viewers find the answers, and none of it looks like theirs.

use std::time::Duration;

use serde_json::{Value, json};

use super::several::settings as sharing;
use super::{EAGER, ask_with, direct, settings, table};
use crate::harness::process::within;
use crate::harness::{Gateway, Settings};
use crate::tokens::Store;

const LONG: Duration = Duration::from_mins(1);

/// The session of the dashboard, as its client sends it.
const DASHBOARD: [(&str, &str); 5] = [
    ("X-Trino-Source", "dashboard"),
    ("X-Trino-Time-Zone", "Europe/Berlin"),
    ("X-Trino-Client-Tags", "bi,sales"),
    ("X-Trino-Client-Capabilities", "PATH"),
    ("X-Trino-Session", "task_concurrency=2"),
];

/// Looks each second after a query, as these users in the session of the dashboard. Trino is told of the class of people what it is not
/// told of jobs.
fn warming(mut settings: Settings, users: &str, sql: &str) -> Settings {
    settings.more = settings.more.replace("[cache]\n", "[cache]\nwarming_every = \"1s\"\n");
    settings.more += &format!(
        "[[admission.class]]\nname = \"interactive\"\nclient_tag = \"people\"\nsession_properties = {{ query_max_run_time = \"1h\" }}\n\
         [[cache.warming]]\nname = \"sales\"\nusers = {users}\nsql = \"{sql}\"\nsource = \"dashboard\"\n\
         time_zone = \"Europe/Berlin\"\nclient_tags = [\"sales\", \"bi\"]\nclient_capabilities = [\"PATH\"]\n\
         session_properties = {{ task_concurrency = \"2\" }}\n"
    );
    settings
}

/// The intents of what the gateways have asked by themselves, once these are so many and have ended; and their answers are kept.
fn warmed(gateways: &[&Gateway], count: usize) -> Vec<Value> {
    let asked = || {
        let records: Vec<Value> = gateways.iter().flat_map(|gateway| gateway.audit()).collect();
        let is_intent = |one: &&Value| one["type"] == "intent" && one["auth_method"] == "warming";
        let intents: Vec<Value> = records.iter().filter(is_intent).cloned().collect();
        let has_ended = |intent: &&Value| {
            let is_its_end = |one: &Value| one["type"] == "outcome" && one["query"] == intent["query"];
            records.iter().any(|one| is_its_end(one) && one["state"] == "finished")
        };
        let answers = "cache_answers_total{outcome=\"kept\"}";
        let kept: u64 = gateways.iter().map(|gateway| gateway.metric(answers)).sum();
        let ended = intents.iter().filter(has_ended).count();
        (intents.len() == count && ended == count && kept >= count as u64).then_some(intents)
    };
    within(LONG, asked).unwrap_or_else(|| panic!("{count} were not asked: {}", gateways[0].log()))
}

#[test]
fn viewers_find_what_was_asked_before_them() {
    let table = table("warmed");
    let sql = format!("SELECT count(*) FROM {table}");
    let users = "[\"otto\", \"eva\", \"nora\", \"nobody\"]";
    let gateway = Gateway::start(warming(settings(EAGER), users, &sql));
    let view = |user: &str| {
        let asked = ask_with(&gateway, user, &sql, &DASHBOARD);
        let origin = gateway.audit_of(&asked.id, |records| records.len() == 2)[0]["cache_origin"].clone();
        (asked.said, asked.rows[0][0].clone(), origin)
    };

    // The first viewer finds it: each what policy gives them.
    let intents = warmed(&[&gateway], 2);
    let whose =
        |user: &str| intents.iter().find(|one| one["principal"] == user).expect("was asked")["query"].clone();
    assert_eq!(view("otto"), ("hit".to_owned(), json!(40), whose("otto")));
    assert_eq!(view("eva"), ("hit".to_owned(), json!(20), whose("eva")));
    // And whoever is sent the same text.
    assert_eq!(view("test"), ("hit".to_owned(), json!(40), whose("otto")));

    // Nothing of it looks as if they had asked, and it has waited with jobs.
    for intent in &intents {
        assert_eq!(
            (&intent["impersonator"], &intent["peer"]),
            (&json!("northgate:warming sales"), &json!(""))
        );
        assert_eq!((&intent["cache"], &intent["identity"]), (&json!("miss"), &Value::Null), "{intent}");
        let groups = if intent["principal"] == "eva" { "eu-analysts" } else { "compliance" };
        assert_eq!(intent["groups"], json!([groups]));
    }
    assert_eq!(gateway.metric("admission_wait_seconds_count{class=\"batch\"}"), 2);

    // A commit by anybody is looked for, and what it has changed is asked anew: once.
    direct(&format!("INSERT INTO {table} VALUES (0, 'zero', 'EU', DATE '2026-03-01', NULL)"));
    let intents = warmed(&[&gateway], 4);
    let latest = |user: &str| {
        let mine = intents.iter().filter(|one| one["principal"] == user);
        mine.max_by_key(|one| one["seq"].as_u64()).expect("was asked")["query"].clone()
    };
    assert_eq!(view("otto"), ("hit".to_owned(), json!(41), latest("otto")));
    assert_eq!(view("eva"), ("hit".to_owned(), json!(21), latest("eva")));
    std::thread::sleep(Duration::from_secs(3));
    warmed(&[&gateway], 4);

    // Who may not read gets nothing warmed, which is on record once; nor does somebody whom the users file does not know.
    let denied = |record: &&Value| record["type"] == "denied" && record["principal"] == "nora";
    let denials: Vec<Value> = gateway.audit().iter().filter(denied).cloned().collect();
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert_eq!(denials[0]["auth_method"], "warming");
    assert_eq!(gateway.metric("cache_warmings_total{outcome=\"refused\"}"), 2);
    // In another session it is another question.
    assert_eq!(ask_with(&gateway, "otto", &sql, &DASHBOARD[1..]).said, "miss");
}

#[test]
fn of_several_gateways_one_asks() {
    let table = table("warmed_once");
    let sql = format!("SELECT count(*) FROM {table}");
    let store = Store::start("redis");
    let gateways = [(); 2].map(|()| Gateway::start(warming(sharing(&store), "[\"otto\"]", &sql)));
    let [one, two] = &gateways;
    for (count, rows) in [(1, 40), (2, 39)] {
        warmed(&[one, two], count);
        for gateway in &gateways {
            let asked = ask_with(gateway, "otto", &sql, &DASHBOARD);
            assert_eq!((asked.said.as_str(), asked.rows), ("hit", vec![vec![json!(rows)]]));
        }
        if count == 1 {
            direct(&format!("DELETE FROM {table} WHERE id = 1"));
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    warmed(&[one, two], 2);
}
