//! The counters against an oracle that knows no windows' counts, only what was admitted and when.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex};
use std::thread;

use proptest::prelude::*;

use super::memory::{CellKey, CellScope, Check, MemoryCounters};
use crate::calendar::UnixMs;

const START: i64 = 1_785_628_800_000;
const DURATIONS: [i64; 3] = [1_000, 1_500, 7_000];

fn check(identifier: &'static str, duration_ms: i64, limit: i64, cost: i64) -> Check<'static> {
    let scope = CellScope::Namespace("rlns_1");
    Check { cell: CellKey { workspace: "ws_1", scope, identifier, duration_ms }, limit, cost }
}

/// Every admission there was: when, of what, and its cost.
#[derive(Debug, Default)]
struct Oracle(Vec<(i64, CellKey<'static>, i64)>);

impl Oracle {
    /// What weighs on a cell at `now` by section 1.2: the cost of this window, and the share of the one
    /// before that is not over yet.
    fn used(&self, cell: &CellKey<'_>, now: i64) -> i64 {
        let start = now - now % cell.duration_ms;
        let admitted = |from: i64, to: i64| -> i64 {
            let inside = self.0.iter().filter(|(at, of, _)| of == cell && (from..to).contains(at));
            inside.map(|(_, _, cost)| cost).sum()
        };
        let left = start + cell.duration_ms - now;
        admitted(start, start + cell.duration_ms)
            + admitted(start - cell.duration_ms, start) * left / cell.duration_ms
    }

    /// Admits all or nothing: whether all passed, and per check what remains, or `None` if it was denied.
    fn ask(&mut self, checks: &[Check<'static>], now: i64) -> (bool, Vec<Option<i64>>) {
        let mut asked = BTreeMap::new();
        let verdict = |check: &Check<'static>| {
            let before = asked.entry(check.cell).or_insert(0);
            *before += check.cost;
            let left = check.limit - self.used(&check.cell, now) - *before;
            (left >= 0).then_some(left)
        };
        let alone: Vec<Option<i64>> = checks.iter().map(verdict).collect();
        if alone.iter().all(Option::is_some) {
            self.0.extend(checks.iter().map(|check| (now, check.cell, check.cost)));
            return (true, alone);
        }
        let retry = |(check, left): (&Check<'static>, Option<i64>)| {
            left.map(|_| (check.limit - self.used(&check.cell, now)).max(0))
        };
        (false, checks.iter().zip(alone).map(retry).collect())
    }
}

/// The same question to the counters.
fn ask(counters: &MemoryCounters, checks: &[Check<'static>], now: i64) -> (bool, Vec<Option<i64>>) {
    let batch = counters.check_all(checks, UnixMs::new(now));
    let rest = batch.decisions.iter().map(|decision| decision.passed.then_some(decision.remaining));
    (batch.passed, rest.collect())
}

proptest! {
    #[test]
    fn several_windows_and_mixed_costs_agree_with_the_admitted_timestamps(
        steps in prop::collection::vec(
            (0_i64..900, prop::collection::vec((0_usize..2, 0_usize..3, 1_i64..25, 0_i64..7), 1..12)),
            1..80,
        ),
    ) {
        let (counters, mut oracle, mut now) = (MemoryCounters::new(), Oracle::default(), START);
        for (later, entries) in steps {
            now += later;
            let one = |(who, window, limit, cost)| check(["a", "b"][who], DURATIONS[window], limit, cost);
            let checks: Vec<Check<'_>> = entries.into_iter().map(one).collect();
            prop_assert_eq!(ask(&counters, &checks, now), oracle.ask(&checks, now), "at {}", now);
        }
    }
}

/// Threads ask at the same instant of a clock that stands still, then the clock goes on. Within an instant
/// their order is open, so admitted cost must fit the formula as a whole, and a denial must be right at the
/// end of the instant at the latest, since within it counts only grow.
#[test]
fn parallel_callers_never_get_more_than_the_formula_allows_and_are_never_denied_without_reason() {
    const THREADS: usize = 4;
    const LIMITS: [i64; 3] = [40, 55, 160];
    let (counters, oracle) = (MemoryCounters::new(), Mutex::new(Oracle::default()));
    let (barrier, denied) = (Barrier::new(THREADS), Mutex::new(Vec::new()));
    let (mut admissions, mut denials) = (0, 0);
    for instant in 0..120_i64 {
        let now = START + instant * 137;
        let caller = |thread: usize| {
            barrier.wait();
            for call in 0..6 {
                // The shorter windows alone, or all of them together, in one order or the other.
                let cost = 1 + (thread as i64 + call * 3 + instant) % 7;
                let each = |window: usize| check("a", DURATIONS[window], LIMITS[window], cost);
                let mut checks =
                    if call % 2 == 0 { vec![each(0), each(1), each(2)] } else { vec![each(call as usize % 3)] };
                if thread.is_multiple_of(2) {
                    checks.reverse();
                }
                if counters.check_all(&checks, UnixMs::new(now)).passed {
                    let admitted = checks.iter().map(|check| (now, check.cell, check.cost));
                    oracle.lock().unwrap().0.extend(admitted);
                } else {
                    denied.lock().unwrap().push(checks);
                }
            }
        };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let caller = &caller;
                scope.spawn(move || caller(thread));
            }
        });
        let oracle = oracle.lock().unwrap();
        for (duration_ms, limit) in DURATIONS.into_iter().zip(LIMITS) {
            let used = oracle.used(&check("a", duration_ms, 0, 0).cell, now);
            let admitted_now = oracle.0.iter().any(|(at, cell, _)| *at == now && cell.duration_ms == duration_ms);
            assert!(used <= limit || !admitted_now, "{used} of {limit} in {duration_ms} ms, instant {instant}");
        }
        for checks in denied.lock().unwrap().drain(..) {
            let full = |check: &Check<'_>| oracle.used(&check.cell, now) + check.cost > check.limit;
            assert!(checks.iter().any(full), "denied with room left in instant {instant}: {checks:?}");
            denials += 1;
        }
        admissions = oracle.0.len();
    }
    assert!(admissions > 100 && denials > 100, "{admissions} admissions, {denials} denials");
}

#[test]
fn at_the_cap_those_that_used_least_of_their_limit_go_first_and_then_the_longest_unused() {
    let counters = MemoryCounters::with_room_for(160);
    let names: Vec<String> = (0..160).map(|number| number.to_string()).collect();
    let named = |name: &'static str, cost| check(name, 60_000, 1_000, cost);
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    for (number, name) in (0..).zip(&names) {
        // Twenty were counted once, the later the higher their number; the others often.
        let cost = if number < 20 { 1 } else { 5 };
        assert!(counters.check(&named(name, cost), UnixMs::new(START + number)).passed);
    }
    assert_eq!((counters.len(), counters.evicted.value()), (160, 0));
    assert!(counters.check(&named("one more", 1), UnixMs::new(START + 1_000)).passed);
    assert_eq!((counters.len(), counters.evicted.value()), (150, 11), "a sixteenth at once");
    let used = |name| 1_000 - counters.check(&named(name, 0), UnixMs::new(START + 1_000)).remaining;
    let left: Vec<i64> = names.iter().map(|name| used(name)).collect();
    assert_eq!(left, [[0; 11].as_slice(), &[1; 9], &[5; 140]].concat());
    assert_eq!(used("one more"), 1);
}

#[test]
fn a_flood_of_identifiers_stays_within_the_room_and_spares_those_that_count_more() {
    const ROOM: usize = 20_000;
    const FLOOD: u64 = 200_000;
    let counters = MemoryCounters::with_room_for(ROOM);
    let flood = |name: &str, cost, now| {
        let scope = CellScope::Namespace("rlns_1");
        let cell = CellKey { workspace: "ws_1", scope, identifier: name, duration_ms: 3_600_000 };
        counters.check(&Check { cell, limit: 10, cost }, now)
    };
    for busy in 0..100 {
        assert!(flood(&format!("busy {busy}"), 7, UnixMs::new(START)).passed);
    }
    thread::scope(|scope| {
        for half in 0..2 {
            let (flood, counters) = (&flood, &counters);
            scope.spawn(move || {
                for number in 0..FLOOD / 2 {
                    assert_eq!(flood(&format!("flood {half} {number}"), 1, UnixMs::new(START + 1)).remaining, 9);
                    // The other thread may be about to put one in.
                    assert!(counters.len() <= ROOM + 1, "{}", counters.len());
                }
            });
        }
    });
    assert!(counters.len() <= ROOM, "{}", counters.len());
    assert_eq!(counters.evicted.value() + counters.len() as u64, FLOOD + 100, "each is counted");
    for busy in 0..100 {
        let decision = flood(&format!("busy {busy}"), 4, UnixMs::new(START + 2));
        assert!(!decision.passed, "busy {busy} was forgotten");
    }
}

#[test]
fn cells_that_are_over_make_room_before_those_that_count() {
    let counters = MemoryCounters::with_room_for(100);
    for name in 0..50_i64 {
        for (name, now) in [(format!("old {name}"), START), (format!("young {name}"), START + 10_000)] {
            let scope = CellScope::Key("requests");
            let cell = CellKey { workspace: "ws_1", scope, identifier: &name, duration_ms: 1_000 };
            assert!(counters.check(&Check { cell, limit: 9, cost: 1 }, UnixMs::new(now)).passed);
        }
    }
    assert!(counters.check(&check("one more", 1_000, 9, 1), UnixMs::new(START + 10_000)).passed);
    assert_eq!((counters.len(), counters.evicted.value()), (51, 0));
}
