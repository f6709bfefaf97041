//! APIs, each with its key space.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{self, Found, Part};
use super::readable::readable;
use super::{Connection, Only, delete_of, flag, mark_deleted, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// An API as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// `api_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// For people; not unique.
    pub name: String,
    /// `ks_…`, the space its keys live in.
    pub key_space_id: String,
    /// Whether it refuses to be deleted.
    pub delete_protection: bool,
    /// Addresses that its keys may be verified from, comma-separated; `None` means any.
    pub ip_whitelist: Option<String>,
    /// Prefix of keys whose creation names none.
    pub default_prefix: Option<String>,
    /// Random bytes of keys whose creation names no number.
    pub default_bytes: Option<i64>,
    /// Whether keys may be recoverable.
    pub store_encrypted_keys: bool,
    /// Unix ms.
    pub created_at: UnixMs,
}

const LIVE: &str = "SELECT id, workspace_id, name, key_space_id, delete_protection, ip_whitelist, \
                    default_prefix, default_bytes, store_encrypted_keys, created_at FROM apis WHERE deleted_at IS NULL";

fn read(row: &AnyRow) -> Result<Api, sqlx::Error> {
    Ok(Api {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        name: row.try_get("name")?,
        key_space_id: row.try_get("key_space_id")?,
        delete_protection: flag(row, "delete_protection")?,
        ip_whitelist: row.try_get("ip_whitelist")?,
        default_prefix: row.try_get("default_prefix")?,
        default_bytes: row.try_get("default_bytes")?,
        store_encrypted_keys: flag(row, "store_encrypted_keys")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Live APIs of the instance.
///
/// # Errors
/// When the store does not answer.
pub async fn live(connection: &mut Connection, only: Only<'_>) -> Result<Vec<Api>, Error> {
    let rows = select(connection, LIVE, "id", only).await?;
    Ok(readable(&rows, "API", read))
}

/// A live API of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, workspace_id: &str, id: &str) -> Result<Option<Api>, Error> {
    let found = live(connection, Only::Ids(&[id])).await?;
    Ok(found.into_iter().find(|api| api.workspace_id == workspace_id))
}

/// A part of the live APIs of a workspace, in the order of ids; a search looks into id and name.
///
/// # Errors
/// When the store does not answer.
pub async fn list(connection: &mut Connection, part: Part<'_>) -> Result<Found<Api>, Error> {
    listing::list(connection, LIVE, &["id", "name"], part, read).await
}

/// Adds an API and its key space.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, api: &Api) -> Result<(), Error> {
    sqlx::query("INSERT INTO apis (id, workspace_id, name, key_space_id, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(api.id.clone())
        .bind(api.workspace_id.clone())
        .bind(api.name.clone())
        .bind(api.key_space_id.clone())
        .bind(api.created_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the settings of an API.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, api: &Api, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "UPDATE apis SET name = $2, delete_protection = $3, ip_whitelist = $4, default_prefix = $5, \
         default_bytes = $6, store_encrypted_keys = $7, updated_at = $8 WHERE id = $1",
    )
    .bind(api.id.clone())
    .bind(api.name.clone())
    .bind(i64::from(api.delete_protection))
    .bind(api.ip_whitelist.clone())
    .bind(api.default_prefix.clone())
    .bind(api.default_bytes)
    .bind(i64::from(api.store_encrypted_keys))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keys whose plaintexts go in one transaction.
const PORTION: i64 = 1000;

/// Marks an API as deleted; its keys become unreachable with it, and their plaintexts go. Of an API with very many
/// keys some are left, which [`with_plaintexts_left`] tells.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    remove_plaintexts(connection, id, "").await?;
    mark_deleted(connection, "apis", id, now).await
}

/// Removes the plaintexts of a portion of the keys of an API, those whose ids come after `after`, and notes whether
/// those were the last of them: the id after which the next portion begins, `None` when there is none. The consent of
/// an API to keep plaintexts means, once it is deleted, that there may be some.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_plaintexts(
    connection: &mut Connection,
    id: &str,
    after: &str,
) -> Result<Option<String>, Error> {
    let rows = sqlx::query("SELECT id FROM keys WHERE api_id = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(id.to_owned())
        .bind(after.to_owned())
        .bind(PORTION)
        .fetch_all(&mut *connection)
        .await?;
    let keys: Vec<String> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    delete_of(connection, "encrypted_keys", "key_id", &keys).await?;
    let rest = if rows.len() as u64 == PORTION.unsigned_abs() { keys.into_iter().last() } else { None };
    sqlx::query("UPDATE apis SET store_encrypted_keys = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(i64::from(rest.is_some()))
        .execute(connection)
        .await?;
    Ok(rest)
}

/// The deleted APIs whose keys may still have plaintexts, each the ids of its workspace and itself.
///
/// # Errors
/// When the store does not answer.
pub async fn with_plaintexts_left(connection: &mut Connection) -> Result<Vec<(String, String)>, Error> {
    let text = "SELECT workspace_id, id FROM apis WHERE deleted_at IS NOT NULL AND store_encrypted_keys = 1";
    let rows = sqlx::query(text).fetch_all(connection).await?;
    let read = |row: &AnyRow| Ok((row.try_get("workspace_id")?, row.try_get("id")?));
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}
