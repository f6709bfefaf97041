//! Keys that were deleted, themselves or with their API, as long as they are remembered.

use sqlx::Row as _;

use crate::calendar::UnixMs;
use crate::error::Error;
use crate::store::Connection;

/// A key that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `key_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Its API.
    pub api_id: String,
    /// The key space of that.
    pub key_space_id: String,
    /// When it was deleted, if it was.
    pub deleted_at: Option<UnixMs>,
    /// When its API was deleted, if that was.
    pub api_deleted_at: Option<UnixMs>,
}

/// How a key is looked for.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// Its id.
    Id(&'a str),
    /// Base64 of the SHA-256 of its text.
    Hash(&'a str),
}

/// A key of any workspace that was deleted, itself or with its API.
///
/// # Errors
/// When the store does not answer.
pub async fn find_ended(connection: &mut Connection, by: By<'_>) -> Result<Option<Ended>, Error> {
    let (column, value) = match by {
        By::Id(id) => ("k.id", id),
        By::Hash(hash) => ("k.hash", hash),
    };
    let text = format!(
        "SELECT k.id, k.workspace_id, k.api_id, a.key_space_id, k.deleted_at, a.deleted_at AS api_deleted_at \
         FROM keys k JOIN apis a ON a.id = k.api_id \
         WHERE {column} = $1 AND (k.deleted_at IS NOT NULL OR a.deleted_at IS NOT NULL)"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(value.to_owned()).fetch_optional(connection).await?;
    let read = |row: sqlx::any::AnyRow| {
        Ok::<_, sqlx::Error>(Ended {
            id: row.try_get("id")?,
            workspace_id: row.try_get("workspace_id")?,
            api_id: row.try_get("api_id")?,
            key_space_id: row.try_get("key_space_id")?,
            deleted_at: row.try_get("deleted_at")?,
            api_deleted_at: row.try_get("api_deleted_at")?,
        })
    };
    Ok(row.map(read).transpose()?)
}
