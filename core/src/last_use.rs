//! When a root key was last used, as one process has seen it: noted in memory by every call, written to the store now
//! and then.
//!
//! It takes no part in mutations: it locks no workspace and is in no change feed. What a kill loses is the use of the
//! last seconds.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::calendar::{SECOND_MS, UnixMs};

/// Uses that are nearer to each other than this are one, so that parallel calls do not fight for the same memory.
const RESOLUTION_MS: i64 = SECOND_MS;

/// A last use, and which one is written.
#[derive(Debug, Default)]
pub struct LastUse {
    at: AtomicI64,
    written: AtomicI64,
}

impl LastUse {
    /// Notes a use at this Unix ms.
    pub(crate) fn note(&self, now: UnixMs) {
        if self.at() <= now.minus(RESOLUTION_MS) {
            self.at.store(now.get(), Ordering::Relaxed);
        }
    }

    /// Unix ms; 0 when this process has seen none.
    pub(crate) fn at(&self) -> UnixMs {
        UnixMs::new(self.at.load(Ordering::Relaxed))
    }

    /// The same, if it is not written yet.
    pub(crate) fn unwritten(&self) -> Option<UnixMs> {
        let at = self.at();
        (at.get() > self.written.load(Ordering::Relaxed)).then_some(at)
    }

    /// Notes that the use at this Unix ms is written.
    pub(crate) fn is_written(&self, at: UnixMs) {
        self.written.store(at.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_once_and_stays_known() {
        let used = LastUse::default();
        assert_eq!((used.at(), used.unwritten()), (UnixMs::EPOCH, None));
        used.note(UnixMs::new(5000));
        used.note(UnixMs::new(5999));
        assert_eq!(used.unwritten(), Some(UnixMs::new(5000)), "what is nearer than a second is one use");
        used.is_written(UnixMs::new(5000));
        assert_eq!(used.unwritten(), None);
        used.note(UnixMs::new(6000));
        assert_eq!((used.at(), used.unwritten()), (UnixMs::new(6000), Some(UnixMs::new(6000))));
    }
}
