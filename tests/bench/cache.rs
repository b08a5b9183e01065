//! Answers that are given again: how fast, beside a Trino and beside nginx, what looking for them costs where there is none,
//! and the memory that they take.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use northgate::cache::{About, Cache, Config, Entry, Epoch, Kept, Parts};
use northgate::units::{ByteSize, Span};

use crate::bank::Mode;
use crate::engine::Engine;
use crate::fault::{Result, Trying as _, unusable};
use crate::gateway::{self, Extra, Started};
use crate::load::{self, Target};
use crate::processes::{self, bytes_of};
use crate::report::Figure;
use crate::setup::{self, Ground};

/// Keeps whatever it can.
const CACHE: &str = "[cache]\nmin_time = \"0s\"\n";
/// The stub's tables have no catalog that tells their states.
const POLICIES: &str = "
version: 1
policies:
  - {name: kept, who: {users: ['*']}, tables: ['lake.gold.*'], cache: {time_to_live: 1h}}
  - {name: tpch, who: {users: ['*']}, tables: ['tpch_decimal.*.*'], allow: true, cache: {time_to_live: 1h}}
";
const WITH: Extra = Extra { configuration: CACHE, policies: Some(POLICIES) };
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 10;
const TIME: Duration = Duration::from_millis(600);
/// The first query of TPC-H.
const Q1: &str = "SELECT returnflag, linestatus, sum(quantity), sum(extendedprice), sum(extendedprice * (1 - discount)), \
    sum(extendedprice * (1 - discount) * (1 + tax)), avg(quantity), avg(extendedprice), avg(discount), count(*) \
    FROM tpch_decimal.\"sf0.1\".lineitem WHERE shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY \
    GROUP BY returnflag, linestatus ORDER BY returnflag, linestatus";
/// How many answers are kept, one after another, and in which memory.
const INSERTIONS: u32 = 1_000_000;
const MEMORY: u64 = 64 << 20;

/// A gateway with its journal in memory, as its disk is not what is measured.
struct InMemory {
    target: Target,
    _started: Started,
    _folder: tempfile::TempDir,
}

