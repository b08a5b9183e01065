//! Slots: limits, turns, and nothing lost when somebody goes away.

use futures_util::FutureExt;

use super::*;

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

fn now(ticket: &mut Ticket) -> Option<Slot> {
    ticket.slot().now_or_never()
}

/// Lets queries in one after the other, with one slot, and gives the order of their principals.
fn order(arrivals: &[&str]) -> String {
    let slots = slots(1, 1, 100, 100);
    let first = now(&mut slots.enter_as("first").expect("in")).expect("a slot");
    let mut tickets: Vec<(String, Ticket)> =
        arrivals.iter().map(|name| ((*name).to_owned(), slots.enter_as(name).expect("in"))).collect();
    let standings: Vec<usize> =
        tickets.iter().map(|(_, ticket)| ticket.standing().expect("it waits").ahead).collect();
    let mut run = Vec::new();
    let mut holder = Some(first);
    while !tickets.is_empty() {
        drop(holder.take());
        let granted: Vec<usize> =
            (0..tickets.len()).filter(|at| tickets[*at].1.standing().is_none()).collect();
        assert_eq!(granted.len(), 1, "one slot, one query");
        let (name, mut ticket) = tickets.remove(granted[0]);
        run.push(name);
        holder = now(&mut ticket);
        assert!(holder.is_some());
    }
    let mut foretold: Vec<(usize, &str)> = standings.into_iter().zip(arrivals.iter().copied()).collect();
    foretold.sort_by_key(|(ahead, _)| *ahead);
    let foretold: Vec<&str> = foretold.into_iter().map(|(_, name)| name).collect();
    assert_eq!(run, foretold, "the standings told the order");
    run.concat()
}

#[test]
fn principals_take_turns() {
    let check = |arrivals: &str, expect: &str| {
        let names: Vec<String> = arrivals.chars().map(String::from).collect();
        assert_eq!(order(&names.iter().map(String::as_str).collect::<Vec<_>>()), expect, "{arrivals}");
    };
    check("aaa", "aaa");
    check("aaabbb", "ababab");
    check("aaaab", "abaaa");
    check("abcabc", "abcabc");
    check("aabbbc", "abcabb");
}

#[test]
fn limits_hold_for_one_and_for_all() {
    let slots = slots(3, 2, 3, 2);
    let mut running: Vec<Slot> = Vec::new();
    for name in ["a", "a", "b"] {
        running.push(now(&mut slots.enter_as(name).expect("in")).expect("a slot"));
    }
    let mut a = slots.enter_as("a").expect("it waits");
    assert_eq!(a.standing(), Some(Standing { ahead: 0, whose: Whose::Principal }));
    let mut b = slots.enter_as("b").expect("it waits");
    assert_eq!(b.standing(), Some(Standing { ahead: 0, whose: Whose::All }));
    let second = slots.enter_as("a").expect("it waits");
    let full = |whose, limit| Some(AdmissionError::QueueFull { whose, limit });
    assert_eq!(slots.enter_as("a").err(), full(Whose::Principal, 2));
    assert_eq!(slots.enter_as("c").err(), full(Whose::All, 3));
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
fn a_principal_at_its_limit_holds_nobody_up() {
    let slots = slots(2, 1, 10, 10);
    let a = now(&mut slots.enter_as("a").expect("in")).expect("a slot");
    let mut waiting = slots.enter_as("a").expect("in");
    let b = now(&mut slots.enter_as("b").expect("in"));
    assert!(b.is_some(), "a's own queue is not b's");
    drop(a);
    assert!(now(&mut waiting).is_some());
}

#[test]
fn where_nobody_may_wait_a_free_slot_is_still_given() {
    let slots = slots(1, 1, 0, 0);
    let slot = now(&mut slots.enter_as("a").expect("in"));
    assert!(slot.is_some());
    assert!(slots.enter_as("a").is_err());
    drop(slot);
    assert!(slots.enter_as("b").is_ok());
}

#[test]
fn whoever_goes_away_leaves_nothing_behind() {
    let slots = slots(1, 1, 10, 10);
    let running = now(&mut slots.enter_as("a").expect("in")).expect("a slot");
    let gone = slots.enter_as("b").expect("in");
    let mut next = slots.enter_as("c").expect("in");
    // A wait that is given up keeps its place.
    assert!(now(&mut next).is_none());
    drop(gone);
    assert_eq!(next.standing().map(|s| s.ahead), Some(0));
    let never_asked = slots.enter_as("d").expect("in");
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
    let running = slots.enter_as("a").expect("in").slot().await;
    let mut ticket = slots.enter_as("b").expect("in");
    let wait = tokio::spawn(async move { ticket.slot().await.waited() });
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    drop(running);
    assert_eq!(wait.await.expect("no panic"), std::time::Duration::from_secs(7));
}

/// Many arrivals, ends and cancels in a fixed random order: the limits hold at every moment and nothing leaks.
#[test]
fn ten_thousand_random_moments() {
    let slots = slots(7, 3, 40, 15);
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut running: Vec<Slot> = Vec::new();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 1_000_003).expect("small") % below
    };
    for _ in 0..10_000 {
        match random(4) {
            0 | 1 => tickets.extend(slots.enter_as(["a", "b", "c", "d", "e"][random(5)])),
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
        for name in ["a", "b", "c", "d", "e"] {
            let own = running.iter().filter(|slot| slot.principal() == name).count();
            assert!(own <= 3);
        }
        // No slot is idle while somebody waits who may have it.
        let idle = running.len() < 7;
        assert!(!idle || tickets.iter().all(|t| t.standing().is_some_and(|s| s.whose == Whose::Principal)));
    }
    drop((tickets, running));
    assert_eq!(slots.load(), Load { running: 0, queued: 0 });
    assert!(format!("{slots:?}").contains("running: 0"));
}

#[test]
fn limits_that_let_nobody_in_are_refused() {
    let check = |change: fn(&mut Config)| {
        let mut limits = Config::default();
        change(&mut limits);
        assert!(matches!(Slots::new(&limits), Err(AdmissionError::Config(_))));
    };
    check(|c| c.running = 0);
    check(|c| c.running_per_principal = 0);
    check(|c| c.running_per_principal = c.running + 1);
    check(|c| c.queued_per_principal = c.queued + 1);
}
