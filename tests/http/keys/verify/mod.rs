//! `keys.verifyKey`.

mod address;
mod answers;
mod examples;
mod limits;
mod order;
mod query;
