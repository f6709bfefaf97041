//! Every operation: one folder per namespace, one file per operation.

pub mod analytics;
pub mod apis;
pub mod audit;
mod derived;
pub mod docs;
pub mod fields;
pub mod identities;
pub mod keys;
mod list_request;
pub mod permissions;
pub mod ratelimit;
pub mod root_keys;
pub mod workspace;

pub use derived::{grantable, index, pages};

use crate::catalogue::Visitor;

/// Shows every operation to a visitor, by namespace and name.
#[expect(clippy::too_many_lines, reason = "one line per operation")]
pub fn each<V: Visitor>(visitor: &mut V) {
    visitor.operation::<analytics::GetRatelimits>();
    visitor.operation::<analytics::GetUsage>();
    visitor.operation::<analytics::GetVerifications>();
    visitor.operation::<analytics::ListRatelimits>();
    visitor.operation::<analytics::ListVerifications>();
    visitor.operation::<apis::CreateApi>();
    visitor.operation::<apis::DeleteApi>();
    visitor.operation::<apis::GetApi>();
    visitor.operation::<apis::ListApis>();
    visitor.operation::<apis::ListKeys>();
    visitor.operation::<apis::UpdateApi>();
    visitor.operation::<audit::GetLog>();
    visitor.operation::<audit::ListLogs>();
    visitor.operation::<docs::Search>();
    visitor.operation::<identities::CreateIdentity>();
    visitor.operation::<identities::DeleteIdentity>();
    visitor.operation::<identities::GetIdentity>();
    visitor.operation::<identities::ListIdentities>();
    visitor.operation::<identities::UpdateIdentity>();
    visitor.operation::<keys::AddPermissions>();
    visitor.operation::<keys::AddRoles>();
    visitor.operation::<keys::CreateKey>();
    visitor.operation::<keys::DeleteKey>();
    visitor.operation::<keys::ExplainKey>();
    visitor.operation::<keys::GetKey>();
    visitor.operation::<keys::ListKeys>();
    visitor.operation::<keys::MigrateKeys>();
    visitor.operation::<keys::RemovePermissions>();
    visitor.operation::<keys::RemoveRoles>();
    visitor.operation::<keys::RerollKey>();
    visitor.operation::<keys::SetPermissions>();
    visitor.operation::<keys::SetRoles>();
    visitor.operation::<keys::UpdateCredits>();
    visitor.operation::<keys::UpdateKey>();
    visitor.operation::<keys::VerifyKey>();
    visitor.operation::<keys::Whoami>();
    visitor.operation::<permissions::CreatePermission>();
    visitor.operation::<permissions::CreateRole>();
    visitor.operation::<permissions::DeletePermission>();
    visitor.operation::<permissions::DeleteRole>();
    visitor.operation::<permissions::GetPermission>();
    visitor.operation::<permissions::GetRole>();
    visitor.operation::<permissions::ListPermissions>();
    visitor.operation::<permissions::ListRoles>();
    visitor.operation::<permissions::SetRolePermissions>();
    visitor.operation::<permissions::UpdatePermission>();
    visitor.operation::<permissions::UpdateRole>();
    visitor.operation::<ratelimit::CreateNamespace>();
    visitor.operation::<ratelimit::DeleteNamespace>();
    visitor.operation::<ratelimit::DeleteOverride>();
    visitor.operation::<ratelimit::GetCount>();
    visitor.operation::<ratelimit::GetOverride>();
    visitor.operation::<ratelimit::Limit>();
    visitor.operation::<ratelimit::ListNamespaces>();
    visitor.operation::<ratelimit::ListOverrides>();
    visitor.operation::<ratelimit::MultiLimit>();
    visitor.operation::<ratelimit::SetOverride>();
    visitor.operation::<root_keys::CreateKey>();
    visitor.operation::<root_keys::DeleteKey>();
    visitor.operation::<root_keys::ListKeys>();
    visitor.operation::<root_keys::RerollKey>();
    visitor.operation::<root_keys::UpdateKey>();
    visitor.operation::<workspace::CreateWorkspace>();
    visitor.operation::<workspace::GetLimits>();
    visitor.operation::<workspace::GetOverview>();
    visitor.operation::<workspace::GetUsage>();
    visitor.operation::<workspace::ListWorkspaces>();
    visitor.operation::<workspace::UpdateWorkspace>();
}
