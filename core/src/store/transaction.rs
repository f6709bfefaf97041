//! Write transactions, and whose turn it is to write.
//!
//! SQLite lets one connection write at a time, and one that comes too late asks again and again, with
//! pauses: beside a busy writer it may never hit a gap. So the writers of one process, the store's own and
//! that of deductions, take turns, and only other processes are asked again
//! and again: at short intervals, and without keeping the turn meanwhile.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::last_write::LastWrite;
use super::{ACQUIRE_TIMEOUT, Connection, connect_sqlite};
use crate::error::Error;
use crate::store::failure::failed_commit;
use crate::turns::{self, Place, Turns};
use sqlx::any::Any;
use sqlx::{AnyPool, Connection as _, SqlSafeStr as _};
use sqlx_core::any::AnyTransactionManager as Manager;
use sqlx_core::transaction::TransactionManager as _;

/// How long a writer asks for the lock that another process holds.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite itself asks, each time a writer does.
pub(super) const LOCK_ATTEMPT: Duration = Duration::from_millis(10);
/// How long a writer pauses before it asks anew.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Where transactions to write with come from.
#[derive(Clone)]
pub(super) enum Writers {
    Sqlite(Turn),
    /// The URL may hold a password.
    Postgres {
        pool: AnyPool,
        url: String,
    },
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Writers::Sqlite(_) => "Sqlite",
            Writers::Postgres { .. } => "Postgres",
        })
    }
}

impl Writers {
    /// Closes the connections once nobody writes.
    pub(super) async fn close(&self) {
        match self {
            Writers::Sqlite(turn) => turn.end().await,
            Writers::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// The turn to write to a SQLite file, which the writers of this process take one after the other.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    path: Arc<Path>,
    writer: Arc<Turns<Writer>>,
}

/// A turn that was taken; it ends when this is dropped.
pub(super) type Taken = turns::Taken<Writer>;

/// The connection that the store's own writers use. They ask no pool for it, which would ask the connection for a sign
/// of life each time it comes back.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` after a transaction that could not begin or be committed, and after a write that failed.
    connection: Option<Connection>,
    is_closed: bool,
}

impl Writer {
    /// A connection on which no transaction is open.
    async fn connection(&mut self, path: &Path) -> Result<&mut Connection, sqlx::Error> {
        if self.is_closed {
            return Err(sqlx::Error::PoolClosed);
        }
        let mut kept = self.connection.take();
        let is_usable = match &mut kept {
            Some(kept) => is_usable(kept).await,
            None => false,
        };
        let connection = match kept {
            Some(kept) if is_usable => kept,
            // A disk that hangs must not keep the turn.
            _ => tokio::time::timeout(LOCK_TIMEOUT, connect_sqlite(path, LOCK_ATTEMPT))
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)??,
        };
        Ok(self.connection.insert(connection))
    }
}

/// Whether a transaction can begin on a connection. The last one may be waiting to be rolled back, and what is asked is
/// answered after that. After a commit that failed because the disk was full, SQLite has ended the transaction and sqlx
/// has not: there nothing could ever begin again.
async fn is_usable(connection: &mut Connection) -> bool {
    !connection.is_in_transaction() || (connection.ping().await.is_ok() && !connection.is_in_transaction())
}

impl Turn {
    /// The turns to write to a file, and the connection to write with, which is opened now.
    pub(super) async fn open(path: &Path) -> Result<Turn, sqlx::Error> {
        let mut writer = Writer { connection: None, is_closed: false };
        writer.connection(path).await?;
        Ok(Turn { path: Arc::from(path), writer: Arc::new(Turns::of(writer)) })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn take(&self) -> Result<Taken, sqlx::Error> {
        let taken = tokio::time::timeout(ACQUIRE_TIMEOUT, self.writer.take(Place::Line)).await;
        taken.ok().and_then(Result::ok).ok_or(sqlx::Error::PoolTimedOut)
    }

    /// Takes the turn for deductions, on a thread that runs no tasks: before all changes that wait, since requests wait
    /// for it that change nothing else.
    pub(super) fn take_blocking(&self) -> Taken {
        self.writer.take_blocking()
    }

    /// Closes the connection; no other is opened.
    async fn end(&self) {
        let Ok(mut writer) = self.writer.take(Place::First).await else { return };
        writer.is_closed = true;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the connection that writes did not close");
        }
    }
}

/// A transaction to write with. Dropped without [`Transaction::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Transaction {
    begun: Begun,
    last_write: LastWrite,
}

