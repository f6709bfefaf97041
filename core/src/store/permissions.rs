//! Permissions that keys and roles may hold.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{self, Found, Part};
use super::rows::To;
use super::{Connection, Only, VALUES_PER_STATEMENT, find_named, placeholders, rows, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A permission as stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permission {
    /// `perm_…`
    pub id: String,
    /// What verifications ask for; unique in the workspace, case-sensitive.
    pub slug: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

const ANY: &str = "SELECT id, slug, name, description FROM permissions WHERE id IS NOT NULL";

fn read(row: &AnyRow) -> Result<Permission, sqlx::Error> {
    Ok(Permission {
        id: row.try_get("id")?,
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
    })
}

/// The permissions of a workspace that have one of these slugs.
///
/// # Errors
/// When the store does not answer.
pub async fn find_by_slugs(
    connection: &mut Connection,
    workspace_id: &str,
    slugs: &[String],
) -> Result<Vec<Permission>, Error> {
    let mut found = Vec::new();
    for portion in slugs.chunks(VALUES_PER_STATEMENT) {
        let text = format!(
            "SELECT id, slug, name, description FROM permissions WHERE workspace_id = $1 AND slug IN ({})",
            placeholders(2, portion.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned());
        for slug in portion {
            query = query.bind(slug.clone());
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

/// The permissions that a key holds itself, by slug.
///
/// # Errors
/// When the store does not answer.
pub async fn of_key(connection: &mut Connection, key_id: &str) -> Result<Vec<Permission>, Error> {
    let rows = sqlx::query(
        "SELECT p.id, p.slug, p.name, p.description FROM key_permissions l \
         JOIN permissions p ON p.id = l.permission_id WHERE l.key_id = $1 ORDER BY p.slug",
    )
    .bind(key_id.to_owned())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Permissions of roles, with the role's id, by slug.
///
/// # Errors
/// When the store does not answer.
pub async fn of_roles(connection: &mut Connection, ids: &[&str]) -> Result<Vec<(String, Permission)>, Error> {
    let text = "SELECT p.id, p.slug, p.name, p.description, l.role_id AS owner FROM role_permissions l \
                JOIN permissions p ON p.id = l.permission_id WHERE l.role_id IS NOT NULL";
    let rows = select(connection, text, "l.role_id", Only::Ids(ids)).await?;
    let mut owned = rows
        .iter()
        .map(|row| Ok((row.try_get("owner")?, read(row)?)))
        .collect::<Result<Vec<(String, Permission)>, sqlx::Error>>()?;
    owned.sort_by(|(_, one), (_, other)| one.slug.cmp(&other.slug));
    Ok(owned)
}

/// A permission of a workspace by its id or slug; an id wins.
///
/// # Errors
/// When the store does not answer.
pub async fn find(
    connection: &mut Connection,
    workspace_id: &str,
    id_or_slug: &str,
) -> Result<Option<Permission>, Error> {
    find_named(connection, ANY, "slug", workspace_id, id_or_slug, read).await
}

/// A part of the permissions of a workspace, in the order of ids; a search looks into all their texts.
///
/// # Errors
/// When the store does not answer.
pub async fn list(connection: &mut Connection, part: Part<'_>) -> Result<Found<Permission>, Error> {
    listing::list(connection, ANY, &["id", "slug", "name", "description"], part, read).await
}

/// Adds permissions.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(
    to: impl Into<To<'_>>,
    workspace_id: &str,
    permissions: &[Permission],
    now: UnixMs,
) -> Result<(), Error> {
    const COLUMNS: [&str; 6] = ["id", "workspace_id", "slug", "name", "description", "created_at"];
    rows::insert(to, "permissions", &COLUMNS, "", permissions, |row, permission| {
        row.bind(permission.id.clone())
            .bind(workspace_id.to_owned())
            .bind(permission.slug.clone())
            .bind(permission.name.clone())
            .bind(permission.description.clone())
            .bind(now)
    })
    .await
}

/// Writes what may change of a permission; keys and roles hold it by its id.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, permission: &Permission, now: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE permissions SET slug = $2, name = $3, description = $4, updated_at = $5 WHERE id = $1")
        .bind(permission.id.clone())
        .bind(permission.slug.clone())
        .bind(permission.name.clone())
        .bind(permission.description.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a permission from all keys and roles and removes it; its slug is free again.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for text in [
        "DELETE FROM key_permissions WHERE permission_id = $1",
        "DELETE FROM role_permissions WHERE permission_id = $1",
        "DELETE FROM permissions WHERE id = $1",
    ] {
        sqlx::query(text).bind(id.to_owned()).execute(&mut *connection).await?;
    }
    Ok(())
}
