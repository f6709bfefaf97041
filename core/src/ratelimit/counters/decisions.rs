//! How often limits passed and refused.

use super::check::CellScope;
use crate::measure::Counter;

/// Decisions on rate limits: per kind of limit, how often it passed and how often it refused.
#[derive(Debug, Default)]
pub struct LimitDecisions([[Counter; 2]; 3]);

impl LimitDecisions {
    /// Notes one decision.
    pub fn note(&self, scope: CellScope<'_>, passed: bool) {
        let kind = match scope {
            CellScope::Key(_) => 0,
            CellScope::Namespace(_) => 1,
            CellScope::Workspace => 2,
        };
        self.0[kind][usize::from(passed)].add(1);
    }

    /// Each kind of limit with how often it passed and how often it refused.
    pub fn values(&self) -> [(&'static str, u64, u64); 3] {
        let value = |at: usize, kind| (kind, self.0[at][1].value(), self.0[at][0].value());
        [value(0, "key"), value(1, "namespace"), value(2, "workspace")]
    }
}
