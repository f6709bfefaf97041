//! From the log into the warehouse: a consumer of the log, on a thread of its own and before every query.
//!
//! The positions that it has passed are stored with the rows that came of them, so after a kill it goes on where the
//! rows end. The log is told what is stored, and removes it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyrack_core::analytics::engine::Standing;
use keyrack_core::analytics::log::Consumer;
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;

use crate::background;
use crate::storage::{Fault, Progress, Shorter, Warehouse};

/// Bytes of the log that are taken in at a time.
const PORTION_BYTES: u64 = 4 << 20;
/// Between two looks into the log.
const LOOK: Duration = Duration::from_millis(500);
/// Between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(60);
/// What the threads are called where it is told how they fare.
const FOLLOW: &str = "analytics";
const KEEP: &str = "compaction";
/// Between two warnings of one kind.
const WARN: Duration = Duration::from_secs(60);

/// The program around the engine.
pub struct Around {
    /// What time it is.
    pub clock: Clock,
    /// Says which workspaces keep what is stored for fewer days than others do; asked whenever what is too old is removed.
    pub shorter: Box<dyn Fn() -> Shorter + Send + Sync>,
    /// Told the name of a task of the engine whenever a round of it has ended, and whether all that was due was done.
    pub ran: Box<dyn Fn(&'static str, bool) + Send + Sync>,
}

/// Brings events from the log into a warehouse.
pub(crate) struct Follower {
    consumer: Consumer,
    warehouse: Arc<Warehouse>,
    around: Around,
    standing: Mutex<Standing>,
    /// Held by whoever reads on.
    reading: Mutex<()>,
    is_stopping: AtomicBool,
    stop: (Mutex<bool>, Condvar),
}

impl Follower {
    pub(crate) fn new(consumer: Consumer, warehouse: Arc<Warehouse>, around: Around) -> Self {
        if let Err(fault) = warehouse.begin(around.clock.now()) {
            tracing::warn!(%fault, "it is not noted since when events are recorded");
        }
        Follower {
            consumer,
            warehouse,
            around,
            standing: Mutex::default(),
            reading: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            stop: Default::default(),
        }
    }

    /// Takes in all that the log has now. Where there is no more room for events that cannot be written to files, the rest
    /// waits in the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn catch_up(&self) -> Result<(), Fault> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match take_portion(&self.consumer, &self.warehouse, self.around.clock.now()) {
                Ok(true) => {}
                Ok(false) | Err(Fault::Full) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Takes in what the log has, and writes what was taken in to files as often as that is due. Whether all is well: not
    /// while it waits for another try to write.
    ///
    /// # Errors
    /// When the log cannot be read, or files cannot be written.
    pub(crate) fn follow(&self) -> Result<bool, Fault> {
        let flush = |()| if self.warehouse.is_flush_due() { self.flush() } else { Ok(()) };
        let followed = self.catch_up().and_then(flush);
        self.note_standing();
        followed.map(|()| !self.warehouse.cannot_write())
    }

    fn note_standing(&self) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        // What cannot be read is as far behind as it was. Whoever asks how it fares waits for no disk.
        let behind = self.consumer.behind(&self.warehouse.positions());
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        *standing = Standing {
            stored_bytes: self.warehouse.bytes(),
            unwritten_rows: number(self.warehouse.unwritten_rows()),
            damaged_files: number(self.warehouse.damaged()),
            behind_bytes: behind.unwrap_or(standing.behind_bytes),
        };
    }

