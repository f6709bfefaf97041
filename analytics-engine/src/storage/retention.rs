//! What is kept for how long, and the removal of what is older.
//!
//! Files go as wholes, a day's or a month's. What a workspace keeps for a shorter time than others is taken out of files
//! that have rows of others, too. Nothing goes that the next coarser table does not have yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use keyrack_core::calendar::{DAY_MS, HOUR_MS, UnixMs};

use super::days::DayNumber;
use super::fault::Fault;
use super::file::{Made, StoredFile};
use super::progress::{Told, Watch};
use super::reading::{PORTION, Reading};
use super::schema::{MadeOf, Stored};
use super::warehouse::{Change, Warehouse};
use super::writing::{RowWriter, texts};

/// Files that one change of the manifest removes.
const FILES_AT_ONCE: usize = 64;
/// A clock that is so much further than at the last time is not believed at once: days would be gone for good.
const LEAP_MS: i64 = 3 * DAY_MS;
/// How long it has to say so.
const LEAP_BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// Days for which workspaces keep what is stored, by id, where that is less than others do.
pub type Shorter = HashMap<String, u32>;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files that are gone or have fewer rows.
    pub files: u64,
    /// Rows that are gone.
    pub rows: u64,
}

impl Warehouse {
    /// Removes what is too old, and then what there is no room for. It is to be called after [`Warehouse::compact`]: what
    /// is not summed yet stays.
    ///
    /// # Errors
    /// When files cannot be written, or `watch` ends it. What was done before stays done.
    pub fn sweep(&self, now: UnixMs, shorter: &Shorter, watch: Watch<'_>) -> Result<Removed, Fault> {
        let _upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Removed::default();
        if self.is_believed(now)? {
            self.remove_old_files(now, &mut removed)?;
            self.remove_old_rows(now, shorter, &mut removed, watch)?;
        }
        self.make_room(&mut removed, watch)?;
        Ok(removed)
    }

    /// Whether a clock can be trusted with the removal of days.
    fn is_believed(&self, now: UnixMs) -> Result<bool, Fault> {
        let (swept, mut leapt) = (self.swept(), self.leapt.lock().unwrap_or_else(PoisonError::into_inner));
        if swept != UnixMs::EPOCH && now.since(swept) > LEAP_MS {
            let began = *leapt.get_or_insert_with(|| {
                tracing::warn!("the clock is days further than it was: what is old now is kept for another hour");
                Instant::now()
            });
            if began.elapsed() < LEAP_BELIEVED_AFTER {
                return Ok(false);
            }
        }
        *leapt = None;
        if !(0..HOUR_MS).contains(&now.since(swept)) {
            self.change(Change { swept: Some(now), ..Change::default() })?;
        }
        Ok(true)
    }

    fn remove_old_files(&self, now: UnixMs, removed: &mut Removed) -> Result<(), Fault> {
        let today = DayNumber::of(now);
        let is_old =
            |file: &Arc<StoredFile>| last_day(file) < today.before(self.settings.retention.days(file.table()));
        let counted = self.files().into_iter().filter(|file| file.is_counted());
        // What cannot be read will never be counted.
        let old: Vec<_> = counted.chain(self.damaged_files()).filter(is_old).collect();
        for files in old.chunks(FILES_AT_ONCE) {
            self.change(Change { removed: files.to_vec(), ..Change::default() })?;
            removed.files += files.len() as u64;
            removed.rows += files.iter().map(|file| file.rows()).sum::<u64>();
        }
        Ok(())
    }

    fn remove_old_rows(
        &self,
        now: UnixMs,
        shorter: &Shorter,
        removed: &mut Removed,
        watch: Watch<'_>,
    ) -> Result<(), Fault> {
        let (today, files) = (DayNumber::of(now), self.files());
        let names: HashSet<&str> = files.iter().map(|file| file.name()).collect();
        self.looked_at().retain(|name, _| names.contains(name.as_str()));
        for file in files.iter().filter(|file| file.is_counted() && file.table() != Stored::Gaps) {
            let is_old = |(id, days): &(&String, &u32)| last_day(file) < today.before(**days) && file.may_have(id);
            let ids: Vec<&str> = shorter.iter().filter(is_old).map(|(id, _)| id.as_str()).collect();
            if ids.is_empty() || !self.is_news(file, &ids) {
                continue;
            }
            if let Err(fault) = self.remove_rows_of(&ids, file, removed, watch) {
                self.looked_at().remove(file.name());
                self.leave_out_damaged(std::slice::from_ref(file), fault)?;
            }
        }
        Ok(())
    }

    fn remove_rows_of(
        &self,
        ids: &[&str],
        file: &Arc<StoredFile>,
        removed: &mut Removed,
        watch: Watch<'_>,
    ) -> Result<(), Fault> {
        let is_over = |workspace: &str| ids.contains(&workspace);
        if !has_any(file, &is_over)? {
            return Ok(());
        }
        let mut made = Made::in_folder(self.folder.path());
        let rows = self.without(file, &is_over, &mut made, watch)?;
        self.change(Change { added: made.take(), removed: vec![file.clone()], ..Change::default() })?;
        removed.files += 1;
        removed.rows += rows;
        Ok(())
    }

    /// Whether a file was not looked at for these workspaces before.
    fn is_news(&self, file: &StoredFile, ids: &[&str]) -> bool {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        ids.sort_unstable();
        self.looked_at().insert(file.name().to_owned(), ids.clone()).is_none_or(|before| before != ids)
    }

    fn looked_at(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the rows of a file without those of some workspaces into another one: how many are missing.
    pub(super) fn without(
        &self,
        file: &Arc<StoredFile>,
        is_over: &dyn Fn(&str) -> bool,
        made: &mut Made<'_>,
        watch: Watch<'_>,
    ) -> Result<u64, Fault> {
        let mut writer: Option<RowWriter<'_>> = None;
        let files = std::slice::from_ref(file);
        let mut told = Told::begin(file.table(), file.day(), files, watch);
        let mut missing = 0;
        for batch in Reading::of(file, PORTION)? {
            let batch = batch?;
            let kept = kept_rows(&batch, is_over)?;
            missing += (batch.num_rows() - kept.num_rows()) as u64;
            if kept.num_rows() > 0 {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    empty => empty.insert(RowWriter::begin(&self.folder, file.table(), file.day())?),
                };
                writer.write(&kept)?;
            }
            told.tell(batch.num_rows())?;
        }
        if let Some(writer) = writer {
            made.files.push(writer.finish(file.is_counted())?);
        }
        Ok(missing)
    }
}

/// The last day that a file has rows of.
fn last_day(file: &StoredFile) -> DayNumber {
    match file.table().made_of() {
        MadeOf::Days(_) => file.day().next_month().before(1),
        _ => file.day(),
    }
}

fn kept_rows(batch: &RecordBatch, is_over: &dyn Fn(&str) -> bool) -> Result<RecordBatch, Fault> {
    let workspaces = texts(batch, "workspace_id")?;
    let kept: BooleanArray = workspaces.iter().map(|id| Some(!id.is_some_and(is_over))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}

/// Whether a file has rows of some workspaces, which only this one column has to be read for.
fn has_any(file: &StoredFile, is_over: &dyn Fn(&str) -> bool) -> Result<bool, Fault> {
    for batch in Reading::column(file, "workspace_id")? {
        if texts(&batch?, "workspace_id")?.iter().flatten().any(is_over) {
            return Ok(true);
        }
    }
    Ok(false)
}
