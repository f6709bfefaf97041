//! Credits: what a key may spend. The store decides on balances; here is when they are refilled, and how
//! verifications spend them.

pub(crate) mod ledger;
pub mod payment;
pub mod refill;
