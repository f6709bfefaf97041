//! The verdict on a key.

use schemars::JsonSchema;
use serde::Serialize;

/// The verdict on a key. `VALID` is the only one with which a request should be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the verdicts are the wire's own names")]
pub enum Verdict {
    Valid,
    NotFound,
    Forbidden,
    InsufficientPermissions,
    UsageExceeded,
    RateLimited,
    Disabled,
    Expired,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 8] = [
        Verdict::Valid,
        Verdict::NotFound,
        Verdict::Forbidden,
        Verdict::InsufficientPermissions,
        Verdict::UsageExceeded,
        Verdict::RateLimited,
        Verdict::Disabled,
        Verdict::Expired,
    ];

    /// The wire's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "VALID",
            Verdict::NotFound => "NOT_FOUND",
            Verdict::Forbidden => "FORBIDDEN",
            Verdict::InsufficientPermissions => "INSUFFICIENT_PERMISSIONS",
            Verdict::UsageExceeded => "USAGE_EXCEEDED",
            Verdict::RateLimited => "RATE_LIMITED",
            Verdict::Disabled => "DISABLED",
            Verdict::Expired => "EXPIRED",
        }
    }
}
