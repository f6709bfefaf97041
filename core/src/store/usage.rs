//! Hourly counts of what workspaces used.

use std::ops::Range;
use std::sync::Arc;

use sqlx::Row as _;

use super::Connection;
use crate::error::Error;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counted {
    /// The workspace.
    pub workspace_id: Arc<str>,
    /// Hours since 1970-01-01 UTC.
    pub hour: i64,
    /// Verifications, or decisions on limits.
    pub kind: Kind,
    /// The verdict's name on the wire; `PASSED` or `REFUSED` of a limit.
    pub outcome: &'static str,
}

/// Which decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Verifications of keys.
    Verification,
    /// Decisions of `ratelimit.limit` and `ratelimit.multiLimit`.
    Ratelimit,
}

impl Kind {
    /// As stored.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Verification => "verification",
            Kind::Ratelimit => "ratelimit",
        }
    }

    /// The outcome that counts as use.
    pub fn billable(self) -> &'static str {
        match self {
            Kind::Verification => "VALID",
            Kind::Ratelimit => "PASSED",
        }
    }
}

/// Adds counts to those that are there.
///
/// # Errors
/// When the store does not answer.
pub async fn add(connection: &mut Connection, counts: impl Iterator<Item = (&Counted, i64)>) -> Result<(), Error> {
    let mut rows: Vec<_> = counts.collect();
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

/// How many of one kind count as use over these hours since 1970-01-01 UTC.
///
/// # Errors
/// When the store does not answer.
pub async fn sum(
    connection: &mut Connection,
    workspace_id: &str,
    kind: Kind,
    hours: Range<i64>,
) -> Result<i64, Error> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) AS total FROM usage_hours \
         WHERE workspace_id = $1 AND kind = $2 AND outcome = $3 AND hour >= $4 AND hour < $5",
    )
    .bind(workspace_id.to_owned())
    .bind(kind.name())
    .bind(kind.billable())
    .bind(hours.start)
    .bind(hours.end)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("total")?)
}
