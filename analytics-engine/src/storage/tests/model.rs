//! Random work against a list of what was appended.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// So many events, so many ms after the beginning and each so many after the one before.
    Append(u16, i64, i64),
    /// Events that somebody began to append.
    GiveUp(u16),
    Flush,
    /// A look, which makes a batch of what there is.
    Look,
    /// So many days after the beginning.
    Compact(i64),
    Sweep(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u16..400, -3 * DAY_MS..6 * DAY_MS, 0..HOUR_MS).prop_map(|(count, begin, apart)| Step::Append(count, begin, apart)),
        1 => (1_u16..50).prop_map(Step::GiveUp),
        3 => Just(Step::Flush),
        1 => Just(Step::Look),
        2 => (-1_i64..40).prop_map(Step::Compact),
        1 => (-1_i64..40).prop_map(Step::Sweep),
        1 => Just(Step::Reopen),
    ]
}

/// What should be there.
#[derive(Default)]
struct Model {
    next: u64,
    /// All events ever, with those that are in no file yet at the end.
    facts: Vec<Fact>,
    flushed: usize,
    /// Those that are still there themselves.
    kept: Vec<Fact>,
}

const RETENTION: Retention = Retention {
    verifications: Kept { raw: 10, day: 1000, month: 1000 },
    ratelimits: Kept { raw: 4, day: 1000, month: 1000 },
};

fn settings() -> Settings {
    Settings { retention: RETENTION, ..Settings::default() }
}

impl Model {
    fn new_facts(&mut self, count: u16, begin: i64, apart: i64) -> Vec<Fact> {
        let number = self.next;
        self.next += u64::from(count);
        (0..u64::from(count))
            .map(|at| Fact { number: number + at, time: BEGIN + begin + apart * at.cast_signed() })
            .collect()
    }
}

fn run(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let mut warehouse = Warehouse::open(folder.path(), settings()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(count, begin, apart) => {
                let facts = model.new_facts(*count, *begin, *apart);
                append(&warehouse, &facts);
                model.kept.extend_from_slice(&facts);
                model.facts.extend(facts);
            }
            Step::GiveUp(count) => {
                let facts = model.new_facts(*count, 0, 1);
                let mut appending = warehouse.appending().unwrap();
                facts.iter().for_each(|fact| fact.append(&mut appending));
            }
            Step::Flush => {
                let rows = warehouse.flush().unwrap();
                assert_eq!(rows as usize, model.facts.len() - model.flushed);
                model.flushed = model.facts.len();
            }
            Step::Look => assert!(warehouse.snapshot().unwrap().damaged().is_empty()),
            Step::Compact(days) => drop(warehouse.compact(day_after(*days), &mut to_the_end).unwrap()),
            Step::Sweep(days) => sweep(&warehouse, &mut model, *days),
            Step::Reopen => {
                drop(warehouse);
                let lost = model.facts.split_off(model.flushed);
                model.kept.retain(|fact| !lost.contains(fact));
                warehouse = Warehouse::open(folder.path(), settings()).unwrap();
            }
        }
        assert_eq!(passed(&warehouse), model.facts.len() as u64);
    }
    check(&warehouse, &model);
    warehouse.flush().unwrap();
    warehouse.compact(day_after(100), &mut to_the_end).unwrap();
    check(&warehouse, &model);
    let snapshot = warehouse.snapshot().unwrap();
    for table in SUMS {
        let uncounted = snapshot.uncounted(table);
        assert!(uncounted.days.is_empty() && uncounted.raw.is_empty() && uncounted.tail.is_empty(), "{table}");
    }
}

/// Removes what is old, by a clock that is believed when it is not much further than at the last time.
fn sweep(warehouse: &Warehouse, model: &mut Model, days: i64) {
    let (now, swept) = (day_after(days), warehouse.swept());
    warehouse.flush().unwrap();
    model.flushed = model.facts.len();
    warehouse.compact(now.plus(2 * DAY_MS), &mut to_the_end).unwrap();
    let removed = warehouse.sweep(now, &Shorter::new(), &mut to_the_end).unwrap();
    let mut gone = 0;
    if swept == UnixMs::EPOCH || now.since(swept) <= 3 * DAY_MS {
        let is_old = |fact: &Fact| {
            let raw = if fact.is_verification() { RETENTION.verifications.raw } else { RETENTION.ratelimits.raw };
            DayNumber::of(UnixMs::new(fact.time)) < DayNumber::of(now).before(raw)
        };
        let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut model.kept).into_iter().partition(is_old);
        gone = old.len();
        model.kept = kept;
    }
    assert_eq!(removed.rows as usize, gone);
}

