//! Attacks over the wire, and what their victim is still granted.
//!
//! One instance has two workspaces: the victim's, in which the attacker may hold a root key that allows nothing, and one
//! of the attacker's own. Where an attack can be tried on every operation, it is generated from what the server offers.

mod authority;
#[cfg(target_os = "linux")]
mod bodies;
mod connections;
mod queues;
mod tenants;
mod victim;
mod wire;

use keyrack_test_harness::{Program, program_under_test};

/// The program with a fresh SQLite database.
fn program() -> Program {
    // What reads plaintexts can be tried only where some are kept.
    Program::new(program_under_test())
        .env("KEYRACK_MASTER_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .env("KEYRACK_LOG", "warn")
}
