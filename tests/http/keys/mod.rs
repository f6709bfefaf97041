//! APIs and their keys: made, changed, verified, spent.

mod apis;
mod create;
mod credits;
mod links;
pub(crate) mod migrate;
mod read;
mod recoverable;
mod reroll;
mod spending;
mod update;
mod verify;
