//! The program itself: how long it takes until it is ready, what it is while nothing is asked, and what hours of load make of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::fault::{Result, Trying, unusable};
use crate::gateway::{self, Extra, Prepared};
use crate::load;
use crate::processes::{bytes_of, signal};
use crate::report::Figure;
use crate::setup::{self, Ground};

/// Starts that are timed; the median counts.
const STARTS: usize = 7;
/// Policy documents of a start that is timed.
const DOCUMENTS: usize = 1_000;
/// How long a gateway may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing is asked before its memory is looked at.
const IDLE: Duration = Duration::from_secs(10);
/// How long the load of a soak goes on, unless `BENCH_SOAK_SECONDS` says otherwise: half an hour is 1800.
const SOAK: u64 = 120;
/// The part of a soak after which memory is what it is then held against.
const WARM: f64 = 0.25;

/// Milliseconds from the start of the process to its being ready, with a thousand policy documents.
pub(crate) fn startup(ground: &Ground, program: &Path) -> Result<Figure> {
    let (_stub, upstream) = setup::start_stub()?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut prepared =
            gateway::prepare(ground, "startup", program, upstream, &ground.folder, Extra::default())?;
        // One is there already.
        for number in 1..DOCUMENTS {
            let mut text = "version: 1\npolicies:\n".to_owned();
            let _ = writeln!(
                text,
                "  - name: p{number}\n    who: {{ groups: [g{}] }}\n    tables: [lake.s{number}.t]\n    allow: true\n    \
                 row_filter: region = 'r{number}' AND amount < {number}\n    column_masks: [{{ columns: [c], action: \
                 mask-alphanum }}]",
                number % 500
            );
            fs::write(prepared.folder.join(format!("policies/p{number}.yaml")), text)?;
        }
        let began = Instant::now();
        let _process = prepared.start()?;
        wait_ready(prepared.admin)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let note = format!("{DOCUMENTS} documents; from {:.0} to {:.0} ms", times[0], times[STARTS - 1]);
    Ok(Figure::alone("startup_ms", times[STARTS / 2], "ms", "<= 500").note(note))
}

/// Megabytes of a gateway that is ready and has nothing to do.
pub(crate) fn idle(ground: &Ground, program: &Path) -> Result<Figure> {
    let (_stub, upstream) = setup::start_stub()?;
    let mut prepared = gateway::prepare(ground, "idle", program, upstream, &ground.folder, Extra::default())?;
    let process = prepared.start()?;
    wait_ready(prepared.admin)?;
    sleep(IDLE);
    let megabytes = bytes_of(process.pid(), "VmRSS") as f64 / 1e6;
    Ok(Figure::alone("idle_rss", megabytes, "MB", "<= 40").note("10 s after it was ready"))
}

/// Megabytes of the program without its symbols.
pub(crate) fn size(ground: &Ground, program: &Path) -> Result<Figure> {
    let stripped = ground.folder.join("northgate-stripped");
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
    if !done.trying(|| "run strip".into())?.success() {
        return Err(unusable("strip failed"));
    }
    let megabytes = fs::metadata(&stripped)?.len() as f64 / 1e6;
    Ok(Figure::alone("binary_mb", megabytes, "MB", "<= 40").note("stripped"))
}

/// The resident memory at the end of a mixed load, by that after its first quarter. Meanwhile all that can be reloaded is, each
/// few seconds. Any request that fails ends it.
pub(crate) fn soak(ground: &Ground, program: &Path) -> Result<Figure> {
    let seconds = std::env::var("BENCH_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SOAK);
    let whole = Duration::from_secs(seconds);
    let (_stub, upstream) = setup::start_stub()?;
    let mut prepared = gateway::prepare(ground, "soak", program, upstream, &ground.folder, Extra::default())?;
    let process = prepared.start()?;
    wait_ready(prepared.admin)?;
    let target = ground.target(prepared.address);
    let (began, mut warm, mut rounds, mut highest) = (Instant::now(), None, 0_u64, 0);
    while began.elapsed() < whole {
        load::submit(&target, Duration::from_millis(500))?;
        load::poll(&target, 16, Duration::from_millis(500))?;
        if rounds.is_multiple_of(8) {
            load::stream(&target, None)?;
        }
        if rounds.is_multiple_of(4) {
            signal("HUP", process.pid());
        }
        rounds += 1;
        let now = bytes_of(process.pid(), "VmRSS");
        highest = highest.max(now);
        if warm.is_none() && began.elapsed() >= whole.mul_f64(WARM) {
            warm = Some(now);
        }
    }
    let (warm, end) = (warm.unwrap_or(highest) as f64, bytes_of(process.pid(), "VmRSS") as f64);
    let note = format!(
        "{seconds} s, {rounds} rounds; {:.1} MB warm, {:.1} MB at the end, {:.1} MB at most",
        warm / 1e6,
        end / 1e6,
        highest as f64 / 1e6
    );
    Ok(Figure::alone("soak_rss_growth", end / warm, "x", "<= 1.05").note(note))
}

/// Waits until the admin listener says that it is ready.
fn wait_ready(admin: SocketAddr) -> Result<()> {
    let end = Instant::now() + READY_WITHIN;
    while Instant::now() < end {
        if is_ready(admin).unwrap_or(false) {
            return Ok(());
        }
        sleep(Duration::from_millis(1));
    }
    Err(unusable("Northgate does not get ready"))
}

fn is_ready(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// All of them by name.
type Measure = fn(&Ground, &Path) -> Result<Figure>;
pub(crate) const FIGURES: [(&str, Measure); 4] =
    [("startup_ms", startup), ("idle_rss", idle), ("binary_mb", size), ("soak_rss_growth", soak)];

impl Prepared {
    /// Starts it, without waiting.
    fn start(&mut self) -> Result<crate::processes::Running> {
        crate::processes::Running::start("Northgate", &mut self.command)
    }
}
