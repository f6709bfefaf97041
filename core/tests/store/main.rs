//! The store and the change protocol, each test on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agreements;
mod audit_events;
mod audit_log;
mod audit_retention;
mod authority;
mod bad_rows;
mod changes;
mod claims;
mod credits;
mod entities;
mod following;
mod holders;
mod identities;
mod instance;
mod keys;
mod questions;
mod refills;
mod resident;
mod retention;

use std::sync::Arc;

use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{self, Operation};
use keyrack_core::clock::Clock;
use keyrack_core::keys::secret::Secret;
use keyrack_core::reply::Reply;
use keyrack_core::store::Location;
use keyrack_core::{Error, Keyrack, setup};
use serde_json::Value;
use sqlx::Row as _;

/// Declares tests that run on both engines: `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name($crate::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name($crate::Database::postgres().await).await;
            }
        }
    )+};
}

/// An empty database.
#[derive(Clone)]
pub(crate) struct Database {
    location: Location,
    _folder: Arc<tempfile::TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Database { location: Location::Sqlite(folder.path().join("keyrack.db")), _folder: Arc::new(folder) }
    }

    pub(crate) async fn postgres() -> Self {
        let url = keyrack_test_harness::fresh_postgres_database().await;
        Database { location: Location::Postgres(url), _folder: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// Opens it, as one process would.
    pub(crate) async fn open(&self) -> Keyrack {
        self.open_at(Clock::system()).await
    }

    /// The same, at the time of a clock.
    pub(crate) async fn open_at(&self, clock: Clock) -> Keyrack {
        Keyrack::open(&self.location, clock).await.unwrap()
    }

    /// Opens and sets it up: the instance and a root key with full access.
    pub(crate) async fn set_up(&self) -> Instance {
        self.set_up_at(Clock::system()).await
    }

    /// The same, at the time of a clock.
    pub(crate) async fn set_up_at(&self, clock: Clock) -> Instance {
        let keyrack = self.open_at(clock).await;
        let mut root_key = String::new();
        let keep = |secret: &Secret| {
            root_key = secret.expose().to_owned();
            Ok(())
        };
        assert!(setup::first_start(&keyrack, None, keep).await.unwrap());
        let workspace_id = setup::default_workspace(&keyrack).await.unwrap();
        Instance { keyrack, root_key, workspace_id }
    }
}

/// An instance that was set up.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) keyrack: Keyrack,
    pub(crate) root_key: String,
    pub(crate) workspace_id: String,
}

impl Instance {
    /// Runs an operation with full access.
    pub(crate) async fn run<O: Operation>(&self, body: Value) -> Result<Value, Error> {
        let caller = self.keyrack.authenticate(&self.root_key, Origin::local(Via::Http))?;
        let Reply { data, .. } = catalogue::run::<O>(&self.keyrack, caller, body).await?;
        Ok(serde_json::to_value(data).unwrap())
    }

    /// The same database as another process sees it.
    pub(crate) async fn other_process(&self, database: &Database) -> Instance {
        Instance { keyrack: database.open().await, ..self.clone() }
    }
}

/// The number of rows of a table.
pub(crate) async fn count(instance: &Instance, table: &str) -> i64 {
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let text = format!("SELECT COUNT(*) AS total FROM {table}");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut *connection).await.unwrap();
    row.get("total")
}
