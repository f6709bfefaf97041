//! Workspaces: everything else belongs to exactly one.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{Found, after};
use super::readable::{readable, within};
use super::{Connection, flag};
use crate::calendar::UnixMs;
use crate::error::{Code, Error, OrNotFound as _};

/// A workspace as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// `ws_…`
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether its keys verify and its root keys work.
    pub enabled: bool,
    /// How many mutations it has seen.
    pub generation: i64,
    /// Requests per minute over all its root keys; `None` means no limit.
    pub requests_per_minute: Option<i64>,
    /// Days that verification events are kept; `None` means for ever.
    pub log_retention_days: Option<i64>,
    /// Days that the audit log is kept; `None` means for ever.
    pub audit_retention_days: Option<i64>,
}

fn read(row: &AnyRow) -> Result<Workspace, sqlx::Error> {
    Ok(Workspace {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        enabled: flag(row, "enabled")?,
        generation: row.try_get("generation")?,
        requests_per_minute: within(row, "requests_per_minute", 0..=i64::MAX)?,
        log_retention_days: within(row, "log_retention_days", 1..=i64::MAX)?,
        audit_retention_days: within(row, "audit_retention_days", 1..=i64::MAX)?,
    })
}

const COLUMNS: &str = "SELECT id, name, enabled, generation, requests_per_minute, log_retention_days, \
                       audit_retention_days FROM workspaces WHERE deleted_at IS NULL";

/// All workspaces, oldest first.
///
/// # Errors
/// When the store does not answer.
pub async fn all(connection: &mut Connection) -> Result<Vec<Workspace>, Error> {
    let text = format!("{COLUMNS} ORDER BY created_at, id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(connection).await?;
    Ok(readable(&rows, "workspace", read))
}

/// One workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, id: &str) -> Result<Option<Workspace>, Error> {
    let text = format!("{COLUMNS} AND id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).fetch_optional(connection).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Adds a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, id: &str, name: &str, now: UnixMs) -> Result<(), Error> {
    sqlx::query("INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(id.to_owned())
        .bind(name.to_owned())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the lock of the workspace `$1` for the rest of the transaction and counts a mutation.
pub(super) const NEXT_GENERATION: &str = "UPDATE workspaces SET generation = generation + 1 WHERE id = $1";

/// Takes the workspace's lock for the rest of the transaction and counts a mutation.
///
/// # Errors
/// When the store does not answer, or the workspace is gone.
pub async fn next_generation(connection: &mut Connection, id: &str) -> Result<i64, Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{NEXT_GENERATION} RETURNING generation")))
        .bind(id.to_owned())
        .fetch_optional(connection)
        .await?
        .or_not_found(Code::WorkspaceNotFound)?;
    Ok(row.try_get("generation")?)
}

/// The generation of every workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn generations(connection: &mut Connection) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query("SELECT id, generation FROM workspaces").fetch_all(connection).await?;
    Ok(readable(&rows, "workspace", |row| Ok((row.try_get("id")?, row.try_get("generation")?))))
}

/// Takes the lock of a workspace that is not changed, but whose audit log is written. Several are taken in the order
/// of their ids, or two such changes could wait for each other.
///
/// # Errors
/// When the store does not answer.
pub async fn lock(connection: &mut Connection, id: &str) -> Result<(), Error> {
    sqlx::query("UPDATE workspaces SET generation = generation WHERE id = $1")
        .bind(id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// How many permissions and roles a workspace has.
///
/// # Errors
/// When the store does not answer.
pub async fn count_rbac(connection: &mut Connection, id: &str) -> Result<(i64, i64), Error> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM permissions WHERE workspace_id = $1) AS permissions, \
         (SELECT COUNT(*) FROM roles WHERE workspace_id = $1) AS roles",
    )
    .bind(id.to_owned())
    .fetch_one(connection)
    .await?;
    Ok((row.try_get("permissions")?, row.try_get("roles")?))
}

/// `count` workspaces from `cursor` on, in the order of ids, each with the Unix ms of its creation. Those that mean
/// nothing are left out.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    cursor: &str,
    count: i64,
) -> Result<Found<(Workspace, UnixMs)>, Error> {
    let columns = COLUMNS.replacen("SELECT id", "SELECT created_at, id", 1);
    let text = format!("{columns} AND id >= $1 ORDER BY id LIMIT $2");
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(cursor.to_owned()).bind(count).fetch_all(connection).await?;
    let read = |row: &AnyRow| Ok((read(row)?, row.try_get("created_at")?));
    let found = readable(&rows, "workspace", read);
    let is_short = found.len() < rows.len() && i64::try_from(rows.len()).is_ok_and(|looked_at| looked_at == count);
    let last = rows.last().filter(|_| is_short).map(|row| row.try_get::<String, _>("id")).transpose()?;
    Ok(Found { rows: found, rest: last.map(|id| after(&id)) })
}

/// Writes the settings of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, workspace: &Workspace, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "UPDATE workspaces SET name = $2, enabled = $3, requests_per_minute = $4, log_retention_days = $5, \
         audit_retention_days = $6, updated_at = $7 WHERE id = $1",
    )
    .bind(workspace.id.clone())
    .bind(workspace.name.clone())
    .bind(i64::from(workspace.enabled))
    .bind(workspace.requests_per_minute)
    .bind(workspace.log_retention_days)
    .bind(workspace.audit_retention_days)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
