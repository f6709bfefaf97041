//! Events that were lost, told apart by whose they were and why: the log keeps a record of them in their place.
//!
//! Whoever loses an event notes it in [`Losses`] and goes on, as it would have with an event that found a place.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use compact_str::CompactString;
use foldhash::quality::RandomState;

use super::event::{Entry, GapRecord, Record};
use crate::calendar::UnixMs;

/// Gaps that are told apart at a time; those of more workspaces are anybody's.
const MOST_TOLD_APART: usize = 512;
/// Whom a gap is of that may be anybody's.
const ANYBODY: &str = "";
/// Places to note losses in, so that those who lose events at once do not wait for each other.
const PLACES: usize = 16;

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The ring had no place.
    Full,
    /// The ring had places, but none more for this workspace.
    Share,
    /// The log could not be written.
    Failed,
    /// They were removed from the log, which was full, before all who follow it had passed them.
    Unread,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 4] = [Reason::Full, Reason::Share, Reason::Failed, Reason::Unread];

    /// What the log and the metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Share => "share",
            Reason::Failed => "failed",
            Reason::Unread => "unread",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// Gaps by workspace and reason.
#[derive(Debug, Default)]
pub struct Gaps(HashMap<(CompactString, Reason), Gap, RandomState>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    first: UnixMs,
    last: UnixMs,
    /// `None` when nobody knows.
    events: Option<u64>,
}

impl Gaps {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes the loss of one event.
    pub(super) fn lose(&mut self, workspace_id: &str, reason: Reason, time: UnixMs) {
        self.add(workspace_id, reason, Gap { first: time, last: time, events: Some(1) });
    }

    /// Notes the loss of nobody knows how many events between two times.
    pub(super) fn lose_some(&mut self, workspace_id: &str, reason: Reason, first: UnixMs, last: UnixMs) {
        self.add(workspace_id, reason, Gap { first, last, events: None });
    }

    /// Notes the loss of what a record is of, and says how many events that are: the record of a gap is none, and
    /// the gap goes on for its own reason.
    pub(super) fn lose_record(&mut self, record: &Record<'_>, reason: Reason) -> u64 {
        let time = match record {
            Record::Verification(record) => record.time,
            Record::Ratelimit(record) => record.time,
            Record::Refusal(record) => record.time,
            Record::Gap(gap) => {
                let reason = Reason::named(gap.reason).unwrap_or(reason);
                let lost = Gap { first: gap.first_time, last: gap.last_time, events: gap.events };
                self.add(gap.workspace_id, reason, lost);
                return 0;
            }
        };
        self.lose(record.workspace_id(), reason, time);
        1
    }

    /// Adds those of another.
    pub(super) fn merge(&mut self, other: Gaps) {
        for ((workspace_id, reason), gap) in other.0 {
            self.add(&workspace_id, reason, gap);
        }
    }

    /// What the log keeps of each.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.0.iter().map(|((workspace_id, reason), gap)| {
            let Gap { first, last, events } = *gap;
            let reason = reason.name();
            let record = GapRecord { workspace_id, first_time: first, last_time: last, events, reason };
            Entry { record: Record::Gap(record), cut_bytes: 0 }
        })
    }

    fn add(&mut self, workspace_id: &str, reason: Reason, gap: Gap) {
        let mut of = (CompactString::from(workspace_id), reason);
        if self.0.len() >= MOST_TOLD_APART && !self.0.contains_key(&of) {
            of.0 = ANYBODY.into();
        }
        self.0.entry(of).and_modify(|known| known.merge(gap)).or_insert(gap);
    }
}

impl Gap {
    fn merge(&mut self, other: Gap) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.events = self.events.zip(other.events).map(|(one, more)| one.saturating_add(more));
    }
}

/// Gaps that many note at once.
#[derive(Debug, Default)]
pub(super) struct Losses([Mutex<Gaps>; PLACES]);

