//! The promises of the scheduler over a million arrivals, in simulated time, from a seed.
//!
//! `SIMULATED=N` takes another number of arrivals than a developer's run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use super::tests::{class, plan};
use super::*;

const SECOND: u64 = 1_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What a query of the simulation is.
struct Query {
    class: usize,
    came: u64,
    principal: String,
    groups: Vec<usize>,
}

/// Queries that end, in order of their times.
#[derive(Default)]
struct World {
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    queries: HashMap<u64, Query>,
    running: HashSet<u64>,
    waits: BTreeMap<usize, Vec<u64>>,
    slot_time: HashMap<String, u64>,
}

impl World {
    /// Lets in whoever may be, and notes when they end.
    fn fill(&mut self, scheduler: &mut Scheduler<()>, now: u64, lasts: &mut dyn FnMut(&Query) -> u64) {
        for (number, ()) in scheduler.fill(now) {
            let query = &self.queries[&number];
            let wait = now - query.came;
            self.waits.entry(query.class).or_default().push(wait);
            let time = lasts(query);
            *self.slot_time.entry(query.principal.clone()).or_default() += time;
            self.ends.push(Reverse((now + time, number)));
            self.running.insert(number);
        }
    }
}

fn arrivals() -> u64 {
    std::env::var("SIMULATED").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

fn percentile(values: &mut [u64], hundredths: usize) -> u64 {
    values.sort_unstable();
    values[values.len() * hundredths / 100]
}

fn jain(values: &[f64]) -> f64 {
    let (sum, squares): (f64, f64) =
        values.iter().fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    sum * sum / (f64::from(u32::try_from(values.len()).expect("few")) * squares)
}

/// Three classes, groups, cancels, abandoned ones: at every moment the limits hold, no slot is idle that somebody may have,
/// no class is passed over for long, and at the end nothing is left.
#[test]
fn limits_hold_at_every_moment_and_nothing_leaks() {
    let mut limits = plan(40, &[class(8, 20, 4), class(2, 0, 0), class(1, 0, 0)]);
    limits.running_per_principal = 9;
    limits.queued = 3_000;
    limits.queued_per_principal = 300;
    limits.ageing = 30 * SECOND;
    limits.classes[2].running = 12;
    limits.classes[2].running_per_principal = 3;
    limits.groups = vec![GroupPlan { running: 11, queued: 900 }, GroupPlan { running: 7, queued: 700 }];
    let mut scheduler = Scheduler::new(limits.clone());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut world = World::default();
    let (mut now, mut refused, mut waiting) = (0, 0_u64, Vec::new());
    for _ in 0..arrivals() {
        now += random.below(SECOND / 10);
        let mut lengths = Random(random.below(u64::MAX / 2) + 1);
        let mut lasts = |query: &Query| match query.class {
            0 => SECOND / 20 + lengths.below(SECOND / 2),
            _ => SECOND + lengths.below(9 * SECOND),
        };
        while let Some(Reverse((end, number))) =
            world.ends.peek().copied().filter(|Reverse((end, _))| *end <= now)
        {
            world.ends.pop();
            if world.running.remove(&number) {
                assert!(scheduler.leave(end, number));
                world.fill(&mut scheduler, end, &mut lasts);
            }
        }
        let user = random.below(60);
        let groups: Vec<usize> =
            (0..2).filter(|group| user.is_multiple_of(3 + u64::from(*group == 1))).collect();
        let class = [0, 0, 0, 1, 2, 2][usize::try_from(random.below(6)).expect("small")];
        let query = Query { class, came: now, principal: format!("u{user}"), groups };
        let arrival = Arrival { class, principal: &query.principal, groups: &query.groups };
        match scheduler.enter(now, &arrival, ()) {
            Ok(number) => {
                world.queries.insert(number, query);
                waiting.push(number);
            }
            Err(_) => refused += 1,
        }
        world.fill(&mut scheduler, now, &mut lasts);
        // Somebody cancels while they wait; twice is once.
        if random.below(20) == 0 && !waiting.is_empty() {
            let at = usize::try_from(random.below(waiting.len() as u64)).expect("small");
            let number = waiting.swap_remove(at);
            if scheduler.is_waiting(number) {
                assert!(scheduler.leave(now, number) && !scheduler.leave(now, number));
                world.fill(&mut scheduler, now, &mut lasts);
            }
        }
        check(&mut scheduler, &limits, &world, now);
    }
    assert!(refused > 0, "the queues were never full");
    // Everybody ends.
    while let Some(Reverse((end, number))) = world.ends.pop() {
        now = now.max(end);
        scheduler.leave(now, number);
        world.running.remove(&number);
        world.fill(&mut scheduler, now, &mut |_| SECOND);
    }
    assert_eq!(scheduler.load(), (0, 0));
    assert!(scheduler.principals.is_empty() && scheduler.entries.is_empty());
    for (at, class) in scheduler.classes.iter().enumerate() {
        assert!(
            class.running + class.queued == 0 && class.ready.is_empty() && class.oldest.is_empty(),
            "{at}"
        );
    }
    for group in &scheduler.groups {
        assert!(group.running + group.queued == 0 && group.ready.iter().sum::<usize>() == 0);
        assert!(group.parked.iter().all(BTreeMap::is_empty));
    }
}

fn check(scheduler: &mut Scheduler<()>, limits: &Plan, world: &World, now: u64) {
    let (running, queued) = scheduler.load();
    assert!(running <= limits.running && queued <= limits.queued);
    assert_eq!(running, world.running.len());
    let mut principals: HashMap<&str, usize> = HashMap::new();
    let mut groups = vec![0; limits.groups.len()];
    let mut classes = vec![0; limits.classes.len()];
    for number in &world.running {
        let query = &world.queries[number];
        *principals.entry(&query.principal).or_default() += 1;
        query.groups.iter().for_each(|group| groups[*group] += 1);
        classes[query.class] += 1;
    }
    assert!(principals.values().all(|running| *running <= limits.running_per_principal));
    assert!(groups.iter().zip(&limits.groups).all(|(running, plan)| *running <= plan.running), "{groups:?}");
    assert!(
        classes.iter().zip(&limits.classes).all(|(running, plan)| *running <= plan.running),
        "{classes:?}"
    );
    assert_eq!(scheduler.next(now), None, "a slot is idle that somebody may have");
    // Who waits does so for a reason, found without the scheduler's own books.
    let kept = limits.classes[0].reserved.saturating_sub(classes[0]);
    let free = limits.running - running;
    for principal in scheduler.principals.iter().filter(|(_, principal)| principal.queued > 0) {
        let (name, found) = principal;
        for (class, flow) in found.flows.iter().enumerate().filter(|(_, flow)| !flow.queue.is_empty()) {
            let blocked = free <= (if class == 0 { 0 } else { kept })
                || classes[class] >= limits.classes[class].running
                || principals.get(&**name).copied().unwrap_or(0) >= limits.running_per_principal
                || flow.running as usize >= limits.classes[class].running_per_principal
                || found.groups.iter().any(|group| groups[*group] >= limits.groups[*group].running);
            assert!(blocked, "{name} waits in class {class} for nothing");
        }
    }
}

/// Batch fills every slot with queries of five seconds; somebody interactive waits for less than a second, and batch has
/// what they leave.
#[test]
fn interactive_waits_briefly_while_batch_saturates() {
    let mut limits = plan(20, &[class(8, 10, 2), class(1, 0, 0)]);
    limits.running_per_principal = 20;
    let mut scheduler = Scheduler::new(limits);
    let mut random = Random(7);
    let mut world = World::default();
    let mut lengths = Random(11);
    let mut lasts =
        |query: &Query| if query.class == 0 { SECOND / 5 } else { 4 * SECOND + lengths.below(2 * SECOND) };
    let mut now = 0;
    for turn in 0..arrivals() / 10 {
        now += random.below(SECOND);
        while let Some(Reverse((end, number))) =
            world.ends.peek().copied().filter(|Reverse((end, _))| *end <= now)
        {
            world.ends.pop();
            world.running.remove(&number);
            scheduler.leave(end, number);
            world.fill(&mut scheduler, end, &mut lasts);
        }
        // As much batch as there is room for, and one that is interactive.
        for class in [1, 1, 1, 1, 1, 1, 0] {
            let principal = format!("{class}-{}", turn % 7);
            if let Ok(number) =
                scheduler.enter(now, &Arrival { class, principal: &principal, groups: &[] }, ())
            {
                world.queries.insert(number, Query { class, came: now, principal, groups: Vec::new() });
            }
        }
        world.fill(&mut scheduler, now, &mut lasts);
    }
    let waits = world.waits.get_mut(&0).expect("some");
    let p95 = percentile(waits, 95);
    assert!(p95 < SECOND, "{p95}");
    // Of the eighteen slots that batch may have it has nine tenths, with queries of five seconds.
    let batch = world.waits.get(&1).map_or(0, |waits| waits.len() as u64);
    assert!(batch * 5 * SECOND > now * 18 * 9 / 10, "batch ran {batch} times in {now} us");
}

/// Interactive never stops; batch is let in all the same, within the bound: while it has waited beyond the ageing, at most
/// one other is let in between two of its own, for each class.
#[test]
fn batch_never_starves() {
    let mut limits = plan(4, &[class(1000, 4, 0), class(1, 0, 0)]);
    limits.ageing = 10 * SECOND;
    let mut scheduler = Scheduler::new(limits);
    let mut random = Random(3);
    let (mut now, mut held, mut longest, mut last) = (0, Vec::new(), 0, 0);
    for turn in 0..arrivals() / 20 {
        for class in [0, 0, 1] {
            let principal = format!("{class}-{}", turn % 5);
            let _ = scheduler.enter(now, &Arrival { class, principal: &principal, groups: &[] }, ());
        }
        now += SECOND / 4;
        if held.len() == 4 {
            let number = held.swap_remove(usize::try_from(random.below(4)).expect("small"));
            scheduler.leave(now, number);
        }
        for (number, ()) in scheduler.fill(now) {
            if scheduler.whose(number).expect("it runs").1 == 1 {
                longest = longest.max(now - last);
                last = now;
            }
            held.push(number);
        }
    }
    assert!(longest <= 10 * SECOND + 2 * SECOND / 4, "{longest}");
    assert!(last > 0);
}

/// Ten users of one class who each want more than there is, one of them a hundred times as much, with queries of lengths
/// of their own: they get equal shares of slot time.
#[test]
fn users_of_a_class_share_equally() {
    let mut limits = plan(10, &[class(1, 0, 0)]);
    limits.queued = 100_000;
    limits.queued_per_principal = 10_000;
    let mut scheduler = Scheduler::new(limits);
    let mut world = World::default();
    let mut lengths = Random(5);
    let mut lasts = |query: &Query| {
        let base = if query.principal.ends_with('3') { 4 } else { 2 };
        base * SECOND / 2 + lengths.below(SECOND)
    };
    let mut now = 0;
    let enter = |world: &mut World, scheduler: &mut Scheduler<()>, now, user: u64| {
        let query = Query { class: 0, came: now, principal: format!("u{user}"), groups: Vec::new() };
        let arrival = Arrival { class: 0, principal: &query.principal, groups: &[] };
        if let Ok(number) = scheduler.enter(now, &arrival, ()) {
            world.queries.insert(number, query);
        }
    };
    // The flood is there first.
    for _ in 0..5_000 {
        enter(&mut world, &mut scheduler, now, 0);
    }
    for _ in 0..arrivals() / 20 {
        for user in 0..10 {
            let has = scheduler.principals.get(format!("u{user}").as_str()).map_or(0, |found| found.queued);
            if has < 3 {
                enter(&mut world, &mut scheduler, now, user);
            }
        }
        world.fill(&mut scheduler, now, &mut lasts);
        if let Some(Reverse((end, number))) = world.ends.pop() {
            now = end;
            world.running.remove(&number);
            scheduler.leave(now, number);
        }
    }
    let shares: Vec<f64> = (0..10).map(|user| world.slot_time[&format!("u{user}")] as f64).collect();
    let index = jain(&shares);
    assert!(index >= 0.95, "{index}: {shares:?}");
}
