//! The change feed: what each mutation of a workspace touched, in the order of generations.

use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::Connection;
use super::rows::{self, To};
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::store::subject::Subject;

/// What is read of a workspace's changes at most: so much is read again one by one in a fraction of the time that
/// following may take, and beyond that reading everything anew is less work.
pub const MOST_SUBJECTS: usize = 250_000;

/// Writes what one mutation touched.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(
    to: impl Into<To<'_>>,
    workspace_id: &str,
    generation: i64,
    now: UnixMs,
    subjects: &[Subject],
) -> Result<(), Error> {
    const COLUMNS: [&str; 6] = ["workspace_id", "generation", "position", "subject_kind", "subject_id", "time"];
    let positioned: Vec<_> = (0_i64..).zip(subjects).collect();
    rows::insert(to, "changes", &COLUMNS, "", &positioned, |row, (position, subject)| {
        row.bind(workspace_id.to_owned())
            .bind(generation)
            .bind(*position)
            .bind(subject.kind())
            .bind(subject.id().to_owned())
            .bind(now)
    })
    .await
}

/// What the feed says of a workspace to one who knows everything up to a generation.
#[derive(Debug, PartialEq, Eq)]
pub enum Since {
    /// What was touched since, oldest first, and the generation with which that ends. Kinds of subjects that this
    /// program does not know, written by a newer one, are left out.
    Touched {
        /// The generation of the workspace.
        generation: i64,
        /// What was touched.
        subjects: Vec<Subject>,
    },
    /// The feed does not go back that far, or tells of more than [`MOST_SUBJECTS`].
    Forgotten,
    /// The workspace is at an older generation, or is there no more: this is another state of the database, such
    /// as a dump that was restored or a replica that was promoted before it had everything.
    Older,
}

/// What was touched in a workspace after the generation `known`.
///
/// # Errors
/// When the store does not answer.
pub async fn after(connection: &mut Connection, workspace_id: &str, known: i64) -> Result<Since, Error> {
    // One statement, so that nothing is forgotten and nothing is added between the looks at the workspace and
    // at the feed.
    let mut rows = sqlx::query(
        "SELECT w.generation, w.forgotten_generation, c.subject_kind, c.subject_id FROM workspaces w \
         LEFT JOIN changes c ON c.workspace_id = w.id AND c.generation > $2 \
         WHERE w.id = $1 ORDER BY c.generation, c.position LIMIT $3",
    )
    .bind(workspace_id.to_owned())
    .bind(known)
    .bind(i64::try_from(MOST_SUBJECTS + 1).unwrap_or(i64::MAX))
    .fetch(connection);
    let Some(first) = rows.try_next().await? else { return Ok(Since::Older) };
    let (generation, forgotten): (i64, i64) =
        (first.try_get("generation")?, first.try_get("forgotten_generation")?);
    if generation < known {
        return Ok(Since::Older);
    }
    if forgotten > known {
        return Ok(Since::Forgotten);
    }
    let (mut subjects, mut count, mut next) = (Vec::new(), 0, Some(first));
    while let Some(row) = next {
        let (kind, id): (Option<String>, Option<String>) =
            (row.try_get("subject_kind")?, row.try_get("subject_id")?);
        subjects.extend(kind.zip(id).and_then(|(kind, id)| Subject::new(&kind, id)));
        count += 1;
        next = rows.try_next().await?;
    }
    Ok(if count > MOST_SUBJECTS { Since::Forgotten } else { Since::Touched { generation, subjects } })
}

/// The workspaces that have changes from before this Unix ms.
///
/// # Errors
/// When the store does not answer.
pub async fn workspaces_with_older(connection: &mut Connection, before: UnixMs) -> Result<Vec<String>, Error> {
    let rows = sqlx::query("SELECT DISTINCT workspace_id FROM changes WHERE time < $1")
        .bind(before)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(|row| row.try_get("workspace_id")).collect::<Result<_, _>>()?)
}

/// Forgets up to `count` changes of a workspace, the oldest of those up to the last generation from before this Unix
/// ms: how many. It is noted how far the feed goes back from now on; what is left of a generation then tells nobody
/// anything, and goes with the next portions.
///
/// # Errors
/// When the store does not answer.
pub async fn forget(
    connection: &mut Connection,
    workspace_id: &str,
    before: UnixMs,
    count: i64,
) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT MAX(older.generation) AS generation FROM (SELECT generation FROM changes \
         WHERE workspace_id = $1 AND time < $2 ORDER BY generation LIMIT $3) AS older",
    )
    .bind(workspace_id.to_owned())
    .bind(before)
    .bind(count)
    .fetch_one(&mut *connection)
    .await?;
    let Some(generation) = row.try_get::<Option<i64>, _>("generation")? else { return Ok(0) };
    // Another process may be further already.
    sqlx::query("UPDATE workspaces SET forgotten_generation = $2 WHERE id = $1 AND forgotten_generation < $2")
        .bind(workspace_id.to_owned())
        .bind(generation)
        .execute(&mut *connection)
        .await?;
    let done = sqlx::query(
        "DELETE FROM changes WHERE workspace_id = $1 AND (generation, position) IN (SELECT generation, position \
         FROM changes WHERE workspace_id = $1 AND generation <= $2 ORDER BY generation, position LIMIT $3)",
    )
    .bind(workspace_id.to_owned())
    .bind(generation)
    .bind(count)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
