//! How much each workspace used, per hour and outcome: small enough to be kept for years and summed at once.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::event::Event;
use crate::calendar::HOUR_MS;
use crate::store::usage::{Counted, Kind};

/// Counts of decisions.
#[derive(Debug, Clone, Default)]
pub struct Counts(HashMap<Counted, i64, RandomState>);

impl Counts {
    /// Counts an event, if it is use.
    pub fn add(&mut self, event: &Event) {
        let counted = match event {
            Event::Verification(event) => Counted {
                workspace_id: event.found.key.place.workspace_id.clone(),
                hour: event.time.get().div_euclid(HOUR_MS),
                kind: Kind::Verification,
                outcome: event.outcome.name(),
            },
            Event::Ratelimit(event) => Counted {
                workspace_id: event.namespace.stored.workspace_id.as_str().into(),
                hour: event.time.get().div_euclid(HOUR_MS),
                kind: Kind::Ratelimit,
                outcome: if event.passed { "PASSED" } else { "REFUSED" },
            },
            Event::Refusal(_) => return,
        };
        *self.0.entry(counted).or_insert(0) += 1;
    }

    /// Takes away what these are.
    pub fn subtract(&mut self, others: &Counts) {
        for (counted, count) in &others.0 {
            if let Some(known) = self.0.get_mut(counted) {
                *known -= count;
                if *known <= 0 {
                    self.0.remove(counted);
                }
            }
        }
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&Counted, i64)> {
        self.0.iter().map(|(counted, count)| (counted, *count))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
