//! Bringing into the store what only this process knows of use: of root keys, and how much workspaces used per hour.

use std::sync::Arc;
use std::time::Duration;

use crate::analytics::Analytics;
use crate::error::Error;
use crate::schedule::Job;
use crate::state::State;
use crate::store::root_keys;

/// Writes it now and then.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) state: Arc<State>,
    pub(crate) analytics: Arc<Analytics>,
}

impl Job for Usage {
    const NAME: &'static str = "usage";
    const PERIOD: Duration = Duration::from_secs(10);

    async fn run(&mut self) -> Result<(), Error> {
        write(&self.state, &self.analytics).await
    }
}

/// Writes to the store when root keys were last used, and the hourly counts.
///
/// # Errors
/// When the store does not answer; what is not written stays for the next time.
pub(crate) async fn write(state: &State, analytics: &Analytics) -> Result<(), Error> {
    analytics.write_counts().await?;
    let uses = state.resident.unwritten_uses();
    if uses.is_empty() {
        return Ok(());
    }
    let mut transaction = state.store.write().await?;
    for (id, at) in &uses {
        root_keys::set_last_used(&mut transaction, id, *at).await?;
    }
    transaction.commit().await?;
    state.resident.uses_are_written(&uses);
    Ok(())
}
