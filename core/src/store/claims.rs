//! Texts of keys that wait to be shown by a one-time link.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Connection;
use crate::calendar::UnixMs;
use crate::error::Error;

/// Rows that are removed at a time once their time is over.
const REMOVED_AT_ONCE: i64 = 100;

/// A text that waits, or was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// A digest of what the link says.
    pub id: String,
    /// The workspace of the key.
    pub workspace_id: String,
    /// Who made the key, or asked to read it.
    pub root_key_id: String,
    /// The key or root key.
    pub key_id: String,
    /// The text, sealed; nothing once it was shown.
    pub sealed: Option<String>,
    /// When it began to wait.
    pub created_at: UnixMs,
    /// When it is void, and after it was shown, when that is forgotten.
    pub expires_at: UnixMs,
    /// When it was shown.
    pub claimed_at: Option<UnixMs>,
}

/// How many rows there are that are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of the workspace, those that were shown among them.
    pub all: i64,
    /// Of the workspace, those that wait.
    pub waiting: i64,
    /// Of these, those of the root key.
    pub of_root_key: i64,
}

const COLUMNS: &str = "id, workspace_id, root_key_id, key_id, sealed, created_at, expires_at, claimed_at";

/// How much of a workspace and a root key waits.
///
/// # Errors
/// When the store does not answer.
pub async fn held(
    connection: &mut Connection,
    workspace_id: &str,
    root_key_id: &str,
    now: UnixMs,
) -> Result<Held, Error> {
    let text = "SELECT COUNT(*) AS held, \
                COUNT(CASE WHEN claimed_at IS NULL THEN 1 END) AS waiting, \
                COUNT(CASE WHEN claimed_at IS NULL AND root_key_id = $3 THEN 1 END) AS of_root_key \
                FROM claims WHERE workspace_id = $1 AND expires_at >= $2";
    let query = sqlx::query(text).bind(workspace_id.to_owned()).bind(now).bind(root_key_id.to_owned());
    let row = query.fetch_one(connection).await?;
    Ok(Held {
        all: row.try_get("held")?,
        waiting: row.try_get("waiting")?,
        of_root_key: row.try_get("of_root_key")?,
    })
}

/// Stores a text that waits.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, new: &Claim) -> Result<(), Error> {
    let text = format!("INSERT INTO claims ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(new.id.clone())
        .bind(new.workspace_id.clone())
        .bind(new.root_key_id.clone())
        .bind(new.key_id.clone())
        .bind(new.sealed.clone())
        .bind(new.created_at)
        .bind(new.expires_at)
        .bind(new.claimed_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a link is about, if it is not over.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, id: &str, now: UnixMs) -> Result<Option<Claim>, Error> {
    let text = format!("SELECT {COLUMNS} FROM claims WHERE id = $1 AND expires_at >= $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).bind(now);
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Takes a text out of its row, for good: whether it was still there. Of several who try, one succeeds. That it was taken
/// is remembered until `forgotten_at`.
///
/// # Errors
/// When the store does not answer.
pub async fn take(
    connection: &mut Connection,
    id: &str,
    now: UnixMs,
    forgotten_at: UnixMs,
) -> Result<bool, Error> {
    let text = "UPDATE claims SET sealed = NULL, claimed_at = $2, expires_at = $3 \
                WHERE id = $1 AND claimed_at IS NULL AND expires_at >= $2";
    let query = sqlx::query(text).bind(id.to_owned()).bind(now).bind(forgotten_at);
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// Whether there are rows whose time is over.
///
/// # Errors
/// When the store does not answer.
pub async fn are_over(connection: &mut Connection, now: UnixMs) -> Result<bool, Error> {
    let query = sqlx::query("SELECT id FROM claims WHERE expires_at < $1 LIMIT 1").bind(now);
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Removes some rows whose time is over.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_over(connection: &mut Connection, now: UnixMs) -> Result<(), Error> {
    let text = "DELETE FROM claims WHERE id IN \
                (SELECT id FROM claims WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    sqlx::query(text).bind(now).bind(REMOVED_AT_ONCE).execute(connection).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        root_key_id: row.try_get("root_key_id")?,
        key_id: row.try_get("key_id")?,
        sealed: row.try_get("sealed")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        claimed_at: row.try_get("claimed_at")?,
    })
}
