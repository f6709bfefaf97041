//! Workspaces: the caller's own, and all of them for operators.

mod create_workspace;
mod get_limits;
mod get_overview;
mod get_usage;
mod list_workspaces;
mod update_workspace;

pub use create_workspace::CreateWorkspace;
pub use get_limits::GetLimits;
pub use get_overview::GetOverview;
pub use get_usage::GetUsage;
pub use list_workspaces::ListWorkspaces;
pub use update_workspace::UpdateWorkspace;

use crate::audit::{self, Actor, Event};
use crate::changes::Mutation;
use crate::{Caller, Error};

/// Writes what an operator does to another workspace into the log of their own as well, whose lock the transaction
/// holds.
async fn record_at_home(mutation: &mut Mutation, caller: &Caller, event: Event) -> Result<(), Error> {
    if caller.workspace_id() == mutation.workspace_id() {
        return Ok(());
    }
    let now = mutation.now();
    audit::append(mutation.connection(), caller.workspace_id(), now, &Actor::of(caller), vec![event], None).await
}
