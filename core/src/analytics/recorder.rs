//! From a decision to the log, the times of last use, and the hourly counts.
//!
//! Recording is one push into a bounded ring: it never waits, and wakes nobody (a parked thread woken per
//! event costs more than all the rest of a verification). A thread looks into the ring every 10 ms while
//! there is something to do.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use crossbeam_queue::ArrayQueue;
use foldhash::quality::RandomState;

use super::event::Event;
use super::log::Log;
use super::usage::Counts;
use crate::clock::Clock;
use crate::error::Error;
use crate::metrics::{Counter, Metrics};

/// Events that the ring holds: what three million a second leave in it between two looks; the first look
/// after idleness comes later and finds room for a burst of 650,000 a second.
const RING: usize = 1 << 15;
/// Between two looks while there is something to do.
const TICK: Duration = Duration::from_millis(10);
/// Between two looks after one that found nothing.
const IDLE_TICK: Duration = Duration::from_millis(50);
/// What its thread is called in logs and metrics, beside scheduled work.
const TASK: &str = "events";
/// How long a log that cannot be written goes without another warning, in ticks.
const WARN_EVERY: u32 = 6000;

/// Takes events and keeps what is made of them until it is written.
#[derive(Debug)]
pub struct Recorder {
    ring: ArrayQueue<Event>,
    kept: Mutex<Kept>,
    stopping: AtomicBool,
    /// Events that were taken.
    pub recorded: Counter,
    /// Events that the ring had no place for.
    pub dropped: Counter,
    /// Frames that could not be written to the log.
    pub failed_writes: Counter,
}

/// What was made of the events so far and is not in the store yet.
#[derive(Debug)]
struct Kept {
    log: Option<Log>,
    /// Unix ms by key.
    last_used: HashMap<CompactString, i64, RandomState>,
    counts: Counts,
    since_warning: u32,
}

impl Default for Kept {
    fn default() -> Self {
        // The first failure is warned of.
        Kept { log: None, last_used: HashMap::default(), counts: Counts::default(), since_warning: WARN_EVERY }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            ring: ArrayQueue::new(RING),
            kept: Mutex::default(),
            stopping: AtomicBool::new(false),
            recorded: Counter::default(),
            dropped: Counter::default(),
            failed_writes: Counter::default(),
        }
    }
}

impl Recorder {
    /// Takes an event, or drops it and counts that.
    pub fn record(&self, event: Event) {
        match self.ring.push(event) {
            Ok(()) => self.recorded.add(1),
            Err(_) => self.dropped.add(1),
        }
    }

    /// Events that wait in the ring.
    pub fn waiting(&self) -> usize {
        self.ring.len()
    }

    /// Writes events to this log from now on.
    pub fn write_to(&self, log: Log) {
        self.kept().log = Some(log);
    }

    /// Starts the thread that empties the ring, until [`Recorder::stop`]. How it fares is noted like scheduled work.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(self: &Arc<Self>, clock: Clock, metrics: Arc<Metrics>) -> std::io::Result<()> {
        let recorder = Arc::clone(self);
        let work = move || {
            while !recorder.is_stopping() {
                let found = caught(|| recorder.empty_ring(&clock));
                metrics.scheduled_run(TASK, clock.now(), found.is_some());
                std::thread::sleep(if found.is_some_and(|found| found > 0) { TICK } else { IDLE_TICK });
            }
        };
        std::thread::Builder::new().name("keyrack-events".to_owned()).spawn(work).map(drop)
    }

    /// Ends the thread, after which the ring is emptied by those who ask for what was made of it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Empties the ring into the log and what is kept, and says how many events there were.
    pub fn empty_ring(&self, clock: &Clock) -> usize {
        let mut kept = self.kept();
        // No more than were there: decisions go on meanwhile.
        let waiting = self.ring.len();
        for event in std::iter::from_fn(|| self.ring.pop()).take(waiting) {
            kept.take(&event);
        }
        let Kept { log: Some(log), since_warning, .. } = &mut *kept else { return waiting };
        *since_warning = since_warning.saturating_add(1);
        if let Err(error) = log.write(clock.now()) {
            self.failed_writes.add(1);
            if *since_warning >= WARN_EVERY {
                tracing::warn!(%error, "events are lost: the log cannot be written");
                *since_warning = 0;
            }
        }
        waiting
    }

    /// Takes the times of last use by key that the store does not know yet.
    pub(crate) fn take_uses(&self) -> Vec<(CompactString, i64)> {
        std::mem::take(&mut self.kept().last_used).into_iter().collect()
    }

    /// Gives back what could not be written, unless the key was used again.
    pub(crate) fn put_back(&self, uses: &[(CompactString, i64)]) {
        let mut kept = self.kept();
        for (key_id, at) in uses {
            kept.last_used.entry(key_id.clone()).or_insert(*at);
        }
    }

    /// Empties the ring, and gives the counts that the store does not know yet.
    ///
    /// # Errors
    /// When the thread that does it panics, or the program ends.
    pub(crate) async fn take_stock(self: &Arc<Self>, clock: &Clock) -> Result<Counts, Error> {
        let (recorder, clock) = (self.clone(), clock.clone());
        let count = move || {
            recorder.empty_ring(&clock);
            recorder.kept().counts.clone()
        };
        // The log may keep its writer waiting.
        tokio::task::spawn_blocking(count).await.map_err(Error::unexpected)
    }

    /// Subtracts counts that are written.
    pub(crate) fn counts_are_written(&self, counts: &Counts) {
        self.kept().counts.subtract(counts);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look into the ring; `None` for one that panicked, which loses what it had taken.
fn caught(look: impl FnOnce() -> usize) -> Option<usize> {
    let found = std::panic::catch_unwind(AssertUnwindSafe(look));
    found.inspect_err(|_| tracing::error!("the thread of events panicked and goes on; some are lost")).ok()
}

impl Kept {
    fn take(&mut self, event: &Event) {
        if let Some(log) = &mut self.log {
            log.add(&event.record());
        }
        self.counts.add(event);
        if let Event::Verification(event) = event {
            match self.last_used.get_mut(&event.found.key.id) {
                Some(last_used) => *last_used = event.time.max(*last_used),
                None => {
                    self.last_used.insert(event.found.key.id.clone(), event.time);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_panics_is_no_end() {
        assert_eq!([caught(|| panic!("of the test")), caught(|| 3)], [None, Some(3)]);
    }
}
