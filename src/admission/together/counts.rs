//! What several gateways count together, and whom they wait for, on a real Redis, turn by turn. Not run without being asked
//! for, as `tests`.

use super::fairness::{LATER, World};

impl World {
    /// Two slots, the least that two gateways may have, of which one is taken for good.
    async fn with_one_slot() -> Self {
        let mut world = Self::new("running = 2\nrunning_per_principal = 2").await;
        world.takes_a_slot().await;
        world
    }

    async fn takes_a_slot(&mut self) {
        self.enter(0, "stays", 0, &[]);
        assert_eq!(self.turn(0).await, ["stays"]);
    }
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn slots_that_are_reserved_are_nobody_elses_at_any_gateway() {
    let text = "
        running = 3
        running_per_principal = 3
        [[class]]
        name = 'interactive'
        guaranteed = 1
        reserved = 1
    ";
    let mut world = World::new(text).await;
    for _ in 0..5 {
        world.enter(0, "etl", 1, &[]);
    }
    assert_eq!(world.turn(0).await, ["etl"; 2], "the third is kept free");
    for name in ["a", "b"] {
        world.enter(1, name, 0, &[]);
    }
    assert_eq!(world.turn(1).await, ["a"], "for whom it is reserved");
    // It is used, and no more is kept.
    assert_eq!(world.ends("etl").await, ["b"], "by weights");
    // More of the class run than are reserved: that is no room for others.
    assert!(world.turn(0).await.is_empty() && world.turn(1).await.is_empty());
    assert_eq!(world.ends("a").await, ["etl"]);
    // The last of the class ends: its slot is kept again.
    assert!(world.ends("b").await.is_empty());
    assert_eq!(world.running.len(), 2);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn the_limit_of_a_class_holds_between_gateways() {
    let text = "
        running = 6
        running_per_principal = 6
        [[class]]
        name = 'interactive'
        running = 2
    ";
    let mut world = World::new(text).await;
    world.enter(0, "a", 0, &[]);
    assert_eq!(world.turn(0).await, ["a"]);
    for name in ["b", "c"] {
        world.enter(1, name, 0, &[]);
    }
    assert_eq!(world.turn(1).await, ["b"], "one runs at the other");
    tokio::time::sleep(LATER).await;
    world.enter(0, "d", 0, &[]);
    assert!(world.turn(0).await.is_empty());
    // The gateway that asks first leaves it to the other, where somebody came before its own.
    assert_eq!(world.ends("a").await, ["c"]);
    assert_eq!(world.ends("b").await, ["d"]);
    // Other classes have the rest.
    world.enter(0, "etl", 1, &[]);
    assert_eq!(world.turn(0).await, ["etl"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn who_came_first_is_first_at_whichever_gateway_a_slot_is_free() {
    let mut world = World::with_one_slot().await;
    world.enter(1, "y", 0, &[]);
    assert_eq!(world.turn(1).await, ["y"]);
    world.enter(0, "first", 0, &[]);
    assert!(world.turn(0).await.is_empty());
    tokio::time::sleep(LATER).await;
    world.enter(1, "second", 0, &[]);
    assert!(world.turn(1).await.is_empty());
    tokio::time::sleep(LATER).await;
    world.enter(0, "third", 0, &[]);
    assert!(world.turn(0).await.is_empty());
    // That gateway asks first each time, and its own came later, or sooner.
    assert_eq!(world.ends("y").await, ["first"]);
    assert_eq!(world.ends("first").await, ["second"]);
    assert_eq!(world.ends("second").await, ["third"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn who_runs_least_is_first_and_of_those_who_was_longest_without() {
    let mut world = World::new("running = 3\nrunning_per_principal = 3").await;
    for (at, name) in [(0, "ann"), (1, "bob"), (1, "eve")] {
        world.enter(at, name, 0, &[]);
        assert_eq!(world.turn(at).await, [name]);
        tokio::time::sleep(LATER).await;
    }
    // Ann was longest without; when bob's ends she runs one, and he none.
    world.enter(1, "eve", 0, &[]);
    world.enter(1, "bob", 0, &[]);
    assert!(world.turn(1).await.is_empty());
    tokio::time::sleep(LATER).await;
    world.enter(0, "ann", 0, &[]);
    assert!(world.turn(0).await.is_empty());
    assert_eq!(world.ends("bob").await, ["bob"]);
    // Ann and eve run one each: ann was let in before eve was, though eve's came before hers.
    assert_eq!(world.ends("bob").await, ["ann"]);
    assert_eq!(world.ends("ann").await, ["eve"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn weights_decide_which_class_is_next() {
    let text = "
        running = 2
        running_per_principal = 2
        [[class]]
        name = 'interactive'
        weight = 4
        [[class]]
        name = 'batch'
        weight = 1
    ";
    let mut world = World::new(text).await;
    world.takes_a_slot().await;
    // The first class has had slot time, and the second none.
    world.enter(0, "a", 0, &[]);
    assert_eq!(world.turn(0).await, ["a"]);
    world.enter(0, "b", 0, &[]);
    world.enter(0, "etl", 1, &[]);
    assert!(world.turn(0).await.is_empty());
    tokio::time::sleep(LATER).await;
    assert_eq!(world.ends("a").await, ["etl"]);
    tokio::time::sleep(2 * LATER).await;
    world.enter(0, "job", 1, &[]);
    assert!(world.turn(0).await.is_empty());
    assert_eq!(world.ends("etl").await, ["b"]);
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn a_gateway_that_is_not_heard_of_is_not_waited_for() {
    let mut world = World::with_one_slot().await;
    world.enter(1, "y", 0, &[]);
    assert_eq!(world.turn(1).await, ["y"]);
    for (at, name) in [(0, "first"), (1, "second")] {
        world.enter(at, name, 0, &[]);
        assert!(world.turn(at).await.is_empty());
        tokio::time::sleep(LATER).await;
    }
    world.gateways[1].fresh = LATER;
    assert_eq!(world.ends("y").await, ["second"], "the other has not asked for longer than that");
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn a_class_that_only_another_gateway_knows_is_no_matter_here() {
    let one = "running = 2\nrunning_per_principal = 2\n[[class]]\nname = 'interactive'";
    let two = format!("{one}\n[[class]]\nname = 'loads'\nguaranteed = 1");
    let mut world = World::of([one, &two]).await;
    world.takes_a_slot().await;
    world.enter(0, "y", 0, &[]);
    assert_eq!(world.turn(0).await, ["y"]);
    // After the two that are always there.
    world.enter(1, "loader", 2, &[]);
    assert!(world.turn(1).await.is_empty());
    world.enter(0, "a", 0, &[]);
    assert!(world.turn(0).await.is_empty());
    assert_eq!(world.ends("y").await, ["a"]);
    assert_eq!(world.ends("a").await, ["loader"]);
}
