//! Counts of rate limits in this process's memory, exact under any concurrency.
//!
//! There is one small cell per (workspace, scope, identifier, duration). Cells are found by fingerprint and
//! spread over shards, each a map under a lock of its own that is held for the few nanoseconds of one
//! decision. A batch takes the locks of all its shards in ascending order, each once, decides on copies, and
//! stores them only if everything passed: nobody ever sees a half-counted batch, and two batches can never
//! wait for each other.
//!
//! What a check means is the window's business ([`Window`]); this file only finds, locks and stores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::fingerprint::{Fingerprint, Seed};
use super::shard::{Cell, Shard};
use crate::metrics::LimitDecisions;
use crate::ratelimit::window::{Decision, Window};

/// So many shards that two threads rarely meet in one, and each is gone through in microseconds.
const SHARDS: usize = 1_024;
/// Batches up to this size take no memory but the stack's. Verifications have one or two limits.
const USUAL_BATCH: usize = 8;

/// What one count belongs to. The limit is not part of it: checks with different limits and
/// equal durations share their count (RL2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey<'a> {
    /// Id of the workspace.
    pub workspace: &'a str,
    /// Which kind of limit it is, and which one of that kind.
    pub scope: CellScope<'a>,
    /// Who is limited: the request's identifier, the id of a key or identity, or the workspace
    /// id again for the throttle. Byte-exact.
    pub identifier: &'a str,
    /// Length of the window in ms, at least 1000.
    pub duration_ms: i64,
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
    fn decide(&self, window: Window, now_ms: i64) -> Decision {
        window.decide(now_ms, self.limit, self.cell.duration_ms, self.cost)
    }

    fn remaining(&self, window: Window, now_ms: i64) -> i64 {
        window.remaining(now_ms, self.limit, self.cell.duration_ms)
    }

    fn count(&self, window: Window, now_ms: i64) -> Window {
        window.count(now_ms, self.cell.duration_ms, self.cost)
    }
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

/// All counts of this process.
#[derive(Debug)]
pub struct MemoryCounters {
    seed: Seed,
    shards: Box<[Mutex<Shard>]>,
    cells: AtomicUsize,
    /// How often which kind of limit passed and refused.
    pub decisions: LimitDecisions,
}

