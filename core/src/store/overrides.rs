//! Overrides: what replaces the limits of some identifiers of a namespace.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::readable::{left_out, meaningless, readable};
use super::{Connection, Only, mark_deleted, select};
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::ratelimit::override_rules::{self, OverrideRule};

/// The window of an override that means nothing, in ms.
const DENIED_MS: i64 = 60_000;
const LIVE: &str = "SELECT id, namespace_id, identifier, limit_count, duration_ms, created_at \
                    FROM ratelimit_overrides WHERE deleted_at IS NULL";

/// An override by its id, deleted or not.
#[derive(Debug)]
pub struct Found {
    /// The namespace that it is of.
    pub namespace_id: String,
    /// What it says.
    pub rule: OverrideRule,
    /// Whether it counts no more.
    pub deleted: bool,
}

/// How many live overrides with a `*` a namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patterns {
    /// With one or more.
    pub all: i64,
    /// With more than one.
    pub with_several_stars: i64,
}

/// An override as it counts, whoever reads it: one that means nothing denies.
fn read(row: &AnyRow) -> OverrideRule {
    meaning(row).unwrap_or_else(|error| denying(row, &error))
}

fn meaning(row: &AnyRow) -> Result<OverrideRule, sqlx::Error> {
    let (limit, duration_ms) = (row.try_get("limit_count")?, row.try_get("duration_ms")?);
    if limit < 0 || duration_ms < 1 {
        return Err(meaningless("a limit is at least 0, its duration at least 1"));
    }
    Ok(OverrideRule {
        id: row.try_get::<String, _>("id")?.into(),
        pattern: row.try_get::<String, _>("identifier")?.into(),
        limit,
        duration_ms,
        created_at: row.try_get("created_at")?,
    })
}

/// Live overrides of the instance, or of these namespaces, with the id of their namespace.
///
/// # Errors
/// When the store does not answer.
pub async fn of_namespaces(
    connection: &mut Connection,
    only: Only<'_>,
) -> Result<Vec<(String, OverrideRule)>, Error> {
    let rows = select(connection, LIVE, "namespace_id", only).await?;
    Ok(readable(&rows, "override", |row| Ok((row.try_get("namespace_id")?, read(row)))))
}

/// What stands in for an override that means nothing: whom it is about may use nothing, for without it the limit that
/// the application asks for would count, which may be more.
fn denying(row: &AnyRow, error: &sqlx::Error) -> OverrideRule {
    let text = |column| row.try_get::<String, _>(column);
    let id = text("id").unwrap_or_default();
    left_out("override", &id, &error.to_string());
    OverrideRule {
        id: id.into(),
        pattern: text("identifier").unwrap_or_else(|_| "*".to_owned()).into(),
        limit: 0,
        duration_ms: DENIED_MS,
        created_at: row.try_get("created_at").unwrap_or_default(),
    }
}

/// Live overrides of a namespace from `cursor` on, in the order of ids.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    namespace_id: &str,
    cursor: &str,
    count: i64,
) -> Result<Vec<OverrideRule>, Error> {
    let text = format!("{LIVE} AND namespace_id = $1 AND id >= $2 ORDER BY id LIMIT $3");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(namespace_id.to_owned())
        .bind(cursor.to_owned())
        .bind(count)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(read).collect())
}

/// The live override of a namespace with exactly this pattern.
///
/// # Errors
/// When the store does not answer.
pub async fn find_by_pattern(
    connection: &mut Connection,
    namespace_id: &str,
    pattern: &str,
) -> Result<Option<OverrideRule>, Error> {
    let text = format!("{LIVE} AND namespace_id = $1 AND identifier = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(namespace_id.to_owned())
        .bind(pattern.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read))
}

/// An override, deleted or not.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, id: &str) -> Result<Option<Found>, Error> {
    let row = sqlx::query(
        "SELECT id, namespace_id, identifier, limit_count, duration_ms, created_at, deleted_at \
         FROM ratelimit_overrides WHERE id = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(connection)
    .await?;
    let found = |row: &AnyRow| -> Result<Found, sqlx::Error> {
        let deleted = row.try_get::<Option<i64>, _>("deleted_at")?.is_some();
        Ok(Found { namespace_id: row.try_get("namespace_id")?, rule: read(row), deleted })
    };
    Ok(row.as_ref().map(found).transpose()?)
}

/// Counts the patterns of a namespace.
///
/// # Errors
/// When the store does not answer.
pub async fn count_patterns(connection: &mut Connection, namespace_id: &str) -> Result<Patterns, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS patterns, COUNT(CASE WHEN stars > 1 THEN 1 END) AS with_several \
         FROM ratelimit_overrides WHERE namespace_id = $1 AND deleted_at IS NULL AND stars > 0",
    )
    .bind(namespace_id.to_owned())
    .fetch_one(connection)
    .await?;
    Ok(Patterns { all: row.try_get("patterns")?, with_several_stars: row.try_get("with_several")? })
}

/// Sets an override by its pattern and returns its id: `rule.id` if it is new, else the one that it has had
/// all along. A deleted one lives again.
///
/// # Errors
/// When the store does not answer.
pub async fn set(
    connection: &mut Connection,
    workspace_id: &str,
    namespace_id: &str,
    rule: &OverrideRule,
) -> Result<String, Error> {
    let row = sqlx::query(
        "INSERT INTO ratelimit_overrides (id, workspace_id, namespace_id, identifier, limit_count, duration_ms, \
         created_at, stars) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (namespace_id, identifier) DO UPDATE SET \
         limit_count = excluded.limit_count, duration_ms = excluded.duration_ms, \
         updated_at = excluded.created_at, deleted_at = NULL RETURNING id",
    )
    .bind(rule.id.to_string())
    .bind(workspace_id.to_owned())
    .bind(namespace_id.to_owned())
    .bind(rule.pattern.to_string())
    .bind(rule.limit)
    .bind(rule.duration_ms)
    .bind(rule.created_at)
    .bind(i64::try_from(override_rules::stars(&rule.pattern)).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("id")?)
}

/// Marks an override as deleted.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    mark_deleted(connection, "ratelimit_overrides", id, now).await
}

/// Marks every override of a namespace as deleted.
///
/// # Errors
/// When the store does not answer.
pub async fn delete_of_namespace(
    connection: &mut Connection,
    namespace_id: &str,
    now: UnixMs,
) -> Result<(), Error> {
    sqlx::query("UPDATE ratelimit_overrides SET deleted_at = $1 WHERE namespace_id = $2 AND deleted_at IS NULL")
        .bind(now)
        .bind(namespace_id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}
