//! Guards that give back what they hold, classes, and limits that cannot be meant. Who is next: `scheduler::tests`.

use futures_util::FutureExt;

use super::*;
use crate::identity::{Method, Principal};
use crate::telemetry::StatementKind;
use crate::wire::Estimate;

/// Numbers below a bound, the same each time.
pub(super) fn random() -> impl FnMut(usize) -> usize {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 1_000_003).expect("small") % below
    }
}

fn slots(running: usize, own: usize, queued: usize, own_queued: usize) -> Slots {
    let limits = Config {
        running,
        running_per_principal: own,
        queued,
        queued_per_principal: own_queued,
        ..Config::default()
    };
    Slots::new(&limits).expect("sound limits")
}

fn enter(slots: &Slots, name: &str) -> Result<Ticket, AdmissionError> {
    slots.enter_as(name, &[], 0)
}

fn now(ticket: &mut Ticket) -> Option<Slot> {
    ticket.slot().now_or_never()
}

#[test]
fn limits_hold_for_one_and_for_all() {
    let slots = slots(3, 2, 3, 2);
    let mut running: Vec<Slot> = Vec::new();
    for name in ["a", "a", "b"] {
        running.push(now(&mut enter(&slots, name).expect("in")).expect("a slot"));
    }
    let mut a = enter(&slots, "a").expect("it waits");
    assert_eq!(a.standing().map(|standing| standing.reason), Some(Reason::Principal));
    let mut b = enter(&slots, "b").expect("it waits");
    assert_eq!(b.standing(), Some(Standing { ahead: 0, reason: Reason::Class }));
    let second = enter(&slots, "a").expect("it waits");
    let full = |whose, limit| Some(AdmissionError::QueueFull { whose, name: "".into(), limit });
    assert_eq!(enter(&slots, "a").err(), full(Whose::Principal, 2));
    let of_class = AdmissionError::QueueFull { whose: Whose::Class, name: "interactive".into(), limit: 3 };
    assert_eq!(enter(&slots, "c").err(), Some(of_class));
    assert_eq!(slots.load(), Load { running: 3, queued: 3 });
    // One of b ends: it goes to b, since a has two running.
    running.pop();
    assert!(now(&mut a).is_none());
    let b = now(&mut b).expect("a slot");
    // One of a ends: it goes to a.
    running.pop();
    let a = now(&mut a).expect("a slot");
    assert_eq!(slots.load(), Load { running: 3, queued: 1 });
    drop((a, b, running));
    drop(second);
    assert_eq!(slots.load(), Load { running: 0, queued: 0 });
}

