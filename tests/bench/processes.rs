//! The servers under load: started, watched, and stopped whatever happens.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fault::{Result, Trying, unusable};

/// Processes that have been started and not yet stopped.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
/// A folder outside the bench's own, to be removed too.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);
/// How long a process may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to listen.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A server that runs until this is dropped.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    /// Starts `command`.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child =
            command.spawn().trying(|| format!("start {name} ({})", command.get_program().display()))?;
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id());
        Ok(Self { name, child })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the process writes, if it was started with a pipe.
    pub(crate) fn output(&mut self) -> Result<impl std::io::Read + use<>> {
        self.child.stdout.take().ok_or_else(|| unusable(format!("{} has no output", self.name)))
    }

    /// Waits until something listens at `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let end = Instant::now() + START_WITHIN;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Err(unusable(format!("{} ended at once: {status}", self.name)));
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(unusable(format!("{} does not listen at {address}", self.name)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.pid();
        signal("TERM", pid);
        let end = Instant::now() + STOP_WITHIN;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    let kill = format!("kill -{name} {pid}");
    let _ = Command::new("sh").args(["-c", &kill]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// On SIGINT or SIGTERM, stops everything that was started, and ends the program with 130.
pub(crate) fn stop_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        let caught = runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                caught = tokio::signal::ctrl_c() => caught,
                _ = terminate.recv() => Ok(()),
            }
        });
        if caught.is_ok() {
            let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
            started.iter().for_each(|&pid| signal("TERM", pid));
            let end = Instant::now() + STOP_WITHIN;
            let lives = |pid: &&u32| status_of(**pid).is_some_and(|status| !status.contains("State:\tZ"));
            while Instant::now() < end && started.iter().any(|pid| lives(&pid)) {
                thread::sleep(Duration::from_millis(20));
            }
            started.iter().filter(lives).for_each(|&pid| signal("KILL", pid));
            if let Some(folder) = FOLDER.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                let _ = fs::remove_dir_all(folder);
            }
            let _ = writeln!(std::io::stderr(), "bench: stopped");
            std::process::exit(130);
        }
    });
    Ok(())
}

/// Has a folder removed when a signal ends the program, which runs no destructors then.
pub(crate) fn remove_on_signal(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_path_buf());
}

/// A port of the loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).trying(|| "find a free port".into())?;
    Ok(listener.local_addr()?)
}

fn status_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

/// A figure of `/proc/PID/status` in bytes.
pub(crate) fn bytes_of(pid: u32, key: &str) -> u64 {
    let status = status_of(pid).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib =
        line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|word| word.parse().ok())).collect()
}

/// Watches the resident memory of processes.
pub(crate) struct MemoryWatch {
    pids: Vec<u32>,
    stop: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl MemoryWatch {
    /// Begins to watch. The kernel's own high-water marks are reset first, for sampling may miss a peak.
    pub(crate) fn begin(pids: Vec<u32>) -> Self {
        for pid in &pids {
            // Not allowed everywhere; then the mark is not used (see `end`).
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let (stop, highest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = thread::spawn({
            let (pids, stop, highest) = (pids.clone(), Arc::clone(&stop), Arc::clone(&highest));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let now = pids.iter().map(|&pid| bytes_of(pid, "VmRSS")).sum();
                    highest.fetch_max(now, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { pids, stop, highest, thread }
    }

    /// The highest resident memory seen, all processes together, in bytes. The kernel's high-water mark counts if it
    /// could be reset: a mark from before the watch began would be somebody else's peak, but never too low, so it counts in
    /// doubt too.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        let marks = self.pids.iter().map(|&pid| bytes_of(pid, "VmHWM")).sum();
        self.highest.load(Ordering::Relaxed).max(marks)
    }
}
