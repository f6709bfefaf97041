//! Black-box tests of the HTTP API: the built program, over the wire.
//!
//! Whatever a test is about, each answer it gets is also checked for the envelope (by the harness) and against the
//! contract (by [`responses::check`]).

mod apis;
mod atomicity;
mod audit;
mod audit_events;
mod authentication;
mod bad_input;
mod bodies;
mod changes;
mod concurrency;
mod connections;
mod contract;
mod disconnects;
mod docs;
mod errors;
mod events;
mod faces;
mod facts;
mod faults;
mod fixture;
mod full_bodies;
mod fuzz;
mod identities;
mod identities_change;
mod invalidation;
mod isolation;
mod keys_create;
mod keys_credits;
mod keys_links;
mod keys_migrate;
mod keys_read;
mod keys_reroll;
mod keys_update;
mod lists;
mod lists_bounded;
mod logs;
mod mcp_wire;
mod metrics;
mod openapi;
mod paging;
mod permissions;
mod permissions_change;
mod permissions_conditional;
mod permissions_roles;
mod ratelimit;
mod ratelimit_batches;
mod ratelimit_exactness;
mod ratelimit_namespaces;
mod ratelimit_overrides;
mod recoverable;
mod responses;
mod roles_change;
mod root_keys;
mod root_keys_change;
mod secrecy;
mod spending;
mod tenants;
mod traces;
mod verify;
mod workspaces;

use keyrack_test_harness::{Program, Server, program_under_test};

/// The program with a fresh SQLite database, every answer checked against the contract.
fn program() -> Program {
    Program::new(program_under_test()).inspected(responses::check)
}

/// A running server with a fresh database of the engine under test.
async fn keyrack() -> Server {
    program().on_engine().await.start().await
}
