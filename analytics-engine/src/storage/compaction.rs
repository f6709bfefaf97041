//! Compaction: many small files become few, a day that is over becomes sorted files and sums, a month sums of these.
//!
//! What has to be done is read from what there is, one piece after the other, and a piece counts with the one change of
//! the manifest at its end: a kill before leaves what was. Events that come for a day that is over, late or by a clock
//! that was set back, are a file more, whose sums are further rows beside those that the day has.
//!
//! Each file costs a query time before it gives a row. So what is done with is put together once more, by days that are
//! over ([`blocks`](super::blocks)): in the end there are four files of events a month and one of sums.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};

use keyrack_core::calendar::UnixMs;

use super::blocks::{self, GRACE_MS, MOST_ROWS, SAME_SIZE};
use super::days::{DayNumber, Days};
use super::fault::Fault;
use super::file::{Made, StoredFile};
use super::progress::{Told, Watch};
use super::reading::Merge;
use super::schema::{MadeOf, Stored};
use super::sums::Sums;
use super::warehouse::{Change, Warehouse};
use super::writing::RowWriter;

/// How many times as large a file of the next size is.
const NEXT_SIZE: u64 = 8;
/// Rows of a file of the smallest size.
const SMALLEST: u64 = 1 << 13;
/// Files that are read at once: their dictionaries and pages are in memory. Tests have more than theirs.
pub(super) const MOST_FILES: usize = if cfg!(test) { 5 } else { 32 };

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Times that files became fewer.
    pub merged: u64,
    /// Days of a table whose events were sorted and summed.
    pub days: u64,
    /// Months of a table that were summed.
    pub months: u64,
    /// Days and months of a table whose sums could not be read and were made once more.
    pub repaired: u64,
}

/// A piece of work.
#[derive(Debug)]
enum Piece {
    /// These become one.
    Merge(Vec<Arc<StoredFile>>),
    /// These, of a day that is over, become one and are summed.
    Day(Vec<Arc<StoredFile>>),
    /// These, of a month that is over, are summed.
    Month(Vec<Arc<StoredFile>>),
}

impl Warehouse {
    /// Does what there is to do. It reads and writes portions of some thousand rows, between which `watch` is called.
    ///
    /// # Errors
    /// When files cannot be written, or `watch` ends it. What was done before stays done. A file that cannot be read is
    /// said by name and left out from then on.
    pub fn compact(&self, now: UnixMs, watch: Watch<'_>) -> Result<Compacted, Fault> {
        let _upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Compacted { repaired: self.repair(now, watch)?, ..Compacted::default() };
        while let Some(piece) = next(&self.files(), now) {
            match self.work(&piece, watch) {
                Ok(()) => match piece {
                    Piece::Merge(_) => done.merged += 1,
                    Piece::Day(_) => done.days += 1,
                    Piece::Month(_) => done.months += 1,
                },
                Err(fault) => self.leave_out_damaged(piece.files(), fault)?,
            }
        }
        Ok(done)
    }

    fn work(&self, piece: &Piece, watch: Watch<'_>) -> Result<(), Fault> {
        match piece {
            Piece::Merge(files) => {
                let counted = files.iter().all(|file| file.is_counted());
                self.rewrite(files, counted, &[], watch)
            }
            Piece::Day(files) => {
                let sums = files.first().map_or(&[][..], |file| sums_of(file.table()));
                match files.as_slice() {
                    [_] if sums.is_empty() => self.change(Change { counted: files.clone(), ..Change::default() }),
                    _ => self.rewrite(files, true, sums, watch),
                }
            }
            Piece::Month(files) => self.sum_month(files, watch),
        }
    }

    /// Merges files into new ones that take their place, and sums their rows for other tables.
    pub(super) fn rewrite(
        &self,
        files: &[Arc<StoredFile>],
        counted: bool,
        sums: &[Stored],
        watch: Watch<'_>,
    ) -> Result<(), Fault> {
        let Some(first) = files.first() else { return Ok(()) };
        let table = first.table();
        let days = files.iter().fold(first.days(), |days, file| days.and(file.days()));
        let mut told = Told::begin(table, days, files, watch);
        let mut sums: Vec<Sums<'_>> = sums.iter().map(|table| Sums::of(&self.folder, *table, days)).collect();
        let mut made = Made::in_folder(self.folder.path());
        let mut merge = Merge::of(files)?;
        let mut writer = RowWriter::begin(&self.folder, table, days)?;
        while let Some(batch) = merge.portion()? {
            if writer.rows() >= MOST_ROWS {
                let full = std::mem::replace(&mut writer, RowWriter::begin(&self.folder, table, days)?);
                made.files.push(full.finish(counted)?);
            }
            writer.write(&batch)?;
            for sums in &mut sums {
                sums.add(&batch)?;
            }
            told.tell(batch.num_rows())?;
        }
        made.files.push(writer.finish(counted)?);
        for sums in sums {
            made.files.extend(sums.finish()?);
        }
        told.end();
        self.change(Change { added: made.take(), removed: files.to_vec(), ..Change::default() })
    }

