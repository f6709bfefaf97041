//! Adding and removing many rows with few statements.

use sqlx::any::{Any, AnyArguments};

use super::{Connection, VALUES_PER_STATEMENT, placeholders, rows_of_placeholders};
use crate::error::Error;

/// A statement whose values are being bound.
pub(super) type Statement<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

/// Adds rows to a table: how many were added. `conflict` is what follows the rows, such as ` ON CONFLICT DO
/// NOTHING`, or empty; `bind` binds the values of a row in the order of `columns`.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn insert<T>(
    connection: &mut Connection,
    table: &'static str,
    columns: &[&'static str],
    conflict: &'static str,
    rows: &[T],
    bind: impl for<'q> Fn(Statement<'q>, &T) -> Statement<'q>,
) -> Result<u64, Error> {
    let mut added = 0;
    for portion in rows.chunks(VALUES_PER_STATEMENT / columns.len()) {
        let (names, values) = (columns.join(", "), rows_of_placeholders(portion.len(), columns.len()));
        let text = format!("INSERT INTO {table} ({names}) VALUES {values}{conflict}");
        let statement = portion.iter().fold(sqlx::query(sqlx::AssertSqlSafe(text)), &bind);
        added += statement.execute(&mut *connection).await?.rows_affected();
    }
    Ok(added)
}

/// Removes what `text`, which ends before `IN`, says of an owner and these ids; the owner is `$1`.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn unlink(
    connection: &mut Connection,
    text: &'static str,
    owner: &str,
    ids: &[&str],
) -> Result<(), Error> {
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let text = format!("{text} IN ({})", placeholders(2, portion.len()));
        let statement = sqlx::query(sqlx::AssertSqlSafe(text)).bind(owner.to_owned());
        let statement = portion.iter().fold(statement, |statement, id| statement.bind((*id).to_owned()));
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Locks rows in the order of their ids, before a statement changes them in an order of its own: so no two writers
/// of many rows wait for each other in a circle. SQLite has one writer at a time.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn lock(
    connection: &mut Connection,
    table: &'static str,
    id: &'static str,
    ids: &mut [&str],
) -> Result<(), Error> {
    if connection.backend_name() != "PostgreSQL" {
        return Ok(());
    }
    ids.sort_unstable();
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let these = placeholders(1, portion.len());
        let text = format!("SELECT {id} FROM {table} WHERE {id} IN ({these}) ORDER BY {id} FOR NO KEY UPDATE");
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        portion.iter().fold(query, |query, id| query.bind((*id).to_owned())).execute(&mut *connection).await?;
    }
    Ok(())
}
