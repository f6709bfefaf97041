//! A verification as one SQLite transaction per request: SELECT, SELECT, UPDATE, through a pool.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Pool, Sqlite};

use super::{LimitState, Verdict, Verification, answer, authenticate, now_ms, status};
use crate::keyrack::{PERMISSION, PLENTY, WINDOW_MS};
use crate::seed::hash;

/// One connection: writers would only wait for each other in SQLite's busy handler, which sleeps.
const CONNECTIONS: u32 = 1;

/// Stores the keys of the file `keys`, one plaintext per line, in a new database.
pub(super) async fn router(file: &str, synchronous: &str, keys: impl AsRef<Path>) -> Result<Router> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::from_str(synchronous)?)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    sqlx::raw_sql(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, \
         enabled INTEGER NOT NULL, expires_at INTEGER, remaining INTEGER NOT NULL);
         CREATE TABLE key_permissions (key_id TEXT NOT NULL, slug TEXT NOT NULL, PRIMARY KEY (key_id, slug)) \
         WITHOUT ROWID;",
    )
    .execute(&pool)
    .await?;
    let mut transaction = pool.begin().await?;
    for (number, key) in std::fs::read_to_string(keys)?.lines().enumerate() {
        let id = format!("key_4Nv8yTq1Z{number:07}");
        sqlx::query("INSERT INTO keys VALUES ($1, $2, $3, 1, NULL, $4)")
            .bind(&id)
            .bind(hash(key))
            .bind(format!("Key {number}"))
            .bind(PLENTY as i64)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO key_permissions VALUES ($1, 'documents.list'), ($1, $2)")
            .bind(&id)
            .bind(PERMISSION)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(Router::new().route("/v2/keys.verifyKey", post(verify)).with_state(pool))
}

/// A key as it is stored, and what is left of it.
struct Spent {
    id: String,
    name: String,
    permissions: Vec<String>,
    remaining: i64,
}

async fn spend(pool: &Pool<Sqlite>, request: &Verification<'_>) -> sqlx::Result<Option<Spent>> {
    // A read that turns into a write would fail if another write came between.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let found: Option<(String, String, bool, Option<i64>)> =
        sqlx::query_as("SELECT id, name, enabled, expires_at FROM keys WHERE hash = $1")
            .bind(hash(request.key))
            .fetch_optional(&mut *transaction)
            .await?;
    let now = now_ms() as i64;
    let Some((id, name, true, expires_at)) = found else { return Ok(None) };
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Ok(None);
    }
    let permissions: Vec<String> = sqlx::query_scalar("SELECT slug FROM key_permissions WHERE key_id = $1")
        .bind(&id)
        .fetch_all(&mut *transaction)
        .await?;
    if request.permissions.is_some_and(|asked| !permissions.iter().any(|slug| slug == asked)) {
        return Ok(None);
    }
    let remaining: Option<i64> = sqlx::query_scalar(
        "UPDATE keys SET remaining = remaining - 1 WHERE id = $1 AND remaining >= 1 RETURNING remaining",
    )
    .bind(&id)
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(remaining.map(|remaining| Spent { id, name, permissions, remaining }))
}

async fn verify(State(pool): State<Pool<Sqlite>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(request_id) = authenticate(&headers) else {
        return status(StatusCode::UNAUTHORIZED);
    };
    let Ok(request) = serde_json::from_slice::<Verification<'_>>(&body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let Ok(Some(spent)) = spend(&pool, &request).await else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let verdict = Verdict {
        valid: true,
        code: "VALID",
        key_id: &spent.id,
        keyspace_id: "ks_4Nv8yTq1ZbWc7XgR",
        name: &spent.name,
        enabled: true,
        permissions: spent.permissions.iter().map(String::as_str).collect(),
        roles: ["editor"],
        ratelimits: [LimitState {
            id: "rl_4Nv8yTq1ZbWc7XgR",
            name: "requests",
            limit: PLENTY,
            duration: WINDOW_MS,
            reset: now_ms() / WINDOW_MS * WINDOW_MS + WINDOW_MS,
            remaining: spent.remaining.max(0) as u64,
            exceeded: false,
            auto_apply: true,
        }],
    };
    answer(&request_id, verdict)
}
