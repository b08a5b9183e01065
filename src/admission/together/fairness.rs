//! Who is next of those who wait at several gateways, on a real Redis, turn by turn: nothing depends on when a task runs.
//! Not run without being asked for, as `tests`.

use super::tests::{Gateway, granted, slots, together};
use super::*;
use crate::admission::{Slot, Ticket};
use crate::state::tests::Server;

/// Between two who wait, so that it is seen which came first: when somebody came is told in milliseconds, and is off by as much
/// as a busy machine takes between two steps.
pub(super) const LATER: Duration = Duration::from_millis(500);

/// Two gateways whose turns are taken by hand.
pub(super) struct World {
    pub(super) gateways: [Together; 2],
    waiting: Vec<(usize, String, Ticket)>,
    pub(super) running: Vec<(usize, String, Slot)>,
    _server: Server,
}

impl World {
    pub(super) async fn new(text: &str) -> Self {
        Self::of([text; 2]).await
    }

    /// Each with a configuration of its own.
    pub(super) async fn of(texts: [&str; 2]) -> Self {
        let server = Server::start("redis", false);
        // Redis is there when two that run by themselves have found each other.
        let (one, two) = (Gateway::start(&server, texts[0]), Gateway::start(&server, texts[1]));
        together(&[&one, &two]).await;
        one.task.abort();
        two.task.abort();
        let mut gateways = texts.map(|text| {
            let (slots, scripts) = slots(&server, text);
            Together::new(slots, scripts, Duration::from_mins(5)).expect("random")
        });
        for gateway in &mut gateways {
            gateway.found = Instant::now().checked_sub(GRACE);
            // However slow this machine is.
            gateway.fresh = Duration::from_mins(5);
            let _ = gateway.turn().await.expect("Redis");
        }
        Self { gateways, waiting: Vec::new(), running: Vec::new(), _server: server }
    }

    pub(super) fn enter(&mut self, at: usize, name: &str, class: usize, groups: &[usize]) {
        let ticket = self.gateways[at].slots.enter_as(name, groups, class).expect("room");
        self.waiting.push((at, name.to_owned(), ticket));
    }

    /// A gateway's turn, until it has nothing more to do: who is let in.
    pub(super) async fn turn(&mut self, at: usize) -> Vec<String> {
        for _ in 0..100 {
            match self.gateways[at].turn().await.expect("Redis") {
                Went::On | Went::Others => {}
                Went::Idle | Went::Waits => return self.let_in(),
            }
        }
        panic!("it asks for ever");
    }

    fn let_in(&mut self) -> Vec<String> {
        let (mut names, mut left) = (Vec::new(), Vec::new());
        for (at, name, ticket) in self.waiting.drain(..) {
            let mut tickets = vec![ticket];
            match granted(&mut tickets).pop() {
                Some(slot) => {
                    names.push(name.clone());
                    self.running.push((at, name, slot));
                }
                None => left.extend(tickets.pop().map(|ticket| (at, name, ticket))),
            }
        }
        self.waiting = left;
        names
    }

    /// The end of a query of that name, which frees its slot at its gateway; that one asks first.
    pub(super) async fn ends(&mut self, name: &str) -> Vec<String> {
        let which = self.running.iter().position(|(_, other, _)| other == name).expect("it runs");
        let at = self.running[which].0;
        drop(self.running.remove(which));
        let mut names = self.turn(at).await;
        names.extend(self.turn(1 - at).await);
        names
    }
}

/// Two slots that people are guaranteed, and jobs that get one when they have waited for three seconds.
const AGEING: &str = "
    running = 2
    running_per_principal = 2
    ageing = '3s'
    [[class]]
    name = 'interactive'
    guaranteed = 2
";

