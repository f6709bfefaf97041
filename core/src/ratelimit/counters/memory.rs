//! Counts of rate limits in this process's memory, exact under any concurrency.
//!
//! A concurrent map holds one small cell per (workspace, scope, identifier, duration), and each
//! cell has a lock of its own, held for the few nanoseconds of one decision. A batch takes the
//! locks of all its cells in the order of their keys, each once, decides on copies, and stores
//! them only if everything passed: nobody ever sees a half-counted batch, and two batches can
//! never wait for each other.
//!
//! The janitor ([`MemoryCounters::forget_idle`]) marks a cell as forgotten under the cell's own
//! lock before it takes it out of the map. Whoever finds a forgotten cell looks again, so no
//! count goes into a cell that is no longer there.
//!
//! What a check means is the window's business ([`Window`]); this file only finds, locks and stores.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use papaya::{HashMap, HashMapRef, LocalGuard};

use crate::metrics::LimitDecisions;
use crate::ratelimit::window::{Decision, Window};

/// What one count belongs to. The limit is not part of it: checks with different limits and
/// equal durations share their count (RL2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// Id of the workspace.
    pub workspace: Arc<str>,
    /// Which kind of limit it is, and which one of that kind.
    pub scope: CellScope,
    /// Who is limited: the request's identifier, the id of a key or identity, or the workspace
    /// id again for the throttle. Byte-exact.
    pub identifier: Arc<str>,
    /// Length of the window in ms, at least 1000.
    pub duration_ms: i64,
}

/// The kinds of limits that are counted. Limits of different kinds never share a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellScope {
    /// A standalone limit, by the id of its namespace.
    Namespace(Arc<str>),
    /// A limit of a key or an identity, by the limit's name.
    Key(Arc<str>),
    /// The request throttle of a whole workspace.
    Workspace,
}

/// One question to the counters: is there room for `cost` under `limit`?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where to look and to count.
    pub cell: CellKey,
    /// The most that may be used in one window; 0 denies every cost.
    pub limit: i64,
    /// What to count if it passes; 0 only reads.
    pub cost: i64,
}

impl Check {
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

/// The answer to a batch: the whole, and each check in the order it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchDecision {
    /// Whether all checks passed. If not, none was counted.
    pub passed: bool,
    /// One decision per check. In a failed batch a check that passed on its own reports as
    /// `remaining` what a single retry of it would find.
    pub decisions: Vec<Decision>,
}

/// All counts of this process.
#[derive(Debug, Default)]
pub struct MemoryCounters {
    cells: HashMap<CellKey, Mutex<Cell>>,
    /// How often which kind of limit passed and refused.
    pub decisions: LimitDecisions,
}

#[derive(Debug, Default)]
struct Cell {
    window: Window,
    /// Set once, under the lock, by the janitor: this cell is no longer, or soon will no longer
    /// be, in the map, and must not be counted in.
    forgotten: bool,
}

/// The map while this thread keeps what it finds there from being freed.
type Pinned<'m> = HashMapRef<'m, CellKey, Mutex<Cell>, std::hash::RandomState, LocalGuard<'m>>;

/// A cell under its lock, or none where nothing was ever counted.
type LockedCell<'p> = Option<MutexGuard<'p, Cell>>;

impl MemoryCounters {
    /// Counters without any count.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides on one check at `now_ms` (Unix time in ms) and counts its cost if it passed.
    ///
    /// A denied check and one of cost 0 count nothing and create no cell.
    pub fn check(&self, check: &Check, now_ms: i64) -> Decision {
        let decision = self.decide(check, now_ms);
        self.decisions.note(&check.cell.scope, decision.passed);
        decision
    }

    fn decide(&self, check: &Check, now_ms: i64) -> Decision {
        let cells = self.cells.pin();
        let in_empty_cell = check.decide(Window::default(), now_ms);
        let may_count = in_empty_cell.passed && check.cost > 0;
        let Some(mut cell) = lock_cell(&cells, &check.cell, may_count) else {
            return in_empty_cell;
        };
        let decision = check.decide(cell.window, now_ms);
        if decision.passed {
            cell.window = check.count(cell.window, now_ms);
        }
        decision
    }

    /// Decides on several checks at one instant and counts either all of them or none.
    ///
    /// Checks are looked at in order; one sees the cost of all earlier ones on the same cell,
    /// whether those passed or not (RM2). Each reports its own verdict. When the batch failed, a
    /// check that passed reports what its cell has left without any of the batch (RM6 K), a
    /// denied one reports 0.
    pub fn check_all(&self, checks: &[Check], now_ms: i64) -> BatchDecision {
        let cells = self.cells.pin();
        let mut touched = lock_all(&cells, checks);
        let window_of = |cell: &LockedCell<'_>| cell.as_ref().map_or(Window::default(), |cell| cell.window);
        let before: Vec<Window> = touched.iter().map(|(_, cell)| window_of(cell)).collect();
        let place = |check: &Check| touched.partition_point(|(key, _)| **key < check.cell);

        let mut after = before.clone();
        let mut decisions = Vec::with_capacity(checks.len());
        for check in checks {
            let window = &mut after[place(check)];
            decisions.push(check.decide(*window, now_ms));
            *window = check.count(*window, now_ms);
        }

        let passed = decisions.iter().all(|decision| decision.passed);
        if passed {
            for ((_, cell), window) in touched.iter_mut().zip(after) {
                if let Some(cell) = cell {
                    cell.window = window;
                }
            }
        } else {
            for (check, decision) in checks.iter().zip(&mut decisions) {
                if decision.passed {
                    decision.remaining = check.remaining(before[place(check)], now_ms);
                }
            }
        }
        for (check, decision) in checks.iter().zip(&decisions) {
            self.decisions.note(&check.cell.scope, decision.passed);
        }
        BatchDecision { passed, decisions }
    }

