//! Scheduled work: what is done again and again beside requests, until the program ends.
//!
//! A job owns what it works with. Every process on a database does all of it. So a job is made such that two of them
//! at once, a restart in the middle and a clock that jumps do no harm; nothing elects who does it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::state::State;
use crate::store::Store;

/// Work that is due again and again.
pub(crate) trait Job: Send + 'static {
    /// For logs and metrics, such as `refills`.
    const NAME: &'static str;
    /// From the beginning of a run to that of the next, unless the run takes longer.
    const PERIOD: Duration;
    /// A run that takes longer waits for something that does not come, and is ended.
    const LONGEST_RUN: Duration = Duration::from_secs(15 * 60);

    /// Does what is due. What was done before an error or the end of the run stays done.
    fn run(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Runs jobs until it is stopped, and tells how they fare.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    clock: Clock,
    metrics: Arc<Metrics>,
    store: Store,
    stop: CancellationToken,
}

impl Scheduler {
    /// A scheduler of what works with this state.
    pub(crate) fn of(state: &State) -> Self {
        let (clock, metrics, store) = (state.clock.clone(), state.metrics.clone(), state.store.clone());
        Scheduler { clock, metrics, store, stop: CancellationToken::new() }
    }

    /// Begins no run of any job any more. One that is under way goes on.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Runs a job at once and then again and again. A run that panics or hangs is one that failed.
    pub(crate) fn start<J: Job>(&self, mut job: J) {
        let scheduler = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(J::PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failing = false;
            while scheduler.stop.run_until_cancelled(ticks.tick()).await.is_some() {
                let outcome = scheduler.run_once(&mut job).await;
                if scheduler.stop.is_cancelled() {
                    return;
                }
                scheduler.metrics.scheduled_run(J::NAME, scheduler.clock.now(), outcome.is_ok());
                match &outcome {
                    Ok(()) if failing => tracing::info!(job = J::NAME, "scheduled work goes on"),
                    Err(error) if !failing => {
                        let cause = error.cause();
                        tracing::warn!(job = J::NAME, %error, cause, "scheduled work failed; trying again");
                    }
                    _ => {}
                }
                failing = outcome.is_err();
            }
        });
    }

    async fn run_once<J: Job>(&self, job: &mut J) -> Result<(), Error> {
        let running = tokio::time::timeout(J::LONGEST_RUN, caught(job.run()));
        let outcome = running.await.unwrap_or_else(|late| Err(Error::unexpected(late)));
        outcome.inspect_err(|error| self.store.note_failure(error))
    }
}

/// Makes a panic an error, so that whoever does something again and again goes on.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(Error::unexpected("panicked")))
}

/// Leaves the store to others between two portions of long work. Another process waits for SQLite's lock by
/// trying again and again: it must find it free for a while.
pub(crate) async fn give_way() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::keyrack::Keyrack;
    use crate::store::Location;

    /// Panics in its first run and hangs in its second.
    struct Troubled(Arc<AtomicU32>);

    impl Job for Troubled {
        const NAME: &'static str = "troubled";
        const PERIOD: Duration = Duration::from_millis(10);
        const LONGEST_RUN: Duration = Duration::from_millis(50);

        async fn run(&mut self) -> Result<(), Error> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("of the test"),
                1 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_and_hangs_is_begun_again_and_its_failures_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open(&location, Clock::system()).await.unwrap();
        let runs = Arc::new(AtomicU32::new(0));
        Scheduler::of(keyrack.state()).start(Troubled(runs.clone()));
        let fares = || keyrack.metrics().scheduled_runs().into_iter().find(|(job, _)| *job == "troubled");
        while fares().is_none_or(|(_, runs)| runs.last_success.is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fares().unwrap().1.failures, 2);
        keyrack.close().await;
    }
}
