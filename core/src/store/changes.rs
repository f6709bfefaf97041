//! The change feed: what each mutation of a workspace touched, in the order of generations.

use sqlx::Row as _;

use super::{Connection, VALUES_PER_STATEMENT, placeholders};
use crate::changes::Subject;
use crate::error::Error;

/// Writes what one mutation touched.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(
    connection: &mut Connection,
    workspace_id: &str,
    generation: i64,
    subjects: &[Subject],
) -> Result<(), Error> {
    const COLUMNS: usize = 5;
    let mut positions = 0_i64..;
    for portion in subjects.chunks(VALUES_PER_STATEMENT / COLUMNS) {
        let row = |at: usize| format!("({})", placeholders(at * COLUMNS + 1, COLUMNS));
        let text = format!(
            "INSERT INTO changes (workspace_id, generation, position, subject_kind, subject_id) VALUES {}",
            (0..portion.len()).map(row).collect::<Vec<_>>().join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for (subject, position) in portion.iter().zip(&mut positions) {
            query = query
                .bind(workspace_id.to_owned())
                .bind(generation)
                .bind(position)
                .bind(subject.kind())
                .bind(subject.id().to_owned());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What was touched in a workspace after `generation`, oldest first. Kinds of subjects that this
/// program does not know, written by a newer one, are left out.
///
/// # Errors
/// When the store does not answer.
pub async fn after(
    connection: &mut Connection,
    workspace_id: &str,
    generation: i64,
) -> Result<Vec<Subject>, Error> {
    let rows = sqlx::query(
        "SELECT subject_kind, subject_id FROM changes WHERE workspace_id = $1 AND generation > $2 \
         ORDER BY generation, position",
    )
    .bind(workspace_id.to_owned())
    .bind(generation)
    .fetch_all(connection)
    .await?;
    let mut subjects = Vec::with_capacity(rows.len());
    for row in rows {
        let kind: String = row.try_get("subject_kind")?;
        subjects.extend(Subject::new(&kind, row.try_get("subject_id")?));
    }
    Ok(subjects)
}