    /// Forgets every cell whose two windows are both over at `now_ms` (Unix time in ms), and
    /// says how many there were. Safe to run at any time beside checks.
    pub fn forget_idle(&self, now_ms: i64) -> usize {
        let cells = self.cells.pin();
        let mut forgotten = 0;
        for (key, cell) in &cells {
            let mut state = lock(cell);
            if state.forgotten || !state.window.is_over(now_ms, key.duration_ms) {
                continue;
            }
            state.forgotten = true;
            drop(state);
            take_out(&cells, key, cell);
            forgotten += 1;
        }
        forgotten
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no cell at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

/// Locks the cells of a batch, each once, in the order of their keys. A cell that would only
/// be read and does not exist stays that way.
fn lock_all<'c, 'p>(cells: &'p Pinned<'_>, checks: &'c [Check]) -> Vec<(&'c CellKey, LockedCell<'p>)> {
    let mut may_count = BTreeMap::new();
    for check in checks {
        *may_count.entry(&check.cell).or_insert(false) |= check.cost > 0;
    }
    let lock = |(key, may_count)| (key, lock_cell(cells, key, may_count));
    may_count.into_iter().map(lock).collect()
}

/// Locks the cell, making it first if `create`. A cell that the janitor has marked is taken out
/// of the map here too, so that nobody waits for a janitor that sleeps.
fn lock_cell<'p>(cells: &'p Pinned<'_>, key: &CellKey, create: bool) -> LockedCell<'p> {
    loop {
        let cell = match cells.get(key) {
            Some(cell) => cell,
            None if create => cells.get_or_insert_with(key.clone(), Mutex::default),
            None => return None,
        };
        let locked = lock(cell);
        if !locked.forgotten {
            return Some(locked);
        }
        drop(locked);
        take_out(cells, key, cell);
    }
}

/// Removes this very cell, not a younger one that meanwhile has its key. The pin keeps the cell
/// from being freed, so no younger one can have its address.
fn take_out(cells: &Pinned<'_>, key: &CellKey, cell: &Mutex<Cell>) {
    // An error means that somebody else took it out first, which is as good.
    let _ = cells.remove_if(key, |_, found| ptr::eq(found, cell));
}

/// A panic cannot leave a cell half-written, since windows are stored whole; so a poisoned lock
/// is as good as any.
fn lock(cell: &Mutex<Cell>) -> MutexGuard<'_, Cell> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const D: i64 = 10_000;
    const START: i64 = 178_000_000 * D;

    fn key(workspace: &str, scope: CellScope, identifier: &str, duration_ms: i64) -> CellKey {
        let (workspace, identifier) = (workspace.into(), identifier.into());
        CellKey { workspace, scope, identifier, duration_ms }
    }

    fn check(identifier: &str, limit: i64, cost: i64) -> Check {
        let cell = key("ws_1", CellScope::Namespace("rlns_1".into()), identifier, D);
        Check { cell, limit, cost }
    }

    /// Asks one by one at `START`: whether it passed and what remains.
    fn ask(counters: &MemoryCounters, identifier: &str, limit: i64, cost: i64) -> (bool, i64) {
        let decision = counters.check(&check(identifier, limit, cost), START);
        (decision.passed, decision.remaining)
    }

    /// Asks all at once at `START`: what remains for each, -1 if it was denied.
    fn ask_all(counters: &MemoryCounters, checks: &[Check]) -> (bool, Vec<i64>) {
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
        let namespace = |name: &str| CellScope::Namespace(name.into());
        let cells = [
            key("ws_1", namespace("x"), "a", D),
            key("ws_2", namespace("x"), "a", D),
            key("ws_1", namespace("y"), "a", D),
            key("ws_1", CellScope::Key("x".into()), "a", D),
            key("ws_1", CellScope::Workspace, "a", D),
            key("ws_1", namespace("x"), "A", D),
            key("ws_1", namespace("x"), "a", D + 1),
        ];
        let counters = MemoryCounters::new();
        for cell in &cells {
            let passes = |limit| {
                let (cell, cost) = (cell.clone(), 5);
                counters.check(&Check { cell, limit, cost }, START).passed
            };
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
    fn a_forgotten_cell_is_replaced_and_its_successor_stays() {
        let counters = MemoryCounters::new();
        ask(&counters, "a", 10, 1);
        let (cells, key) = (counters.cells.pin(), check("a", 0, 0).cell);
        let old = cells.get(&key).unwrap();
        lock(old).forgotten = true;
        // Not counted in the old one, and not taken out in its stead.
        assert_eq!(ask(&counters, "a", 10, 1), (true, 9));
        take_out(&cells, &key, old);
        assert_eq!(ask(&counters, "a", 10, 1), (true, 8));
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
        let mut backward = forward.clone();
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
    fn model(windows: &mut BTreeMap<CellKey, Window>, checks: &[Check], now: i64) -> BatchDecision {
        let before = windows.clone();
        let mut decisions = Vec::new();
        for check in checks {
            let window = windows.entry(check.cell.clone()).or_default();
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
                let one = |(name, limit, cost): &(usize, _, _)| check(&name.to_string(), *limit, *cost);
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
