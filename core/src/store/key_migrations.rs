//! Migrations of keys: where imported keys came from, and how their hashes were made there.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::readable::readable;
use super::{Connection, Only, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A migration as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMigration {
    /// `mig_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Name of the algorithm, as [`crate::keys::imported::Algorithm`] reads it.
    pub algorithm: String,
    /// Unix ms.
    pub created_at: UnixMs,
}

fn read(row: &AnyRow) -> Result<KeyMigration, sqlx::Error> {
    Ok(KeyMigration {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        algorithm: row.try_get("algorithm")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Migrations of the instance, oldest first.
///
/// # Errors
/// When the store does not answer.
pub async fn any(connection: &mut Connection, only: Only<'_>) -> Result<Vec<KeyMigration>, Error> {
    let text = "SELECT id, workspace_id, algorithm, created_at FROM key_migrations WHERE id IS NOT NULL";
    let rows = select(connection, text, "id", only).await?;
    let mut found = readable(&rows, "migration of keys", read);
    found.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    Ok(found)
}

/// Adds a migration.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, migration: &KeyMigration) -> Result<(), Error> {
    sqlx::query("INSERT INTO key_migrations (id, workspace_id, algorithm, created_at) VALUES ($1, $2, $3, $4)")
        .bind(migration.id.clone())
        .bind(migration.workspace_id.clone())
        .bind(migration.algorithm.clone())
        .bind(migration.created_at)
        .execute(connection)
        .await?;
    Ok(())
}
