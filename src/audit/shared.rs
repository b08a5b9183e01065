//! What the writer and its callers both see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::writer::Message;
use crate::units::hex;

/// How the journal is, for `/ready` and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether records become durable: false from a failed write until everything kept is written, and while
    /// one write takes longer than the configured time.
    pub healthy: bool,
    /// Records that are kept in memory because they could not be written.
    pub held: usize,
    /// Queries that were refused because they could not be recorded, since the start.
    pub refused: u64,
    /// Records of refusals and failed sign-ins that there was no memory for, or that were too many, since the start. The
    /// number is itself recorded with the next records that are written.
    pub lost: u64,
    /// Records under the last checkpoint that this process signed.
    pub sealed: u64,
    /// Records under the last checkpoint that enough witnesses signed.
    pub witnessed: u64,
    /// Whether the last attempt to copy the log to its bucket was a success; true where there is none.
    pub copying: bool,
    /// Bytes of whole bundles that wait to be copied.
    pub behind: u64,
}

pub(super) struct Shared {
    /// The run, in every record.
    pub(super) run: String,
    /// What concealed values are hashed with. It is kept nowhere.
    concealing: aws_lc_rs::hmac::Key,
    /// Intents and what else somebody waits for.
    in_flight: Arc<Semaphore>,
    /// Outcomes to come, and what is kept while the journal is broken.
    kept: Arc<Semaphore>,
    began: Instant,
    patience: Duration,
    writable: AtomicBool,
    /// The tick at which the write that is going on began, and 0 if there is none.
    busy_since: AtomicU64,
    held: AtomicUsize,
    refused: AtomicU64,
    lost: AtomicU64,
    lost_reported: AtomicU64,
    /// The tree can be written.
    sealing: AtomicBool,
    /// The folder has more bytes than it may.
    over: AtomicBool,
    /// Records under the last checkpoint.
    sealed: AtomicU64,
    /// Records under the last one that witnesses signed.
    witnessed: AtomicU64,
    /// The last attempt to copy the log elsewhere was a success.
    copying: AtomicBool,
    /// The copy is of another log, or there is too much to be copied.
    conflict: AtomicBool,
    spool_full: AtomicBool,
    /// Bytes that wait to be copied.
    behind: AtomicU64,
}

/// Room in memory is counted in pieces of this many bytes.
pub(super) const PIECE: usize = 1024;

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX)
}

impl Shared {
    pub(super) fn new(
        in_flight: usize,
        kept: usize,
        patience: Duration,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut random = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut random)?;
        let mut key = zeroize::Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(&mut *key)?;
        Ok(Self {
            run: hex(&random),
            concealing: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &*key),
            in_flight: Arc::new(Semaphore::new(in_flight.div_ceil(PIECE).min(Semaphore::MAX_PERMITS))),
            kept: Arc::new(Semaphore::new(kept.div_ceil(PIECE).min(Semaphore::MAX_PERMITS))),
            began: Instant::now(),
            patience,
            writable: AtomicBool::new(true),
            busy_since: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lost_reported: AtomicU64::new(0),
            sealing: AtomicBool::new(true),
            over: AtomicBool::new(false),
            sealed: AtomicU64::new(0),
            witnessed: AtomicU64::new(0),
            copying: AtomicBool::new(true),
            conflict: AtomicBool::new(false),
            spool_full: AtomicBool::new(false),
            behind: AtomicU64::new(0),
        })
    }

    /// Microseconds since the run began, at least 1.
    pub(super) fn tick_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn conceal(&self, value: &str) -> String {
        format!("hmac-sha256:{}", hex(aws_lc_rs::hmac::sign(&self.concealing, value.as_bytes()).as_ref()))
    }

    /// Room for a record that somebody waits for; waits its turn.
    pub(super) async fn in_flight(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.in_flight).acquire_many_owned(pieces(bytes)).await.ok()
    }

    /// Room for a record that is kept until it is written, if there is any.
    pub(super) fn kept(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.kept).try_acquire_many_owned(pieces(bytes)).ok()
    }

    /// True if this changed something.
    pub(super) fn set_writable(&self, writable: bool) -> bool {
        self.writable.swap(writable, Ordering::AcqRel) != writable
    }

    pub(super) fn set_sealing(&self, sealing: bool) {
        self.sealing.store(sealing, Ordering::Release);
    }

    /// True if this changed something.
    pub(super) fn set_over(&self, over: bool) -> bool {
        self.over.swap(over, Ordering::AcqRel) != over
    }

    pub(super) fn set_sealed(&self, size: u64) {
        self.sealed.store(size, Ordering::Release);
    }

    pub(super) fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn set_witnessed(&self, size: u64) {
        self.witnessed.store(size, Ordering::Release);
    }

    /// How copying went, and whether somebody must see to it.
    pub(super) fn set_copying(&self, copying: bool, conflict: bool) {
        self.copying.store(copying, Ordering::Release);
        self.conflict.store(conflict, Ordering::Release);
    }

    /// True if more than the limit waits to be copied now, and did not before.
    pub(super) fn set_behind(&self, bytes: u64, limit: u64) -> bool {
        self.behind.store(bytes, Ordering::Release);
        let full = bytes > limit;
        !self.spool_full.swap(full, Ordering::AcqRel) && full
    }

    pub(super) fn busy(&self, busy: bool) {
        self.busy_since.store(if busy { self.tick_us() } else { 0 }, Ordering::Release);
    }

    pub(super) fn set_held(&self, held: usize) {
        self.held.store(held, Ordering::Release);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn lost_unreported(&self) -> u64 {
        self.lost.load(Ordering::Acquire).saturating_sub(self.lost_reported.load(Ordering::Acquire))
    }

    pub(super) fn reported(&self, lost: u64) {
        self.lost_reported.fetch_add(lost, Ordering::AcqRel);
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The journal is believed to work: no write failed since the last that succeeded, none hangs.
    pub(super) fn healthy(&self) -> bool {
        let since = self.busy_since.load(Ordering::Acquire);
        let stuck =
            since != 0 && u128::from(self.tick_us().saturating_sub(since)) > self.patience.as_micros();
        self.writable.load(Ordering::Acquire)
            && self.sealing.load(Ordering::Acquire)
            && !self.over.load(Ordering::Acquire)
            && !self.conflict.load(Ordering::Acquire)
            && !self.spool_full.load(Ordering::Acquire)
            && !stuck
    }

    pub(super) fn status(&self) -> Status {
        Status {
            healthy: self.healthy(),
            held: self.held.load(Ordering::Acquire),
            refused: self.refused.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Acquire),
            sealed: self.sealed(),
            witnessed: self.witnessed.load(Ordering::Acquire),
            copying: self.copying.load(Ordering::Acquire),
            behind: self.behind.load(Ordering::Acquire),
        }
    }
}

/// The way to the writer. Whoever has one keeps the writer alive.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Sender<Message>,
}
