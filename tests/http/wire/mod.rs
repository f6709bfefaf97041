//! What arrives over the wire: bodies, connections, and what is no request at all.

mod bad_input;
pub(crate) mod bodies;
mod claim;
mod connections;
pub(crate) mod faults;
mod full_bodies;
mod fuzz;
pub(crate) mod mcp;
