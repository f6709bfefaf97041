//! What is removed: by age, by a workspace's own retention, and where there is no room.

use std::ops::ControlFlow;

use super::*;

/// Four days of events, compacted.
fn four_days(folder: &Path) -> Vec<Fact> {
    let warehouse = open(folder);
    let fact = |number: u64| Fact { number, time: BEGIN + (number * 4 * 86_400_000 / 24_000).cast_signed() };
    let facts: Vec<Fact> = (0..24_000).map(fact).collect();
    append(&warehouse, &facts);
    warehouse.flush().unwrap();
    warehouse.compact(day_after(6), &mut to_the_end).unwrap();
    facts
}

fn gaps(snapshot: &Snapshot) -> Vec<(String, u64, i64, i64)> {
    let mut gaps = Vec::new();
    for batch in batches(snapshot.files(Stored::Gaps)) {
        let integer = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (first, last) = (integer("time"), integer("last_time"));
        let events = batch.column_by_name("events").unwrap().as_primitive::<UInt64Type>();
        let ids = batch.column_by_name("workspace_id").unwrap().as_string_view();
        let gap = |row: usize| (ids.value(row).to_owned(), events.value(row), first.value(row), last.value(row));
        gaps.extend((0..batch.num_rows()).map(gap));
    }
    gaps
}

fn raw_bytes(snapshot: &Snapshot) -> u64 {
    Stored::RAW.iter().flat_map(|table| snapshot.files(*table)).map(|file| file.bytes()).sum()
}

#[test]
fn where_there_is_no_room_the_oldest_of_the_workspace_with_most_goes_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let bytes = raw_bytes(&open(folder.path()).snapshot().unwrap());
    let most_bytes = bytes * 3 / 4;
    let warehouse = Warehouse::open(folder.path(), Settings { most_bytes, ..Settings::default() }).unwrap();
    let removed = warehouse.sweep(day_after(6), &Shorter::new(), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    let left = facts(&snapshot);
    assert_eq!(left.len() as u64 + removed.rows, all.len() as u64);
    let of = |facts: &[Fact], workspace: &str| facts.iter().filter(|fact| fact.workspace() == workspace).count();
    assert_eq!(of(&left, "ws_2"), of(&all, "ws_2"), "the small one keeps everything");
    let oldest = left.iter().filter(|fact| fact.workspace() == "ws_1").map(|fact| fact.time).min().unwrap();
    let newest_gone = all.iter().filter(|fact| !left.contains(fact)).map(|fact| fact.time).max().unwrap();
    assert!(newest_gone < oldest + DAY_MS);
    let told = gaps(&snapshot);
    assert_eq!(told.iter().map(|(_, events, ..)| events).sum::<u64>(), removed.rows);
    assert!(told.iter().all(|(id, _, first, last)| id == "ws_1" && first <= last && *last <= newest_gone));
    assert!(raw_bytes(&snapshot) <= most_bytes + 20_000, "but for the gaps themselves");
    assert_sums(&snapshot, &all);
}

#[test]
fn sums_stay_also_where_there_is_no_room_for_any_event() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let warehouse = Warehouse::open(folder.path(), Settings { most_bytes: 0, ..Settings::default() }).unwrap();
    // Those of a day that is not over are summed before they go.
    let today: Vec<Fact> = (24_000..24_100).map(|number| Fact { number, time: day_after(7).get() }).collect();
    append(&warehouse, &today);
    warehouse.flush().unwrap();
    warehouse.sweep(day_after(7), &Shorter::new(), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(facts(&snapshot), []);
    assert_eq!(gaps(&snapshot).iter().map(|(_, events, ..)| events).sum::<u64>(), 24_100);
    assert_sums(&snapshot, all.iter().chain(&today));
}

#[test]
fn a_workspace_may_keep_less_than_others() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let warehouse = open(folder.path());
    let (now, shorter) = (day_after(6), Shorter::from([("ws_2".to_owned(), 4), ("ws_none".to_owned(), 1)]));
    let ended = warehouse.sweep(now, &shorter, &mut |_| std::ops::ControlFlow::Break(()));
    assert!(matches!(ended, Err(Fault::Stopped)), "and begun again");
    let removed = warehouse.sweep(now, &shorter, &mut to_the_end).unwrap();
    let is_kept = |fact: &&Fact| {
        fact.workspace() == "ws_1" || DayNumber::of(UnixMs::new(fact.time)) >= DayNumber::of(now).before(4)
    };
    let mut kept: Vec<Fact> = all.iter().filter(is_kept).cloned().collect();
    kept.sort();
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(facts(&snapshot), kept);
    let sums: Totals = found(&snapshot, Stored::VerificationsPerDay);
    assert_eq!(sums, expected(Stored::VerificationsPerDay, &kept));
    assert!(removed.rows > 0);
    assert_eq!(warehouse.sweep(now, &shorter, &mut to_the_end).unwrap(), Removed::default(), "once is enough");
}

#[test]
fn a_clock_that_leaps_ahead_removes_nothing_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let warehouse = open(folder.path());
    warehouse.sweep(day_after(6), &Shorter::new(), &mut to_the_end).unwrap();
    warehouse.sweep(day_after(5000), &Shorter::new(), &mut to_the_end).unwrap();
    assert_eq!(facts(&warehouse.snapshot().unwrap()).len(), all.len());
    // It was set right.
    warehouse.sweep(day_after(7), &Shorter::new(), &mut to_the_end).unwrap();
    assert_eq!(warehouse.swept(), day_after(7));
}

