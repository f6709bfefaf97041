//! Sums that cannot be read, made once more of what they were made of, where all of that is still there.
//!
//! All files of the table and day are replaced at once, those that can be read too: nobody knows which events were in
//! which. A file of several days brings them all along. What would have fewer events of a workspace than there are now is left as it is, and so is what events are missing from:
//! those that were too old, that there was no room for, or that cannot be read themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use keyrack_core::calendar::UnixMs;

use super::compaction::MOST_FILES;
use super::days::{DayNumber, Days};
use super::fault::Fault;
use super::file::{Made, StoredFile};
use super::progress::{Told, Watch};
use super::reading::{Merge, PORTION, Reading};
use super::room::REMOVED;
use super::schema::{MadeOf, Stored};
use super::sums::Sums;
use super::warehouse::{Change, Warehouse};
use super::writing::{integers, texts};

/// Tables of sums; those that others are made of come first.
const SUMS: [Stored; 6] = [
    Stored::VerificationsPerDay,
    Stored::VerificationsPerHour,
    Stored::RatelimitsPerDay,
    Stored::RatelimitsPerHour,
    Stored::VerificationsPerMonth,
    Stored::RatelimitsPerMonth,
];

/// Sums of a table and days, of which some cannot be read.
struct Broken {
    table: Stored,
    days: Days,
    damaged: Vec<Arc<StoredFile>>,
    readable: Vec<Arc<StoredFile>>,
    /// What they were made of.
    sources: Vec<Arc<StoredFile>>,
}

impl Warehouse {
    /// Makes sums once more that cannot be read: of how many days and months.
    ///
    /// # Errors
    /// When `watch` ends it. Nothing else stops those that come after: what could not be made once more stays as it is.
    pub(super) fn repair(&self, now: UnixMs, watch: Watch<'_>) -> Result<u64, Fault> {
        match self.repair_all(now, watch) {
            Err(Fault::Stopped) => Err(Fault::Stopped),
            Err(fault) => {
                tracing::warn!(%fault, "sums that cannot be read were not made once more");
                Ok(0)
            }
            repaired => repaired,
        }
    }

    fn repair_all(&self, now: UnixMs, watch: Watch<'_>) -> Result<u64, Fault> {
        let mut repaired = 0;
        for table in SUMS {
            let damaged = self.damaged_files().into_iter().filter(|file| file.table() == table);
            let days: BTreeSet<Days> = damaged.map(|file| file.days()).collect();
            for days in days {
                let Some(broken) = self.repairable(table, days, now)? else { continue };
                match self.make_once_more(&broken, watch) {
                    Ok(true) => repaired += 1,
                    Ok(false) => self.give_up(&broken),
                    Err(fault) => self.leave_out_damaged(&broken.sources, fault)?,
                }
            }
        }
        Ok(repaired)
    }

    /// The sums of a table and days, if all that they were made of is there.
    fn repairable(&self, table: Stored, days: Days, now: UnixMs) -> Result<Option<Broken>, Fault> {
        let (source, is_of_days) = match table.made_of() {
            MadeOf::Raw(raw) => (raw, false),
            MadeOf::Days(days) => (days, true),
            MadeOf::Events => return Ok(None),
        };
        let (files, all_damaged) = (self.files(), self.damaged_files());
        let is_of = |file: &StoredFile, table| file.table() == table && (table != source || file.is_counted());
        let concerned = files.iter().chain(&all_damaged);
        let concerned = concerned.filter(|file| is_of(file, table) || is_of(file, source));
        let days = widened(days, &concerned.map(|file| file.days()).collect::<Vec<_>>());
        let of = |files: &[Arc<StoredFile>], table| -> Vec<Arc<StoredFile>> {
            files.iter().filter(|file| is_of(file, table) && file.days().overlap(days)).cloned().collect()
        };
        let broken = Broken {
            table,
            days,
            damaged: of(&all_damaged, table),
            readable: of(&files, table),
            sources: of(&files, source),
        };
        if broken.damaged.is_empty() {
            return Ok(None);
        }
        let is_kept = days.first >= DayNumber::of(now).before(self.kept_days(source));
        let is_lost = !of(&all_damaged, source).is_empty() || !is_kept || broken.sources.is_empty();
        // Once coarser sums have some of them and not others, nobody knows any more which.
        let counted = broken.files().filter(|file| file.is_counted()).count();
        let is_mixed = counted > 0 && counted < broken.files().count();
        if is_lost || is_mixed || self.is_given_up(&broken) || (!is_of_days && self.is_missing_some(days)?) {
            return Ok(None);
        }
        Ok(Some(broken))
    }

