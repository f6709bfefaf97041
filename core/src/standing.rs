//! Whether a root key may be used, as it is known in memory or stored.

use crate::calendar::UnixMs;
use crate::caller::Caller;
use crate::error::{Code, Error};
use crate::store::root_keys::Standing;

/// Refuses a caller whose root key, as it is stored now, may not be used any more or may do less than when the
/// caller was let in.
///
/// A root key that may do more, or whose name changed, is as good as before.
///
/// # Errors
/// As [`Keyrack::authenticate`](crate::Keyrack::authenticate); 503 when it may do less, since what it may still do is
/// decided by those who ask again.
pub(crate) fn check_standing(caller: &Caller, stored: Option<Standing>, now: UnixMs) -> Result<(), Error> {
    let stored = stored.ok_or_else(unknown)?;
    check_usable(stored.workspace_enabled, stored.enabled, stored.expires_at, now)?;
    let root_key = caller.root_key();
    let is_less = root_key.operator && !stored.operator
        || root_key.permissions.iter().any(|permission| !stored.permissions.contains(permission));
    if is_less {
        return Err(Error::new(
            Code::ServiceUnavailable,
            "The root key's permissions changed while this request was on its way; nothing was done. Send it again.",
        )
        .retry_after(1));
    }
    Ok(())
}

/// Refuses a root key that may not be used: `workspace_enabled` is `None` for a workspace that is gone.
pub(crate) fn check_usable(
    workspace_enabled: Option<bool>,
    enabled: bool,
    expires_at: Option<UnixMs>,
    now: UnixMs,
) -> Result<(), Error> {
    match workspace_enabled {
        None => return Err(invalid(Code::WorkspaceNotFound, "Its workspace does not exist any more.")),
        Some(false) => return Err(invalid(Code::WorkspaceDisabled, "Its workspace is disabled.")),
        Some(true) => {}
    }
    if !enabled {
        return Err(invalid(Code::KeyDisabled, "It is disabled."));
    }
    match expires_at.filter(|expires_at| now > *expires_at) {
        Some(expires_at) => Err(invalid(Code::Forbidden, &format!("It expired at {}.", expires_at.rfc3339()))),
        None => Ok(()),
    }
}

pub(crate) fn unknown() -> Error {
    invalid(Code::RootKeyNotFound, "No root key has this value.")
}

fn invalid(code: Code, reason: &str) -> Error {
    Error::new(code, format!("The provided root key is invalid. {reason}"))
}
