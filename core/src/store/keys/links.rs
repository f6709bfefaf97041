//! Links of keys to permissions and roles.

use sqlx::Row as _;

use crate::error::Error;
use crate::store::rows::To;
use crate::store::{Connection, Only, rows, select};

/// Links keys to permissions, each pair the ids of a key and a permission; links that exist stay.
///
/// # Errors
/// When the store does not answer.
pub async fn link_permissions(to: impl Into<To<'_>>, links: &[(&str, &str)]) -> Result<(), Error> {
    link(to, "key_permissions", &["key_id", "permission_id"], links).await
}

/// Links keys to roles, each pair the ids of a key and a role; links that exist stay.
///
/// # Errors
/// When the store does not answer.
pub async fn link_roles(to: impl Into<To<'_>>, links: &[(&str, &str)]) -> Result<(), Error> {
    link(to, "key_roles", &["key_id", "role_id"], links).await
}

async fn link(
    to: impl Into<To<'_>>,
    table: &'static str,
    columns: &[&'static str],
    links: &[(&str, &str)],
) -> Result<(), Error> {
    rows::insert(to, table, columns, " ON CONFLICT DO NOTHING", links, |row, (key, held)| {
        row.bind((*key).to_owned()).bind((*held).to_owned())
    })
    .await
}

/// Gives a key the permissions and roles that another has.
///
/// # Errors
/// When the store does not answer.
pub async fn copy_links(connection: &mut Connection, from: &str, to: &str) -> Result<(), Error> {
    for text in [
        "INSERT INTO key_permissions (key_id, permission_id) \
         SELECT CAST($2 AS TEXT), permission_id FROM key_permissions WHERE key_id = $1",
        "INSERT INTO key_roles (key_id, role_id) \
         SELECT CAST($2 AS TEXT), role_id FROM key_roles WHERE key_id = $1",
    ] {
        sqlx::query(text).bind(from.to_owned()).bind(to.to_owned()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Takes permissions from a key.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_permissions(connection: &mut Connection, key_id: &str, ids: &[&str]) -> Result<(), Error> {
    rows::unlink(connection, "DELETE FROM key_permissions WHERE key_id = $1 AND permission_id", key_id, ids).await
}

/// Takes roles from a key.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_roles(connection: &mut Connection, key_id: &str, ids: &[&str]) -> Result<(), Error> {
    rows::unlink(connection, "DELETE FROM key_roles WHERE key_id = $1 AND role_id", key_id, ids).await
}

/// Removes the permissions that a key holds itself.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_all_permissions(connection: &mut Connection, key_id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM key_permissions WHERE key_id = $1")
        .bind(key_id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the roles of a key.
///
/// # Errors
/// When the store does not answer.
pub async fn unlink_all_roles(connection: &mut Connection, key_id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM key_roles WHERE key_id = $1").bind(key_id.to_owned()).execute(connection).await?;
    Ok(())
}

/// Pairs of key id and permission slug, those through roles included; the same pair may come twice.
///
/// # Errors
/// When the store does not answer.
pub async fn permission_slugs(connection: &mut Connection, ids: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = direct_permission_slugs(connection, ids).await?;
    let through_roles = role_permission_slugs(connection, ids).await?;
    pairs.extend(through_roles.into_iter().map(|(key_id, (_, slug))| (key_id, slug)));
    Ok(pairs)
}

/// Pairs of key id and the slug of a permission that the key holds itself.
///
/// # Errors
/// When the store does not answer.
pub async fn direct_permission_slugs(
    connection: &mut Connection,
    ids: &[&str],
) -> Result<Vec<(String, String)>, Error> {
    let text = "SELECT l.key_id AS key_id, p.slug AS text FROM key_permissions l \
                JOIN permissions p ON p.id = l.permission_id WHERE l.key_id IS NOT NULL";
    pairs(connection, text, ids).await
}

/// Pairs of key id and what the key holds through a role: the role's name and the permission's slug.
///
/// # Errors
/// When the store does not answer.
pub async fn role_permission_slugs(
    connection: &mut Connection,
    ids: &[&str],
) -> Result<Vec<(String, (String, String))>, Error> {
    let text = "SELECT l.key_id AS key_id, o.name AS role, p.slug AS text FROM key_roles l \
                JOIN roles o ON o.id = l.role_id JOIN role_permissions r ON r.role_id = l.role_id \
                JOIN permissions p ON p.id = r.permission_id WHERE l.key_id IS NOT NULL";
    let rows = select(connection, text, "l.key_id", Only::Ids(ids)).await?;
    Ok(rows
        .iter()
        .map(|row| Ok((row.try_get("key_id")?, (row.try_get("role")?, row.try_get("text")?))))
        .collect::<Result<_, sqlx::Error>>()?)
}

/// Pairs of key id and role name.
///
/// # Errors
/// When the store does not answer.
pub async fn role_names(connection: &mut Connection, ids: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let text = "SELECT l.key_id AS key_id, r.name AS text FROM key_roles l JOIN roles r ON r.id = l.role_id \
                WHERE l.key_id IS NOT NULL";
    pairs(connection, text, ids).await
}

async fn pairs(connection: &mut Connection, text: &str, ids: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let rows = select(connection, text, "l.key_id", Only::Ids(ids)).await?;
    Ok(rows
        .iter()
        .map(|row| Ok((row.try_get("key_id")?, row.try_get("text")?)))
        .collect::<Result<_, sqlx::Error>>()?)
}

/// The keys that hold a permission, themselves or through a role, or that have a role: what changes
/// when the permission or role with this id does.
///
/// # Errors
/// When the store does not answer.
pub async fn ids_holding(connection: &mut Connection, id: &str) -> Result<Vec<String>, Error> {
    let rows = sqlx::query(
        "SELECT key_id FROM key_permissions WHERE permission_id = $1 \
         UNION SELECT key_id FROM key_roles WHERE role_id = $1 \
         UNION SELECT l.key_id FROM key_roles l JOIN role_permissions r ON r.role_id = l.role_id \
         WHERE r.permission_id = $1",
    )
    .bind(id.to_owned())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(|row| row.try_get("key_id")).collect::<Result<_, _>>()?)
}
