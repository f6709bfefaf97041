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

/// How many rows one request looks at.
pub const MOST_ROWS: i64 = 1000;

/// Rows of a list that were found among those that were looked at.
#[derive(Debug)]
pub struct Found<T> {
    /// In the order of their ids.
    pub rows: Vec<T>,
    /// Where to look on, if the rows that were looked at were not all there are.
    pub rest: Option<String>,
}

/// Reads a part of a list, looking at [`MOST_ROWS`] rows at most. `text` ends in a `WHERE` clause and its rows have `id`; `columns` are the
/// texts that a search looks into.
pub(super) async fn list<T>(
    connection: &mut Connection,
    text: &str,
    columns: &[&str],
    part: Part<'_>,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Found<T>, Error> {
    let search = lower(part.search.trim());
    let candidates: String =
        like_pattern(&search).chars().map(|letter| if letter.is_ascii() { letter } else { '%' }).collect();
    let conditions: Vec<_> = columns.iter().map(|column| format!("LOWER({column}) LIKE $3 ESCAPE '\\'")).collect();
    let of_workspace = format!("{text} AND workspace_id = $1 AND id >= $2");
    let rest = if search.is_empty() {
        None
    } else {
        let text = format!("SELECT id FROM ({of_workspace}) looked ORDER BY id LIMIT 1 OFFSET $3");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(part.workspace_id.to_owned());
        let row = query.bind(part.cursor.to_owned()).bind(MOST_ROWS).fetch_optional(&mut *connection).await?;
        row.map(|row| row.try_get::<String, _>("id")).transpose()?
    };
    // No id sorts behind this one.
    let end = rest.clone().unwrap_or_else(|| LAST_ID.to_owned());
    let text = format!("{of_workspace} AND id < $5 AND ({}) ORDER BY id LIMIT $4", conditions.join(" OR "));
    let count = usize::try_from(part.count).unwrap_or_default();
    let mut cursor = part.cursor.to_owned();
    let mut found = Vec::new();
    loop {
        let rows = sqlx::query(sqlx::AssertSqlSafe(text.clone()))
            .bind(part.workspace_id.to_owned())
            .bind(cursor)
            .bind(candidates.clone())
            .bind(part.count)
            .bind(end.clone())
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            if search.is_ascii() || holds(row, columns, &search)? {
                found.push(read(row)?);
            }
        }
        match rows.last() {
            Some(last) if rows.len() == count && found.len() < count => {
                cursor = after(&last.try_get::<String, _>("id")?);
            }
            _ => break,
        }
    }
    found.truncate(count);
    Ok(Found { rows: found, rest })
}

/// Behind every id.
const LAST_ID: &str = "~";

/// The smallest id after this one: with the smallest character behind it.
pub(crate) fn after(id: &str) -> String {
    format!("{id}\u{1}")
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
