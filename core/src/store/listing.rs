//! Parts of lists: things of a workspace in the order of their ids, those whose texts hold a search.
//!
//! Case does not matter to a search. Engines fold the case of ASCII letters alike, and of other letters in
//! ways of their own; so a statement finds candidates by the ASCII part of a search, and what else it holds
//! is compared here.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Connection, like_pattern};
use crate::error::Error;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Whose things.
    pub workspace_id: &'a str,
    /// The smallest id; empty for the beginning.
    pub cursor: &'a str,
    /// What one of the texts holds; blank for no restriction.
    pub search: &'a str,
    /// How many at most.
    pub count: i64,
}

/// Reads a part of a list. `text` ends in a `WHERE` clause and its rows have `id`; `columns` are the
/// texts that a search looks into.
pub(super) async fn list<T>(
    connection: &mut Connection,
    text: &str,
    columns: &[&str],
    part: Part<'_>,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, Error> {
    let search = lower(part.search.trim());
    let candidates: String =
        like_pattern(&search).chars().map(|letter| if letter.is_ascii() { letter } else { '%' }).collect();
    let conditions: Vec<_> = columns.iter().map(|column| format!("LOWER({column}) LIKE $3 ESCAPE '\\'")).collect();
    let text = format!(
        "{text} AND workspace_id = $1 AND id >= $2 AND ({}) ORDER BY id LIMIT $4",
        conditions.join(" OR ")
    );
    let count = usize::try_from(part.count).unwrap_or_default();
    let mut cursor = part.cursor.to_owned();
    let mut found = Vec::new();
    loop {
        let rows = sqlx::query(sqlx::AssertSqlSafe(text.clone()))
            .bind(part.workspace_id.to_owned())
            .bind(cursor)
            .bind(candidates.clone())
            .bind(part.count)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            if search.is_ascii() || holds(row, columns, &search)? {
                found.push(read(row)?);
            }
        }
        match rows.last() {
            Some(last) if rows.len() == count && found.len() < count => {
                // The smallest id after the last one read: that id with the smallest character behind it.
                cursor = format!("{}\u{1}", last.try_get::<String, _>("id")?);
            }
            _ => break,
        }
    }
    found.truncate(count);
    Ok(found)
}

fn holds(row: &AnyRow, columns: &[&str], search: &str) -> Result<bool, sqlx::Error> {
    for column in columns {
        let text: Option<String> = row.try_get(*column)?;
        if text.is_some_and(|text| lower(&text).contains(search)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Letter by letter, so that a part of a text becomes the same as it does inside the whole.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}
