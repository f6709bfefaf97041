//! How much a workspace used, from the store and from what only this process knows.

use super::Analytics;
use crate::calendar::{HOUR_MS, UnixMs};
use crate::error::Error;
use crate::store::usage::{self, Counted, Kind};

impl Analytics {
    /// How many decisions of a kind a workspace used from Unix ms `start` until before `end`, both being full
    /// hours. What this process decided is in it at once, what others decided some seconds later.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn used(&self, workspace_id: &str, kind: Kind, start: UnixMs, end: UnixMs) -> Result<i64, Error> {
        let hours = start.get().div_euclid(HOUR_MS)..end.get().div_euclid(HOUR_MS);
        // Nothing moves from memory to the store between the two looks.
        let _writing = self.hourly_counts.lock().await;
        let waiting = self.recorder.take_stock(&self.clock).await?;
        let is_asked_for = |counted: &Counted| {
            *counted.workspace_id == *workspace_id
                && counted.kind == kind
                && counted.outcome == kind.billable()
                && hours.contains(&counted.hour)
        };
        let waiting: i64 =
            waiting.iter().filter(|(counted, _)| is_asked_for(counted)).map(|(_, count)| count).sum();
        let mut connection = self.store.read().await?;
        let stored = usage::sum(&mut connection, workspace_id, kind, hours).await?;
        Ok(stored + waiting)
    }
}
