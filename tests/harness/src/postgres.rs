//! Fresh databases on the throw-away PostgreSQL that `tests/run` starts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The connection URL of an empty database of its own.
///
/// # Panics
/// Without `KEYRACK_TEST_POSTGRES_URL`: the tests run on PostgreSQL too, and are not skipped silently.
pub async fn fresh_postgres_database() -> String {
    let Ok(admin) = std::env::var("KEYRACK_TEST_POSTGRES_URL") else {
        panic!("KEYRACK_TEST_POSTGRES_URL is not set: start the tests with tests/run, which starts a PostgreSQL");
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let name = format!(
        "keyrack_{}_{}_{}",
        std::process::id(),
        since_1970.as_nanos(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let mut connection = PgConnection::connect(&admin)
        .await
        .unwrap_or_else(|fault| panic!("PostgreSQL at {admin} cannot be reached: {fault}"));
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|fault| panic!("CREATE DATABASE {name}: {fault}"));
    let (server, _) = admin.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{name}")
}
