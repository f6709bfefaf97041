//! Rows of the audit log.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Connection, VALUES_PER_STATEMENT, rows_of_placeholders};
use crate::audit::Entry;
use crate::error::Error;

/// A place in the chain of a workspace and the hash of the entry that is or was there.
pub type Link = (i64, String);

/// Where the next entry of a workspace follows: its newest entry, or its anchor when retention has removed
/// all of them; `None` when there was no entry yet.
///
/// # Errors
/// When the store does not answer.
pub async fn head(connection: &mut Connection, workspace_id: &str) -> Result<Option<Link>, Error> {
    let newest = "SELECT sequence, hash FROM audit_logs WHERE workspace_id = $1 ORDER BY sequence DESC LIMIT 1";
    match link(connection, newest, workspace_id).await? {
        Some(newest) => Ok(Some(newest)),
        None => anchor(connection, workspace_id).await,
    }
}

/// The last entry of a workspace that retention has removed; `None` when it has removed none.
///
/// # Errors
/// When the store does not answer.
pub async fn anchor(connection: &mut Connection, workspace_id: &str) -> Result<Option<Link>, Error> {
    link(connection, "SELECT sequence, hash FROM audit_anchors WHERE workspace_id = $1", workspace_id).await
}

async fn link(connection: &mut Connection, text: &'static str, workspace_id: &str) -> Result<Option<Link>, Error> {
    let row = sqlx::query(text).bind(workspace_id.to_owned()).fetch_optional(connection).await?;
    Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get("sequence")?, row.try_get("hash")?))).transpose()?)
}

/// Removes the entries of a workspace up to this one, and notes it as the anchor that the rest of the chain
/// follows: how many were removed. The transaction holds the workspace's lock.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_up_to(
    connection: &mut Connection,
    workspace_id: &str,
    (sequence, hash): Link,
) -> Result<u64, Error> {
    sqlx::query(
        "INSERT INTO audit_anchors (workspace_id, sequence, hash) VALUES ($1, $2, $3) \
         ON CONFLICT (workspace_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
    )
    .bind(workspace_id.to_owned())
    .bind(sequence)
    .bind(hash)
    .execute(&mut *connection)
    .await?;
    let done = sqlx::query("DELETE FROM audit_logs WHERE workspace_id = $1 AND sequence <= $2")
        .bind(workspace_id.to_owned())
        .bind(sequence)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Appends entries, which must be the workspace's next in order; their unique sequence numbers ensure it.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, entries: &[Entry]) -> Result<(), Error> {
    const COLUMNS: usize = 13;
    for portion in entries.chunks(VALUES_PER_STATEMENT / COLUMNS) {
        let text = format!(
            "INSERT INTO audit_logs (id, workspace_id, sequence, time, event, description, actor, targets, \
             remote_ip, user_agent, correlation_id, previous_hash, hash) VALUES {}",
            rows_of_placeholders(portion.len(), COLUMNS)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for entry in portion {
            query = query
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
                .bind(entry.hash.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

const ANY: &str = "SELECT id, workspace_id, sequence, time, event, description, actor, targets, remote_ip, \
                   user_agent, correlation_id, previous_hash, hash FROM audit_logs WHERE workspace_id = $1";

fn read(row: &AnyRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        sequence: row.try_get("sequence")?,
        time: row.try_get("time")?,
        event: row.try_get("event")?,
        description: row.try_get("description")?,
        actor: row.try_get("actor")?,
        targets: row.try_get("targets")?,
        remote_ip: row.try_get("remote_ip")?,
        user_agent: row.try_get("user_agent")?,
        correlation_id: row.try_get("correlation_id")?,
        previous_hash: row.try_get("previous_hash")?,
        hash: row.try_get("hash")?,
    })
}

/// One entry of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, workspace_id: &str, id: &str) -> Result<Option<Entry>, Error> {
    let text = format!("{ANY} AND id = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(id.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Which entries are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its name.
    pub event: Option<String>,
    /// Id of who did it.
    pub actor_id: Option<String>,
    /// Id of something that it was done to.
    pub target_id: Option<String>,
    /// Unix ms, inclusive.
    pub start: Option<i64>,
    /// Unix ms, exclusive.
    pub end: Option<i64>,
}

/// Entries of a workspace, newest first, from the one with the id `cursor` on. An unknown cursor belonged to
/// an entry that retention has removed, and with it all older ones: nothing follows.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    workspace_id: &str,
    cursor: &str,
    wanted: Wanted,
    count: i64,
) -> Result<Vec<Entry>, Error> {
    // An id is found by its JSON. Texts of users cannot imitate it: their quotation marks are escaped.
    // Removing it and comparing respects case on both engines, which LIKE does not.
    let text = format!(
        "{ANY} AND ($2 = '' OR sequence <= (SELECT c.sequence FROM audit_logs c WHERE c.workspace_id = $1 AND \
         c.id = $2)) AND ($3 = '' OR event = $3) AND ($4 = '' OR REPLACE(actor, $4, '') <> actor) \
         AND ($5 = '' OR REPLACE(targets, $5, '') <> targets) AND time >= $6 AND time < $7 \
         ORDER BY sequence DESC LIMIT $8"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(cursor.to_owned())
        .bind(wanted.event.unwrap_or_default())
        .bind(wanted.actor_id.map_or_else(String::new, |id| id_as_json(&id)))
        .bind(wanted.target_id.map_or_else(String::new, |id| id_as_json(&id)))
        .bind(wanted.start.unwrap_or(0))
        .bind(wanted.end.unwrap_or(i64::MAX))
        .bind(count)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// `"id":"key_…"`
fn id_as_json(id: &str) -> String {
    format!("\"id\":{}", serde_json::Value::from(id))
}

/// Entries of a workspace after a place in its chain, in the order of the chain.
///
/// # Errors
/// When the store does not answer.
pub async fn after(
    connection: &mut Connection,
    workspace_id: &str,
    sequence: i64,
    count: i64,
) -> Result<Vec<Entry>, Error> {
    let text = format!("{ANY} AND sequence > $2 ORDER BY sequence LIMIT $3");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(sequence)
        .bind(count)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
