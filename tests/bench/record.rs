//! The audit, measured in this process: how fast it records, and what may be asked of ten million records.
//!
//! The log that is verified, exported and searched is made here, in the layout of c2sp.org/tlog-tiles, with records of a
//! month that the gateway would take a month to write.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use northgate::audit::take::{self, Format, Place, Selection};
use northgate::audit::{Asked, Asker, Audit, Basis, Config, Intent, Outcome, Read, State, Verifier, verify};
use signed_note::{Note, StandardSigner};
use tlog_tiles::{Checkpoint, Hash, Tile, node_hash, record_hash};

use crate::fault::{Result, Trying as _, unusable};
use crate::report::Figure;

const FOLDER: &str = "target/bench-audit";
/// What the figures are about.
const MEANT: u64 = 10_000_000;
/// Users of the log, and its days.
const USERS: u64 = 1000;
const DAYS: u64 = 30;
/// How many are exported at most.
const EXPORTED: u64 = 2_000_000;
/// Tasks that record, and for how long.
const TASKS: usize = 512;
const TIME: Duration = Duration::from_secs(10);
/// The load under which a query's wait is measured: records a second, two to a query.
const LOAD: u64 = 20_000;

/// How many records are made: `BENCH_AUDIT_RECORDS`, else a tenth of what is meant; times are then taken ten times.
fn count() -> u64 {
    let given = std::env::var("BENCH_AUDIT_RECORDS").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(MEANT / 10) / 512 * 512
}

fn scaled(seconds: f64) -> f64 {
    seconds * MEANT as f64 / count() as f64
}

/// A query such as analysts write.
fn intent(n: u64) -> Intent {
    let table = format!("lake.silver.table_{}", n % 200);
    let text = format!(
        "SELECT c.customer_id, c.name, sum(t.amount) AS total FROM {table} t JOIN lake.silver.customers c \
         ON c.customer_id = t.customer_id WHERE t.booked_on >= DATE '2026-{:02}-01' GROUP BY 1, 2",
        n % 12 + 1
    );
    let read = |name: &str| Read {
        name: name.to_owned(),
        columns: vec!["amount".into(), "booked_on".into(), "customer_id".into()],
        filters: 1,
        ..Read::default()
    };
    Intent {
        query: format!("20261123_000000_{n:08}_bench"),
        asker: Asker {
            principal: format!("user-{:04}", n * 7919 % USERS),
            auth_method: "jwt".into(),
            groups: vec!["analysts".into(), "eu".into()],
            peer: "10.20.30.40:51234".into(),
            source: Some("trino-jdbc".into()),
            ..Asker::default()
        },
        asked: Asked {
            text: text.clone(),
            kind: Some("SELECT".into()),
            relations: vec![table.clone(), "lake.silver.customers".into()],
            tables: vec![read(&table), read("lake.silver.customers")],
            ..Asked::default()
        },
        rewritten: format!("{text} -- with the filter in place"),
        basis: Basis {
            policy_revision: "5d2c4f0a9b8e7d6c".into(),
            documents: vec!["eu (bank.yaml:7)".into()],
            sensitive: false,
        },
        decision: "restricted".into(),
        cached: northgate::audit::Cached::default(),
    }
}

/// A log with its key.
struct Log {
    config: Config,
    verifier: Verifier,
    records: u64,
}

fn config(folder: &Path) -> Config {
    Config { folder: folder.to_owned(), ..Config::default() }
}

/// The log, made when it is first asked for.
fn log() -> Result<&'static Log> {
    static LOG: OnceLock<std::result::Result<Log, String>> = OnceLock::new();
    let made =
        LOG.get_or_init(|| make(&PathBuf::from(FOLDER).join("log")).map_err(|fault| fault.to_string()));
    made.as_ref().map_err(|fault| unusable(fault.clone()))
}

