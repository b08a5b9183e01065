//! Whom the scheduler lets in, case by case. The promises over a million arrivals are in `simulation`.

use super::*;

pub(super) fn class(weight: u32, guaranteed: usize, reserved: usize) -> ClassPlan {
    ClassPlan {
        weight,
        guaranteed,
        reserved,
        running: usize::MAX,
        running_per_principal: usize::MAX,
        queued: usize::MAX,
    }
}

pub(super) fn plan(running: usize, classes: &[ClassPlan]) -> Plan {
    Plan {
        running,
        running_per_principal: running,
        queued: 1_000,
        queued_per_principal: 1_000,
        replicas: 1,
        ageing: 60_000_000,
        classes: classes.to_vec(),
        groups: Vec::new(),
    }
}

fn arrive(scheduler: &mut Scheduler<()>, class: usize, principal: &str, groups: &[usize]) -> u64 {
    scheduler.enter(0, &Arrival { class, principal, groups }, ()).expect("room")
}

/// Lets queries in one after the other, with one slot, and gives the order of their principals; standings foretell it.
fn order(arrivals: &str) -> String {
    let mut scheduler = Scheduler::new(plan(1, &[class(1, 0, 0)]));
    let mut running = arrive(&mut scheduler, 0, "first", &[]);
    assert_eq!(scheduler.fill(0).len(), 1);
    let waiting: Vec<(u64, String)> = arrivals
        .chars()
        .map(|name| (arrive(&mut scheduler, 0, &name.to_string(), &[]), name.into()))
        .collect();
    let standings: Vec<usize> =
        waiting.iter().map(|(number, _)| scheduler.standing(0, *number).expect("it waits").ahead).collect();
    let mut run = String::new();
    for turn in 0..waiting.len() {
        scheduler.leave(0, running);
        let granted = scheduler.fill(0);
        assert_eq!(granted.len(), 1, "one slot, one query");
        running = granted[0].0;
        let at = waiting.iter().position(|(number, _)| *number == running).expect("one of them");
        let first = arrivals[..at].find(&waiting[at].1).is_none();
        assert!(standings[at] >= turn && (!first || standings[at] == turn), "{arrivals} {at}: {standings:?}");
        run.push_str(&waiting[at].1);
    }
    run
}

#[test]
fn principals_take_turns() {
    let check = |arrivals: &str, expect: &str| assert_eq!(order(arrivals), expect, "{arrivals}");
    check("aaa", "aaa");
    check("aaabbb", "ababab");
    check("aaaab", "abaaa");
    check("abcabc", "abcabc");
    check("aabbbc", "abcabb");
}

#[test]
fn a_principals_thousandth_is_behind_everybodys_first() {
    let mut scheduler = Scheduler::new(plan(10, &[class(1, 0, 0)]));
    for _ in 0..1_000 {
        arrive(&mut scheduler, 0, "flood", &[]);
    }
    let flood: Vec<u64> = scheduler.fill(0).into_iter().map(|(number, ())| number).collect();
    assert_eq!(flood.len(), 10);
    let late = arrive(&mut scheduler, 0, "late", &[]);
    assert_eq!(scheduler.standing(0, late), Some(Standing { ahead: 0, reason: Reason::All }));
    scheduler.leave(0, flood[0]);
    assert_eq!(scheduler.fill(0), [(late, ())]);
}

#[test]
fn what_is_guaranteed_comes_first_and_what_is_reserved_is_kept() {
    let mut scheduler = Scheduler::new(plan(10, &[class(4, 4, 2), class(1, 0, 0)]));
    let batch: Vec<u64> = (0..20).map(|_| arrive(&mut scheduler, 1, "etl", &[])).collect();
    assert_eq!(scheduler.fill(0).len(), 8, "two are kept for the other class");
    for name in ["a", "b", "c"] {
        arrive(&mut scheduler, 0, name, &[]);
    }
    assert_eq!(scheduler.fill(0).len(), 2);
    // A slot that batch has borrowed goes back to the class that is guaranteed it.
    scheduler.leave(0, batch[0]);
    let granted = scheduler.fill(0);
    assert_eq!(scheduler.whose(granted[0].0).map(|(name, class)| (name.as_ref(), class)), Some(("c", 0)));
    // It borrows in turn what batch does not use.
    for number in batch {
        scheduler.leave(0, number);
    }
    for _ in 0..20 {
        arrive(&mut scheduler, 0, "a", &[]);
    }
    scheduler.fill(0);
    assert_eq!(scheduler.class_load(0).0, 10);
}

#[test]
fn a_class_that_has_waited_too_long_is_next_each_second_time() {
    let mut scheduler = Scheduler::new(plan(1, &[class(1000, 1, 0), class(1, 0, 0)]));
    let mut running = arrive(&mut scheduler, 0, "a", &[]);
    scheduler.fill(0);
    for _ in 0..100 {
        arrive(&mut scheduler, 0, "a", &[]);
        arrive(&mut scheduler, 1, "etl", &[]);
    }
    let mut classes = Vec::new();
    for second in 0..80_u64 {
        let now = second * 1_000_000;
        scheduler.leave(now, running);
        let granted = scheduler.fill(now);
        running = granted[0].0;
        classes.push(scheduler.whose(running).expect("it runs").1);
    }
    assert_eq!(classes.iter().position(|class| *class == 1), Some(60), "{classes:?}");
    assert_eq!(classes[60..].iter().filter(|class| **class == 1).count(), 1, "{classes:?}");
}

