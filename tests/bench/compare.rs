//! The whole run: Northgate, nginx and the stub alone, side by side.

use std::fs;
use std::io::{Write as _, stderr};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bank::Mode;
use crate::fault::{Result, Trying, unusable};
use crate::http::Reader;
use crate::load::{self, Target};
use crate::pages;
use crate::processes::{self, MemoryWatch, Running, family};
use crate::report::{self, Figure};
use crate::setup::{self, Ground};
use crate::{
    admission, cache, catalogs, engine, gateway, library, peer, program, record, sign_in, tokens, waiting,
};

/// Connections that poll when latency is measured: some, but far from as many as the machine can serve.
const LATENCY_CONNECTIONS: usize = 4;
/// Connections that poll when throughput is measured.
const THROUGHPUT_CONNECTIONS: usize = 32;
/// Bytes of an audit record when there is no journal to take the size from.
const TYPICAL_RECORD: usize = 8 * 1024;
/// How long submissions go on, in each round and to each server.
const SUBMIT_TIME: Duration = Duration::from_millis(600);

/// What to run, and where.
pub(crate) struct Options {
    /// The one figure to measure; all if absent.
    pub(crate) only: Option<String>,
    /// The program.
    pub(crate) northgate: PathBuf,
    /// Measure a second nginx in Northgate's place: shows what the method itself gives for equals.
    pub(crate) twice_nginx: bool,
    /// Where the servers' files go.
    pub(crate) folder: PathBuf,
    /// The list of figures.
    pub(crate) output: PathBuf,
}

/// What is measured together, and the names of the figures it gives.
const GROUPS: [(Group, &[&str]); 11] = [
    (
        Group::Library,
        &[
            "rewrite_typical_p50",
            "rewrite_1mb_growth",
            "statement_memory",
            "rewrite_tpcds_p50",
            "rewritten_vs_native_runtime",
            "rewritten_vs_native_runtime_standard",
            "strict_files_pruned",
            "policy_decision_p50",
            "policy_reload",
            "catalog_cold_requests",
            "catalog_cache_rss",
            "admission_p50",
            "admission_redis_p50",
            "fairness_jain",
            "interactive_wait_simulated_p95",
            "pat_check_p50",
            "bearer_check_p50",
            "logins_per_minute",
            "audit_records_per_second",
            "audit_added_p50",
            "audit_verify_10m",
            "audit_export_rate",
            "audit_search_10m",
            "cache_rss",
        ],
    ),
    (Group::Program, &["startup_ms", "idle_rss", "binary_mb", "soak_rss_growth"]),
    (Group::Latency, &["poll_latency_p50", "poll_latency_p99"]),
    (Group::Throughput, &["requests_per_second"]),
    (Group::Submit, &["submit_latency_p50"]),
    (Group::Stream, &["stream_1gb_throughput", "stream_1gb_rss"]),
    (Group::Peer, &["peer_latency_p50", "peer_requests_per_second"]),
    (Group::Cache, &["cache_hit_p50", "cache_hits_per_second", "cache_miss_overhead"]),
    (Group::CacheOfTrino, &["cache_vs_trino"]),
    (Group::Waiting, &["waiting_50k_rss"]),
    (Group::Interactive, &["interactive_wait_p95"]),
];

type Measure = fn() -> Result<Figure>;
/// The figures that need neither a server of ours nor nginx.
const LIBRARY: [(&str, Measure); 24] = [
    ("rewrite_typical_p50", library::typical),
    ("rewrite_1mb_growth", library::growth),
    ("statement_memory", library::memory),
    ("rewrite_tpcds_p50", engine::tpcds),
    ("rewritten_vs_native_runtime", engine::strict),
    ("rewritten_vs_native_runtime_standard", engine::standard),
    ("strict_files_pruned", engine::files),
    ("policy_decision_p50", catalogs::decision),
    ("policy_reload", catalogs::reload),
    ("catalog_cold_requests", catalogs::cold),
    ("catalog_cache_rss", catalogs::cache),
    ("admission_p50", admission::in_memory),
    ("admission_redis_p50", admission::through_redis),
    ("fairness_jain", admission::fairness),
    ("interactive_wait_simulated_p95", admission::interactive),
    ("pat_check_p50", tokens::check),
    ("bearer_check_p50", sign_in::bearer),
    ("logins_per_minute", sign_in::logins),
    ("audit_records_per_second", record::per_second),
    ("audit_added_p50", record::added),
    ("audit_verify_10m", record::verified),
    ("audit_export_rate", record::exported),
    ("audit_search_10m", record::searched),
    ("cache_rss", cache::memory),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Library,
    Program,
    Latency,
    Throughput,
    Submit,
    Stream,
    Peer,
    Cache,
    CacheOfTrino,
    Waiting,
    Interactive,
}

