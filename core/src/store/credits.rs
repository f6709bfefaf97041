//! Balances. The store decides: a deduction is one statement that checks and subtracts.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::To;
use super::{Connection, rows};
use crate::calendar::Day;
use crate::error::Error;

/// What a key may spend and how it is refilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credits {
    /// The balance; `None` means unlimited.
    pub remaining: Option<i64>,
    /// The refill, which stays inert while the balance is unlimited.
    pub refill: Option<Refill>,
}

/// Sets the balance to an amount at 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    /// The balance after it.
    pub amount: i64,
    /// Day of the month, 1 to 31; `None` means daily.
    pub day: Option<i64>,
}

/// Reads the columns `remaining`, `refill_amount`, `refill_day`.
pub(super) fn read(row: &AnyRow) -> Result<Credits, sqlx::Error> {
    let amount: Option<i64> = row.try_get("refill_amount")?;
    let day = row.try_get("refill_day")?;
    Ok(Credits { remaining: row.try_get("remaining")?, refill: amount.map(|amount| Refill { amount, day }) })
}

/// Sets the balance and the refill of a key. The next refill is due after `today`.
///
/// # Errors
/// When the store does not answer.
pub async fn set(connection: &mut Connection, key_id: &str, credits: Credits, today: Day) -> Result<(), Error> {
    set_all(connection, &[(key_id, credits)], today).await
}

/// The same of several keys, each named once.
///
/// # Errors
/// When the store does not answer.
pub async fn set_all(to: impl Into<To<'_>>, credits: &[(&str, Credits)], today: Day) -> Result<(), Error> {
    const COLUMNS: [&str; 5] = ["key_id", "remaining", "refill_amount", "refill_day", "refilled_on"];
    const CONFLICT: &str = " ON CONFLICT (key_id) DO UPDATE SET remaining = excluded.remaining, \
                            refill_amount = excluded.refill_amount, refill_day = excluded.refill_day, \
                            refilled_on = excluded.refilled_on";
    rows::insert(to, "credits", &COLUMNS, CONFLICT, credits, |row, (key_id, credits)| {
        row.bind((*key_id).to_owned())
            .bind(credits.remaining)
            .bind(credits.refill.map(|refill| refill.amount))
            .bind(credits.refill.and_then(|refill| refill.day))
            .bind(today.number())
    })
    .await
}

/// Sets the refill of a key and leaves its balance, whatever is deducted meanwhile. The next refill is due
/// after `today`.
///
/// # Errors
/// When the store does not answer.
pub async fn set_refill(
    connection: &mut Connection,
    key_id: &str,
    refill: Option<Refill>,
    today: Day,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO credits (key_id, refill_amount, refill_day, refilled_on) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (key_id) DO UPDATE SET refill_amount = excluded.refill_amount, \
         refill_day = excluded.refill_day, refilled_on = excluded.refilled_on",
    )
    .bind(key_id.to_owned())
    .bind(refill.map(|refill| refill.amount))
    .bind(refill.and_then(|refill| refill.day))
    .bind(today.number())
    .execute(connection)
    .await?;
    Ok(())
}

/// The balance and the refill of a key.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, key_id: &str) -> Result<Credits, Error> {
    let row = sqlx::query("SELECT remaining, refill_amount, refill_day FROM credits WHERE key_id = $1")
        .bind(key_id.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?.unwrap_or_default())
}

/// The same; nothing is deducted from it until the end of the transaction.
///
/// # Errors
/// When the store does not answer.
pub async fn find_locked(connection: &mut Connection, key_id: &str) -> Result<Credits, Error> {
    rows::lock(connection, "credits", "key_id", &mut [key_id]).await?;
    find(connection, key_id).await
}

/// Sets the balance of a key and leaves its refill, the next of which is due after `today`.
///
/// # Errors
/// When the store does not answer.
pub async fn set_remaining(
    connection: &mut Connection,
    key_id: &str,
    remaining: i64,
    today: Day,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO credits (key_id, remaining, refilled_on) VALUES ($1, $2, $3) \
         ON CONFLICT (key_id) DO UPDATE SET remaining = excluded.remaining, refilled_on = excluded.refilled_on",
    )
    .bind(key_id.to_owned())
    .bind(remaining)
    .bind(today.number())
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to a balance, up to the largest that can be stored: `false` when the key is unlimited.
///
/// # Errors
/// When the store does not answer.
pub async fn increment(connection: &mut Connection, key_id: &str, by: i64) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE credits SET remaining = CASE WHEN remaining > 9223372036854775807 - $2 \
         THEN 9223372036854775807 ELSE remaining + $2 END WHERE key_id = $1 AND remaining IS NOT NULL",
    )
    .bind(key_id.to_owned())
    .bind(by)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes from a balance whatever is there, down to 0: `false` when the key is unlimited.
///
/// # Errors
/// When the store does not answer.
pub async fn decrement(connection: &mut Connection, key_id: &str, by: i64) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE credits SET remaining = CASE WHEN remaining < $2 THEN 0 ELSE remaining - $2 END \
         WHERE key_id = $1 AND remaining IS NOT NULL",
    )
    .bind(key_id.to_owned())
    .bind(by)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes `$2` from the balance of `$1` if it is there, and says what is left.
pub(super) const DEDUCT: &str =
    "UPDATE credits SET remaining = remaining - $2 WHERE key_id = $1 AND remaining >= $2 RETURNING remaining";

/// The balance of `$1`.
pub(super) const REMAINING: &str = "SELECT remaining FROM credits WHERE key_id = $1";

/// The balance of a key: `Some(None)` means unlimited, `None` that it never had one or is gone.
///
/// # Errors
/// When the store does not answer.
pub async fn remaining(connection: &mut Connection, key_id: &str) -> Result<Option<Option<i64>>, Error> {
    let row = sqlx::query(REMAINING).bind(key_id.to_owned()).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("remaining")).transpose()?)
}
