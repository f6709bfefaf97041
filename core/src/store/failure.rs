//! What failures of the two engines mean: which of them are about the database and not about a statement, which say
//! that nothing was changed, and which say something of writing.

use crate::error::{Code, Error, WriteFault};

/// A commit that failed: only some of the reasons tell that nothing was changed.
pub(super) fn failed_commit(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    // PostgreSQL: serialization, deadlock.
    let is_refused =
        sqlite_code(&code).is_some_and(sqlite_refused_commit) || code.len() == 5 && code.starts_with("40");
    let write_fault = postgres_write_fault(&code);
    let failed = if is_refused { Error::database_unavailable(error) } else { Error::unknown_outcome(error) };
    failed.telling_of_writes(write_fault)
}

impl From<sqlx::Error> for Error {
    /// A store that does not answer is a 503, so that clients try again; anything else is a fault of ours.
    fn from(error: sqlx::Error) -> Self {
        if error.as_database_error().and_then(|e| e.code()).as_deref() == Some("22021") {
            // PostgreSQL cannot store it; every other character is fine.
            return Error::new(Code::InvalidInput, "Texts must not hold the character U+0000. Remove it.");
        }
        let code = error.as_database_error().and_then(|e| e.code());
        if code.and_then(|code| sqlite_code(&code)).is_some_and(sqlite_is_malformed) {
            return Error::malformed_database(error);
        }
        let state = error.as_database_error().and_then(|e| e.code());
        if let Some(write_fault) = state.and_then(|state| postgres_write_fault(&state)) {
            return Error::database_unavailable(error).telling_of_writes(Some(write_fault));
        }
        let busy = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
            sqlite_code(&code).is_some_and(sqlite_is_unavailable)
                // PostgreSQL: serialization and deadlock, connection, resources, shutdown, a lock that is not free.
                || ["08", "40", "53", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || code == "55P03"
        });
        // A protocol error is a proxy or a server in the middle of a failover that hung up.
        let unreachable = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        );
        if busy || unreachable { Error::database_unavailable(error) } else { Error::unexpected(error) }
    }
}

/// A result code of SQLite; the codes of PostgreSQL have five characters, which may all be digits.
fn sqlite_code(code: &str) -> Option<u32> {
    if code.len() < 5 { code.parse().ok() } else { None }
}

/// Whether a result code of SQLite, extended or not, is about the file or its lock and not about a statement:
/// BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB.
pub(crate) fn sqlite_is_unavailable(code: u32) -> bool {
    matches!(code & 0xff, 5 | 6 | 8 | 10 | 11 | 13 | 14 | 26)
}

/// Whether a result code of SQLite, extended or not, says that the file is damaged: CORRUPT, NOTADB.
pub(crate) fn sqlite_is_malformed(code: u32) -> bool {
    matches!(code & 0xff, 11 | 26)
}

/// Whether a commit that ended with this result code of SQLite, extended or not, was refused before it was
/// written: BUSY, READONLY, FULL, and `IOERR_WRITE`, since the last page of a commit is what makes it one.
pub(super) fn sqlite_refused_commit(code: u32) -> bool {
    const IOERR_WRITE: u32 = 778;
    matches!(code & 0xff, 5 | 8 | 13) || code == IOERR_WRITE
}

/// What a result code of SQLite, extended or not, says of writing: FULL, and `IOERR_WRITE`, which is what a limit for
/// the size of files gives.
pub(super) fn sqlite_write_fault(code: Option<u32>) -> WriteFault {
    match code {
        Some(code) if code & 0xff == 13 || code == 778 => WriteFault::DiskFull,
        _ => WriteFault::Other,
    }
}

/// What a SQLSTATE of PostgreSQL says of writing: `read_only_sql_transaction`, which a standby says too, and
/// `disk_full`. Others are about a statement or a connection.
fn postgres_write_fault(state: &str) -> Option<WriteFault> {
    match state {
        "25006" => Some(WriteFault::Other),
        "53100" => Some(WriteFault::DiskFull),
        _ => None,
    }
}
