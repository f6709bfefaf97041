//! Appending, flushing, compacting and looking, all at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const EVENTS: u64 = 12_000;

/// Ten days of events, one after the other.
fn fact(number: u64) -> Fact {
    Fact { number, time: BEGIN + (number * 10 * 86_400_000 / EVENTS).cast_signed() }
}

#[test]
fn whoever_looks_sees_all_events_up_to_one_each_once_whatever_is_done_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    let is_over = AtomicBool::new(false);
    let again_and_again = |work: &dyn Fn()| {
        while !is_over.load(Ordering::Relaxed) {
            work();
            thread::sleep(std::time::Duration::from_millis(3));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| again_and_again(&|| _ = warehouse.flush().unwrap()));
        scope.spawn(|| {
            again_and_again(&|| {
                let newest = passed(&warehouse);
                warehouse.compact(UnixMs::new(fact(newest).time), &mut to_the_end).unwrap();
            });
        });
        let looks = scope.spawn(|| {
            let (mut looks, mut last) = (0, 0);
            while last < EVENTS {
                let snapshot = warehouse.snapshot().unwrap();
                let found = facts(&snapshot);
                assert_eq!(found, (0..found.len() as u64).map(fact).collect::<Vec<_>>());
                if looks % 4 == 0 {
                    assert_sums(&snapshot, &found);
                }
                assert!(found.len() as u64 >= last);
                (looks, last) = (looks + 1, found.len() as u64);
            }
            looks
        });
        for begin in (0..EVENTS).step_by(40) {
            append(&warehouse, &(begin..begin + 40).map(fact).collect::<Vec<_>>());
            thread::sleep(std::time::Duration::from_millis(4));
        }
        let looks = looks.join();
        is_over.store(true, Ordering::Relaxed);
        assert!(looks.unwrap() > 1);
    });
    let snapshot = warehouse.snapshot().unwrap();
    assert!(!snapshot.files(Stored::VerificationsPerDay).is_empty(), "days were compacted meanwhile");
}
