//! Keys. What they hold, and who holds what, is in `links`.

mod ended;
mod links;
pub mod search;

use std::collections::HashMap;

use compact_str::CompactString;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{Found, MOST_ROWS};
use super::rows::To;
use super::{
    Connection, Only, VALUES_PER_STATEMENT, delete_of, flag, mark_deleted, placeholders, root_keys, rows, select,
};
use crate::calendar::UnixMs;
use crate::error::Error;

pub use ended::{By, Ended, find_ended};
pub use links::{
    copy_links, direct_permission_slugs, ids_holding, link_permissions, link_roles, permission_slugs, role_names,
    role_permission_slugs, unlink_all_permissions, unlink_all_roles, unlink_permissions, unlink_roles,
};

/// A live key as stored, with its balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `key_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Its API.
    pub api_id: String,
    /// Base64 of the SHA-256 of the full key; of an imported key, what its importer sent.
    pub hash: String,
    /// The first characters, for people to recognise it by; empty for an imported key not used yet.
    pub start: String,
    /// The migration that it was imported with, until it is first used.
    pub pending_migration_id: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// The identity it was linked to, which may have been deleted since.
    pub identity_id: Option<String>,
    /// JSON object.
    pub meta: Option<String>,
    /// Whether it may be used.
    pub enabled: bool,
    /// Unix ms.
    pub expires_at: Option<UnixMs>,
    /// Unix ms.
    pub last_used_at: Option<UnixMs>,
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms.
    pub updated_at: Option<UnixMs>,
    /// Credits and their refill.
    pub credits: super::credits::Credits,
}

/// Keys that are live, as is their API. Ends in a `WHERE` clause.
const LIVE: &str = "SELECT k.id, k.workspace_id, k.api_id, k.hash, k.start, k.pending_migration_id, \
                    k.name, k.identity_id, k.meta, k.enabled, k.expires_at, k.last_used_at, k.created_at, k.updated_at, c.remaining, \
                    c.refill_amount, c.refill_day \
                    FROM keys k JOIN apis a ON a.id = k.api_id LEFT JOIN credits c ON c.key_id = k.id \
                    WHERE k.deleted_at IS NULL AND a.deleted_at IS NULL";

fn read(row: &AnyRow) -> Result<Key, sqlx::Error> {
    Ok(Key {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        api_id: row.try_get("api_id")?,
        hash: row.try_get("hash")?,
        start: row.try_get("start")?,
        pending_migration_id: row.try_get("pending_migration_id")?,
        name: row.try_get("name")?,
        identity_id: row.try_get("identity_id")?,
        meta: row.try_get("meta")?,
        enabled: flag(row, "enabled")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        credits: super::credits::read(row)?,
    })
}

/// Live keys of any workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn live(connection: &mut Connection, ids: &[&str]) -> Result<Vec<Key>, Error> {
    let rows = select(connection, LIVE, "k.id", Only::Ids(ids)).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A live key, of any workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, id: &str) -> Result<Option<Key>, Error> {
    Ok(live(connection, &[id]).await?.pop())
}

/// A live key by its hash, of any workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find_by_hash(connection: &mut Connection, hash: &str) -> Result<Option<Key>, Error> {
    let rows = select(connection, LIVE, "k.hash", Only::Ids(&[hash])).await?;
    Ok(rows.first().map(read).transpose()?)
}

