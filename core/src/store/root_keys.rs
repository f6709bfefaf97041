//! Root keys: what this program's own users authenticate with.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::audit_logs::{HEAD, Link};
use super::readable::{meaningless, readable};
use super::workspaces::NEXT_GENERATION;
use super::{Connection, Only, delete_of, flag, mark_deleted, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A live root key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKey {
    /// `key_…`
    pub id: String,
    /// The workspace it works in.
    pub workspace_id: String,
    /// Base64 of the SHA-256 of the whole text.
    pub hash: String,
    /// The first characters, for people.
    pub start: String,
    /// The last characters, for people.
    pub ending: String,
    /// For people.
    pub name: Option<String>,
    /// Permission texts.
    pub permissions: Vec<String>,
    /// Whether it may administer workspaces.
    pub operator: bool,
    /// Whether the bootstrap setting made it.
    pub bootstrap: bool,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms.
    pub expires_at: Option<UnixMs>,
}

const LIVE: &str = "SELECT id, workspace_id, hash, start, ending, name, permissions, operator, bootstrap, \
                    enabled, expires_at FROM root_keys WHERE deleted_at IS NULL";

fn read(row: &AnyRow) -> Result<RootKey, sqlx::Error> {
    let permissions: String = row.try_get("permissions")?;
    Ok(RootKey {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        hash: row.try_get("hash")?,
        start: row.try_get("start")?,
        ending: row.try_get("ending")?,
        name: row.try_get("name")?,
        // Permissions that cannot be read grant nothing.
        permissions: serde_json::from_str(&permissions)
            .map_err(|_| meaningless("permissions are a list of texts"))?,
        operator: flag(row, "operator")?,
        bootstrap: flag(row, "bootstrap")?,
        enabled: flag(row, "enabled")?,
        expires_at: row.try_get("expires_at")?,
    })
}

/// Live root keys of the instance.
///
/// # Errors
/// When the store does not answer.
pub async fn live(connection: &mut Connection, only: Only<'_>) -> Result<Vec<RootKey>, Error> {
    let rows = select(connection, LIVE, "id", only).await?;
    Ok(readable(&rows, "root key", read))
}

/// What a change asks of its caller's root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether its workspace is enabled; `None` when that is gone.
    pub workspace_enabled: Option<bool>,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms.
    pub expires_at: Option<UnixMs>,
    /// Whether it may administer workspaces.
    pub operator: bool,
    /// Permission texts.
    pub permissions: Vec<String>,
}

/// What every change asks first.
#[derive(Debug)]
pub struct Beginning {
    /// The generation of the workspace that is changed; `None` when that is gone.
    pub generation: Option<i64>,
    /// How the caller's root key stands; `None` when it was deleted.
    pub standing: Option<Standing>,
    /// Where the next entry in the audit log of the workspace follows; `None` when it has none.
    pub head: Option<Link>,
}

/// Takes the workspace's lock for the rest of the transaction, counts a mutation, and asks how its caller's root key
/// stands.
///
/// # Errors
/// When the store does not answer.
pub async fn begin(connection: &mut Connection, id: &str, workspace_id: &str) -> Result<Beginning, Error> {
    if connection.backend_name() == "PostgreSQL" {
        // Of one statement all parts see what was there before it waited for the lock.
        sqlx::query(NEXT_GENERATION).bind(workspace_id.to_owned()).execute(&mut *connection).await?;
        return standing(connection, id, workspace_id).await;
    }
    ask(connection, format!("{NEXT_GENERATION}; {}", standing_text()), id, workspace_id).await
}

/// The same without the lock, of a caller from elsewhere.
///
/// # Errors
/// When the store does not answer.
pub async fn standing(connection: &mut Connection, id: &str, workspace_id: &str) -> Result<Beginning, Error> {
    ask(connection, standing_text(), id, workspace_id).await
}

fn standing_text() -> String {
    format!(
        "SELECT head.sequence, head.hash, changed.generation, k.enabled, k.expires_at, k.operator, k.permissions, \
         w.enabled AS workspace_enabled FROM (SELECT 1 AS one) AS always LEFT JOIN ({HEAD}) AS head ON 1 = 1 \
         LEFT JOIN workspaces changed ON changed.id = $1 \
         LEFT JOIN root_keys k ON k.id = $2 AND k.deleted_at IS NULL \
         LEFT JOIN workspaces w ON w.id = k.workspace_id AND w.deleted_at IS NULL"
    )
}

async fn ask(connection: &mut Connection, text: String, id: &str, workspace_id: &str) -> Result<Beginning, Error> {
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned()).bind(id.to_owned());
    let rows = query.fetch_all(connection).await?;
    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    let (sequence, hash): (Option<i64>, Option<String>) = (row.try_get("sequence")?, row.try_get("hash")?);
    let (generation, head) = (row.try_get("generation")?, sequence.zip(hash));
    let Some(permissions) = row.try_get::<Option<String>, _>("permissions")? else {
        return Ok(Beginning { generation, standing: None, head });
    };
    let standing = Standing {
        workspace_enabled: row.try_get::<Option<i64>, _>("workspace_enabled")?.map(|flag| flag != 0),
        enabled: flag(row, "enabled")?,
        expires_at: row.try_get("expires_at")?,
        operator: flag(row, "operator")?,
        permissions: serde_json::from_str(&permissions).unwrap_or_default(),
    };
    Ok(Beginning { generation, standing: Some(standing), head })
}

