//! What survives: kills, a database that cannot be written, a second process on the same data, an orderly
//! stop, a changed bootstrap key.

mod bootstrap;
mod database_down;
mod first_start;
mod kills;
mod obstacles;
mod orderly_stop;
mod power_cut;
mod two_processes;

use keyrack_test_harness::Program;

/// The program with a fresh SQLite database.
fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_keyrack"))
}
