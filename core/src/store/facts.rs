//! Facts of the instance, such as that it was set up.

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