#[test]
fn old_sums_go_as_wholes() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let warehouse = open(folder.path());
    let days = |days: i64| {
        warehouse.compact(day_after(days), &mut to_the_end).unwrap();
        *warehouse.leapt.lock().unwrap() = None;
        warehouse
            .change(super::super::warehouse::Change { swept: Some(UnixMs::EPOCH), ..Default::default() })
            .unwrap();
        warehouse.sweep(day_after(days), &Shorter::new(), &mut to_the_end).unwrap();
        let snapshot = warehouse.snapshot().unwrap();
        Stored::ALL.map(|table| snapshot.files(table).len())
    };
    let [raw, ratelimits, _, _, days_of, _, hours_of, ..] = days(40);
    assert_eq!((raw, ratelimits, days_of, hours_of), (3, 0, 2, 2), "quarters of months and months");
    assert_eq!(days(95)[0], 0);
    assert_eq!(days(300)[4..], [2, 2, 2, 0, 2, 0]);
    assert_eq!(days(500)[4..], [0, 2, 0, 0, 2, 0]);
    let snapshot = warehouse.snapshot().unwrap();
    let months = found(&snapshot, Stored::VerificationsPerMonth);
    assert_eq!(months, expected(Stored::VerificationsPerMonth, &all));
    // The last day of February 2024 is too old before that of March is.
    assert_eq!(days(1099)[4..], [0, 1, 0, 0, 1, 0]);
}

#[test]
fn an_export_has_all_of_a_workspace_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let warehouse = open(folder.path());
    let late: Vec<Fact> = (24_000..24_100).map(|number| Fact { number, time: day_after(7).get() }).collect();
    append(&warehouse, &late);
    let target = folder.path().join("export");
    let snapshot = warehouse.snapshot().unwrap();
    let wanted = Wanted { workspace_id: "ws_2".to_owned(), from: None, until: None };
    let exported = snapshot.export(&wanted, &target, &mut to_the_end).unwrap();
    let own = |is_verification: bool| {
        let is_own = |fact: &&Fact| fact.workspace() == "ws_2" && fact.is_verification() == is_verification;
        let mut own: Vec<Fact> = all.iter().chain(&late).filter(is_own).cloned().collect();
        own.sort();
        own
    };
    for (exported, is_verification) in exported.iter().zip([true, false]) {
        let file = std::fs::File::open(&exported.path).unwrap();
        let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let expected = own(is_verification);
        assert_eq!(exported.rows, expected.len() as u64);
        let types: Vec<_> = builder.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert!(
            types.contains(&DataType::Utf8) && !types.contains(&DataType::Utf8View),
            "as other tools know them"
        );
        let numbers: Vec<u64> = builder
            .build()
            .unwrap()
            .flat_map(|batch| {
                let ids = batch.unwrap().column_by_name("request_id").unwrap().as_string::<i32>().clone();
                ids.iter().flatten().map(|id| id[4..].parse().unwrap()).collect::<Vec<u64>>()
            })
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected.iter().map(|fact| fact.number).collect::<Vec<_>>());
    }
    assert_eq!(exported.iter().map(|exported| exported.rows).skip(2).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn an_export_of_some_days_has_their_events_alone_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let all = four_days(folder.path());
    let snapshot = open(folder.path()).snapshot().unwrap();
    let day = |number: i64| Some(DayNumber::of(day_after(number)));
    let target = |number: usize| folder.path().join(format!("export {number}"));
    for (number, (from, until)) in
        [(day(1), day(1)), (day(2), None), (None, day(0)), (None, None), (day(9), None)].into_iter().enumerate()
    {
        let wanted = Wanted { workspace_id: "ws_1".to_owned(), from, until };
        let exported = snapshot.export(&wanted, &target(number), &mut to_the_end).unwrap();
        let is_wanted = |fact: &&Fact| {
            let day = DayNumber::of(UnixMs::new(fact.time));
            fact.workspace() == "ws_1"
                && from.is_none_or(|from| day >= from)
                && until.is_none_or(|until| day <= until)
        };
        let rows: u64 = exported.iter().map(|file| file.rows).sum();
        assert_eq!(rows, all.iter().filter(is_wanted).count() as u64, "{from:?} {until:?}");
        let bytes = exported.iter().map(|file| file.path.metadata().unwrap().len());
        assert!(bytes.eq(exported.iter().map(|file| file.bytes)));
    }
    let wanted = Wanted { workspace_id: "ws_1".to_owned(), from: None, until: None };
    let taken = snapshot.export(&wanted, &target(0), &mut to_the_end).unwrap_err();
    assert!(matches!(&taken, Fault::Exists(path) if path.ends_with("verifications.parquet")), "{taken}");
    // One that is ended leaves nothing.
    let mut left = 3;
    let mut ends = |progress: &Progress| {
        left -= u32::from(progress.table == Stored::Ratelimits);
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = snapshot.export(&wanted, &target(9), &mut ends).unwrap_err();
    assert!(matches!(stopped, Fault::Stopped), "{stopped}");
    assert_eq!(std::fs::read_dir(target(9)).unwrap().count(), 0);
}
