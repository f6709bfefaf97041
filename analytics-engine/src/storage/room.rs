//! Room: when files of events have more bytes than there is room for, the oldest of the workspace that has most go, a day
//! at a time.
//!
//! Sums stay, whatever they take: what somebody is billed by does not vanish because somebody else was busy. A file says
//! which workspaces have most of its rows; all others together are compared as sixteen would be. What is removed is told
//! in the table of gaps.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use keyrack_core::calendar::UnixMs;

use super::columns::Columns;
use super::compaction::sums_of;
use super::days::DayNumber;
use super::fault::Fault;
use super::file::{Made, StoredFile};
use super::progress::Watch;
use super::reading::Reading;
use super::retention::{IsOver, Removed, WHOSE_AND_WHEN};
use super::schema::{MadeOf, Stored};
use super::warehouse::{Change, Warehouse};
use super::writing::{RowWriter, texts, times};

/// As many share at least what no workspace has much of.
const SHARERS: u64 = 16;
/// The reason of gaps that this makes.
pub const REMOVED: &str = "removed";

/// Whose rows go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Whose {
    /// Those of a workspace.
    Workspace(String),
    /// Those of all that a file does not name as one of the heaviest.
    Others,
}

/// Rows of a workspace that went.
#[derive(Debug, Clone, Copy)]
struct Gap {
    rows: u64,
    first: i64,
    last: i64,
}

impl Warehouse {
    /// Removes events until there is room.
    pub(super) fn make_room(&self, removed: &mut Removed, watch: Watch<'_>) -> Result<(), Fault> {
        loop {
            let files: Vec<_> = self.files().into_iter().filter(|file| is_weighed(file.table())).collect();
            let bytes: u64 = files.iter().map(|file| file.bytes()).sum();
            if bytes <= self.settings.most_bytes {
                return Ok(());
            }
            let Some((whose, file)) = heaviest(&files) else { return Ok(()) };
            tracing::info!(file = file.name(), bytes, "there is no room for all events: some of the oldest go");
            let alone = std::slice::from_ref(&file);
            let done = if file.is_counted() {
                self.remove(&whose, &file, removed, watch)
            } else {
                // Its day is not over. Its sums have to be stored first.
                self.rewrite(alone, true, sums_of(file.table()), watch)
            };
            if let Err(fault) = done {
                self.leave_out_damaged(alone, fault)?;
            }
        }
    }

    fn remove(
        &self,
        whose: &Whose,
        file: &Arc<StoredFile>,
        removed: &mut Removed,
        watch: Watch<'_>,
    ) -> Result<(), Fault> {
        let named = |id: &str| file.facts().heaviest.iter().any(|(heavy, _)| heavy == id);
        let is_whose = |id: &str| match whose {
            Whose::Workspace(workspace) => workspace == id,
            Whose::Others => !named(id),
        };
        let Some(oldest) = oldest_day(file, &is_whose)? else { return Ok(()) };
        let is_over = |id: &str, time: UnixMs| is_whose(id) && DayNumber::of(time) <= oldest;
        let mut made = Made::in_folder(self.folder.path());
        let gaps = gaps(file, &is_over)?;
        let rows = self.without(file, &is_over, &mut made, watch)?;
        if !gaps.is_empty() {
            let mut writer = RowWriter::begin(&self.folder, Stored::Gaps, oldest.into())?;
            writer.write(&gap_rows(gaps)?)?;
            made.files.push(writer.finish(true)?);
        }
        self.change(Change { added: made.take(), removed: vec![file.clone()], ..Change::default() })?;
        removed.files += 1;
        removed.rows += rows;
        Ok(())
    }
}

/// Whether files of this table count as what there has to be room for.
pub(super) fn is_weighed(table: Stored) -> bool {
    table.made_of() == MadeOf::Events && table != Stored::Gaps
}

/// Who has most, and the oldest file in which that is.
fn heaviest(files: &[Arc<StoredFile>]) -> Option<(Whose, Arc<StoredFile>)> {
    let mut shares: HashMap<Whose, (u64, &Arc<StoredFile>)> = HashMap::new();
    let mut add = |whose, bytes, file| {
        let (sum, oldest) = shares.entry(whose).or_insert((0, file));
        *sum += bytes;
        let age = |file: &StoredFile| (file.day(), file.first_time(), file.name().to_owned());
        if age(file) < age(oldest) {
            *oldest = file;
        }
    };
    for file in files {
        let per_row = |rows: u64| rows * file.bytes() / file.rows().max(1);
        let mut named = 0;
        for (id, rows) in &file.facts().heaviest {
            add(Whose::Workspace(id.clone()), per_row(*rows), file);
            named += rows;
        }
        if file.rows() > named {
            add(Whose::Others, per_row(file.rows() - named), file);
        }
    }
    let share = |whose: &Whose, bytes: u64| if *whose == Whose::Others { bytes / SHARERS } else { bytes };
    let most = shares.into_iter().max_by(|(a, (a_bytes, _)), (b, (b_bytes, _))| {
        share(a, *a_bytes).cmp(&share(b, *b_bytes)).then_with(|| b.cmp(a))
    });
    most.map(|(whose, (_, file))| (whose, file.clone()))
}

/// The first day of which a file has such rows: what goes at a time is a day.
fn oldest_day(file: &StoredFile, is_whose: &dyn Fn(&str) -> bool) -> Result<Option<DayNumber>, Fault> {
    let mut oldest = None;
    for batch in Reading::columns(file, WHOSE_AND_WHEN)? {
        let batch = batch?;
        let (workspaces, times) = (texts(&batch, "workspace_id")?, times(&batch)?);
        let rows = workspaces.iter().zip(times.values());
        let whose = rows.filter(|(id, _)| id.is_some_and(is_whose)).map(|(_, time)| *time).min();
        oldest = [oldest, whose].into_iter().flatten().min();
    }
    Ok(oldest.map(|time| DayNumber::of(UnixMs::new(time))))
}

/// What goes, by workspace.
fn gaps(file: &StoredFile, is_over: IsOver<'_>) -> Result<Vec<(String, Gap)>, Fault> {
    let mut gaps: Vec<(String, Gap)> = Vec::new();
    for batch in Reading::columns(file, WHOSE_AND_WHEN)? {
        let batch = batch?;
        let (workspaces, times) = (texts(&batch, "workspace_id")?, times(&batch)?);
        for (id, time) in workspaces.iter().flatten().zip(times.values()) {
            if !is_over(id, UnixMs::new(*time)) {
                continue;
            }
            match gaps.last_mut() {
                Some((last, gap)) if last == id => {
                    *gap = Gap { rows: gap.rows + 1, first: gap.first.min(*time), last: gap.last.max(*time) };
                }
                _ => gaps.push((id.to_owned(), Gap { rows: 1, first: *time, last: *time })),
            }
        }
    }
    Ok(gaps)
}

fn gap_rows(gaps: Vec<(String, Gap)>) -> Result<RecordBatch, Fault> {
    let mut columns = Columns::of(Stored::Gaps);
    for (id, Gap { rows, first, last }) in gaps {
        let mut row = columns.row();
        row.integer(first).integer(last).text(&id).unsigned(Some(rows)).text(REMOVED);
    }
    Ok(columns.finish()?)
}
