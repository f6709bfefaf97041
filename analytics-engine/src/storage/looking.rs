//! Looking files through, after one of them could not be read.

use std::fs::File;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::file::StoredFile;
use super::schema::Stored;
use super::snapshot::Snapshot;
use super::warehouse::Warehouse;

impl Warehouse {
    /// Reads all files of a snapshot, and leaves those out from now on that cannot be read: how many these are. It takes as
    /// long as reading everything does.
    pub fn look_through(&self, snapshot: &Snapshot) -> usize {
        let files = Stored::ALL.iter().flat_map(|table| snapshot.files(*table));
        let damaged = files.filter_map(|file| Some((file, read_through(file).err()?)));
        damaged.map(|(file, because)| self.leave_out(file, &because)).count()
    }
}

/// Reads all of a file, or says what is wrong with it.
pub(super) fn read_through(file: &StoredFile) -> Result<(), String> {
    let opened = File::open(file.path()).map_err(|error| error.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).and_then(ParquetRecordBatchReaderBuilder::build);
    let mut rows = 0;
    for batch in reader.map_err(|error| error.to_string())? {
        rows += batch.map_err(|error| error.to_string())?.num_rows() as u64;
    }
    if rows == file.rows() { Ok(()) } else { Err(format!("it has {rows} rows instead of {}", file.rows())) }
}
