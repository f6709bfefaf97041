//! Write transactions, and whose turn it is to write.
//!
//! SQLite lets one connection write at a time, and one that comes too late asks again and again, with
//! pauses: beside a busy writer it may never hit a gap. So the writers of one process, the store's own and
//! that of deductions, queue for a turn, first come first served, and only other processes are asked again
//! and again: at short intervals, and without keeping the turn meanwhile.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AnyPool;
use sqlx::any::Any;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::write_fault::LastWrite;
use super::{ACQUIRE_TIMEOUT, Connection};
use crate::error::Error;

/// How long a writer asks for the lock that another process holds.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite itself asks, each time a writer does.
pub(super) const LOCK_ATTEMPT: Duration = Duration::from_millis(10);
/// How long a writer pauses before it asks anew.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The turn to write, which the writers of this process take one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<Mutex<()>>);

/// A turn that was taken; it ends when this is dropped.
pub(super) type Taken = OwnedMutexGuard<()>;

impl Turn {
    async fn take(&self) -> Result<Taken, sqlx::Error> {
        let taken = tokio::time::timeout(ACQUIRE_TIMEOUT, self.0.clone().lock_owned()).await;
        taken.map_err(|_| sqlx::Error::PoolTimedOut)
    }

    /// The same on a thread that runs no tasks.
    pub(super) fn take_blocking(&self) -> Taken {
        self.0.clone().blocking_lock_owned()
    }
}

/// A transaction to write with. Dropped without [`Transaction::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Transaction {
    // Before the turn: fields are dropped in order, and the next writer must not find this one unfinished.
    begun: sqlx::Transaction<'static, Any>,
    last_write: LastWrite,
    _turn: Option<Taken>,
}

impl Transaction {
    /// Begins on SQLite, with the write lock from the start: a deferred read-then-write would fail at once
    /// under contention.
    pub(super) async fn begin_in_turn(
        writers: &AnyPool,
        turn: &Turn,
        last_write: &LastWrite,
    ) -> Result<Transaction, Error> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            let taken = turn.take().await?;
            match writers.begin_with("BEGIN IMMEDIATE").await {
                Err(error) if is_locked(&error) && Instant::now() < deadline => drop(taken),
                begun => {
                    let begun = begun.inspect_err(|error| last_write.failed(sqlite_code(error)))?;
                    return Ok(Transaction { begun, last_write: last_write.clone(), _turn: Some(taken) });
                }
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// Begins on PostgreSQL, which has locks per row.
    pub(super) async fn begin(pool: &AnyPool, last_write: &LastWrite) -> Result<Transaction, Error> {
        Ok(Transaction { begun: pool.begin().await?, last_write: last_write.clone(), _turn: None })
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// Says whether nothing was changed or that this is not known.
    pub async fn commit(self) -> Result<(), Error> {
        let is_sqlite = self._turn.is_some();
        match self.begun.commit().await {
            Ok(()) => {
                self.last_write.worked();
                Ok(())
            }
            Err(error) => {
                if is_sqlite {
                    self.last_write.failed(sqlite_code(&error));
                }
                Err(Error::failed_commit(error)).inspect_err(|error| self.last_write.failed_with(error))
            }
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
        &self.begun
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.begun
    }
}