/// Whether any key, live or deleted, has this hash.
///
/// # Errors
/// When the store does not answer.
pub async fn hash_is_taken(connection: &mut Connection, hash: &str) -> Result<bool, Error> {
    let row = sqlx::query("SELECT id FROM keys WHERE hash = $1")
        .bind(hash.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Whether any key of the instance, root keys and deleted ones included, has this hash.
///
/// # Errors
/// When the store does not answer.
pub async fn is_hash_of_any(connection: &mut Connection, hash: &str) -> Result<bool, Error> {
    Ok(hash_is_taken(connection, hash).await? || root_keys::owner_of_hash(connection, hash).await?.is_some())
}

/// Which key has a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its workspace.
    pub workspace_id: String,
    /// Its id; `None` for a root key.
    pub key_id: Option<String>,
    /// Whether it is deleted: its hash stays taken.
    pub is_deleted: bool,
}

/// Which of these hashes some key of the instance has, live or deleted, root keys included.
///
/// # Errors
/// When the store does not answer.
pub async fn holders(connection: &mut Connection, hashes: &[&str]) -> Result<HashMap<String, Holder>, Error> {
    let mut found = HashMap::new();
    for portion in hashes.chunks(VALUES_PER_STATEMENT) {
        let these = placeholders(1, portion.len());
        let text = format!(
            "SELECT hash, workspace_id, id, deleted_at FROM keys WHERE hash IN ({these}) UNION ALL \
             SELECT hash, workspace_id, NULL, deleted_at FROM root_keys WHERE hash IN ({these})"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        let query = portion.iter().fold(query, |query, hash| query.bind((*hash).to_owned()));
        for row in query.fetch_all(&mut *connection).await? {
            let holder = Holder {
                workspace_id: row.try_get("workspace_id")?,
                key_id: row.try_get("id")?,
                is_deleted: row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
            };
            found.insert(row.try_get("hash")?, holder);
        }
    }
    Ok(found)
}

/// Live keys of an API from `cursor` on, in the order of ids; those of one identity if given, among
/// [`MOST_ROWS`] keys of it.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    api_id: &str,
    identity_id: Option<&str>,
    cursor: &str,
    count: i64,
) -> Result<Found<Key>, Error> {
    let mut rest = None;
    if let Some(identity_id) = identity_id {
        let text = "SELECT id FROM keys WHERE identity_id = $1 AND id >= $2 ORDER BY id LIMIT 1 OFFSET $3";
        let query = sqlx::query(text).bind(identity_id.to_owned()).bind(cursor.to_owned()).bind(MOST_ROWS);
        let row = query.fetch_optional(&mut *connection).await?;
        rest = row.map(|row| row.try_get::<String, _>("id")).transpose()?;
    }
    // The keys of an identity are few: they are not looked for among all keys of the API, so its index is hidden.
    let wanted = match (identity_id, &rest) {
        (None, _) => "k.api_id = $1",
        (Some(_), None) => "k.api_id || '' = $1 AND k.identity_id = $4",
        (Some(_), Some(_)) => "k.api_id || '' = $1 AND k.identity_id = $4 AND k.id < $5",
    };
    let text = format!("{LIVE} AND {wanted} AND k.id >= $2 ORDER BY k.id LIMIT $3");
    let mut query =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(api_id.to_owned()).bind(cursor.to_owned()).bind(count);
    for bound in identity_id.into_iter().chain(rest.as_deref()) {
        query = query.bind(bound.to_owned());
    }
    let rows = query.fetch_all(connection).await?.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Found { rows, rest })
}

/// Adds keys, without their credits, limits and links.
///
/// # Errors
/// When the store does not answer, or any key, live or deleted, has one of their hashes: see [`is_taken`]. Where they
/// are added with other rows, those say so.
pub async fn insert(to: impl Into<To<'_>>, keys: &[Key]) -> Result<(), Error> {
    const COLUMNS: [&str; 12] = [
        "id",
        "workspace_id",
        "api_id",
        "hash",
        "start",
        "pending_migration_id",
        "name",
        "identity_id",
        "meta",
        "enabled",
        "expires_at",
        "created_at",
    ];
    rows::insert(to, "keys", &COLUMNS, "", keys, |row, key| {
        row.bind(key.id.clone())
            .bind(key.workspace_id.clone())
            .bind(key.api_id.clone())
            .bind(key.hash.clone())
            .bind(key.start.clone())
            .bind(key.pending_migration_id.clone())
            .bind(key.name.clone())
            .bind(key.identity_id.clone())
            .bind(key.meta.clone())
            .bind(i64::from(key.enabled))
            .bind(key.expires_at)
            .bind(key.created_at)
    })
    .await
}

/// Whether keys were not added because some key has one of their hashes already.
pub fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation() && error.message().contains("hash"))
}