#[derive(Debug)]
enum Begun {
    Sqlite(InTurn),
    Postgres(sqlx::Transaction<'static, Any>),
}

impl Transaction {
    pub(super) async fn begin(writers: &Writers, last_write: &LastWrite) -> Result<Transaction, Error> {
        let begun = match writers {
            Writers::Sqlite(turn) => Begun::Sqlite(InTurn::begin(turn, last_write).await?),
            // PostgreSQL has locks per row.
            Writers::Postgres { pool, .. } => Begun::Postgres(pool.begin().await?),
        };
        Ok(Transaction { begun, last_write: last_write.clone() })
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// Says whether nothing was changed or that this is not known.
    pub async fn commit(self) -> Result<(), Error> {
        let committed = match self.begun {
            Begun::Sqlite(begun) => {
                begun.commit().await.inspect_err(|error| self.last_write.failed(sqlite_code(error)))
            }
            Begun::Postgres(begun) => begun.commit().await,
        };
        match committed {
            Ok(()) => {
                self.last_write.worked();
                Ok(())
            }
            Err(error) => Err(failed_commit(error)).inspect_err(|error| self.last_write.failed_with(error)),
        }
    }
}

/// A transaction on the connection of whose turn it is.
#[derive(Debug)]
struct InTurn {
    turn: Taken,
    is_open: bool,
}

impl InTurn {
    /// Begins with the write lock from the start: a deferred read-then-write would fail at once under contention.
    async fn begin(turn: &Turn, last_write: &LastWrite) -> Result<InTurn, sqlx::Error> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            let mut begun = InTurn { turn: turn.take().await?, is_open: true };
            if last_write.fault().is_some() {
                // One that was opened while the file could not be written stays like that.
                begun.turn.connection = None;
            }
            match begun.try_to_begin(turn.path()).await {
                Ok(()) => return Ok(begun),
                Err(error) if is_locked(&error) && Instant::now() < deadline => begun.is_open = false,
                Err(error) => {
                    begun.turn.connection = None;
                    if !begun.turn.is_closed {
                        last_write.failed(sqlite_code(&error));
                    }
                    return Err(error);
                }
            }
            drop(begun);
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    async fn try_to_begin(&mut self, path: &Path) -> Result<(), sqlx::Error> {
        let connection = self.turn.connection(path).await?;
        Manager::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let committed = Manager::commit(self.connection_mut()).await;
        if committed.is_err() {
            self.turn.connection = None;
        }
        self.is_open = false;
        committed
    }

    #[expect(clippy::expect_used, reason = "it is taken from the writer only when none has begun")]
    fn connection(&self) -> &Connection {
        self.turn.connection.as_ref().expect("a transaction has a connection")
    }

    #[expect(clippy::expect_used, reason = "it is taken from the writer only when none has begun")]
    fn connection_mut(&mut self) -> &mut Connection {
        self.turn.connection.as_mut().expect("a transaction has a connection")
    }
}

impl Drop for InTurn {
    /// The connection is told before the turn ends: the next writer does not find this one unfinished.
    fn drop(&mut self) {
        if self.is_open
            && let Some(connection) = &mut self.turn.connection
        {
            Manager::start_rollback(connection);
        }
    }
}

/// Whether another process holds the lock.
fn is_locked(error: &sqlx::Error) -> bool {
    sqlite_code(error).is_some_and(|code| code & 0xff == 5)
}

/// The extended result code of SQLite.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.begun {
            Begun::Sqlite(begun) => begun.connection(),
            Begun::Postgres(begun) => begun,
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.begun {
            Begun::Sqlite(begun) => begun.connection_mut(),
            Begun::Postgres(begun) => begun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turn_of(path: &Path) -> Turn {
        sqlx::any::install_default_drivers();
        rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE facts (name TEXT)").unwrap();
        Turn::open(path).await.unwrap()
    }

    async fn mark(begun: &mut InTurn, mark: i64) {
        let text = sqlx::AssertSqlSafe(format!("PRAGMA cache_size = {mark}"));
        sqlx::query(text).execute(begun.connection_mut()).await.unwrap();
    }

    async fn marked(begun: &mut InTurn) -> i64 {
        sqlx::query_scalar("PRAGMA cache_size").fetch_one(begun.connection_mut()).await.unwrap()
    }

    #[tokio::test]
    async fn a_change_that_was_given_up_leaves_nothing_and_its_connection_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (turn, last_write) = (turn_of(&folder.path().join("a.db")).await, LastWrite::default());
        let mut first = InTurn::begin(&turn, &last_write).await.unwrap();
        mark(&mut first, -777).await;
        first.commit().await.unwrap();
        for _ in 0..50 {
            let mut begun = InTurn::begin(&turn, &last_write).await.unwrap();
            assert_eq!(marked(&mut begun).await, -777);
            sqlx::query("INSERT INTO facts VALUES ('x')").execute(begun.connection_mut()).await.unwrap();
            drop(begun);
        }
        let mut last = InTurn::begin(&turn, &last_write).await.unwrap();
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM facts").fetch_one(last.connection_mut()).await.unwrap();
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn after_a_write_that_failed_the_next_one_has_a_connection_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (turn, last_write) = (turn_of(&folder.path().join("a.db")).await, LastWrite::default());
        let mut first = InTurn::begin(&turn, &last_write).await.unwrap();
        mark(&mut first, -777).await;
        first.commit().await.unwrap();
        last_write.failed(Some(8));
        let mut second = InTurn::begin(&turn, &last_write).await.unwrap();
        assert_ne!(marked(&mut second).await, -777);
    }

    #[tokio::test]
    async fn a_closed_turn_opens_no_other_connection() {
        let folder = tempfile::tempdir().unwrap();
        let turn = turn_of(&folder.path().join("a.db")).await;
        turn.end().await;
        let last_write = LastWrite::default();
        assert!(matches!(InTurn::begin(&turn, &last_write).await, Err(sqlx::Error::PoolClosed)));
        assert_eq!(last_write.fault(), None, "that says nothing of the disk");
    }
}
