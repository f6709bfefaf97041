//! Throttles: how many requests a minute a workspace may make of this process.

use super::counters::memory::{CellKey, CellScope, Check, MemoryCounters};
use crate::authorization::{Rule, Who};
use crate::calendar::MINUTE_MS;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Code, Error};

/// Where a workspace stands with its requests per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Requests per minute.
    pub limit: i64,
    /// Requests left in this window.
    pub remaining: i64,
    /// Seconds until the window ends.
    pub reset_seconds: u64,
}

/// What a throttle says to a request.
#[derive(Debug, Default)]
pub struct Throttled {
    /// Absent when the workspace has no limit, or one of 0.
    pub numbers: Option<Throttle>,
    /// 429 `workspace_rate_limited`, if the request is beyond the limit.
    pub refusal: Option<Error>,
}

impl MemoryCounters {
    /// Counts a request that comes now against the limit of the caller's workspace, if it has one. A limit of 0
    /// refuses without numbers. Operators are not held back from what only they may do: that is how a limit is
    /// corrected.
    pub fn throttle(&self, caller: &Caller, rule: &Rule, clock: &Clock) -> Throttled {
        let Some(limit) = caller.requests_per_minute() else { return Throttled::default() };
        if rule.who == Who::Operators && caller.principal().is_operator() {
            return Throttled::default();
        }
        if limit <= 0 {
            return Throttled { numbers: None, refusal: Some(refused()) };
        }
        let now = clock.now();
        let decision = self.check(&request_of(caller.workspace_id(), limit), now);
        let reset_seconds =
            u64::try_from((decision.reset_ms - now.get()).max(0)).unwrap_or_default().div_ceil(1000);
        let numbers = Some(Throttle { limit, remaining: decision.remaining, reset_seconds });
        let refusal = (!decision.passed).then(|| refused().retry_after(reset_seconds));
        Throttled { numbers, refusal }
    }
}

fn refused() -> Error {
    Error::new(
        Code::WorkspaceRateLimited,
        "The workspace made more requests this minute than it is allowed. Slow down and try again.",
    )
}

fn request_of(workspace_id: &str, limit: i64) -> Check<'_> {
    let cell = CellKey {
        workspace: workspace_id,
        scope: CellScope::Workspace,
        identifier: workspace_id,
        duration_ms: MINUTE_MS,
    };
    Check { cell, limit, cost: 1 }
}
