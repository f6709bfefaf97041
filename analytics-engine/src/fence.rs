//! A fence in a plan: what is above it never meets a row that is below it and not let through.
//!
//! An optimizer moves conditions down to where rows are read, and evaluates the cheapest first. A condition that can fail (a
//! text that is no number, a division by 0) would then fail because of rows that its author may not see, and so tell
//! what is in them. So the rows that may be seen are chosen below a fence, by conditions that cannot fail, and the optimizer
//! finds nothing behind it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;

use crate::step::{Step, Work};

/// A fence around a plan. It says nothing of what may be moved through it, and so nothing is.
#[derive(Debug)]
pub(crate) struct Fence;

impl Fence {
    /// A fence around this plan.
    pub(crate) fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Step::around(input, Fence)
    }
}

impl Work for Fence {
    const NAME: &'static str = "Fence";

    fn rows(&self, rows: SendableRecordBatchStream, _: &TaskContext) -> Result<SendableRecordBatchStream> {
        Ok(rows)
    }
}
