//! Who may do what, and what nobody learns of others.

mod authentication;
mod conditional;
mod isolation;
pub(crate) mod permissions;
pub(crate) mod secrecy;
mod tenants;
mod things;
