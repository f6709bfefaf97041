//! Rows of the audit log.

use sqlx::Row as _;

use super::Connection;
use crate::audit::Entry;
use crate::error::Error;

/// The sequence number and hash of the newest entry of a workspace; `None` when it has none.
///
/// # Errors
/// When the store does not answer.
pub async fn head(connection: &mut Connection, workspace_id: &str) -> Result<Option<(i64, String)>, Error> {
    let row = sqlx::query(
        "SELECT sequence, hash FROM audit_logs WHERE workspace_id = $1 ORDER BY sequence DESC LIMIT 1",
    )
    .bind(workspace_id.to_owned())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get("sequence")?, row.try_get("hash")?))).transpose()?)
}

/// Appends an entry. It must be the workspace's next, which its unique sequence number ensures.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, entry: &Entry) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO audit_logs (id, workspace_id, sequence, time, event, description, actor, targets, remote_ip, \
         user_agent, correlation_id, previous_hash, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(entry.id.clone())
    .bind(entry.workspace_id.clone())
    .bind(entry.sequence)
    .bind(entry.time)
    .bind(entry.event.clone())
    .bind(entry.description.clone())
    .bind(entry.actor.clone())
    .bind(entry.targets.clone())
    .bind(entry.remote_ip.clone())
    .bind(entry.user_agent.clone())
    .bind(entry.correlation_id.clone())
    .bind(entry.previous_hash.clone())
    .bind(entry.hash.clone())
    .execute(connection)
    .await?;
    Ok(())
}
