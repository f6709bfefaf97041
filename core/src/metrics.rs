//! What core counts in many places while it works, for whoever watches the program. What one service counts is the
//! service's own.
//!
//! Counting is one atomic addition at the place where the thing happens: no lock, no text, no allocation
//! (calls of assistants and runs of scheduled work, which are few, go into maps under a lock). How the numbers
//! are shown is the business of faces. Nothing is counted per workspace or per key: there are too many of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::calendar::UnixMs;
use crate::keys::verdict::Verdict;
use crate::measure::{Counter, Histogram};

/// How many of each are resident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes(pub [(&'static str, usize); 6]);

/// What scheduled work removes for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the kind of thing it names")]
pub enum Removed {
    Apis,
    AuditLogs,
    Changes,
    ExpiredKeys,
    ExpiredRootKeys,
    Identities,
    Keys,
    Namespaces,
    Overrides,
    RootKeys,
}

impl Removed {
    /// Each kind with its name, in the order of the variants.
    const NAMES: [&'static str; 10] = [
        "apis",
        "audit_logs",
        "changes",
        "expired_keys",
        "expired_root_keys",
        "identities",
        "keys",
        "namespaces",
        "overrides",
        "root_keys",
    ];
}

/// How a job of scheduled work fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScheduledRuns {
    /// Unix ms of the end of the last run that did all that was due; `None` before the first.
    pub last_success: Option<UnixMs>,
    /// How many runs failed.
    pub failures: u64,
    /// How many of them failed since the last one that did all that was due.
    pub failures_in_a_row: u64,
}

/// What core counts.
#[derive(Debug, Default)]
pub struct Metrics {
    verifications: [Counter; Verdict::ALL.len()],
    /// Of those that found nothing, how many were of a key that the root key may not verify.
    pub hidden_keys: Counter,
    assistant_calls: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    assistant_questions: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Bytes of the texts that assistants were answered.
    pub assistant_bytes: Counter,
    /// How long calls of assistants took.
    pub assistant_call_durations: Histogram,
    removed: [Counter; Removed::NAMES.len()],
    scheduled: Mutex<BTreeMap<&'static str, ScheduledRuns>>,
}

impl Metrics {
    /// Notes a verification; keys that do not exist count too.
    pub fn verified(&self, verdict: Verdict) {
        self.verifications[verdict as usize].add(1);
    }

    /// Each verdict with how often it was given. `NOT_FOUND` that hides a key is told apart as `HIDDEN`.
    pub fn verifications(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let hidden = self.hidden_keys.value();
        let count = move |verdict: Verdict| {
            let count = self.verifications[verdict as usize].value();
            if verdict == Verdict::NotFound { count.saturating_sub(hidden) } else { count }
        };
        let verdicts = Verdict::ALL.into_iter().map(move |verdict| (verdict.name(), count(verdict)));
        verdicts.chain([("HIDDEN", hidden)])
    }

    /// Notes a call of an assistant: the operation, `ok` or the specific part of the error's code, and how
    /// long it took.
    pub fn called_by_assistant(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let mut calls = self.assistant_calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((operation, outcome)).or_insert(0) += 1;
        drop(calls);
        self.assistant_call_durations.note(took);
    }

    /// How often assistants called each operation with each outcome.
    pub fn assistant_calls(&self) -> Vec<((&'static str, &'static str), u64)> {
        let calls = self.assistant_calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|(labels, count)| (*labels, *count)).collect()
    }

    /// Notes a question to people, or what became of it: how they are asked (`form`, `text`, `held`), and `asked`,
    /// `agreed` or `refused`.
    pub fn asked_people(&self, how: &'static str, outcome: &'static str) {
        let mut questions = self.assistant_questions.lock().unwrap_or_else(PoisonError::into_inner);
        *questions.entry((how, outcome)).or_insert(0) += 1;
    }

    /// How often people were asked in each way, and what they said.
    pub fn assistant_questions(&self) -> Vec<((&'static str, &'static str), u64)> {
        let questions = self.assistant_questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.iter().map(|(labels, count)| (*labels, *count)).collect()
    }

    /// Notes rows that scheduled work removed.
    pub fn removed(&self, kind: Removed, rows: u64) {
        self.removed[kind as usize].add(rows);
    }

    /// Each kind of rows with how many scheduled work has removed.
    pub fn rows_removed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Removed::NAMES.into_iter().zip(&self.removed).map(|(kind, rows)| (kind, rows.value()))
    }

    /// Notes that a run of a job, or a round of work that goes on all the time, ended at this Unix ms.
    pub fn scheduled_run(&self, job: &'static str, at: UnixMs, succeeded: bool) {
        let mut scheduled = self.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = scheduled.entry(job).or_default();
        if succeeded {
            runs.last_success = Some(at);
            runs.failures_in_a_row = 0;
        } else {
            runs.failures += 1;
            runs.failures_in_a_row += 1;
        }
    }

    /// Each job of scheduled work that has run, with how it fares.
    pub fn scheduled_runs(&self) -> Vec<(&'static str, ScheduledRuns)> {
        let scheduled = self.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
        scheduled.iter().map(|(job, runs)| (*job, *runs)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_counter_of_its_own_and_its_wire_name() {
        let metrics = Metrics::default();
        for (times, verdict) in Verdict::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.verified(verdict));
            assert_eq!(serde_json::json!(verdict), verdict.name());
        }
        let counted: Vec<u64> = metrics.verifications().map(|(_, count)| count).collect();
        assert_eq!(counted[..Verdict::ALL.len()], (0..Verdict::ALL.len() as u64).collect::<Vec<_>>());
        let verdicts = |metrics: &Metrics| metrics.verifications().collect::<BTreeMap<_, _>>();
        let before = verdicts(&metrics);
        metrics.verified(Verdict::NotFound);
        metrics.hidden_keys.add(1);
        let after = verdicts(&metrics);
        assert_eq!(
            (after["NOT_FOUND"], after["HIDDEN"]),
            (before["NOT_FOUND"], 1),
            "a hidden key is counted apart"
        );
    }

    #[test]
    fn every_kind_of_rows_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        metrics.removed(Removed::Apis, 1);
        metrics.removed(Removed::ExpiredKeys, 2);
        metrics.removed(Removed::RootKeys, 3);
        let removed: Vec<_> = metrics.rows_removed().filter(|(_, rows)| *rows > 0).collect();
        assert_eq!(removed, [("apis", 1), ("expired_keys", 2), ("root_keys", 3)]);
    }
}