fn start(
    ground: &Ground,
    name: &str,
    northgate: &Path,
    upstream: SocketAddr,
    extra: Extra,
) -> Result<InMemory> {
    let folder = tempfile::Builder::new().prefix("northgate-bench-").tempdir_in("/dev/shm");
    let folder = folder.trying(|| "make a folder in memory, in /dev/shm".into())?;
    processes::remove_on_signal(folder.path());
    let started = gateway::start_with(ground, name, northgate, upstream, folder.path(), extra)?;
    Ok(InMemory { target: ground.target(started.address), _started: started, _folder: folder })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// `cache_hit_p50`, `cache_hits_per_second` and `cache_miss_overhead`.
pub(crate) fn served(ground: &Ground, northgate: &Path, stub: SocketAddr) -> Result<Vec<Figure>> {
    let cached = start(ground, "cached", northgate, stub, WITH)?;
    let plain = start(ground, "not-cached", northgate, stub, Extra::default())?;
    let text = Mode::Submit.statement();
    let one = |target: &Target, tag: Option<&str>| load::whole(target, &text, tag, 1, TIME);
    // The first is a miss, and is kept in a moment.
    one(&cached.target, None)?;
    if load::said(&cached.target, &text)? != "hit" {
        return Err(unusable("the answer is not kept"));
    }
    let (nginx, address, length) = setup::start_kept(ground, &load::last_page(&cached.target, &text)?)?;
    let nginx_target = ground.target(address);
    let (mut hits, mut rates, mut nginx_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        hits.push(one(&cached.target, None)?.latencies.micros(0.5));
        rates.push(load::whole(&cached.target, &text, None, CONNECTIONS, TIME)?.per_second);
        // A hit is two requests: the statement, and its one page.
        nginx_rates.push(load::fetched(&nginx_target, "/kept", CONNECTIONS, TIME)?.per_second / 2.0);
        let miss = || {
            Ok::<_, crate::fault::Fault>(one(&cached.target, Some("cache=refresh"))?.latencies.micros(0.5))
        };
        let without = || Ok::<_, crate::fault::Fault>(one(&plain.target, None)?.latencies.micros(0.5));
        let (miss, without) = if round % 2 == 0 {
            let miss = miss()?;
            (miss, without()?)
        } else {
            let without = without()?;
            (miss()?, without)
        };
        ratios.push(miss / without);
    }
    drop(nginx);
    let note = format!(
        "{CONNECTIONS} connections; a hit is two requests, nginx's rate of a page of {length} bytes is halved"
    );
    Ok(vec![
        Figure::alone("cache_hit_p50", median(hits) / 1000.0, "ms", "<= 1").note(
            "from the statement to the last byte of its last page, TLS, journal in memory; by time to live",
        ),
        Figure::against(
            median(nginx_rates),
            Figure::alone("cache_hits_per_second", median(rates), "1/s", ">= 0.5"),
        )?
        .note(note),
        Figure::alone("cache_miss_overhead", median(ratios), "x", "<= 1.03").note(
            "a whole query of the stub's, each kept anew, by the same without a cache; median of the rounds",
        ),
    ])
}

/// `cache_vs_trino`.
pub(crate) fn against_trino(ground: &Ground, northgate: &Path) -> Result<Vec<Figure>> {
    let engine = Engine::start()?;
    let cached = start(ground, "before-trino", northgate, engine.address()?, WITH)?;
    let direct = Target { address: engine.address()?, tls: None, tokens: Vec::new() };
    let mut own = Vec::new();
    for _ in 0..7 {
        own.push(load::whole_once(&direct, Q1)?.as_secs_f64());
    }
    load::whole_once(&cached.target, Q1)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while load::said(&cached.target, Q1)? != "hit" {
        if Instant::now() > deadline {
            return Err(unusable("the answer is not kept"));
        }
    }
    let mut again = Vec::new();
    for _ in 0..200 {
        again.push(load::whole_once(&cached.target, Q1)?.as_secs_f64());
    }
    let (own, again) = (median(own), median(again));
    let note = format!("TPC-H Q1 at scale 0.1: Trino {:.0} ms, again {:.2} ms", own * 1e3, again * 1e3);
    Ok(vec![Figure::alone("cache_vs_trino", own / again, "x", ">= 50").note(note)])
}

/// `cache_rss`.
pub(crate) fn memory() -> Result<Figure> {
    let config = Config { memory: ByteSize(MEMORY), min_time: Span(Duration::ZERO), ..Config::default() };
    let own = std::process::id();
    let before = bytes_of(own, "VmRSS");
    let cache = Cache::new(config, None);
    let started = Instant::now();
    let mut most = 0;
    let mut state = 7_u32;
    for number in 0..INSERTIONS {
        let text = number.to_string();
        let parts = Parts {
            text: &text,
            kind: "SELECT",
            restricted: false,
            catalog: None,
            schema: None,
            time_zone: None,
            language: None,
            source: None,
            tags: &[],
            properties: &[],
            capabilities: &[],
            cluster: "trino",
            trino: "476",
            revision: "r",
            user: None,
        };
        let key = parts.stem().key(None, []);
        let about = About {
            key,
            origin: format!("20260102_030405_{number:05}_bench"),
            principal: format!("user{}", number % 100),
            tables: BTreeSet::new(),
            tags: BTreeSet::new(),
            revision: "r".to_owned(),
            since: Instant::now(),
            took: Duration::from_secs(1),
            life: Duration::from_hours(1),
        };
        let mut rows = vec![0_u8; 200 + (number as usize % 20) * 400];
        for byte in &mut rows {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
        }
        let entry = Arc::new(Entry::pack(about, Bytes::from_static(b"[]"), vec![(1, rows.into())]));
        if cache.keep(&entry, Epoch::default()).now_or_never() != Some(Kept::Yes) {
            return Err(unusable("an answer is not kept"));
        }
        if number % 10_000 == 0 {
            most = most.max(bytes_of(own, "VmRSS").saturating_sub(before));
        }
    }
    most = most.max(bytes_of(own, "VmRSS").saturating_sub(before));
    let load = cache.load();
    #[allow(clippy::cast_precision_loss)] // megabytes
    let (grown, bound) = (most as f64, MEMORY as f64);
    let note = format!(
        "{:.1} MB grown at most, with a bound of {:.1}; {INSERTIONS} answers kept in {:.0} s, {} of {} bytes left",
        grown / 1e6,
        bound / 1e6,
        started.elapsed().as_secs_f64(),
        load.entries,
        load.bytes
    );
    Ok(Figure::alone("cache_rss", grown / bound, "x", "<= 1.05").note(note))
}
