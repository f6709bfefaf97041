//! Credits: what a key may spend. The store decides on balances; here is when they are refilled.

pub mod calendar;
pub mod refill;
