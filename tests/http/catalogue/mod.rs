//! What holds for every operation: the contract, and what the program says of itself.

mod contract;
mod docs;
mod errors;
mod faces;
pub(crate) mod facts;
mod guides;
pub(crate) mod openapi;
pub(crate) mod responses;
