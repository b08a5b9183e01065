//! The time that the head of an HTTP/1.1 request may take, from its first byte, and the room.
//!
//! hyper has one timer for waiting between requests and for reading a head: it is set to the longer of the
//! two, the idle time. This one stops whoever sends a head byte by byte.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::progress::Progress;
use crate::shares::{Share, Shares, network};

/// Heads up to this size take none of the room for longer ones. Bytes.
const SHORT: usize = 16 << 10;
/// The unit in which room for longer ones is counted, in bytes.
const PIECE: usize = 64 << 10;
/// The part of it that one address may have.
const PART: usize = 4;

/// The room for long heads that are on their way: until one is there nobody knows who sends it.
#[derive(Clone)]
pub(super) struct Heads {
    pieces: Arc<Semaphore>,
    shares: Shares<IpAddr>,
}

type Piece = (Option<Share<IpAddr>>, OwnedSemaphorePermit);

impl Heads {
    /// Room for so many bytes.
    pub(super) fn new(total: usize) -> Self {
        let pieces = total / PIECE;
        Self { pieces: Arc::new(Semaphore::new(pieces)), shares: Shares::new(pieces / PART) }
    }

    fn take(&self, from: Option<IpAddr>) -> Option<Piece> {
        let share = match from {
            Some(from) => Some(self.shares.try_take(network(from), 1)?),
            None => None,
        };
        Some((share, Arc::clone(&self.pieces).try_acquire_owned().ok()?))
    }
}

/// How much of a head has come, and what it takes.
struct Room {
    heads: Heads,
    /// Where it comes from; none for a proxy, which sends those of many.
    from: Option<IpAddr>,
    came: usize,
    taken: Vec<Piece>,
}

impl Room {
    /// More of the head has come: whether there is room for it.
    fn fits(&mut self, more: usize) -> bool {
        self.came += more;
        while SHORT + self.taken.len() * PIECE < self.came {
            let Some(piece) = self.heads.take(self.from) else { return false };
            self.taken.push(piece);
        }
        true
    }

    fn give_back(&mut self) {
        self.came = 0;
        self.taken.clear();
    }
}

/// A connection that breaks off when a head takes too long.
pub(super) struct HeadTimer<IO> {
    io: IO,
    progress: Arc<Progress>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    running: bool,
    /// The requests there were when the timer began: one more, and the head that it is for was read.
    requests: u64,
    room: Room,
}

impl<IO> HeadTimer<IO> {
    /// The timer runs from now on: a connection is opened to send something.
    pub(super) fn new(
        io: IO,
        progress: Arc<Progress>,
        limit: Duration,
        heads: Heads,
        from: Option<IpAddr>,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit));
        let room = Room { heads, from, came: 0, taken: Vec::new() };
        Self { io, progress, limit, timer, running: true, requests: 0, room }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HeadTimer<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let requests = this.progress.requests();
        if requests != this.requests {
            this.requests = requests;
            this.running = false;
            this.room.give_back();
        }
        if this.progress.is_busy() {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        let more = buffer.filled().len() - before;
        if !this.room.fits(more) {
            return Poll::Ready(Err(io::Error::other("there are too many long request heads")));
        }
        let came = more > 0;
        if came && !this.running {
            this.running = true;
            this.timer.as_mut().reset(Instant::now() + this.limit);
        }
        if this.running && (read.is_pending() || came) && this.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the request head took too long",
            )));
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for HeadTimer<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn long_heads_have_a_bound_for_each_address_and_for_all() {
        let heads = Heads::new(8 * PIECE);
        // Somebody there sends a head that does not end: whether so much of it is read.
        let reads = async |last: u8, size: usize| {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(&vec![b'x'; 500_000]).await.expect("there is room");
            let (progress, from) = (Progress::new(), IpAddr::from([10, 0, 0, last]));
            let mut timer = HeadTimer::new(
                server,
                Arc::clone(&progress),
                Duration::from_mins(1),
                heads.clone(),
                Some(from),
            );
            let read = timer.read_exact(&mut vec![0; size]).await;
            (read.is_ok(), timer, progress, client)
        };
        let two = SHORT + 2 * PIECE;
        let first = reads(1, two).await;
        assert!(first.0);
        assert!(!reads(1, SHORT + 1).await.0, "it has its share");
        assert!(reads(1, SHORT).await.0, "short ones need none");
        let more = [reads(2, two).await, reads(3, two).await, reads(4, two).await];
        assert!(more.iter().all(|one| one.0));
        assert!(!reads(5, SHORT + 1).await.0, "there is none left");
        drop(more);
        assert!(!reads(6, two + 1).await.0, "more than a share");
        assert!(reads(6, two).await.0);
        // It is there, and its request begins.
        let (_, mut timer, progress, _client) = first;
        let _request = progress.begin();
        timer.read_exact(&mut [0; 10]).await.expect("of its body");
        assert!(reads(1, two).await.0);
    }
}