impl Default for MemoryCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryCounters {
    /// Counters without any count.
    #[must_use]
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { seed: Seed::random(), shards, cells: AtomicUsize::new(0), decisions: LimitDecisions::default() }
    }

    /// Decides on one check at `now_ms` (Unix time in ms) and counts its cost if it passed.
    ///
    /// A denied check and one of cost 0 count nothing and create no cell.
    pub fn check(&self, check: &Check<'_>, now_ms: i64) -> Decision {
        let decision = self.decide(check, now_ms);
        self.decisions.note(check.cell.scope, decision.passed);
        decision
    }

    fn decide(&self, check: &Check<'_>, now_ms: i64) -> Decision {
        let place = self.seed.fingerprint(&check.cell);
        let mut shard = self.lock(place);
        let counted = |window| Cell::new(check.cell.duration_ms, check.count(window, now_ms), now_ms);
        let Some(cell) = shard.cell(place) else {
            let decision = check.decide(Window::default(), now_ms);
            if decision.passed && check.cost > 0 {
                self.put(&mut shard, place, counted(Window::default()));
            }
            return decision;
        };
        let window = cell.window();
        let decision = check.decide(window, now_ms);
        if decision.passed && check.cost > 0 {
            *cell = counted(window);
        }
        decision
    }

    /// Decides on several checks at one instant and counts either all of them or none.
    ///
    /// Checks are looked at in order; one sees the cost of all earlier ones on the same cell,
    /// whether those passed or not (RM2). Each reports its own verdict. When the batch failed, a
    /// check that passed reports what its cell has left without any of the batch (RM6 K), a
    /// denied one reports 0.
    pub fn check_all(&self, checks: &[Check<'_>], now_ms: i64) -> BatchDecision {
        let batch = match checks {
            [one] => {
                let decision = self.decide(one, now_ms);
                BatchDecision { passed: decision.passed, decisions: SmallVec::from_iter([decision]) }
            }
            _ => self.decide_all(checks, now_ms),
        };
        for (check, decision) in checks.iter().zip(&batch.decisions) {
            self.decisions.note(check.cell.scope, decision.passed);
        }
        batch
    }

    fn decide_all(&self, checks: &[Check<'_>], now_ms: i64) -> BatchDecision {
        let places: SmallVec<[Fingerprint; USUAL_BATCH]> =
            checks.iter().map(|check| self.seed.fingerprint(&check.cell)).collect();
        let (mut shards, mut cells) = self.lock_all(checks, &places);
        let at = |cells: &[BatchCell], place| cells.partition_point(|cell| cell.place < place);

        let mut decisions = Decisions::with_capacity(checks.len());
        for (check, place) in checks.iter().zip(&places) {
            let index = at(&cells, *place);
            let window = &mut cells[index].after;
            decisions.push(check.decide(*window, now_ms));
            *window = check.count(*window, now_ms);
        }

        let passed = decisions.iter().all(|decision| decision.passed);
        if passed {
            for cell in cells.iter().filter(|cell| cell.after != cell.before) {
                let counted = Cell::new(cell.duration_ms, cell.after, now_ms);
                self.put(&mut shards[cell.shard], cell.place, counted);
            }
        } else {
            for ((check, place), decision) in checks.iter().zip(&places).zip(&mut decisions) {
                if decision.passed {
                    decision.remaining = check.remaining(cells[at(&cells, *place)].before, now_ms);
                }
            }
        }
        BatchDecision { passed, decisions }
    }

    /// Locks the shards of a batch, each once, in ascending order, and reads its cells, each once.
    fn lock_all<'c>(
        &'c self,
        checks: &[Check<'_>],
        places: &[Fingerprint],
    ) -> (SmallVec<[MutexGuard<'c, Shard>; USUAL_BATCH]>, SmallVec<[BatchCell; USUAL_BATCH]>) {
        let unread = |(check, place): (&Check<'_>, &Fingerprint)| BatchCell {
            place: *place,
            duration_ms: check.cell.duration_ms,
            shard: 0,
            before: Window::default(),
            after: Window::default(),
        };
        let mut cells: SmallVec<[BatchCell; USUAL_BATCH]> = checks.iter().zip(places).map(unread).collect();
        cells.sort_unstable_by_key(|cell| cell.place);
        cells.dedup_by_key(|cell| cell.place);
        let mut shards: SmallVec<[MutexGuard<'c, Shard>; USUAL_BATCH]> = SmallVec::new();
        let mut last = None;
        for cell in &mut cells {
            let shard = cell.place.shard(self.shards.len());
            if last.replace(shard) != Some(shard) {
                shards.push(self.lock(cell.place));
            }
            cell.shard = shards.len() - 1;
            cell.before = shards[cell.shard].window(cell.place);
            cell.after = cell.before;
        }
        (shards, cells)
    }

    fn put(&self, shard: &mut Shard, place: Fingerprint, cell: Cell) {
        if shard.put(place, cell) {
            self.cells.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Locks the shard of a place.
    fn lock(&self, place: Fingerprint) -> MutexGuard<'_, Shard> {
        lock(&self.shards[place.shard(self.shards.len())])
    }

    /// Forgets every cell whose two windows are both over at `now_ms` (Unix time in ms), and
    /// says how many there were. Safe to run at any time beside checks.
    pub fn forget_idle(&self, now_ms: i64) -> usize {
        let forget = |shard| {
            let forgotten = lock(shard).forget_idle(now_ms);
            self.cells.fetch_sub(forgotten, Ordering::Relaxed);
            forgotten
        };
        self.shards.iter().map(forget).sum()
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.load(Ordering::Relaxed)
    }

    /// Whether there is no cell at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A cell that a batch counts in.
#[derive(Debug)]
struct BatchCell {
    place: Fingerprint,
    duration_ms: i64,
    /// Which of the batch's locked shards it is in.
    shard: usize,
    before: Window,
    /// Kept apart until the whole batch has passed.
    after: Window,
}

/// A panic cannot leave a cell half-written, since cells are stored whole; so a poisoned lock is as good as
/// any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const D: i64 = 10_000;
    const START: i64 = 178_000_000 * D;

    fn check(identifier: &str, limit: i64, cost: i64) -> Check<'_> {
        let scope = CellScope::Namespace("rlns_1");
        Check { cell: CellKey { workspace: "ws_1", scope, identifier, duration_ms: D }, limit, cost }
    }

    /// Asks one by one at `START`: whether it passed and what remains.
    fn ask(counters: &MemoryCounters, identifier: &str, limit: i64, cost: i64) -> (bool, i64) {
        let decision = counters.check(&check(identifier, limit, cost), START);
        (decision.passed, decision.remaining)
    }

    /// Asks all at once at `START`: what remains for each, -1 if it was denied.
    fn ask_all(counters: &MemoryCounters, checks: &[Check<'_>]) -> (bool, Vec<i64>) {
        let batch = counters.check_all(checks, START);
        let rest = |one: &Decision| if one.passed { one.remaining } else { -1 };
        (batch.passed, batch.decisions.iter().map(rest).collect())
    }

    fn used(counters: &MemoryCounters, identifier: &str) -> i64 {
        i64::MAX - ask(counters, identifier, i64::MAX, 0).1
    }

    #[test]
    fn a_denied_check_consumes_nothing() {
        let counters = MemoryCounters::new();
        assert_eq!(ask(&counters, "a", 10, 9), (true, 1));
        assert_eq!(ask(&counters, "a", 10, 2), (false, 0));
        assert_eq!(ask(&counters, "a", 10, 1), (true, 0));
    }

    #[test]
    fn reads_and_denials_create_no_cell() {
        let counters = MemoryCounters::new();
        assert_eq!(ask(&counters, "a", 10, 0), (true, 10));
        assert_eq!(ask(&counters, "b", 10, 11), (false, 0));
        assert_eq!(ask(&counters, "c", 0, 1), (false, 0));
        let reads = [check("d", 1, 0), check("d", 2, 0)];
        assert_eq!(ask_all(&counters, &reads), (true, vec![1, 2]));
        assert!(counters.is_empty());
    }

    #[test]
    fn cells_differ_in_every_part_of_their_key_and_not_in_the_limit() {
        let key =
            |workspace, scope, identifier, duration_ms| CellKey { workspace, scope, identifier, duration_ms };
        let namespace = CellScope::Namespace;
        let cells = [
            key("ws_1", namespace("x"), "a", D),
            key("ws_2", namespace("x"), "a", D),
            key("ws_1", namespace("y"), "a", D),
            key("ws_1", CellScope::Key("x"), "a", D),
            key("ws_1", CellScope::Workspace, "a", D),
            key("ws_1", namespace("x"), "A", D),
            key("ws_1", namespace("x"), "a", D + 1),
        ];
        let counters = MemoryCounters::new();
        for cell in &cells {
            let passes = |limit| counters.check(&Check { cell: *cell, limit, cost: 5 }, START).passed;
            let answers = [passes(5), passes(5), passes(10)];
            assert_eq!(answers, [true, false, true], "{cell:?}");
        }
        assert_eq!(counters.len(), cells.len());
    }

    #[test]
    fn a_failed_batch_consumes_nothing_and_reports_each_verdict() {
        let counters = MemoryCounters::new();
        ask(&counters, "full", 5, 5);
        let batch = [check("a", 10, 1), check("full", 5, 1)];
        assert_eq!(ask_all(&counters, &batch), (false, vec![10, -1]));
        assert_eq!((used(&counters, "a"), used(&counters, "full")), (0, 5));
    }

    #[test]
    fn a_passed_batch_consumes_everything() {
        let counters = MemoryCounters::new();
        let batch = [("b", 10, 3), ("a", 5, 1), ("b", 10, 4), ("c", 1, 0)];
        let batch = batch.map(|(identifier, limit, cost)| check(identifier, limit, cost));
        assert_eq!(ask_all(&counters, &batch), (true, vec![7, 4, 3, 1]));
        assert_eq!((used(&counters, "a"), used(&counters, "b")), (1, 7));
        assert_eq!(ask_all(&counters, &[]), (true, vec![]));
    }

    #[test]
    fn the_same_cell_several_times_sees_earlier_costs() {
        let counters = MemoryCounters::new();
        let twice = [1; 2].map(|cost| check("a", 1, cost));
        assert_eq!(ask_all(&counters, &twice), (false, vec![1, -1]));
        let thrice = [2; 3].map(|cost| check("a", 5, cost));
        assert_eq!(ask_all(&counters, &thrice), (false, vec![5, 5, -1]));
        let after_denial = [check("a", 5, 6), check("a", 5, 1)];
        assert_eq!(ask_all(&counters, &after_denial), (false, vec![-1, -1]));
        assert_eq!(used(&counters, "a"), 0);
    }

    #[test]
    fn only_cells_with_both_windows_over_are_forgotten() {
        let counters = MemoryCounters::new();
        counters.check(&check("old", 10, 1), START);
        counters.check(&check("young", 10, 1), START + D);
        let forget = |now| (counters.forget_idle(now), counters.len());
        assert_eq!(forget(START + 2 * D - 1), (0, 2));
        assert_eq!(forget(START + 2 * D), (1, 1));
        assert_eq!(forget(START + 3 * D), (1, 0));
    }

    #[test]
    fn concurrent_checks_admit_exactly_the_limit() {
        let counters = MemoryCounters::new();
        let admitted = AtomicI64::new(0);
        let barrier = Barrier::new(10);
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..50 {
                        let (passed, _) = ask(&counters, "a", 100, 1);
                        admitted.fetch_add(i64::from(passed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
    }

    #[test]
    fn batches_in_opposite_orders_neither_deadlock_nor_over_admit() {
        let counters = MemoryCounters::new();
        let forward = ["a", "b", "c", "d"].map(|identifier| check(identifier, 700, 1));
        let mut backward = forward;
        backward.reverse();
        let admitted = AtomicI64::new(0);
        thread::scope(|scope| {
            for batch in [&forward, &backward, &forward, &backward] {
                let (counters, admitted) = (&counters, &admitted);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let (passed, rests) = ask_all(counters, batch);
                        assert_eq!(rests, [rests[0]; 4], "half a batch was visible");
                        admitted.fetch_add(i64::from(passed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 700);
        let counts = ["a", "b", "c", "d"].map(|cell| used(&counters, cell));
        assert_eq!(counts, [700; 4]);
    }

    /// In every round the cells are over when it begins, so the janitor takes them away, or the
    /// new and still empty ones, while the callers are about to count in them.
    #[test]
    fn a_janitor_at_work_loses_no_count() {
        let (counters, barrier) = (MemoryCounters::new(), Barrier::new(3));
        let batch = [check("b", 9, 1), check("a", 9, 1)];
        for round in 0..1_000 {
            let now = START + round * 2 * D;
            let call = || {
                barrier.wait();
                [1, 2, 3].map(|_| counters.check_all(&batch, now).passed)
            };
            thread::scope(|scope| {
                let callers = [call; 2].map(|call| scope.spawn(call));
                barrier.wait();
                while callers.iter().any(|caller| !caller.is_finished()) {
                    counters.forget_idle(now);
                }
            });
            let rests = ["a", "b"].map(|cell| counters.check(&check(cell, 9, 0), now).remaining);
            assert_eq!((rests, counters.len()), ([3, 3], 2), "round {round}");
        }
    }

    /// The rules of 1.4, one check after the other, over windows in an ordinary map.
    fn model<'a>(windows: &mut BTreeMap<CellKey<'a>, Window>, checks: &[Check<'a>], now: i64) -> BatchDecision {
        let before = windows.clone();
        let mut decisions = Decisions::new();
        for check in checks {
            let window = windows.entry(check.cell).or_default();
            decisions.push(check.decide(*window, now));
            *window = window.count(now, D, check.cost);
        }
        let passed = decisions.iter().all(|decision| decision.passed);
        if !passed {
            *windows = before;
            for (check, decision) in checks.iter().zip(&mut decisions) {
                let window = windows.get(&check.cell).copied().unwrap_or_default();
                let alone = window.decide(now, check.limit, D, 0);
                decision.remaining = if decision.passed { alone.remaining } else { 0 };
            }
        }
        BatchDecision { passed, decisions }
    }

    proptest! {
        #[test]
        fn checks_batches_and_forgetting_agree_with_a_sequential_model(
            steps in prop::collection::vec(
                (0_i64..8_000, prop::collection::vec((0_usize..4, 0_i64..12, 0_i64..6), 0..5)),
                1..60,
            ),
        ) {
            let (counters, mut windows, mut now) = (MemoryCounters::new(), BTreeMap::new(), START);
            for (later, entries) in steps {
                now += later;
                let one = |(name, limit, cost): &(usize, _, _)| check(["a", "b", "c", "d"][*name], *limit, *cost);
                let checks: Vec<Check> = entries.iter().map(one).collect();
                let expected = model(&mut windows, &checks, now);
                match checks.as_slice() {
                    [] => { counters.forget_idle(now); }
                    [one] => prop_assert_eq!(counters.check(one, now), expected.decisions[0]),
                    _ => prop_assert_eq!(counters.check_all(&checks, now), expected),
                }
            }
        }
    }
}
