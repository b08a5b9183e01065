//! How a cluster does, by what is seen of it: checks, and what became of requests.
//!
//! A cluster that fails several times in a row, or takes a statement and is silent, is left out for a while; then a query of
//! the gateway's own is its trial, so that nobody's is. One that fails again and again is left out for longer each
//! time. Whoever comes back gets less than its share at first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row leave a cluster out.
const FAILURES: u32 = 3;
/// So many checks in a row that fail make it doubtful.
const CHECKS: u32 = 2;
/// How long it is left out the first time; each time twice as long, up to [`LONGEST`].
const OUT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(2);
/// After so long without being left out, the next time is a first time.
const FORGIVEN: Duration = Duration::from_mins(10);
/// How long it takes until one that came back gets its whole share, and how little it gets at first.
const SLOW_START: Duration = Duration::from_secs(30);
const LEAST: f64 = 0.1;

/// What a cluster is fit for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fitness {
    /// Queries, with this part of its share: above 0, 1 at most.
    Fit(f64),
    /// It does not answer checks. It is tried where there is no other.
    Doubtful,
    /// A query of the gateway's own, to see whether it is well again.
    Trial,
    /// Nothing for now.
    Out,
}

/// What became of something that a cluster was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// An answer.
    Good,
    /// None, or a bad one.
    Bad,
    /// It took a statement and said nothing: whoever comes next would wait as long.
    Silent,
}

#[derive(Debug, Default)]
struct Record {
    checks_failed: u32,
    failures: u32,
    /// Left out until then, and from then on until something good is seen.
    out: Option<Instant>,
    /// How often in a row.
    times: u32,
    /// When it was left out last.
    last: Option<Instant>,
    /// When it came back.
    back: Option<Instant>,
    ejections: u64,
}

/// The record of one cluster.
#[derive(Debug, Default)]
pub(super) struct Health {
    record: Mutex<Record>,
    /// Whether there is anything that a good answer changes: most of them change nothing, and take no lock.
    marked: AtomicBool,
}

impl Health {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a check; `well` is a cluster that answers and takes queries.
    pub(super) fn checked(&self, well: bool, now: Instant) {
        let mut record = self.record();
        if !well {
            record.checks_failed = record.checks_failed.saturating_add(1);
            return;
        }
        if record.checks_failed >= CHECKS {
            record.back = Some(now);
        }
        record.checks_failed = 0;
    }

    /// Notes what became of a request.
    pub(super) fn seen(&self, what: Seen, now: Instant) {
        if what == Seen::Good && !self.marked.load(Ordering::Acquire) {
            return;
        }
        let mut record = self.record();
        let is_out = record.out.is_some_and(|until| now < until);
        if what == Seen::Good {
            record.failures = 0;
            if record.out.is_some() && !is_out {
                record.out = None;
                record.back = Some(now);
            }
            // While it is left out, late answers to what it was asked before say nothing of it.
            self.marked.store(is_out, Ordering::Release);
            return;
        }
        self.marked.store(true, Ordering::Release);
        record.failures = record.failures.saturating_add(1);
        let on_trial = record.out.is_some();
        if !is_out && (on_trial || what == Seen::Silent || record.failures >= FAILURES) {
            let forgiven = record.last.is_none_or(|last| now.saturating_duration_since(last) >= FORGIVEN);
            record.times = if forgiven { 0 } else { record.times.saturating_add(1) };
            let pause = OUT.saturating_mul(1 << record.times.min(16)).min(LONGEST);
            record.out = Some(now + pause);
            record.last = Some(now);
            record.ejections += 1;
        }
    }

    /// What it is fit for now.
    pub(super) fn fitness(&self, now: Instant) -> Fitness {
        let record = self.record();
        match record.out {
            Some(until) if now < until => return Fitness::Out,
            Some(_) => return Fitness::Trial,
            None => {}
        }
        if record.checks_failed >= CHECKS {
            return Fitness::Doubtful;
        }
        let since = record.back.map_or(SLOW_START, |back| now.saturating_duration_since(back));
        Fitness::Fit((since.as_secs_f64() / SLOW_START.as_secs_f64()).clamp(LEAST, 1.0))
    }

    /// How often it was left out so far.
    pub(super) fn ejections(&self) -> u64 {
        self.record().ejections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_leave_it_out_and_one_trial_brings_it_back() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(health.fitness(now), Fitness::Fit(1.0), "nothing is known");
        for _ in 0..10 {
            health.seen(Seen::Bad, now);
            health.seen(Seen::Bad, now);
            health.seen(Seen::Good, now);
        }
        assert_eq!(health.fitness(now), Fitness::Fit(1.0), "never three in a row");
        (0..3).for_each(|_| health.seen(Seen::Bad, now));
        assert_eq!((health.fitness(now), health.ejections()), (Fitness::Out, 1));
        health.seen(Seen::Good, now);
        assert_eq!(health.fitness(now), Fitness::Out, "a late answer");
        let later = now + OUT;
        assert_eq!(health.fitness(later), Fitness::Trial);
        health.seen(Seen::Good, later);
        assert_eq!(health.fitness(later), Fitness::Fit(LEAST));
        assert_eq!(health.fitness(later + SLOW_START / 2), Fitness::Fit(0.5));
        assert_eq!(health.fitness(later + SLOW_START), Fitness::Fit(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_at_once() {
        let (health, now) = (Health::default(), Instant::now());
        health.seen(Seen::Silent, now);
        assert_eq!(health.fitness(now), Fitness::Out);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_flaps_is_left_out_for_longer_each_time() {
        let (health, mut now) = (Health::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            health.seen(Seen::Silent, now);
            let began = now;
            while health.fitness(now) == Fitness::Out {
                now += SECOND;
            }
            pauses.push((now - began).as_secs());
            health.seen(Seen::Good, now);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120, 120]);
        now += FORGIVEN;
        health.seen(Seen::Silent, now);
        assert_eq!(health.fitness(now + OUT), Fitness::Trial, "that was long ago");
        // A trial that fails is the next time.
        now += OUT;
        health.seen(Seen::Bad, now);
        assert_eq!(health.fitness(now + OUT), Fitness::Out);
        assert_eq!(health.fitness(now + 2 * OUT), Fitness::Trial);
    }

    #[tokio::test(start_paused = true)]
    async fn checks() {
        let (health, now) = (Health::default(), Instant::now());
        health.checked(false, now);
        assert_eq!(health.fitness(now), Fitness::Fit(1.0), "one may be lost");
        health.checked(false, now);
        assert_eq!(health.fitness(now), Fitness::Doubtful);
        health.checked(true, now);
        assert_eq!(health.fitness(now), Fitness::Fit(LEAST), "it came back");
        health.seen(Seen::Silent, now);
        health.checked(true, now);
        assert_eq!(
            health.fitness(now),
            Fitness::Out,
            "that it answers checks does not show that it takes queries"
        );
    }
}
