//! Permissions and roles.

mod created;
mod permissions;
mod roles;
