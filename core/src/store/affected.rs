//! What would notice when something is changed or removed: counted as far as people want to know it.

use sqlx::Row as _;

use super::Connection;
use crate::calendar::UnixMs;
use crate::error::Error;

/// More than these are not counted on.
pub const MOST_COUNTED: i64 = 1000;

/// What keys belong to, or hold themselves.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// Those of an API, by its id.
    Api(&'a str),
    /// Those of an identity, by its id.
    Identity(&'a str),
    /// Those that hold a permission themselves, by its id.
    Permission(&'a str),
    /// Those that have a role, by its id.
    Role(&'a str),
}

/// Keys that would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affected {
    /// How many; one more than [`MOST_COUNTED`] for any number above.
    pub keys: i64,
    /// When one of those that were counted was used last.
    pub last_used_at: Option<UnixMs>,
}

/// Counts live keys.
///
/// # Errors
/// When the store does not answer.
pub async fn keys(connection: &mut Connection, of: Of<'_>) -> Result<Affected, Error> {
    let (from, id) = match of {
        Of::Api(id) => ("keys k WHERE k.api_id = $1", id),
        Of::Identity(id) => ("keys k WHERE k.identity_id = $1", id),
        Of::Permission(id) => ("key_permissions l JOIN keys k ON k.id = l.key_id WHERE l.permission_id = $1", id),
        Of::Role(id) => ("key_roles l JOIN keys k ON k.id = l.key_id WHERE l.role_id = $1", id),
    };
    let text = format!(
        "SELECT COUNT(*) AS total, MAX(last_used_at) AS last_used_at FROM \
         (SELECT k.last_used_at FROM {from} AND k.deleted_at IS NULL LIMIT $2) counted"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).bind(MOST_COUNTED + 1);
    let row = query.fetch_one(connection).await?;
    Ok(Affected { keys: row.try_get("total")?, last_used_at: row.try_get("last_used_at")? })
}

/// Counts the roles that give a permission, by its id: one more than [`MOST_COUNTED`] for any number above.
///
/// # Errors
/// When the store does not answer.
pub async fn roles(connection: &mut Connection, permission_id: &str) -> Result<i64, Error> {
    let text = "SELECT COUNT(*) AS total FROM \
                (SELECT role_id FROM role_permissions WHERE permission_id = $1 LIMIT $2) counted";
    counted(connection, text, permission_id).await
}

/// The same of the live overrides of a namespace, by its id.
///
/// # Errors
/// When the store does not answer.
pub async fn overrides(connection: &mut Connection, namespace_id: &str) -> Result<i64, Error> {
    let text = "SELECT COUNT(*) AS total FROM \
                (SELECT id FROM ratelimit_overrides WHERE namespace_id = $1 AND deleted_at IS NULL LIMIT $2) counted";
    counted(connection, text, namespace_id).await
}

async fn counted(connection: &mut Connection, text: &'static str, id: &str) -> Result<i64, Error> {
    let row = sqlx::query(text).bind(id.to_owned()).bind(MOST_COUNTED + 1).fetch_one(connection).await?;
    Ok(row.try_get("total")?)
}
