//! Days that are over and done with, put together.

use super::super::days::Days;
use super::*;

/// Forty days from 2024-02-28 on, thirty events each.
fn forty_days() -> Vec<Fact> {
    (0..1200).map(|number| Fact { number, time: BEGIN + (number * 2_880_000).cast_signed() }).collect()
}

fn settings(raw: u32) -> Settings {
    let kept = Kept { raw, day: 1000, month: 1000 };
    Settings { retention: Retention { verifications: kept, ratelimits: kept }, ..Settings::default() }
}

fn days_of(warehouse: &Warehouse, table: Stored) -> Vec<String> {
    let snapshot = warehouse.snapshot().unwrap();
    let mut days: Vec<Days> = snapshot.files(table).iter().map(|file| file.days()).collect();
    days.sort();
    days.iter().map(Days::to_string).collect()
}

#[test]
fn days_become_quarters_of_months_and_their_sums_months() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path(), settings(1000)).unwrap();
    let all = forty_days();
    // Compacted every day, as it is.
    for (day, facts) in (1..).zip(all.chunks(30)) {
        append(&warehouse, facts);
        warehouse.flush().unwrap();
        warehouse.compact(day_after(day), &mut to_the_end).unwrap();
    }
    let february = "2024-02-28_2024-02-29";
    let raw = days_of(&warehouse, Stored::Verifications);
    let quarters = [
        february,
        "2024-03-01_2024-03-07",
        "2024-03-08_2024-03-14",
        "2024-03-15_2024-03-21",
        "2024-03-22_2024-03-31",
        "2024-04-01_2024-04-07",
        "2024-04-08",
    ];
    assert_eq!(raw, quarters);
    for table in [Stored::VerificationsPerDay, Stored::RatelimitsPerHour] {
        let sums = days_of(&warehouse, table);
        assert_eq!(sums[..2], [february, "2024-03-01_2024-03-31"], "{table}");
    }
    // Several of a month, because tests read few files at once.
    let mut months = days_of(&warehouse, Stored::VerificationsPerMonth);
    months.dedup();
    assert_eq!(months, ["2024-02-01_2024-02-29", "2024-03-01_2024-03-31"]);
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(facts(&snapshot), all);
    assert_sums(&snapshot, &all);
    // They are the same after a restart.
    drop((snapshot, warehouse));
    let warehouse = Warehouse::open(folder.path(), settings(1000)).unwrap();
    assert_eq!(days_of(&warehouse, Stored::Verifications), raw);
    assert_eq!(warehouse.compact(day_after(40), &mut to_the_end).unwrap(), Compacted::default());
}

#[test]
fn a_few_late_events_do_not_have_a_quarter_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path(), settings(1000)).unwrap();
    let mut all = forty_days();
    append(&warehouse, &all);
    warehouse.flush().unwrap();
    warehouse.compact(day_after(40), &mut to_the_end).unwrap();
    let before = days_of(&warehouse, Stored::Verifications);
    for late in 0..40 {
        // Two kinds of events, on the 10th of March.
        let come: Vec<Fact> =
            (0..3).map(|n| Fact { number: 2000 + late * 3 + n, time: BEGIN + 11 * DAY_MS }).collect();
        append(&warehouse, &come);
        all.extend(come);
        warehouse.flush().unwrap();
        let done = warehouse.compact(day_after(40), &mut to_the_end).unwrap();
        assert!(late > 8 || done.days == 2, "{done:?}");
        let files = days_of(&warehouse, Stored::Verifications).len();
        assert!(files <= before.len() + 8, "{files}");
        assert!(late > 0 || files == before.len() + 1, "one that is late is a file beside");
    }
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(facts(&snapshot), all);
    assert_sums(&snapshot, &all);
}

#[test]
fn what_is_too_old_leaves_a_quarter_day_by_day() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path(), settings(20)).unwrap();
    let all = forty_days();
    append(&warehouse, &all);
    warehouse.flush().unwrap();
    let shorter = Shorter::from([("ws_2".to_owned(), 5)]);
    for day in 36..66 {
        let now = day_after(day);
        warehouse.compact(now, &mut to_the_end).unwrap();
        *warehouse.leapt.lock().unwrap() = None;
        warehouse.sweep(now, &shorter, &mut to_the_end).unwrap();
        let kept = |fact: &&Fact| {
            let kept = if fact.workspace() == "ws_2" { 5 } else { 20 };
            DayNumber::of(UnixMs::new(fact.time)) >= DayNumber::of(now).before(kept)
        };
        let kept: Vec<Fact> = all.iter().filter(kept).cloned().collect();
        assert_eq!(facts(&warehouse.snapshot().unwrap()), kept, "{day}");
        let once_more = warehouse.sweep(now, &shorter, &mut to_the_end).unwrap();
        assert_eq!(once_more, Removed::default(), "{day}");
    }
    // Sums of the one that keeps less are gone with its events; those of the other are all there.
    let of_others = all.iter().filter(|fact| fact.workspace() != "ws_2");
    let sums = found(&warehouse.snapshot().unwrap(), Stored::VerificationsPerDay);
    assert!(sums == expected(Stored::VerificationsPerDay, of_others));
}

#[test]
fn sums_of_a_month_that_cannot_be_read_are_made_of_its_quarters() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path(), settings(1000)).unwrap();
    let all = forty_days();
    append(&warehouse, &all);
    warehouse.flush().unwrap();
    warehouse.compact(day_after(40), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    let of_march = |file: &&std::sync::Arc<StoredFile>| file.days().to_string() == "2024-03-01_2024-03-31";
    let paths: Vec<_> =
        SUMS.iter().map(|table| snapshot.files(*table).iter().find(of_march).unwrap().path().to_owned()).collect();
    drop((snapshot, warehouse));
    for path in &paths {
        std::fs::write(path, b"PAR1").unwrap();
    }
    let warehouse = Warehouse::open(folder.path(), settings(1000)).unwrap();
    assert_eq!(warehouse.snapshot().unwrap().damaged().len(), 6);
    warehouse.compact(day_after(40), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(snapshot.damaged(), []);
    assert_sums(&snapshot, &all);
}
