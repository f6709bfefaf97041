//! Refills of balances: settling what is due, and what is still to be told to the audit log.

use std::sync::LazyLock;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Connection, placeholders, rows};
use crate::calendar::{Calendar, Day};
use crate::error::Error;

/// A refill that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The key.
    pub key_id: String,
    /// What the balance is refilled to.
    pub amount: i64,
    /// The balance before.
    pub previous: i64,
    /// The balance after.
    pub remaining: i64,
}

impl Settled {
    /// Whether the balance was below the amount.
    pub fn changed(&self) -> bool {
        self.remaining != self.previous
    }
}

/// The rows that are due, with [`Calendar::last_due`] in SQL: `$1` today, `$2` and `$3` start and days of the
/// month, `$4` the day that was reached, `$5` and `$6` start and days of the month before.
const DUE: &str = "refill_amount IS NOT NULL AND remaining IS NOT NULL AND refilled_on < \
                   CASE WHEN refill_day IS NULL THEN $1 \
                   WHEN refill_day <= $4 THEN $2 + CASE WHEN refill_day > $3 THEN $3 ELSE refill_day END - 1 \
                   ELSE $5 + CASE WHEN refill_day > $6 THEN $6 ELSE refill_day END - 1 END";

const SETTLE: &str = "UPDATE credits SET refilled_from = remaining, refilled_on = $1, \
                      remaining = CASE WHEN remaining < refill_amount THEN refill_amount ELSE remaining END";

/// Settles the refill of the key `$7` if it is due.
pub(super) static SETTLE_KEY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{SETTLE} WHERE key_id = $7 AND {DUE} \
         RETURNING key_id, refill_amount AS amount, refilled_from AS previous, remaining"
    )
});

/// Keeps a refill that a deduction settled, until its audit event is written.
pub(super) const KEEP_FOR_AUDIT: &str = "INSERT INTO unrecorded_refills (key_id, workspace_id, refilled_on, amount, previous, remaining) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";

