//! A workspace's events as files for other tools.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use keyrack_core::files;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::days::DayNumber;
use super::fault::Fault;
use super::file::StoredFile;
use super::progress::{Progress, Watch};
use super::reading::{PORTION, Reading};
use super::schema::Stored;
use super::snapshot::Snapshot;
use super::writing::{properties, texts, times};

/// Which events to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whose: no event of another workspace, and none that is of no workspace.
    pub workspace_id: String,
    /// The first day, if not all from the first event on.
    pub from: Option<DayNumber>,
    /// The last day, if not all up to the last event.
    pub until: Option<DayNumber>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// What its rows are of.
    pub table: Stored,
    /// Where it is.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

impl Wanted {
    /// Whether a file may have such events.
    fn may_be_in(&self, file: &StoredFile) -> bool {
        file.may_have(&self.workspace_id)
            && self.from.is_none_or(|from| file.last_time() >= from.begin())
            && self.until.is_none_or(|until| file.first_time() < until.end())
    }

    /// Whether an event of this time, in Unix ms, is on one of the days.
    fn is_then(&self, time: i64) -> bool {
        self.from.is_none_or(|from| time >= from.begin().get())
            && self.until.is_none_or(|until| time < until.end().get())
    }

    fn rows_of(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let (workspaces, times) = (texts(batch, "workspace_id")?, times(batch)?);
        let is_wanted =
            |(id, time): (Option<&str>, &i64)| Some(id == Some(&self.workspace_id) && self.is_then(*time));
        let wanted: BooleanArray = workspaces.iter().zip(times.values()).map(is_wanted).collect();
        Ok(filter_record_batch(batch, &wanted)?)
    }
}

impl Snapshot {
    /// Writes events into a folder, which is made if it is not there: a Parquet file per raw table, day by day, without
    /// what only Arrow knows of columns. A table without such events is a file without rows.
    ///
    /// # Errors
    /// When there is a file of such a name, one cannot be read or written, or `watch` ends it. Then no file is there.
    pub fn export(&self, wanted: &Wanted, folder: &Path, watch: Watch<'_>) -> Result<Vec<Exported>, Fault> {
        files::create_private_folder(folder).map_err(Fault::of(folder))?;
        let path = |table: Stored| folder.join(format!("{table}.parquet"));
        if let Some(taken) = Stored::RAW.map(path).into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(Fault::Exists(taken));
        }
        let mut exported = Vec::new();
        for table in Stored::RAW {
            match self.export_table(table, wanted, path(table), watch) {
                Ok(file) => exported.push(file),
                Err(fault) => {
                    remove(&exported);
                    return Err(fault);
                }
            }
        }
        Ok(exported)
    }

    fn export_table(
        &self,
        table: Stored,
        wanted: &Wanted,
        path: PathBuf,
        watch: Watch<'_>,
    ) -> Result<Exported, Fault> {
        let mut stored: Vec<Arc<StoredFile>> =
            self.files(table).iter().filter(|file| wanted.may_be_in(file)).cloned().collect();
        stored.sort_by_key(|file| (file.day(), file.first_time()));
        let mut fault = None;
        let made = files::make(&path, |file| {
            let written = self.write_rows(table, wanted, &stored, file, watch);
            let (file, rows) = written.map_err(|error| {
                fault = Some(error);
                std::io::Error::other("the rows could not be written")
            })?;
            let bytes = file.metadata()?.len();
            Ok((file, (rows, bytes)))
        });
        match (made, fault) {
            (_, Some(fault)) => Err(fault),
            (Ok((rows, bytes)), None) => Ok(Exported { table, path, rows, bytes }),
            (Err(error), None) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Fault::Exists(path)),
            (Err(error), None) => Err(Fault::of(&path)(error)),
        }
    }

    fn write_rows(
        &self,
        table: Stored,
        wanted: &Wanted,
        stored: &[Arc<StoredFile>],
        file: File,
        watch: Watch<'_>,
    ) -> Result<(File, u64), Fault> {
        let path = Path::new(table.name());
        let options = ArrowWriterOptions::new().with_properties(properties(table)).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, table.schema().clone(), options);
        let mut writer = writer.map_err(Fault::in_parquet(path))?;
        let mut written = 0;
        let mut write = |batch: &RecordBatch| {
            let rows = wanted.rows_of(batch)?;
            written += rows.num_rows() as u64;
            writer.write(&rows).map_err(Fault::in_parquet(path))
        };
        let of = stored.iter().map(|file| file.rows()).sum();
        let mut progress = Progress { table, day: DayNumber::new(0), rows: 0, of };
        for file in stored {
            progress.day = file.day();
            for batch in Reading::of(file, PORTION)? {
                let batch = batch?;
                write(&batch)?;
                progress.rows += batch.num_rows() as u64;
                if watch(&progress).is_break() {
                    return Err(Fault::Stopped);
                }
            }
        }
        self.tail(table).iter().try_for_each(write)?;
        Ok((writer.into_inner().map_err(Fault::in_parquet(path))?, written))
    }
}

/// Removes what was written before something failed: half an export would look like all of it.
fn remove(exported: &[Exported]) {
    for file in exported {
        if let Err(error) = files::remove(&file.path) {
            tracing::warn!(file = %file.path.display(), %error, "a file of an export that failed stays");
        }
    }
}
