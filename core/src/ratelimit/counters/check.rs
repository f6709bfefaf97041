//! What the counters are asked, and what they answer.

use smallvec::SmallVec;

use crate::ratelimit::window::{Decision, Window};

/// The bits of a cell that hold the length of its window; those above hold the account.
pub(super) const DURATION_BITS: u32 = 40;
/// The longest window that is counted by, in ms: 34 years. Longer ones are taken as that long.
pub(super) const LONGEST_MS: i64 = (1 << DURATION_BITS) - 1;

/// What one count belongs to. The limit is not part of it: checks with different limits and
/// equal durations share their count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey<'a> {
    /// Id of the workspace.
    pub workspace: &'a str,
    /// Which kind of limit it is, and which one of that kind.
    pub scope: CellScope<'a>,
    /// Who is limited: the request's identifier, the id of a key or identity, or the workspace
    /// id again for the throttle. Byte-exact.
    pub identifier: &'a str,
    /// Length of the window in ms, at least 1000. Windows of more than 34 years are taken as that long.
    pub duration_ms: i64,
}

impl CellKey<'_> {
    /// Length of the window in ms as it is counted by.
    pub(super) fn window_ms(&self) -> i64 {
        self.duration_ms.clamp(1, LONGEST_MS)
    }
}

/// The kinds of limits that are counted. Limits of different kinds never share a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellScope<'a> {
    /// A standalone limit, by the id of its namespace.
    Namespace(&'a str),
    /// A limit of a key or an identity, by the limit's name.
    Key(&'a str),
    /// The request throttle of a whole workspace.
    Workspace,
}

/// One question to the counters: is there room for `cost` under `limit`?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check<'a> {
    /// Where to look and to count.
    pub cell: CellKey<'a>,
    /// The most that may be used in one window; 0 denies every cost.
    pub limit: i64,
    /// What to count if it passes; 0 only reads.
    pub cost: i64,
}

impl Check<'_> {
    pub(super) fn decide(&self, window: Window, now_ms: i64) -> Decision {
        window.decide(now_ms, self.limit, self.cell.window_ms(), self.cost)
    }

    pub(super) fn remaining(&self, window: Window, now_ms: i64) -> i64 {
        window.remaining(now_ms, self.limit, self.cell.window_ms())
    }

    pub(super) fn foresee(&self, window: Window, now_ms: i64) -> Foreseen {
        let duration_ms = self.cell.window_ms();
        let decision = self.decide(window, now_ms);
        Foreseen {
            used: i64::try_from(window.used(now_ms, duration_ms)).unwrap_or(i64::MAX),
            passed: decision.passed,
            left: self.remaining(window, now_ms),
            reset_ms: decision.reset_ms,
            passes_from_ms: window.passes_from_ms(now_ms, self.limit, duration_ms, self.cost),
        }
    }

    pub(super) fn count(&self, window: Window, now_ms: i64) -> Window {
        window.count(now_ms, self.cell.window_ms(), self.cost)
    }
}

/// What a check would come to, of which nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreseen {
    /// What weighs in the window now.
    pub used: i64,
    /// Whether there is room for the cost.
    pub passed: bool,
    /// What is left in the window before the cost is counted. Never negative.
    pub left: i64,
    /// Unix ms at which the window ends.
    pub reset_ms: i64,
    /// The first Unix ms at which there is room, if nothing else is counted until then; `None` for a cost beyond the
    /// limit.
    pub passes_from_ms: Option<i64>,
}

/// The answers to the checks of a batch. A few need no memory but the stack's.
pub type Decisions = SmallVec<[Decision; 4]>;

/// The answer to a batch: the whole, and each check in the order it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchDecision {
    /// Whether all checks passed. If not, none was counted.
    pub passed: bool,
    /// One decision per check. In a failed batch a check that passed on its own reports as
    /// `remaining` what a single retry of it would find.
    pub decisions: Decisions,
}
