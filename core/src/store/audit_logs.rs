//! Rows of the audit log.

use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row as _, Type};

use super::audit_entry::{Entry, Filed};
use super::readable::readable;
use super::rows::{self, Rows, To};
use super::{Connection, VALUES_PER_STATEMENT, placeholders};
use crate::error::Error;

/// A place in the chain of a workspace and the hash of the entry that is or was there.
pub type Link = (i64, String);

/// Where the next entry of the workspace `$1` follows. The note comes first: what was cut off behind its back must
/// stay a gap. A program older than the note may have gone on without it.
pub(super) const HEAD: &str = "SELECT sequence, hash FROM \
                               (SELECT sequence, hash, 0 AS position FROM audit_heads WHERE workspace_id = $1 \
                               UNION ALL SELECT sequence, hash, 1 FROM (SELECT sequence, hash FROM audit_logs \
                               WHERE workspace_id = $1 ORDER BY sequence DESC LIMIT 1) AS newest \
                               UNION ALL SELECT sequence, hash, 2 FROM audit_anchors WHERE workspace_id = $1) \
                               AS links ORDER BY sequence DESC, position LIMIT 1";

/// Where the next entry of a workspace follows: its newest entry, also when that is there no more; `None` when
/// there was none yet.
///
/// # Errors
/// When the store does not answer.
pub async fn head(connection: &mut Connection, workspace_id: &str) -> Result<Option<Link>, Error> {
    link(connection, HEAD, workspace_id).await
}

/// The newest entry of a workspace, as it was noted when it was written; `None` when none was.
///
/// # Errors
/// When the store does not answer.
pub async fn noted_head(connection: &mut Connection, workspace_id: &str) -> Result<Option<Link>, Error> {
    link(connection, "SELECT sequence, hash FROM audit_heads WHERE workspace_id = $1", workspace_id).await
}

/// The newest entry of each workspace, as it was noted when it was written.
///
/// # Errors
/// When the store does not answer.
pub async fn noted_heads(connection: &mut Connection) -> Result<Vec<(String, Link)>, Error> {
    let text = "SELECT workspace_id AS id, sequence, hash FROM audit_heads ORDER BY workspace_id";
    let rows = sqlx::query(text).fetch_all(connection).await?;
    let read = |row: &AnyRow| Ok((row.try_get("id")?, (row.try_get("sequence")?, row.try_get("hash")?)));
    Ok(readable(&rows, "newest entry of an audit log", read))
}

/// Notes which entry of a workspace is the newest.
///
/// # Errors
/// When the store does not answer.
pub async fn note_head(to: impl Into<To<'_>>, workspace_id: &str, head: &Link) -> Result<(), Error> {
    set_link(to, "audit_heads", workspace_id, head).await
}

/// The last entry of a workspace that retention has removed; `None` when it has removed none.
///
/// # Errors
/// When the store does not answer.
pub async fn anchor(connection: &mut Connection, workspace_id: &str) -> Result<Option<Link>, Error> {
    link(connection, "SELECT sequence, hash FROM audit_anchors WHERE workspace_id = $1", workspace_id).await
}

async fn link(connection: &mut Connection, text: &'static str, workspace_id: &str) -> Result<Option<Link>, Error> {
    let row = sqlx::query(text).bind(workspace_id.to_owned()).fetch_optional(connection).await?;
    let read = |row: AnyRow| Ok((row.try_get("sequence")?, row.try_get("hash")?));
    let damaged = |error: sqlx::Error| {
        Error::unexpected(format!("what is noted of the audit log of {workspace_id} cannot be read: {error}"))
    };
    row.map(read).transpose().map_err(damaged)
}

async fn set_link(
    to: impl Into<To<'_>>,
    table: &'static str,
    workspace_id: &str,
    (sequence, hash): &Link,
) -> Result<(), Error> {
    const COLUMNS: [&str; 3] = ["workspace_id", "sequence", "hash"];
    const CONFLICT: &str =
        " ON CONFLICT (workspace_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash";
    rows::insert(to, table, &COLUMNS, CONFLICT, &[()], |row, ()| {
        row.bind(workspace_id.to_owned()).bind(*sequence).bind(hash.clone())
    })
    .await
}

