//! Keyrack's operations over HTTP, wire-compatible with Unkey's public v2 API.
//!
//! Every operation of core's catalogue is `POST /v2/<name>` with a JSON body and a root key as bearer
//! token; success is 200 with `{meta, data, pagination?}`, an error is `{meta, error}`. [`router`] builds
//! the routes by visiting the catalogue, and [`openapi::document`] the OpenAPI document, so neither can
//! drift from it. [`guard`] is the layer around the whole listener.

pub mod guard;
pub mod metrics;
pub mod openapi;

mod authentication;
mod docs;
mod envelope;
mod health;
mod operations;
mod problem;
mod router;

pub use health::Readiness;
pub use router::{Settings, router};
