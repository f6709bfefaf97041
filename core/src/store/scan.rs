//! Reading whole tables, row by row: how a start reads millions of rows in seconds, keeping none of them.
//!
//! SQLite is read with its own binding, on a thread per scan: the way through a pool would cost more per row
//! than all that is done with it.

use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rusqlite::OpenFlags;
use rusqlite::types::ValueRef;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::deadline::within;
use super::{Connection, Location, Store};
use crate::error::Error;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long PostgreSQL may take for the next row. What takes longer is a connection that leads nowhere.
const ROW_TIMEOUT: Duration = Duration::from_secs(60);
/// More threads than that are not worth their connections.
const MOST_PARTS: usize = 8;

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

/// What collects the rows of a scan.
pub(crate) trait Collector: Send + 'static {
    /// Takes what it wants of a row.
    ///
    /// # Errors
    /// When the row cannot be read.
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error>;

    /// Is told of a row that it could not read.
    fn left_out(&mut self, row: &Row<'_>, error: &Error);

    /// Takes what it wants of a row, or leaves it out.
    fn show(&mut self, row: &Row<'_>) {
        if let Err(error) = self.take(row) {
            self.left_out(row, &error);
        }
    }
}

impl Store {
    /// Shows every row of a query without parameters to `collector`, and gives it back.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn scan<C: Collector>(&self, query: String, mut collector: C) -> Result<C, Error> {
        match &self.location {
            Location::Sqlite(path) => {
                let path = path.clone();
                let read = move || -> Result<C, rusqlite::Error> {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
                    connection.busy_timeout(BUSY_TIMEOUT)?;
                    let mut statement = connection.prepare(&query)?;
                    let mut rows = statement.query(())?;
                    while let Some(row) = rows.next()? {
                        collector.show(&Row::Sqlite(row));
                    }
                    Ok(collector)
                };
                let outcome = tokio::task::spawn_blocking(read).await.map_err(Error::unexpected)?;
                outcome.map_err(|error| super::debits::unavailable(&error))
            }
            Location::Postgres(_) => {
                let mut connection = self.read().await?;
                let outcome = show_rows(&mut connection, query, &mut collector).await;
                if outcome.is_err() {
                    drop(connection.detach());
                }
                outcome.map(|()| collector)
            }
        }
    }

    /// Conditions that divide the rows of a table, which a query calls `alias`, into parts of about the same
    /// size, one for each core to read. PostgreSQL has cores of its own: there is one part.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn parts(&self, table: &str, alias: &str) -> Result<Vec<String>, Error> {
        if let Location::Postgres(_) = &self.location {
            return Ok(vec!["TRUE".to_owned()]);
        }
        let ends = format!("SELECT MIN(rowid), MAX(rowid) FROM {table}");
        let Ends(ends) = self.scan(ends, Ends(None)).await?;
        let (first, last) =
            ends.ok_or_else(|| Error::unexpected(format!("the rows of {table} cannot be numbered")))?;
        let count = available_parallelism().map_or(1, usize::from).min(MOST_PARTS);
        let rows = last.saturating_sub(first) / i64::try_from(count).unwrap_or(1) + 1;
        let part = |at: i64| {
            let from = first.saturating_add(at.saturating_mul(rows));
            format!("{alias}.rowid >= {from} AND {alias}.rowid < {}", from.saturating_add(rows))
        };
        Ok((0..).map(part).take(count).collect())
    }
}

async fn show_rows(
    connection: &mut Connection,
    query: String,
    collector: &mut impl Collector,
) -> Result<(), Error> {
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch(connection);
    while let Some(row) = within(ROW_TIMEOUT, async { Ok(rows.try_next().await?) }).await? {
        collector.show(&Row::Postgres(&row));
    }
    Ok(())
}

/// The first and the last row id of a table, 0 when it is empty.
struct Ends(Option<(i64, i64)>);

impl Collector for Ends {
    fn take(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.0 = Some((row.number_or_null(0)?.unwrap_or(0), row.number_or_null(1)?.unwrap_or(0)));
        Ok(())
    }

    /// Without them there are no parts.
    fn left_out(&mut self, _: &Row<'_>, _: &Error) {}
}
