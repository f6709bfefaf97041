//! SQLite files as wholes: a consistent copy of one that others write, a check of its structure, what it holds.
//!
//! The copy is made with SQLite's online backup, under a read transaction that is held from the first page to the
//! last. Without it a copy begins anew whenever another process writes, and may never end; with it the copy is of one
//! moment and writers wait for nothing. What they write meanwhile stays in the write-ahead log until the copy is made.
//! (`VACUUM INTO` would do as well, but says nothing of its progress.)

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::{Deserialize, Serialize};

use super::file::cannot_open;
use crate::error::Error;
use crate::files;

/// Pages between two calls of `progress`.
const PAGES_PER_STEP: i32 = 1000;
/// Faults that a check names at most.
const MOST_FAULTS: usize = 10;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a workspace stands: how often it was changed, and the end of its audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// `ws_…`
    pub workspace_id: String,
    /// For people.
    pub name: String,
    /// How many changes were made in it.
    pub generation: i64,
    /// Place of the newest audit entry; 0 when there is none.
    pub audit_sequence: i64,
    /// Its hash.
    pub audit_hash: String,
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Copies a database that others may write meanwhile into a new file, for its owner alone. `progress` hears how many
/// pages are copied, and of how many.
///
/// # Errors
/// When one of the files cannot be read or written.
pub fn copy(from: &Path, to: &Path, mut progress: impl FnMut(i32, i32)) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| cannot_open(from, &error);
    let source = open(from).map_err(failed)?;
    // The snapshot begins with the first thing that is read.
    source.execute_batch("BEGIN").map_err(failed)?;
    source.query_row("SELECT COUNT(*) FROM sqlite_master", (), |_| Ok(())).map_err(failed)?;
    let made = files::private(std::fs::File::options().create_new(true).write(true)).open(to);
    let file = made.map_err(|error| cannot_open(to, &error))?;
    let mut target = open(to).map_err(|error| cannot_open(to, &error))?;
    // One flush at the end makes it last; a copy that was cut off is none.
    for pragma in ["journal_mode", "synchronous"] {
        target.pragma_update(None, pragma, "OFF").map_err(failed)?;
    }
    {
        let backup = Backup::new(&source, &mut target).map_err(failed)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(failed)?;
            let reached = backup.progress();
            progress(reached.pagecount - reached.remaining, reached.pagecount);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    drop(target);
    file.sync_all().map_err(|error| cannot_open(to, &error))
}

/// Checks the structure of a database for as long as `limit`: what is wrong, at most ten things; `None` when that was
/// not long enough.
///
/// # Errors
/// When it cannot be read at all.
pub fn quick_check(path: &Path, limit: Duration) -> Result<Option<Vec<String>>, Error> {
    let failed = |error: rusqlite::Error| cannot_open(path, &error);
    let connection = open(path).map_err(failed)?;
    let (interrupt, (done, wait)) = (connection.get_interrupt_handle(), std::sync::mpsc::channel::<()>());
    let clock = std::thread::spawn(move || {
        // An end of the check is an error here, too: its sender is gone.
        if wait.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let found = faults(&connection);
    drop(done);
    if clock.join().is_err() {
        tracing::warn!("the clock of a check ended early");
    }
    match found {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(None),
        found => found.map(Some).map_err(failed),
    }
}

fn faults(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut check = connection.prepare(&format!("PRAGMA quick_check({MOST_FAULTS})"))?;
    let found: Result<Vec<String>, _> = check.query_map((), |row| row.get(0))?.collect();
    let mut found = found?;
    found.retain(|fault| fault != "ok");
    Ok(found)
}

/// Where the workspaces of a database stand, oldest first. Of a database of any version.
///
/// # Errors
/// When it cannot be read, or is none of Keyrack's.
pub fn heads(path: &Path) -> Result<Vec<Head>, Error> {
    let read = || {
        let connection = open(path)?;
        let mut select = connection.prepare(
            "SELECT w.id, w.name, w.generation, COALESCE(l.sequence, a.sequence, 0), COALESCE(l.hash, a.hash, '') \
             FROM workspaces w LEFT JOIN audit_anchors a ON a.workspace_id = w.id \
             LEFT JOIN audit_logs l ON l.workspace_id = w.id AND l.sequence = \
             (SELECT MAX(sequence) FROM audit_logs WHERE workspace_id = w.id) ORDER BY w.created_at, w.id",
        )?;
        let head = |row: &rusqlite::Row<'_>| {
            Ok(Head {
                workspace_id: row.get(0)?,
                name: row.get(1)?,
                generation: row.get(2)?,
                audit_sequence: row.get(3)?,
                audit_hash: row.get(4)?,
            })
        };
        let heads: Result<Vec<Head>, rusqlite::Error> = select.query_map((), head)?.collect();
        heads
    };
    read().map_err(|error| cannot_open(path, &error))
}

/// Brings a database, which nobody else has open, into its one file: afterwards nothing stands beside it that
/// belongs to it. False: it is malformed, and stays as it is.
///
/// # Errors
/// When it cannot be read or written, or another program has it open.
pub fn fold(path: &Path) -> Result<bool, Error> {
    let fold = || {
        let connection = open(path)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", (), |row| row.get(0))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok::<_, rusqlite::Error>(mode == "delete")
    };
    match fold() {
        Ok(true) => Ok(true),
        Ok(false) => Err(cannot_open(path, &"another program has it open")),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(false),
            _ => Err(cannot_open(path, &error)),
        },
    }
}
