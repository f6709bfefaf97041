//! The sliding window: one cell's counts, and the decision over them.
//!
//! Time is cut into windows of the limit's duration, aligned to the Unix epoch. A cell keeps
//! two counts, the current window's and the previous one's; the previous one fades out in
//! proportion to how much of the current window has passed:
//!
//! ```text
//! used = current + previous * (duration - elapsed) / duration      (rounded down)
//! pass if used + cost <= limit
//! ```
//!
//! Everything here is pure: a [`Window`] is a value, the clock is an argument, and nothing is
//! counted until the caller stores what [`Window::count`] returns. The limit is not part of the
//! window, so changing a limit keeps the count; the duration is, so changing it starts another
//! cell. Source of the formula: what the hosted API of Unkey answers; the worked examples are tests below.
//!
//! Arithmetic is exact: the weight is an integer division, and sums are made in 128 bits, so
//! that no cost can overflow its way past a limit.

use crate::calendar::MINUTE_MS;

/// How far back the clock may step while a window still holds on to its counts, in ms.
const TOLERATED_STEP_BACK_MS: i64 = MINUTE_MS;

/// The counts of one cell: which window they belong to and what was admitted in it and in the
/// one before. The default is a cell that was never used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Number of the current window: Unix time in ms divided by the duration, rounded down.
    pub sequence: i64,
    /// Cost admitted in the window `sequence`.
    pub current: i64,
    /// Cost admitted in the window `sequence - 1`.
    pub previous: i64,
}

/// The answer to one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether there was room for the cost.
    pub passed: bool,
    /// What is left after this check; 0 if it was denied. Never negative.
    pub remaining: i64,
    /// Unix time in ms at which the current window ends. Not the time at which a denied caller
    /// would pass: that may be sooner, or later while the previous window still weighs.
    pub reset_ms: i64,
}

impl Window {
    /// Decides on `cost` at `now_ms` without counting it. A check that fits exactly passes.
    ///
    /// A cost of 0 is a read: it passes as long as the limit is not exceeded already. A limit of
    /// 0 denies every cost above 0. Out-of-range input never admits anything: a negative cost
    /// counts as 0, a duration below 1 ms as 1 ms.
    #[must_use]
    pub fn decide(self, now_ms: i64, limit: i64, duration_ms: i64, cost: i64) -> Decision {
        let after = self.used(now_ms, duration_ms) + i128::from(cost.max(0));
        let left = i128::from(limit) - after;
        Decision {
            passed: left >= 0,
            remaining: i64::try_from(left.max(0)).unwrap_or(i64::MAX),
            reset_ms: reset_ms(now_ms, duration_ms),
        }
    }

    /// What a check at `now_ms` would find left of `limit`, spending nothing. Never negative.
    #[must_use]
    pub fn remaining(self, now_ms: i64, limit: i64, duration_ms: i64) -> i64 {
        self.decide(now_ms, limit, duration_ms, 0).remaining
    }

    /// The first Unix ms, `now_ms` or later, at which `cost` passes if nothing is counted until then; `None` for a cost
    /// beyond the limit, which never does.
    #[must_use]
    pub fn passes_from_ms(self, now_ms: i64, limit: i64, duration_ms: i64, cost: i64) -> Option<i64> {
        let passes = |at_ms| self.decide(at_ms, limit, duration_ms, cost).passed;
        if passes(now_ms) {
            return Some(now_ms);
        }
        // What is counted only fades. All of it has when the window after the last one that is kept is over.
        let last = self.sequence.max(sequence(now_ms, duration_ms));
        let (mut refused, mut passed) = (now_ms, last.saturating_add(2).saturating_mul(duration_ms.max(1)));
        if !passes(passed) {
            return None;
        }
        while passed - refused > 1 {
            let middle = refused + (passed - refused) / 2;
            if passes(middle) { passed = middle } else { refused = middle }
        }
        Some(passed)
    }

