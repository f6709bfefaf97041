//! Files that are not as they should be, and disks that are full.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

fn some(numbers: std::ops::Range<u64>) -> Vec<Fact> {
    numbers.map(|number| Fact { number, time: BEGIN + number.cast_signed() * 1000 }).collect()
}

#[test]
fn files_that_are_missing_or_cut_off_are_said_by_name_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    for round in 0..4 {
        append(&warehouse, &some(round * 100..round * 100 + 100));
        warehouse.flush().unwrap();
    }
    let files: Vec<_> = warehouse.snapshot().unwrap().files(Stored::Verifications).to_vec();
    let paths: Vec<_> = files.iter().map(|file| file.path().to_owned()).collect();
    drop((warehouse, files));
    let whole = fs::read(&paths[1]).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    fs::write(&paths[1], &whole[..whole.len() - 10]).unwrap();
    // One that looks well from outside.
    let mut garbled = fs::read(&paths[2]).unwrap();
    let middle = garbled.len() / 2;
    garbled[4..middle].fill(0xaa);
    fs::write(&paths[2], &garbled).unwrap();
    let look = |limit: Duration| {
        let found = inspect(folder.path(), limit).unwrap();
        assert!(found.files == 8 && found.bytes == found.event_bytes && found.bytes > 0, "{found:?}");
        let damaged: Vec<_> = found.damaged.iter().map(|damage| folder.path().join(&damage.name)).collect();
        (damaged, found.unread)
    };
    assert_eq!((look(Duration::MAX), look(Duration::ZERO)), ((paths[..3].to_vec(), 0), (paths[..2].to_vec(), 8)));

    let warehouse = open(folder.path());
    let snapshot = warehouse.snapshot().unwrap();
    let names: Vec<_> = snapshot.damaged().iter().map(|damage| folder.path().join(&damage.name)).collect();
    assert_eq!(names, paths[..2]);
    assert!(snapshot.damaged()[1].because.contains("bytes instead of"));
    // Compaction finds the third, and does the rest.
    warehouse.compact(day_after(2), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    assert_eq!(snapshot.damaged().len(), 3);
    let left = facts(&snapshot);
    assert!(some(300..400).iter().all(|fact| left.contains(fact)));
    assert!(!left.iter().any(|fact| fact.is_verification() && fact.number < 300));
    assert_sums(&snapshot, &left);
    drop((warehouse, snapshot));

    // What cannot be read goes with its day.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let warehouse = open(copy.path());
    warehouse.sweep(day_after(200), &Shorter::new(), &mut to_the_end).unwrap();
    assert_eq!(warehouse.snapshot().unwrap().damaged(), []);
    drop(warehouse);

    // What comes back is served again, and counted.
    fs::write(&paths[1], &whole).unwrap();
    let warehouse = open(folder.path());
    warehouse.compact(day_after(2), &mut to_the_end).unwrap();
    let snapshot = warehouse.snapshot().unwrap();
    let left = facts(&snapshot);
    assert!(some(100..200).iter().all(|fact| left.contains(fact)));
    assert_sums(&snapshot, &left);
}