    /// Whether events of these days were removed because there was no room, or may have been.
    fn is_missing_some(&self, days: Days) -> Result<bool, Fault> {
        let of_day = |file: &Arc<StoredFile>| file.table() == Stored::Gaps && file.days().overlap(days);
        if self.damaged_files().iter().any(of_day) {
            return Ok(true);
        }
        for file in self.files().iter().filter(|file| of_day(file)) {
            for batch in Reading::columns(file, ["reason"])? {
                if texts(&batch?, "reason")?.iter().flatten().any(|reason| reason == REMOVED) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether they could be made once more, and were.
    fn make_once_more(&self, broken: &Broken, watch: Watch<'_>) -> Result<bool, Fault> {
        let mut told = Told::begin(broken.table, broken.days, &broken.sources, watch);
        let mut made = Made::in_folder(self.folder.path());
        for sources in broken.sources.chunks(MOST_FILES) {
            let mut sums = Sums::of(&self.folder, broken.table, broken.days);
            let mut merge = Merge::of(sources)?;
            while let Some(batch) = merge.portion()? {
                sums.add(&batch)?;
                told.tell(batch.num_rows())?;
            }
            made.files.extend(sums.finish()?);
        }
        told.end();
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for file in &broken.readable {
            count(file, &mut before)?;
        }
        for facts in &made.files {
            count(&StoredFile::new(self.folder.path(), facts.clone()), &mut after)?;
        }
        if before.iter().any(|(workspace, events)| after.get(workspace) < Some(events)) {
            return Ok(false);
        }
        let counted = broken.damaged.iter().all(|file| file.is_counted());
        made.files.iter_mut().for_each(|facts| facts.counted = counted);
        tracing::info!(table = %broken.table, days = %broken.days, "sums that could not be read were made once more");
        self.change(Change {
            added: made.take(),
            removed: broken.files().cloned().collect(),
            ..Change::default()
        })?;
        Ok(true)
    }

    fn is_given_up(&self, broken: &Broken) -> bool {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        broken.damaged.iter().all(|file| given_up.contains(file.name()))
    }

    fn give_up(&self, broken: &Broken) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.extend(broken.damaged.iter().map(|file| file.name().to_owned()));
    }
}

impl Broken {
    fn files(&self) -> impl Iterator<Item = &Arc<StoredFile>> {
        self.damaged.iter().chain(&self.readable)
    }
}

/// These days, and all that they have files in common with.
fn widened(mut days: Days, files: &[Days]) -> Days {
    loop {
        let overlapping = files.iter().filter(|file| file.overlap(days));
        let wider = overlapping.fold(days, |days, file| days.and(*file));
        if wider == days {
            return days;
        }
        days = wider;
    }
}

/// Adds up how many events of each workspace are in a file of sums.
fn count(file: &StoredFile, events: &mut BTreeMap<String, i64>) -> Result<(), Fault> {
    for batch in Reading::of(file, PORTION)? {
        let batch = batch?;
        let counts = integers(&batch, if batch.column_by_name("count").is_some() { "count" } else { "total" })?;
        for (workspace, count) in texts(&batch, "workspace_id")?.iter().flatten().zip(counts.values()) {
            match events.get_mut(workspace) {
                Some(sum) => *sum += count,
                None => drop(events.insert(workspace.to_owned(), *count)),
            }
        }
    }
    Ok(())
}
