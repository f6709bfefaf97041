//! Filing entries that were written before there was anything to find them by, at a start.
//!
//! What is filed is not part of the chain: it is made of the entries, and may be made again.

use crate::error::Error;
use crate::schedule;
use crate::store::Store;
use crate::store::audit_entry::Filed;
use crate::store::audit_logs;

/// Entries per transaction, so that other writers get their turn.
const PORTION: i64 = 2000;
/// Entries between two lines of progress.
const LINE_EVERY: usize = 50_000;

/// Files all entries that are not filed yet: how many. A second process that does the same finds less to do.
///
/// # Errors
/// When the store does not answer. What was filed until then stays filed.
pub async fn file_all(store: &Store) -> Result<usize, Error> {
    let heads = audit_logs::noted_heads(&mut *store.read().await?).await?;
    let mut count = 0;
    for (workspace_id, _) in heads {
        while !audit_logs::unfiled(&mut *store.read().await?, &workspace_id, PORTION).await?.is_empty() {
            if count == 0 {
                tracing::info!("filing the audit log for searches; this happens once");
            }
            let filed = file_portion(store, &workspace_id).await?;
            if (count + filed) / LINE_EVERY > count / LINE_EVERY {
                tracing::info!(entries = count + filed, "filing the audit log");
            }
            count += filed;
            schedule::give_way().await;
        }
    }
    if count > 0 {
        tracing::info!(entries = count, "the audit log is filed");
    }
    Ok(count)
}

async fn file_portion(store: &Store, workspace_id: &str) -> Result<usize, Error> {
    let mut transaction = store.write().await?;
    let entries = audit_logs::unfiled(&mut transaction, workspace_id, PORTION).await?;
    let mut filed: Vec<Filed> = entries.iter().map(|entry| entry.filed()).collect();
    // One order for all processes: they lock row after row.
    filed.sort_unstable_by_key(|one| one.sequence);
    audit_logs::file(&mut transaction, &filed).await?;
    transaction.commit().await?;
    Ok(filed.len())
}
