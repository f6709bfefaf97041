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

use keyrack_test_harness::{Program, Server};

/// The program with a fresh SQLite database.
fn program() -> Program {
    // What reads plaintexts can be tried only where some are kept.
    Program::new(env!("CARGO_BIN_EXE_keyrack"))
        .env("KEYRACK_MASTER_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .env("KEYRACK_LOG", "warn")
}

/// The names of all operations that a server offers.
async fn operations(server: &Server) -> Vec<String> {
    let document = server.get("/openapi.json").await.expect(200);
    let paths = document.body["paths"].as_object().expect("paths");
    let names: Vec<String> =
        paths.keys().filter_map(|path| path.strip_prefix("/v2/")).map(str::to_owned).collect();
    names.into_iter().filter(|name| name.contains('.')).collect()
}
