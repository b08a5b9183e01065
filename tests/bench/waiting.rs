//! Queries that wait: what they take of memory, and how long people wait while jobs have every slot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::bank::Mode;
use crate::fault::{Fault, Result, unusable};
use crate::gateway::{self, Extra};
use crate::load::{Client, Latencies, Target};
use crate::processes::{MemoryWatch, bytes_of};
use crate::report::Figure;
use crate::setup::Ground;

/// How many wait, unless `BENCH_WAITING` says another number.
const WAITING: usize = 50_000;
/// Over so many connections (HTTP/2) they come, so many at once on each: the gateway holds each POST for a second. What is
/// measured are queries, not connections.
const CONNECTIONS: usize = 10;
const AT_ONCE: usize = 100;

/// Slots of the gateway, jobs that want one, and for how long each has it.
const SLOTS: usize = 20;
const JOBS: usize = 40;
const JOB_LASTS: Duration = Duration::from_secs(5);
/// People, how long each of their queries takes, and the pause until the next.
const PEOPLE: usize = 4;
const QUERY_LASTS: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(300);
/// How long people ask, and after how long: by then jobs have every slot that they may have.
const ASKED_FOR: Duration = Duration::from_secs(20);
const SATURATED_AFTER: Duration = Duration::from_secs(3);

/// `waiting_50k_rss`: the highest resident memory of a gateway in which so many queries wait.
pub(crate) fn memory(ground: &Ground, program: &Path, upstream: &Target) -> Result<Figure> {
    let count = match std::env::var("BENCH_WAITING") {
        Ok(text) => text.parse().map_err(|_| unusable("BENCH_WAITING is no number"))?,
        Err(_) => WAITING,
    };
    let limits = format!(
        "\nrunning = 1\nrunning_per_principal = 1\nqueued = {count}\nqueued_per_principal = {count}\n"
    );
    let extra = Extra { configuration: &limits, ..Extra::default() };
    let started = gateway::start_with(ground, "waiting", program, upstream.address, &ground.folder, extra)?;
    let target = ground.target(started.address);
    let pid = started.process.pid();
    // It has the only slot.
    let mut first = Client::connect_as(&target, 0, "bench")?;
    let running = first.submit(Mode::Poll)?;
    let empty = bytes_of(pid, "VmRSS");
    let watch = MemoryWatch::begin(vec![pid]);
    let waited = all_wait(&target, count);
    let highest = watch.end();
    waited?;
    first.cancel(&running)?;
    if highest == 0 {
        return Err(unusable("the memory of the process can't be read"));
    }
    #[allow(clippy::cast_precision_loss)] // megabytes
    let (megabytes, each) = (highest as f64 / 1e6, highest.saturating_sub(empty) / count.max(1) as u64);
    let note = format!("{count} wait; {:.1} MB before; {each} bytes for each", empty as f64 / 1e6);
    Ok(Figure::alone("waiting_50k_rss", megabytes, "MB", "<= 256").note(note))
}

/// Returns when so many wait.
fn all_wait(target: &Target, count: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let left = Arc::new(AtomicUsize::new(count));
        let mut tasks = JoinSet::new();
        // They stay open to the end.
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            let sender = connected(target).await?;
            connections.push(sender.clone());
            let token = target.tokens.get(number % target.tokens.len().max(1)).cloned().unwrap_or_default();
            for _ in 0..AT_ONCE {
                tasks.spawn(posting(sender.clone(), target.address, token.clone(), Arc::clone(&left)));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap_or_else(|_| Err(unusable("a load task panicked")))?;
        }
        Ok(())
    })
}

fn broken(error: &dyn std::fmt::Display) -> Fault {
    unusable(format!("HTTP/2: {error}"))
}

