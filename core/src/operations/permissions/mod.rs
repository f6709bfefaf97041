//! Permissions and roles that keys may hold.

mod create_permission;
mod create_role;

pub use create_permission::CreatePermission;
pub use create_role::CreateRole;
