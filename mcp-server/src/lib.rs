//! Keyrack for assistants: the operations of [`keyrack_core`] as tools of the Model Context Protocol.
//!
//! # What there is
//!
//! - [`http::router`] gives the routes `/mcp`, `/mcp/v1` and `/mcp/v2` for the listener that also serves the
//!   HTTP API. Each request brings its root key in a header.
//! - [`stdio::serve`] serves one client over standard input and output, with one root key.
//! - [`KeyrackMcp`] is the server behind both, an [`rmcp::ServerHandler`] for any other transport.
//! - [`Catalogue`] shows every operation as a tool, or the reason why it is none.
//!
//! ```no_run
//! # async fn example(keyrack: keyrack_core::Keyrack, root_key: keyrack_core::keys::secret::Secret)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use keyrack_mcp_server::http::{self, HttpSettings};
//! use keyrack_mcp_server::stdio::{self, StdioSettings};
//! use tokio_util::sync::CancellationToken;
//!
//! // On a listener, beside whatever else it serves:
//! let routes = axum::Router::new().merge(http::router(
//!     keyrack.clone(),
//!     HttpSettings {
//!         public_hosts: vec!["keys.example.com".to_owned()],
//!         literal_addresses: false,
//!         calls_per_minute: 300,
//!         max_body_bytes: 1 << 20,
//!     },
//! ));
//! // Or for one client, on standard input and output:
//! let shutdown = CancellationToken::new();
//! stdio::serve(keyrack, root_key, StdioSettings { calls_per_minute: 300, shutdown }).await?;
//! # drop(routes);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! Nothing here knows a single operation. [`Catalogue`] is a visitor of core's catalogue and makes one tool
//! per operation: its name ([`naming`]), texts, hints, and schemas in the subset that all clients read. A
//! caller sees the tools that its root key could ever use ([`is_visible`]); a call is checked exactly, by
//! core. Both protocol eras are served at once, with and without `initialize`, and nothing depends on a
//! session.
//!
//! What an operation answers goes out twice, as structured content and as text with the same facts. What it
//! refuses is a result too, in words that say what to do; protocol errors are left for what is no call.
//!
//! # Secrets
//!
//! A credential is taken out of a request before rmcp sees it. Arguments and results are never logged
//! here, but **rmcp logs them at `DEBUG` and below**: a program that uses this crate must cap the log target
//! `rmcp` at `INFO`, whatever its user asks for.

#![deny(clippy::print_stdout)]

mod call;
mod caller;
mod catalogue;
mod failure;
mod gate;
pub mod http;
mod instructions;
mod lines;
pub mod naming;
mod rendering;
mod schema;
mod service;
pub mod stdio;
mod view;
mod workers;

pub use catalogue::{Catalogue, Offer, PAGE_SIZE};
pub use instructions::MAX_INSTRUCTIONS;
pub use service::KeyrackMcp;
pub use view::is_visible;
