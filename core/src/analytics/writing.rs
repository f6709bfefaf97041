//! Bringing what was made of events into the store, now and then and when the program stops.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::Analytics;
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::schedule::{Job, give_way};
use crate::store::{keys, usage};

/// Keys whose last use is written in one transaction: others that write wait no longer than that takes.
const USES_PER_TRANSACTION: usize = 500;

/// Writes when keys were last used, now and then: a key that is always in use is a row per minute.
#[derive(Debug)]
pub(crate) struct KeyUses(pub(crate) Arc<Analytics>);

impl Job for KeyUses {
    const NAME: &'static str = "key_uses";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn run(&mut self) -> Result<(), Error> {
        self.0.write_key_uses().await
    }
}

impl Analytics {
    /// Writes the times of last use that only this process knows.
    ///
    /// # Errors
    /// When the store does not answer; what is not written stays for the next time.
    pub(crate) async fn write_key_uses(&self) -> Result<(), Error> {
        // Whoever stops the program waits for a run that is under way, which has taken what there is to write.
        let _writing = self.key_uses.lock().await;
        // Taken once: what goes on being used meanwhile is for the next time, or this would never end.
        let uses = self.recorder.take_uses();
        let mut portions = uses.chunks(USES_PER_TRANSACTION);
        while let Some(portion) = portions.next() {
            if let Err(error) = self.write_uses(portion).await {
                self.recorder.put_back(portion);
                portions.for_each(|portion| self.recorder.put_back(portion));
                return Err(error);
            }
            if !self.recorder.is_stopping() {
                give_way().await;
            }
        }
        Ok(())
    }

    /// Writes the hourly counts that only this process knows.
    ///
    /// A kill between the commit and what follows it counts nothing twice: what was in memory is gone with it.
    ///
    /// # Errors
    /// As [`Analytics::write_key_uses`].
    pub(crate) async fn write_counts(&self) -> Result<(), Error> {
        let _writing = self.hourly_counts.lock().await;
        let recorder = &self.recorder;
        let counts = recorder.take_stock(&self.clock).await?;
        if counts.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store.write().await?;
        usage::add(&mut transaction, counts.iter()).await?;
        let committed = transaction.commit().await;
        if committed.as_ref().map_or_else(Error::is_unknown_outcome, |()| true) {
            // When nobody knows whether it was committed, too: counting too little is better than twice.
            recorder.counts_are_written(&counts);
        }
        committed
    }

    async fn write_uses(&self, uses: &[(CompactString, UnixMs)]) -> Result<(), Error> {
        let mut transaction = self.store.write().await?;
        keys::set_last_used(&mut transaction, uses).await?;
        transaction.commit().await
    }
}