    /// The window after admitting `cost` at `now_ms`. A cost of 0 or less changes nothing.
    ///
    /// Time usually moves forward and older counts fall out. When it moves backward (threads
    /// that read the clock just before the window turned, or a corrected clock), nothing already
    /// counted is lost: the cost goes to the previous window, which it belongs to. Only a clock
    /// that falls behind the kept windows by more than a minute starts the cell anew, because
    /// holding on would deny callers until time has caught up.
    #[must_use]
    pub fn count(self, now_ms: i64, duration_ms: i64, cost: i64) -> Self {
        if cost <= 0 {
            return self;
        }
        let mut window = self.rolled(now_ms, duration_ms);
        if window.sequence > sequence(now_ms, duration_ms) {
            window.previous = window.previous.saturating_add(cost);
        } else {
            window.current = window.current.saturating_add(cost);
        }
        window
    }

    /// Whether the cell can be forgotten at `now_ms` without changing any later decision:
    /// nothing is counted, or both windows are over. Windows ahead of the clock are not over.
    #[must_use]
    pub fn is_over(self, now_ms: i64, duration_ms: i64) -> bool {
        self.is_empty() || self.sequence < sequence(now_ms, duration_ms).saturating_sub(1)
    }

    /// The cost that weighs at `now_ms`. At most twice `i64::MAX`, hence the wider type.
    pub(super) fn used(self, now_ms: i64, duration_ms: i64) -> i128 {
        let window = self.rolled(now_ms, duration_ms);
        if window.sequence > sequence(now_ms, duration_ms) {
            // The window before the previous one is not kept. Close behind a boundary, where
            // this happens, it would have weighed next to nothing.
            return i128::from(window.previous);
        }
        let duration = i128::from(duration_ms.max(1));
        let left = duration - i128::from(now_ms).rem_euclid(duration);
        i128::from(window.current) + i128::from(window.previous) * left / duration
    }

    /// The window moved to `now_ms`, or unmoved if it is ahead of that by a tolerable step.
    fn rolled(self, now_ms: i64, duration_ms: i64) -> Self {
        let now = sequence(now_ms, duration_ms);
        let empty = Self { sequence: now, current: 0, previous: 0 };
        match self.sequence.saturating_sub(now) {
            0 => self,
            -1 => Self { previous: self.current, ..empty },
            _ if self.is_empty() => empty,
            1 => self,
            ahead if ahead > 1 => {
                let previous_start = (self.sequence - 1).saturating_mul(duration_ms.max(1));
                let step_back = previous_start.saturating_sub(now_ms);
                if step_back > TOLERATED_STEP_BACK_MS { empty } else { self }
            }
            _ => empty,
        }
    }

    fn is_empty(self) -> bool {
        self.current == 0 && self.previous == 0
    }
}

/// Unix time in ms at which the window around `now_ms` ends.
#[must_use]
pub fn reset_ms(now_ms: i64, duration_ms: i64) -> i64 {
    let duration = duration_ms.max(1);
    sequence(now_ms, duration).saturating_add(1).saturating_mul(duration)
}

