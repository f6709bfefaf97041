//! Facts of the instance, such as that it was set up.

use sqlx::Row as _;

use super::Connection;
use crate::error::Error;

/// Writes a fact, unless it is known: whether it was new. A transaction that writes the same fact waits for
/// this one to end.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, name: &str, value: &str) -> Result<bool, Error> {
    let done = sqlx::query("INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name.to_owned())
        .bind(value.to_owned())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What a fact says; `None` when it is not known.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, name: &str) -> Result<Option<String>, Error> {
    let query = sqlx::query("SELECT value FROM facts WHERE name = $1").bind(name.to_owned());
    let row = query.fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("value")).transpose()?)
}

/// Changes a fact that says `from`: whether it did.
///
/// # Errors
/// When the store does not answer.
pub async fn change(connection: &mut Connection, name: &str, from: &str, to: &str) -> Result<bool, Error> {
    let done = sqlx::query("UPDATE facts SET value = $3 WHERE name = $1 AND value = $2")
        .bind(name.to_owned())
        .bind(from.to_owned())
        .bind(to.to_owned())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}
