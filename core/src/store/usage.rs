//! Hourly counts of what workspaces used.

use std::ops::Range;

use sqlx::Row as _;

use super::Connection;
use crate::analytics::usage::Counts;
use crate::error::Error;

/// Adds counts to those that are there.
///
/// # Errors
/// When the store does not answer.
pub async fn add(connection: &mut Connection, counts: &Counts) -> Result<(), Error> {
    let mut rows: Vec<_> = counts.iter().collect();
    // In one order, so that two nodes that add at once do not wait for each other in a circle.
    rows.sort_unstable();
    for (counted, count) in rows {
        sqlx::query(
            "INSERT INTO usage_hours (workspace_id, hour, kind, outcome, count) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (workspace_id, hour, kind, outcome) DO UPDATE SET count = usage_hours.count + $5",
        )
        .bind(counted.workspace_id.to_string())
        .bind(counted.hour)
        .bind(counted.kind.name())
        .bind(counted.outcome)
        .bind(count)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The count of one kind and outcome over these hours since 1970-01-01 UTC.
///
/// # Errors
/// When the store does not answer.
pub async fn sum(
    connection: &mut Connection,
    workspace_id: &str,
    kind: &'static str,
    outcome: &'static str,
    hours: Range<i64>,
) -> Result<i64, Error> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) AS total FROM usage_hours \
         WHERE workspace_id = $1 AND kind = $2 AND outcome = $3 AND hour >= $4 AND hour < $5",
    )
    .bind(workspace_id.to_owned())
    .bind(kind)
    .bind(outcome)
    .bind(hours.start)
    .bind(hours.end)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("total")?)
}
