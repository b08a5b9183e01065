//! Admission, measured in this process: how long letting one in takes, in memory and through Redis; and in simulated time, how
//! fairly slots are given.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
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
        Self::of(config, None)
    }

    /// With the class of what the clients say that they are.
    fn of(config: &Config, source: Option<&str>) -> Result<Self> {
        let wrong = |error: AdmissionError| unusable(error.to_string());
        let slots = Slots::new(config).map_err(wrong)?;
        let name = |number| Principal::new(format!("user-{number}"), Method::Password);
        let principals: Vec<Principal> = (0..PRINCIPALS).map(name).collect();
        let class = slots.classes().classify(&Facts {
            principal: &principals[0],
            source,
            tags: &[],
            kind: StatementKind::Query,
            now: jiff::Timestamp::UNIX_EPOCH,
            estimate: None,
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
        Ok::<_, crate::fault::Fault>(Some(path.into()))
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

/// For so long slots are given, in simulated time.
const SIMULATED: Duration = Duration::from_hours(2);

/// A world without the time of this one: it goes on when nobody has anything to do.
fn simulated<T>(measured: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.trying(|| "start a thread".to_owned())?.block_on(measured)
}

/// The time passes in which these ask for slots for ever; none of them may be refused.
async fn over(mut tasks: tokio::task::JoinSet<AdmissionError>) -> Result<()> {
    match tokio::time::timeout(SIMULATED, tasks.join_next()).await {
        Ok(Some(Ok(error))) => Err(unusable(error.to_string())),
        Ok(_) => Err(unusable("a task has ended")),
        Err(_) => Ok(()),
    }
}

/// Numbers below a bound, from a seed.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

/// `fairness_jain`: Jain's index of the slot time that ten users of one class have had, who all want more than there is; one
/// of them asks for a hundred times as much as the others, and one's queries take twice as long.
pub(crate) fn fairness() -> Result<Figure> {
    const USERS: usize = 10;
    let had = simulated(async {
        let world = World::new(&Config { running: 10, running_per_principal: 10, ..Config::default() })?;
        let had = Arc::new(Mutex::new([0.0_f64; USERS]));
        let mut tasks = tokio::task::JoinSet::new();
        for user in 0..USERS {
            for number in 0..if user == 0 { 300 } else { 3 } {
                let (slots, class, had) = (world.slots.clone(), world.class.clone(), Arc::clone(&had));
                let principal = world.principals[user].clone();
                let mut random = random(1 + (user * 1_000 + number) as u64);
                tasks.spawn(async move {
                    loop {
                        let mut ticket = match slots.enter(&principal, &class) {
                            Ok(ticket) => ticket,
                            Err(error) => return error,
                        };
                        let slot = ticket.slot().await;
                        let time =
                            Duration::from_millis(if user == 3 { 2_000 } else { 1_000 } + random(1_000));
                        tokio::time::sleep(time).await;
                        had.lock().unwrap_or_else(PoisonError::into_inner)[user] += time.as_secs_f64();
                        drop(slot);
                    }
                });
            }
        }
        over(tasks).await?;
        let had = *had.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(had)
    })?;
    let (sum, squares) = had.iter().fold((0.0, 0.0), |(sum, squares), had| (sum + had, squares + had * had));
    let index = sum * sum / (USERS as f64 * squares);
    let note = format!(
        "{USERS} users, two simulated hours; the least and the most slot time: {:.0} s, {:.0} s",
        had.iter().copied().fold(f64::MAX, f64::min),
        had.iter().copied().fold(0.0, f64::max)
    );
    Ok(Figure::alone("fairness_jain", index, "", ">= 0.95").note(note))
}

/// `interactive_wait_simulated_p95`: how long people wait while jobs of five seconds have every slot.
pub(crate) fn interactive() -> Result<Figure> {
    let (mut waits, jobs) = simulated(async {
        let config = Config { running: 20, running_per_principal: 20, ..Config::default() };
        let people = World::new(&config)?;
        let job = World::of(&config, Some("Apache Airflow"))?;
        let waits = Arc::new(Mutex::new(Vec::new()));
        let jobs = Arc::new(Mutex::new(0_usize));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let (slots, class, jobs) = (people.slots.clone(), job.class.clone(), Arc::clone(&jobs));
            let principal = people.principals[number % 7].clone();
            tasks.spawn(async move {
                loop {
                    let slot = match slots.enter(&principal, &class) {
                        Ok(mut ticket) => ticket.slot().await,
                        Err(error) => return error,
                    };
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    *jobs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    drop(slot);
                }
            });
        }
        for number in 0..4_u64 {
            let (slots, class, waits) = (people.slots.clone(), people.class.clone(), Arc::clone(&waits));
            let principal = people.principals[100].clone();
            let mut random = random(77 + number);
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(random(600))).await;
                    let slot = match slots.enter(&principal, &class) {
                        Ok(mut ticket) => ticket.slot().await,
                        Err(error) => return error,
                    };
                    waits.lock().unwrap_or_else(PoisonError::into_inner).push(slot.waited().as_secs_f64());
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    drop(slot);
                }
            });
        }
        over(tasks).await?;
        let waits = std::mem::take(&mut *waits.lock().unwrap_or_else(PoisonError::into_inner));
        let jobs = *jobs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((waits, jobs))
    })?;
    waits.sort_by(f64::total_cmp);
    let at = |hundredths: usize| waits.get(waits.len() * hundredths / 100).copied().unwrap_or(f64::MAX);
    let note = format!("{} queries, p99 {:.2} s; 20 slots, {jobs} jobs of 5 s", waits.len(), at(99));
    Ok(Figure::alone("interactive_wait_simulated_p95", at(95), "s", "<= 1").note(note))
}