/// What a deduction would find in the balances of those of these keys that have one: it settles a refill that is due
/// first. One statement, so that no refill comes in between.
///
/// # Errors
/// When the store does not answer.
pub async fn balances(
    connection: &mut Connection,
    key_ids: &[&str],
    calendar: Calendar,
) -> Result<Vec<(String, i64)>, Error> {
    if key_ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT key_id, CASE WHEN {DUE} AND remaining < refill_amount THEN refill_amount ELSE remaining END AS balance \
         FROM credits WHERE remaining IS NOT NULL AND key_id IN ({})",
        placeholders(7, key_ids.len())
    );
    let mut query = with_calendar(sqlx::query(sqlx::AssertSqlSafe(text)), calendar);
    for id in key_ids {
        query = query.bind((*id).to_owned());
    }
    let rows = query.fetch_all(connection).await?;
    let read = |row: &AnyRow| Ok((row.try_get("key_id")?, row.try_get("balance")?));
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn with_calendar(query: Query<'_>, calendar: Calendar) -> Query<'_> {
    query
        .bind(calendar.today.number())
        .bind(calendar.month_start.number())
        .bind(calendar.month_days)
        .bind(calendar.reached_day)
        .bind(calendar.previous_start.number())
        .bind(calendar.previous_days)
}

fn read(row: &AnyRow) -> Result<Settled, sqlx::Error> {
    Ok(Settled {
        key_id: row.try_get("key_id")?,
        amount: row.try_get("amount")?,
        previous: row.try_get("previous")?,
        remaining: row.try_get("remaining")?,
    })
}

/// Settles the refill of one key if it is due; its event is written later.
///
/// # Errors
/// When the store does not answer.
pub async fn settle_key(
    connection: &mut Connection,
    workspace_id: &str,
    key_id: &str,
    calendar: Calendar,
) -> Result<(), Error> {
    let query = with_calendar(sqlx::query(SETTLE_KEY.as_str()), calendar).bind(key_id.to_owned());
    let row = query.fetch_optional(&mut *connection).await?;
    let settled = row.as_ref().map(read).transpose()?;
    let Some(settled) = settled.filter(Settled::changed) else { return Ok(()) };
    sqlx::query(KEEP_FOR_AUDIT)
        .bind(settled.key_id)
        .bind(workspace_id.to_owned())
        .bind(calendar.today.number())
        .bind(settled.amount)
        .bind(settled.previous)
        .bind(settled.remaining)
        .execute(connection)
        .await?;
    Ok(())
}

/// Asked of the few rows that are due: as `IN`, SQLite would collect every key of the workspace first.
const OF_LIVE_KEYS: &str =
    "EXISTS (SELECT 1 FROM keys WHERE id = credits.key_id AND workspace_id = $7 AND deleted_at IS NULL)";

/// Whether a workspace has refills that are due.
///
/// # Errors
/// When the store does not answer.
pub async fn has_due(connection: &mut Connection, workspace_id: &str, calendar: Calendar) -> Result<bool, Error> {
    let text = format!("SELECT key_id FROM credits WHERE {DUE} AND {OF_LIVE_KEYS} LIMIT 1");
    let query = with_calendar(sqlx::query(sqlx::AssertSqlSafe(text)), calendar).bind(workspace_id.to_owned());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Settles up to `count` refills of a workspace that are due.
///
/// # Errors
/// When the store does not answer.
pub async fn settle_due(
    connection: &mut Connection,
    workspace_id: &str,
    calendar: Calendar,
    count: i64,
) -> Result<Vec<Settled>, Error> {
    let text = format!("SELECT key_id FROM credits WHERE {DUE} AND {OF_LIVE_KEYS} LIMIT $8");
    let query = with_calendar(sqlx::query(sqlx::AssertSqlSafe(text)), calendar);
    let rows = query.bind(workspace_id.to_owned()).bind(count).fetch_all(&mut *connection).await?;
    let due: Vec<String> = rows.iter().map(|row| row.try_get("key_id")).collect::<Result<_, _>>()?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<&str> = due.iter().map(String::as_str).collect();
    // As deductions lock them.
    rows::lock(connection, "credits", "key_id", &mut ids).await?;
    // Due is asked twice: a deduction may have settled a refill since it was selected.
    let text = format!(
        "{SETTLE} WHERE {DUE} AND key_id IN ({}) \
         RETURNING key_id, refill_amount AS amount, refilled_from AS previous, remaining",
        placeholders(7, ids.len())
    );
    let query = with_calendar(sqlx::query(sqlx::AssertSqlSafe(text)), calendar);
    let query = ids.iter().fold(query, |query, id| query.bind((*id).to_owned()));
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Whether a workspace has refills whose events are still to be written.
///
/// # Errors
/// When the store does not answer.
pub async fn has_unrecorded(connection: &mut Connection, workspace_id: &str) -> Result<bool, Error> {
    let query = sqlx::query("SELECT key_id FROM unrecorded_refills WHERE workspace_id = $1 LIMIT 1");
    Ok(query.bind(workspace_id.to_owned()).fetch_optional(connection).await?.is_some())
}

/// Takes up to `count` refills of a workspace whose events are still to be written.
///
/// # Errors
/// When the store does not answer.
pub async fn take_unrecorded(
    connection: &mut Connection,
    workspace_id: &str,
    count: i64,
) -> Result<Vec<Settled>, Error> {
    let rows = sqlx::query(
        "DELETE FROM unrecorded_refills WHERE (key_id, refilled_on) IN (SELECT key_id, refilled_on \
         FROM unrecorded_refills WHERE workspace_id = $1 LIMIT $2) RETURNING key_id, amount, previous, remaining",
    )
    .bind(workspace_id.to_owned())
    .bind(count)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Forgets days beyond tomorrow, which a clock that was ahead has written: refills would stop until then.
///
/// # Errors
/// When the store does not answer.
pub async fn forget_later_days(connection: &mut Connection, today: Day) -> Result<(), Error> {
    sqlx::query("UPDATE credits SET refilled_on = $1 WHERE refill_amount IS NOT NULL AND refilled_on > $1 + 1")
        .bind(today.number())
        .execute(connection)
        .await?;
    Ok(())
}
