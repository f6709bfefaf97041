//! Bringing what was made of events into the store, now and then and when the program stops.

use std::time::Duration;

use compact_str::CompactString;

use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::schedule::{Job, give_way};
use crate::store::{keys, usage};

/// Keys whose last use is written in one transaction: others that write wait no longer than that takes.
const USES_PER_TRANSACTION: usize = 500;

/// Writes when keys were last used, now and then: a key that is always in use is a row per minute.
#[derive(Debug)]
pub(crate) struct KeyUses;

impl Job for KeyUses {
    const NAME: &'static str = "key_uses";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn run(&mut self, keyrack: &Keyrack) -> Result<(), Error> {
        write_key_uses(keyrack).await
    }
}

/// Writes the times of last use that only this process knows.
///
/// # Errors
/// When the store does not answer; what is not written stays for the next time.
pub(crate) async fn write_key_uses(keyrack: &Keyrack) -> Result<(), Error> {
    // Whoever stops the program waits for a run that is under way, which has taken what there is to write.
    let _writing = keyrack.use_writing().await;
    // Taken once: what goes on being used meanwhile is for the next time, or this would never end.
    let uses = keyrack.recorder().take_uses();
    let mut portions = uses.chunks(USES_PER_TRANSACTION);
    while let Some(portion) = portions.next() {
        if let Err(error) = write_uses(keyrack, portion).await {
            keyrack.recorder().put_back(portion);
            portions.for_each(|portion| keyrack.recorder().put_back(portion));
            return Err(error);
        }
        if !keyrack.recorder().is_stopping() {
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
/// As [`write_key_uses`].
pub(crate) async fn write_counts(keyrack: &Keyrack) -> Result<(), Error> {
    let _writing = keyrack.count_writing().await;
    let recorder = keyrack.recorder();
    let counts = recorder.take_stock(keyrack.clock()).await?;
    if counts.is_empty() {
        return Ok(());
    }
    let mut transaction = keyrack.store().write().await?;
    usage::add(&mut transaction, counts.iter()).await?;
    let committed = transaction.commit().await;
    if committed.as_ref().map_or_else(Error::is_unknown_outcome, |()| true) {
        // When nobody knows whether it was committed, too: counting too little is better than twice.
        recorder.counts_are_written(&counts);
    }
    committed
}

async fn write_uses(keyrack: &Keyrack, uses: &[(CompactString, i64)]) -> Result<(), Error> {
    let mut transaction = keyrack.store().write().await?;
    keys::set_last_used(&mut transaction, uses).await?;
    transaction.commit().await
}
