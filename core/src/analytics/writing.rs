//! Bringing what was made of events into the store, now and then and when the program stops.

use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::store::{keys, usage};

/// Keys whose last use is written in one transaction: others that write wait no longer than that takes.
const USES_PER_TRANSACTION: usize = 500;

/// Writes the hourly counts and the times of last use that only this process knows.
///
/// A kill between a commit and what follows it counts nothing twice: what was in memory is gone with it.
///
/// # Errors
/// When the store does not answer; what is not written stays for the next time.
pub(crate) async fn write(keyrack: &Keyrack) -> Result<(), Error> {
    let _writing = keyrack.event_writing().await;
    let recorder = keyrack.recorder();
    recorder.empty_ring(keyrack.clock());
    let counts = recorder.unwritten_counts();
    if !counts.is_empty() {
        let mut transaction = keyrack.store().write().await?;
        usage::add(&mut transaction, &counts).await?;
        let committed = transaction.commit().await;
        // After a commit with an unknown end too: counting once too little is better than twice.
        recorder.counts_are_written(&counts);
        committed?;
    }
    loop {
        let uses = recorder.unwritten_uses(USES_PER_TRANSACTION);
        if uses.is_empty() {
            return Ok(());
        }
        let mut transaction = keyrack.store().write().await?;
        keys::set_last_used(&mut transaction, &uses).await?;
        transaction.commit().await?;
        recorder.uses_are_written(&uses);
        if uses.len() < USES_PER_TRANSACTION {
            return Ok(());
        }
    }
}
