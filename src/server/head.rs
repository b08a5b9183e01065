//! The time that the head of an HTTP/1.1 request may take, from its first byte.
//!
//! hyper has one timer for waiting between requests and for reading a head: it is set to the longer of the
//! two, the idle time. This one stops whoever sends a head byte by byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::progress::Progress;

/// A connection that breaks off when a head takes too long.
pub(super) struct HeadTimer<IO> {
    io: IO,
    progress: Arc<Progress>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    running: bool,
    /// The requests there were when the timer began: one more, and the head that it is for was read.
    requests: u64,
}

impl<IO> HeadTimer<IO> {
    /// The timer runs from now on: a connection is opened to send something.
    pub(super) fn new(io: IO, progress: Arc<Progress>, limit: Duration) -> Self {
        Self { io, progress, limit, timer: Box::pin(tokio::time::sleep(limit)), running: true, requests: 0 }
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
        }
        if this.progress.is_busy() {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        let came = buffer.filled().len() > before;
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
