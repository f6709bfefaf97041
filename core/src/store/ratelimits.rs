//! Limits that keys and identities own.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::To;
use super::{Connection, Only, flag, rows, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// Who owns a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A key, by id.
    Key(String),
    /// An identity, by id; its keys share the count.
    Identity(String),
}

/// A limit as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ratelimit {
    /// `rl_…`
    pub id: String,
    /// Unique per owner.
    pub name: String,
    /// Cost admitted per window.
    pub limit: i64,
    /// Length of the window in ms.
    pub duration_ms: i64,
    /// Whether every verification counts against it.
    pub auto_apply: bool,
}

/// Limits of keys, with the key's id, by name.
///
/// # Errors
/// When the store does not answer.
pub async fn of_keys(connection: &mut Connection, ids: &[&str]) -> Result<Vec<(String, Ratelimit)>, Error> {
    let text = "SELECT id, name, limit_count, duration_ms, auto_apply, key_id AS owner FROM ratelimits \
                WHERE key_id IS NOT NULL";
    sorted(select(connection, text, "key_id", Only::Ids(ids)).await?)
}

/// Limits of identities, with the identity's id, by name.
///
/// # Errors
/// When the store does not answer.
pub async fn of_identities(connection: &mut Connection, ids: &[&str]) -> Result<Vec<(String, Ratelimit)>, Error> {
    let text = "SELECT id, name, limit_count, duration_ms, auto_apply, identity_id AS owner FROM ratelimits \
                WHERE identity_id IS NOT NULL";
    sorted(select(connection, text, "identity_id", Only::Ids(ids)).await?)
}

fn sorted(rows: Vec<AnyRow>) -> Result<Vec<(String, Ratelimit)>, Error> {
    let mut owned = rows
        .iter()
        .map(|row| {
            let limit = Ratelimit {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                limit: row.try_get("limit_count")?,
                duration_ms: row.try_get("duration_ms")?,
                auto_apply: flag(row, "auto_apply")?,
            };
            Ok((row.try_get("owner")?, limit))
        })
        .collect::<Result<Vec<(String, Ratelimit)>, sqlx::Error>>()?;
    owned.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    Ok(owned)
}

/// Adds limits, each with its owner.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(
    to: impl Into<To<'_>>,
    workspace_id: &str,
    limits: &[(&Owner, &Ratelimit)],
    now: UnixMs,
) -> Result<(), Error> {
    const COLUMNS: [&str; 9] = [
        "id",
        "workspace_id",
        "key_id",
        "identity_id",
        "name",
        "limit_count",
        "duration_ms",
        "auto_apply",
        "created_at",
    ];
    rows::insert(to, "ratelimits", &COLUMNS, "", limits, |row, (owner, limit)| {
        let (key_id, identity_id) = match owner {
            Owner::Key(id) => (Some(id.clone()), None),
            Owner::Identity(id) => (None, Some(id.clone())),
        };
        row.bind(limit.id.clone())
            .bind(workspace_id.to_owned())
            .bind(key_id)
            .bind(identity_id)
            .bind(limit.name.clone())
            .bind(limit.limit)
            .bind(limit.duration_ms)
            .bind(i64::from(limit.auto_apply))
            .bind(now)
    })
    .await
}

/// Writes the numbers of a limit, which keeps its id and name.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, limit: &Ratelimit, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "UPDATE ratelimits SET limit_count = $2, duration_ms = $3, auto_apply = $4, updated_at = $5 WHERE id = $1",
    )
    .bind(limit.id.clone())
    .bind(limit.limit)
    .bind(limit.duration_ms)
    .bind(i64::from(limit.auto_apply))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a limit.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM ratelimits WHERE id = $1").bind(id.to_owned()).execute(connection).await?;
    Ok(())
}
