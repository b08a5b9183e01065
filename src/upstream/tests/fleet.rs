//! Several clusters.

use super::*;
use crate::upstream::fleet::Fleet;
use crate::upstream::{Place, RoutingConfig, State};

const INFO: &str =
    r#"{"nodeVersion":{"version":"476"},"environment":"e","coordinator":true,"starting":false}"#;

fn section(text: &str) -> Config {
    let mut config: Config = toml::from_str(text).expect("TOML");
    let short = Span(Duration::from_millis(300));
    (config.connect_timeout, config.first_byte_timeout, config.pause_timeout) = (short, short, short);
    config
}

fn fleet(text: &str) -> Fleet {
    let catalog = crate::catalog::Config::default();
    Fleet::new(&section(text), RoutingConfig::default(), catalog).expect("sound")
}

fn cluster_at(name: &str, url: &str, more: &str) -> String {
    format!("[[cluster]]\nname = '{name}'\nurl = '{url}'\n{more}\n")
}

fn names(fleet: &Fleet, group: &str, count: usize) -> String {
    let places: Vec<_> = (0..count).filter_map(|_| fleet.place(group, &[]).ok()).collect();
    let mut names: Vec<&str> = places.iter().map(Place::cluster).collect();
    names.sort_unstable();
    names.join(" ")
}

#[tokio::test]
async fn who_has_the_least_to_do_gets_the_query() {
    let of = |name: &str, more: &str| cluster_at(name, "http://127.0.0.1:1", more);
    let text = of("a", "") + &of("b", "") + &of("c", "state = 'draining'") + &of("d", "groups = ['etl']");
    let fleet = fleet(&text);
    assert_eq!(names(&fleet, "default", 6), "a a a b b b");
    assert_eq!(names(&fleet, "etl", 2), "d d");
    assert_eq!(names(&fleet, "none", 2), "");
    let tried = ["a".to_owned()];
    assert_eq!(fleet.place("default", &tried).expect("b").cluster(), "b");
    let error = fleet.place("etl", &["d".to_owned()]).expect_err("none is left");
    assert_eq!((error.kind(), error.may_have_run()), ("upstream_no_cluster", false));
    assert!(fleet.reports().iter().all(|report| report.queries == 0), "places that are dropped are free");
    // An operator's word.
    assert!(fleet.tell("x", Some(State::Draining)).is_none());
    let report = fleet.tell("a", Some(State::Draining)).expect("there is one");
    assert_eq!((report.state, report.configured), (State::Draining, Some(State::Active)));
    assert_eq!(names(&fleet, "default", 2), "b b");
    assert_eq!(fleet.place_at("a").expect("a transaction is open there").cluster(), "a");
    fleet.tell("a", Some(State::Inactive));
    assert!(fleet.place_at("a").is_none());
    assert!(fleet.cluster("a").is_some(), "its links go on to lead there");
    fleet.tell("c", Some(State::Active));
    assert_eq!(names(&fleet, "default", 2), "b c");
    fleet.tell("c", None);
    assert_eq!(fleet.tell("a", None).and_then(|report| report.configured), None);
    assert_eq!(names(&fleet, "default", 2), "a b");
}

#[tokio::test]
async fn one_that_fails_is_left_out_and_comes_back_after_a_trial() {
    let page = r#"{"id":"q","data":[["northgate"]],"stats":{}}"#;
    let fails = vec![Act::Close, Act::Close, Act::Close, ok(INFO), ok(INFO), ok(page)];
    let (bad, good) = (Stub::start(fails).await, Stub::start(vec![ok(INFO)]).await);
    let fleet = fleet(&(cluster_at("bad", &bad.url, "") + &cluster_at("good", &good.url, "")));
    for _ in 0..3 {
        let failed = submit(&fleet.cluster("bad").expect("there is one")).await;
        assert!(failed.expect_err("it closes").may_have_run());
    }
    assert_eq!(names(&fleet, "default", 3), "good good good");
    assert_eq!(fleet.reports()[0].health, "left out");
    // It answers checks: nobody's query is sent there for that.
    fleet.look("bad").await;
    assert_eq!(names(&fleet, "default", 3), "good good good");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(names(&fleet, "default", 3), "good good good", "not before its trial");
    fleet.look("bad").await;
    assert!(bad.asked().last().is_some_and(|asked| asked.ends_with("VALUES 'northgate'")));
    let report = fleet.reports().swap_remove(0);
    assert_eq!((report.health, report.ejections), ("coming back", 1));
    assert_eq!(
        names(&fleet, "default", 11),
        "bad good good good good good good good good good good",
        "a tenth"
    );
}