#[tokio::test]
#[ignore = "starts a Redis"]
async fn a_gateway_whose_queue_is_never_empty_does_not_keep_the_slots_that_it_frees() {
    let mut world = World::new("running = 4\nrunning_per_principal = 4").await;
    for _ in 0..30 {
        world.enter(0, "flood", 0, &[]);
    }
    assert_eq!(world.turn(0).await, ["flood"; 4]);
    for name in ["a", "b", "a"] {
        world.enter(1, name, 0, &[]);
    }
    assert!(world.turn(1).await.is_empty());
    // A principal's thousandth query is behind everybody's first, wherever these are.
    assert_eq!(world.ends("flood").await, ["a"]);
    assert_eq!(world.ends("flood").await, ["b"]);
    // Turns go on between them: two of the flood run, and one of each other.
    assert_eq!(world.ends("flood").await, ["flood"]);
    assert_eq!(world.ends("a").await, ["a"]);
    // And nobody is waited for who is not there.
    assert_eq!(world.ends("a").await, ["flood"]);
    assert_eq!(world.ends("b").await, ["flood"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn guarantees_and_ageing_hold_between_gateways() {
    let mut world = World::new(AGEING).await;
    for _ in 0..10 {
        world.enter(0, "etl", 1, &[]);
    }
    assert_eq!(world.turn(0).await, ["etl"; 2]);
    for name in ["a", "b", "c", "d"] {
        world.enter(1, name, 0, &[]);
    }
    assert!(world.turn(1).await.is_empty());
    // What is guaranteed to a class at one gateway is not kept by another's at the other.
    assert_eq!(world.ends("etl").await, ["a"]);
    assert_eq!(world.ends("etl").await, ["b"]);
    assert_eq!(world.ends("a").await, ["c"]);
    // Who has waited beyond the ageing is next, once.
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert!(world.turn(0).await.is_empty());
    assert_eq!(world.ends("b").await, ["etl"]);
    assert_eq!(world.ends("c").await, ["d"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn limits_of_ones_own_have_turns_between_gateways() {
    let text = "
        running = 8
        running_per_principal = 2
        [[class]]
        name = 'interactive'
        running = 7
        [[group]]
        name = 'few'
        running = 3
    ";
    let mut world = World::new(text).await;
    // One principal at both gateways, whose queries have it full at the one.
    for _ in 0..6 {
        world.enter(0, "ann", 0, &[]);
    }
    assert_eq!(world.turn(0).await, ["ann"; 2]);
    tokio::time::sleep(LATER).await;
    world.enter(1, "ann", 0, &[]);
    assert!(world.turn(1).await.is_empty());
    // What came first is first: four of the one gateway are before the one of the other.
    let mut at_two = Vec::new();
    for turn in 0..5 {
        assert_eq!(world.ends("ann").await, ["ann"], "{turn}");
        at_two.push(world.running.iter().filter(|(at, ..)| *at == 1).count());
    }
    assert_eq!(at_two, [0, 0, 0, 0, 1]);
    assert!(world.ends("ann").await.is_empty());
    // A group that is full at one gateway, with somebody of it at the other.
    for name in ["b", "c", "d", "b", "c", "d", "b", "c", "d"] {
        world.enter(0, name, 0, &[0]);
    }
    assert_eq!(world.turn(0).await.len(), 3);
    world.enter(1, "e", 0, &[0]);
    assert!(world.turn(1).await.is_empty());
    assert_eq!(world.ends("b").await, ["e"]);
}

/// Ten users of one class at two gateways, one of them a flood, and one that is at both: with queries that end in a random
/// order they are let in equally often.
#[tokio::test]
#[ignore = "starts a Redis"]
async fn users_share_equally_wherever_they_are() {
    const USERS: usize = 10;
    let mut world = World::new("running = 5\nrunning_per_principal = 5").await;
    let mut random = crate::admission::tests::random();
    for _ in 0..200 {
        world.enter(0, "u0", 0, &[]);
    }
    let mut times = [0_usize; USERS];
    for _ in 0..600 {
        // Seven of ten are at the first, one has connections to both.
        for (user, at) in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 1), (8, 1), (9, 0), (9, 1)] {
            let name = format!("u{user}");
            if !world.waiting.iter().any(|(other, of, _)| *other == at && *of == name) {
                world.enter(at, &name, 0, &[]);
            }
        }
        let first = random(2);
        let mut names = world.turn(first).await;
        names.extend(world.turn(1 - first).await);
        for name in names {
            times[name[1..].parse::<usize>().expect("a number")] += 1;
        }
        let ends = random(world.running.len());
        drop(world.running.remove(ends));
    }
    let (sum, squares) = times.iter().fold((0, 0), |(sum, squares), n| (sum + n, squares + n * n));
    // Jain's index of at least 0.95, without fractions.
    assert!(100 * sum * sum >= 95 * USERS * squares, "{times:?}");
    assert!(sum >= 600, "no slot is idle: {times:?}");
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn who_lacks_most_of_a_guarantee_is_next() {
    let text = "
        running = 5
        running_per_principal = 3
        [[class]]
        name = 'interactive'
        weight = 1000
        guaranteed = 2
        [[class]]
        name = 'batch'
        guaranteed = 3
        [[class]]
        name = 'other'
    ";
    let mut world = World::new(text).await;
    for (name, class) in [("a", 0), ("etl", 1), ("o", 2), ("o", 2), ("o", 2)] {
        world.enter(0, name, class, &[]);
    }
    assert_eq!(world.turn(0).await.len(), 5);
    world.enter(1, "b", 0, &[]);
    world.enter(1, "job", 1, &[]);
    assert!(world.turn(1).await.is_empty());
    assert_eq!(world.ends("o").await, ["job"], "a third of its guarantee, and not a half");
    assert_eq!(world.ends("o").await, ["b"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn age_counts_each_second_time() {
    let mut world = World::new(AGEING).await;
    for _ in 0..2 {
        world.enter(0, "etl", 1, &[]);
    }
    assert_eq!(world.turn(0).await, ["etl"; 2]);
    for name in ["a", "b"] {
        world.enter(1, name, 0, &[]);
    }
    assert!(world.turn(1).await.is_empty());
    tokio::time::sleep(LATER).await;
    world.enter(0, "c", 0, &[]);
    world.enter(0, "job", 1, &[]);
    assert!(world.turn(0).await.is_empty());
    // Both classes have waited beyond the ageing, that of people for longer. A grant at the one gateway counts at the other.
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert_eq!(world.ends("etl").await, ["a"], "by age");
    assert_eq!(world.ends("etl").await, ["b"], "by the guarantee");
    assert_eq!(world.ends("a").await, ["job"], "by age");
    assert_eq!(world.ends("b").await, ["c"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn the_sixteenth_grant_of_all_gateways_goes_to_who_was_longest_without() {
    let mut world = World::new("running = 2\nrunning_per_principal = 2").await;
    world.enter(0, "slow", 0, &[]);
    assert_eq!(world.turn(0).await, ["slow"]);
    world.enter(1, "quick", 0, &[]);
    assert_eq!(world.turn(1).await, ["quick"]);
    // One who runs something is behind one who does not, as often as that one comes.
    world.enter(0, "slow", 0, &[]);
    for grant in 3..16 {
        world.enter(1, "quick", 0, &[]);
        assert_eq!(world.ends("quick").await, ["quick"], "{grant}");
    }
    world.enter(1, "quick", 0, &[]);
    assert_eq!(world.ends("quick").await, ["slow"]);
}
