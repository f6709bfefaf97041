//! How questions to the engine fare, for whoever watches the program.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::engine::Rows;
use crate::error::Error;
use crate::measure::Histogram;

/// What a question is counted as that was answered.
const ANSWERED: &str = "ok";

/// Questions that were asked, by what became of them.
#[derive(Debug, Default)]
pub struct Questions {
    by_outcome: Mutex<BTreeMap<&'static str, u64>>,
    /// How long they took, waiting for their turn included.
    pub durations: Histogram,
}

impl Questions {
    /// Notes what became of a question, and how long that took.
    pub(super) fn note(&self, answered: &Result<Rows, Error>, took: Duration) {
        let outcome = answered.as_ref().map_or_else(|error| error.code().specific(), |_| ANSWERED);
        *self.by_outcome.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_insert(0) += 1;
        self.durations.note(took);
    }

    /// How many were answered (`ok`), and how many ended with each code.
    pub fn by_outcome(&self) -> Vec<(&'static str, u64)> {
        let counts = self.by_outcome.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(outcome, count)| (*outcome, *count)).collect()
    }
}