/// Number of the window around `now_ms`.
#[must_use]
pub fn sequence(now_ms: i64, duration_ms: i64) -> i64 {
    now_ms.div_euclid(duration_ms.max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const D: i64 = 10_000;
    /// Start of some window in 2026.
    const START: i64 = 178_000_000 * D;
    const SEQUENCE: i64 = 178_000_000;

    fn window(previous: i64, current: i64) -> Window {
        Window { sequence: SEQUENCE, current, previous }
    }

    fn passes(remaining: i64) -> Decision {
        Decision { passed: true, remaining, reset_ms: START + D }
    }

    const DENIED: Decision = Decision { passed: false, remaining: 0, reset_ms: START + D };

    #[test]
    fn the_worked_examples_hold() {
        // (previous, current, elapsed ms, limit, cost, answer)
        for (previous, current, elapsed, limit, cost, answer) in [
            (0, 0, 0, 10, 1, passes(9)),
            (0, 0, 9_999, 10, 1, passes(9)),
            (0, 9, 5_000, 10, 1, passes(0)),
            (0, 10, 5_000, 10, 0, passes(0)),
            (0, 10, 5_000, 10, 1, DENIED),
            (10, 5, 5_000, 10, 1, DENIED),
            (10, 5, 9_900, 10, 1, passes(4)),
            (0, 0, 0, 10, 100, DENIED),
            (0, 0, 0, 10, 1, passes(9)),
            (10, 0, 0, 10, 1, DENIED),
            (10, 0, 1_000, 10, 1, passes(0)),
            (0, 5, 5_000, 3, 0, DENIED),
            (0, 4, 0, 10, 7, DENIED),
            (0, 4, 0, 10, 6, passes(0)),
            (3, 0, 5_000, 10, 0, passes(9)),
            (10, 0, 9_000, 10, 0, passes(9)),
        ] {
            let decision = window(previous, current).decide(START + elapsed, limit, D, cost);
            assert_eq!(decision, answer, "{previous} {current} after {elapsed} ms, {cost} of {limit}");
        }
    }

    #[test]
    fn a_limit_of_zero_denies_every_cost() {
        for cost in [1, 2, i64::MAX] {
            assert_eq!(Window::default().decide(START, 0, D, cost), DENIED);
        }
        assert_eq!(Window::default().decide(START, 0, D, 0), passes(0));
    }

    #[test]
    fn huge_costs_and_counts_deny_instead_of_overflowing() {
        let full = window(i64::MAX, i64::MAX);
        assert_eq!(full.decide(START, i64::MAX, D, i64::MAX), DENIED);
        assert_eq!(window(0, i64::MAX).decide(START, i64::MAX, D, 1), DENIED);
        assert_eq!(window(0, 0).decide(START, i64::MAX, D, i64::MAX), passes(0));
        assert_eq!(full.count(START, D, i64::MAX), full);
    }

    #[test]
    fn nonsense_input_admits_nothing() {
        assert_eq!(window(0, 5).decide(START, 10, D, -3), passes(5));
        assert_eq!(window(0, 5).count(START, D, -3), window(0, 5));
        assert!(!window(0, 0).decide(START, -1, D, 0).passed);
        for (now, duration) in [(i64::MIN, 0), (i64::MAX, -1), (i64::MIN, i64::MAX), (i64::MAX, 1)] {
            let counted = Window::default().count(now, duration, 1);
            assert!(!counted.decide(now, 1, duration, 1).passed, "{now} {duration}");
        }
    }

    #[test]
    fn a_window_rolls_forward_by_none_one_or_more() {
        let before = window(7, 3);
        for (later, expected) in [
            (0, Window { sequence: SEQUENCE, current: 4, previous: 7 }),
            (9_999, Window { sequence: SEQUENCE, current: 4, previous: 7 }),
            (D, Window { sequence: SEQUENCE + 1, current: 1, previous: 3 }),
            (2 * D, Window { sequence: SEQUENCE + 2, current: 1, previous: 0 }),
            (999 * D, Window { sequence: SEQUENCE + 999, current: 1, previous: 0 }),
        ] {
            assert_eq!(before.count(START + later, D, 1), expected, "{later} ms later");
        }
    }

    #[test]
    fn windows_are_aligned_to_the_epoch() {
        let day = 86_400_000;
        assert_eq!(reset_ms(1_785_628_800_000 - 1, day), 1_785_628_800_000);
        assert_eq!(reset_ms(1_785_628_800_000, day), 1_785_628_800_000 + day);
        assert_eq!(reset_ms(0, 7 * day), 7 * day, "the epoch was a Thursday");
        assert_eq!(reset_ms(-1, D), 0);
    }

    #[test]
    fn a_late_request_of_the_previous_window_loses_no_count() {
        let counted = window(4, 6).count(START - 1, D, 2);
        assert_eq!(counted, window(6, 6));
        let late = window(4, 6).decide(START - 1, 10, D, 2);
        assert_eq!(late, Decision { passed: true, remaining: 4, reset_ms: START });
        assert!(!window(10, 0).decide(START - 1, 10, D, 1).passed);
    }

    #[test]
    fn a_clock_set_back_a_little_holds_on_to_the_counts() {
        let early = START - 3 * D;
        assert_eq!(window(4, 6).count(early, D, 2), window(6, 6));
        assert!(!window(10, 6).decide(early, 10, D, 1).passed);
    }

    #[test]
    fn a_clock_set_back_far_starts_anew_instead_of_denying_for_as_long() {
        let early = START - 3_600_000;
        assert!(window(10, 10).decide(early, 10, D, 1).passed);
        let counted = Window { sequence: SEQUENCE - 360, current: 1, previous: 0 };
        assert_eq!(window(10, 10).count(early, D, 1), counted);
    }

    #[test]
    fn an_unused_window_follows_the_clock_anywhere() {
        for now in [-5 * D, 0, START] {
            let counted = Window::default().count(now, D, 3);
            assert_eq!(counted, Window { sequence: now / D, current: 3, previous: 0 });
        }
    }

    #[test]
    fn a_cell_is_over_once_both_windows_are() {
        assert!(Window::default().is_over(0, D));
        assert!(window(0, 0).is_over(START, D));
        assert!(!window(0, 1).is_over(START + 2 * D - 1, D));
        assert!(window(0, 1).is_over(START + 2 * D, D));
        assert!(!window(0, 1).is_over(START - 100 * D, D));
    }

    /// The rules as they are written down: every window ever, and fractions instead of one division.
    #[derive(Default)]
    struct Oracle(BTreeMap<i64, i128>);

    impl Oracle {
        fn check(&mut self, now: i64, limit: i64, duration: i64, cost: i64) -> Decision {
            let sequence = now / duration;
            let elapsed = now - sequence * duration;
            let current = self.0.get(&sequence).copied().unwrap_or_default();
            let previous = self.0.get(&(sequence - 1)).copied().unwrap_or_default();
            let mut weighted = previous;
            while weighted * i128::from(duration) > previous * i128::from(duration - elapsed) {
                weighted -= 1;
            }
            let after = current + weighted + i128::from(cost);
            let passed = after <= i128::from(limit);
            if passed {
                self.0.insert(sequence, current + i128::from(cost));
            }
            let remaining = if passed { i128::from(limit) - after } else { 0 };
            let reset_ms = (sequence + 1) * duration;
            Decision { passed, remaining: i64::try_from(remaining).unwrap(), reset_ms }
        }
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_an_oracle_that_remembers_everything(
            duration in 1_000_i64..5_000,
            begin in 0_i64..10_000_000,
            steps in prop::collection::vec((0_i64..3_000, 0_i64..20, 0_i64..8), 1..120),
        ) {
            let (mut window, mut oracle, mut now) = (Window::default(), Oracle::default(), begin);
            for (later, limit, cost) in steps {
                now += later;
                if window.is_over(now, duration) {
                    window = Window::default();
                }
                let decision = window.decide(now, limit, duration, cost);
                prop_assert_eq!(decision, oracle.check(now, limit, duration, cost));
                if decision.passed {
                    window = window.count(now, duration, cost);
                }
            }
        }

        #[test]
        fn a_refused_cost_passes_from_the_moment_that_is_said_and_not_before(
            previous in 0_i64..20, current in 0_i64..20, elapsed in 0..D, limit in 0_i64..20, cost in 0_i64..8,
        ) {
            let (window, now) = (window(previous, current), START + elapsed);
            let passes = |at_ms| window.decide(at_ms, limit, D, cost).passed;
            match window.passes_from_ms(now, limit, D, cost) {
                None => prop_assert!(cost > limit && !passes(START + 9 * D)),
                Some(from) => {
                    prop_assert!(from >= now && passes(from));
                    prop_assert!(from == now || !passes(from - 1), "it passes before {from}");
                }
            }
        }

        #[test]
        fn steps_back_lose_nothing_that_was_counted(
            costs in prop::collection::vec((-70_000_i64..D, 1_i64..100), 1..30),
        ) {
            // Everything lands in the two kept windows, whatever the order of arrival.
            let mut kept = window(0, 1);
            let mut sum = 1;
            for (offset, cost) in costs {
                kept = kept.count(START + offset, D, cost);
                sum += cost;
                prop_assert_eq!(kept.sequence, SEQUENCE);
                prop_assert_eq!(kept.current + kept.previous, sum);
            }
        }

        #[test]
        fn arbitrary_numbers_never_panic_and_never_leave_a_negative_rest(
            sequence in any::<i64>(), current in 0..=i64::MAX, previous in 0..=i64::MAX,
            now in any::<i64>(), limit in any::<i64>(), duration in any::<i64>(), cost in any::<i64>(),
        ) {
            let window = Window { sequence, current, previous };
            let decision = window.decide(now, limit, duration, cost);
            prop_assert!((0..=limit.max(0)).contains(&decision.remaining));
            prop_assert!(decision.passed || decision.remaining == 0);
            let counted = window.count(now, duration, cost);
            prop_assert!(counted.current >= 0 && counted.previous >= 0);
        }
    }
}
