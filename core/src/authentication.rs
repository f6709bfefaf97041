//! Who calls, and whether they still may: asked of memory at the door, and of the store where a change takes effect.

use crate::caller::{Caller, Origin, RootKey};
use crate::clock::rfc3339;
use crate::error::{Code, Error};
use crate::keyrack::Keyrack;
use crate::keys::secret;
use crate::store::root_keys::Standing;

impl Keyrack {
    /// Finds the root key that a bearer value is.
    ///
    /// # Errors
    /// 401 for what is no root key (an ordinary key reads the same), 403 for one that may not be used,
    /// 404 when its workspace is gone, 503 while memory may be older than what is promised.
    pub fn authenticate(&self, bearer: &str, origin: Origin) -> Result<Caller, Error> {
        let following = &self.state().following;
        if following.is_stale() {
            return Err(stale());
        }
        let root_key = self.resident().root_key(&secret::hash(bearer)).ok_or_else(unknown)?;
        if following.is_stale_in(&root_key.workspace_id) {
            return Err(stale());
        }
        self.check_usable(&root_key)?;
        self.note_use(&root_key.id);
        Ok(Caller::new(root_key, origin))
    }

    /// The same caller as the root key is by now, for another call or after a wait: whatever became of it
    /// meanwhile counts.
    ///
    /// # Errors
    /// As [`Keyrack::authenticate`].
    pub fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        let following = &self.state().following;
        if following.is_stale() || following.is_stale_in(caller.workspace_id()) {
            return Err(stale());
        }
        let root_key = self.resident().root_key_by_id(&caller.root_key().id).ok_or_else(unknown)?;
        self.check_usable(&root_key)?;
        Ok(Caller::new(root_key, caller.origin().clone()))
    }

    fn check_usable(&self, root_key: &RootKey) -> Result<(), Error> {
        let workspace_enabled =
            self.resident().look_at_workspace(&root_key.workspace_id, |workspace| workspace.enabled);
        check(workspace_enabled, root_key.enabled, root_key.expires_at, self.clock().now())
    }
}

/// Refuses a caller whose root key, as it is stored now, may not be used any more or may do less than when the
/// caller was let in.
///
/// A root key that may do more, or whose name changed, is as good as before.
///
/// # Errors
/// As [`Keyrack::authenticate`]; 503 when it may do less, since what it may still do is decided by those who ask
/// again.
pub(crate) fn check_standing(caller: &Caller, stored: Option<Standing>, now: i64) -> Result<(), Error> {
    let stored = stored.ok_or_else(unknown)?;
    check(stored.workspace_enabled, stored.enabled, stored.expires_at, now)?;
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

/// `workspace_enabled` is `None` for a workspace that is gone.
fn check(workspace_enabled: Option<bool>, enabled: bool, expires_at: Option<i64>, now: i64) -> Result<(), Error> {
    match workspace_enabled {
        None => return Err(invalid(Code::WorkspaceNotFound, "Its workspace does not exist any more.")),
        Some(false) => return Err(invalid(Code::WorkspaceDisabled, "Its workspace is disabled.")),
        Some(true) => {}
    }
    if !enabled {
        return Err(invalid(Code::KeyDisabled, "It is disabled."));
    }
    match expires_at.filter(|expires_at| now > *expires_at) {
        Some(expires_at) => Err(invalid(Code::Forbidden, &format!("It expired at {}.", rfc3339(expires_at)))),
        None => Ok(()),
    }
}

fn unknown() -> Error {
    invalid(Code::RootKeyNotFound, "No root key has this value.")
}

fn invalid(code: Code, reason: &str) -> Error {
    Error::new(code, format!("The provided root key is invalid. {reason}"))
}

fn stale() -> Error {
    Error::new(
        Code::ServiceUnavailable,
        "The server cannot read the changes of other processes, and would answer from an older state. Try again \
         shortly.",
    )
    .retry_after(1)
}