/// Measures, prints the table and writes the list. `false` if some figure could not be measured.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let groups: Vec<Group> = GROUPS
        .iter()
        .filter(|(_, names)| names.iter().any(|name| wanted(name)))
        .map(|(group, _)| *group)
        .collect();
    if groups.is_empty() {
        let names: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        return Err(unusable(format!("no such figure; there are {}", names.join(", "))));
    }
    let mut figures = Vec::new();
    let mut faults = 0;
    let mut take = |measured: Result<Vec<Figure>>| match measured {
        Ok(measured) => figures.extend(measured),
        Err(fault) => {
            faults += 1;
            say(&format!("NOT MEASURED: {fault}"));
        }
    };
    if groups.contains(&Group::Library) {
        say("the rewrite");
        for (name, measure) in LIBRARY {
            if wanted(name) {
                take(measure().map(|figure| vec![figure]));
            }
        }
    }
    if groups.contains(&Group::Program) {
        say("the program");
        let ground = Ground::prepare(&options.folder)?;
        for (name, measure) in program::FIGURES {
            if wanted(name) {
                take(measure(&ground, &options.northgate).map(|figure| vec![figure]));
            }
        }
    }
    let of_servers = |group: &Group| !matches!(group, Group::Library | Group::Program);
    let mut between: Vec<Group> = groups.into_iter().filter(of_servers).collect();
    if !between.is_empty() {
        match Contest::begin(options) {
            Ok(contest) => between.drain(..).for_each(|group| take(contest.measure(group))),
            Err(fault) => take(Err(fault)),
        }
    }
    figures.retain(|figure| wanted(figure.name()));
    report::write(&figures, &options.output)?;
    let table = report::table(&figures)?;
    write!(std::io::stdout(), "\n{table}\nwritten to {}\n", options.output.display())?;
    Ok(faults == 0)
}

fn say(text: &str) {
    let _ = writeln!(stderr(), "bench: {text}");
}

/// The servers, side by side. Fields are dropped in order: the stub last.
struct Contest {
    ground: Ground,
    gateway: Target,
    nginx: Target,
    stub: Target,
    /// The program.
    northgate: PathBuf,
    /// Northgate's audit journal; none when a second nginx stands in for it.
    journal: Option<PathBuf>,
    gateway_process: Running,
    nginx_process: Running,
    stub_process: Running,
}

impl Contest {
    fn begin(options: &Options) -> Result<Self> {
        say("starting the stub, nginx and Northgate");
        let ground = Ground::prepare(&options.folder)?;
        let (stub_process, upstream) = setup::start_stub()?;
        let (nginx_process, nginx) = setup::start_nginx(&ground, "nginx", upstream)?;
        let (gateway_process, gateway, journal) = if options.twice_nginx {
            let (process, address) = setup::start_nginx(&ground, "second", upstream)?;
            (process, address, None)
        } else {
            let started = gateway::start(&ground, "northgate", &options.northgate, upstream, &ground.folder)?;
            (started.process, started.address, Some(started.journal))
        };
        let contest = Self {
            gateway: ground.target(gateway),
            nginx: ground.target(nginx),
            stub: Target { address: upstream, tls: None, tokens: ground.tokens.clone() },
            ground,
            journal,
            gateway_process,
            nginx_process,
            stub_process,
            northgate: options.northgate.clone(),
        };
        contest.check_work()?;
        Ok(contest)
    }

