//! Keyrack for assistants: the operations of [`keyrack_core`] as tools of the Model Context Protocol.
//!
//! # What there is
//!
//! - [`http::router`] gives the routes `/mcp` and below it for the listener that also serves the HTTP API. Each
//!   request brings its root key in a header, and may say what it wishes to see.
//! - [`stdio::serve`] serves one client over standard input and output, with one root key.
//! - [`KeyrackMcp`] is the server behind both, an [`rmcp::ServerHandler`] for any other transport. Its tools are done in this
//!   process, or by a [`Server`] elsewhere.
//! - [`Catalogue`] shows every operation as a tool, or the reason why it is none.
//!
//! ```no_run
//! # async fn example(keyrack: keyrack_core::Keyrack, root_key: keyrack_core::keys::secret::Secret)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use keyrack_mcp_server::http::{self, HttpSettings};
//! use keyrack_mcp_server::{Catalogue, KeyrackMcp, Policy, Wishes, stdio};
//! use tokio_util::sync::CancellationToken;
//!
//! let catalogue = Arc::new(Catalogue::new());
//! // On a listener, beside whatever else it serves:
//! let routes = axum::Router::new().merge(http::router(
//!     keyrack.clone(),
//!     catalogue.clone(),
//!     HttpSettings {
//!         public_hosts: vec!["keys.example.com".to_owned()],
//!         literal_addresses: false,
//!         policy: Policy::default(),
//!         max_body_bytes: 1 << 20,
//!         sessions: false,
//!         shutdown: CancellationToken::new(),
//!     },
//! ));
//! // Or for one client, on standard input and output:
//! let shutdown = CancellationToken::new();
//! let mcp = KeyrackMcp::for_root_key(keyrack, catalogue, Policy::default(), root_key, Wishes::default())?;
//! stdio::serve(mcp, shutdown).await?;
//! # drop(routes);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! Nothing here knows a single operation. [`Catalogue`] is a visitor of core's catalogue and makes one tool
//! per operation: its name ([`naming`]), texts, hints, and schemas in the subset that all clients read. A
//! caller sees the tools that its root key could ever use, that the operator allows and that its connection
//! wishes to see ([`View`], [`Wishes`]); a call is checked exactly, by core. Before what destroys, cuts off or
//! hands out power, people are asked ([`Confirm`]). Both protocol eras are served at once, with and without
//! `initialize`, and nothing depends on a session.
//!
//! [`Prompts`] are ready-made beginnings of conversations, from Markdown files. Documentation and things of the workspace
//! can be read at addresses too, which is the same call as that of the tool, and names are completed while people type.
//!
//! What an operation answers goes out twice, as structured content and as text with the same facts. What it
//! refuses is a result too, in words that say what to do; protocol errors are left for what is no call.
//!
//! # Secrets
//!
//! The text of a new key is in the answer that made it, or, where the operator says so ([`Secrets`]), reaches its user past
//! the model: by a one-time link or a file. Stored texts are read only with a catalogue made by
//! [`Catalogue::with_decrypt`].
//!
//! A credential is taken out of a request before rmcp sees it. Arguments and results are never logged
//! here, but **rmcp logs them at `DEBUG` and below**: a program that uses this crate must cap the log target
//! `rmcp` at `INFO`, whatever its user asks for.

#![deny(clippy::print_stdout)]

mod afterwards;
mod asked;
mod audience;
mod backend;
mod call;
mod caller;
mod catalogue;
mod compact;
mod completion;
mod confirmation;
mod failure;
mod gate;
pub mod http;
mod hygiene;
mod instructions;
mod lines;
pub mod naming;
mod projection;
mod prompts;
mod refusal;
mod remote;
mod rendering;
mod resources;
mod schema;
mod secrets;
mod service;
mod sessions;
pub mod stdio;
mod suggestions;
mod texts;
mod times;
mod view;
mod wishes;
mod workers;

pub use call::FollowTrace;
pub use catalogue::{Catalogue, Offer, PAGE_SIZE};
pub use confirmation::Confirm;
pub use instructions::MAX_INSTRUCTIONS;
pub use prompts::Prompts;
pub use remote::{Answered, Server};
pub use resources::Documents;
pub use secrets::Secrets;
pub use service::{KeyrackMcp, Policy};
pub use view::{View, is_visible};
pub use wishes::{Wish, Wishes};