async fn connected(target: &Target) -> Result<SendRequest<Full<Bytes>>> {
    let tls = target.tls.as_ref().ok_or_else(|| unusable("HTTP/2 without TLS"))?;
    let mut tls = (**tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(target.address).await?;
    let name = ServerName::from(target.address.ip());
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Posts queries, one after another, as long as some are left.
async fn posting(
    mut sender: SendRequest<Full<Bytes>>,
    address: std::net::SocketAddr,
    token: String,
    left: Arc<AtomicUsize>,
) -> Result<()> {
    let one_more =
        || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    while one_more() {
        let request = Request::post(format!("https://{address}/v1/statement"))
            .header("authorization", format!("Bearer {token}"))
            .header("user-agent", "trino-jdbc/484")
            .header("x-trino-source", "bench")
            .header("x-trino-time-zone", "Europe/Amsterdam")
            .header("x-trino-language", "en-US")
            .header("x-trino-client-capabilities", "PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION")
            .header("x-trino-transaction-id", "NONE")
            .body(Full::from(Mode::Poll.statement()))
            .map_err(|error| broken(&error))?;
        sender.ready().await.map_err(|error| broken(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let page = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        if memchr::memmem::find(&page, br#""state":"QUEUED""#).is_none() {
            return Err(unusable(format!("a query does not wait: {}", String::from_utf8_lossy(&page))));
        }
    }
    Ok(())
}

/// `interactive_wait_p95`: from the POST of a person's query to the first page that says that it runs, while twice as many
/// jobs as there are slots run for five seconds each.
pub(crate) fn interactive(ground: &Ground, program: &Path, upstream: &Target) -> Result<Figure> {
    let limits = format!("\nrunning = {SLOTS}\nrunning_per_principal = {SLOTS}\n");
    let extra = Extra { configuration: &limits, ..Extra::default() };
    let started =
        gateway::start_with(ground, "interactive", program, upstream.address, &ground.folder, extra)?;
    let target = ground.target(started.address);
    let over = AtomicBool::new(false);
    let jobs_run = AtomicUsize::new(0);
    let job = |number: usize| -> Result<()> {
        let mut client = Client::connect_as(&target, number, "Apache Airflow")?;
        while !over.load(Ordering::Relaxed) {
            let Some(()) = hold(&mut client, JOB_LASTS, &over)?.map(drop) else { break };
            jobs_run.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let person = |number: usize| -> Result<Vec<Duration>> {
        let mut client = Client::connect_as(&target, number, "Tableau")?;
        thread::sleep(SATURATED_AFTER);
        let (began, mut waits) = (Instant::now(), Vec::new());
        while began.elapsed() < ASKED_FOR {
            waits.extend(hold(&mut client, QUERY_LASTS, &AtomicBool::new(false))?);
            thread::sleep(PAUSE);
        }
        Ok(waits)
    };
    let mut waits = Latencies::default();
    thread::scope(|scope| -> Result<()> {
        let broken = |_| Err(unusable("a load thread panicked"));
        let jobs: Vec<_> = (0..JOBS).map(|number| scope.spawn(move || job(number))).collect();
        let people: Vec<_> = (0..PEOPLE).map(|number| scope.spawn(move || person(number))).collect();
        let asked: Vec<Result<Vec<Duration>>> = people
            .into_iter()
            .map(|person| person.join().unwrap_or_else(|_| Err(unusable("a load thread panicked"))))
            .collect();
        over.store(true, Ordering::Relaxed);
        jobs.into_iter().try_for_each(|job| job.join().unwrap_or_else(broken))?;
        for one in asked {
            one?.into_iter().for_each(|wait| waits.add(wait));
        }
        Ok(())
    })?;
    if waits.len() == 0 || jobs_run.load(Ordering::Relaxed) < SLOTS {
        return Err(unusable("nobody asked, or the slots were not full"));
    }
    let (p95, highest) = (waits.micros(0.95) / 1e6, waits.micros(1.0) / 1e6);
    let note = format!(
        "{} queries, the longest wait {highest:.2} s; {SLOTS} slots, {} jobs of 5 s",
        waits.len(),
        jobs_run.load(Ordering::Relaxed)
    );
    Ok(Figure::alone("interactive_wait_p95", p95, "s", "<= 1").note(note))
}

/// Runs a query for that long, asking for its pages as a driver does: how long it has waited. `None` if all is over before it
/// runs.
fn hold(client: &mut Client, time: Duration, over: &AtomicBool) -> Result<Option<Duration>> {
    let before = Instant::now();
    let mut page = client.submit(Mode::Poll)?;
    let waited = before.elapsed();
    let end = Instant::now() + time;
    while Instant::now() < end && !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100).min(time / 4));
        page = client.follow(&page)?;
    }
    client.cancel(&page)?;
    Ok((!over.load(Ordering::Relaxed)).then_some(waited))
}
