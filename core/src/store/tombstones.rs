//! Rows that were marked as deleted, and removing them for good.
//!
//! What refers to a row goes before it, portion by portion; an order of calls that ends with nothing removed has
//! removed everything. Times are Unix ms: rows that were marked before them are meant.

use sqlx::Row as _;

use super::{Connection, delete_of};
use crate::calendar::UnixMs;
use crate::error::Error;

/// Whether a workspace has such rows.
///
/// # Errors
/// When the store does not answer.
pub async fn any(connection: &mut Connection, workspace_id: &str, before: UnixMs) -> Result<bool, Error> {
    let text = "SELECT id FROM keys WHERE workspace_id = $1 AND deleted_at < $2 \
                UNION ALL SELECT id FROM apis WHERE workspace_id = $1 AND deleted_at < $2 \
                UNION ALL SELECT id FROM identities WHERE workspace_id = $1 AND deleted_at < $2 \
                UNION ALL SELECT id FROM ratelimit_overrides WHERE workspace_id = $1 AND deleted_at < $2 \
                UNION ALL SELECT id FROM ratelimit_namespaces WHERE workspace_id = $1 AND deleted_at < $2 \
                UNION ALL SELECT id FROM root_keys WHERE workspace_id = $1 AND deleted_at < $2 AND bootstrap = 0 \
                LIMIT $3";
    Ok(!ids(connection, text, workspace_id, before, 1).await?.is_empty())
}

/// Keys that were deleted, themselves or with their API.
///
/// # Errors
/// When the store does not answer.
pub async fn keys(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<Vec<String>, Error> {
    let deleted = "SELECT id FROM keys WHERE workspace_id = $1 AND deleted_at < $2 LIMIT $3";
    let found = ids(connection, deleted, workspace_id, before, count).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let of_deleted_apis = "SELECT k.id FROM apis a JOIN keys k ON k.api_id = a.id \
                           WHERE a.workspace_id = $1 AND a.deleted_at < $2 LIMIT $3";
    ids(connection, of_deleted_apis, workspace_id, before, count).await
}

/// Takes keys from deleted identities, which they belong to no more: how many.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_identities(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let done = sqlx::query(
        "UPDATE keys SET identity_id = NULL WHERE id IN (SELECT k.id FROM identities i \
         JOIN keys k ON k.identity_id = i.id WHERE i.workspace_id = $1 AND i.deleted_at < $2 LIMIT $3)",
    )
    .bind(workspace_id.to_owned())
    .bind(before)
    .bind(count)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Removes identities that no key refers to, with their limits: how many.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_identities(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let text = "SELECT i.id FROM identities i WHERE i.workspace_id = $1 AND i.deleted_at < $2 \
                AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.identity_id = i.id) LIMIT $3";
    let found = ids(connection, text, workspace_id, before, count).await?;
    delete_of(connection, "ratelimits", "identity_id", &found).await?;
    delete_of(connection, "identities", "id", &found).await
}

/// Removes APIs that have no keys any more: how many.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_apis(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let text = "SELECT a.id FROM apis a WHERE a.workspace_id = $1 AND a.deleted_at < $2 \
                AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.api_id = a.id) LIMIT $3";
    let found = ids(connection, text, workspace_id, before, count).await?;
    delete_of(connection, "apis", "id", &found).await
}

/// Removes overrides that were deleted, themselves or with their namespace: how many.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_overrides(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let deleted = "SELECT id FROM ratelimit_overrides WHERE workspace_id = $1 AND deleted_at < $2 LIMIT $3";
    let of_deleted_namespaces = "SELECT o.id FROM ratelimit_namespaces n \
                                 JOIN ratelimit_overrides o ON o.namespace_id = n.id \
                                 WHERE n.workspace_id = $1 AND n.deleted_at < $2 LIMIT $3";
    let mut removed = 0;
    for text in [deleted, of_deleted_namespaces] {
        let found = ids(connection, text, workspace_id, before, count).await?;
        removed += delete_of(connection, "ratelimit_overrides", "id", &found).await?;
    }
    Ok(removed)
}

/// Removes namespaces that have no overrides any more; their names are free again. Their ids.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_namespaces(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<Vec<String>, Error> {
    let text = "SELECT n.id FROM ratelimit_namespaces n WHERE n.workspace_id = $1 AND n.deleted_at < $2 \
                AND NOT EXISTS (SELECT 1 FROM ratelimit_overrides o WHERE o.namespace_id = n.id) LIMIT $3";
    let found = ids(connection, text, workspace_id, before, count).await?;
    match delete_of(connection, "ratelimit_namespaces", "id", &found).await? {
        0 => Ok(Vec::new()),
        _ => Ok(found),
    }
}

/// Removes root keys: how many. One that the bootstrap setting made stays: a start with its value must find out
/// that it was retired.
///
/// # Errors
/// When the store does not answer.
pub async fn remove_root_keys(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let text = "SELECT id FROM root_keys WHERE workspace_id = $1 AND deleted_at < $2 AND bootstrap = 0 LIMIT $3";
    let found = ids(connection, text, workspace_id, before, count).await?;
    delete_of(connection, "root_keys", "id", &found).await
}

async fn ids(
    connection: &mut Connection,
    text: &'static str,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<Vec<String>, Error> {
    let query = sqlx::query(text).bind(workspace_id.to_owned()).bind(before).bind(count);
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}
