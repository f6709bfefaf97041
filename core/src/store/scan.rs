//! Reading whole tables, row by row: how a start reads millions of rows in seconds, keeping none of them.
//!
//! SQLite is read with its own binding, on a thread: the way through a pool would cost more per row than all
//! that is done with it.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use rusqlite::OpenFlags;
use rusqlite::types::ValueRef;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Location, Store};
use crate::error::Error;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What SQLite may keep of the file while it is read.
const CACHE_KIB: i64 = 64 << 10;

/// A row while it is shown. Columns are counted from 0.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r AnyRow),
}

impl Row<'_> {
    /// A text; `None` for null.
    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<&str>, Error> {
        match self {
            Row::Sqlite(row) => match row.get_ref(column).map_err(Error::unexpected)? {
                ValueRef::Null => Ok(None),
                value => value.as_str().map(Some).map_err(Error::unexpected),
            },
            Row::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// A text that is never null.
    pub(crate) fn text(&self, column: usize) -> Result<&str, Error> {
        self.text_or_null(column)?.ok_or_else(|| Error::unexpected("a text is null"))
    }

    /// A number; `None` for null.
    pub(crate) fn number_or_null(&self, column: usize) -> Result<Option<i64>, Error> {
        match self {
            Row::Sqlite(row) => row.get(column).map_err(Error::unexpected),
            Row::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// A number that is never null.
    pub(crate) fn number(&self, column: usize) -> Result<i64, Error> {
        self.number_or_null(column)?.ok_or_else(|| Error::unexpected("a number is null"))
    }
}

impl Store {
    /// Shows every row of a query without parameters to `show`, which collects what it wants in `state`. A row
    /// that `show` cannot read is given to `left_out`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn scan<S: Send + 'static>(
        &self,
        query: &'static str,
        mut state: S,
        show: fn(&mut S, &Row<'_>) -> Result<(), Error>,
        left_out: fn(&mut S, &Row<'_>, &Error),
    ) -> Result<S, Error> {
        let show = move |state: &mut S, row: &Row<'_>| {
            if let Err(error) = show(state, row) {
                left_out(state, row, &error);
            }
        };
        match &self.location {
            Location::Sqlite(path) => {
                let path = path.clone();
                let read = move || -> Result<S, Error> {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(away)?;
                    connection.busy_timeout(BUSY_TIMEOUT).map_err(away)?;
                    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(away)?;
                    let mut statement = connection.prepare(query).map_err(away)?;
                    let mut rows = statement.query(()).map_err(away)?;
                    while let Some(row) = rows.next().map_err(away)? {
                        show(&mut state, &Row::Sqlite(row));
                    }
                    drop(rows);
                    drop(statement);
                    Ok(state)
                };
                tokio::task::spawn_blocking(read).await.map_err(Error::unexpected)?
            }
            Location::Postgres(_) => {
                let mut connection = self.read().await?;
                let mut rows = sqlx::query(query).fetch(&mut *connection);
                while let Some(row) = rows.try_next().await? {
                    show(&mut state, &Row::Postgres(&row));
                }
                drop(rows);
                Ok(state)
            }
        }
    }
}

fn away(error: rusqlite::Error) -> Error {
    super::debits::unavailable(&error)
}
