//! What reports say of times for which there may be less than there was.

use std::sync::Arc;

use keyrack_core::analytics::event::{GapRecord, Record};
use keyrack_core::analytics::reports::Reader;
use keyrack_core::analytics::reports::usage::{Bucket, By, Filters, Gap, Groups, Question, Why};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};
use keyrack_core::clock::Clock;
use keyrack_core::keyrack::Keyrack;
use keyrack_core::store::Location;

use crate::Embedded;
use crate::fixture::{NOW, verification};
use crate::storage::{Settings, Stored, Warehouse, to_the_end};

/// When events were first recorded, and the hour of all of them, which is two days ago.
const BEGAN: i64 = NOW - 3 * DAY_MS;
const EVENTS: i64 = NOW - 2 * DAY_MS;

fn append(warehouse: &Warehouse) {
    let positions = warehouse.positions();
    let mut appending = warehouse.appending().unwrap();
    for number in 0..10 {
        let (request_id, time) = (format!("req_{number}"), EVENTS + number * MINUTE_MS);
        appending.add(&Record::Verification(verification(&request_id, time)));
    }
    for (workspace_id, events) in [("ws_own", 3), ("", 100), ("ws_other", 9)] {
        let (first, last) = (UnixMs::new(EVENTS), UnixMs::new(EVENTS + 5));
        let gap =
            GapRecord { workspace_id, first_time: first, last_time: last, events: Some(events), reason: "full" };
        appending.add(&Record::Gap(gap));
    }
    appending.commit(positions).unwrap();
    warehouse.flush().unwrap();
}

/// What is said of the week before now.
async fn told(warehouse: &Arc<Warehouse>, workspace_id: &str, bucket: Bucket, by: Option<By>) -> Vec<Gap> {
    let folder = tempfile::tempdir().unwrap();
    let (location, now) = (Location::Sqlite(folder.path().join("keyrack.db")), UnixMs::new(NOW));
    let keyrack = Keyrack::open(&location, Clock::standing_at(now)).await.unwrap();
    keyrack.analytics().answer_with(Arc::new(Embedded::over(warehouse.clone(), 1)));
    let reader = Reader {
        of: Tables::Verifications,
        workspace_id: workspace_id.to_owned(),
        scopes: None,
        key_spaces: None,
        retention_days: 0,
        now,
    };
    let groups = by.map(|by| Groups { by, order: Default::default(), limit: 1, series: false });
    let question = Question {
        start: bucket.around(UnixMs::new(NOW - 7 * DAY_MS)).0,
        end: bucket.around(now).1,
        bucket,
        filters: Filters::default(),
        outcomes: Vec::new(),
        groups,
    };
    let gaps = keyrack.analytics().report(&reader).await.unwrap().usage(&question).await.unwrap().gaps;
    keyrack.close().await;
    gaps
}

fn damaged(gaps: &[Gap]) -> Vec<(i64, i64)> {
    let damaged = gaps.iter().filter(|gap| gap.reason == Why::Damaged);
    damaged.map(|gap| (gap.start.get(), gap.end.get())).collect()
}

fn leave_out(warehouse: &Warehouse, table: Stored) {
    let snapshot = warehouse.snapshot().unwrap();
    assert!(!snapshot.files(table).is_empty());
    snapshot.files(table).iter().for_each(|file| warehouse.leave_out(file, "a test"));
}

#[tokio::test]
async fn what_was_not_recorded_and_what_was_lost_is_told_to_those_whose_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    warehouse.begin(UnixMs::new(BEGAN)).unwrap();
    append(&warehouse);
    let gap = |start: i64, end: i64, reason: Why, dropped: Option<i64>| Gap {
        start: UnixMs::new(start),
        end: UnixMs::new(end),
        reason,
        dropped,
    };
    let week = Bucket::Hour.around(UnixMs::new(NOW - 7 * DAY_MS)).0.get();
    let before = gap(week, BEGAN, Why::NotRecorded, None);
    // How many somebody's were is told to nobody.
    let anybodys = gap(EVENTS, EVENTS + 6, Why::Dropped, None);
    let mut own = told(&warehouse, "ws_own", Bucket::Hour, None).await;
    own.sort_by_key(|gap| (gap.reason, gap.dropped));
    assert_eq!(own, [before, anybodys, gap(EVENTS, EVENTS + 6, Why::Dropped, Some(3))]);
    assert_eq!(told(&warehouse, "ws_third", Bucket::Day, None).await[1..], [anybodys]);
}

#[test]
fn events_are_recorded_since_somebody_follows_the_log_or_since_the_first_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path(), Settings::default()).unwrap();
    assert_eq!(warehouse.recorded_since(), None);
    warehouse.begin(UnixMs::new(NOW)).unwrap();
    assert_eq!(warehouse.recorded_since(), Some(UnixMs::new(NOW)));
    append(&warehouse);
    assert_eq!(warehouse.recorded_since(), Some(UnixMs::new(EVENTS)));
    drop(warehouse);
    let warehouse = Warehouse::open(folder.path(), Settings::default()).unwrap();
    warehouse.begin(UnixMs::new(NOW + DAY_MS)).unwrap();
    assert_eq!(warehouse.recorded_since(), Some(UnixMs::new(EVENTS)));
}

#[tokio::test]
async fn files_that_cannot_be_read_are_gaps_in_what_is_counted_from_them() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse);
    warehouse.compact(UnixMs::new(NOW), &mut to_the_end).unwrap();
    let of_hours = Some(By::Key);
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Hour, of_hours).await), []);
    // Sums have what single events had.
    leave_out(&warehouse, Stored::Verifications);
    let events = (EVENTS, EVENTS + 9 * MINUTE_MS + 1);
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Hour, None).await), []);
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Hour, of_hours).await), [events]);
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Day, of_hours).await), []);
    assert_eq!(damaged(&told(&warehouse, "ws_third", Bucket::Hour, of_hours).await), []);
    leave_out(&warehouse, Stored::VerificationsPerDay);
    let day = Bucket::Day.around(UnixMs::new(EVENTS)).0.get();
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Day, of_hours).await), [(day, day + DAY_MS)]);
    leave_out(&warehouse, Stored::VerificationsPerHour);
    let hour = EVENTS - EVENTS.rem_euclid(HOUR_MS);
    assert_eq!(damaged(&told(&warehouse, "ws_own", Bucket::Hour, None).await), [(hour, hour + HOUR_MS)]);
}

#[tokio::test]
async fn events_that_no_sum_has_yet_are_missing_in_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Arc::new(Warehouse::open(folder.path(), Settings::default()).unwrap());
    append(&warehouse);
    leave_out(&warehouse, Stored::Verifications);
    for bucket in [Bucket::Hour, Bucket::Day, Bucket::Month] {
        let gaps = told(&warehouse, "ws_own", bucket, None).await;
        assert_eq!(damaged(&gaps), [(EVENTS, EVENTS + 9 * MINUTE_MS + 1)], "{bucket:?}");
    }
}
