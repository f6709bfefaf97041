//! Retention: what nobody needs any more is removed for good, after a time that the owner of the server or the
//! workspace chooses; without a choice, never.
//!
//! - What was deleted, after the server's setting: then hashes of keys and names of namespaces are free again.
//! - Keys that expired, after the server's setting, as if they were deleted then.
//! - Entries of the audit log, after the workspace's setting (see [`crate::audit::chain`]).
//!
//! Plaintexts of deleted APIs, and of one-time links that are void, go always, and soon.
//!
//! It works in small portions, each a change of one workspace like any other, so that verifications and
//! administration go on beside it. A second process that does the same finds less to do, no more.

mod audit_log;
mod believed_time;
mod deleted;
mod expired;
mod plaintexts;

pub use believed_time::BelievedTime;
pub(crate) use plaintexts::Plaintexts;
pub use plaintexts::{remove_claims, remove_plaintexts};

use std::sync::Arc;
use std::time::Duration;

use crate::calendar::{DAY_MS, UnixMs};
use crate::error::Error;
use crate::schedule::Job;
use crate::state::State;
use crate::store::workspaces;

/// Who the audit log names for what is done here.
const ROLE: &str = "cleanup";
/// Rows of a kind per transaction, so that other writers get their turn.
const PORTION: i64 = 200;

/// How long the server keeps what nobody can use; `None` means for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days after which what was deleted is removed.
    pub deleted_days: Option<i64>,
    /// Days after which keys that expired are removed.
    pub expired_days: Option<i64>,
}

impl Retention {
    /// The most days that may be asked for.
    pub const MAX_DAYS: i64 = 36_500;
}

/// The scheduled removal.
#[derive(Debug)]
pub(crate) struct Removal {
    state: Arc<State>,
    retention: Retention,
    time: BelievedTime,
}

impl Removal {
    pub(crate) fn new(state: Arc<State>, retention: Retention) -> Self {
        Removal { state, retention, time: BelievedTime::default() }
    }
}

impl Job for Removal {
    const NAME: &'static str = "retention";
    const PERIOD: Duration = believed_time::PERIOD;

    async fn run(&mut self) -> Result<(), Error> {
        match self.time.advance(&self.state).await? {
            Some(now) => remove(&self.state, self.retention, now).await,
            None => Ok(()),
        }
    }
}

/// Removes what is due at a Unix ms, in all workspaces.
///
/// # Errors
/// When the store does not answer. What was removed until then stays removed.
pub async fn remove(state: &Arc<State>, retention: Retention, now: UnixMs) -> Result<(), Error> {
    let all = workspaces::all(&mut *state.store.read().await?).await?;
    let before = |days: i64| now.minus(days.saturating_mul(DAY_MS));
    for workspace in all {
        if let Some(days) = workspace.audit_retention_days {
            audit_log::remove(state, &workspace.id, before(days), now).await?;
        }
        if let Some(days) = retention.expired_days {
            expired::remove(state, &workspace.id, before(days)).await?;
        }
        if let Some(days) = retention.deleted_days {
            deleted::remove(state, &workspace.id, before(days)).await?;
        }
    }
    Ok(())
}