#[tokio::test]
async fn a_silent_one_is_left_out_at_once_and_one_that_is_starting_is_not_ready() {
    let (silent, starting) =
        (Stub::start(vec![Act::Hang]).await, Stub::start(vec![ok(&INFO.replace("false}", "true}"))]).await);
    let fleet = fleet(&(cluster_at("a", &silent.url, "") + &cluster_at("b", &starting.url, "")));
    assert!(submit(&fleet.cluster("a").expect("there is one")).await.expect_err("silence").may_have_run());
    assert_eq!(names(&fleet, "default", 2), "b b");
    assert!(!fleet.is_ready(), "nobody has looked");
    fleet.look("b").await;
    assert!(!fleet.is_ready());
    fleet.look("b").await;
    // It is all there is, and may have come up since.
    assert_eq!((names(&fleet, "default", 1).as_str(), fleet.reports()[1].health), ("b", "not answering"));
}

#[tokio::test]
async fn one_that_has_never_answered_is_not_usable() {
    let well = Stub::start(vec![ok(INFO)]).await;
    let fleet = fleet(&(cluster_at("a", "http://127.0.0.1:1", "") + &cluster_at("b", &well.url, "")));
    let told = || fleet.reports().iter().map(|report| (report.usable, report.health)).collect::<Vec<_>>();
    assert_eq!(told(), [(false, "not answering"); 2], "nobody has looked");
    for turn in 0..3 {
        fleet.look("a").await;
        fleet.look("b").await;
        assert_eq!(told(), [(false, "not answering"), (true, "well")], "{turn}");
    }
    fleet.tell("b", Some(State::Draining));
    assert_eq!(told()[1], (false, "well"));
}

#[tokio::test]
async fn what_is_reloaded() {
    let of = |name: &str, more: &str| cluster_at(name, "http://127.0.0.1:1", more);
    let fleet = fleet(&(of("a", "") + &of("b", "")));
    let place = fleet.place("default", &["b".to_owned()]).expect("a");
    let reload = |text: &str| fleet.reload(&section(text), RoutingConfig::default());
    let error =
        reload(&(of("a", "") + &cluster_at("b", "http://127.0.0.1:2", ""))).expect_err("another address");
    assert!(error.to_string().contains("cluster 'b': how it is reached has changed"), "{error}");
    reload(&of("a", "state = 'draining'")).expect_err("none is active");
    assert_eq!(names(&fleet, "default", 3), "a b b", "nothing has changed");
    reload(&(of("a", "state = 'draining'") + &of("c", ""))).expect("sound");
    assert_eq!(names(&fleet, "default", 2), "c c");
    assert!(fleet.cluster("b").is_some(), "what runs at one that is gone is still followed");
    let states: Vec<_> = fleet.reports().iter().map(|report| (report.name.clone(), report.state)).collect();
    let expect = [("a", State::Draining), ("c", State::Active), ("b", State::Draining)];
    assert_eq!(states, expect.map(|(name, state)| (name.to_owned(), state)));
    assert_eq!(fleet.reports()[0].queries, 1);
    drop(place);
    assert_eq!(fleet.reports()[0].queries, 0);
    reload(&(of("a", "") + &of("b", ""))).expect("back");
    assert_eq!(names(&fleet, "default", 2), "a b");
}