    /// How what is stored fares, as of the last look into the log.
    pub(crate) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.warehouse.flush()?;
        self.consumer.passed(&self.warehouse.stored_positions());
        Ok(())
    }

    /// Compacts what is to be compacted, and removes what is too old or too much.
    ///
    /// # Errors
    /// When files cannot be written.
    pub(crate) fn keep_in_order(&self) -> Result<bool, Fault> {
        let mut watch = |_: &Progress| {
            if self.is_stopping.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let now = self.around.clock.now();
        let compacted = self.warehouse.compact(now, &mut watch);
        // Also where that failed: room may be what it lacks.
        self.warehouse.sweep(now, &(self.around.shorter)(), &mut watch)?;
        compacted.map(|_| true)
    }

    /// Starts the threads that follow the log and keep the warehouse in order.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        self.note_standing();
        let follower = self.clone();
        let follow = move || {
            let trouble = "the log of events cannot be followed";
            follower.again_and_again(FOLLOW, LOOK, trouble, Follower::follow);
        };
        std::thread::Builder::new().name("keyrack-follow".to_owned()).spawn(follow)?;
        let follower = self.clone();
        let keep = move || {
            background::give_way();
            let trouble = "stored events cannot be kept in order";
            follower.again_and_again(KEEP, UPKEEP, trouble, Follower::keep_in_order);
        };
        std::thread::Builder::new().name("keyrack-compact".to_owned()).spawn(keep).map(drop)
    }

    fn again_and_again(
        &self,
        task: &'static str,
        pause: Duration,
        trouble: &str,
        work: impl Fn(&Follower) -> Result<bool, Fault>,
    ) {
        let mut warned: Option<Instant> = None;
        while !self.waits(pause) {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(self)));
            let fault = match done {
                Ok(Ok(is_well)) => {
                    if is_well {
                        (self.around.ran)(task, true);
                    }
                    continue;
                }
                Ok(Err(Fault::Stopped)) => continue,
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            (self.around.ran)(task, false);
            if warned.is_none_or(|at| at.elapsed() >= WARN) {
                tracing::warn!(fault, "{trouble}; trying again");
                warned = Some(Instant::now());
            }
        }
    }

    /// Waits for so long, or until it is to stop; whether it is.
    fn waits(&self, pause: Duration) -> bool {
        let (is_over, told) = &self.stop;
        let is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_over, _) =
            told.wait_timeout_while(is_over, pause, |is_over| !*is_over).unwrap_or_else(PoisonError::into_inner);
        *is_over
    }

    /// Takes in what the log has, stores it, and ends the threads.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Err(fault) = self.catch_up().and_then(|()| self.flush()) {
            tracing::warn!(%fault, "the last events stay in the log until the next start");
        }
    }
}

/// Has a warehouse take in the next portion of the log: whether there is more.
///
/// # Errors
/// When the log cannot be read, or the warehouse has no room for events that are in no file yet.
pub(crate) fn take_portion(consumer: &Consumer, warehouse: &Warehouse, now: UnixMs) -> Result<bool, Fault> {
    let positions = warehouse.positions();
    let mut appending = warehouse.appending()?;
    let read = consumer.read_on(&positions, PORTION_BYTES, now, |entry| {
        appending.add(&entry.record);
        Ok(())
    });
    let progress = read.map_err(Fault::Log)?;
    appending.commit(progress.positions)?;
    Ok(progress.has_more)
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use keyrack_core::analytics::event::{Entry, Record, RefusalRecord};
    use keyrack_core::analytics::log::Log;

    use super::*;
    use crate::storage::Settings;

    fn refusal<'a>(clock: &Clock) -> Entry<'a> {
        let record = RefusalRecord {
            request_id: "req_1",
            time: clock.now(),
            workspace_id: "ws_1",
            root_key_id: "key_root",
            reason: "UNKNOWN",
            api_id: "",
            key_id: "",
            tags: vec![],
        };
        Entry { record: Record::Refusal(record), cut_bytes: 0 }
    }

    #[test]
    fn while_nothing_can_be_written_all_is_not_well_and_what_is_stored_is_known_all_the_time() {
        let (place, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let mut log = Log::open(&place.path().join("events"), 1 << 20).unwrap();
        let (folder, away) = (place.path().join("analytics"), place.path().join("away"));
        let settings = Settings { flush_rows: 1, ..Settings::default() };
        let warehouse = Arc::new(Warehouse::open(&folder, settings).unwrap());
        let around = Around { clock: clock.clone(), shorter: Box::new(Shorter::new), ran: Box::new(|_, _| ()) };
        let follower = Follower::new(log.register("engine"), warehouse, around);
        log.add(&refusal(&clock));
        log.write(clock.now()).unwrap();
        fs::rename(&folder, &away).unwrap();
        assert!(follower.follow().is_err());
        // It waits a little before it tries again.
        assert!(!follower.follow().unwrap());
        let standing = follower.standing();
        assert_eq!((standing.stored_bytes, standing.unwritten_rows, standing.behind_bytes), (0, 1, 0));
        fs::rename(&away, &folder).unwrap();
        follower.flush().unwrap();
        assert!(follower.follow().unwrap());
        let standing = follower.standing();
        assert!(standing.stored_bytes > 0 && standing.unwritten_rows == 0, "{standing:?}");
    }
}
