//! What this process knows of a key's balance: enough to refuse and to show without asking the store.
//!
//! Balances fall by deductions, which every process may make, and rise by two things only. Changes through
//! operations replace the key in memory, here before they are answered and elsewhere when the change feed
//! brings them, and with the key goes what was known of its balance. Refills happen once a day; what is
//! known of a balance with a refill counts only on the day for which that refill is settled. So what is
//! known is never below the truth for longer than the feed takes, and may be above it by what other
//! processes spend: it may refuse, but never allow, and after a second it is looked up again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::calendar::Day;

/// How long what is known may be shown. Changes of other processes take as long at most.
const FRESH: Duration = Duration::from_secs(1);

/// What is known of the balance of one key.
#[derive(Debug)]
pub struct KnownBalance {
    has_refill: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// With the day for which it is right; `None` when the refill of that day may be still to come.
    last: Option<(i64, Instant, Option<Day>)>,
    /// The day up to which the refill is known to be settled.
    settled_on: Option<Day>,
    /// How often deductions have changed this: what was read before one must not replace it.
    version: u32,
}

/// A balance as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) balance: i64,
    /// Whether it is still good enough to be shown.
    pub(crate) is_fresh: bool,
}

impl KnownBalance {
    /// Nothing is known yet of a balance with or without a refill.
    pub fn new(has_refill: bool) -> Self {
        KnownBalance { has_refill, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a deduction has to settle the refill of this day first.
    pub(crate) fn awaits_refill(&self, today: Day) -> bool {
        self.has_refill && self.known().settled_on != Some(today)
    }

    /// The balance as last seen, unless a refill may have changed it since.
    pub(crate) fn seen(&self, today: Day) -> Option<Seen> {
        let (balance, at, day) = self.known().last?;
        (!self.has_refill || day == Some(today)).then(|| Seen { balance, is_fresh: at.elapsed() < FRESH })
    }

    /// What [`KnownBalance::read`] asks for, from before the store is asked.
    pub(crate) fn version(&self) -> u32 {
        self.known().version
    }

    /// Notes what the store said that a deduction on this day would find, unless one came in between.
    pub(crate) fn read(&self, version: u32, balance: i64, today: Day) {
        let mut known = self.known();
        if known.version == version {
            known.last = Some((balance, Instant::now(), Some(today)));
        }
    }

    /// Notes what a deduction left, and the day for which it settled the refill.
    pub(crate) fn deducted(&self, balance: i64, settled_on: Option<Day>) {
        let mut known = self.known();
        known.version = known.version.wrapping_add(1);
        known.settled_on = settled_on.or(known.settled_on);
        known.last = Some((balance, Instant::now(), known.settled_on));
    }

    /// Notes that nothing is certain any more.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.version = known.version.wrapping_add(1);
        known.last = None;
        known.settled_on = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::UnixMs;

    fn day(number: i64) -> Day {
        Day::of(UnixMs::new(number * 86_400_000))
    }

    fn balance(known: &KnownBalance, today: Day) -> Option<i64> {
        known.seen(today).map(|seen| seen.balance)
    }

    #[test]
    fn a_refill_that_may_be_due_hides_what_was_seen() {
        let known = KnownBalance::new(true);
        known.deducted(5, None);
        assert_eq!(balance(&known, day(7)), None, "it may be from before the refill");
        assert!(known.awaits_refill(day(7)));
        known.read(known.version(), 6, day(7));
        assert_eq!(balance(&known, day(7)), Some(6), "what the store says of a day needs no second look that day");
        assert_eq!(balance(&known, day(8)), None);
        assert!(known.awaits_refill(day(7)), "looking settles nothing");
        known.deducted(4, Some(day(7)));
        assert_eq!(balance(&known, day(7)), Some(4));
        assert!(!known.awaits_refill(day(7)));
        known.deducted(3, None);
        assert_eq!(balance(&known, day(7)), Some(3));
        assert_eq!(balance(&known, day(8)), None, "the day has passed");
        assert_eq!(balance(&known, day(6)), None, "the clock went back");
        known.forget();
        assert!(known.awaits_refill(day(7)));
    }

    #[test]
    fn without_a_refill_the_day_does_not_matter() {
        let known = KnownBalance::new(false);
        assert!(!known.awaits_refill(day(7)));
        known.deducted(4, None);
        assert_eq!((balance(&known, day(7)), balance(&known, day(8))), (Some(4), Some(4)));
    }

    #[test]
    fn what_was_read_before_a_deduction_does_not_replace_what_it_left() {
        let known = KnownBalance::new(false);
        let version = known.version();
        known.deducted(4, None);
        known.read(version, 5, day(0));
        assert_eq!(balance(&known, day(0)), Some(4));
        known.read(known.version(), 3, day(0));
        assert_eq!(balance(&known, day(0)), Some(3));
        let version = known.version();
        known.forget();
        known.read(version, 2, day(0));
        assert_eq!(balance(&known, day(0)), None);
    }
}
