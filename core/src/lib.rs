//! Keyrack's core: API keys, credits, rate limits, roles and permissions, audit, and the operations over
//! them. Free of HTTP and of MCP, so that every face (HTTP API, MCP tools, command line, an embedding
//! program) does the same thing in the same way.
//!
//! - [`catalogue`] declares what an operation is, and [`each`] shows them all.
//! - [`Keyrack`] is an open instance; [`Caller`] is who calls; [`catalogue::run`] runs an operation.
//! - [`store`] keeps everything durable; [`resident`] holds what a decision needs in memory;
//!   [`changes`] keeps the two in step, across processes too.
//!
//! A program that embeds it opens a database, authenticates a root key, and runs operations, whose answers it reads as
//! types:
//!
//! ```
//! use keyrack_core::caller::{Origin, Via};
//! use keyrack_core::catalogue::run;
//! use keyrack_core::clock::Clock;
//! use keyrack_core::operations::{apis::CreateApi, keys::CreateKey, keys::VerifyKey};
//! use keyrack_core::store::Location;
//! use keyrack_core::{Keyrack, setup};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     tokio::runtime::Runtime::new()?.block_on(embed())
//! # }
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("keyrack.db");
//! let keyrack = Keyrack::open(&Location::Sqlite(path), Clock::system()).await?;
//! let mut root_key = String::new();
//! setup::first_start(&keyrack, None, |made| {
//!     root_key = made.expose().to_owned();
//!     Ok(())
//! })
//! .await?;
//! let caller = || keyrack.authenticate(&root_key, Origin::local(Via::Http));
//!
//! let api = run::<CreateApi>(&keyrack, caller()?, json!({ "name": "payments" })).await?.data;
//! let key = run::<CreateKey>(&keyrack, caller()?, json!({ "apiId": api.api_id })).await?.data;
//! let answer = run::<VerifyKey>(&keyrack, caller()?, json!({ "key": key.key })).await?.data;
//! assert_eq!(answer.0.found.map(|found| found.key.id.to_string()), Some(key.key_id.to_string()));
//! keyrack.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Arrows point down through the layers of ARCHITECTURE.md, and a test keeps it so: operations use services (keys,
//! rate limits, credits, analytics), services use the state, the store knows entities and SQL, not rules.

pub mod analytics;
pub mod audit;
mod authentication;
pub mod authorization;
pub mod bounds;
mod budget;
pub mod calendar;
pub mod caller;
pub mod catalogue;
pub mod changes;
pub mod claims;
pub mod clock;
pub mod confirmations;
pub mod credits;
pub mod docs;
pub mod error;
pub mod files;
mod follower;
mod following;
#[cfg(test)]
mod fuzz;
pub mod health;
pub mod ids;
pub mod json;
pub mod keyrack;
pub mod keys;
pub mod large_bodies;
pub mod last_use;
pub mod measure;
pub mod metrics;
mod newcomer;
pub mod operations;
pub mod page;
pub mod printable;
pub mod ratelimit;
pub mod rbac;
pub mod refusals;
pub mod reply;
pub mod resident;
pub mod retention;
pub mod root_keys;
mod schedule;
pub mod schema;
pub mod setup;
mod shares;
mod standing;
pub mod state;
pub mod store;
pub mod traces;
mod turns;
mod usage;
pub mod value;
pub mod vault;
mod workspaces;

pub use caller::Caller;
pub use error::{Code, Error};
pub use keyrack::Keyrack;
pub use operations::each;
