//! How the last write went, so that a full disk, or a database that takes none, is known before somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::Error;

/// Why the last write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it.
    DiskFull,
    /// A lock, permissions, a disk that is read-only or broken, a standby.
    Other,
}

impl WriteFault {
    /// From a result code of SQLite, extended or not: FULL, and `IOERR_WRITE`, which is what a limit for the size
    /// of files gives.
    fn of(code: Option<u32>) -> Self {
        match code {
            Some(code) if code & 0xff == 13 || code == 778 => WriteFault::DiskFull,
            _ => WriteFault::Other,
        }
    }

    /// From a SQLSTATE of PostgreSQL: `read_only_sql_transaction`, which a standby says too, and `disk_full`. Others are
    /// about a statement or a connection.
    pub(crate) fn of_postgres(state: &str) -> Option<Self> {
        match state {
            "25006" => Some(WriteFault::Other),
            "53100" => Some(WriteFault::DiskFull),
            _ => None,
        }
    }
}

/// How the last write went; clones are about the same.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWrite(Arc<AtomicU8>);

impl LastWrite {
    pub(super) fn worked(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// `code` is SQLite's result code, if there is one.
    pub(super) fn failed(&self, code: Option<u32>) {
        self.note(WriteFault::of(code));
    }

    /// Notes what an error says of writing, if it says anything.
    pub(super) fn failed_with(&self, error: &Error) {
        if let Some(fault) = error.write_fault() {
            self.note(fault);
        }
    }

    fn note(&self, fault: WriteFault) {
        let fault = match fault {
            WriteFault::DiskFull => 1,
            WriteFault::Other => 2,
        };
        self.0.store(fault, Ordering::Relaxed);
    }

    pub(super) fn fault(&self) -> Option<WriteFault> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(WriteFault::DiskFull),
            _ => Some(WriteFault::Other),
        }
    }
}
