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

use crate::audit::{Actor, Event, Record};
use crate::changes::Mutation;
use crate::store::audit_logs;
use crate::store::rows::Rows;
use crate::{Caller, Error};

/// Writes what an operator does to another workspace into the log of their own as well, whose lock the transaction
/// holds.
async fn record_at_home(mutation: &mut Mutation, caller: &Caller, event: Event) -> Result<(), Error> {
    if caller.workspace_id() == mutation.workspace_id() {
        return Ok(());
    }
    let (time, actor) = (mutation.now(), Actor::of(caller));
    let record = Record {
        workspace_id: caller.workspace_id(),
        time,
        actor: &actor,
        events: vec![event],
        correlation_id: None,
    };
    let head = audit_logs::head(mutation.connection(), caller.workspace_id()).await?;
    let mut rows = Rows::default();
    record.append(&mut rows, head).await?;
    rows.add(mutation.connection()).await?;
    Ok(())
}
