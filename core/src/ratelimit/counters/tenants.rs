//! One workspace takes no count from another, however many cells it makes and whatever it chooses for them.

use std::collections::BTreeMap;
use std::thread;

use proptest::prelude::*;

use super::memory::{CellKey, CellScope, Check, MemoryCounters};
use super::saved::CountersFile;
use crate::calendar::UnixMs;

const START: i64 = 1_785_628_800_000;
const HOUR: i64 = 3_600_000;

fn key<'a>(workspace: &'a str, scope: CellScope<'a>, identifier: &'a str, duration_ms: i64) -> CellKey<'a> {
    CellKey { workspace, scope, identifier, duration_ms }
}

fn throttle(workspace: &str) -> CellKey<'_> {
    key(workspace, CellScope::Workspace, workspace, HOUR)
}

fn used(counters: &MemoryCounters, cell: CellKey<'_>, now: i64) -> i64 {
    i64::MAX - counters.check(&Check { cell, limit: i64::MAX, cost: 0 }, UnixMs::new(now)).remaining
}

/// What an attacker asks for: as much as the limit lets through, in windows of any length.
#[derive(Debug, Clone)]
struct Flood {
    cells: usize,
    limit: i64,
    share_used: i64,
    duration_ms: i64,
    in_batches: bool,
}

fn flood() -> impl Strategy<Value = Flood> {
    let limits = prop_oneof![Just(1), Just(1_000), Just(i64::MAX), 1..i64::MAX];
    let durations = prop_oneof![Just(HOUR), Just(2_592_000_000), Just(i64::MAX), HOUR..i64::MAX];
    let parts = (1_usize..600, limits, 1_i64..4, durations, any::<bool>());
    parts.prop_map(|(cells, limit, share_used, duration_ms, in_batches)| Flood {
        cells,
        limit,
        share_used,
        duration_ms,
        in_batches,
    })
}

