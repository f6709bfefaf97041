//! Identities: the users, tenants or machines that keys belong to.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{self, Found, Part};
use super::rows::To;
use super::{Connection, Only, mark_deleted, rows, select};
use crate::calendar::UnixMs;
use crate::error::Error;

/// A live identity as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `id_…`
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// What the user's own system calls it; case-sensitive, unique among live identities.
    pub external_id: String,
    /// JSON object.
    pub meta: Option<String>,
}

const LIVE: &str = "SELECT id, workspace_id, external_id, meta FROM identities WHERE deleted_at IS NULL";

fn read(row: &AnyRow) -> Result<Identity, sqlx::Error> {
    Ok(Identity {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        external_id: row.try_get("external_id")?,
        meta: row.try_get("meta")?,
    })
}

/// Live identities of any workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn live(connection: &mut Connection, ids: &[&str]) -> Result<Vec<Identity>, Error> {
    let rows = select(connection, LIVE, "id", Only::Ids(ids)).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// What is known of an identity besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms of its last change.
    pub updated_at: Option<UnixMs>,
    /// How many live keys it has, counted up to a bound.
    pub keys: i64,
}

/// As far as keys of an identity are counted.
const MOST_COUNTED: i64 = 1001;

/// What is known of these identities besides, by id.
///
/// # Errors
/// When the store does not answer.
pub async fn facts(connection: &mut Connection, ids: &[&str]) -> Result<HashMap<String, Facts>, Error> {
    let text = format!(
        "SELECT i.id, i.created_at, i.updated_at, (SELECT COUNT(*) FROM (SELECT k.id FROM keys k JOIN apis a \
         ON a.id = k.api_id WHERE k.identity_id = i.id AND k.deleted_at IS NULL AND a.deleted_at IS NULL \
         LIMIT {MOST_COUNTED}) counted) AS keys FROM identities i WHERE i.deleted_at IS NULL"
    );
    let rows = select(connection, &text, "i.id", Only::Ids(ids)).await?;
    let read = |row: &AnyRow| {
        let facts = Facts {
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            keys: row.try_get("keys")?,
        };
        Ok((row.try_get("id")?, facts))
    };
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

/// A live identity of a workspace by its external id.
///
/// # Errors
/// When the store does not answer.
pub async fn find_by_external_id(
    connection: &mut Connection,
    workspace_id: &str,
    external_id: &str,
) -> Result<Option<Identity>, Error> {
    let text = format!("{LIVE} AND workspace_id = $1 AND external_id = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(external_id.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// A live identity of a workspace by its id or its external id; an id wins.
///
/// # Errors
/// When the store does not answer.
pub async fn find(
    connection: &mut Connection,
    workspace_id: &str,
    id_or_external_id: &str,
) -> Result<Option<Identity>, Error> {
    let by_id = live(connection, &[id_or_external_id]).await?;
    match by_id.into_iter().find(|identity| identity.workspace_id == workspace_id) {
        Some(identity) => Ok(Some(identity)),
        None => find_by_external_id(connection, workspace_id, id_or_external_id).await,
    }
}

/// A part of the live identities of a workspace, in the order of ids; a search looks into id and external id.
///
/// # Errors
/// When the store does not answer.
pub async fn list(connection: &mut Connection, part: Part<'_>) -> Result<Found<Identity>, Error> {
    listing::list(connection, LIVE, &["id", "external_id"], part, read).await
}

/// Adds identities.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(to: impl Into<To<'_>>, identities: &[Identity], now: UnixMs) -> Result<(), Error> {
    const COLUMNS: [&str; 5] = ["id", "workspace_id", "external_id", "meta", "created_at"];
    rows::insert(to, "identities", &COLUMNS, "", identities, |row, identity| {
        row.bind(identity.id.clone())
            .bind(identity.workspace_id.clone())
            .bind(identity.external_id.clone())
            .bind(identity.meta.clone())
            .bind(now)
    })
    .await
}

/// Writes what may change of an identity.
///
/// # Errors
/// When the store does not answer.
pub async fn update(connection: &mut Connection, identity: &Identity, now: UnixMs) -> Result<(), Error> {
    sqlx::query("UPDATE identities SET meta = $2, updated_at = $3 WHERE id = $1")
        .bind(identity.id.clone())
        .bind(identity.meta.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Marks an identity as deleted; its limits stay with it. Of the identities that had its external id, only
/// the one deleted last is kept: an older one goes for good, with its limits.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(connection: &mut Connection, identity: &Identity, now: UnixMs) -> Result<(), Error> {
    let older =
        "SELECT id FROM identities WHERE workspace_id = $1 AND external_id = $2 AND deleted_at IS NOT NULL";
    for text in [
        format!("UPDATE keys SET identity_id = NULL WHERE identity_id IN ({older})"),
        format!("DELETE FROM ratelimits WHERE identity_id IN ({older})"),
        format!("DELETE FROM identities WHERE id IN ({older})"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(identity.workspace_id.clone())
            .bind(identity.external_id.clone())
            .execute(&mut *connection)
            .await?;
    }
    mark_deleted(connection, "identities", &identity.id, now).await
}
