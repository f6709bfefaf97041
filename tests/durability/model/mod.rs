//! Two and three processes on one database, random changes in any of them, and everything that can go wrong
//! between: commits that fail or of which nobody hears, connections that break, processes that are suspended, cut off
//! or killed. A sequential model of one workspace ([`world`]) says what every process has to show: the one that
//! acknowledged a change at once, the others within a second of running and reaching the database.
//!
//! `KEYRACK_TEST_MODEL_STEPS` says how many steps all variants have together, `KEYRACK_TEST_MODEL_SEED` repeats a run (as
//! far as processes can be told when to do what), `KEYRACK_TEST_MODEL_PROGRAM` is the path of another build.

mod processes;
mod requests;
mod troubles;
mod world;

use std::hash::{BuildHasher as _, RandomState};

use keyrack_test_harness::{Cluster, Program};
use troubles::Run;

/// Seconds after which a process that is cut off answers no more.
const STALE_SECONDS: u64 = 3;
const VARIANTS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    let told = std::env::var(name).ok()?;
    Some(told.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn program() -> Program {
    let binary = std::env::var("KEYRACK_TEST_MODEL_PROGRAM");
    let program = binary.map_or_else(|_| crate::program(), Program::new);
    program.env("KEYRACK_STALE_SECONDS", &STALE_SECONDS.to_string()).env("KEYRACK_LOG", "warn")
}

/// Goes its share of the steps.
async fn go(variant: &str, cluster: Cluster) {
    let seed = number("KEYRACK_TEST_MODEL_SEED").unwrap_or_else(|| RandomState::new().hash_one(variant));
    let steps = number("KEYRACK_TEST_MODEL_STEPS").unwrap_or(2000) / VARIANTS;
    let about = format!("{variant}, KEYRACK_TEST_MODEL_SEED={seed}");
    eprintln!("{about}, {steps} steps");
    Run::new(cluster, seed, about).await.go(steps).await;
}

#[tokio::test]
async fn two_processes_agree_with_a_sequential_model_on_sqlite() {
    go("two on SQLite", Cluster::on_sqlite(&program(), 2).await).await;
}

#[tokio::test]
async fn three_processes_agree_with_a_sequential_model_on_sqlite() {
    go("three on SQLite", Cluster::on_sqlite(&program(), 3).await).await;
}

// More than one thread: roads are open while the test waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_agree_with_a_sequential_model_on_postgres() {
    go("two on PostgreSQL", Cluster::on_postgres(&program(), 2).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_agree_with_a_sequential_model_on_postgres() {
    go("three on PostgreSQL", Cluster::on_postgres(&program(), 3).await).await;
}
