//! The change feed forgets: a process needs only what is newer than what it has seen, and is some seconds
//! behind at most.
//!
//! How far the feed goes back is noted in the same transaction, so that a process that was away for longer, as
//! a suspended machine is, notices it and reads everything anew.

use std::sync::Arc;
use std::time::Duration;

use crate::calendar::HOUR_MS;
use crate::error::Error;
use crate::metrics::Removed;
use crate::schedule::{self, Job};
use crate::state::State;
use crate::store::changes;

/// How long a change is kept. A process that reads everything anew for nothing costs more than these rows.
const KEPT_MS: i64 = HOUR_MS;
/// Rows per transaction, so that other writers get their turn.
const PORTION: i64 = 1000;

/// Forgets old changes.
#[derive(Debug)]
pub(crate) struct Forgetting(pub(crate) Arc<State>);

impl Job for Forgetting {
    const NAME: &'static str = "change_feed";
    const PERIOD: Duration = Duration::from_secs(5 * 60);

    async fn run(&mut self) -> Result<(), Error> {
        forget_old(&self.0).await.map(drop)
    }
}

/// Forgets the changes of all workspaces that are older than an hour: how many rows.
///
/// A clock that jumps makes it forget too early or too late, and either does no harm.
///
/// # Errors
/// When the store does not answer.
pub async fn forget_old(state: &Arc<State>) -> Result<u64, Error> {
    let before = state.clock.now().minus(KEPT_MS);
    let workspaces = changes::workspaces_with_older(&mut *state.store.read().await?, before).await?;
    let mut count = 0;
    for workspace_id in workspaces {
        loop {
            let mut transaction = state.store.write().await?;
            let forgotten = changes::forget(&mut transaction, &workspace_id, before, PORTION).await?;
            transaction.commit().await?;
            if forgotten == 0 {
                break;
            }
            state.metrics.removed(Removed::Changes, forgotten);
            count += forgotten;
            schedule::give_way().await;
        }
    }
    Ok(count)
}
