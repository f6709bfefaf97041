//! How much an expression comes to when the columns that it names are written out.
//!
//! An optimizer does that: a condition on a column of a subquery becomes one on what the column is made of. A column that is
//! used twice at each of twenty levels is a million times as much. So columns carry their weight, and a statement whose
//! expressions weigh too much is refused before anything is planned with them.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use keyrack_core::analytics::sql::tree::{Expression, Kind};
use keyrack_core::analytics::sql::types::Literal;

use super::Planner;
use super::expression::Scope;

/// Nodes that an expression may come to.
const MOST: u64 = 20_000;
/// Bytes that texts may come to, twice as many as a statement has.
const MOST_CONSTANTS: usize = 32 << 10;

impl Planner<'_> {
    /// The weight of an expression.
    ///
    /// # Errors
    /// When it is too much.
    pub(super) fn weight(&self, expression: &Expression, scope: &Scope) -> Result<u64> {
        let mut weight = 0_u64;
        expression.each(|one| {
            let name = match &one.kind {
                Kind::Column { source, column } => Some(&scope.sources[*source][*column]),
                Kind::Element(index) => Some(&scope.elements[*index]),
                Kind::Key(index) => Some(&scope.keys[*index]),
                Kind::Output(index) => Some(&scope.outputs[*index]),
                _ => None,
            };
            weight = weight.saturating_add(name.map_or(1, |name| self.weight_of(name)));
        });
        if weight > MOST { Err(too_heavy()) } else { Ok(weight) }
    }

    /// Counts a constant that is written out: each row of a batch may get a copy of its own.
    ///
    /// # Errors
    /// When texts come to too much.
    pub(super) fn bound_constants(&self, value: &Literal) -> Result<()> {
        let Literal::String(text) = value else { return Ok(()) };
        let before = self.constants.fetch_add(text.len(), Ordering::Relaxed);
        if before + text.len() > MOST_CONSTANTS {
            return Err(DataFusionError::Execution(
                "its texts come to too much where names stand for them; use long texts fewer times".to_owned(),
            ));
        }
        Ok(())
    }

    /// The weight of a column.
    pub(super) fn weight_of(&self, name: &str) -> u64 {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(1)
    }

    /// Notes what a column weighs.
    pub(super) fn weighs(&self, name: &str, weight: u64) {
        if weight > 1 {
            self.weights.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), weight);
        }
    }
}

fn too_heavy() -> DataFusionError {
    DataFusionError::Execution(
        "its subqueries build too much on each other; write it with fewer levels".to_owned(),
    )
}