    /// Sums days of a month.
    fn sum_month(&self, files: &[Arc<StoredFile>], watch: Watch<'_>) -> Result<(), Fault> {
        let Some(first) = files.first() else { return Ok(()) };
        let (table, month) = (first.table(), Days::month(first.day()));
        let mut told = Told::begin(table, month, files, watch);
        let mut merge = Merge::of(files)?;
        let per_month = sums_of(table).iter().map(|table| Sums::of(&self.folder, *table, month));
        let mut sums: Vec<Sums<'_>> = per_month.collect();
        while let Some(batch) = merge.portion()? {
            for sums in &mut sums {
                sums.add(&batch)?;
            }
            told.tell(batch.num_rows())?;
        }
        let mut made = Made::in_folder(self.folder.path());
        for sums in sums {
            made.files.extend(sums.finish()?);
        }
        told.end();
        self.change(Change { added: made.take(), counted: files.to_vec(), ..Change::default() })
    }

    /// Leaves out the one of these files that a fault is about; a fault of another kind is given back.
    pub(super) fn leave_out_damaged(&self, files: &[Arc<StoredFile>], fault: Fault) -> Result<(), Fault> {
        let path = match &fault {
            Fault::Parquet { path, .. } => path,
            Fault::File { path, source } if source.kind() == io::ErrorKind::NotFound => path,
            _ => return Err(fault),
        };
        match files.iter().find(|file| file.path() == path) {
            Some(file) => {
                self.leave_out(file, &fault.to_string());
                Ok(())
            }
            None => Err(fault),
        }
    }
}

impl Piece {
    fn files(&self) -> &[Arc<StoredFile>] {
        match self {
            Piece::Merge(files) | Piece::Day(files) | Piece::Month(files) => files,
        }
    }
}

/// The tables that are made of the rows of this one.
pub(super) fn sums_of(table: Stored) -> &'static [Stored] {
    match table {
        Stored::Verifications => &[Stored::VerificationsPerDay, Stored::VerificationsPerHour],
        Stored::Ratelimits => &[Stored::RatelimitsPerDay, Stored::RatelimitsPerHour],
        Stored::VerificationsPerDay => &[Stored::VerificationsPerMonth],
        Stored::RatelimitsPerDay => &[Stored::RatelimitsPerMonth],
        _ => &[],
    }
}

/// The next piece of work: what makes files fewer first, then the oldest day that is over, then the oldest month, and
/// then what puts days together.
fn next(files: &[Arc<StoredFile>], now: UnixMs) -> Option<Piece> {
    let block = || blocks::next(files, now).map(|files| Piece::Merge(first_of(files)));
    merge(files).or_else(|| day(files, now)).or_else(|| month(files, now)).or_else(block)
}

fn merge(files: &[Arc<StoredFile>]) -> Option<Piece> {
    let mut alike: BTreeMap<_, Vec<&Arc<StoredFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.rows() < MOST_ROWS / 2) {
        let size = (file.rows() / SMALLEST).max(1).ilog(NEXT_SIZE);
        alike.entry((file.table(), file.day(), file.is_counted(), size)).or_default().push(file);
    }
    let many = alike.into_values().find(|files| files.len() >= SAME_SIZE)?;
    Some(Piece::Merge(first_of(many)))
}

fn day(files: &[Arc<StoredFile>], now: UnixMs) -> Option<Piece> {
    let mut days: BTreeMap<(DayNumber, Stored), Vec<&Arc<StoredFile>>> = BTreeMap::new();
    let is_over = |file: &StoredFile| file.day().end().plus(GRACE_MS) <= now;
    let is_raw = |file: &StoredFile| file.table().made_of() == MadeOf::Events;
    for file in files.iter().filter(|file| !file.is_counted() && is_raw(file) && is_over(file)) {
        days.entry((file.day(), file.table())).or_default().push(file);
    }
    Some(Piece::Day(first_of(days.into_values().next()?)))
}

fn month(files: &[Arc<StoredFile>], now: UnixMs) -> Option<Piece> {
    let mut months: BTreeMap<(DayNumber, Stored), Vec<&Arc<StoredFile>>> = BTreeMap::new();
    let is_per_day =
        |file: &StoredFile| matches!(file.table(), Stored::VerificationsPerDay | Stored::RatelimitsPerDay);
    let is_over = |file: &StoredFile| Days::month(file.day()).last.end().plus(GRACE_MS) <= now;
    for file in files.iter().filter(|file| !file.is_counted() && is_per_day(file) && is_over(file)) {
        months.entry((file.day().month(), file.table())).or_default().push(file);
    }
    Some(Piece::Month(first_of(months.into_values().next()?)))
}

fn first_of(files: Vec<&Arc<StoredFile>>) -> Vec<Arc<StoredFile>> {
    files.into_iter().take(MOST_FILES).cloned().collect()
}
