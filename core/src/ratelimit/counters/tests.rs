//! The counters step by step, under threads, and against a sequential model.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use proptest::prelude::*;

use super::memory::{BatchDecision, CellKey, CellScope, Check, Decisions, MemoryCounters};
use crate::calendar::UnixMs;
use crate::ratelimit::window::{Decision, Window};

const D: i64 = 10_000;
const START: i64 = 178_000_000 * D;

fn check(identifier: &str, limit: i64, cost: i64) -> Check<'_> {
    let scope = CellScope::Namespace("rlns_1");
    Check { cell: CellKey { workspace: "ws_1", scope, identifier, duration_ms: D }, limit, cost }
}

/// Asks one by one at `START`: whether it passed and what remains.
fn ask(counters: &MemoryCounters, identifier: &str, limit: i64, cost: i64) -> (bool, i64) {
    let decision = counters.check(&check(identifier, limit, cost), UnixMs::new(START));
    (decision.passed, decision.remaining)
}

/// Asks all at once at `START`: what remains for each, -1 if it was denied.
fn ask_all(counters: &MemoryCounters, checks: &[Check<'_>]) -> (bool, Vec<i64>) {
    let batch = counters.check_all(checks, UnixMs::new(START));
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
    let key = |workspace, scope, identifier, duration_ms| CellKey { workspace, scope, identifier, duration_ms };
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
        let passes = |limit| counters.check(&Check { cell: *cell, limit, cost: 5 }, UnixMs::new(START)).passed;
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
    counters.check(&check("old", 10, 1), UnixMs::new(START));
    counters.check(&check("young", 10, 1), UnixMs::new(START + D));
    let forget = |now| (counters.forget_idle(now), counters.len());
    assert_eq!(forget(UnixMs::new(START + 2 * D - 1)), (0, 2));
    assert_eq!(forget(UnixMs::new(START + 2 * D)), (1, 1));
    assert_eq!(forget(UnixMs::new(START + 3 * D)), (1, 0));
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
            [1, 2, 3].map(|_| counters.check_all(&batch, UnixMs::new(now)).passed)
        };
        thread::scope(|scope| {
            let callers = [call; 2].map(|call| scope.spawn(call));
            barrier.wait();
            while callers.iter().any(|caller| !caller.is_finished()) {
                counters.forget_idle(UnixMs::new(now));
            }
        });
        let rests = ["a", "b"].map(|cell| counters.check(&check(cell, 9, 0), UnixMs::new(now)).remaining);
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
                [] => { counters.forget_idle(UnixMs::new(now)); }
                [one] => prop_assert_eq!(counters.check(one, UnixMs::new(now)), expected.decisions[0]),
                _ => prop_assert_eq!(counters.check_all(&checks, UnixMs::new(now)), expected),
            }
        }
    }
}
