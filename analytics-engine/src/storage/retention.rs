//! What is kept for how long, and the removal of what is older.
//!
//! Files go as wholes, a day's or a month's. Of a file of several days, and of one that has rows of a workspace that
//! keeps them for a shorter time than others, the rows go. Nothing goes that the next coarser table does not have yet.

use std::collections::{BTreeMap, HashMap, HashSet};
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
use super::writing::{RowWriter, texts, times};

/// Files that one change of the manifest removes.
const FILES_AT_ONCE: usize = 64;
/// A clock that is so much further than at the last time is not believed at once: days would be gone for good.
const LEAP_MS: i64 = 3 * DAY_MS;
/// How long it has to say so.
const LEAP_BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// The columns that tell whether a row is too old.
pub(super) const WHOSE_AND_WHEN: [&str; 2] = ["workspace_id", "time"];

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
        let is_old = |file: &Arc<StoredFile>| file.days().last < today.before(self.kept_days(file.table()));
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
            let cuts = Cuts::of(file, today, self.kept_days(file.table()), shorter);
            if cuts.is_empty() || !self.is_news(file, &cuts) {
                continue;
            }
            if let Err(fault) = self.remove_rows_before(&cuts, file, removed, watch) {
                self.looked_at().remove(file.name());
                self.leave_out_damaged(std::slice::from_ref(file), fault)?;
            }
        }
        Ok(())
    }

    fn remove_rows_before(
        &self,
        cuts: &Cuts<'_>,
        file: &Arc<StoredFile>,
        removed: &mut Removed,
        watch: Watch<'_>,
    ) -> Result<(), Fault> {
        let is_over = |workspace: &str, time: UnixMs| cuts.is_over(workspace, time);
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

    /// Whether a file was not looked at for what is too old of it before.
    fn is_news(&self, file: &StoredFile, cuts: &Cuts<'_>) -> bool {
        let told = cuts.told();
        self.looked_at().insert(file.name().to_owned(), told.clone()).is_none_or(|before| before != told)
    }

    fn looked_at(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the rows of a file without some, told by their workspace and time, into another one: how many are missing.
    pub(super) fn without(
        &self,
        file: &Arc<StoredFile>,
        is_over: IsOver<'_>,
        made: &mut Made<'_>,
        watch: Watch<'_>,
    ) -> Result<u64, Fault> {
        let mut writer: Option<RowWriter<'_>> = None;
        let files = std::slice::from_ref(file);
        let mut told = Told::begin(file.table(), file.days(), files, watch);
        let mut missing = 0;
        for batch in Reading::of(file, PORTION)? {
            let batch = batch?;
            let kept = kept_rows(&batch, is_over)?;
            missing += (batch.num_rows() - kept.num_rows()) as u64;
            if kept.num_rows() > 0 {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    empty => empty.insert(RowWriter::begin(&self.folder, file.table(), file.days())?),
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

/// Whether a row of this workspace and time is to go.
pub(super) type IsOver<'a> = &'a dyn Fn(&str, UnixMs) -> bool;

/// The days before which rows of a file go.
struct Cuts<'a> {
    /// Those of all workspaces.
    all: Option<DayNumber>,
    /// Those of workspaces that keep less.
    of: BTreeMap<&'a str, DayNumber>,
}

impl<'a> Cuts<'a> {
    /// What of a file is too old. Rows of a month have its first day, and go with its last one.
    fn of(file: &StoredFile, today: DayNumber, kept_days: u32, shorter: &'a Shorter) -> Self {
        let days = file.days();
        let oldest = if matches!(file.table().made_of(), MadeOf::Days(_)) { days.last } else { days.first };
        // A day further makes no difference, and would have the file read once more.
        let cut = |kept: u32| Some(today.before(kept).min(days.last.after(1))).filter(|cut| oldest < *cut);
        let of = shorter.iter().filter(|(id, _)| file.may_have(id));
        Cuts { all: cut(kept_days), of: of.filter_map(|(id, kept)| Some((id.as_str(), cut(*kept)?))).collect() }
    }

    fn is_empty(&self) -> bool {
        self.all.is_none() && self.of.is_empty()
    }

    fn is_over(&self, workspace: &str, time: UnixMs) -> bool {
        let cut = self.all.max(self.of.get(workspace).copied());
        cut.is_some_and(|cut| DayNumber::of(time) < cut)
    }

    /// What tells them apart.
    fn told(&self) -> Vec<String> {
        let all = self.all.iter().map(DayNumber::to_string);
        all.chain(self.of.iter().map(|(id, cut)| format!("{cut} {id}"))).collect()
    }
}

fn kept_rows(batch: &RecordBatch, is_over: IsOver<'_>) -> Result<RecordBatch, Fault> {
    let (workspaces, times) = (texts(batch, "workspace_id")?, times(batch)?);
    let rows = workspaces.iter().zip(times.values());
    let kept: BooleanArray =
        rows.map(|(id, time)| Some(!id.is_some_and(|id| is_over(id, UnixMs::new(*time))))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}

/// Whether a file has rows that are to go, which only these two columns have to be read for.
fn has_any(file: &StoredFile, is_over: IsOver<'_>) -> Result<bool, Fault> {
    for batch in Reading::columns(file, WHOSE_AND_WHEN)? {
        let batch = batch?;
        if kept_rows(&batch, is_over)?.num_rows() < batch.num_rows() {
            return Ok(true);
        }
    }
    Ok(false)
}
