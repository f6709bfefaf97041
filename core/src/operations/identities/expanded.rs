//! What is shown of an identity besides itself: what it has, and what is used of its limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::UnixMs;
use crate::operations::fields::{IdentityResponse, RatelimitResponse};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::store::identities::Facts;
use crate::store::ratelimits::Ratelimit;
use crate::{Caller, Keyrack};

/// What is answered of an identity on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Expand {
    Counts,
    Usage,
}

/// What is answered of each identity of a list on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum ExpandListed {
    Counts,
}

/// An identity, with more of it on request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpandedIdentity<L> {
    /// The identity.
    #[serde(flatten)]
    pub identity: IdentityResponse<L>,
    /// What it has.
    #[serde(flatten)]
    pub counts: Option<Counts>,
}

/// What an identity has; with `counts`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Unix ms.
    pub created_at: UnixMs,
    /// Unix ms of its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<UnixMs>,
    /// How many keys it has; 1001 stands for more.
    pub keys: i64,
}

impl From<Facts> for Counts {
    fn from(facts: Facts) -> Self {
        Counts { created_at: facts.created_at, updated_at: facts.updated_at, keys: facts.keys }
    }
}

/// A limit that an identity owns.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedRatelimit {
    /// The limit.
    #[serde(flatten)]
    pub limit: RatelimitResponse,
    /// What is used of it.
    #[serde(flatten)]
    pub usage: Option<Usage>,
}

/// What is used of a limit; with `usage`.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// What weighs in the window now.
    pub used: i64,
    /// What is left in the window.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset: UnixMs,
}

impl From<Ratelimit> for CountedRatelimit {
    fn from(limit: Ratelimit) -> Self {
        CountedRatelimit { limit: limit.into(), usage: None }
    }
}

impl CountedRatelimit {
    /// Adds what this process has counted of a limit of the identity.
    pub(super) fn look(&mut self, keyrack: &Keyrack, caller: &Caller, identity_id: &str) {
        let cell = CellKey {
            workspace: caller.workspace_id(),
            scope: CellScope::Key(&self.limit.name),
            identifier: identity_id,
            duration_ms: self.limit.duration,
        };
        let check = Check { cell, limit: self.limit.limit, cost: 0 };
        let count = keyrack.counters().foresee(&check, keyrack.clock().now());
        let reset = UnixMs::new(count.reset_ms);
        self.usage = Some(Usage { used: count.used, remaining: count.left, reset });
    }
}