/// Ends the migration of a key: writes its hash and first characters and clears the migration.
///
/// # Errors
/// When the store does not answer.
pub async fn settle(
    connection: &mut Connection,
    id: &str,
    hash: &str,
    start: &str,
    now: UnixMs,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE keys SET hash = $2, start = $3, pending_migration_id = NULL, updated_at = $4 WHERE id = $1",
    )
    .bind(id.to_owned())
    .bind(hash.to_owned())
    .bind(start.to_owned())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the fields of a key that may change.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, key: &Key, now: UnixMs) -> Result<(), Error> {
    sqlx::query(
        "UPDATE keys SET name = $2, identity_id = $3, meta = $4, enabled = $5, expires_at = $6, updated_at = $7 \
         WHERE id = $1",
    )
    .bind(key.id.clone())
    .bind(key.name.clone())
    .bind(key.identity_id.clone())
    .bind(key.meta.clone())
    .bind(i64::from(key.enabled))
    .bind(key.expires_at)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes when keys were last used, in Unix ms, unless a later use is known.
///
/// # Errors
/// When the store does not answer.
pub async fn set_last_used(connection: &mut Connection, uses: &[(CompactString, UnixMs)]) -> Result<(), Error> {
    let mut ids: Vec<&str> = uses.iter().map(|(id, _)| id.as_str()).collect();
    rows::lock(connection, "keys", "id", &mut ids).await?;
    for portion in uses.chunks(VALUES_PER_STATEMENT / 2) {
        let rows: Vec<String> = (0..portion.len())
            .map(|at| format!("(CAST(${} AS TEXT), CAST(${} AS BIGINT))", 2 * at + 1, 2 * at + 2))
            .collect();
        let text = format!(
            "UPDATE keys SET last_used_at = uses.column2 FROM (VALUES {}) AS uses \
             WHERE keys.id = uses.column1 AND COALESCE(last_used_at, 0) < uses.column2",
            rows.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for (id, at) in portion {
            query = query.bind(id.to_string()).bind(*at);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Marks a key as deleted; its hash stays taken, its plaintext goes.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, id: &str, now: UnixMs) -> Result<(), Error> {
    delete_of(connection, "encrypted_keys", "key_id", &[id.to_owned()]).await?;
    mark_deleted(connection, "keys", id, now).await
}

/// Removes keys and all that belongs to them; their hashes are free again: how many keys.
///
/// # Errors
/// When the store does not answer.
pub async fn purge(connection: &mut Connection, ids: &[String]) -> Result<u64, Error> {
    // Balances before refills: a deduction under way holds its balance until it has noted a refill.
    for table in ["key_permissions", "key_roles", "ratelimits", "credits", "unrecorded_refills", "encrypted_keys"]
    {
        delete_of(connection, table, "key_id", ids).await?;
    }
    delete_of(connection, "keys", "id", ids).await
}

/// What people know a key by.
#[derive(Debug)]
pub struct KnownAs {
    /// For people.
    pub name: Option<String>,
    /// Its first characters.
    pub start: String,
    /// Whose it is, if that identity is live.
    pub external_id: Option<String>,
}

fn read_known_as(row: &AnyRow) -> Result<KnownAs, sqlx::Error> {
    Ok(KnownAs {
        name: row.try_get("name")?,
        start: row.try_get("start")?,
        external_id: row.try_get("external_id")?,
    })
}

/// What keys are known by, those that were deleted among them. One that cannot be read is left out: it stops no
/// change that only tells of it.
///
/// # Errors
/// When the store does not answer.
pub async fn known_as(connection: &mut Connection, ids: &[&str]) -> Result<HashMap<String, KnownAs>, Error> {
    const TEXT: &str = "SELECT k.id, k.name, k.start, i.external_id FROM keys k \
                        LEFT JOIN identities i ON i.id = k.identity_id AND i.deleted_at IS NULL WHERE TRUE";
    let rows = select(connection, TEXT, "k.id", Only::Ids(ids)).await?;
    Ok(rows.iter().filter_map(|row| Some((row.try_get("id").ok()?, read_known_as(row).ok()?))).collect())
}

/// A key that expired.
#[derive(Debug)]
pub struct Expired {
    /// `key_…`
    pub id: String,
    /// Unix ms.
    pub expired_at: UnixMs,
    /// What people know it by.
    pub known_as: KnownAs,
}

/// Live keys of a workspace that expired before a Unix ms, at most `count`.
///
/// # Errors
/// When the store does not answer.
pub async fn expired(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<Vec<Expired>, Error> {
    let rows = sqlx::query(
        "SELECT k.id, k.expires_at, k.name, k.start, i.external_id FROM keys k JOIN apis a ON a.id = k.api_id \
         LEFT JOIN identities i ON i.id = k.identity_id AND i.deleted_at IS NULL WHERE k.workspace_id = $1 AND k.expires_at < $2 AND k.deleted_at IS NULL AND a.deleted_at IS NULL LIMIT $3",
    )
    .bind(workspace_id.to_owned())
    .bind(before)
    .bind(count)
    .fetch_all(connection)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Expired {
            id: row.try_get("id")?,
            expired_at: row.try_get("expires_at")?,
            known_as: read_known_as(row)?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

/// Notes that keys changed.
///
/// # Errors
/// When the store does not answer.
pub async fn touch_updated(connection: &mut Connection, ids: &mut [&str], now: UnixMs) -> Result<(), Error> {
    rows::lock(connection, "keys", "id", ids).await?;
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let text = format!("UPDATE keys SET updated_at = $1 WHERE id IN ({})", placeholders(2, portion.len()));
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(now);
        portion.iter().fold(query, |query, id| query.bind((*id).to_owned())).execute(&mut *connection).await?;
    }
    Ok(())
}