#[test]
fn limits_of_groups_hold_across_principals_and_hold_up_nobody_else() {
    let mut limits = plan(10, &[class(1, 0, 0), class(1, 0, 0)]);
    limits.groups = vec![GroupPlan { running: 2, queued: 4 }];
    let mut scheduler = Scheduler::new(limits);
    let members: Vec<u64> =
        ["a", "b", "c", "d"].into_iter().map(|name| arrive(&mut scheduler, 0, name, &[0])).collect();
    let other = arrive(&mut scheduler, 0, "z", &[]);
    let granted: Vec<u64> = scheduler.fill(0).into_iter().map(|(number, ())| number).collect();
    assert_eq!(granted, [members[0], members[1], other]);
    assert_eq!(scheduler.standing(0, members[2]).map(|standing| standing.reason), Some(Reason::Group(0)));
    // In another class there is no more room either; one of the group that ends lets one in, whichever class has it.
    let elsewhere = arrive(&mut scheduler, 1, "e", &[0]);
    assert!(scheduler.fill(0).is_empty());
    scheduler.leave(0, members[2]);
    scheduler.leave(0, members[3]);
    scheduler.leave(0, members[0]);
    assert_eq!(scheduler.fill(0), [(elsewhere, ())]);
    for name in ["f", "g", "h", "i"] {
        arrive(&mut scheduler, 0, name, &[0]);
    }
    let full = scheduler.enter(0, &Arrival { class: 0, principal: "j", groups: &[0] }, ());
    assert_eq!(full, Err(Full { whose: Whose::Group, place: 0, limit: 4 }));
    assert!(scheduler.enter(0, &Arrival { class: 0, principal: "z", groups: &[] }, ()).is_ok());
}

#[test]
fn queues_are_bounded_and_a_free_slot_is_given_though_nobody_may_wait() {
    let mut limits = plan(1, &[class(1, 0, 0)]);
    (limits.queued, limits.queued_per_principal) = (0, 0);
    let mut scheduler = Scheduler::new(limits);
    let arrival = Arrival { class: 0, principal: "a", groups: &[] };
    let first = scheduler.enter(0, &arrival, ()).expect("a slot is free");
    scheduler.fill(0);
    assert!(scheduler.enter(0, &arrival, ()).is_err());
    assert_eq!(scheduler.load(), (1, 0));
    scheduler.leave(0, first);
    assert!(scheduler.enter(0, &arrival, ()).is_ok());
}

#[test]
fn what_others_run_counts_and_what_is_divided_is_a_part() {
    let mut scheduler = Scheduler::new(plan(4, &[class(1, 0, 0)]));
    for name in ["a", "b", "c", "d", "e"] {
        arrive(&mut scheduler, 0, name, &[]);
    }
    scheduler.learn(0, Elsewhere { running: 2, classes: vec![2], groups: Vec::new() });
    scheduler.learn_of("a", 4);
    let granted: Vec<_> = scheduler.fill(0).into_iter().map(|(number, ())| number).collect();
    assert_eq!(granted, [2, 3], "a has all that it may have elsewhere");
    // Alone with a half, with two running: nothing more.
    scheduler.divide(2);
    assert!(scheduler.fill(0).is_empty());
    scheduler.leave(0, 2);
    assert_eq!(scheduler.fill(0), [(1, ())], "what others run is not known");
    scheduler.divide(1);
    assert_eq!(scheduler.fill(0).len(), 2);
}

#[test]
fn a_clock_that_jumps_decides_nothing() {
    let mut limits = plan(1, &[class(1, 0, 0), class(1, 0, 0)]);
    limits.ageing = u64::MAX;
    let mut scheduler = Scheduler::new(limits);
    let first =
        scheduler.enter(5_000_000, &Arrival { class: 0, principal: "a", groups: &[] }, ()).expect("in");
    scheduler.fill(5_000_000);
    arrive(&mut scheduler, 0, "a", &[]);
    let batch = arrive(&mut scheduler, 1, "b", &[]);
    assert!(scheduler.leave(3_000_000, first), "it went back");
    let granted = scheduler.fill(u64::MAX);
    assert_eq!(granted, [(batch, ())], "the first class has had more");
    assert_eq!(scheduler.fill(0).len(), 0);
    // It goes on from there.
    arrive(&mut scheduler, 1, "b", &[]);
    scheduler.leave(90_000_000, batch);
    let granted = scheduler.fill(90_000_000);
    assert_eq!(scheduler.whose(granted[0].0).map(|(_, class)| class), Some(0), "now the second has");
}
