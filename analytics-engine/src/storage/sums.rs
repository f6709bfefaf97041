//! Sums of rows: those of raw tables per day and hour, those per day once more per month.
//!
//! Rows come sorted, so what is summed at a time is small: all of one key (or identifier), for tables per hour all of
//! one workspace. Where even that is much, there are several rows of one sum, which whoever reads them adds up anyway.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, BinaryViewArray, Int64Array, ListArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Float64Type, UInt64Type};
use arrow::error::ArrowError;
use foldhash::quality::RandomState;
use keyrack_core::calendar::{HOUR_MS, UnixMs};

use super::columns::Columns;
use super::days::{DayNumber, Days};
use super::digest::Digest;
use super::fault::Fault;
use super::file::Made;
use super::folder::Folder;
use super::manifest::FileFacts;
use super::reading::PORTION;
use super::schema::{MadeOf, Stored};
use super::writing::{RowWriter, integers, named, texts, times, wrong};

/// Sums in memory at a time. Tests have more than theirs.
const MOST_SUMS: usize = if cfg!(test) { 1 << 6 } else { 1 << 15 };

/// Sums on their way into a table of a day or month.
pub(super) struct Sums<'a> {
    folder: &'a Folder,
    table: Stored,
    days: Days,
    shape: Shape,
    sums: HashMap<Box<[u8]>, Sum, RandomState>,
    /// The texts that all sums in memory have in common.
    common: Vec<u8>,
    columns: Columns,
    writer: Option<RowWriter<'a>>,
    made: Made<'a>,
}

/// What a table of sums is made of, read from its schema.
struct Shape {
    /// Texts that tell sums apart: first those that the table is sorted by.
    texts: Vec<&'static str>,
    /// How many of them all rows have in common between which nothing is kept.
    common: usize,
    has_tags: bool,
    numbers: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Sum {
    numbers: [i64; 4],
    latency: f64,
    digest: Digest,
    last_time: i64,
}

/// The columns of a batch that sums are made of.
struct Input<'a> {
    times: Int64Array,
    texts: Vec<StringViewArray>,
    tags: Option<&'a ListArray>,
    numbers: Vec<Vec<i64>>,
    latencies: &'a [f64],
    /// Of rows that are sums themselves.
    digests: Option<&'a BinaryViewArray>,
    last_times: Int64Array,
}

impl<'a> Sums<'a> {
    /// Sums for a table, in files of these days.
    pub(super) fn of(folder: &'a Folder, table: Stored, days: Days) -> Self {
        Sums {
            folder,
            table,
            days,
            shape: Shape::of(table),
            sums: HashMap::default(),
            common: Vec::new(),
            columns: Columns::of(table),
            writer: None,
            made: Made::in_folder(folder.path()),
        }
    }

    /// Adds rows of the table that these sums are made of. They come sorted.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        let input = Input::of(&self.shape, self.table, batch)?;
        let mut key = Vec::new();
        for row in 0..batch.num_rows() {
            key.clear();
            let common = self.shape.push_key(&mut key, &input, self.bucket(input.times.value(row)), row);
            if self.common != key[..common] {
                self.write_sums(false)?;
                self.common.clear();
                self.common.extend_from_slice(&key[..common]);
            } else if self.sums.len() >= MOST_SUMS {
                self.write_sums(true)?;
            }
            match self.sums.get_mut(key.as_slice()) {
                Some(sum) => sum.add(&input, row),
                None => self.sums.entry(key.as_slice().into()).or_default().add(&input, row),
            }
        }
        Ok(())
    }

    /// Writes what is left: the facts of the files, which are on disk.
    pub(super) fn finish(mut self) -> Result<Vec<FileFacts>, Fault> {
        self.write_sums(false)?;
        self.end_file()?;
        Ok(self.made.take())
    }

    /// The value of the column `time`.
    fn bucket(&self, time: i64) -> i64 {
        match self.table {
            Stored::VerificationsPerHour | Stored::RatelimitsPerHour => time - time.rem_euclid(HOUR_MS),
            Stored::VerificationsPerMonth | Stored::RatelimitsPerMonth => {
                i64::from(DayNumber::of(UnixMs::new(time)).month().get())
            }
            _ => i64::from(DayNumber::of(UnixMs::new(time)).get()),
        }
    }

    /// Writes the sums in memory; there may be more of what they have in common.
    fn write_sums(&mut self, more: bool) -> Result<(), Fault> {
        if self.sums.is_empty() {
            return Ok(());
        }
        let mut drained: Vec<(Box<[u8]>, Sum)> = self.sums.drain().collect();
        let keyed = drained.iter_mut().map(|(key, sum)| (Key::read(key, &self.shape), sum));
        let mut sums: Vec<(Key<'_>, &mut Sum)> = keyed.collect();
        let sorted_by = self.table.sorted_by().len();
        sums.sort_by(|(a, _), (b, _)| a.compare(b, sorted_by));
        for (key, sum) in &mut sums {
            self.shape.write(&mut self.columns, self.table, key, sum);
        }
        if self.columns.rows() >= PORTION {
            self.write_rows()?;
        }
        if more && self.shape.common < sorted_by {
            // What comes would stand before what was written.
            self.end_file()?;
        }
        Ok(())
    }

    fn write_rows(&mut self) -> Result<(), Fault> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(RowWriter::begin(self.folder, self.table, self.days)?),
        };
        writer.write(&self.columns.finish()?)
    }

    fn end_file(&mut self) -> Result<(), Fault> {
        if self.columns.rows() > 0 {
            self.write_rows()?;
        }
        if let Some(writer) = self.writer.take() {
            let is_last = !matches!(self.table, Stored::VerificationsPerDay | Stored::RatelimitsPerDay);
            self.made.files.push(writer.finish(is_last)?);
        }
        Ok(())
    }
}

