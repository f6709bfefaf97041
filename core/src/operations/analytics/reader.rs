//! Who may read which events, for all operations of analytics.

use crate::analytics::reports::Reader;
use crate::analytics::sql::tables::Tables;
use crate::authorization::{Expression, Rule};
use crate::caller::Authorized;
use crate::error::Code;
use crate::{Caller, Error, Keyrack};

/// Who may read verifications: of all APIs, or of some.
pub(super) const VERIFICATIONS: Rule = Rule::forbidding(Expression::Any(&[
    Expression::Leg("api.*.read_analytics"),
    Expression::Leg("api.{anyApiId}.read_analytics"),
]));

/// Who may read decisions on limits: of all namespaces, or of some.
pub(super) const RATELIMITS: Rule = Rule::forbidding(Expression::Any(&[
    Expression::Leg("ratelimit.*.read_analytics"),
    Expression::Leg("ratelimit.{anyNamespaceId}.read_analytics"),
]));

/// What reports of fixed questions may be refused with.
pub(super) const REPORT_CODES: &[Code] = &[
    Code::AnalyticsNotConfigured,
    Code::AnalyticsConnectionFailed,
    Code::QueryExecutionTimeout,
    Code::QueryMemoryLimitExceeded,
    Code::QueryQuotaExceeded,
];

/// Lets a caller in who may read events of this kind, and says which.
///
/// # Errors
/// 403 for whoever may read none of them.
pub(super) fn let_in(keyrack: &Keyrack, caller: &Caller, of: Tables) -> Result<(Authorized, Reader), Error> {
    let rule = match of {
        Tables::Verifications => &VERIFICATIONS,
        Tables::Ratelimits => &RATELIMITS,
    };
    let (authorized, held) = caller.authorize_for_some(rule)?;
    let workspace_id = caller.workspace_id();
    // What is deleted, foreign or nonsense has no key space: of none there are no rows.
    let live = |id: String| {
        let api = keyrack.resident().api(&id).filter(|api| api.stored.workspace_id == workspace_id)?;
        Some((id, api.stored.key_space_id.clone()))
    };
    let (scopes, key_spaces) = match (of, held) {
        (_, None) => (None, None),
        (Tables::Verifications, Some(ids)) => {
            let (apis, key_spaces) = ids.into_iter().filter_map(live).unzip();
            (Some(apis), Some(key_spaces))
        }
        (Tables::Ratelimits, Some(ids)) => (Some(ids.clone()), Some(ids)),
    };
    let workspace = keyrack.resident().workspace(workspace_id);
    let reader = Reader {
        of,
        workspace_id: workspace_id.to_owned(),
        scopes,
        key_spaces,
        retention_days: workspace.and_then(|workspace| workspace.log_retention_days).unwrap_or(0),
        now: keyrack.clock().now(),
    };
    Ok((authorized, reader))
}
