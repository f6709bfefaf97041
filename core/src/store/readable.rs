//! Rows that mean nothing: written by a newer program, restored from a damaged dump, or changed by hand.
//!
//! Whoever reads all rows of a table leaves such a row out, so that it stops nothing else, and says so once. What the
//! row describes is then not there, and what is not there is refused.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use sqlx::Row as _;
use sqlx::any::AnyRow;

/// Rows that are remembered as said: far more than anybody reads about.
const MOST_SAID: usize = 10_000;

static SAID: LazyLock<Mutex<HashSet<(&'static str, String)>>> = LazyLock::new(Mutex::default);

/// Says of a row that it is left out, once per process.
pub(crate) fn left_out(kind: &'static str, id: &str, reason: &str) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < MOST_SAID && said.insert((kind, id.to_owned())) {
        tracing::error!(kind, id, reason, "a row cannot be read and is left out: what it describes is refused");
    }
}

/// Those of these rows that can be read.
pub(super) fn readable<T>(
    rows: &[AnyRow],
    kind: &'static str,
    read: impl Fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Vec<T> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(thing) => found.push(thing),
            Err(error) => left_out(kind, &row.try_get::<String, _>("id").unwrap_or_default(), &error.to_string()),
        }
    }
    found
}

/// The error of a value that has the right type and means nothing.
pub(super) fn meaningless(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

/// A number that is absent, or within a range.
pub(super) fn within(
    row: &AnyRow,
    column: &'static str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    match number {
        Some(number) if !range.contains(&number) => Err(meaningless(column)),
        fine => Ok(fine),
    }
}
