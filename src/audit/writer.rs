//! The one thread that writes: it drains what is queued, appends it, makes it durable once for all, and
//! then answers everybody who waits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use jiff::{Timestamp, Zoned, civil, tz::TimeZone};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::folder::{Sink, Store};
use super::progress::Progress;
use super::record::{Body, Gap};
use super::shared::Shared;

/// A batch is closed at this size, so that nobody waits for more than some megabytes of others.
const BATCH_BYTES: usize = 8 << 20;
/// A record that nobody waits for waits this long for company: it then costs no write of its own.
const LINGER: Duration = Duration::from_millis(20);
/// How soon a broken journal is tried again at first; the wait doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// How often a broken journal is tried again when the gateway stops.
const LAST_TRIES: u32 = 3;

/// A record on its way, and the room in memory that it takes until it is durable.
pub(super) struct Item {
    pub(super) body: Body,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) waiter: Waiter,
}

/// Who wants to know, and what becomes of the record when it can't be written.
pub(super) enum Waiter {
    /// An intent: given up at the first failure, since its query is then not run.
    Intent(oneshot::Sender<bool>),
    /// Anything else: kept until it is written.
    Kept(Option<oneshot::Sender<bool>>),
}

pub(super) enum Message {
    Write(Item),
    /// Write what is queued and end. The answer is the number of records that could not be written.
    Close(oneshot::Sender<usize>),
}

struct Open {
    sink: Box<dyn Sink>,
    /// What is durable of it, in bytes.
    length: u64,
    day: civil::Date,
}

struct Broken {
    since: Instant,
    attempts: u64,
    next: Instant,
    wait: Duration,
}

pub(super) struct Writer {
    store: Box<dyn Store>,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    file_bytes: u64,
    open: Option<Open>,
    /// The number of the last durable record.
    seq: u64,
    held: VecDeque<Item>,
    broken: Option<Broken>,
}

impl Writer {
    /// Makes the first file, so that a folder that can't be written is known before the first query.
    pub(super) fn new(
        store: Box<dyn Store>,
        shared: Arc<Shared>,
        progress: Arc<Progress>,
        file_bytes: u64,
    ) -> io::Result<Self> {
        let (held, open) = (VecDeque::new(), None);
        let mut new = Self { store, shared, progress, file_bytes, open, seq: 0, held, broken: None };
        new.rotate()?;
        Ok(new)
    }

    /// Runs until it is told to close, or until nobody can send any more.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        // Also when this thread panics: nobody then believes that queries are recorded.
        let _down = Down(Arc::clone(&self.shared));
        loop {
            let first = match &self.broken {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(broken) => inbox.recv_timeout(broken.next.saturating_duration_since(Instant::now())),
            };
            let end = match first {
                Ok(Message::Write(item)) => self.take(item, inbox),
                Ok(Message::Close(reply)) => Some(Some(reply)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(None),
            };
            if end.is_none() && self.broken.as_ref().is_some_and(|b| b.next <= Instant::now()) {
                self.recover();
            }
            if let Some(reply) = end {
                let (reply, left) = self.finish(inbox, reply);
                // The folder is free when the answer is there.
                drop(self);
                if let Some(reply) = reply {
                    _ = reply.send(left);
                }
                return;
            }
        }
    }

    /// Gathers a batch round its first record and commits it. Some(_) if the end was met meanwhile.
    #[expect(clippy::option_option, reason = "no end, an end that nobody waits for, one that somebody does")]
    fn take(&mut self, first: Item, inbox: &Receiver<Message>) -> Option<Option<oneshot::Sender<usize>>> {
        let mut bytes = first.body.len();
        let mut waited = first.waiter.waits();
        let mut batch = vec![first];
        let until = Instant::now() + LINGER;
        let mut end = None;
        while bytes < BATCH_BYTES {
            let next = match inbox.try_recv() {
                Ok(message) => Ok(message),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if waited || self.broken.is_some() => break,
                Err(TryRecvError::Empty) => {
                    inbox.recv_timeout(until.saturating_duration_since(Instant::now()))
                }
            };
            match next {
                Ok(Message::Write(item)) => {
                    bytes += item.body.len();
                    waited |= item.waiter.waits();
                    batch.push(item);
                }
                Ok(Message::Close(reply)) => {
                    end = Some(Some(reply));
                    break;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    end = Some(None);
                    break;
                }
            }
        }
        if self.broken.is_some() {
            self.put_by(batch);
        } else {
            self.commit(batch);
        }
        end
    }

    fn commit(&mut self, batch: Vec<Item>) {
        let mut text = Vec::with_capacity(batch.iter().map(|i| i.body.len() + 96).sum());
        let mut seq = self.seq;
        let lost = self.tell_losses(&mut seq, &mut text);
        for item in &batch {
            seq += 1;
            item.body.write(&self.shared.run, seq, &mut text);
        }
        match self.write(&text, seq) {
            Ok(()) => {
                self.shared.reported(lost);
                batch.into_iter().for_each(Item::durable);
            }
            Err(error) => {
                self.fail(&error);
                self.put_by(batch);
            }
        }
    }

    /// Puts a record in front that says how many there was no room for since the last one that did, if any.
    fn tell_losses(&self, seq: &mut u64, text: &mut Vec<u8>) -> u64 {
        let lost = self.shared.lost_unreported();
        if lost == 0 {
            return 0;
        }
        let gap = Gap { lost, ..Gap::default() };
        let Ok(body) = Body::gap(self.shared.tick_us(), gap) else { return 0 };
        *seq += 1;
        body.write(&self.shared.run, *seq, text);
        lost
    }

