//! What a key may be refused for before anything is spent: one list, in the order in which it decides.
//!
//! A verification takes the first refusal; each can be asked alone.

use std::net::IpAddr;

use crate::calendar::UnixMs;
use crate::keys::verdict::Verdict;
use crate::rbac::query::Query;
use crate::resident::FoundKey;

/// A check that spends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Whether the key is enabled.
    Enabled,
    /// Whether it has not expired.
    Expiry,
    /// Whether its API lets it be used from where the client is.
    Address,
    /// Whether it holds the permissions that the request names.
    Permissions,
}

/// What a key is used for, as far as these checks ask.
#[derive(Debug)]
pub struct Use<'a> {
    /// When.
    pub at: UnixMs,
    /// Where the client is, if that is known.
    pub address: Option<IpAddr>,
    /// The permissions that it takes.
    pub permissions: Option<Query<'a>>,
}

impl Check {
    /// Every check, in their order.
    pub const ALL: [Check; 4] = [Check::Enabled, Check::Expiry, Check::Address, Check::Permissions];

    /// The verdict on a key that does not pass this check.
    pub fn refusal(self, found: &FoundKey, used: &Use<'_>) -> Option<Verdict> {
        let (passed, verdict) = match self {
            Check::Enabled => (found.key.enabled, Verdict::Disabled),
            Check::Expiry => (used.at <= found.key.expires_at, Verdict::Expired),
            Check::Address => {
                let restriction = found.restricted_by.as_ref().map(|api| &api.addresses);
                let allows = |address| restriction.is_none_or(|addresses| addresses.contains(address));
                (used.address.map_or(restriction.is_none(), allows), Verdict::Forbidden)
            }
            Check::Permissions => {
                let holds = |permission: &str| found.key.holds(permission);
                let is_satisfied = |query: &Query<'_>| query.is_satisfied_by(holds);
                (used.permissions.as_ref().is_none_or(is_satisfied), Verdict::InsufficientPermissions)
            }
        };
        (!passed).then_some(verdict)
    }

    /// The verdict on a key that does not pass all of them.
    pub fn first_refusal(found: &FoundKey, used: &Use<'_>) -> Option<Verdict> {
        Check::ALL.into_iter().find_map(|check| check.refusal(found, used))
    }
}
