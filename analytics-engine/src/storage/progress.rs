//! How far work is that takes long: told to whoever watches it, and to the log.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::days::{DayNumber, Days};
use super::fault::Fault;
use super::file::StoredFile;
use super::schema::Stored;

/// How often work that takes long says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is being done, for whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The table of the rows that are read.
    pub table: Stored,
    /// The day of the rows, the first one where they are of several.
    pub day: DayNumber,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that there are to read.
    pub of: u64,
}

/// Called between portions: it may take its time, and end the work.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// For whoever lets work go on to its end.
pub fn to_the_end(_: &Progress) -> std::ops::ControlFlow<()> {
    std::ops::ControlFlow::Continue(())
}

/// How far a piece of work is, for whoever watches and for the log.
pub(super) struct Told<'a, 'b> {
    progress: Progress,
    watch: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
    began: Instant,
    last: Instant,
    files: &'b [Arc<StoredFile>],
}

impl<'a, 'b> Told<'a, 'b> {
    pub(super) fn begin(table: Stored, days: Days, files: &'b [Arc<StoredFile>], watch: Watch<'a>) -> Self {
        let of = files.iter().map(|file| file.rows()).sum();
        let now = Instant::now();
        Told { progress: Progress { table, day: days.first, rows: 0, of }, watch, began: now, last: now, files }
    }

    pub(super) fn tell(&mut self, rows: usize) -> Result<(), Fault> {
        self.progress.rows += rows as u64;
        if self.last.elapsed() >= TELL_EVERY {
            let Progress { table, day, rows, of } = self.progress;
            tracing::info!(%table, %day, rows, of, "files of events are being compacted");
            self.last = Instant::now();
        }
        match (self.watch)(&self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Fault::Stopped),
        }
    }

    /// Says that it is done.
    pub(super) fn end(&self) {
        let (Progress { table, day, rows, .. }, files) = (self.progress, self.files.len());
        let took = self.began.elapsed();
        if took >= TELL_EVERY {
            tracing::info!(%table, %day, rows, files, ?took, "files of events were compacted");
        } else {
            tracing::debug!(%table, %day, rows, files, ?took, "files of events were compacted");
        }
    }
}
