//! Black-box tests of the HTTP API: the built program, over the wire.
//!
//! Whatever a test is about, each answer it gets is also checked for the envelope (by the harness) and against the
//! contract (by [`catalogue::responses::check`]).

mod access;
mod analytics;
mod catalogue;
mod changes;
mod concurrency;
mod fixture;
mod identities;
mod keys;
mod lists;
mod ratelimit;
mod rbac;
mod seen;
mod wire;
mod workspace;

use keyrack_test_harness::{Program, Server, program_under_test};

/// The program with a fresh SQLite database, every answer checked against the contract.
fn program() -> Program {
    Program::new(program_under_test()).inspected(catalogue::responses::check)
}

/// A running server with a fresh database of the engine under test.
async fn keyrack() -> Server {
    program().on_engine().await.start().await
}
