//! What is not there: since when events are recorded, and of which times files cannot be read.

use keyrack_core::calendar::UnixMs;

use super::fault::Fault;
use super::file::StoredFile;
use super::schema::{MadeOf, Stored};
use super::warehouse::{Change, Warehouse};

impl Warehouse {
    /// Notes that events are recorded from now on, unless they were before. What the log had then is noted with the first
    /// files.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn begin(&self, now: UnixMs) -> Result<(), Fault> {
        if self.recorded_since().is_some() {
            return Ok(());
        }
        let stored = self.files().into_iter().chain(self.damaged_files()).map(|file| file.first_time());
        self.change(Change { began: Some(stored.chain([now]).min().unwrap_or(now)), ..Change::default() })
    }

    /// Of which times, first and last, rows of a table may be missing that a workspace had, because files cannot be read:
    /// its own, or those that it is counted from. Gaps that nobody can read are no better.
    pub fn unreadable(&self, table: Stored, workspace_id: &str) -> Vec<(UnixMs, UnixMs)> {
        let is_needed = |file: &StoredFile| match (file.table(), table.made_of()) {
            (of, _) if of == table => true,
            (Stored::Gaps, _) => true,
            (of, MadeOf::Raw(raw)) => of == raw && !file.is_counted(),
            (of, MadeOf::Days(days)) => (of == days || days.made_of() == MadeOf::Raw(of)) && !file.is_counted(),
            (_, MadeOf::Events) => false,
        };
        // Gaps of nobody in particular may be this one's.
        let may_have =
            |file: &StoredFile| file.may_have(workspace_id) || (file.table() == Stored::Gaps && file.may_have(""));
        let damaged = self.damaged_files();
        let needed = damaged.iter().filter(|file| is_needed(file) && may_have(file));
        needed
            .map(|file| {
                let length = file.table().length_ms();
                (file.first_time(), file.last_time().plus((length - 1).max(0)))
            })
            .collect()
    }
}
