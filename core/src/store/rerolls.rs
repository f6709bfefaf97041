//! What rerolls noted of the keys that they end.

use sqlx::Row as _;

use super::Connection;
use crate::calendar::UnixMs;
use crate::error::Error;

/// A key that may be rerolled.
#[derive(Debug, Clone, Copy)]
pub enum Rerolled<'a> {
    /// A key of an API, by id.
    Key(&'a str),
    /// A root key, by id.
    RootKey(&'a str),
}

impl Rerolled<'_> {
    fn table(self) -> &'static str {
        match self {
            Rerolled::Key(_) => "keys",
            Rerolled::RootKey(_) => "root_keys",
        }
    }

    /// Its id.
    pub fn id(self) -> String {
        match self {
            Rerolled::Key(id) | Rerolled::RootKey(id) => id.to_owned(),
        }
    }
}

/// What a reroll that ends a key notes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reroll {
    /// The id of the key in its place.
    pub successor_id: String,
    /// The expiry that the key had before, in Unix ms; `None` when it had none.
    pub expires_before: Option<UnixMs>,
}

/// The last reroll that ends a key, if one does.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, key: Rerolled<'_>) -> Result<Option<Reroll>, Error> {
    let table = key.table();
    let text = format!(
        "SELECT successor_id, expires_before_reroll FROM {table} WHERE id = $1 AND successor_id IS NOT NULL"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(key.id()).fetch_optional(connection).await?;
    let read = |row: sqlx::any::AnyRow| {
        Ok::<_, sqlx::Error>(Reroll {
            successor_id: row.try_get("successor_id")?,
            expires_before: row.try_get("expires_before_reroll")?,
        })
    };
    Ok(row.map(read).transpose()?)
}

/// Notes that a reroll ends a key, at a Unix ms.
///
/// # Errors
/// When the store does not answer.
pub async fn end(
    connection: &mut Connection,
    key: Rerolled<'_>,
    expires_at: Option<UnixMs>,
    reroll: Reroll,
    now: UnixMs,
) -> Result<(), Error> {
    let table = key.table();
    let text = format!(
        "UPDATE {table} SET expires_at = $2, successor_id = $3, expires_before_reroll = $4, updated_at = $5 \
         WHERE id = $1"
    );
    sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(key.id())
        .bind(expires_at)
        .bind(reroll.successor_id)
        .bind(reroll.expires_before)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets that a reroll ends a key: somebody has said otherwise.
///
/// # Errors
/// When the store does not answer.
pub async fn forget(connection: &mut Connection, key: Rerolled<'_>) -> Result<(), Error> {
    let table = key.table();
    let text = format!(
        "UPDATE {table} SET successor_id = NULL, expires_before_reroll = NULL WHERE id = $1 AND successor_id IS NOT NULL"
    );
    sqlx::query(sqlx::AssertSqlSafe(text)).bind(key.id()).execute(connection).await?;
    Ok(())
}