impl Shape {
    fn of(table: Stored) -> Self {
        let fields = table.schema().fields();
        let mut texts = table.sorted_by().to_vec();
        let is_text = |name: &str| fields.iter().any(|f| f.name() == name && *f.data_type() == DataType::Utf8View);
        texts.extend(OTHER_TEXTS.into_iter().filter(|name| is_text(name) && !table.sorted_by().contains(name)));
        let has_column = |name: &&str| fields.iter().any(|field| field.name() == name);
        let is_per_hour = matches!(table, Stored::VerificationsPerHour | Stored::RatelimitsPerHour);
        Shape {
            texts,
            common: if is_per_hour { 1 } else { table.sorted_by().len() },
            has_tags: has_column(&"tags"),
            numbers: NUMBERS.into_iter().filter(has_column).collect(),
        }
    }

    /// Writes what tells the sum of a row apart: how much of that is common to the sums in memory.
    fn push_key(&self, key: &mut Vec<u8>, input: &Input<'_>, bucket: i64, row: usize) -> usize {
        let mut common = 0;
        for (place, column) in input.texts.iter().enumerate() {
            push_text(key, column.value(row));
            if place + 1 == self.common {
                common = key.len();
            }
        }
        key.extend_from_slice(&bucket.to_le_bytes());
        if let Some(tags) = input.tags {
            let tags = tags.value(row);
            tags.as_string_view().iter().for_each(|tag| push_text(key, tag.unwrap_or_default()));
        }
        common
    }

    fn write(&self, columns: &mut Columns, table: Stored, key: &Key<'_>, sum: &mut Sum) {
        let digest = sum.digest.stored();
        let mut row = columns.row();
        for field in table.schema().fields() {
            match (field.name().as_str(), field.data_type()) {
                (name, DataType::Utf8View) => {
                    let place = self.texts.iter().position(|text| *text == name);
                    row.text(place.map_or("", |place| key.texts[place]));
                }
                (_, DataType::List(_)) => {
                    row.texts(key.tags.iter().copied());
                }
                (_, DataType::Date32) => {
                    row.date(i32::try_from(key.bucket).unwrap_or_default());
                }
                ("time", _) => {
                    row.integer(key.bucket);
                }
                ("last_time", _) => {
                    row.integer(sum.last_time);
                }
                (_, DataType::Float64) => {
                    row.float(sum.latency);
                }
                (_, DataType::BinaryView) => {
                    row.bytes(&digest);
                }
                (name, _) => {
                    let place = self.numbers.iter().position(|number| *number == name);
                    row.integer(place.map_or(0, |place| sum.numbers[place]));
                }
            }
        }
    }
}

/// Columns of texts that tell sums apart, in tables that have them.
const OTHER_TEXTS: [&str; 8] =
    ["key_space_id", "api_id", "identity_id", "external_id", "outcome", "source", "app_id", "namespace"];
/// Columns that are summed, in tables that have them.
const NUMBERS: [&str; 6] = ["count", "spent_credits", "passed", "total", "total_tokens", "passed_tokens"];

/// What tells a sum apart.
struct Key<'a> {
    texts: Vec<&'a str>,
    bucket: i64,
    tags: Vec<&'a str>,
}

