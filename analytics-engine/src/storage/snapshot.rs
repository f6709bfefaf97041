//! Everything that was stored at one moment: what a query reads.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::file::StoredFile;
use super::schema::{MadeOf, Stored};

/// What was stored at a moment. Its files stay while it is held.
///
/// Each event is in exactly one of the files or batches of its raw table. A table per hour, day or month has the rows
/// of its files, and besides them what [`Snapshot::uncounted`] names for it: summed in the same way, the two together
/// have each event once.
///
/// ```text
/// per month = its files + sums of uncounted.days + sums of (uncounted.raw + uncounted.tail)
/// per day, per hour = its files + sums of (uncounted.raw + uncounted.tail)
/// ```
#[derive(Debug)]
pub struct Snapshot {
    pub(super) files: [Vec<Arc<StoredFile>>; Stored::ALL.len()],
    pub(super) tails: [Vec<RecordBatch>; Stored::RAW.len()],
    pub(super) damaged: Vec<Damage>,
}

/// What a stored table of sums does not have yet.
#[derive(Debug, Default)]
pub struct Uncounted<'a> {
    /// Files of the table per day; only a table per month misses such.
    pub days: Vec<&'a Arc<StoredFile>>,
    /// Files of the raw table.
    pub raw: Vec<&'a Arc<StoredFile>>,
    /// The raw table's rows that are in no file yet.
    pub tail: &'a [RecordBatch],
}

/// A file that is named and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: Stored,
    /// How many rows it had.
    pub rows: u64,
    /// What is wrong with it.
    pub because: String,
}

impl Snapshot {
    /// The files of a table.
    pub fn files(&self, table: Stored) -> &[Arc<StoredFile>] {
        &self.files[table.place()]
    }

    /// The rows of a raw table that are in no file yet, in the order of their coming; a table of sums has none.
    pub fn tail(&self, table: Stored) -> &[RecordBatch] {
        let place = Stored::RAW.iter().position(|raw| *raw == table);
        place.map_or(&[], |place| &self.tails[place])
    }

    /// What a table of sums does not have yet; nothing for a raw table.
    pub fn uncounted(&self, table: Stored) -> Uncounted<'_> {
        match table.made_of() {
            MadeOf::Events => Uncounted::default(),
            MadeOf::Raw(raw) => Uncounted { days: Vec::new(), raw: self.not_counted(raw), tail: self.tail(raw) },
            MadeOf::Days(days) => {
                let uncounted = self.uncounted(days);
                Uncounted { days: self.not_counted(days), ..uncounted }
            }
        }
    }

    /// Files that are named and cannot be read: their rows are in no answer.
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    fn not_counted(&self, table: Stored) -> Vec<&Arc<StoredFile>> {
        self.files(table).iter().filter(|file| !file.is_counted()).collect()
    }
}
