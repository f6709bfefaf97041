//! What keys hold, read with one statement: permissions of their own and through roles, roles, limits.

use std::collections::HashMap;

use sqlx::Row as _;

use super::ratelimits::Ratelimit;
use super::{Connection, VALUES_PER_STATEMENT, flag, placeholders};
use crate::error::Error;

/// What a key holds.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Slugs, in any order; the same may come twice.
    pub permissions: Vec<String>,
    /// Names, in any order.
    pub roles: Vec<String>,
    /// By name.
    pub ratelimits: Vec<Ratelimit>,
}

const PARTS: [&str; 4] = [
    "SELECT 'permission' AS kind, l.key_id AS key_id, p.slug AS text, CAST(NULL AS TEXT) AS id, \
     CAST(0 AS BIGINT) AS limit_count, CAST(0 AS BIGINT) AS duration_ms, CAST(0 AS BIGINT) AS auto_apply \
     FROM key_permissions l JOIN permissions p ON p.id = l.permission_id WHERE l.key_id",
    "SELECT 'permission', l.key_id, p.slug, NULL, 0, 0, 0 FROM key_roles l \
     JOIN role_permissions r ON r.role_id = l.role_id JOIN permissions p ON p.id = r.permission_id WHERE l.key_id",
    "SELECT 'role', l.key_id, r.name, NULL, 0, 0, 0 FROM key_roles l JOIN roles r ON r.id = l.role_id \
     WHERE l.key_id",
    "SELECT 'limit', key_id, name, id, limit_count, duration_ms, auto_apply FROM ratelimits WHERE key_id",
];

/// What these keys hold, by key.
///
/// # Errors
/// When the store does not answer, or holds what cannot be read.
pub async fn of_keys(connection: &mut Connection, ids: &[&str]) -> Result<HashMap<String, Holdings>, Error> {
    let mut held: HashMap<String, Holdings> = HashMap::new();
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let these = placeholders(1, portion.len());
        let text = PARTS.map(|part| format!("{part} IN ({these})")).join(" UNION ALL ");
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        let query = portion.iter().fold(query, |query, id| query.bind((*id).to_owned()));
        for row in query.fetch_all(&mut *connection).await? {
            let holdings = held.entry(row.try_get("key_id")?).or_default();
            let text = row.try_get("text")?;
            match row.try_get::<String, _>("kind")?.as_str() {
                "permission" => holdings.permissions.push(text),
                "role" => holdings.roles.push(text),
                _ => holdings.ratelimits.push(Ratelimit {
                    id: row.try_get("id")?,
                    name: text,
                    limit: row.try_get("limit_count")?,
                    duration_ms: row.try_get("duration_ms")?,
                    auto_apply: flag(&row, "auto_apply")?,
                }),
            }
        }
    }
    for holdings in held.values_mut() {
        holdings.ratelimits.sort_by(|one, other| one.name.cmp(&other.name));
    }
    Ok(held)
}