    /// Answers the waiting, forgets intents, keeps the rest.
    fn put_by(&mut self, batch: Vec<Item>) {
        for item in batch {
            let Item { body, room, waiter } = item;
            match waiter {
                Waiter::Intent(reply) => _ = reply.send(false),
                Waiter::Kept(reply) => {
                    if let Some(reply) = reply {
                        _ = reply.send(false);
                    }
                    self.held.push_back(Item { body, room, waiter: Waiter::Kept(None) });
                }
            }
        }
        self.shared.set_held(self.held.len());
    }

    /// Appends and syncs. On failure the file is as it was, or is not used again.
    fn write(&mut self, text: &[u8], seq: u64) -> io::Result<()> {
        self.shared.busy(true);
        let result = self.write_inner(text, seq);
        self.shared.busy(false);
        result
    }

    fn write_inner(&mut self, text: &[u8], seq: u64) -> io::Result<()> {
        let day = today();
        if self.open.as_ref().is_none_or(|o| o.day != day || (o.length > 0 && o.length >= self.file_bytes)) {
            self.rotate()?;
        }
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("no file is open"));
        };
        let appended = open.sink.append(text);
        let sync_failed = appended.is_ok();
        let Err(error) = appended.and_then(|()| open.sink.sync()) else {
            open.length += text.len() as u64;
            self.progress.grew(seq - self.seq, text.len() as u64);
            self.seq = seq;
            return Ok(());
        };
        let cut = open.sink.cut(open.length);
        if let Err(error) = &cut {
            tracing::error!(%error, "a half-written record could not be taken off the audit journal");
            // Some of these numbers may be on the disk: they are not given again.
            self.seq = seq;
        }
        // After a failed sync the kernel may have dropped pages that it says are clean: a later sync of
        // this file would say that all is well. And behind a torn line no other may stand.
        if (cut.is_err() || sync_failed)
            && let Some(open) = self.open.take()
            && open.length == 0
            && cut.is_ok()
        {
            open.sink.discard();
        }
        Err(error)
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Everything in the old file is durable by now.
        self.open = None;
        self.progress.end();
        let first = self.progress.size();
        let sink = self.store.create(first)?;
        self.progress.begin(sink.path().to_owned(), first);
        self.open = Some(Open { sink, length: 0, day: today() });
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        let now = Instant::now();
        let broken =
            self.broken.get_or_insert(Broken { since: now, attempts: 0, next: now, wait: RETRY_FIRST });
        broken.attempts += 1;
        if broken.attempts > 1 {
            broken.wait = (broken.wait * 2).min(RETRY_MOST);
        }
        broken.next = now + broken.wait;
        if self.shared.set_writable(false) {
            tracing::error!(%error, "the audit journal can't be written: queries are refused until it can");
        } else {
            tracing::warn!(%error, attempts = broken.attempts, "the audit journal still can't be written");
        }
    }

    /// Tells of the gap, then writes what was kept. Healthy again only when all of it is durable.
    fn recover(&mut self) {
        let Some(broken) = &self.broken else { return };
        let gap = Gap {
            blind_ms: u64::try_from(broken.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempts: broken.attempts,
            held: self.held.len() as u64,
            lost: self.shared.lost_unreported(),
        };
        let Ok(body) = Body::gap(self.shared.tick_us(), gap) else { return };
        let mut text = Vec::new();
        let mut seq = self.seq + 1;
        body.write(&self.shared.run, seq, &mut text);
        let (mut taken, mut lost) = (0, gap.lost);
        loop {
            for item in self.held.iter().skip(taken) {
                if text.len() >= BATCH_BYTES {
                    break;
                }
                seq += 1;
                taken += 1;
                item.body.write(&self.shared.run, seq, &mut text);
            }
            if let Err(error) = self.write(&text, seq) {
                self.fail(&error);
                return;
            }
            // What the gap record said is not said again.
            self.shared.reported(std::mem::take(&mut lost));
            self.held.drain(..taken).for_each(Item::durable);
            self.shared.set_held(self.held.len());
            if self.held.is_empty() {
                break;
            }
            (taken, seq) = (0, self.seq);
            text.clear();
        }
        self.broken = None;
        self.shared.set_writable(true);
        tracing::info!(held = gap.held, lost = gap.lost, "the audit journal is written again");
    }

    /// Writes what is still queued, and tries a broken journal a few times more. Gives who waits for the end, and how many
    /// records are left.
    fn finish(
        &mut self,
        inbox: &Receiver<Message>,
        mut reply: Option<oneshot::Sender<usize>>,
    ) -> (Option<oneshot::Sender<usize>>, usize) {
        while let Ok(message) = inbox.try_recv() {
            match message {
                Message::Write(item) => drop(self.take(item, inbox)),
                Message::Close(other) => reply = Some(other),
            }
        }
        for _ in 0..LAST_TRIES {
            let Some(broken) = &self.broken else { break };
            std::thread::sleep(broken.wait.min(Duration::from_secs(1)));
            self.recover();
        }
        if !self.held.is_empty() {
            tracing::error!(records = self.held.len(), "audit records could not be written before the end");
        }
        (reply, self.held.len())
    }
}

impl Waiter {
    fn waits(&self) -> bool {
        matches!(self, Self::Intent(_) | Self::Kept(Some(_)))
    }
}

impl Item {
    fn durable(self) {
        match self.waiter {
            Waiter::Intent(reply) | Waiter::Kept(Some(reply)) => _ = reply.send(true),
            Waiter::Kept(None) => {}
        }
    }
}

/// Marks the journal as unusable when the writer is gone.
struct Down(Arc<Shared>);

impl Drop for Down {
    fn drop(&mut self) {
        self.0.set_writable(false);
    }
}

fn today() -> civil::Date {
    Zoned::new(Timestamp::now(), TimeZone::UTC).date()
}
