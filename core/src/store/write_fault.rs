//! How the last write to a SQLite file went, so that a full disk is known before somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why the last write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it.
    DiskFull,
    /// A lock, permissions, a disk that is read-only or broken.
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
        let fault = match WriteFault::of(code) {
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
