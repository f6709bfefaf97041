//! Limits that keys and identities own, on their way into memory.

use super::Ratelimit;
use crate::error::Error;
use crate::store::ratelimits;

/// The limits of an owner as they are kept in memory.
///
/// # Errors
/// When one of them means nothing.
pub(super) fn resident_limits(limits: Option<Vec<ratelimits::Ratelimit>>) -> Result<Box<[Ratelimit]>, Error> {
    let limits = limits.unwrap_or_default().into_iter().map(|limit| {
        check_limit(limit.limit, limit.duration_ms)?;
        Ok(Ratelimit {
            id: limit.id.into(),
            name: limit.name.into(),
            limit: limit.limit,
            duration_ms: limit.duration_ms,
            auto_apply: limit.auto_apply,
        })
    });
    limits.collect()
}

/// Checks that the numbers of a limit mean something: others would let everything through.
pub(super) fn check_limit(limit: i64, duration_ms: i64) -> Result<(), Error> {
    if limit < 0 || duration_ms < 1 {
        return Err(Error::unexpected("a limit is at least 0, its duration at least 1"));
    }
    Ok(())
}
