//! How files are sorted and pruned.

use super::*;
use crate::storage::writing::{texts, times};

fn is_sorted(file: &StoredFile) -> bool {
    let mut last: Option<(Vec<String>, i64)> = None;
    for batch in
        batches([&std::sync::Arc::new(StoredFile::new(file.path().parent().unwrap(), file.facts().clone()))])
    {
        let times = times(&batch).unwrap();
        for row in 0..batch.num_rows() {
            let text = |name: &&str| batch.column_by_name(name).unwrap().as_string_view().value(row).to_owned();
            let key = (file.table().sorted_by().iter().map(text).collect(), times.value(row));
            if last.is_some_and(|last| last > key) {
                return false;
            }
            last = Some(key);
        }
    }
    true
}

#[test]
fn every_file_is_sorted_and_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    for round in 0..3 {
        let fact = |at: u64| Fact {
            number: at * 7919 % 30_000 + round,
            time: BEGIN + (at * 104_729 % 86_000_000) as i64,
        };
        append(&warehouse, &(0..10_000).map(fact).collect::<Vec<_>>());
        warehouse.flush().unwrap();
    }
    let mut files_of_two_days = 0;
    for step in [0, 1, 3] {
        warehouse.compact(day_after(40 * step), &mut to_the_end).unwrap();
        let snapshot = warehouse.snapshot().unwrap();
        let files: Vec<_> = Stored::ALL.iter().flat_map(|table| snapshot.files(*table)).collect();
        files_of_two_days = snapshot.files(Stored::Verifications).len();
        for file in files {
            assert!(is_sorted(file), "{}", file.name());
            let rows: u64 = batches([file]).map(|batch| batch.num_rows() as u64).sum();
            assert_eq!((file.rows(), file.bytes()), (rows, std::fs::metadata(file.path()).unwrap().len()));
            for id in ["ws_0", "ws_1", "ws_2", "ws_3"] {
                let has =
                    |batch: RecordBatch| texts(&batch, "workspace_id").unwrap().iter().any(|one| one == Some(id));
                assert_eq!(file.may_have(id), batches([file]).any(has), "{id} in {}", file.name());
            }
            assert!(file.first_time() <= file.last_time());
            assert!((file.day().begin()..file.day().next_month().begin()).contains(&file.last_time()));
        }
    }
    assert!(files_of_two_days > 2, "a day of many events has several");
}
