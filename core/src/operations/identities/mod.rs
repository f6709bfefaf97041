//! Identities: the users, tenants or machines that keys belong to.

mod create_identity;
mod get_identity;

pub use create_identity::CreateIdentity;
pub use get_identity::GetIdentity;
