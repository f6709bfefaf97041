//! Keyrack's operations over HTTP, wire-compatible with Unkey's public v2 API.
//!
//! Every operation of core's catalogue is `POST /v2/<name>` with a JSON body and a root key as bearer
//! token; success is 200 with `{meta, data, pagination?}`, an error is `{meta, error}`. The
//! routes are built by visiting the catalogue, and [`openapi::document`] the OpenAPI document, so neither can
//! drift from it. [`Server`] is what stands behind the listener, with a short way for hot operations.

pub mod connections;
pub mod guard;
pub mod metrics;
pub mod openapi;

mod authentication;
mod claim;
mod docs;
mod envelope;
mod head;
mod health;
mod hosts;
mod operations;
mod paths;
mod problem;
mod router;
mod server;
mod state;
mod traces;

pub use envelope::AnswerBody;
pub use hosts::Hosts;
pub use server::Server;
pub use state::Settings;
pub use traces::FollowTrace;