fn make(folder: &Path) -> Result<Log> {
    drop(fs::remove_dir_all(folder.parent().unwrap_or(folder)));
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let config = config(folder);
    // The gateway makes the key; what it recorded is of no use here.
    let begun = runtime()?.block_on(async {
        let audit = Audit::open(&config).map_err(|error| unusable(error.to_string()))?;
        audit.close().await.map_err(|error| unusable(error.to_string()))
    });
    begun?;
    let key = fs::read_to_string(folder.with_extension("key"))?;
    let verifier = fs::read_to_string(folder.join("verifier"))?;
    fs::remove_dir_all(folder)?;
    let records = count();
    let mut tree = Tree { folder: folder.to_owned(), levels: Vec::new(), peaks: Vec::new() };
    let began: Timestamp = "2026-11-01T00:00:00Z".parse().map_err(|_| unusable("a bad time"))?;
    let step = DAYS * 86_400_000_000 / records;
    let (mut bundle, mut leaves) = (Vec::new(), Vec::new());
    for n in 0..records {
        let micros = i64::try_from(n * step).map_err(|_| unusable("a bad time"))?;
        let time = began + SignedDuration::from_micros(micros);
        let head = format!(
            "{{\"v\":1,\"run\":\"00112233445566778899aabbccddeeff\",\"seq\":{},\"time\":\"{time:.6}\",\"tick_us\":{micros},",
            n + 1
        );
        let query = n / 2;
        let line = if n % 2 == 0 {
            let body = serde_json::to_string(&intent(query)).map_err(|error| unusable(error.to_string()))?;
            format!("{head}\"type\":\"intent\",{}", &body[1..])
        } else {
            format!(
                "{head}\"type\":\"outcome\",\"query\":\"20261123_000000_{query:08}_bench\",\"state\":\"finished\",\
                 \"trino_query\":\"20261123_000000_00000_abcde\",\"cluster\":\"trino\",\"rows\":{query},\"bytes\":1000,\"elapsed_ms\":12}}"
            )
        };
        leaves.extend_from_slice(&record_hash(line.as_bytes()).0);
        let length = u16::try_from(line.len()).map_err(|_| unusable("a long record"))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(line.as_bytes());
        if (n + 1) % 256 == 0 {
            tree.write("entries", n / 256, 256, &bundle)?;
            tree.push(0, n / 256, &std::mem::take(&mut leaves))?;
            bundle.clear();
        }
    }
    let root = tree.end()?;
    let wrong = |error: &dyn std::fmt::Display| unusable(error.to_string());
    let checkpoint = Checkpoint::new("northgate", records, root, "").map_err(|error| wrong(&error))?;
    let signer = StandardSigner::new(key.trim()).map_err(|error| wrong(&error))?;
    let mut note = Note::new(&checkpoint.to_bytes(), &[]).map_err(|error| wrong(&error))?;
    note.add_sigs(&[&signer]).map_err(|error| wrong(&error))?;
    fs::write(folder.join("checkpoint"), note.to_bytes())?;
    let verifier = Verifier::new(&verifier).map_err(|error| wrong(&error))?;
    Ok(Log { config, verifier, records })
}

/// A tree of whole bundles.
struct Tree {
    folder: PathBuf,
    /// Of each level above the lowest, the hashes in the tile that is not full, and its number.
    levels: Vec<(Vec<u8>, u64)>,
    /// Subtrees of sizes that are powers of two, the largest first.
    peaks: Vec<(u64, Hash)>,
}

