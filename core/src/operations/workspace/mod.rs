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
