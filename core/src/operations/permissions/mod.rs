//! Permissions and roles that keys may hold.

mod create_permission;
mod create_role;
mod delete_permission;
mod delete_role;
mod get_permission;
mod get_role;
mod list_permissions;
mod list_roles;
mod set_role_permissions;
mod update_permission;
mod update_role;

pub use create_permission::CreatePermission;
pub use create_role::CreateRole;
pub use delete_permission::DeletePermission;
pub use delete_role::DeleteRole;
pub use get_permission::GetPermission;
pub use get_role::GetRole;
pub use list_permissions::ListPermissions;
pub use list_roles::ListRoles;
pub use set_role_permissions::SetRolePermissions;
pub use update_permission::UpdatePermission;
pub use update_role::UpdateRole;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::OrNotFound as _;
use crate::operations::fields::SLUG_PATTERN;
use crate::store::Connection;
use crate::store::permissions::{self, Permission};
use crate::store::roles::{self, Role};
use crate::{Caller, Code, Error};

/// What names a permission.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionRequest {
    /// Its id or its slug; an id wins.
    #[schemars(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN))]
    permission: String,
}

/// What names a role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleRequest {
    /// Its id or its name; an id wins.
    #[schemars(length(min = 1, max = 128))]
    role: String,
}

/// The permission of the caller's workspace with this id or slug.
async fn find_permission(
    connection: &mut Connection,
    caller: &Caller,
    id_or_slug: &str,
) -> Result<Permission, Error> {
    let found = permissions::find(connection, caller.workspace_id(), id_or_slug).await?;
    found.or_not_found(Code::PermissionNotFound)
}

/// The role of the caller's workspace with this id or name.
async fn find_role(connection: &mut Connection, caller: &Caller, id_or_name: &str) -> Result<Role, Error> {
    let found = roles::find(connection, caller.workspace_id(), id_or_name).await?;
    found.or_not_found(Code::RoleNotFound)
}

/// The refusal of a slug that another permission has.
fn slug_is_taken(slug: &str) -> Error {
    Error::new(Code::PermissionAlreadyExists, format!("There is a permission with the slug \"{slug}\" already."))
}

/// The refusal of a name that another role has.
fn name_is_taken(name: &str) -> Error {
    Error::new(Code::RoleAlreadyExists, format!("There is a role with the name \"{name}\" already."))
}
