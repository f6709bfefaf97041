//! What the log has, also that of earlier versions, comes into the warehouse.

use keyrack_core::analytics::event::{Entry, GapRecord, RefusalRecord};
use keyrack_core::analytics::log::{Log, files, read};
use keyrack_core::clock::Clock;

use super::*;

/// Folders of logs that earlier versions wrote: that of 0.1.0, and of the format after it.
const EARLIER: [&str; 2] = ["0.1.0/sqlite/events", "events"];

fn fixture(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder)
}

/// Takes in what the log has, in small portions.
fn follow(warehouse: &Warehouse, log: &Log, now: UnixMs) {
    let consumer = log.register("engine");
    loop {
        let positions = warehouse.positions();
        let mut appending = warehouse.appending().unwrap();
        let show = |entry: Entry<'_>| {
            appending.add(&entry.record);
            Ok(())
        };
        let progress = consumer.read_on(&positions, 1, now, show).unwrap();
        appending.commit(progress.positions).unwrap();
        if !progress.has_more {
            return;
        }
    }
}

fn rows(snapshot: &Snapshot) -> [usize; Stored::RAW.len()] {
    Stored::RAW.map(|table| {
        let files = snapshot.files(table).iter().map(|file| file.rows() as usize).sum::<usize>();
        files + snapshot.tail(table).iter().map(RecordBatch::num_rows).sum::<usize>()
    })
}

#[test]
fn logs_of_earlier_versions_are_taken_over_once() {
    for earlier in EARLIER {
        take_over(&fixture(earlier));
    }
}

fn take_over(earlier: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (old, now) = (folder.path().join("events"), Clock::system().now());
    std::fs::create_dir(&old).unwrap();
    for (path, _) in files(earlier).unwrap() {
        std::fs::copy(&path, old.join(path.file_name().unwrap())).unwrap();
    }
    let mut expected = [0; 4];
    read(&files(&old).unwrap()[0].0, |entry| {
        expected[match entry.record {
            Record::Verification(_) => 0,
            Record::Ratelimit(_) => 1,
            Record::Refusal(_) => 2,
            Record::Gap(_) => 3,
        }] += 1;
        Ok(())
    })
    .unwrap();
    assert!(expected[0] > 0 && expected[1] > 0, "{expected:?}");
    let log = Log::open(&old, 1 << 30).unwrap();
    let warehouse = open(&folder.path().join(FOLDER));
    follow(&warehouse, &log, now);
    follow(&warehouse, &log, now);
    assert_eq!(rows(&warehouse.snapshot().unwrap()), expected);
    warehouse.flush().unwrap();
    warehouse.compact(now, &mut to_the_end).unwrap();
    drop(warehouse);
    let warehouse = open(&folder.path().join(FOLDER));
    assert_eq!(warehouse.positions(), warehouse.stored_positions());
    follow(&warehouse, &log, now);
    assert_eq!(rows(&warehouse.snapshot().unwrap()), expected);
}

#[test]
fn refusals_and_gaps_have_tables_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let mut log = Log::open(&folder.path().join("events"), 1 << 30).unwrap();
    let refusal = RefusalRecord {
        request_id: "req_1",
        time: now,
        workspace_id: "ws_1",
        root_key_id: "key_root",
        reason: "HIDDEN",
        api_id: "api_1",
        key_id: "key_1",
        tags: vec!["a", "b"],
    };
    let gap =
        GapRecord { workspace_id: "", first_time: now.minus(5), last_time: now, events: None, reason: "unread" };
    for record in [Record::Refusal(refusal), Record::Gap(gap)] {
        log.add(&Entry { record, cut_bytes: 0 });
    }
    log.write(now).unwrap();
    let warehouse = open(&folder.path().join(FOLDER));
    follow(&warehouse, &log, now);
    warehouse.flush().unwrap();
    warehouse.compact(now.plus(2 * DAY_MS), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(rows(&snapshot), [0, 0, 1, 1]);
    let [refusal] = batches(snapshot.files(Stored::Refusals)).collect::<Vec<_>>().try_into().unwrap();
    let text = |name: &str| refusal.column_by_name(name).unwrap().as_string_view().value(0).to_owned();
    let texts = ["request_id", "workspace_id", "root_key_id", "reason", "api_id", "key_id"].map(text);
    assert_eq!(texts, ["req_1", "ws_1", "key_root", "HIDDEN", "api_1", "key_1"]);
    let [gap] = batches(snapshot.files(Stored::Gaps)).collect::<Vec<_>>().try_into().unwrap();
    assert!(gap.column_by_name("events").unwrap().is_null(0));
    assert_eq!(super::super::writing::integers(&gap, "last_time").unwrap().value(0), now.get());
}
