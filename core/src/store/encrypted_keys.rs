//! Sealed plaintexts of recoverable keys, and the data keys they are sealed under.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Connection, Only, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// The data key of a workspace, sealed under a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey {
    /// `dek_…`
    pub id: String,
    /// Whose it is.
    pub workspace_id: String,
    /// Which master key sealed it.
    pub master_key_id: String,
    /// Base64, see `vault`.
    pub sealed: String,
    /// Whether it was made under another master key than the one that it is sealed under now.
    pub was_sealed_anew: bool,
}

/// Those of these keys whose plaintext is stored.
///
/// # Errors
/// When the store does not answer.
pub async fn stored(connection: &mut Connection, key_ids: &[&str]) -> Result<Vec<String>, Error> {
    let text = "SELECT key_id FROM encrypted_keys WHERE key_id IS NOT NULL";
    let rows = select(connection, text, "key_id", Only::Ids(key_ids)).await?;
    Ok(rows.iter().map(|row| row.try_get("key_id")).collect::<Result<_, _>>()?)
}

/// The plaintext of a key, sealed under its workspace's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedKey {
    /// The key.
    pub key_id: String,
    /// What it is sealed under.
    pub data_key_id: String,
    /// Base64, see `vault`.
    pub sealed: String,
}

const DATA_KEYS: &str =
    "SELECT id, workspace_id, master_key_id, sealed, updated_at FROM data_keys WHERE id IS NOT NULL";

fn read_data_key(row: &AnyRow) -> Result<DataKey, sqlx::Error> {
    Ok(DataKey {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        master_key_id: row.try_get("master_key_id")?,
        sealed: row.try_get("sealed")?,
        was_sealed_anew: row.try_get::<Option<i64>, _>("updated_at")?.is_some(),
    })
}

/// All data keys.
///
/// # Errors
/// When the store does not answer.
pub async fn data_keys(connection: &mut Connection) -> Result<Vec<DataKey>, Error> {
    let rows = select(connection, DATA_KEYS, "id", Only::All).await?;
    Ok(rows.iter().map(read_data_key).collect::<Result<_, _>>()?)
}

/// The data keys of a workspace: few, one for each master key that there was.
///
/// # Errors
/// When the store does not answer.
pub async fn data_keys_of(connection: &mut Connection, workspace_id: &str) -> Result<Vec<DataKey>, Error> {
    let rows = select(connection, DATA_KEYS, "workspace_id", Only::Ids(&[workspace_id])).await?;
    Ok(rows.iter().map(read_data_key).collect::<Result<_, _>>()?)
}

/// Adds a data key of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn insert_data_key(connection: &mut Connection, data_key: &DataKey, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO data_keys (id, workspace_id, master_key_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(data_key.id.clone())
    .bind(data_key.workspace_id.clone())
    .bind(data_key.master_key_id.clone())
    .bind(data_key.sealed.clone())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes a data key that another master key sealed.
///
/// # Errors
/// When the store does not answer.
pub async fn update_data_key(connection: &mut Connection, data_key: &DataKey, now: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE data_keys SET master_key_id = $2, sealed = $3, updated_at = $4 WHERE id = $1")
        .bind(data_key.id.clone())
        .bind(data_key.master_key_id.clone())
        .bind(data_key.sealed.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds the plaintext of a key.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, key: &EncryptedKey, now: UnixMs) -> Result<(), Error> {
    sqlx::query("INSERT INTO encrypted_keys (key_id, data_key_id, sealed, created_at) VALUES ($1, $2, $3, $4)")
        .bind(key.key_id.clone())
        .bind(key.data_key_id.clone())
        .bind(key.sealed.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// The plaintexts of those of these keys that have one.
///
/// # Errors
/// When the store does not answer.
pub async fn of_keys(connection: &mut Connection, key_ids: &[&str]) -> Result<Vec<EncryptedKey>, Error> {
    let text = "SELECT key_id, data_key_id, sealed FROM encrypted_keys WHERE key_id IS NOT NULL";
    let rows = select(connection, text, "key_id", Only::Ids(key_ids)).await?;
    let read = |row: &AnyRow| {
        Ok(EncryptedKey {
            key_id: row.try_get("key_id")?,
            data_key_id: row.try_get("data_key_id")?,
            sealed: row.try_get("sealed")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}
