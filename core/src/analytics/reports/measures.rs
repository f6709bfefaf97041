//! What is measured of events: how many, with which outcome, and what they cost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Values;
use crate::analytics::sql::tables::Tables;
use crate::keys::verdict::Verdict;

/// Of decisions on limits.
pub const PASSED: &str = "PASSED";
/// Of decisions on limits.
pub const REFUSED: &str = "REFUSED";

/// The outcomes that events may have.
pub fn outcomes(of: Tables) -> Vec<&'static str> {
    match of {
        // Of keys that were not found there is no verification.
        Tables::Verifications => {
            let decided = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::NotFound);
            decided.map(Verdict::name).collect()
        }
        Tables::Ratelimits => vec![PASSED, REFUSED],
    }
}

/// Which groups come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "each is the number that it orders by")]
pub enum Order {
    #[default]
    Total,
    Refused,
    SpentCredits,
}

/// What some events come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// How many they are.
    pub total: i64,
    /// How many have each outcome; those that none has are not there.
    pub counts: BTreeMap<&'static str, i64>,
    /// The credits that verifications spent, or the cost that decisions on limits asked for.
    pub cost: i64,
    /// Median of how long the decisions took, in ms.
    pub latency_p50: Option<f64>,
    /// The 99th percentile of the same.
    pub latency_p99: Option<f64>,
}

impl Measured {
    /// Both together, without latencies, which do not add up.
    pub(super) fn plus(mut self, other: &Measured) -> Measured {
        self.total = self.total.saturating_add(other.total);
        self.cost = self.cost.saturating_add(other.cost);
        for (outcome, count) in &other.counts {
            *self.counts.entry(outcome).or_default() += count;
        }
        Measured { latency_p50: None, latency_p99: None, ..self }
    }
}

/// What is measured.
#[derive(Debug)]
pub(super) struct Measures {
    of: Tables,
    /// Of which outcomes.
    outcomes: Vec<&'static str>,
    are_all: bool,
}

impl Measures {
    /// Of events with these outcomes; of all of them, where none is given.
    pub(super) fn of(of: Tables, wanted: &[&'static str]) -> Self {
        let mut all = outcomes(of);
        let count = all.len();
        all.retain(|outcome| wanted.is_empty() || wanted.contains(outcome));
        Measures { of, are_all: all.len() == count, outcomes: all }
    }

    /// The condition on rows, where rows have an outcome.
    pub(super) fn condition(&self) -> Option<String> {
        let quoted: Vec<String> = self.outcomes.iter().map(|outcome| format!("'{outcome}'")).collect();
        let is_needed = self.of == Tables::Verifications && !self.are_all;
        is_needed.then(|| format!("outcome IN ({})", quoted.join(", ")))
    }

    /// Whether all that a row of sums stands for is measured, or nothing of it.
    pub(super) fn is_of_whole_rows(&self) -> bool {
        self.are_all || self.of == Tables::Verifications
    }

    /// SQL for the median and the 99th percentile of the latencies. The states hold more than what their columns are named
    /// after.
    pub(super) fn latencies(&self) -> &'static str {
        if self.is_of_whole_rows() {
            "quantilesTDigestMerge(0.5, 0.99)(latency_p75) AS latencies"
        } else {
            "any(0) AS latencies"
        }
    }

    /// SQL for how many of the events of a group have an outcome.
    fn count(&self, outcome: &str) -> String {
        match (self.of, outcome) {
            (Tables::Verifications, outcome) => format!("sumIf(count, outcome = '{outcome}')"),
            (Tables::Ratelimits, PASSED) => "sum(passed)".to_owned(),
            (Tables::Ratelimits, _) => "(sum(total) - sum(passed))".to_owned(),
        }
    }

    /// SQL for how many there are.
    pub(super) fn total(&self) -> String {
        match self.of {
            Tables::Verifications => "sum(count)".to_owned(),
            Tables::Ratelimits => {
                let counts: Vec<String> = self.outcomes.iter().map(|outcome| self.count(outcome)).collect();
                format!("({})", counts.join(" + "))
            }
        }
    }

    fn cost(&self) -> &'static str {
        match (self.of, self.outcomes.as_slice()) {
            (Tables::Verifications, _) => "sum(spent_credits)",
            (Tables::Ratelimits, [PASSED]) => "sum(passed_tokens)",
            (Tables::Ratelimits, [REFUSED]) => "sum(total_tokens - passed_tokens)",
            (Tables::Ratelimits, _) => "sum(total_tokens)",
        }
    }

    /// SQL for what groups are ordered by.
    pub(super) fn order(&self, order: Order) -> String {
        match (order, self.of) {
            (Order::Total, _) => self.total(),
            (Order::SpentCredits, _) => self.cost().to_owned(),
            (Order::Refused, Tables::Verifications) => {
                format!("sum(count) - {}", self.count(Verdict::Valid.name()))
            }
            (Order::Refused, Tables::Ratelimits) if self.outcomes.contains(&REFUSED) => self.count(REFUSED),
            (Order::Refused, Tables::Ratelimits) => "any(0)".to_owned(),
        }
    }

    /// SQL for the columns that [`Measures::read`] reads.
    pub(super) fn columns(&self) -> String {
        let counts = self.outcomes.iter().map(|outcome| self.count(outcome));
        let columns: Vec<String> = counts.chain([self.cost().to_owned()]).enumerate().map(named).collect();
        columns.join(", ")
    }

    /// What a row says.
    pub(super) fn read(&self, values: &mut Values) -> Measured {
        let mut measured = Measured::default();
        for outcome in &self.outcomes {
            let count = values.integer();
            measured.total += count;
            if count > 0 {
                measured.counts.insert(outcome, count);
            }
        }
        Measured { cost: values.integer(), ..measured }
    }
}

/// A column of its own, also where two are of the same words.
fn named((index, column): (usize, String)) -> String {
    format!("{column} AS measure_{index}")
}
