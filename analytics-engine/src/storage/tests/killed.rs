//! Kills in the middle of whatever is done.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Says to the child which folder it works in.
const FOLDER: &str = "KEYRACK_TEST_KILLED_FOLDER";
const KILLS: u64 = 50;
/// Events of a day.
const PER_DAY: u64 = 100;

fn settings() -> Settings {
    // So many that quarters of months are put together, and lose days again.
    let kept = Kept { raw: 9, day: 1000, month: 1000 };
    Settings { retention: Retention { verifications: kept, ratelimits: kept }, ..Settings::default() }
}

/// What the log would have: one event after the other, for ever.
fn fact(number: u64) -> Fact {
    Fact { number, time: BEGIN + (number * (86_400_000 / PER_DAY)).cast_signed() }
}

/// What is killed: it works as fast as it can.
#[test]
#[ignore = "the other test starts it"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let warehouse = Warehouse::open(Path::new(&folder), settings()).unwrap();
    loop {
        let passed = passed(&warehouse);
        append(&warehouse, &(passed..passed + 37).map(fact).collect::<Vec<_>>());
        if passed.is_multiple_of(2) {
            warehouse.flush().unwrap();
        }
        let now = UnixMs::new(fact(passed).time);
        warehouse.compact(now, &mut to_the_end).unwrap();
        if passed.is_multiple_of(5) {
            warehouse.sweep(now, &Shorter::new(), &mut to_the_end).unwrap();
        }
    }
}

/// That what is there is all of the log up to where it was read, but for whole days from the beginning.
fn check(warehouse: &Warehouse, with_sums: bool) -> u64 {
    let passed = passed(warehouse);
    let snapshot = warehouse.snapshot().unwrap();
    assert!(snapshot.damaged().is_empty());
    let found = facts(&snapshot);
    for is_verification in [true, false] {
        let of_kind = |fact: &&Fact| fact.is_verification() == is_verification;
        let found: Vec<&Fact> = found.iter().filter(of_kind).collect();
        let day = |fact: &Fact| DayNumber::of(UnixMs::new(fact.time));
        let first = found.iter().map(|fact| day(fact)).min();
        let all: Vec<Fact> = (0..passed).map(fact).collect();
        let kept: Vec<&Fact> =
            all.iter().filter(of_kind).filter(|fact| first.is_none_or(|first| day(fact) >= first)).collect();
        assert!(found == kept, "{} events instead of {}", found.len(), kept.len());
    }
    if with_sums {
        assert_sums(&snapshot, &(0..passed).map(fact).collect::<Vec<_>>());
    }
    passed
}

#[test]
fn no_event_is_lost_or_doubled_by_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let (mut last, mut in_the_middle) = (0, 0);
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::tests::killed::child", "--ignored"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Times that hit every step, the same ones every time.
        std::thread::sleep(Duration::from_millis(40 + kill * 7919 % 160));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = files();
        let warehouse = Warehouse::open(folder.path(), settings()).unwrap();
        in_the_middle += u64::from(files() < left);
        let passed = check(&warehouse, kill % 10 == 9);
        assert!(passed >= last, "what was flushed stays");
        last = passed;
    }
    assert!(last > 8 * PER_DAY && in_the_middle > 0, "the child got somewhere: {last}, {in_the_middle}");
}
