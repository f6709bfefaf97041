//! API keys: their secret, where they may be used from, and how they are verified.

pub mod address_list;
pub mod migration;
pub mod secret;
pub mod verification;
