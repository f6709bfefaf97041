//! APIs and their keys: made, changed, verified, spent.

mod apis;
mod create;
mod credits;
mod expand;
mod explain;
mod links;
mod list;
pub(crate) mod migrate;
mod read;
mod recoverable;
mod reroll;
mod spending;
mod update;
mod verify;