/// Every workspace that has a row or of whose audit log there is anything, and whether it has a row.
///
/// # Errors
/// When the store does not answer.
pub async fn workspaces(connection: &mut Connection) -> Result<Vec<(String, bool)>, Error> {
    let rows = sqlx::query(
        "SELECT named.id, w.id AS row_id FROM (SELECT id FROM workspaces \
         UNION SELECT workspace_id FROM audit_heads UNION SELECT workspace_id FROM audit_anchors \
         UNION SELECT DISTINCT workspace_id FROM audit_logs) AS named \
         LEFT JOIN workspaces w ON w.id = named.id ORDER BY w.created_at, named.id",
    )
    .fetch_all(connection)
    .await?;
    let read = |row: &AnyRow| {
        let row_id: Option<String> = row.try_get("row_id")?;
        Ok((row.try_get("id")?, row_id.is_some()))
    };
    Ok(readable(&rows, "workspace", read))
}

/// Removes the oldest entries of a workspace, and notes the last of them as the anchor that the rest of the chain
/// follows: how many were removed. The transaction holds the workspace's lock.
///
/// # Errors
/// When the store does not answer.
pub async fn remove(connection: &mut Connection, workspace_id: &str, oldest: &[Entry]) -> Result<u64, Error> {
    let Some(last) = oldest.last() else { return Ok(0) };
    let anchor = (last.sequence, last.hash.clone());
    set_link(&mut *connection, "audit_anchors", workspace_id, &anchor).await?;
    let newest = oldest.iter().map(|entry| entry.time).max().unwrap_or(last.time);
    let mut targets: Vec<String> = oldest.iter().flat_map(|entry| entry.filed().target_ids).collect();
    targets.sort_unstable();
    targets.dedup();
    for portion in targets.chunks(VALUES_PER_STATEMENT) {
        let text = format!(
            "DELETE FROM audit_targets WHERE workspace_id = $1 AND time <= $2 AND sequence <= $3 AND target_id IN ({})",
            placeholders(4, portion.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        query = query.bind(workspace_id.to_owned()).bind(newest).bind(last.sequence);
        query = portion.iter().fold(query, |query, id| query.bind(id.clone()));
        query.execute(&mut *connection).await?;
    }
    let done = sqlx::query("DELETE FROM audit_logs WHERE workspace_id = $1 AND sequence <= $2")
        .bind(workspace_id.to_owned())
        .bind(last.sequence)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Appends entries, which must be the workspace's next in order; their unique sequence numbers ensure it.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(rows: &mut Rows, entries: &[Entry]) -> Result<(), Error> {
    const COLUMNS: [&str; 16] = [
        "id",
        "workspace_id",
        "sequence",
        "time",
        "event",
        "description",
        "actor",
        "actor_id",
        "targets",
        "changes",
        "remote_ip",
        "user_agent",
        "correlation_id",
        "previous_hash",
        "hash",
        "format",
    ];
    let filed: Vec<Filed> = entries.iter().map(Entry::filed).collect();
    let both: Vec<_> = entries.iter().zip(&filed).collect();
    rows::insert(&mut *rows, "audit_logs", &COLUMNS, "", &both, |row, (entry, filed)| {
        row.bind(entry.id.clone())
            .bind(entry.workspace_id.clone())
            .bind(entry.sequence)
            .bind(entry.time)
            .bind(entry.event.clone())
            .bind(entry.description.clone())
            .bind(entry.actor.clone())
            .bind(filed.actor_id.clone())
            .bind(entry.targets.clone())
            .bind(entry.changes.clone())
            .bind(entry.remote_ip.clone())
            .bind(entry.user_agent.clone())
            .bind(entry.correlation_id.clone())
            .bind(entry.previous_hash.clone())
            .bind(entry.hash.clone())
            .bind(entry.format)
    })
    .await?;
    file_targets(rows, &filed).await
}

/// Files entries under what they were done to.
async fn file_targets(to: impl Into<To<'_>>, filed: &[Filed]) -> Result<(), Error> {
    const COLUMNS: [&str; 4] = ["workspace_id", "target_id", "time", "sequence"];
    let targets: Vec<_> = filed.iter().flat_map(|one| one.target_ids.iter().map(move |id| (one, id))).collect();
    rows::insert(to, "audit_targets", &COLUMNS, " ON CONFLICT DO NOTHING", &targets, |row, (one, target_id)| {
        row.bind(one.workspace_id.clone()).bind((*target_id).clone()).bind(one.time).bind(one.sequence)
    })
    .await
}

/// Entries of a workspace that are not filed yet and can be read, in no order.
///
/// # Errors
/// When the store does not answer.
pub async fn unfiled(connection: &mut Connection, workspace_id: &str, count: i64) -> Result<Vec<Entry>, Error> {
    let text = format!("{ENTRIES} {OF_WORKSPACE} AND l.actor_id IS NULL LIMIT $2");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(count)
        .fetch_all(connection)
        .await?;
    // One whose place cannot be read could not be filed under it.
    Ok(rows.iter().map(read).filter(|entry| entry.unreadable.is_none()).collect())
}

/// Files entries under who did it and what it was done to.
///
/// # Errors
/// When the store does not answer.
pub async fn file(connection: &mut Connection, filed: &[Filed]) -> Result<(), Error> {
    file_targets(&mut *connection, filed).await?;
    for one in filed {
        sqlx::query("UPDATE audit_logs SET actor_id = $3 WHERE workspace_id = $1 AND sequence = $2")
            .bind(one.workspace_id.clone())
            .bind(one.sequence)
            .bind(one.actor_id.clone())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Entries, from wherever they are selected; ends before `FROM`.
pub(super) const ENTRIES: &str = "SELECT l.id, l.workspace_id, l.sequence, l.time, l.event, l.description, l.actor, \
                                  l.targets, l.changes, l.remote_ip, l.user_agent, l.correlation_id, \
                                  l.previous_hash, l.hash, l.format";
const OF_WORKSPACE: &str = "FROM audit_logs l WHERE l.workspace_id = $1";

/// The cells of a row, and the first of them that cannot be read.
struct Cells<'r> {
    row: &'r AnyRow,
    unreadable: Option<&'static str>,
}

impl<'r> Cells<'r> {
    fn read<T: Default + Decode<'r, Any> + Type<Any>>(&mut self, column: &'static str) -> T {
        self.row.try_get(column).unwrap_or_else(|_| {
            self.unreadable.get_or_insert(column);
            T::default()
        })
    }
}

/// Reads an entry. One that is damaged keeps nobody from reading the others: it says which column cannot be read.
pub(super) fn read(row: &AnyRow) -> Entry {
    let mut cells = Cells { row, unreadable: None };
    let entry = Entry {
        id: cells.read("id"),
        workspace_id: cells.read("workspace_id"),
        sequence: cells.read("sequence"),
        time: cells.read("time"),
        event: cells.read("event"),
        description: cells.read("description"),
        actor: cells.read("actor"),
        targets: cells.read("targets"),
        changes: cells.read("changes"),
        remote_ip: cells.read("remote_ip"),
        user_agent: cells.read("user_agent"),
        correlation_id: cells.read("correlation_id"),
        previous_hash: cells.read("previous_hash"),
        hash: cells.read("hash"),
        format: cells.read("format"),
        unreadable: None,
    };
    Entry { unreadable: cells.unreadable, ..entry }
}

/// One entry of a workspace.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, workspace_id: &str, id: &str) -> Result<Option<Entry>, Error> {
    let text = format!("{ENTRIES} {OF_WORKSPACE} AND l.id = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(id.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read))
}

/// The first entry of a workspace, whatever its place.
///
/// # Errors
/// When the store does not answer.
pub async fn first(connection: &mut Connection, workspace_id: &str) -> Result<Option<Entry>, Error> {
    let text = format!("{ENTRIES} {OF_WORKSPACE} ORDER BY l.sequence LIMIT 1");
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned());
    Ok(query.fetch_optional(connection).await?.as_ref().map(read))
}

/// Entries of a workspace after a place in its chain, in the order of the chain.
///
/// # Errors
/// When the store does not answer.
pub async fn after(
    connection: &mut Connection,
    workspace_id: &str,
    sequence: i64,
    count: i64,
) -> Result<Vec<Entry>, Error> {
    let text = format!("{ENTRIES} {OF_WORKSPACE} AND l.sequence > $2 ORDER BY l.sequence LIMIT $3");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(sequence)
        .bind(count)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(read).collect())
}
