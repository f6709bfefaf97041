//! Permissions that keys and roles may hold.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Connection, VALUES_PER_STATEMENT, placeholders};
use crate::error::Error;

/// A permission as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Adds a permission.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(
    connection: &mut Connection,
    workspace_id: &str,
    permission: &Permission,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO permissions (id, workspace_id, slug, name, description, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(permission.id.clone())
    .bind(workspace_id.to_owned())
    .bind(permission.slug.clone())
    .bind(permission.name.clone())
    .bind(permission.description.clone())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