impl Tree {
    fn write(&self, kind: &str, n: u64, width: usize, bytes: &[u8]) -> Result<()> {
        let mut path = format!("{:03}", n % 1000);
        let mut rest = n / 1000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1000);
            rest /= 1000;
        }
        let part = if width < 256 { format!(".p/{width}") } else { String::new() };
        let path = self.folder.join(format!("tile/{kind}/{path}{part}"));
        if n.is_multiple_of(1000) || width < 256 {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
        }
        let mut file = File::create(&path).trying(|| format!("make {}", path.display()))?;
        Ok(file.write_all(bytes)?)
    }

    /// Adds a full tile.
    fn push(&mut self, level: usize, n: u64, tile: &[u8]) -> Result<()> {
        self.write(&level.to_string(), n, 256, tile)?;
        let hash = Tile::subtree_hash(tile);
        if level == 0 {
            self.peaks.push((1, hash));
            while let [.., (left_size, left), (size, right)] = self.peaks[..]
                && left_size == size
            {
                self.peaks.truncate(self.peaks.len() - 2);
                self.peaks.push((size * 2, node_hash(left, right)));
            }
        }
        if self.levels.len() == level {
            self.levels.push((Vec::new(), 0));
        }
        let (above, number) = &mut self.levels[level];
        above.extend_from_slice(&hash.0);
        if above.len() < 256 * 32 {
            return Ok(());
        }
        let (full, n) = (std::mem::take(above), *number);
        *number += 1;
        self.push(level + 1, n, &full)
    }

    /// Writes the tiles that are not full, and gives the root.
    fn end(&self) -> Result<Hash> {
        for (level, (bytes, n)) in self.levels.iter().enumerate().filter(|(_, (bytes, _))| !bytes.is_empty())
        {
            self.write(&(level + 1).to_string(), *n, bytes.len() / 32, bytes)?;
        }
        let mut peaks = self.peaks.iter().rev().map(|(_, hash)| *hash);
        let last = peaks.next().ok_or_else(|| unusable("no records"))?;
        Ok(peaks.fold(last, |right, left| node_hash(left, right)))
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The memory of this process was at its most, in MB, since it was last asked to forget.
pub(crate) fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1000.0
}

pub(crate) fn forget_peak() {
    drop(fs::write("/proc/self/clear_refs", "5"));
}

/// Queries that are recorded by many at a time, as fast as they can or at a rate. Gives the records a second, and the median
/// of the time that a query waits for its intent.
fn record(rate: Option<u64>) -> Result<(f64, Duration)> {
    let folder = PathBuf::from(FOLDER).with_extension("written");
    drop(fs::remove_dir_all(&folder));
    drop(fs::remove_file(folder.with_extension("key")));
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let audit = Audit::open(&config(&folder)).map_err(|error| unusable(error.to_string()))?;
        let audit = Arc::new(audit);
        let began = Instant::now();
        let tasks = (0..TASKS as u64).map(|task| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move {
                let (mut waits, mut n) = (Vec::new(), task << 32);
                let pause = rate.map(|rate| Duration::from_secs_f64(2.0 * TASKS as f64 / rate as f64));
                let mut due = began + pause.unwrap_or_default().mul_f64(task as f64 / TASKS as f64);
                while began.elapsed() < TIME {
                    if let Some(pause) = pause {
                        tokio::time::sleep_until(due.into()).await;
                        due += pause;
                    }
                    let asked = Instant::now();
                    let guard = audit.intend(intent(n)).await.map_err(|error| error.to_string())?;
                    waits.push(asked.elapsed());
                    guard.add(10, 1000);
                    guard.finish(&Outcome::of(State::Finished));
                    n += 1;
                }
                Ok::<_, String>(waits)
            })
        });
        let mut waits = Vec::new();
        for task in futures_util::future::join_all(tasks).await {
            let task = task.map_err(|error| unusable(error.to_string()))?;
            waits.extend(task.map_err(unusable)?);
        }
        audit.close().await.map_err(|error| unusable(error.to_string()))?;
        // With the last record durable, and the last checkpoint signed.
        Ok::<_, crate::fault::Fault>((began.elapsed(), waits))
    });
    let (time, mut waits) = done?;
    waits.sort_unstable();
    let verifier = fs::read_to_string(folder.join("verifier"))?;
    let verifier = Verifier::new(&verifier).map_err(|error| unusable(error.to_string()))?;
    let verdict = verify::folder(&folder, &verifier, &[], &[])?;
    let records = 2 * waits.len() as u64 + 1;
    if !verdict.faults.is_empty() || verdict.records != records {
        return Err(unusable(format!("{records} records were written, and verified: {verdict:?}")));
    }
    drop(fs::remove_dir_all(&folder));
    let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
    Ok((records as f64 / time.as_secs_f64(), median))
}

