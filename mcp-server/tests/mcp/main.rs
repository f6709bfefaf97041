//! The MCP server as a client meets it: over an in-process pipe and over a real HTTP listener, on a real
//! Keyrack with a database file of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod answers;
mod budget;
mod calls;
mod client;
mod completion;
mod confirm;
mod faces;
mod hidden;
mod http;
mod http_credentials;
mod leaks;
mod lint;
mod prompts;
mod protocol;
mod raw_http;
mod resources;
mod secrets;
mod sessions;
mod snapshots;
mod vendors;
mod views;
mod world;
