//! Several gateways on a real Redis. Not run without being asked for: `cargo test --lib admission:: -- --ignored`.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use super::*;
use crate::admission::{Config, Load, Slot, Ticket};
use crate::state::tests::{KEY, Server};
use crate::state::{Backend, Store};
use crate::units::Span;

const LEASE: Duration = Duration::from_secs(2);

/// A gateway: its slots, and the task that counts with others.
pub(super) struct Gateway {
    slots: Slots,
    pub(super) task: JoinHandle<()>,
}

/// The slots of a gateway, and its Redis.
pub(super) fn slots(server: &Server, text: &str) -> (Slots, Scripts) {
    let config: Config = toml::from_str(&format!("replicas = 2\nlease = \"2s\"\n{text}")).expect("a section");
    let state = crate::state::Config {
        timeout: Span(Duration::from_millis(500)),
        ..server.config(Backend::Redis, KEY)
    };
    let store = Store::open(&state).expect("opened");
    (Slots::new(&config).expect("sound"), store.scripts().expect("Redis"))
}

fn gateway(server: &Server, text: &str) -> Gateway {
    Gateway::start(server, text)
}

impl Gateway {
    pub(super) fn start(server: &Server, text: &str) -> Self {
        let (slots, scripts) = slots(server, text);
        let together = Together::new(slots.clone(), scripts, LEASE).expect("random");
        Self { slots, task: tokio::spawn(together.run()) }
    }

    fn enter(&self, name: &str) -> Ticket {
        self.slots.enter_as(name, &[], 0).expect("room")
    }

    fn running(&self) -> usize {
        self.slots.load().running
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn together(gateways: &[&Gateway]) {
    until("they do not find each other", || {
        gateways.iter().all(|one| one.slots.sharing() == Sharing::Together)
    })
    .await;
}

/// The slots of those who have been let in.
pub(super) fn granted(tickets: &mut Vec<Ticket>) -> Vec<Slot> {
    let mut slots = Vec::new();
    tickets.retain_mut(|ticket| match ticket.slot().now_or_never() {
        Some(slot) => {
            slots.push(slot);
            false
        }
        None => true,
    });
    slots
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn limits_hold_across_gateways() {
    let server = Server::start("redis", false);
    let text = "running = 6\nrunning_per_principal = 4\n[[class]]\nname = 'interactive'";
    let (one, two) = (gateway(&server, text), gateway(&server, text));
    together(&[&one, &two]).await;
    let mut anns: Vec<Ticket> = (0..5).map(|_| one.enter("ann")).collect();
    anns.extend((0..5).map(|_| two.enter("ann")));
    until("ann has her four", || one.running() + two.running() == 4).await;
    let mut bobs: Vec<Ticket> = (0..5).flat_map(|_| [one.enter("bob"), two.enter("bob")]).collect();
    let (mut held, mut left) = (Vec::new(), [10, 10]);
    // Everybody runs in the end, never too many at once, and no slot is idle for long.
    for _ in 0..20 {
        let may = 6.min(4.min(left[0]) + 4.min(left[1]));
        until("all slots that may be", || one.running() + two.running() == may).await;
        for _ in 0..20 {
            assert!(one.running() + two.running() <= 6);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        held.extend(granted(&mut anns).into_iter().map(|slot| (0, slot)));
        held.extend(granted(&mut bobs).into_iter().map(|slot| (1, slot)));
        if let Some((whose, slot)) = held.pop() {
            left[whose] -= 1;
            drop(slot);
        }
    }
    assert!(anns.is_empty() && bobs.is_empty() && held.is_empty());
    until("all is free", || one.slots.load() == Load { running: 0, queued: 0 }).await;
    assert_eq!(two.slots.load(), Load { running: 0, queued: 0 });
    // Both are served, though the one's queue is never empty and all slots are its own.
    let mut mine: Vec<Ticket> = (0..60).map(|_| one.enter("flood")).collect();
    until("the flood has all that it may", || one.running() == 4).await;
    let mut yours: Vec<Ticket> = (0..40).map(|n| two.enter(&format!("y{n}"))).collect();
    let (mut of_one, mut of_two) = (0, 0);
    let mut slots = Vec::new();
    while of_two < 36 {
        until("a slot is given", || one.running() + two.running() == 6).await;
        let (first, second) = (granted(&mut mine), granted(&mut yours));
        of_one += first.len();
        of_two += second.len();
        slots.extend(first);
        slots.extend(second);
        assert!(slots.len() <= 6);
        drop(slots.remove(0));
    }
    assert!(of_one <= 12, "{of_one} and {of_two}");
    drop((mine, yours, slots));
    one.task.abort();
    two.task.abort();
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn slots_of_a_dead_gateway_return_within_its_lease() {
    let server = Server::start("redis", false);
    let text = "running = 4\nrunning_per_principal = 4";
    let (one, two) = (gateway(&server, text), gateway(&server, text));
    together(&[&one, &two]).await;
    let dead: Vec<Ticket> = (0..4).map(|_| one.enter("ann")).collect();
    until("all slots are taken", || one.running() == 4).await;
    let waiting: Vec<Ticket> = (0..4).map(|_| two.enter("bob")).collect();
    // It does not die for a time longer than the lease: nothing returns.
    tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
    assert_eq!((one.running(), two.running()), (4, 0));
    one.task.abort();
    let died = Instant::now();
    until("the slots return", || two.running() == 4).await;
    // With room for a machine that is busy.
    assert!(died.elapsed() < LEASE + Duration::from_secs(3), "{:?}", died.elapsed());
    drop((dead, waiting));
    two.task.abort();
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn without_redis_each_has_its_part() {
    let mut server = Server::start("redis", false);
    let text = "running = 6\nrunning_per_principal = 6";
    let (one, two) = (gateway(&server, text), gateway(&server, text));
    together(&[&one, &two]).await;
    let mut mine: Vec<Ticket> = (0..8).map(|_| one.enter("ann")).collect();
    until("all slots are taken", || one.running() == 6).await;
    server.stop();
    until("they say so", || {
        one.slots.sharing() == Sharing::Divided && two.slots.sharing() == Sharing::Divided
    })
    .await;
    // The one keeps what it runs and begins nothing; the other has its three: the bound of nine, and no more.
    let mut yours: Vec<Ticket> = (0..8).map(|_| two.enter("bob")).collect();
    until("its part", || two.running() == 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((one.running(), two.running()), (6, 3));
    let mut held = granted(&mut mine);
    held.truncate(2);
    until("its part of three", || {
        one.running() == 3 && mine.iter().filter(|t| t.standing().is_none()).count() == 1
    })
    .await;
    // Redis is back, empty: what runs is told again, and the limits hold together.
    server.again();
    together(&[&one, &two]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((one.running(), two.running()), (3, 3));
    drop(granted(&mut yours));
    until("the slots go on", || one.running() + two.running() == 6).await;
    drop((held, mine, yours));
    until("all is free", || one.running() + two.running() == 0).await;
    one.task.abort();
    two.task.abort();
}
