//! What would notice when something is changed or removed: counted as far as people want to know it.

use sqlx::Row as _;

use super::Connection;
use crate::calendar::UnixMs;
use crate::error::Error;

/// No more are looked at.
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
    /// How many were found.
    pub keys: i64,
    /// Whether these are all there are.
    pub are_all: bool,
    /// When one of them was used last.
    pub last_used_at: Option<UnixMs>,
}

/// Counts live keys among the first that there are.
///
/// # Errors
/// When the store does not answer.
pub async fn keys(connection: &mut Connection, of: Of<'_>) -> Result<Affected, Error> {
    let (from, id) = match of {
        Of::Api(id) => ("SELECT id FROM keys WHERE api_id = $1", id),
        Of::Identity(id) => ("SELECT id FROM keys WHERE identity_id = $1", id),
        Of::Permission(id) => ("SELECT key_id AS id FROM key_permissions WHERE permission_id = $1", id),
        Of::Role(id) => ("SELECT key_id AS id FROM key_roles WHERE role_id = $1", id),
    };
    // Deleted keys are looked at as well: that many and no more.
    let text = format!(
        "SELECT COUNT(*) AS looked_at, COUNT(k.id) AS total, MAX(k.last_used_at) AS last_used_at \
         FROM ({from} LIMIT $2) looked LEFT JOIN keys k ON k.id = looked.id AND k.deleted_at IS NULL"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).bind(MOST_COUNTED + 1);
    let row = query.fetch_one(connection).await?;
    let (looked_at, total): (i64, i64) = (row.try_get("looked_at")?, row.try_get("total")?);
    Ok(Affected {
        keys: total.min(MOST_COUNTED),
        are_all: looked_at <= MOST_COUNTED,
        last_used_at: row.try_get("last_used_at")?,
    })
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