impl Flood {
    fn run(&self, counters: &MemoryCounters, workspace: &str, number: usize, now: i64) {
        let names: Vec<String> = (0..self.cells).map(|cell| format!("{workspace} {number} {cell}")).collect();
        let scope = CellScope::Key("ad hoc");
        let cost = (self.limit / self.share_used).max(1);
        let check = |name| Check { cell: key(workspace, scope, name, self.duration_ms), limit: self.limit, cost };
        let checks: Vec<Check<'_>> = names.iter().map(|name| check(name)).collect();
        if self.in_batches {
            for batch in checks.chunks(100) {
                counters.check_all(batch, UnixMs::new(now));
            }
        } else {
            for check in &checks {
                counters.check(check, UnixMs::new(now));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Three workspaces: the victim has no more than a third of the room, the others what they like.
    #[test]
    fn a_workspace_within_its_share_and_the_throttles_lose_no_count_to_any_flood(
        room in prop_oneof![Just(150_usize), Just(2_000)],
        floods in prop::collection::vec((flood(), prop::bool::ANY, prop::bool::weighted(0.2)), 1..12),
        costs in prop::collection::vec(1_i64..50, 1..50),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = CountersFile::claim(folder.path()).unwrap().expect("nobody else has it");
        let (mut counters, mut now) = (MemoryCounters::with_room_for(room), START);
        let names: Vec<String> = (0..50).map(|name| name.to_string()).collect();
        let mut expected = BTreeMap::new();
        for (number, (flood, by_second, is_restart)) in floods.iter().enumerate() {
            now += 1;
            // Hardly anything of a large limit, which ranks below all that the others have.
            for (name, cost) in names.iter().zip(&costs) {
                let cell = key("victim", CellScope::Namespace("rlns_1"), name, HOUR);
                let check = Check { cell, limit: i64::MAX, cost: *cost };
                prop_assert!(counters.check(&check, UnixMs::new(now)).passed);
                *expected.entry(cell).or_insert(0) += cost;
            }
            let workspace = if *by_second { "second" } else { "first" };
            let cell = throttle(workspace);
            let check = Check { cell, limit: i64::MAX, cost: 1 };
            prop_assert!(counters.check(&check, UnixMs::new(now)).passed);
            *expected.entry(cell).or_insert(0) += 1;
            flood.run(&counters, workspace, number, now);
            if *is_restart {
                file.save(&counters, UnixMs::new(now)).unwrap();
                counters = file.load(room, UnixMs::new(now)).unwrap().expect("it was saved");
            }
            prop_assert!(counters.len() <= room + 2, "{} cells and 2 throttles in {room}", counters.len());
            for (cell, expected) in &expected {
                prop_assert_eq!(used(&counters, *cell, now), *expected, "{:?}", cell);
            }
        }
    }
}

#[test]
fn a_flood_spends_the_counts_of_its_own_workspace_and_neither_its_throttle_nor_others() {
    let counters = MemoryCounters::with_room_for(1_000);
    let limit = |cell, limit, cost| counters.check(&Check { cell, limit, cost }, UnixMs::new(START)).passed;
    let of = |workspace, name| key(workspace, CellScope::Key("requests"), name, HOUR);
    for workspace in ["a", "b"] {
        assert!(limit(throttle(workspace), 10, 10) && limit(of(workspace, "somebody"), 1_000, 1));
    }
    let names: Vec<String> = (0..20_000).map(|name| name.to_string()).collect();
    assert!(names.iter().all(|name| limit(of("b", name), 1_000, 1_000)));
    assert!(!limit(throttle("a"), 10, 1) && !limit(throttle("b"), 10, 1));
    assert_eq!(used(&counters, of("a", "somebody"), START), 1);
    assert_eq!(used(&counters, of("b", "somebody"), START), 0, "it had used the least of its limit");
}

#[test]
fn whoever_comes_to_a_full_room_takes_the_place_of_the_largest() {
    let counters = MemoryCounters::with_room_for(2_000);
    let fill = |workspace: &str, cells: usize| {
        for number in 0..cells {
            let name = number.to_string();
            let cell = key(workspace, CellScope::Key("requests"), &name, i64::MAX);
            assert!(counters.check(&Check { cell, limit: 9, cost: 1 }, UnixMs::new(START)).passed);
        }
    };
    let left = |workspace: &str, cells: usize| {
        let names: Vec<String> = (0..cells).map(|number| number.to_string()).collect();
        let count = |name| used(&counters, key(workspace, CellScope::Key("requests"), name, i64::MAX), START);
        names.iter().map(|name| count(name)).sum::<i64>()
    };
    fill("small", 300);
    fill("large", 10_000);
    assert_eq!((left("small", 300), counters.len() > 1_900), (300, true));
    fill("newcomer", 600);
    assert_eq!((left("small", 300), left("newcomer", 600)), (300, 600));
    assert!(left("large", 10_000) < 1_100);
}

#[test]
fn threads_of_a_flood_take_nothing_from_one_who_counts_beside_them() {
    let counters = MemoryCounters::with_room_for(5_000);
    let one = Flood { cells: 20_000, limit: 5, share_used: 1, duration_ms: i64::MAX, in_batches: false };
    let many = Flood { in_batches: true, ..one.clone() };
    let names: Vec<String> = (0..500).map(|name| name.to_string()).collect();
    let cells: Vec<CellKey<'_>> =
        names.iter().map(|name| key("victim", CellScope::Key("requests"), name, HOUR)).collect();
    thread::scope(|scope| {
        let counters = &counters;
        let floods = [&one, &many].map(|flood| scope.spawn(move || flood.run(counters, "attacker", 0, START)));
        let mut rounds = 0;
        while rounds == 0 || floods.iter().any(|flood| !flood.is_finished()) {
            rounds += 1;
            for cell in &cells {
                assert!(
                    counters.check(&Check { cell: *cell, limit: i64::MAX, cost: 1 }, UnixMs::new(START)).passed
                );
            }
        }
        for cell in &cells {
            assert_eq!(used(counters, *cell, START), rounds);
        }
    });
    assert!(counters.len() <= 5_000);
}

#[test]
fn limits_with_windows_without_end_do_not_keep_their_counts_without_end() {
    let counters = MemoryCounters::with_room_for(1_000);
    let endless = Flood { cells: 100, limit: 9, share_used: 1, duration_ms: i64::MAX, in_batches: false };
    endless.run(&counters, "ws_1", 0, START);
    let day = 24 * HOUR;
    assert_eq!((counters.forget_idle(UnixMs::new(START + 400 * day)), counters.len()), (0, 100));
    assert_eq!((counters.forget_idle(UnixMs::new(START + 401 * day)), counters.len()), (100, 0));
}
