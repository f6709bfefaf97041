//! All events that a data folder has at one moment, apart from it: a warehouse of its own, made of links, while a server
//! goes on.
//!
//! The log is linked first and what is stored after it, so that what moves from the one to the other meanwhile is in
//! both. The positions of what is stored say what of the log is in it, so each event counts once.

use std::fs;
use std::io;
use std::path::Path;

use keyrack_core::analytics::log::{self, Log};
use keyrack_core::calendar::UnixMs;
use keyrack_core::files;

use crate::following::take_portion;
use crate::place::Place;
use crate::storage::{self, Damage, Exported, Fault, MadeOf, Settings, Wanted, Warehouse, Watch};

/// What a consumer of links is called. The log that it follows is never written, and so removes nothing.
const CONSUMER: &str = "apart";

/// The events of a moment.
#[derive(Debug)]
pub struct Apart {
    warehouse: Warehouse,
    /// After the warehouse: it goes with all that is in it.
    _place: Place,
}

/// What came of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The files that were written.
    pub files: Vec<Exported>,
    /// The stored files that cannot be read: their rows are missing.
    pub left_out: Vec<Damage>,
}

impl Apart {
    /// Takes the events of a data folder apart, into another folder of the same file system, from which is removed what
    /// was left there. `None` where there are neither stored events nor a log of them.
    ///
    /// # Errors
    /// When another process has that folder, or files cannot be linked, read or written.
    pub fn of(data_folder: &Path, folder: &Path, now: UnixMs) -> Result<Option<Apart>, Fault> {
        if !data_folder.is_dir() {
            return Ok(None);
        }
        let place = Place::own(folder)?;
        let (log, stored) = (folder.join(log::FOLDER), folder.join(storage::FOLDER));
        let segments = link_log(&data_folder.join(log::FOLDER), &log)?;
        let files = storage::link_moment(&data_folder.join(storage::FOLDER), &stored)?;
        if segments == 0 && files.is_empty() {
            return Ok(None);
        }
        let warehouse = Warehouse::open(&stored, Settings::default())?;
        take_in(&log, &warehouse, now)?;
        Ok(Some(Apart { warehouse, _place: place }))
    }

    /// Writes events into a folder, as [`Snapshot::export`](storage::Snapshot::export) does.
    ///
    /// # Errors
    /// As there, but not for a stored file that is damaged: that one is left out.
    pub fn export(&self, wanted: &Wanted, folder: &Path, watch: Watch<'_>) -> Result<Export, Fault> {
        let mut snapshot = self.warehouse.snapshot()?;
        let mut written = snapshot.export(wanted, folder, &mut *watch);
        if matches!(written, Err(Fault::Parquet { .. })) && self.warehouse.look_through(&snapshot) > 0 {
            snapshot = self.warehouse.snapshot()?;
            written = snapshot.export(wanted, folder, watch);
        }
        let of_events = |damage: &&Damage| damage.table.made_of() == MadeOf::Events;
        let left_out = snapshot.damaged().iter().filter(of_events).cloned().collect();
        Ok(Export { files: written?, left_out })
    }
}

/// Makes links of the files of a log: how many.
fn link_log(from: &Path, into: &Path) -> Result<usize, Fault> {
    files::create_private_folder(into).map_err(Fault::of(into))?;
    let found = match log::files(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found.map_err(Fault::Log)?,
    };
    let mut linked = 0;
    for (path, _) in found {
        let name = path.file_name().unwrap_or_default();
        match fs::hard_link(&path, into.join(name)) {
            Ok(()) => linked += 1,
            // It was removed just now: what is stored has it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::of(&path)(error)),
        }
    }
    Ok(linked)
}