fn check(warehouse: &Warehouse, model: &Model) {
    let snapshot = warehouse.snapshot().unwrap();
    let mut kept = model.kept.clone();
    kept.sort();
    assert_eq!(facts(&snapshot), kept);
    assert_sums(&snapshot, &model.facts);
    assert!(folder_is_clean(warehouse, &snapshot));
}

/// That there is no file beside those of the snapshot.
fn folder_is_clean(warehouse: &Warehouse, snapshot: &Snapshot) -> bool {
    let named: usize = Stored::ALL.iter().map(|table| snapshot.files(*table).len()).sum();
    let found = std::fs::read_dir(warehouse.folder.path()).unwrap();
    let is_parquet = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "parquet");
    found.map(Result::unwrap).filter(is_parquet).count() == named
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_there_once_and_counted_once_whatever_is_done(steps in prop::collection::vec(step(), 1..24)) {
        run(&steps);
    }
}

#[test]
fn many_small_files_of_a_day_become_few() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    let mut model = Model::default();
    for round in 0..40 {
        let facts = model.new_facts(50, round * 1000, 20);
        append(&warehouse, &facts);
        warehouse.flush().unwrap();
        warehouse.compact(day_after(0), &mut to_the_end).unwrap();
        let snapshot = warehouse.snapshot().unwrap();
        assert!(snapshot.files(Stored::Verifications).len() < 16);
        assert!(snapshot.files(Stored::VerificationsPerDay).is_empty(), "its day is not over");
        model.facts.extend(facts);
    }
    assert_sums(&warehouse.snapshot().unwrap(), &model.facts);
}

#[test]
fn what_comes_late_is_counted_beside_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    let mut model = Model::default();
    // The last days of February of a leap year, and the first of March; then again, as if by a clock that was set back.
    for late in 0..2 {
        for days in [0, 1, 2, 3] {
            let facts = model.new_facts(100, days * DAY_MS - 12 * HOUR_MS, 5000);
            model.facts.extend(facts);
        }
        append(&warehouse, &model.facts[late * 400..]);
        warehouse.flush().unwrap();
        let done = warehouse.compact(day_after(4), &mut to_the_end).unwrap();
        assert_eq!((done.days, done.months), (8, 2), "two tables, four days, one month that is over");
        assert_sums(&warehouse.snapshot().unwrap(), &model.facts);
        assert_eq!(warehouse.compact(day_after(4), &mut to_the_end).unwrap(), Compacted::default());
    }
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(snapshot.files(Stored::VerificationsPerMonth).len(), 2, "of February, in two parts");
    assert_eq!(snapshot.files(Stored::VerificationsPerMonth)[0].day().to_string(), "2024-02-01");
    let days: Vec<String> =
        snapshot.uncounted(Stored::VerificationsPerMonth).days.iter().map(|file| file.day().to_string()).collect();
    assert_eq!(days, ["2024-03-01", "2024-03-02", "2024-03-01", "2024-03-02"]);
}

#[test]
fn a_file_stays_while_a_snapshot_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    let mut model = Model::default();
    model.facts = model.new_facts(300, 0, 1000);
    append(&warehouse, &model.facts);
    warehouse.flush().unwrap();
    let before = warehouse.snapshot().unwrap();
    warehouse.compact(day_after(2), &mut to_the_end).unwrap();
    let after = warehouse.snapshot().unwrap();
    assert_eq!(facts(&before), facts(&after));
    assert_sums(&before, &model.facts);
    assert!(before.files(Stored::VerificationsPerDay).is_empty());
    let path = before.files(Stored::Verifications)[0].path().to_owned();
    assert!(path.exists());
    drop(before);
    assert!(!path.exists());
    assert!(folder_is_clean(&warehouse, &after));
}
