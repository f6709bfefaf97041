//! From the tail into files: rows are sorted and go into the file of the day on which they happened.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array as _, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use foldhash::quality::RandomState;
use keyrack_core::calendar::UnixMs;

use super::days::DayNumber;
use super::fault::Fault;
use super::file::Made;
use super::folder::Folder;
use super::manifest::FileFacts;
use super::schema::Stored;
use super::tail::Batches;
use super::writing::{RowWriter, texts, times};

/// Rows that are copied at a time.
const PORTION: usize = 1 << 13;
/// The most texts that a table is sorted by.
const TEXTS: usize = 3;

/// A row, and where it stands. Texts are numbers that sort as they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    day: DayNumber,
    ranks: [u32; TEXTS],
    time: i64,
    batch: u32,
    row: u32,
}

/// Writes rows of the raw tables: the facts of the files, which are on disk.
pub(super) fn write(folder: &Folder, batches: &Batches) -> Result<Vec<FileFacts>, Fault> {
    let mut made = Made::in_folder(folder.path());
    for (table, batches) in Stored::RAW.into_iter().zip(batches) {
        if batches.is_empty() {
            continue;
        }
        let places = sort(table, batches)?;
        for range in days(&places) {
            made.files.push(write_day(folder, table, batches, &places[range])?);
        }
    }
    Ok(made.take())
}

fn write_day(
    folder: &Folder,
    table: Stored,
    batches: &[RecordBatch],
    places: &[Place],
) -> Result<FileFacts, Fault> {
    let mut writer = RowWriter::begin(folder, table, places[0].day.into())?;
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let mut rows = Vec::with_capacity(PORTION);
    for portion in places.chunks(PORTION) {
        rows.clear();
        rows.extend(portion.iter().map(|place| (place.batch as usize, place.row as usize)));
        writer.write(&interleave_record_batch(&batches, &rows)?)?;
    }
    writer.finish(false)
}

/// Which rows are of one day each.
fn days(places: &[Place]) -> impl Iterator<Item = Range<usize>> {
    let mut begin = 0;
    places.chunk_by(|a, b| a.day == b.day).map(move |day| {
        let range = begin..begin + day.len();
        begin = range.end;
        range
    })
}

fn sort(table: Stored, batches: &[RecordBatch]) -> Result<Vec<Place>, ArrowError> {
    let times: Vec<Int64Array> = batches.iter().map(times).collect::<Result<_, _>>()?;
    let mut places: Vec<Place> = Vec::with_capacity(times.iter().map(|times| times.values().len()).sum());
    for (batch, times) in (0..).zip(&times) {
        let place = |(row, time): (u32, &i64)| Place {
            day: DayNumber::of(UnixMs::new(*time)),
            ranks: [0; TEXTS],
            time: *time,
            batch,
            row,
        };
        places.extend((0..).zip(times.values()).map(place));
    }
    for (at, name) in table.sorted_by().iter().enumerate() {
        let columns = batches.iter().map(|batch| texts(batch, name)).collect::<Result<Vec<_>, _>>()?;
        for (place, rank) in places.iter_mut().zip(ranks(&columns)) {
            place.ranks[at] = rank;
        }
    }
    places.sort_unstable();
    Ok(places)
}

/// For each row of columns, the place of its text among all of them in their order.
fn ranks(columns: &[&StringViewArray]) -> impl Iterator<Item = u32> {
    // Numbered as they come first, and then once more.
    let mut numbers: HashMap<&str, u32, RandomState> = HashMap::default();
    let mut rows: Vec<u32> = Vec::with_capacity(columns.iter().map(|column| column.len()).sum());
    for text in columns.iter().flat_map(|column| column.iter()) {
        // Fewer than rows, of which a tail has some hundred thousand.
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        rows.push(*numbers.entry(text.unwrap_or_default()).or_insert(next));
    }
    let mut sorted: Vec<(&str, u32)> = numbers.into_iter().collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    for (rank, (_, number)) in (0..).zip(sorted) {
        ranks[number as usize] = rank;
    }
    rows.into_iter().map(move |number| ranks[number as usize])
}