    /// A gateway that passes statements on as they are, or changes rows, would be fast and wrong.
    fn check_work(&self) -> Result<()> {
        let expected = pages::stream_data();
        // The array itself: a gateway may set the key and the commas as it likes.
        let rows = expected.trim_start_matches("\"data\":").trim_end_matches(',');
        load::stream(&self.gateway, Some(rows.as_bytes()))?;
        load::submit(&self.gateway, Duration::ZERO)?;
        let last = last_statement(self.stub.address)?;
        match &self.journal {
            Some(journal) => {
                library::check_rewritten(&last)?;
                if Journal::read(journal)?.records == 0 {
                    return Err(unusable("Northgate has written no audit"));
                }
            }
            None if last != Mode::Submit.statement() => {
                return Err(unusable("nginx has changed the statement"));
            }
            None => {}
        }
        Ok(())
    }

    fn measure(&self, group: Group) -> Result<Vec<Figure>> {
        match group {
            Group::Library | Group::Program => Ok(Vec::new()),
            Group::Latency => self.latency(),
            Group::Throughput => self.throughput(),
            Group::Submit => self.submit(),
            Group::Stream => self.stream(),
            Group::Peer => self.peer(),
            Group::Cache => {
                say("answers that are given again");
                cache::served(&self.ground, &self.northgate, self.stub.address)
            }
            Group::CacheOfTrino => {
                say("answers that are given again, and Trino's");
                cache::against_trino(&self.ground, &self.northgate)
            }
            Group::Waiting => {
                say("queries that wait");
                waiting::memory(&self.ground, &self.northgate, &self.stub).map(|figure| vec![figure])
            }
            Group::Interactive => {
                say("people while jobs have every slot");
                waiting::interactive(&self.ground, &self.northgate, &self.stub).map(|figure| vec![figure])
            }
        }
    }

    /// Runs `measure` on each server in turn, `count` times round, so that a machine that slows down slows all of them;
    /// who goes first changes from round to round.
    fn rounds<T>(
        &self,
        count: usize,
        mut measure: impl FnMut(&Target, &Running) -> Result<T>,
    ) -> Result<Sides<T>> {
        let mut sides = Sides { gateway: Vec::new(), nginx: Vec::new(), stub: Vec::new() };
        for round in 0..count {
            for step in 0..2 {
                if (round + step) % 2 == 0 {
                    sides.gateway.push(measure(&self.gateway, &self.gateway_process)?);
                } else {
                    sides.nginx.push(measure(&self.nginx, &self.nginx_process)?);
                }
            }
            sides.stub.push(measure(&self.stub, &self.stub_process)?);
        }
        Ok(sides)
    }

    fn latency(&self) -> Result<Vec<Figure>> {
        say("poll latency");
        let sides = self.rounds(12, |target, _| {
            let mut polls = load::poll(target, LATENCY_CONNECTIONS, Duration::from_millis(400))?;
            Ok((polls.latencies.micros(0.5), polls.latencies.micros(0.99)))
        })?;
        let (p50, p99) = (sides.medians(|(p50, _)| *p50), sides.medians(|(_, p99)| *p99));
        let note =
            |stub: f64| format!("stub alone {stub:.0} us, without TLS; {LATENCY_CONNECTIONS} connections");
        Ok(vec![
            Figure::against(p50.nginx, Figure::alone("poll_latency_p50", p50.gateway, "us", "<= 2"))?
                .note(note(p50.stub)),
            Figure::against(p99.nginx, Figure::alone("poll_latency_p99", p99.gateway, "us", "<= 3"))?
                .note(note(p99.stub)),
        ])
    }

    fn throughput(&self) -> Result<Vec<Figure>> {
        say("requests per second");
        let sides = self.rounds(12, |target, _| {
            Ok(load::poll(target, THROUGHPUT_CONNECTIONS, Duration::from_millis(600))?.per_second)
        })?;
        let per_second = sides.medians(|rate| *rate);
        Ok(vec![
            Figure::against(
                per_second.nginx,
                Figure::alone("requests_per_second", per_second.gateway, "1/s", ">= 0.5"),
            )?
            .note(format!(
                "stub alone {:.0} 1/s, without TLS; {THROUGHPUT_CONNECTIONS} connections",
                per_second.stub
            )),
        ])
    }

