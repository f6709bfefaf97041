//! Scheduled work: what is done again and again beside requests, until the program ends.
//!
//! Every process on a database does all of it. So a job is made such that two of them at once, a restart in
//! the middle and a clock that jumps do no harm; nothing elects who does it.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::error::Error;
use crate::keyrack::Keyrack;

/// Work that is due again and again.
pub(crate) trait Job: Send + 'static {
    /// For logs and metrics, such as `refills`.
    const NAME: &'static str;
    /// From the beginning of a run to that of the next, unless the run takes longer.
    const PERIOD: Duration;

    /// Does what is due. What was done before an error stays done.
    fn run(&mut self, keyrack: &Keyrack) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Runs a job at once and then again and again, until the store is closed.
pub(crate) fn start<J: Job>(keyrack: &Keyrack, mut job: J) {
    let keyrack = keyrack.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(J::PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let outcome = job.run(&keyrack).await;
            if keyrack.store().is_closed() {
                return;
            }
            keyrack.metrics().scheduled_run(J::NAME, keyrack.clock().now(), outcome.is_ok());
            match &outcome {
                Ok(()) if failing => tracing::info!(job = J::NAME, "scheduled work goes on"),
                Err(error) if !failing => {
                    tracing::warn!(job = J::NAME, %error, "scheduled work failed; trying again");
                }
                _ => {}
            }
            failing = outcome.is_err();
        }
    });
}

/// Leaves the store to others between two portions of long work. Another process waits for SQLite's lock by
/// trying again and again: it must find it free for a while.
pub(crate) async fn give_way() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
