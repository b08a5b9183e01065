//! Bodies: reading a request's within bounds, and what an answer's is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{BodyError, Unread};
use crate::shares::{Share, Shares, network};

/// The body of an answer: a stream of bytes.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// How much beyond the limit is read and thrown away, so that a client which is still sending gets to read
/// the answer that says so, and not a broken connection.
const DISCARD: usize = 16 << 20;
/// The unit in which memory for statements is counted, in bytes.
const BLOCK: usize = 4096;

/// A body that is all there.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The part of the memory that one address may have at once: so that nobody keeps others out by bodies that do not come.
const PART: usize = 4;

/// The memory for bodies that are being read.
#[derive(Clone)]
pub(super) struct Memory {
    blocks: Arc<Semaphore>,
    total: usize,
    shares: Shares<IpAddr>,
    limit: usize,
    timeout: Duration,
}

/// A body, and the memory that is set aside for it.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<(Share<IpAddr>, OwnedSemaphorePermit)>,
}

impl Memory {
    /// Room for `total` bytes, of which one body may have `limit` and comes within `timeout`.
    pub(super) fn new(total: usize, limit: usize, timeout: Duration) -> Self {
        let blocks = (total / BLOCK).clamp(limit / BLOCK + 1, Semaphore::MAX_PERMITS);
        let shares = Shares::new((blocks / PART).max(limit / BLOCK + 1));
        Self { blocks: Arc::new(Semaphore::new(blocks)), total: blocks, shares, limit, timeout }
    }

    /// Whether half of it is taken.
    pub(super) fn is_crowded(&self) -> bool {
        self.blocks.available_permits() < self.total / 2
    }

    /// Reads a body from this address, up to one byte more than the limit: whoever gets it can tell that it was too long.
    pub(super) async fn collect<B>(&self, body: B, from: IpAddr) -> Result<Collected, Unread>
    where
        B: http_body::Body<Data = Bytes>,
    {
        if body.is_end_stream() {
            return Ok(Collected { bytes: Bytes::new(), memory: None });
        }
        // All of it at once, and not as it comes: bodies that wait for each other's rest would never end.
        let most = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok());
        let blocks = most.unwrap_or(self.limit).min(self.limit) / BLOCK + 1;
        let room = async {
            let share = self.shares.take(network(from), blocks).await?;
            let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
            let memory = Arc::clone(&self.blocks).acquire_many_owned(blocks).await.ok()?;
            Some((share, memory))
        };
        let Ok(Some(memory)) = tokio::time::timeout(self.timeout, room).await else {
            return Err(Unread::Busy);
        };
        match tokio::time::timeout(self.timeout, self.read(body)).await {
            Ok(bytes) => Ok(Collected { bytes: bytes?, memory: Some(memory) }),
            Err(_) => Err(Unread::Slow),
        }
    }

    /// Reads a body that nobody wants, so that its sender gets to read the answer. It takes up no memory.
    pub(super) async fn discard<B: http_body::Body<Data = Bytes>>(&self, body: B) {
        let mut body = std::pin::pin!(body);
        let mut seen = 0_usize;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                seen = seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if seen > DISCARD {
                    break;
                }
            }
        };
        // However it ends, the answer follows.
        let _ = tokio::time::timeout(self.timeout, all).await;
    }

    async fn read<B: http_body::Body<Data = Bytes>>(&self, body: B) -> Result<Bytes, Unread> {
        let mut body = std::pin::pin!(body);
        let mut kept = BytesMut::new();
        let mut seen = 0_usize;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            seen = seen.saturating_add(data.len());
            let room = (self.limit + 1).saturating_sub(kept.len());
            // A body that came in one piece is passed on as it is.
            if kept.is_empty() && body.is_end_stream() && data.len() <= room {
                return Ok(data);
            }
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if seen > self.limit.saturating_add(DISCARD) {
                break;
            }
        }
        Ok(kept.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    type Chunk = Result<Frame<Bytes>, &'static str>;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn chunks(sizes: &[usize]) -> StreamBody<impl futures_util::Stream<Item = Chunk>> {
        let frames: Vec<Chunk> =
            sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_cut_one_byte_after_the_limit() {
        let memory = Memory::new(1 << 20, 10, Duration::from_secs(1));
        let check = async |sizes: &[usize], expect: usize| {
            let collected = memory.collect(chunks(sizes), HERE).await.expect("read");
            assert_eq!(collected.bytes.len(), expect, "{sizes:?}");
        };
        check(&[], 0).await;
        check(&[10], 10).await;
        check(&[4, 6], 10).await;
        check(&[11], 11).await;
        check(&[4, 100, 100], 11).await;
        check(&[DISCARD, DISCARD, DISCARD], 11).await;
        let whole = memory.collect(Full::new(Bytes::from_static(b"select 1")), HERE).await.expect("read");
        assert_eq!(whole.bytes, "select 1");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_and_broken_and_crowded() {
        let memory = Memory::new(1, 10, Duration::from_secs(1));
        let never = StreamBody::new(stream::pending::<Chunk>());
        assert_eq!(memory.collect(never, HERE).await.err(), Some(Unread::Slow));
        let broken = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>("cut")]));
        assert_eq!(memory.collect(broken, HERE).await.err(), Some(Unread::Broken));
        let held = memory.collect(chunks(&[5]), HERE).await.expect("read");
        assert_eq!(memory.collect(chunks(&[5]), HERE).await.err(), Some(Unread::Busy));
        drop(held);
        assert!(memory.collect(chunks(&[5]), HERE).await.is_ok());
    }

    /// Somebody announces bodies that do not come: others send theirs.
    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_keep_others_out() {
        let memory = Memory::new(100 * BLOCK, BLOCK, Duration::from_secs(1));
        let elsewhere = IpAddr::from([198, 51, 100, 7]);
        let held: Vec<_> = (0..100)
            .map(|_| {
                let memory = memory.clone();
                tokio::spawn(async move {
                    memory.collect(StreamBody::new(stream::pending::<Chunk>()), elsewhere).await.err()
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!memory.is_crowded(), "{}", memory.blocks.available_permits());
        assert!(memory.collect(chunks(&[5]), HERE).await.is_ok());
        let _more = [1, 2, 3].map(|last| {
            let (memory, from) = (memory.clone(), IpAddr::from([198, 51, 100, last]));
            (0..100).for_each(|_| {
                let memory = memory.clone();
                tokio::spawn(async move {
                    memory.collect(StreamBody::new(stream::pending::<Chunk>()), from).await.err()
                });
            });
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(memory.is_crowded(), "then it is asked who sends");
        for end in held {
            assert!(matches!(end.await.expect("it ends"), Some(Unread::Slow | Unread::Busy)));
        }
    }
}