impl<'a> Key<'a> {
    fn read(bytes: &'a [u8], shape: &Shape) -> Self {
        let mut rest = bytes;
        let texts = shape.texts.iter().map(|_| take_text(&mut rest)).collect();
        let (bucket, mut rest) =
            rest.split_first_chunk().map_or((0, rest), |(b, rest)| (i64::from_le_bytes(*b), rest));
        let mut tags = Vec::new();
        while !rest.is_empty() {
            tags.push(take_text(&mut rest));
        }
        Key { texts, bucket, tags }
    }

    fn compare(&self, other: &Key<'_>, sorted_by: usize) -> std::cmp::Ordering {
        self.texts[..sorted_by].cmp(&other.texts[..sorted_by]).then(self.bucket.cmp(&other.bucket))
    }
}

fn push_text(key: &mut Vec<u8>, text: &str) {
    // No text of an event has more than some thousand bytes.
    key.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    key.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> &'a str {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        *bytes = &[];
        return "";
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
    let (text, rest) = rest.split_at(length);
    *bytes = rest;
    std::str::from_utf8(text).unwrap_or_default()
}

impl Sum {
    fn add(&mut self, input: &Input<'_>, row: usize) {
        for (sum, values) in self.numbers.iter_mut().zip(&input.numbers) {
            *sum = sum.saturating_add(values[row]);
        }
        let latency = input.latencies[row];
        self.latency += latency;
        match input.digests {
            Some(digests) => self.digest.merge_stored(digests.value(row)),
            None => self.digest.add(latency),
        }
        self.last_time = self.last_time.max(input.last_times.value(row));
    }
}

impl<'a> Input<'a> {
    fn of(shape: &Shape, table: Stored, batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let is_raw = matches!(table.made_of(), MadeOf::Raw(_));
        let times = times(batch)?;
        let text = |name: &&'static str| {
            // The outcome of a decision on a limit is a column only in tables per hour.
            if *name == "outcome" && batch.column_by_name(name).is_none() {
                outcomes(batch)
            } else {
                texts(batch, name).cloned()
            }
        };
        let number = |name: &&'static str| if is_raw { number(batch, name) } else { values(batch, name) };
        let latencies: &ArrayRef = named(batch, if is_raw { "latency" } else { "latency_sum" })?;
        let latencies = latencies.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong("latency"))?;
        let tags = shape.has_tags.then(|| named(batch, "tags").map(|tags| tags.as_list_opt::<i32>()));
        let digests =
            (!is_raw).then(|| named(batch, "latency_digest").map(|digests| digests.as_binary_view_opt()));
        Ok(Input {
            texts: shape.texts.iter().map(text).collect::<Result<_, _>>()?,
            tags: tags.transpose()?.flatten(),
            numbers: shape.numbers.iter().map(number).collect::<Result<_, _>>()?,
            latencies: latencies.values(),
            digests: digests.transpose()?.flatten(),
            last_times: if is_raw { times.clone() } else { integers(batch, "last_time")?.clone() },
            times,
        })
    }
}

fn values(batch: &RecordBatch, name: &str) -> Result<Vec<i64>, ArrowError> {
    Ok(integers(batch, name)?.values().to_vec())
}

/// What each row of a raw table adds to a sum.
fn number(batch: &RecordBatch, name: &str) -> Result<Vec<i64>, ArrowError> {
    match name {
        "count" | "total" => Ok(vec![1; batch.num_rows()]),
        "passed" => Ok(passed(batch)?.map(i64::from).collect()),
        "total_tokens" => Ok(tokens(batch)?.collect()),
        "passed_tokens" => {
            Ok(tokens(batch)?.zip(passed(batch)?).map(|(tokens, is)| tokens * i64::from(is)).collect())
        }
        name => values(batch, name),
    }
}

fn tokens(batch: &RecordBatch) -> Result<impl Iterator<Item = i64>, ArrowError> {
    let tokens = named(batch, "tokens")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong("tokens"))?;
    Ok(tokens.values().iter().map(|tokens| i64::try_from(*tokens).unwrap_or(i64::MAX)))
}

fn passed(batch: &RecordBatch) -> Result<impl Iterator<Item = bool>, ArrowError> {
    let passed = named(batch, "passed")?.as_boolean_opt().ok_or_else(|| wrong("passed"))?;
    Ok(passed.values().iter())
}

fn outcomes(batch: &RecordBatch) -> Result<StringViewArray, ArrowError> {
    Ok(StringViewArray::from_iter_values(passed(batch)?.map(|passed| if passed { "PASSED" } else { "REFUSED" })))
}
