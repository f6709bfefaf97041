//! Removing sealed plaintexts that nobody can read any more: those of the keys of APIs that were deleted, where they are
//! too many to go with the API itself, and those whose one-time link is void.
//!
//! What is left is their rows, and they go within minutes, whatever is set for retention.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::schedule::{self, Job};
use crate::state::State;
use crate::store::{apis, claims, workspaces};

/// The scheduled removal.
#[derive(Debug)]
pub(crate) struct Plaintexts(pub(crate) Arc<State>);

impl Job for Plaintexts {
    const NAME: &'static str = "plaintexts";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn run(&mut self) -> Result<(), Error> {
        remove_plaintexts(&self.0).await?;
        remove_claims(&self.0).await
    }
}

/// Removes what one-time links that are void were about.
///
/// # Errors
/// When the store does not answer. What was removed until then stays removed.
pub async fn remove_claims(state: &Arc<State>) -> Result<(), Error> {
    let now = state.clock.now();
    while claims::are_over(&mut *state.store.read().await?, now).await? {
        let mut transaction = state.store.write().await?;
        claims::remove_over(&mut transaction, now).await?;
        transaction.commit().await?;
        schedule::give_way().await;
    }
    Ok(())
}

/// Removes the plaintexts that deleted APIs have left.
///
/// # Errors
/// When the store does not answer. What was removed until then stays removed.
pub async fn remove_plaintexts(state: &Arc<State>) -> Result<(), Error> {
    let left = apis::with_plaintexts_left(&mut *state.store.read().await?).await?;
    for (workspace_id, api_id) in left {
        let mut rest = Some(String::new());
        while let Some(after) = rest {
            let mut transaction = state.store.write().await?;
            // Whoever purges keys of the workspace meanwhile does not wait in a circle.
            workspaces::lock(&mut transaction, &workspace_id).await?;
            rest = apis::remove_plaintexts(&mut transaction, &api_id, &after).await?;
            transaction.commit().await?;
            schedule::give_way().await;
        }
    }
    Ok(())
}