/// Cuts one file of each of these tables off, and says which.
fn damage(warehouse: Warehouse, tables: &[Stored]) -> Vec<std::path::PathBuf> {
    let snapshot = warehouse.snapshot().unwrap();
    let paths: Vec<_> = tables.iter().map(|table| snapshot.files(*table)[0].path().to_owned()).collect();
    drop((warehouse, snapshot));
    for path in &paths {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    paths
}

/// Four days at the end of a February, whose sums are all there at this many days after the beginning.
fn compacted(folder: &Path, settings: Settings, at: i64) -> (Warehouse, Vec<Fact>) {
    let warehouse = Warehouse::open(folder, settings).unwrap();
    let fact = |number: u64| Fact { number, time: BEGIN + (number * 4 * 86_400_000 / 8000).cast_signed() };
    let facts: Vec<Fact> = (0..8000).map(fact).collect();
    append(&warehouse, &facts);
    warehouse.flush().unwrap();
    warehouse.compact(day_after(at), &mut to_the_end).unwrap();
    (warehouse, facts)
}

#[test]
fn sums_that_cannot_be_read_are_made_once_more_of_what_is_there() {
    let kept = Kept { raw: 1000, day: 1000, month: 1096 };
    let settings =
        || Settings { retention: Retention { verifications: kept, ratelimits: kept }, ..Settings::default() };
    // March is not over, and over.
    for at in [6, 40] {
        let folder = tempfile::tempdir().unwrap();
        let (warehouse, facts) = compacted(folder.path(), settings(), at);
        let paths = damage(warehouse, &SUMS);
        let warehouse = Warehouse::open(folder.path(), settings()).unwrap();
        assert_eq!(warehouse.snapshot().unwrap().damaged().len(), 6);
        let done = warehouse.compact(day_after(at), &mut to_the_end).unwrap();
        assert_eq!(done.repaired, 6);
        let snapshot = warehouse.snapshot().unwrap();
        assert_eq!(snapshot.damaged(), []);
        assert_sums(&snapshot, &facts);
        assert!(paths.iter().all(|path| !path.exists()));
        assert_eq!(warehouse.compact(day_after(at), &mut to_the_end).unwrap(), Compacted::default());
    }
}

#[test]
fn sums_whose_events_are_gone_in_part_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (warehouse, _) = compacted(folder.path(), Settings::default(), 6);
    let bytes: u64 =
        warehouse.snapshot().unwrap().files(Stored::Verifications).iter().map(|file| file.bytes()).sum();
    drop(warehouse);
    let settings = Settings { most_bytes: bytes / 4, ..Settings::default() };
    let warehouse = Warehouse::open(folder.path(), settings).unwrap();
    warehouse.sweep(day_after(6), &Shorter::new(), &mut to_the_end).unwrap();
    assert!(!facts(&warehouse.snapshot().unwrap()).is_empty());
    let path = damage(warehouse, &[Stored::VerificationsPerDay]).remove(0);
    let warehouse = open(folder.path());
    assert_eq!(warehouse.compact(day_after(6), &mut to_the_end).unwrap().repaired, 0);
    assert_eq!(warehouse.snapshot().unwrap().damaged().len(), 1);
    assert!(path.exists());
    // By age, nothing is left that could tell.
    let (late, folder) = (day_after(200), tempfile::tempdir().unwrap());
    let (warehouse, _) = compacted(folder.path(), Settings::default(), 6);
    damage(warehouse, &[Stored::RatelimitsPerDay]);
    let warehouse = open(folder.path());
    assert_eq!(warehouse.compact(late, &mut to_the_end).unwrap().repaired, 0);
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    append(&warehouse, &some(0..500));
    warehouse.flush().unwrap();
    append(&warehouse, &some(500..1000));
    let parquet_files = || {
        let is_parquet = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
        fs::read_dir(folder.path()).unwrap().filter(|entry| is_parquet(&entry.as_ref().unwrap().path())).count()
    };
    let assert_all_is_there = || {
        let snapshot = warehouse.snapshot().unwrap();
        assert_eq!(facts(&snapshot), some(0..1000));
        assert_sums(&snapshot, &some(0..1000));
    };
    // The first file, and then the second.
    for room in (0..15_000).step_by(1500) {
        warehouse.folder.room.store(room, Ordering::Relaxed);
        assert!(warehouse.flush().is_err() && !warehouse.is_flush_due());
        assert_all_is_there();
        assert_eq!(parquet_files(), 2);
    }
    // The manifest cannot be replaced while something stands in its way.
    warehouse.folder.room.store(u64::MAX, Ordering::Relaxed);
    let in_the_way = folder.path().join("manifest.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(warehouse.flush().is_err());
    assert_all_is_there();
    assert_eq!(parquet_files(), 2);
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(warehouse.flush().unwrap(), 500);
    for room in (0..24_000).step_by(3000) {
        warehouse.folder.room.store(room, Ordering::Relaxed);
        assert!(warehouse.compact(day_after(2), &mut to_the_end).is_err());
        assert_all_is_there();
        let snapshot = warehouse.snapshot().unwrap();
        assert_eq!(parquet_files(), Stored::ALL.iter().map(|table| snapshot.files(*table).len()).sum::<usize>());
    }
    warehouse.folder.room.store(u64::MAX, Ordering::Relaxed);
    warehouse.compact(day_after(2), &mut to_the_end).unwrap();
    assert_all_is_there();
}

#[test]
fn events_that_cannot_be_written_wait_in_the_log_once_memory_is_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { most_tail_bytes: 1 << 20, ..Settings::default() };
    let warehouse = Warehouse::open(folder.path(), settings).unwrap();
    let mut number = 0;
    let full = loop {
        match warehouse.appending() {
            Ok(appending) => drop(appending),
            Err(fault) => break fault,
        }
        append(&warehouse, &some(number..number + 1000));
        number += 1000;
    };
    assert!(matches!(full, Fault::Full) && number > 1000, "{number}");
    warehouse.flush().unwrap();
    append(&warehouse, &some(number..number + 1));
    assert_eq!(facts(&warehouse.snapshot().unwrap()).len() as u64, number + 1);
}

#[test]
fn work_that_is_ended_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = open(folder.path());
    append(&warehouse, &some(0..1000));
    warehouse.flush().unwrap();
    let mut calls = 0;
    let mut watch = |progress: &Progress| {
        calls += 1;
        assert!(progress.rows <= progress.of && progress.day.to_string() == "2024-02-28");
        std::ops::ControlFlow::Break(())
    };
    assert!(matches!(warehouse.compact(day_after(2), &mut watch), Err(Fault::Stopped)));
    assert_eq!(calls, 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "two files, the manifest and the lock");
    assert_sums(&warehouse.snapshot().unwrap(), &some(0..1000));
}