impl Losses {
    /// Notes the loss of one event, in the first place where nobody does so just now.
    pub(super) fn lose(&self, workspace_id: &str, reason: Reason, time: UnixMs) {
        let mut free = self.0.iter().cycle().find_map(|place| match place.try_lock() {
            Ok(gaps) => Some(gaps),
            Err(TryLockError::Poisoned(gaps)) => Some(gaps.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        if let Some(gaps) = &mut free {
            gaps.lose(workspace_id, reason, time);
        }
    }

    /// Takes what was noted since the last time.
    pub(super) fn take(&self) -> Gaps {
        let mut taken = Gaps::default();
        for place in &self.0 {
            let mut gaps: MutexGuard<'_, Gaps> = place.lock().unwrap_or_else(PoisonError::into_inner);
            if !gaps.is_empty() {
                taken.merge(std::mem::take(&mut *gaps));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> UnixMs {
        UnixMs::new(ms)
    }

    /// Workspace, reason, first and last time and number of each, sorted.
    fn told(gaps: &Gaps) -> Vec<(String, String, i64, i64, Option<u64>)> {
        let told = gaps.entries().map(|entry| {
            let Record::Gap(gap) = entry.record else { panic!("{entry:?}") };
            let (first, last) = (gap.first_time.get(), gap.last_time.get());
            (gap.workspace_id.to_owned(), gap.reason.to_owned(), first, last, gap.events)
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }

    fn of(
        workspace_id: &str,
        reason: &str,
        first: i64,
        last: i64,
        events: Option<u64>,
    ) -> (String, String, i64, i64, Option<u64>) {
        (workspace_id.to_owned(), reason.to_owned(), first, last, events)
    }

    #[test]
    fn losses_are_told_apart_by_workspace_and_reason() {
        let losses = Losses::default();
        for (workspace_id, reason, time) in [
            ("ws_1", Reason::Share, 5),
            ("ws_1", Reason::Share, 3),
            ("ws_1", Reason::Full, 9),
            ("ws_2", Reason::Full, 1),
        ] {
            losses.lose(workspace_id, reason, at(time));
        }
        let mut gaps = losses.take();
        gaps.lose_some("ws_2", Reason::Full, at(0), at(7));
        assert_eq!(
            told(&gaps),
            [
                of("ws_1", "full", 9, 9, Some(1)),
                of("ws_1", "share", 3, 5, Some(2)),
                of("ws_2", "full", 0, 7, None),
            ]
        );
        assert!(losses.take().is_empty(), "what was taken is gone");
    }

    #[test]
    fn losses_of_very_many_workspaces_are_anybodys() {
        let mut gaps = Gaps::default();
        for number in 0..2 * MOST_TOLD_APART {
            gaps.lose(&format!("ws_{number}"), Reason::Full, at(1));
        }
        gaps.lose("ws_0", Reason::Full, at(2));
        let told = told(&gaps);
        assert_eq!(told.len(), MOST_TOLD_APART + 1);
        assert_eq!(told[0], of("", "full", 1, 1, Some(MOST_TOLD_APART as u64)));
        assert_eq!(told[1], of("ws_0", "full", 1, 2, Some(2)));
    }

    #[test]
    fn a_record_of_a_gap_that_is_lost_is_the_gap_again() {
        let mut gaps = Gaps::default();
        gaps.lose("ws_1", Reason::Share, at(4));
        let mut again = Gaps::default();
        for entry in gaps.entries() {
            assert_eq!(again.lose_record(&entry.record, Reason::Failed), 0);
        }
        assert_eq!(told(&again), told(&gaps));
    }

    #[test]
    fn losses_by_many_at_once_are_all_counted() {
        let losses = Losses::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|time| losses.lose("ws_1", Reason::Full, at(time))));
            }
        });
        assert_eq!(told(&losses.take()), [of("ws_1", "full", 0, 999, Some(8000))]);
    }
}
