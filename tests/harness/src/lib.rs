//! Starts the real `keyrack` program with fresh data on a free port and talks to it over the wire.
//!
//! ```no_run
//! # async fn example() {
//! use keyrack_test_harness::{Program, program_under_test};
//! use serde_json::json;
//!
//! let server = Program::new(program_under_test()).start().await;
//! let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200);
//! assert!(api.data()["apiId"].is_string());
//! # }
//! ```
//!
//! Everything here panics instead of returning errors: a test that cannot start its program has failed.
//! Every answer below `/v2` is checked for the envelope and for the request id, whatever the test is about.

mod answer;
mod catalogue;
mod client;
mod cluster;
mod database;
mod ended;
pub mod fuzz;
mod postgres;
mod program;
mod reference;
mod road;
mod scene;
mod stored;

pub use answer::Answer;
pub use catalogue::{changing_operations, listing_operations, operations};
pub use client::Client;
pub use cluster::Cluster;
pub use database::{Database, Dump, Fault, differing, event_count};
pub use ended::{ended, ended_with_stdin};
pub use postgres::fresh_postgres_database;
pub use program::{Program, ROOT_KEY, Server, free_port, program_under_test};
pub use reference::{Kind, Name, Reference};
pub use road::{Road, Traffic};
pub use scene::{Ids, Scene, scene, scene_in};
pub use stored::{sha256_base64, sha256_hex};

/// What has not been answered by then never will be: the program gives up itself long before.
const REQUEST_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// An HTTP client that never leaves the machine: no proxy, no pool shared with another test, and no wait without an end.
pub fn http_client() -> reqwest::Client {
    // Built without a TLS provider of its own; the second installation in a process is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(REQUEST_LIMIT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("an HTTP client can be built")
}
