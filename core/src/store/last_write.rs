//! How the last write went, so that a full disk, or a database that takes none, is known before somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::failure::sqlite_write_fault;
use crate::error::{Error, WriteFault};

/// How the last write went; clones are about the same.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWrite(Arc<AtomicU8>);

impl LastWrite {
    pub(super) fn worked(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// `code` is SQLite's result code, if there is one.
    pub(super) fn failed(&self, code: Option<u32>) {
        self.note(sqlite_write_fault(code));
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
