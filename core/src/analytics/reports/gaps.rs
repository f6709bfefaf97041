//! For which time a report may have less than there was, and why.

use super::usage::{Gap, Question, Why};
use super::{Reporting, table};
use crate::analytics::sql::tables::{Grain, Of, Table};
use crate::calendar::UnixMs;
use crate::error::Error;

/// Gaps that are told one by one, of those that events left.
const MOST_GAPS: usize = 100;

impl Reporting<'_> {
    /// For which of the time that is asked for tables have not all there was.
    pub(super) async fn gaps(&self, read: &[&Table], question: &Question) -> Result<Vec<Gap>, Error> {
        let Question { start, end, .. } = *question;
        let mut gaps = Vec::new();
        let kept = read.iter().filter_map(|read| self.kept_since(read)).max().unwrap_or(UnixMs::EPOCH);
        if kept > start {
            gaps.push(Gap { start, end: kept.min(end), reason: Why::BeforeRetention, dropped: None });
        }
        let recorded = self.engine.recorded_since().unwrap_or(UnixMs::EPOCH).min(end);
        if recorded > start.max(kept) {
            let start = start.max(kept);
            gaps.push(Gap { start, end: recorded, reason: Why::NotRecorded, dropped: None });
        }
        gaps.extend(self.lost(read, question).await?);
        gaps.extend(self.damaged(read, question));
        Ok(gaps)
    }

    /// What was lost on its way, or removed.
    async fn lost(&self, read: &[&Table], question: &Question) -> Result<Vec<Gap>, Error> {
        let Question { start, end, .. } = *question;
        // Sums have what was removed from the events for lack of room.
        let counts_events =
            |read: &&Table| read.of == Of::Events && matches!(read.grain, Grain::Minute | Grain::Hour);
        let statement = format!(
            "SELECT time, last_time, reason, toInt64(events) FROM gaps WHERE last_time >= {} AND time < {}{} \
             ORDER BY time DESC LIMIT {MOST_GAPS}",
            start.get(),
            end.get(),
            if read.iter().any(counts_events) { "" } else { " AND reason != 'removed'" }
        );
        let told = self.rows(table(self.reader().of, "gaps")?, &statement).await?;
        let told = told.rows.into_iter().rev().map(|row| {
            let mut values = super::Values::of(row);
            let (start, last, reason, events) = (values.time(), values.time(), values.text(), values.integer());
            let reason = if reason == "removed" { Why::Removed } else { Why::Dropped };
            // How many there were of what a reader may not see is not for them.
            let dropped = (events > 0 && self.reader().scopes.is_none()).then_some(events);
            Gap { start, end: last.plus(1), reason, dropped }
        });
        Ok(told.collect())
    }

    /// What cannot be read, those that touch each other together.
    fn damaged(&self, read: &[&Table], question: &Question) -> Vec<Gap> {
        let workspace_id = &self.reader().workspace_id;
        let mut times: Vec<_> = read.iter().flat_map(|read| self.engine.unreadable(read, workspace_id)).collect();
        times.sort_unstable();
        let mut gaps: Vec<Gap> = Vec::new();
        for (first, last) in times {
            let (start, end) = (first.max(question.start), last.plus(1).min(question.end));
            match gaps.last_mut() {
                _ if start >= end => {}
                Some(gap) if gap.end >= start => gap.end = gap.end.max(end),
                _ => gaps.push(Gap { start, end, reason: Why::Damaged, dropped: None }),
            }
        }
        gaps
    }
}
