//! The threads that serve connections.
//!
//! A request and the answer to it pass through several tasks: the client's connection, the connection to the
//! cluster, and what is between them. Where these run on different threads, each step wakes a thread, and that
//! costs more than the step. So each thread has a runtime of its own, and a connection stays on one for its life.
//! Whatever takes long must be done elsewhere: a thread that computes serves nobody.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The threads. They end when this is dropped.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    _running: DropGuard,
}

struct Lane {
    runtime: Handle,
    /// Connections that it serves.
    open: Arc<AtomicUsize>,
}

/// Counts a connection of a lane.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// Starts as many as the process has processors.
    pub(super) fn start() -> io::Result<Self> {
        let running = CancellationToken::new();
        let count = available_parallelism().map_or(1, usize::from);
        let lanes = (0..count).map(|number| Lane::start(number, running.clone())).collect::<io::Result<_>>();
        // Were one not to start, those that did would end with the guard.
        let guard = running.drop_guard();
        Ok(Self { lanes: lanes?, _running: guard })
    }

    /// Serves a connection on the thread that has the fewest.
    pub(super) fn serve<F, S>(&self, stream: TcpStream, tracker: &TaskTracker, serve: S) -> io::Result<()>
    where
        S: FnOnce(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(lane) = self.lanes.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed)) else {
            return Err(io::Error::other("no thread serves connections"));
        };
        // The socket is waited for by the runtime that serves it.
        let stream = stream.into_std()?;
        lane.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&lane.open));
        let task = async move {
            let _open = open;
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection cannot be served"),
            }
        };
        tracker.spawn_on(task, &lane.runtime);
        Ok(())
    }
}

impl Lane {
    fn start(number: usize, running: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name(format!("connections-{number}"))
            .spawn(move || runtime.block_on(running.cancelled()))?;
        Ok(Self { runtime: handle, open: Arc::default() })
    }
}
