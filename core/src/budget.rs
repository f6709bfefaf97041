//! So many times per second, and no more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::calendar::{SECOND_MS, UnixMs};

/// What may happen so often in a second, whoever wants it.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u64,
    /// The second that is counted, and below its 16 bits how often it happened.
    state: AtomicU64,
}

impl Budget {
    /// At most 65,535 times per second.
    pub(crate) fn per_second(times: u16) -> Self {
        Budget { per_second: times.into(), state: AtomicU64::new(0) }
    }

    /// Takes one of a second's times, if there is one left.
    pub(crate) fn take(&self, now: UnixMs) -> bool {
        let second = now.get().div_euclid(SECOND_MS).unsigned_abs();
        let taken = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (counted, times) = (state >> 16, state & 0xffff);
            match (counted == second, times < self.per_second) {
                (true, false) => None,
                (true, true) => Some(state + 1),
                (false, _) => Some((second << 16) | 1),
            }
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_times_and_no_more() {
        let budget = Budget::per_second(20);
        let taken = |at| (0..100).filter(|_| budget.take(UnixMs::new(at))).count();
        assert_eq!((taken(1_000_500), taken(1_000_999), taken(1_001_000)), (20, 0, 20));
        assert_eq!(taken(1_000_000), 20, "a clock that was set back");
    }
}
