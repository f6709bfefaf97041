//! When a root key was last used, as one process has seen it: noted in memory by every call, written to the store now
//! and then.
//!
//! It takes no part in mutations: it locks no workspace and is in no change feed. What a kill loses is the use of the
//! last seconds.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_once_and_stays_known() {
        let used = LastUse::default();
        assert_eq!((used.at(), used.unwritten()), (0, None));
        used.note(5000);
        used.note(5999);
        assert_eq!(used.unwritten(), Some(5000), "what is nearer than a second is one use");
        used.is_written(5000);
        assert_eq!(used.unwritten(), None);
        used.note(6000);
        assert_eq!((used.at(), used.unwritten()), (6000, Some(6000)));
    }
}
