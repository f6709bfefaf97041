//! A workspace's events as files for other tools.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use keyrack_core::files;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::fault::Fault;
use super::file::StoredFile;
use super::progress::{Told, Watch};
use super::reading::{PORTION, Reading};
use super::schema::Stored;
use super::snapshot::Snapshot;
use super::writing::{properties, texts};

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// What its rows are of.
    pub table: Stored,
    /// Where it is.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: u64,
}

impl Snapshot {
    /// Writes all events of a workspace into a folder, which is made if it is not there: a Parquet file per raw table,
    /// day by day, without what only Arrow knows of columns. Files of that name are replaced. A table without rows of
    /// the workspace is a file without rows.
    ///
    /// # Errors
    /// When a file cannot be read or written, or `watch` ends it. A file is there as a whole or not at all.
    pub fn export(&self, workspace_id: &str, folder: &Path, watch: Watch<'_>) -> Result<Vec<Exported>, Fault> {
        files::create_private_folder(folder).map_err(Fault::of(folder))?;
        Stored::RAW.into_iter().map(|table| self.export_table(table, workspace_id, folder, watch)).collect()
    }

    fn export_table(
        &self,
        table: Stored,
        workspace_id: &str,
        folder: &Path,
        watch: Watch<'_>,
    ) -> Result<Exported, Fault> {
        let path = folder.join(format!("{table}.parquet"));
        let mut stored: Vec<Arc<StoredFile>> =
            self.files(table).iter().filter(|file| file.may_have(workspace_id)).cloned().collect();
        stored.sort_by_key(|file| (file.day(), file.first_time()));
        let mut fault = None;
        let replaced = files::replace(&path, |file| {
            let written = self.write_rows(table, workspace_id, &stored, file, watch);
            written.map_err(|error| {
                fault = Some(error);
                std::io::Error::other("the rows could not be written")
            })
        });
        match (replaced, fault) {
            (_, Some(fault)) => Err(fault),
            (replaced, None) => Ok(Exported { table, rows: replaced.map_err(Fault::of(&path))?, path }),
        }
    }

    fn write_rows(
        &self,
        table: Stored,
        workspace_id: &str,
        stored: &[Arc<StoredFile>],
        file: File,
        watch: Watch<'_>,
    ) -> Result<(File, u64), Fault> {
        let path = Path::new(table.name());
        let options = ArrowWriterOptions::new().with_properties(properties(table)).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, table.schema().clone(), options);
        let mut writer = writer.map_err(Fault::in_parquet(path))?;
        let mut rows = 0;
        let mut write = |batch: &RecordBatch| {
            let own = own_rows(batch, workspace_id)?;
            rows += own.num_rows() as u64;
            writer.write(&own).map_err(Fault::in_parquet(path))
        };
        for file in stored {
            let mut told = Told::begin(table, file.day(), stored, &mut *watch);
            for batch in Reading::of(file, PORTION)? {
                let batch = batch?;
                write(&batch)?;
                told.tell(batch.num_rows())?;
            }
        }
        self.tail(table).iter().try_for_each(write)?;
        Ok((writer.into_inner().map_err(Fault::in_parquet(path))?, rows))
    }
}

fn own_rows(batch: &RecordBatch, workspace_id: &str) -> Result<RecordBatch, Fault> {
    let workspaces = texts(batch, "workspace_id")?;
    let own: BooleanArray = workspaces.iter().map(|id| Some(id == Some(workspace_id))).collect();
    Ok(filter_record_batch(batch, &own)?)
}