#[test]
fn whoever_goes_away_leaves_nothing_behind() {
    let slots = slots(1, 1, 10, 10);
    let running = now(&mut enter(&slots, "a").expect("in")).expect("a slot");
    let gone = enter(&slots, "b").expect("in");
    let mut next = enter(&slots, "c").expect("in");
    // A wait that is given up keeps its place.
    assert!(now(&mut next).is_none());
    drop(gone);
    assert_eq!(next.standing().map(|s| s.ahead), Some(0));
    let never_asked = enter(&slots, "d").expect("in");
    drop(running);
    // c is granted and has not looked yet; gone, its slot is d's.
    assert_eq!(next.standing(), None);
    drop(next);
    assert_eq!(never_asked.standing(), None);
    assert_eq!(slots.load(), Load { running: 1, queued: 0 });
    drop(never_asked);
    assert_eq!(slots.load(), Load { running: 0, queued: 0 });
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_measured_and_ends_with_the_slot_before() {
    let slots = slots(1, 1, 10, 10);
    let running = enter(&slots, "a").expect("in").slot().await;
    let mut ticket = enter(&slots, "b").expect("in");
    let wait = tokio::spawn(async move { ticket.slot().await.waited() });
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    drop(running);
    assert_eq!(wait.await.expect("no panic"), std::time::Duration::from_secs(7));
}

/// Many arrivals, ends and cancels in a fixed random order: the guards lose nothing, whatever is dropped when.
#[test]
fn ten_thousand_random_moments() {
    let slots = slots(7, 3, 40, 15);
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut running: Vec<Slot> = Vec::new();
    let mut random = random();
    for _ in 0..10_000 {
        match random(4) {
            0 | 1 => tickets.extend(slots.enter_as(["a", "b", "c", "d", "e"][random(5)], &[], random(2))),
            2 if !running.is_empty() => drop(running.swap_remove(random(running.len()))),
            3 if !tickets.is_empty() && random(3) == 0 => drop(tickets.swap_remove(random(tickets.len()))),
            _ => {}
        }
        let mut still = Vec::new();
        for mut ticket in tickets {
            match now(&mut ticket) {
                Some(slot) => running.push(slot),
                None => still.push(ticket),
            }
        }
        tickets = still;
        assert_eq!(slots.load(), Load { running: running.len(), queued: tickets.len() });
        assert!(running.len() <= 7 && tickets.len() <= 40);
    }
    drop((tickets, running));
    assert_eq!(slots.load(), Load { running: 0, queued: 0 });
    assert!(format!("{slots:?}").contains("running: 0"));
}

fn read(text: &str) -> Result<Slots, AdmissionError> {
    Slots::new(&toml::from_str(text).expect("a section"))
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let check = |text: &str, expect: &str| match read(text) {
        Err(AdmissionError::Config(why)) => assert!(why.contains(expect), "{text}: {why}"),
        other => panic!("{text}: {other:?}"),
    };
    check("running = 0", "at least 1");
    check("running_per_principal = 0", "at least 1");
    check("running = 2000000", "at most 1000000");
    check("running = 5", "running_per_principal must not be above running");
    check("queued = 5", "queued_per_principal must not be above queued");
    check("ageing = \"10m\"", "ageing: from 1s to 1m");
    check("lease = \"0s\"", "lease: from 1s");
    check("replicas = 5\nrunning = 4\nrunning_per_principal = 4", "at least replicas");
    check("default_class = \"none\"", "there is no class 'none'; there are interactive, batch");
    check("time_zone = \"Mars/Base\"", "there is no 'Mars/Base'");
    let class = |text: &str| format!("[[class]]\nname = \"etl\"\n{text}");
    check("[[class]]\nname = \"E T L\"", "small letters, digits and hyphens");
    check(&format!("{}\n{}", class(""), class("")), "class 'etl': is there twice");
    check(&class("weight = 0"), "weight: from 1 to 1000");
    check(&class("weight = 4000000000"), "weight: from 1 to 1000");
    check(&class("running = 0"), "its queries never run");
    check(&class("running = 201"), "is above admission.running, 200");
    check(&class("running = 5\nguaranteed = 6"), "guaranteed: is above the 5 that it may run");
    check(&class("guaranteed = 5\nreserved = 6"), "reserved: is above guaranteed");
    check(
        &class("guaranteed = 200\nreserved = 200"),
        "class 'interactive': all slots are reserved for others",
    );
    let two = "[[class]]\nname = \"a\"\nguaranteed = 150\n[[class]]\nname = \"b\"\nguaranteed = 51";
    check(two, "more is guaranteed than the 200");
    check(
        &class("session_properties = { join_reordering_strategy = \"NONE\" }"),
        "may not be set; there are",
    );
    // It tells of rows that filters hide.
    check(
        &class("session_properties = { query_max_scan_physical_bytes = \"1GB\" }"),
        "may not be set; there are",
    );
    check(&class("client_tag = \"a,b\""), "cannot be sent to Trino");
    let rule = |text: &str| format!("[[rule]]\nclass = \"batch\"\n{text}");
    check("[[rule]]\nclass = \"btach\"", "rule 1: there is no class 'btach'");
    check(&rule("users = []"), "rule 1: users: matches nothing");
    check(&rule("sources = [\"\"]"), "rule 1: sources: matches nothing");
    check(&rule("hours = \"09:00-09:00\""), "rule 1: hours: '09:00-09:00' matches nothing");
    check(&rule("hours = \"9 to 5\""), "is not of the form 22:00-06:00");
    check(&rule("kinds = [\"selects\"]"), "there is no 'selects'; there are query, show");
    check(&rule("kinds = [\"execute\"]"), "what EXECUTE runs is of that statement's kind");
    check(&format!("{}\n{}", rule(""), rule("users = [\"a\"]")), "rule 1: matches everything");
    let claimed = "[[rule]]\nclass = \"interactive\"\nsources = [\"tableau*\"]";
    let claimed = &format!("default_class = \"batch\"\n{claimed}");
    check(claimed, "never counts: sources and tags are what clients say of themselves");
    assert!(read(&format!("{claimed}\ntrust_client = true")).is_ok());
    check("[[group]]\nname = \"a\"\nrunning = 0", "its members never run");
    check("[[group]]\nname = \"a\"\n[[group]]\nname = \"a\"", "there twice");
    assert!(toml::from_str::<Config>("replicas = 0").is_err());
}

#[test]
fn classes_by_rules() {
    let text = "
        [[class]]
        name = 'board'
        weight = 100
        [[rule]]
        class = 'batch'
        groups = ['jobs']
        [[rule]]
        class = 'board'
        users = ['ceo*']
        [[rule]]
        class = 'board'
        tags = ['board']
        groups = ['chiefs']
        trust_client = true
        [[rule]]
        class = 'interactive'
        sources = ['tableau*']
        [[rule]]
        class = 'batch'
        kinds = ['write']
        hours = '22:00-06:00'
    ";
    let slots = read(text).expect("sound");
    let check =
        |who: &str, group: &str, (source, tag): (&str, &str), kind, time: &str, expect: (&str, &str)| {
            let principal = Principal::new(who, Method::Password).with_groups([group]);
            let tags = [tag.to_owned()];
            let now = format!("2026-11-30T{time}:00Z").parse().expect("a time");
            let facts =
                Facts { principal: &principal, source: Some(source), tags: &tags, kind, now, estimate: None };
            let class = slots.classes().classify(&facts);
            let at = format!("{who} {group} {source} {tag} {time}: {class:?}");
            assert!(&*class.name == expect.0 && class.rule.contains(expect.1), "{at}");
        };
    let query = StatementKind::Query;
    check("ann", "eu", ("", ""), query, "12:00", ("interactive", "no rule"));
    check("ann", "eu", ("Apache Airflow", ""), query, "12:00", ("batch", "Northgate's own"));
    check("ann", "eu", ("dbt-trino-1.9", ""), query, "12:00", ("batch", "Northgate's own"));
    check("etl", "jobs", ("", ""), query, "12:00", ("batch", "rule 1"));
    // What a client says moves nobody up.
    check("etl", "jobs", ("Tableau", ""), query, "12:00", ("batch", "rule 1"));
    check("ceo-1", "eu", ("", ""), query, "12:00", ("board", "rule 2"));
    check("ann", "eu", ("", "board"), query, "12:00", ("interactive", "no rule"));
    check("ann", "chiefs", ("", "Board"), query, "12:00", ("board", "rule 3"));
    check("ceo-1", "eu", ("spark", ""), query, "12:00", ("board", "rule 2"));
    check("ann", "eu", ("Tableau Desktop", ""), query, "12:00", ("interactive", "rule 4"));
    check("ann", "eu", ("", ""), StatementKind::Write, "21:59", ("interactive", "no rule"));
    check("ann", "eu", ("", ""), StatementKind::Write, "22:00", ("batch", "rule 5"));
    check("ann", "eu", ("", ""), StatementKind::Write, "05:59", ("batch", "rule 5"));
    check("ann", "eu", ("", ""), StatementKind::Write, "06:00", ("interactive", "no rule"));
}

#[test]
fn what_is_expected_to_read_much_is_of_the_class_for_it() {
    let text = "
        [[class]]
        name = 'huge'
        [[rule]]
        class = 'huge'
        scanned_above = '10GB'
        rows_above = 1000
        [[rule]]
        class = 'batch'
        rows_above = 0
        groups = ['eu']
        kinds = ['query']
    ";
    let slots = read(text).expect("sound: the first does not match everything");
    let of = |group: &str, kind, figures: Option<(Option<f64>, Option<f64>)>| {
        let principal = Principal::new("ann", Method::Password).with_groups([group]);
        let (now, tags) = (jiff::Timestamp::UNIX_EPOCH, &[]);
        let estimate = figures.map(|(bytes, rows)| Estimate { bytes, rows });
        let facts = Facts { principal: &principal, source: None, tags, kind, now, estimate };
        (slots.classes().classify(&facts).name.to_string(), slots.classes().wants_estimate(&facts))
    };
    let check = |group, figures, expect: &str| {
        assert_eq!(
            of(group, StatementKind::Query, figures),
            (expect.to_owned(), true),
            "{group} {figures:?}"
        );
    };
    check("us", Some((Some(10e9), Some(1e9))), "interactive");
    check("us", Some((Some(10e9 + 1.0), Some(1e9))), "huge");
    check("us", Some((Some(10e9 + 1.0), Some(1e3))), "interactive");
    // What is not known is not above anything.
    check("us", Some((Some(11e9), None)), "interactive");
    check("eu", None, "interactive");
    check("eu", Some((None, Some(1.0))), "batch");
    check("eu", Some((Some(11e9), Some(1e9))), "huge");
    let one = read("[[rule]]\nclass = 'batch'\nrows_above = 9\nusers = ['bob']").expect("sound");
    let principal = Principal::new("ann", Method::Password);
    let (now, kind) = (jiff::Timestamp::UNIX_EPOCH, StatementKind::Query);
    let facts = Facts { principal: &principal, source: None, tags: &[], kind, now, estimate: None };
    assert!(!one.classes().wants_estimate(&facts), "nothing is asked where it decides nothing");
}

#[test]
fn a_claim_moves_nobody_up_who_is_batch_by_identity() {
    let text = "
        default_class = 'batch'
        [[rule]]
        class = 'interactive'
        sources = ['tableau*']
        groups = ['eu']
        [[rule]]
        class = 'interactive'
        groups = ['people']
    ";
    let slots = read(text).expect("sound: people may be of either");
    let principal = Principal::new("job", Method::Password).with_groups(["eu"]);
    let facts = Facts {
        principal: &principal,
        source: Some("tableau"),
        tags: &[],
        kind: StatementKind::Query,
        now: jiff::Timestamp::UNIX_EPOCH,
        estimate: None,
    };
    assert_eq!(&*slots.classes().classify(&facts).name, "batch");
}

#[test]
fn a_claim_lifts_no_limit() {
    let class_of = |text: &str| {
        let slots = read(text).expect("sound");
        let principal = Principal::new("ann", Method::Password);
        let facts = Facts {
            principal: &principal,
            source: Some("airflow"),
            tags: &[],
            kind: StatementKind::Query,
            now: jiff::Timestamp::UNIX_EPOCH,
            estimate: None,
        };
        slots.classes().classify(&facts).name.to_string()
    };
    let people = |limit: &str| format!("[[class]]\nname = \"interactive\"\n{limit}");
    let jobs = |limit: &str| format!("[[class]]\nname = \"batch\"\n{limit}\n");
    for limit in [
        "running = 50",
        "running_per_principal = 5",
        "queued = 10",
        "session_properties = { query_max_run_time = \"5m\" }",
    ] {
        // A class of Northgate's own has the limits of the default; one that says nothing of them has none.
        assert_eq!(class_of(&people(limit)), "batch", "{limit}");
        assert_eq!(class_of(&format!("{}{}", jobs("weight = 2"), people(limit))), "interactive", "{limit}");
        assert_eq!(class_of(&format!("{}{}", jobs(limit), people(limit))), "batch", "{limit}");
    }
}