pub(crate) fn per_second() -> Result<Figure> {
    let (rate, median) = record(None)?;
    let note =
        format!("{TASKS} at a time, each waits {:.1} ms; sealed and verified", median.as_secs_f64() * 1e3);
    Ok(Figure::alone("audit_records_per_second", rate, "records/s", ">=20000").note(note))
}

pub(crate) fn added() -> Result<Figure> {
    let (rate, median) = record(Some(LOAD))?;
    let note = format!("at {rate:.0} records a second");
    Ok(Figure::alone("audit_added_p50", median.as_secs_f64() * 1e3, "ms", "<=5").note(note))
}

pub(crate) fn verified() -> Result<Figure> {
    let log = log()?;
    forget_peak();
    let began = Instant::now();
    let verdict = verify::folder(&log.config.folder, &log.verifier, &[], &[])?;
    let seconds = began.elapsed().as_secs_f64();
    if !verdict.faults.is_empty() || verdict.records != log.records {
        return Err(unusable(format!("the log does not verify: {verdict:?}")));
    }
    let note = format!("{} records in {seconds:.1} s, at most {:.0} MB of memory", log.records, peak());
    Ok(Figure::alone("audit_verify_10m", scaled(seconds), "s", "<=120").note(note))
}

pub(crate) fn exported() -> Result<Figure> {
    let log = log()?;
    let to = PathBuf::from(FOLDER).join("export");
    drop(fs::remove_dir_all(&to));
    // The beginning of the log.
    let hours = (DAYS * 24 * EXPORTED.min(log.records) / log.records).cast_signed();
    let began: Timestamp = "2026-11-01T00:00:00Z".parse().map_err(|_| unusable("a bad time"))?;
    let selection = Selection { to: Some(began + SignedDuration::from_hours(hours)), ..Selection::default() };
    let place = Place::Folder(log.config.folder.clone());
    forget_peak();
    let began = Instant::now();
    let made = take::export(&place, &log.config, &selection, Format::Parquet, &to, &|_, _| Ok(()));
    let made = made.map_err(|error| unusable(error.to_string()))?;
    let seconds = began.elapsed().as_secs_f64();
    let memory = peak();
    let verdict = take::verify_export(&to, &log.verifier, &[])?;
    if !verdict.faults.is_empty() || verdict.records != made.records {
        return Err(unusable(format!("the export does not verify: {:?}", verdict.faults.first())));
    }
    let note =
        format!("{} records, {} MB, at most {memory:.0} MB of memory", made.records, made.bytes / 1_000_000);
    drop(fs::remove_dir_all(&to));
    Ok(Figure::alone("audit_export_rate", made.records as f64 / seconds, "records/s", ">=200000").note(note))
}

pub(crate) fn searched() -> Result<Figure> {
    let log = log()?;
    let place = Place::Folder(log.config.folder.clone());
    let day: Timestamp = "2026-11-17T00:00:00Z".parse().map_err(|_| unusable("a bad time"))?;
    let selection = Selection {
        from: Some(day),
        to: Some(day + SignedDuration::from_hours(24)),
        user: Some("user-0042".into()),
        ..Selection::default()
    };
    let mut best = f64::INFINITY;
    let mut found = 0;
    for _ in 0..3 {
        found = 0;
        let began = Instant::now();
        let line = |_: u64, _: &[u8]| {
            found += 1;
            true
        };
        take::search(&place, &selection, line).map_err(|error| unusable(error.to_string()))?;
        best = best.min(began.elapsed().as_secs_f64());
    }
    let expected = log.records / DAYS / USERS;
    if found + 4 < expected || found > expected + 4 {
        return Err(unusable(format!("{found} records were found, not {expected}")));
    }
    let note = format!("{found} of {} records in {best:.2} s", log.records);
    Ok(Figure::alone("audit_search_10m", scaled(best), "s", "<=2").note(note))
}
