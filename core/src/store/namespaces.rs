//! Namespaces of standalone rate limits.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{self, Found, Part};
use super::readable::readable;
use super::{Connection, Only, find_named, mark_deleted, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A namespace as stored, deleted ones included: their names stay reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// `rlns_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Unique in the workspace, any characters.
    pub name: String,
    /// Whether it was deleted.
    pub deleted: bool,
}

const ANY: &str = "SELECT id, workspace_id, name, deleted_at FROM ratelimit_namespaces WHERE id IS NOT NULL";

fn read(row: &AnyRow) -> Result<Namespace, sqlx::Error> {
    Ok(Namespace {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        name: row.try_get("name")?,
        deleted: row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
    })
}

/// Namespaces of the instance.
///
/// # Errors
/// When the store does not answer.
pub async fn any(connection: &mut Connection, only: Only<'_>) -> Result<Vec<Namespace>, Error> {
    let rows = select(connection, ANY, "id", only).await?;
    Ok(readable(&rows, "namespace", read))
}

/// A namespace of a workspace by its id or name, deleted or not; an id wins.
///
/// # Errors
/// When the store does not answer.
pub async fn find(
    connection: &mut Connection,
    workspace_id: &str,
    id_or_name: &str,
) -> Result<Option<Namespace>, Error> {
    find_named(connection, ANY, "name", workspace_id, id_or_name, read).await
}

/// Adds a namespace.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, namespace: &Namespace, now: UnixMs) -> Result<(), Error> {
    sqlx::query("INSERT INTO ratelimit_namespaces (id, workspace_id, name, created_at) VALUES ($1, $2, $3, $4)")
        .bind(namespace.id.clone())
        .bind(namespace.workspace_id.clone())
        .bind(namespace.name.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Marks a namespace as deleted; its name stays reserved.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    mark_deleted(connection, "ratelimit_namespaces", id, now).await
}

/// Makes a deleted namespace live again.
///
/// # Errors
/// When the store does not answer.
pub async fn revive(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE ratelimit_namespaces SET deleted_at = NULL, updated_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// A namespace in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `rlns_…`
    pub id: String,
    /// Unique in the workspace, any characters.
    pub name: String,
    /// Unix ms.
    pub created_at: UnixMs,
}

/// A part of the live namespaces of a workspace, in the order of ids; a search looks into ids and names.
///
/// # Errors
/// When the store does not answer.
pub async fn list(connection: &mut Connection, part: Part<'_>) -> Result<Found<Listed>, Error> {
    let live = "SELECT id, name, created_at FROM ratelimit_namespaces WHERE deleted_at IS NULL";
    let read = |row: &AnyRow| {
        Ok(Listed { id: row.try_get("id")?, name: row.try_get("name")?, created_at: row.try_get("created_at")? })
    };
    listing::list(connection, live, &["id", "name"], part, read).await
}
