//! From the log into the warehouse: a consumer of the log, on a thread of its own and before every query.
//!
//! The positions that it has passed are stored with the rows that came of them, so after a kill it goes on where the
//! rows end. The log is told what is stored, and removes it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
/// Between two warnings of one kind.
const WARN: Duration = Duration::from_secs(60);

/// Brings events from the log into a warehouse.
pub(crate) struct Follower {
    consumer: Consumer,
    warehouse: Arc<Warehouse>,
    clock: Clock,
    /// Asked whenever what is too old is removed.
    shorter: Box<dyn Fn() -> Shorter + Send + Sync>,
    /// Held by whoever reads on.
    reading: Mutex<()>,
    is_stopping: AtomicBool,
    stop: (Mutex<bool>, Condvar),
}

impl Follower {
    pub(crate) fn new(
        consumer: Consumer,
        warehouse: Arc<Warehouse>,
        clock: Clock,
        shorter: Box<dyn Fn() -> Shorter + Send + Sync>,
    ) -> Self {
        Follower {
            consumer,
            warehouse,
            clock,
            shorter,
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
            match take_portion(&self.consumer, &self.warehouse, self.clock.now()) {
                Ok(true) => {}
                Ok(false) | Err(Fault::Full) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Takes in what the log has, and writes what was taken in to files as often as that is due.
    fn follow(&self) -> Result<(), Fault> {
        self.catch_up()?;
        if self.warehouse.is_flush_due() { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> Result<(), Fault> {
        self.warehouse.flush()?;
        self.consumer.passed(&self.warehouse.stored_positions());
        Ok(())
    }

    /// Compacts what is to be compacted, and removes what is too old or too much.
    fn keep_in_order(&self) -> Result<(), Fault> {
        let mut watch = |_: &Progress| {
            if self.is_stopping.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let now = self.clock.now();
        self.warehouse.compact(now, &mut watch)?;
        self.warehouse.sweep(now, &(self.shorter)(), &mut watch).map(drop)
    }

    /// Starts the threads that follow the log and keep the warehouse in order.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let follower = self.clone();
        let follow = move || {
            follower.again_and_again(LOOK, "the log of events cannot be followed", Follower::follow);
        };
        std::thread::Builder::new().name("keyrack-follow".to_owned()).spawn(follow)?;
        let follower = self.clone();
        let keep = move || {
            background::give_way();
            follower.again_and_again(UPKEEP, "stored events cannot be kept in order", Follower::keep_in_order);
        };
        std::thread::Builder::new().name("keyrack-compact".to_owned()).spawn(keep).map(drop)
    }

    fn again_and_again(&self, pause: Duration, trouble: &str, work: impl Fn(&Follower) -> Result<(), Fault>) {
        let mut warned: Option<Instant> = None;
        while !self.waits(pause) {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(self)));
            let fault = match done {
                Ok(Ok(())) => continue,
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
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
