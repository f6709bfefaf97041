//! When something was last used, as one process has seen it.

use std::sync::atomic::{AtomicI64, Ordering};

/// Uses that are nearer to each other than this are one, so that parallel calls do not fight for the same memory.
const RESOLUTION_MS: i64 = 1000;

/// A last use, and which one is written.
#[derive(Debug, Default)]
pub struct LastUse {
    at: AtomicI64,
    written: AtomicI64,
}

impl LastUse {
    /// Notes a use at this Unix ms.
    pub(crate) fn note(&self, now: i64) {
        if self.at() <= now.saturating_sub(RESOLUTION_MS) {
            self.at.store(now, Ordering::Relaxed);
        }
    }

    /// Unix ms; 0 when this process has seen none.
    pub(crate) fn at(&self) -> i64 {
        self.at.load(Ordering::Relaxed)
    }

    /// The same, if it is not written yet.
    pub(crate) fn unwritten(&self) -> Option<i64> {
        let at = self.at();
        (at > self.written.load(Ordering::Relaxed)).then_some(at)
    }

    /// Notes that the use at this Unix ms is written.
    pub(crate) fn is_written(&self, at: i64) {
        self.written.store(at, Ordering::Relaxed);
    }
}
