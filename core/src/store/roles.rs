//! Roles: named sets of permissions.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{self, Found, Part};
use super::rows::To;
use super::{Connection, VALUES_PER_STATEMENT, find_named, placeholders, rows};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A role as stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// `role_…`
    pub id: String,
    /// Unique in the workspace, case-sensitive.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

const ANY: &str = "SELECT id, name, description FROM roles WHERE id IS NOT NULL";

fn read(row: &AnyRow) -> Result<Role, sqlx::Error> {
    Ok(Role { id: row.try_get("id")?, name: row.try_get("name")?, description: row.try_get("description")? })
}

/// The roles of a workspace that have one of these names.
///
/// # Errors
/// When the store does not answer.
pub async fn find_by_names(
    connection: &mut Connection,
    workspace_id: &str,
    names: &[String],
) -> Result<Vec<Role>, Error> {
    let mut found = Vec::new();
    for portion in names.chunks(VALUES_PER_STATEMENT) {
        let text = format!(
            "SELECT id, name, description FROM roles WHERE workspace_id = $1 AND name IN ({})",
            placeholders(2, portion.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned());
        for name in portion {
            query = query.bind(name.clone());
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

/// The roles of a key, by name.
///
/// # Errors
/// When the store does not answer.
pub async fn of_key(connection: &mut Connection, key_id: &str) -> Result<Vec<Role>, Error> {
    let rows = sqlx::query(
        "SELECT r.id, r.name, r.description FROM key_roles l JOIN roles r ON r.id = l.role_id \
         WHERE l.key_id = $1 ORDER BY r.name",
    )
    .bind(key_id.to_owned())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A role of a workspace by its id or name; an id wins.
///
/// # Errors
/// When the store does not answer.
pub async fn find(
    connection: &mut Connection,
    workspace_id: &str,
    id_or_name: &str,
) -> Result<Option<Role>, Error> {
    find_named(connection, ANY, "name", workspace_id, id_or_name, read).await
}

/// A part of the roles of a workspace, in the order of ids; a search looks into all their texts.
///
/// # Errors
/// When the store does not answer.
pub async fn list(connection: &mut Connection, part: Part<'_>) -> Result<Found<Role>, Error> {
    listing::list(connection, ANY, &["id", "name", "description"], part, read).await
}

/// Adds roles, without permissions.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(to: impl Into<To<'_>>, workspace_id: &str, roles: &[Role], now: UnixMs) -> Result<(), Error> {
    const COLUMNS: [&str; 5] = ["id", "workspace_id", "name", "description", "created_at"];
    rows::insert(to, "roles", &COLUMNS, "", roles, |row, role| {
        row.bind(role.id.clone())
            .bind(workspace_id.to_owned())
            .bind(role.name.clone())
            .bind(role.description.clone())
            .bind(now)
    })
    .await
}

/// Adds permissions to a role; links that exist stay.
///
/// # Errors
/// When the store does not answer.
pub async fn link_permissions(connection: &mut Connection, role_id: &str, ids: &[&str]) -> Result<(), Error> {
    const COLUMNS: [&str; 2] = ["role_id", "permission_id"];
    rows::insert(connection, "role_permissions", &COLUMNS, " ON CONFLICT DO NOTHING", ids, |row, id| {
        row.bind(role_id.to_owned()).bind((*id).to_owned())
    })
    .await
}

/// Takes permissions from a role.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_permissions(connection: &mut Connection, role_id: &str, ids: &[&str]) -> Result<(), Error> {
    rows::unlink(connection, "DELETE FROM role_permissions WHERE role_id = $1 AND permission_id", role_id, ids)
        .await
}

/// Writes what may change of a role; keys have it by its id.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, role: &Role, now: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE roles SET name = $2, description = $3, updated_at = $4 WHERE id = $1")
        .bind(role.id.clone())
        .bind(role.name.clone())
        .bind(role.description.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a role from all keys and removes it; its name is free again, its permissions stay.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for text in [
        "DELETE FROM key_roles WHERE role_id = $1",
        "DELETE FROM role_permissions WHERE role_id = $1",
        "DELETE FROM roles WHERE id = $1",
    ] {
        sqlx::query(text).bind(id.to_owned()).execute(&mut *connection).await?;
    }
    Ok(())
}
