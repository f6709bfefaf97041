//! Writing a file of rows: how Parquet has them, and what is noted of them meanwhile.
//!
//! Zstandard at its first level, of which the next ones make little more. Ids of requests are random: a dictionary of
//! them would be all of them once more, and what they begin with is left out (`DELTA_BYTE_ARRAY`). Times are
//! differences. Everything else repeats and has a dictionary. Pages are small and indexed by the columns that rows are
//! sorted by, so that the rows of a key are found without those of others; filters of another kind (Bloom) would take
//! more than a byte for each row, and only ids of requests would gain from it.

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use arrow::error::ArrowError;
use keyrack_core::calendar::{DAY_MS, UnixMs};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::days::Days;
use super::fault::Fault;
use super::folder::{Folder, Unfinished};
use super::manifest::FileFacts;
use super::schema::{MadeOf, Stored};

/// Rows of a row group: so many that a dictionary of keys pays, so few that two cores share a file.
const GROUP_ROWS: usize = 1 << 18;
/// Rows of a page at most: as many as have to be read for one of them.
const PAGE_ROWS: usize = 1 << 13;
/// Bytes of a dictionary at most: 80,000 ids.
const DICTIONARY_BYTES: usize = 2 << 20;
/// Columns whose least and greatest values are kept for each row group, besides those that rows are sorted by. Those of
/// others would be the same everywhere, and cost as much as a look at each value.
const OFTEN_ASKED: [&str; 5] = ["api_id", "key_space_id", "namespace_id", "outcome", "last_time"];
/// Workspaces of which a file says how much they have.
const HEAVIEST: usize = 16;

/// A file that rows are being written to, in their order.
pub(super) struct RowWriter<'a> {
    writer: ArrowWriter<Unfinished<'a>>,
    path: std::path::PathBuf,
    table: Stored,
    days: Days,
    rows: u64,
    times: Option<(i64, i64)>,
    first_workspace: Option<String>,
    /// The one whose rows come, and how many came.
    workspace: (String, u64),
    heaviest: Vec<(String, u64)>,
}

impl<'a> RowWriter<'a> {
    /// Begins a file for rows of a table of these days.
    pub(super) fn begin(folder: &'a Folder, table: Stored, days: Days) -> Result<Self, Fault> {
        let of = if matches!(table.made_of(), MadeOf::Days(_)) { Days::from(days.first) } else { days };
        let file = folder.begin(table, &of.to_string())?;
        let path = file.path().to_owned();
        let writer = ArrowWriter::try_new(file, table.schema().clone(), Some(properties(table)))
            .map_err(Fault::in_parquet(&path))?;
        Ok(RowWriter {
            writer,
            path,
            table,
            days: of,
            rows: 0,
            times: None,
            first_workspace: None,
            workspace: (String::new(), 0),
            heaviest: Vec::new(),
        })
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes rows, which come after those before.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let times = times(batch)?;
        let (least, most) = (arrow::compute::min(&times), arrow::compute::max(&times));
        if let (Some(least), Some(most)) = (least, most) {
            let (first, last) = self.times.unwrap_or((least, most));
            self.times = Some((first.min(least), last.max(most)));
        }
        self.note_workspaces(texts(batch, "workspace_id")?);
        self.writer.write(batch).map_err(Fault::in_parquet(&self.path))
    }

    fn note_workspaces(&mut self, workspaces: &StringViewArray) {
        for row in 0..workspaces.len() {
            let workspace = workspaces.value(row);
            if self.workspace.0 != workspace {
                self.next_workspace(workspace.to_owned());
            }
            self.workspace.1 += 1;
        }
        if self.first_workspace.is_none() && !workspaces.is_empty() {
            self.first_workspace = Some(workspaces.value(0).to_owned());
        }
    }

    fn next_workspace(&mut self, next: String) {
        let (workspace, rows) = std::mem::replace(&mut self.workspace, (next, 0));
        if rows > 0 && self.table.made_of() == MadeOf::Events {
            self.heaviest.push((workspace, rows));
        }
        if self.heaviest.len() >= 64 * HEAVIEST {
            self.keep_heaviest();
        }
    }

    fn keep_heaviest(&mut self) {
        self.heaviest.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        self.heaviest.truncate(HEAVIEST);
    }

    /// Makes the file last. It counts once the manifest names it.
    pub(super) fn finish(mut self, counted: bool) -> Result<FileFacts, Fault> {
        let last_workspace = self.workspace.0.clone();
        self.next_workspace(String::new());
        self.keep_heaviest();
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let file = self.writer.into_inner().map_err(Fault::in_parquet(&self.path))?;
        let (first_time, last_time) = self.times.unwrap_or_default();
        Ok(FileFacts {
            name,
            table: self.table,
            day: self.days.first,
            last_day: (self.days.last != self.days.first).then_some(self.days.last),
            rows: self.rows,
            bytes: file.finish()?,
            first_time: UnixMs::new(first_time),
            last_time: UnixMs::new(last_time),
            first_workspace: self.first_workspace.unwrap_or_default(),
            last_workspace,
            counted,
            heaviest: self.heaviest,
        })
    }
}

/// A column of texts.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    named(batch, name)?.as_string_view_opt().ok_or_else(|| wrong(name))
}

/// A column of integers.
pub(super) fn integers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, ArrowError> {
    named(batch, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name))
}

/// The column `time` in Unix ms, also where it is a date.
pub(super) fn times(batch: &RecordBatch) -> Result<Int64Array, ArrowError> {
    let column = named(batch, "time")?;
    match column.data_type() {
        DataType::Date32 => {
            let dates: &Date32Array = column.as_primitive::<Date32Type>();
            Ok(dates.unary(|days| i64::from(days) * DAY_MS))
        }
        _ => column.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong("time")),
    }
}

/// A column.
pub(super) fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("there is no column {name}")))
}

/// What is said of a column of another type.
pub(super) fn wrong(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the column {name} is of another type"))
}

/// How a table is written.
pub(super) fn properties(table: Stored) -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("keyrack".to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::None);
    for name in OFTEN_ASKED {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    for name in table.sorted_by().iter().chain(&["time"]) {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Page);
    }
    for field in table.schema().fields() {
        match (field.name().as_str(), field.data_type()) {
            (name @ "request_id", _) => {
                builder = builder
                    .set_column_dictionary_enabled(path(name), false)
                    .set_column_encoding(path(name), Encoding::DELTA_BYTE_ARRAY);
            }
            (name @ ("time" | "last_time" | "reset_at"), DataType::Int64) => {
                builder = builder
                    .set_column_dictionary_enabled(path(name), false)
                    .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
    }
    builder.build()
}
