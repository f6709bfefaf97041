//! Groups of deductions on SQLite: a connection of their own, called directly on the thread that owns it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, named_params};

use super::{Applied, Debit, Durability, Outcome};
use crate::calendar::Calendar;
use crate::error::Error;
use crate::store::failure::{sqlite_is_malformed, sqlite_is_unavailable, sqlite_refused_commit};
use crate::store::file::DatabaseFile;
use crate::store::last_write::LastWrite;
use crate::store::transaction::{LOCK_ATTEMPT, LOCK_PAUSE, LOCK_TIMEOUT, Taken, Turn};
use crate::store::{credits, refills};

/// The connection that deductions are made on.
#[derive(Debug)]
pub(crate) struct SqliteDebits {
    file: Option<Arc<DatabaseFile>>,
    durability: Durability,
    turn: Turn,
    last_write: LastWrite,
    connection: Option<Connection>,
}

impl SqliteDebits {
    /// With an open connection, if there can be one now: when the first group comes, there may be no file
    /// descriptor left for it.
    pub(in crate::store) fn new(
        file: Option<Arc<DatabaseFile>>,
        durability: Durability,
        turn: Turn,
        last_write: LastWrite,
    ) -> Self {
        let connection = open(turn.path(), durability)
            .inspect_err(|error| tracing::warn!(%error, "no connection for deductions yet"))
            .ok();
        SqliteDebits { file, durability, turn, last_write, connection }
    }

    /// Makes a group of deductions in one transaction, and returns once it is committed.
    ///
    /// # Errors
    /// Says whether nothing was changed or that this is not known.
    pub(crate) fn apply(&mut self, group: &[Debit]) -> Result<Applied, Error> {
        if let Some(file) = &self.file {
            file.check()?;
        }
        let connection = match self.connection.take() {
            Some(open) => open,
            None => open(self.turn.path(), self.durability).map_err(|error| self.failed(&error))?,
        };
        let applied = self.apply_on(&connection, group);
        // A connection that was opened while the file could not be written stays like that; one whose
        // transaction cannot be ended is of no use. A new one tells the truth.
        if applied.is_ok() || (connection.is_autocommit() && !is_read_only(&connection)) {
            self.connection = Some(connection);
        }
        applied
    }

    fn apply_on(&self, connection: &Connection, group: &[Debit]) -> Result<Applied, Error> {
        let _turn = begin(connection, &self.turn).map_err(|error| self.failed(&error))?;
        let outcomes: Result<Vec<Outcome>, _> = group.iter().map(|debit| deduct(connection, debit)).collect();
        let outcomes = outcomes.map_err(|error| {
            roll_back(connection);
            self.failed(&error)
        })?;
        let committing = Instant::now();
        connection.execute_batch("COMMIT").map_err(|error| {
            roll_back(connection);
            let refusal = self.failed(&error);
            let is_refused = code(&error).is_some_and(sqlite_refused_commit);
            if is_refused { refusal } else { Error::unknown_outcome(error) }
        })?;
        self.last_write.worked();
        Ok(Applied { outcomes, commit_took: committing.elapsed() })
    }

    /// Notes that a write failed, if it did so for want of the file: what callers read.
    fn failed(&self, error: &rusqlite::Error) -> Error {
        if code(error).is_some_and(sqlite_is_unavailable) {
            self.last_write.failed(code(error));
        }
        unavailable(error)
    }
}

fn open(path: &Path, durability: Durability) -> Result<Connection, rusqlite::Error> {
    // Never created here: deductions from an empty database would only look right.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_ATTEMPT)?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // The files beside it are opened by the first question.
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    Ok(connection)
}

fn is_read_only(connection: &Connection) -> bool {
    connection.is_readonly("main").unwrap_or(true)
}

/// Begins a transaction with the write lock; the turn lasts as long as it.
fn begin(connection: &Connection, turn: &Turn) -> Result<Taken, rusqlite::Error> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let taken = turn.take_blocking();
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if is_locked(&error) && Instant::now() < deadline => drop(taken),
            begun => return begun.map(|()| taken),
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

fn deduct(connection: &Connection, debit: &Debit) -> Result<Outcome, rusqlite::Error> {
    if let Some(calendar) = debit.refill {
        settle(connection, debit, calendar)?;
    }
    let mut deduct = connection.prepare_cached(credits::DEDUCT)?;
    let parameters = named_params! { "$1": &*debit.key_id, "$2": debit.cost };
    if let Some(left) = deduct.query_row(parameters, |row| row.get(0)).optional()? {
        return Ok(Outcome::Made(left));
    }
    let mut remaining = connection.prepare_cached(credits::REMAINING)?;
    let balance: Option<Option<i64>> =
        remaining.query_row(named_params! { "$1": &*debit.key_id }, |row| row.get(0)).optional()?;
    Ok(match balance {
        Some(Some(balance)) => Outcome::Refused(balance),
        Some(None) => Outcome::Unlimited,
        None => Outcome::NoBalance,
    })
}

/// What [`refills::settle_key`] does.
fn settle(connection: &Connection, debit: &Debit, calendar: Calendar) -> Result<(), rusqlite::Error> {
    let mut settle = connection.prepare_cached(&refills::SETTLE_KEY)?;
    let parameters = named_params! {
        "$1": calendar.today.number(), "$2": calendar.month_start.number(), "$3": calendar.month_days, "$4": calendar.reached_day,
        "$5": calendar.previous_start.number(), "$6": calendar.previous_days, "$7": &*debit.key_id,
    };
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?, row.get(3)?));
    let settled: Option<(i64, i64, i64)> = settle.query_row(parameters, read).optional()?;
    if let Some((amount, previous, remaining)) = settled.filter(|(_, previous, remaining)| previous != remaining) {
        let parameters = named_params! {
            "$1": &*debit.key_id, "$2": &*debit.workspace_id, "$3": calendar.today.number(), "$4": amount,
            "$5": previous, "$6": remaining,
        };
        connection.prepare_cached(refills::KEEP_FOR_AUDIT)?.execute(parameters)?;
    }
    Ok(())
}

fn roll_back(connection: &Connection) {
    // SQLite has done so already after some errors.
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "a group of deductions could not be rolled back; it ends with its connection");
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// What callers read when the database does not do what it was asked.
pub(crate) fn unavailable(error: &rusqlite::Error) -> Error {
    if code(error).is_some_and(sqlite_is_malformed) {
        Error::malformed_database(error)
    } else if code(error).is_some_and(sqlite_is_unavailable) {
        Error::database_unavailable(error)
    } else {
        Error::unexpected(error)
    }
}

/// The extended result code of SQLite.
fn code(error: &rusqlite::Error) -> Option<u32> {
    error.sqlite_error().and_then(|error| u32::try_from(error.extended_code).ok())
}
