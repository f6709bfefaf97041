//! What survives: kills, a database that cannot be written, a second process on the same data, an orderly
//! stop, a changed bootstrap key; and what does not grow.

mod backups;
mod bootstrap;
mod crowds;
mod damage;
mod database_down;
mod events;
mod files;
mod first_start;
mod imports;
mod kills;
mod limits_flood;
mod limits_kept;
mod model;
mod obstacles;
mod orderly_stop;
mod power_cut;
mod retention;
#[cfg(target_os = "linux")]
mod soak;
mod staleness;
mod two_processes;
mod upgrade;

use keyrack_test_harness::{Program, Server, program_under_test};
use sqlx::Connection as _;

/// The program with a fresh SQLite database.
fn program() -> Program {
    Program::new(program_under_test())
}

/// A connection to the database of a server, behind its back.
async fn database(server: &Server) -> sqlx::AnyConnection {
    sqlx::any::install_default_drivers();
    let url = server.program().database_url();
    sqlx::AnyConnection::connect(&url).await.expect("the database can be opened")
}
