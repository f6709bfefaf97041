//! What happened: an event for every decided verification and every decision on a limit.
//!
//! A decision puts its event into a bounded ring and goes on ([`recorder`]); a thread of its own empties the
//! ring many times a second into a log of files ([`log`]), and keeps what is asked for often: when each key
//! was last used, and how much each workspace used per hour ([`counts`]). An overload or a kill loses events,
//! never decisions; what is lost is counted, and the log says that it is missing ([`gaps`]).

mod asking;
pub mod counts;
pub mod engine;
pub mod event;
pub mod gaps;
pub mod log;
pub mod questions;
pub mod quota;
pub mod recorder;
pub mod reports;
pub mod sql;
pub mod texts;
mod usage;
pub(crate) mod writing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use self::asking::Asking;
pub(crate) use self::asking::LIMITS;
use self::recorder::Recorder;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::Store;

/// How long a stop waits for the events of decisions that are made.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// What becomes of events.
#[derive(Debug)]
pub struct Analytics {
    recorder: Arc<Recorder>,
    asking: Asking,
    store: Store,
    clock: Clock,
    /// Held while hourly counts move from memory to the store.
    hourly_counts: Mutex<()>,
    /// Held while times of last use do.
    key_uses: Mutex<()>,
}

impl Analytics {
    /// Analytics of decisions on what is in this store.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        let (recorder, asking) = (Arc::default(), Asking::default());
        Analytics { recorder, asking, store, clock, hourly_counts: Mutex::default(), key_uses: Mutex::default() }
    }

    /// Where decisions put their events.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Starts the thread that events need. How it fares is noted in `metrics`.
    pub(crate) fn start(&self, metrics: Arc<Metrics>) {
        if let Err(error) = self.recorder.start(self.clock.clone(), metrics) {
            tracing::error!(%error, "no thread for events: those of an overload will be lost");
        }
    }

    /// Waits for the events of decisions whose deductions are made, and ends the thread. What is in the ring then is
    /// written by whoever asks for it.
    pub(crate) async fn stop(&self) {
        let begun = Instant::now();
        while self.recorder.is_waiting_for_events() && begun.elapsed() < LAST_EVENTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.recorder.stop();
    }
}
