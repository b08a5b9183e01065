//! What happens on one connection: requests in flight, and answers that nobody takes.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use super::body::Body;
use super::error::BodyError;

/// The state of a connection, shared by its driver, its requests and the bodies of its answers.
pub(super) struct Progress {
    began: Instant,
    in_flight: AtomicUsize,
    /// The number of requests whose head was read.
    requests: AtomicU64,
    /// When the last request ended, in milliseconds since the connection began.
    idle_since: AtomicU64,
    /// For each answer in flight, when the client got something to take; 0 while it is we who are waited for.
    offered: Mutex<Vec<Weak<AtomicU64>>>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            offered: Mutex::new(Vec::new()),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A request begins. It ends when the guard is dropped, which the body of its answer holds.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// The number of requests whose head was read.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How long there has been no request; zero while there is one.
    pub(super) fn idle(&self) -> Duration {
        if self.is_busy() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.now().saturating_sub(self.idle_since.load(Ordering::Relaxed)))
    }

    /// The longest time that an answer has been waiting for its client.
    pub(super) fn stalled(&self) -> Duration {
        let now = self.now();
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.retain(|answer| answer.strong_count() > 0);
        let since = offered.iter().filter_map(Weak::upgrade).map(|answer| answer.load(Ordering::Relaxed));
        let longest = since.filter(|since| *since > 0).map(|since| now.saturating_sub(since)).max();
        Duration::from_millis(longest.unwrap_or(0))
    }
}

/// A request in flight.
pub(super) struct InFlight(Arc<Progress>);

impl InFlight {
    /// The body of the answer, which holds the guard until it ends or is dropped, and notes when it is taken.
    pub(super) fn track(self, body: Body) -> Tracked {
        let offered = Arc::new(AtomicU64::new(0));
        if !body.is_end_stream() {
            let mut all = self.0.offered.lock().unwrap_or_else(PoisonError::into_inner);
            // A connection can serve any number of answers between two looks at them.
            if all.len() >= 64 {
                all.retain(|answer| answer.strong_count() > 0);
            }
            all.push(Arc::downgrade(&offered));
        }
        Tracked { body, offered, request: self }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer in flight.
pub(super) struct Tracked {
    body: Body,
    offered: Arc<AtomicU64>,
    request: InFlight,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.offered.store(0, Ordering::Relaxed);
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.offered.store(self.request.0.now().max(1), Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    #[tokio::test(start_paused = true)]
    async fn idle_busy_and_stalled() {
        let second = Duration::from_secs(1);
        let progress = Progress::new();
        tokio::time::advance(second).await;
        assert_eq!(progress.idle(), second);
        let request = progress.begin();
        assert!(progress.is_busy());
        assert_eq!(progress.idle(), Duration::ZERO);
        let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
        let endless =
            StreamBody::new(futures_util::StreamExt::chain(frames, futures_util::stream::pending()));
        let mut body = request.track(endless.boxed_unsync());
        tokio::time::advance(second).await;
        assert_eq!(progress.stalled(), Duration::ZERO, "nothing is there to be taken");
        assert!(body.frame().await.is_some());
        tokio::time::advance(second).await;
        assert_eq!(progress.stalled(), second, "the client does not ask for more");
        let waiting = tokio::time::timeout(second, body.frame()).await;
        assert!(waiting.is_err(), "there is no more");
        assert_eq!(progress.stalled(), Duration::ZERO, "it is we who are waited for");
        drop(body);
        tokio::time::advance(second).await;
        assert_eq!((progress.idle(), progress.stalled()), (second, Duration::ZERO));
    }
}
