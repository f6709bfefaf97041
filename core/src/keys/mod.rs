//! API keys: their secret, where they may be used from, and how they are issued and verified.

pub mod address_list;
pub mod checks;
pub mod explanation;
pub mod imported;
pub(crate) mod issuing;
pub(crate) mod links;
pub mod migration;
pub(crate) mod rerolling;
pub mod secret;
pub mod verdict;
pub mod verification;