/// Has a warehouse take in what a log has beyond it, and write it to files, of which it has room for more than in memory.
fn take_in(log: &Path, warehouse: &Warehouse, now: UnixMs) -> Result<(), Fault> {
    let consumer = Log::open(log, u64::MAX).map_err(Fault::Log)?.register(CONSUMER);
    while take_portion(&consumer, warehouse, now)? {
        if warehouse.is_flush_due() {
            warehouse.flush()?;
        }
    }
    warehouse.flush().map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::path::PathBuf;

    use keyrack_core::analytics::event::{Entry, Record, RefusalRecord};
    use keyrack_core::clock::Clock;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::storage::{Stored, to_the_end};

    fn now() -> UnixMs {
        Clock::system().now()
    }

    /// Writes events of two workspaces to a log.
    fn record(log: &mut Log, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let request_id = format!("req_{number}");
            let record = RefusalRecord {
                request_id: &request_id,
                time: now(),
                workspace_id: if number.is_multiple_of(2) { "ws_even" } else { "ws_odd" },
                root_key_id: "key_root",
                reason: "UNKNOWN",
                api_id: "",
                key_id: "",
                tags: vec![],
            };
            log.add(&Entry { record: Record::Refusal(record), cut_bytes: 0 });
        }
        log.write(now()).unwrap();
    }

    /// The files of a folder with their sizes, those of its folders too.
    fn files_of(folder: &Path) -> BTreeSet<(PathBuf, u64)> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                found.extend(files_of(&entry.path()));
            } else {
                found.insert((entry.path(), metadata.len()));
            }
        }
        found
    }

    fn export(apart: &Apart, workspace_id: &str) -> (Vec<u64>, Vec<Damage>) {
        let target = tempfile::tempdir().unwrap();
        let wanted = Wanted { workspace_id: workspace_id.to_owned(), from: None, until: None };
        let export = apart.export(&wanted, target.path(), &mut to_the_end).unwrap();
        let refusals = export.files.iter().find(|file| file.table == Stored::Refusals).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&refusals.path).unwrap()).unwrap();
        let mut numbers = Vec::new();
        for batch in reader.build().unwrap() {
            let ids = batch.unwrap().column_by_name("request_id").unwrap().clone();
            let ids = arrow::array::AsArray::as_string::<i32>(&ids).clone();
            numbers.extend(ids.iter().flatten().map(|id| id[4..].parse::<u64>().unwrap()));
        }
        numbers.sort_unstable();
        assert_eq!(refusals.rows, numbers.len() as u64);
        (numbers, export.left_out)
    }

    #[test]
    fn each_event_is_there_once_whether_it_is_stored_taken_in_or_in_the_log_alone() {
        let data = tempfile::tempdir().unwrap();
        let apart_folder = data.path().join(".apart");
        let mut log = Log::open(&data.path().join(log::FOLDER), 1 << 30).unwrap();
        let warehouse = Warehouse::open(&data.path().join(storage::FOLDER), Settings::default()).unwrap();
        let consumer = log.register("engine");
        let catch_up = || while take_portion(&consumer, &warehouse, now()).unwrap() {};
        record(&mut log, 0..10);
        catch_up();
        warehouse.flush().unwrap();
        consumer.passed(&warehouse.stored_positions());
        record(&mut log, 10..20);
        catch_up();
        record(&mut log, 20..30);
        let before = files_of(data.path());
        let apart = Apart::of(data.path(), &apart_folder, now()).unwrap().unwrap();
        assert_eq!(export(&apart, "ws_even"), ((0..30).step_by(2).collect(), vec![]));
        assert_eq!(export(&apart, "ws_odd").0, (1..30).step_by(2).collect::<Vec<_>>());
        assert_eq!(export(&apart, "ws_"), (vec![], vec![]));
        assert!(matches!(Apart::of(data.path(), &apart_folder, now()), Err(Fault::Busy(_))));
        drop(apart);
        assert_eq!(files_of(data.path()), before);
        assert!(!apart_folder.exists());
        // The server goes on as if nothing had been.
        catch_up();
        assert_eq!(warehouse.flush().unwrap(), 20);
    }

    #[test]
    fn a_log_that_nobody_follows_is_enough_and_nothing_is_none() {
        let data = tempfile::tempdir().unwrap();
        let apart_folder = data.path().join(".apart");
        assert!(Apart::of(data.path(), &apart_folder, now()).unwrap().is_none());
        assert!(Apart::of(&data.path().join("elsewhere"), &apart_folder, now()).unwrap().is_none());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        let mut log = Log::open(&data.path().join(log::FOLDER), 1 << 30).unwrap();
        record(&mut log, 0..4);
        // What a kill left of an earlier one.
        fs::create_dir_all(apart_folder.join(storage::FOLDER)).unwrap();
        fs::write(apart_folder.join(storage::FOLDER).join("manifest"), "half").unwrap();
        let apart = Apart::of(data.path(), &apart_folder, now()).unwrap().unwrap();
        assert_eq!(export(&apart, "ws_even").0, [0, 2]);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_said() {
        let data = tempfile::tempdir().unwrap();
        let mut log = Log::open(&data.path().join(log::FOLDER), 1 << 30).unwrap();
        let stored = data.path().join(storage::FOLDER);
        let warehouse = Warehouse::open(&stored, Settings::default()).unwrap();
        let consumer = log.register("engine");
        for numbers in [0..1000, 1000..1010] {
            record(&mut log, numbers);
            while take_portion(&consumer, &warehouse, now()).unwrap() {}
            warehouse.flush().unwrap();
        }
        drop(warehouse);
        let (path, _) = files_of(&stored).into_iter().max_by_key(|(_, bytes)| *bytes).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 3;
        bytes[4..middle].fill(0xff);
        fs::write(&path, bytes).unwrap();
        let apart = Apart::of(data.path(), &data.path().join(".apart"), now()).unwrap().unwrap();
        let (numbers, left_out) = export(&apart, "ws_even");
        assert_eq!(numbers, [1000, 1002, 1004, 1006, 1008]);
        let [damage] = &left_out[..] else { panic!("{left_out:?}") };
        assert_eq!((damage.table, damage.rows), (Stored::Refusals, 1000));
        assert!(path.ends_with(&damage.name));
    }
}
