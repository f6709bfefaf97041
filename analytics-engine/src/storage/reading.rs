//! Reading files of rows: whole and in portions, also several sorted ones as one.

use std::cmp::Ordering;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::compute::interleave_record_batch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::fault::Fault;
use super::file::StoredFile;
use super::writing::{texts, times};

/// Rows of a portion at most.
pub(super) const PORTION: usize = 1 << 13;
/// Rows that are read ahead of all files together.
const AHEAD: usize = 1 << 17;

/// The rows of a file, portion by portion.
pub(super) struct Reading {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
}

impl Reading {
    pub(super) fn of(file: &StoredFile, portion: usize) -> Result<Self, Fault> {
        Self::with(file, |builder| builder.with_batch_size(portion))
    }

    /// These columns alone.
    pub(super) fn columns<const N: usize>(file: &StoredFile, names: [&str; N]) -> Result<Self, Fault> {
        Self::with(file, |builder| {
            let columns = ProjectionMask::columns(builder.parquet_schema(), names);
            builder.with_projection(columns).with_batch_size(PORTION)
        })
    }

    fn with(
        file: &StoredFile,
        options: impl FnOnce(ParquetRecordBatchReaderBuilder<File>) -> ParquetRecordBatchReaderBuilder<File>,
    ) -> Result<Self, Fault> {
        let path = file.path().to_owned();
        let opened = File::open(&path).map_err(Fault::of(&path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(Fault::in_parquet(&path))?;
        let reader = options(builder).build().map_err(Fault::in_parquet(&path))?;
        Ok(Reading { path, reader })
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.reader.next()?.map_err(Fault::in_rows(&self.path)))
    }
}

/// The rows of sorted files of one table as one sorted stream, in bounded memory.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Places in `sources`, as a heap: the one with the first row stands first.
    heap: Vec<usize>,
}

/// A file with the row that is next.
struct Source {
    reading: Reading,
    sorted_by: &'static [&'static str],
    batch: RecordBatch,
    texts: Vec<StringViewArray>,
    times: Int64Array,
    row: usize,
}

impl Merge {
    pub(super) fn of(files: &[Arc<StoredFile>]) -> Result<Self, Fault> {
        let ahead = (AHEAD / files.len().max(1)).clamp(256, PORTION);
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            let mut source = Source {
                reading: Reading::of(file, ahead)?,
                sorted_by: file.table().sorted_by(),
                batch: RecordBatch::new_empty(file.table().schema().clone()),
                texts: Vec::new(),
                times: Int64Array::new_null(0),
                row: 0,
            };
            if source.read_on()? {
                sources.push(source);
            }
        }
        let mut merge = Merge { heap: (0..sources.len()).collect(), sources };
        (0..merge.heap.len() / 2).rev().for_each(|place| merge.sink(place));
        Ok(merge)
    }

    /// The next rows; `None` after the last one.
    pub(super) fn portion(&mut self) -> Result<Option<RecordBatch>, Fault> {
        if self.heap.is_empty() {
            return Ok(None);
        }
        // What rows are taken from: the batches of the sources, and those that come when one of these is over.
        let mut batches: Vec<RecordBatch> = self.sources.iter().map(|source| source.batch.clone()).collect();
        let mut current: Vec<usize> = (0..batches.len()).collect();
        let mut rows = Vec::with_capacity(PORTION);
        while rows.len() < PORTION {
            let Some(first) = self.heap.first().copied() else { break };
            let source = &mut self.sources[first];
            rows.push((current[first], source.row));
            source.row += 1;
            if source.row == source.batch.num_rows() {
                if source.read_on()? {
                    current[first] = batches.len();
                    batches.push(source.batch.clone());
                } else {
                    self.heap.swap_remove(0);
                }
            }
            self.sink(0);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &rows)?))
    }

    /// Lets what stands at a place of the heap sink below what comes before it.
    fn sink(&mut self, mut place: usize) {
        let comes_first = |heap: &[usize], a: usize, b: usize| {
            self.sources[heap[a]].compare(&self.sources[heap[b]]) == Ordering::Less
        };
        loop {
            let left = 2 * place + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && comes_first(&self.heap, right, left) { right } else { left };
            if !comes_first(&self.heap, child, place) {
                return;
            }
            self.heap.swap(child, place);
            place = child;
        }
    }
}

impl Source {
    /// Reads the next rows: whether there are any.
    fn read_on(&mut self) -> Result<bool, Fault> {
        for batch in self.reading.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let columns = self.sorted_by.iter().map(|name| texts(&batch, name).cloned());
                self.texts = columns.collect::<Result<_, _>>()?;
                self.times = times(&batch)?;
                self.batch = batch;
                self.row = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&self, other: &Source) -> Ordering {
        for (own, others) in self.texts.iter().zip(&other.texts) {
            match own.value(self.row).cmp(others.value(other.row)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        self.times.value(self.row).cmp(&other.times.value(other.row))
    }
}
