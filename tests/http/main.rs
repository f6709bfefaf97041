//! Black-box tests of the HTTP API: the built program, over the wire.
//!
//! Whatever a test is about, each answer it gets is also checked for the envelope (by the harness) and against the
//! contract (by [`responses::check`]).

mod bad_input;
mod contract;
mod facts;
mod faults;
mod openapi;
mod responses;

use keyrack_test_harness::{Program, Server};

/// The program with a fresh SQLite database, every answer checked against the contract.
fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_keyrack")).inspected(responses::check)
}

/// A running server with a fresh SQLite database.
async fn keyrack() -> Server {
    program().start().await
}