/// Keeps a root key as it is until the end of the transaction.
///
/// # Errors
/// When the store does not answer.
pub async fn lock(connection: &mut Connection, id: &str) -> Result<(), Error> {
    // The only lock of a row that both engines have a word for.
    sqlx::query("UPDATE root_keys SET enabled = enabled WHERE id = $1")
        .bind(id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether any root key, live or deleted, has this hash: its id, and whether the bootstrap setting made it.
///
/// # Errors
/// When the store does not answer.
pub async fn owner_of_hash(connection: &mut Connection, hash: &str) -> Result<Option<(String, bool)>, Error> {
    let row = sqlx::query("SELECT id, bootstrap FROM root_keys WHERE hash = $1")
        .bind(hash.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get("id")?, flag(&row, "bootstrap")?))).transpose()?)
}

/// Adds a root key.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, key: &RootKey, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO root_keys (id, workspace_id, hash, start, ending, name, permissions, operator, bootstrap, \
         enabled, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(key.id.clone())
    .bind(key.workspace_id.clone())
    .bind(key.hash.clone())
    .bind(key.start.clone())
    .bind(key.ending.clone())
    .bind(key.name.clone())
    .bind(serde_json::to_string(&key.permissions).map_err(Error::unexpected)?)
    .bind(i64::from(key.operator))
    .bind(i64::from(key.bootstrap))
    .bind(i64::from(key.enabled))
    .bind(key.expires_at)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a root key as deleted; its hash stays taken.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    mark_deleted(connection, "root_keys", id, now).await
}

/// Live root keys of a workspace that expired before a Unix ms, at most `count`, but those that the bootstrap
/// setting made: a start with their value must find out that they were retired.
///
/// # Errors
/// When the store does not answer.
pub async fn expired(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<Vec<RootKey>, Error> {
    let text = format!("{LIVE} AND workspace_id = $1 AND expires_at < $2 AND bootstrap = 0 LIMIT $3");
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned()).bind(before).bind(count);
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Removes root keys; their hashes are free again: how many.
///
/// # Errors
/// When the store does not answer.
pub async fn purge(connection: &mut Connection, ids: &[String]) -> Result<u64, Error> {
    delete_of(connection, "root_keys", "id", ids).await
}

/// A live root key of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, workspace_id: &str, id: &str) -> Result<Option<RootKey>, Error> {
    let found = live(connection, Only::Ids(&[id])).await?;
    Ok(found.into_iter().find(|key| key.workspace_id == workspace_id))
}

/// Live root keys of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn of_workspace(connection: &mut Connection, workspace_id: &str) -> Result<Vec<RootKey>, Error> {
    let text = format!("{LIVE} AND workspace_id = $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned()).fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A root key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As stored.
    pub key: RootKey,
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms, some seconds behind; `None` when never.
    pub last_used_at: Option<UnixMs>,
}

/// Live root keys of a workspace from `cursor` on, in the order of ids.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    workspace_id: &str,
    cursor: &str,
    count: i64,
) -> Result<Vec<Listed>, Error> {
    let text = LIVE.replacen("expires_at", "expires_at, created_at, last_used_at", 1)
        + " AND workspace_id = $1 AND id >= $2 ORDER BY id LIMIT $3";
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(cursor.to_owned())
        .bind(count)
        .fetch_all(connection)
        .await?;
    let read = |row: &AnyRow| {
        let (created_at, last_used_at) = (row.try_get("created_at")?, row.try_get("last_used_at")?);
        Ok(Listed { key: read(row)?, created_at, last_used_at })
    };
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

/// Writes what may be changed of a root key: name, whether it is enabled, permissions and expiry.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, key: &RootKey, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "UPDATE root_keys SET name = $2, enabled = $3, permissions = $4, expires_at = $5, updated_at = $6 \
         WHERE id = $1",
    )
    .bind(key.id.clone())
    .bind(key.name.clone())
    .bind(i64::from(key.enabled))
    .bind(serde_json::to_string(&key.permissions).map_err(Error::unexpected)?)
    .bind(key.expires_at)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a root key was used, unless a later use is noted.
///
/// # Errors
/// When the store does not answer.
pub async fn set_last_used(connection: &mut Connection, id: &str, at: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE root_keys SET last_used_at = $2 WHERE id = $1 AND COALESCE(last_used_at, 0) < $2")
        .bind(id.to_owned())
        .bind(at)
        .execute(connection)
        .await?;
    Ok(())
}
