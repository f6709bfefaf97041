//! What credits count, for whoever watches the program.

use crate::measure::{Counter, GroupSizes, Histogram};

/// What became of credits and of the deductions of them.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Credits that verifications spent.
    pub spent: Counter,
    /// Credits that verifications asked for and keys did not have.
    pub refused: Counter,
    /// How many deductions were committed together.
    pub groups: GroupSizes,
    /// How long those commits took.
    pub commits: Histogram,
    /// Groups of deductions that could not be committed.
    pub group_failures: Counter,
}
