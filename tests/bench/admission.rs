//! Admission, measured in this process: how long letting one in takes, in memory and through Redis.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use northgate::admission::{
    AdmissionError, Classified, Config, Facts, Sharing, Slot, Slots, Ticket, Together,
};
use northgate::identity::{Method, Principal};
use northgate::state::{Backend, Config as StateConfig, Store};
use northgate::telemetry::StatementKind;

use crate::fault::{Result, Trying as _, unusable};
use crate::processes::{Running, free_address};
use crate::report::Figure;

/// How many wait while it is measured, and of how many principals.
const WAITING: usize = 50_000;
const PRINCIPALS: usize = 5_000;
/// How many are let in.
const TIMES: usize = 100_000;
/// How many are let in through Redis.
const SHARED_TIMES: usize = 3_000;

struct World {
    slots: Slots,
    principals: Vec<Principal>,
    class: Classified,
}

impl World {
    fn new(config: &Config) -> Result<Self> {
        let wrong = |error: AdmissionError| unusable(error.to_string());
        let slots = Slots::new(config).map_err(wrong)?;
        let name = |number| Principal::new(format!("user-{number}"), Method::Password);
        let principals: Vec<Principal> = (0..PRINCIPALS).map(name).collect();
        let class = slots.classes().classify(&Facts {
            principal: &principals[0],
            source: None,
            tags: &[],
            kind: StatementKind::Query,
            now: jiff::Timestamp::UNIX_EPOCH,
        });
        Ok(Self { slots, principals, class })
    }

    fn enter(&self, number: usize) -> Result<Ticket> {
        let principal = &self.principals[number % PRINCIPALS];
        self.slots.enter(principal, &self.class).map_err(|error| unusable(error.to_string()))
    }
}

fn limits() -> Config {
    Config { queued: WAITING + 10, queued_per_principal: WAITING, ..Config::default() }
}

fn alone<T>(measured: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.trying(|| "start threads".to_owned())?.block_on(measured)
}

fn middle(mut micros: Vec<f64>) -> (f64, f64) {
    micros.sort_by(f64::total_cmp);
    (micros[micros.len() / 2], micros[micros.len() * 99 / 100])
}

/// `admission_p50`: one query comes and one ends, so that the next is let in, while 50,000 wait.
pub(crate) fn in_memory() -> Result<Figure> {
    alone(async {
        let world = World::new(&limits())?;
        let mut running: VecDeque<Slot> = VecDeque::new();
        let mut waiting: VecDeque<Ticket> = VecDeque::new();
        for number in 0..WAITING + limits().running {
            let mut ticket = world.enter(number)?;
            match ticket.standing() {
                None => running.push_back(ticket.slot().await),
                Some(_) => waiting.push_back(ticket),
            }
        }
        let mut micros = Vec::with_capacity(TIMES);
        for number in 0..TIMES {
            let ended = running.pop_front();
            let before = Instant::now();
            let ticket = world.enter(number + limits().running + WAITING)?;
            drop(ended);
            micros.push(before.elapsed().as_secs_f64() * 1e6);
            waiting.push_back(ticket);
            // Principals take turns in the order in which they came.
            let next = waiting.iter().take(PRINCIPALS).position(|ticket| ticket.standing().is_none());
            let next = next.and_then(|next| waiting.remove(next));
            let mut next = next.ok_or_else(|| unusable("nobody was let in"))?;
            running.push_back(next.slot().await);
        }
        let (p50, p99) = middle(micros);
        let note = format!("p99 {p99:.1} us; {WAITING} queries of {PRINCIPALS} principals wait");
        Ok(Figure::alone("admission_p50", p50, "us", "<= 5").note(note))
    })
}

/// `admission_redis_p50`: from a query that comes to its slot, counted with another gateway in a Redis on this machine.
pub(crate) fn through_redis() -> Result<Figure> {
    let folder = tempfile::tempdir().trying(|| "make a folder".to_owned())?;
    let address = free_address()?;
    let mut command = Command::new("tests/stack/stack");
    command.arg("redis").arg(folder.path()).arg(address.port().to_string()).stdout(Stdio::null());
    let mut redis = Running::start("Redis", &mut command)?;
    redis.wait_for(address)?;
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).trying(|| format!("write {name}"))?;
        Ok::<_, crate::fault::Fault>(Some(path))
    };
    let state = StateConfig {
        backend: Backend::Redis,
        url_file: write("url", &format!("redis://{address}"))?,
        key_file: write("key", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")?,
        ..StateConfig::default()
    };
    alone(async {
        let config = Config { replicas: std::num::NonZeroU32::MIN.saturating_add(1), ..Config::default() };
        let mut worlds = Vec::new();
        for _ in 0..2 {
            let world = World::new(&config)?;
            let store = Store::open(&state).map_err(|error| unusable(error.to_string()))?;
            let scripts = store.scripts().ok_or_else(|| unusable("no Redis"))?;
            let together = Together::new(world.slots.clone(), scripts, config.lease.0).map_err(unusable)?;
            tokio::spawn(together.run());
            worlds.push(world);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while worlds.iter().any(|world| world.slots.sharing() != Sharing::Together) {
            if Instant::now() > deadline {
                return Err(unusable("the gateways do not find each other"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut micros = Vec::with_capacity(SHARED_TIMES);
        for number in 0..SHARED_TIMES {
            let before = Instant::now();
            let slot = worlds[number % 2].enter(number)?.slot().await;
            micros.push(before.elapsed().as_secs_f64() * 1e6);
            drop(slot);
        }
        let (p50, p99) = middle(micros);
        let note = format!("p99 {p99:.0} us; two gateways");
        Ok(Figure::alone("admission_redis_p50", p50, "us", "<= 1000").note(note))
    })
}
