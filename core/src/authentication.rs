//! Who calls, asked of memory at the door.

use std::net::IpAddr;
use std::sync::Arc;

use crate::calendar::UnixMs;
use crate::caller::{Caller, Origin, Principal, RootKey};
use crate::error::{Code, Error};
use crate::keyrack::Keyrack;
use crate::keys::secret;
use crate::refusals::Refusal;
use crate::standing::{check_usable, unknown};
use crate::store::workspaces::Workspace;

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
        let now = self.clock().now();
        let requests_per_minute = self.admit(&root_key, now)?;
        root_key.last_use.note(now);
        Ok(Caller::new(Principal::RootKey(root_key), requests_per_minute, origin))
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
        let root_key: Arc<RootKey> = self.resident().root_key_by_id(&caller.root_key().id).ok_or_else(unknown)?;
        let requests_per_minute = self.admit(&root_key, self.clock().now())?;
        Ok(Caller::new(Principal::RootKey(root_key), requests_per_minute, caller.origin().clone()))
    }

    /// Refuses a root key that may not be used; else the requests per minute of its workspace, read in the same look.
    fn admit(&self, root_key: &RootKey, now: UnixMs) -> Result<Option<i64>, Error> {
        let look = |workspace: &Workspace| (workspace.enabled, workspace.requests_per_minute);
        let found = self.resident().look_at_workspace(&root_key.workspace_id, look);
        check_usable(found.map(|(enabled, _)| enabled), root_key.enabled, root_key.expires_at, now)?;
        Ok(found.and_then(|(_, requests_per_minute)| requests_per_minute))
    }

    /// Tells the log that a bearer value, or its absence, was refused.
    pub fn refused_credential(
        &self,
        operation: &'static str,
        address: Option<IpAddr>,
        bearer: Option<&str>,
        error: &Error,
    ) {
        let root_key = bearer.and_then(|bearer| self.resident().root_key(&secret::hash(bearer)));
        let root_key = root_key.as_ref().map(|root_key| root_key.id.as_str());
        self.refusals().tell(self.clock().now(), &Refusal { operation, root_key, address, error });
    }
}

fn stale() -> Error {
    Error::new(
        Code::ServiceUnavailable,
        "The server cannot read the changes of other processes, and would answer from an older state. Try again \
         shortly.",
    )
    .retry_after(1)
}
