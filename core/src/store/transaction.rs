//! Write transactions, and whose turn it is to write.
//!
//! SQLite lets one connection write at a time, and one that comes too late asks again and again, with
//! pauses: beside a busy writer it may never hit a gap. So the writers of one process, the store's own and
//! that of deductions, queue for a turn, first come first served, and only other processes are asked again
//! and again: at short intervals, and without keeping the turn meanwhile.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::Any;
use sqlx::{AnyPool, Connection as _, SqlSafeStr as _};
use sqlx_core::any::AnyTransactionManager as Manager;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::write_fault::LastWrite;
use super::{ACQUIRE_TIMEOUT, Connection, connect_sqlite};
use crate::error::Error;

/// How long a writer asks for the lock that another process holds.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite itself asks, each time a writer does.
pub(super) const LOCK_ATTEMPT: Duration = Duration::from_millis(10);
/// How long a writer pauses before it asks anew.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Where transactions to write with come from.
#[derive(Debug, Clone)]
pub(super) enum Writers {
    Sqlite(Turn),
    Postgres(AnyPool),
}

impl Writers {
    /// Closes the connections once nobody writes.
    pub(super) async fn close(&self) {
        match self {
            Writers::Sqlite(turn) => turn.end().await,
            Writers::Postgres(pool) => pool.close().await,
        }
    }
}

/// The turn to write to a SQLite file, which the writers of this process take one after the other.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    path: Arc<Path>,
    writer: Arc<Mutex<Writer>>,
}

/// A turn that was taken; it ends when this is dropped.
pub(super) type Taken = OwnedMutexGuard<Writer>;

/// The connection that the store's own writers use. They ask no pool for it, which would ask the connection for a sign
/// of life each time it comes back.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` before the first transaction, and after one on which the connection broke.
    connection: Option<Connection>,
    is_closed: bool,
}

impl Writer {
    /// A connection on which no transaction is open.
    async fn connection(&mut self, path: &Path) -> Result<&mut Connection, sqlx::Error> {
        if self.is_closed {
            return Err(sqlx::Error::PoolClosed);
        }
        // After a commit that failed because the disk was full, SQLite has ended the transaction and sqlx has
        // not: on that connection nothing could ever begin again.
        let usable = self.connection.take().filter(|connection| !connection.is_in_transaction());
        let connection = match usable {
            Some(connection) => connection,
            None => connect_sqlite(path, LOCK_ATTEMPT).await?,
        };
        Ok(self.connection.insert(connection))
    }
}

impl Turn {
    /// The turns to write to a file, and the connection to write with, which is opened now.
    pub(super) async fn open(path: &Path) -> Result<Turn, sqlx::Error> {
        let mut writer = Writer { connection: None, is_closed: false };
        writer.connection(path).await?;
        Ok(Turn { path: Arc::from(path), writer: Arc::new(Mutex::new(writer)) })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn take(&self) -> Result<Taken, sqlx::Error> {
        let taken = tokio::time::timeout(ACQUIRE_TIMEOUT, self.writer.clone().lock_owned()).await;
        taken.map_err(|_| sqlx::Error::PoolTimedOut)
    }

    async fn end(&self) {
        let mut writer = self.writer.lock().await;
        writer.is_closed = true;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the connection that writes did not close");
        }
    }

    /// The same on a thread that runs no tasks.
    pub(super) fn take_blocking(&self) -> Taken {
        self.writer.clone().blocking_lock_owned()
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
            Writers::Sqlite(turn) => {
                let begun = InTurn::begin(turn).await;
                Begun::Sqlite(begun.inspect_err(|error| last_write.failed(sqlite_code(error)))?)
            }
            // PostgreSQL has locks per row.
            Writers::Postgres(pool) => Begun::Postgres(pool.begin().await?),
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
            Err(error) => Err(Error::failed_commit(error)).inspect_err(|error| self.last_write.failed_with(error)),
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
    async fn begin(turn: &Turn) -> Result<InTurn, sqlx::Error> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            let mut begun = InTurn { turn: turn.take().await?, is_open: true };
            let connection = begun.turn.connection(turn.path()).await?;
            match Manager::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await {
                Ok(()) => return Ok(begun),
                Err(error) => {
                    begun.is_open = false;
                    if !is_locked(&error) || Instant::now() >= deadline {
                        return Err(error);
                    }
                }
            }
            drop(begun);
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        Manager::commit(self.connection_mut()).await?;
        self.is_open = false;
        Ok(())
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