    /// One disk's fsync takes from a fifth of a millisecond to several from one second to the next, so that a difference of
    /// two medians would say nothing of a bound of one millisecond. The figure is therefore taken from a Northgate whose
    /// journal is in memory, where the same calls return at once; the one with its journal on the disk, and the disk's
    /// own fsync, are measured in the same rounds and printed beside it.
    fn submit(&self) -> Result<Vec<Figure>> {
        say("submit latency");
        let in_memory = self.journal.as_ref().map(|_| self.gateway_in_memory()).transpose()?;
        let (mut on_disk, mut syncs, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let rounds = self.rounds(6, |target, _| {
            if target.address != self.gateway.address {
                return Ok(load::submit(target, SUBMIT_TIME)?.micros(0.5));
            }
            let (Some(memory), Some(journal)) = (&in_memory, &self.journal) else {
                syncs.push(sync_micros(&self.ground.folder, TYPICAL_RECORD)?);
                return Ok(load::submit(target, SUBMIT_TIME)?.micros(0.5));
            };
            let before = Journal::read(journal)?;
            on_disk.push(load::submit(target, SUBMIT_TIME)?.micros(0.5));
            let size = Journal::read(journal)?.record_since(&before)?;
            syncs.push(sync_micros(&self.ground.folder, size)?);
            sizes.push(size as f64);
            Ok(load::submit(&memory.target, SUBMIT_TIME)?.micros(0.5))
        })?;
        let p50 = rounds.medians(|p50| *p50);
        let (sync, disk) = (median(syncs), median(on_disk));
        Ok(vec![Figure::alone("submit_latency_p50", (p50.gateway - p50.nginx) / 1000.0, "ms", "<= 1").note(
            format!(
                "{:.0} us with the journal in memory, less nginx's {:.0} us; stub alone {:.0} us; \
             with the journal on the disk {disk:.0} us, where an fsync of {:.0} bytes takes {sync:.0} us",
                p50.gateway,
                p50.nginx,
                p50.stub,
                median(sizes),
            ),
        )])
    }

    fn gateway_in_memory(&self) -> Result<InMemory> {
        let folder = tempfile::Builder::new().prefix("northgate-bench-").tempdir_in("/dev/shm");
        let folder = folder.trying(|| "make a folder in memory, in /dev/shm".into())?;
        processes::remove_on_signal(folder.path());
        let started =
            gateway::start(&self.ground, "in-memory", &self.northgate, self.stub.address, folder.path())?;
        let target = self.ground.target(started.address);
        load::submit(&target, Duration::ZERO)?;
        if Journal::read(&started.journal)?.records == 0 {
            return Err(unusable("Northgate has written no audit in memory"));
        }
        Ok(InMemory { target, _process: started.process, _folder: folder })
    }

    /// Both figures come of the same polls, of Northgate and trino-gateway in turn. Northgate does what it always does: TLS,
    /// a token that is checked, links that are opened and sealed.
    fn peer(&self) -> Result<Vec<Figure>> {
        say("trino-gateway");
        let (_process, target) = peer::start(&self.ground, self.stub.address)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..6 {
            for step in 0..2 {
                let (target, sides) =
                    if (round + step) % 2 == 0 { (&self.gateway, &mut ours) } else { (&target, &mut theirs) };
                let mut polls = load::poll(target, peer::CONNECTIONS, Duration::from_secs(2))?;
                sides.push((polls.latencies.micros(0.5), polls.per_second));
            }
        }
        let p50 = |sides: &[(f64, f64)]| median(sides.iter().map(|(p50, _)| *p50).collect());
        let rate = |sides: &[(f64, f64)]| median(sides.iter().map(|(_, rate)| *rate).collect());
        let note = format!(
            "the baseline is trino-gateway 20, without TLS or a login; {} connections",
            peer::CONNECTIONS
        );
        let latency = Figure::alone("peer_latency_p50", p50(&ours), "us", "<= 0.1");
        let requests = Figure::alone("peer_requests_per_second", rate(&ours), "1/s", ">= 15");
        Ok(vec![
            Figure::against(p50(&theirs), latency)?.note(note.clone()),
            Figure::against(rate(&theirs), requests)?.note(note),
        ])
    }

    fn stream(&self) -> Result<Vec<Figure>> {
        say("a stream of 1 GB");
        let sides = self.rounds(7, |target, process| {
            let watch = MemoryWatch::begin(family(process.pid()));
            let streamed = load::stream(target, None);
            let memory = watch.end();
            let streamed = streamed?;
            Ok((streamed.bytes as f64 / 1e6 / streamed.time.as_secs_f64(), memory as f64 / 1e6))
        })?;
        let speed = sides.medians(|(speed, _)| *speed);
        let memory = sides.gateway.iter().map(|(_, memory)| *memory).fold(0.0, f64::max);
        if memory <= 0.0 {
            return Err(unusable("the memory of the process can't be read"));
        }
        let nginx_memory = sides.medians(|(_, memory)| *memory).nginx;
        Ok(vec![
            Figure::against(
                speed.nginx,
                Figure::alone("stream_1gb_throughput", speed.gateway, "MB/s", ">= 0.8"),
            )?
            .note(format!("stub alone {:.0} MB/s, without TLS; one connection", speed.stub)),
            Figure::alone("stream_1gb_rss", memory, "MB", "<= 64")
                .note(format!("highest of all rounds; nginx, its processes together: {nginx_memory:.0} MB")),
        ])
    }
}

/// A second Northgate, whose journal costs no disk. Fields are dropped in order: the process first.
struct InMemory {
    target: Target,
    _process: Running,
    _folder: tempfile::TempDir,
}

/// What each side gave, one to a round.
struct Sides<T> {
    gateway: Vec<T>,
    nginx: Vec<T>,
    stub: Vec<T>,
}

struct Medians {
    gateway: f64,
    nginx: f64,
    stub: f64,
}

impl<T> Sides<T> {
    fn medians(&self, figure: impl Fn(&T) -> f64) -> Medians {
        let of = |side: &[T]| median(side.iter().map(&figure).collect());
        Medians { gateway: of(&self.gateway), nginx: of(&self.nginx), stub: of(&self.stub) }
    }
}

/// The middle value; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// The statement that the stub was sent last.
fn last_statement(stub: SocketAddr) -> Result<String> {
    let mut socket = TcpStream::connect(stub).trying(|| "connect to the stub".into())?;
    socket.write_all(b"GET /bench/last HTTP/1.1\r\nHost: stub\r\n\r\n")?;
    let mut reader = Reader::new(socket);
    let head = reader.head()?.ok_or_else(|| unusable("the stub has gone"))?;
    let mut body = Vec::new();
    reader.body(&head, |piece| body.extend_from_slice(piece))?;
    let text = String::from_utf8_lossy(&body);
    let (_, statement) = text.split_once('\n').ok_or_else(|| unusable("the stub knows no statement"))?;
    Ok(statement.to_owned())
}

/// How much the audit has written.
struct Journal {
    bytes: usize,
    records: usize,
}

impl Journal {
    fn read(folder: &Path) -> Result<Self> {
        let mut journal = Self { bytes: 0, records: 0 };
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).trying(|| format!("read {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = fs::read(&path)?;
                journal.bytes += bytes.len();
                journal.records += memchr::memchr_iter(b'\n', &bytes).count();
            }
        }
        Ok(journal)
    }

    /// The mean size of what one query has made durable: half of its records are intents.
    fn record_since(&self, before: &Self) -> Result<usize> {
        let records = self.records.saturating_sub(before.records);
        let bytes = self.bytes.saturating_sub(before.bytes);
        if records < 2 {
            Err(unusable("the audit has no record of the queries"))
        } else {
            Ok(bytes * 2 / records)
        }
    }
}

/// What it costs on this disk to append a record and make it durable: the median, in microseconds.
fn sync_micros(folder: &Path, size: usize) -> Result<f64> {
    let path = folder.join("sync-probe");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
    let record = vec![b'x'; size];
    let mut times = Vec::new();
    for _ in 0..100 {
        let before = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(path)?;
    Ok(median(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expect) in [(vec![], 0.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0], 2.5)] {
            assert_eq!(median(values).to_bits(), f64::to_bits(expect));
        }
    }

    #[test]
    fn every_figure_has_one_group() {
        let mut names: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        let of_library = GROUPS.iter().find(|(group, _)| *group == Group::Library).map(|(_, names)| *names);
        assert_eq!(of_library, Some(&LIBRARY.map(|(name, _)| name)[..]));
    }
}
