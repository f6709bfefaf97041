//! Many keys, written straight into Keyrack's SQLite file while no server runs: a million in seconds.
//!
//! Each is like a template key that was made through the API. Their texts and ids follow from their
//! numbers and look random, as real ones do: in the order of a B-tree they would load faster.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

const KEYS_PER_STATEMENT: u32 = 10_000;

/// The plaintext of a seeded key.
pub(crate) fn key_text(number: u32) -> String {
    format!("bench_{}", hexadecimal(&format!("key {number}"), 24))
}

/// The id of a seeded key.
pub(crate) fn key_id(number: u32) -> String {
    format!("key_{}", hexadecimal(&format!("id {number}"), 16))
}

/// What stands for a key in databases: the base64 of its SHA-256.
pub(crate) fn hash(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}

fn hexadecimal(text: &str, digits: usize) -> String {
    let mut hexadecimal: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal.truncate(digits);
    hexadecimal
}

/// Writes the keys 0 to `count` - 1. They get the permissions, roles, limits and credits of the template; if it
/// has an owner and `meta`, every tenth key gets that `meta` and an identity of its own.
pub(crate) fn seed(file: &Path, template_id: &str, count: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(write(file, template_id, count))
}

/// What one in ten thousand of the seeded entries of the audit log tells.
pub(crate) const RARE_EVENT: &str = "key.reroll";

/// Writes entries into the audit log of the workspace with the newest one, each about a seeded key. Their hashes are
/// none: listing does not ask for them.
pub(crate) fn seed_audit(file: &Path, count: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(write_audit(file, count))
}

async fn write_audit(file: &Path, count: u32) -> Result<()> {
    let mut connection = open(file).await?;
    let mut transaction = connection.begin().await?;
    for first in (0..count).step_by(KEYS_PER_STATEMENT as usize) {
        let numbers = first..count.min(first + KEYS_PER_STATEMENT);
        let entries: Vec<_> = numbers
            .map(|number| {
                let event = if number % 10_000 == 0 { RARE_EVENT } else { "key.update" };
                json!([number, hexadecimal(&format!("entry {number}"), 24), event, key_id(number)])
            })
            .collect();
        for statement in INSERT_ENTRIES {
            sqlx::query(*statement).bind(json!(entries).to_string()).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("cache_size", "-500000");
    Ok(options.connect().await?)
}

async fn write(file: &Path, template_id: &str, count: u32) -> Result<()> {
    let mut connection = open(file).await?;
    let mut transaction = connection.begin().await?;
    for first in (0..count).step_by(KEYS_PER_STATEMENT as usize) {
        let numbers = first..count.min(first + KEYS_PER_STATEMENT);
        let keys: Vec<_> = numbers
            .map(|number| {
                let text = key_text(number);
                json!([key_id(number), hash(&text), text[..10], number])
            })
            .collect();
        sqlx::query(INSERT_KEYS)
            .bind(json!(keys).to_string())
            .bind(template_id)
            .execute(&mut *transaction)
            .await?;
    }
    for statement in COPY_THE_REST {
        sqlx::query(*statement).bind(template_id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

const INSERT_KEYS: &str = "
    INSERT INTO keys (id, workspace_id, api_id, hash, start, name, identity_id, meta, created_at)
    SELECT n.value ->> 0, t.workspace_id, t.api_id, n.value ->> 1, n.value ->> 2, 'Key ' || (n.value ->> 3),
           CASE WHEN t.identity_id IS NOT NULL AND (n.value ->> 3) % 10 = 0 THEN 'id_' || substr(n.value ->> 0, 5) END,
           CASE WHEN (n.value ->> 3) % 10 = 0 THEN t.meta END,
           t.created_at
    FROM json_each($1) n JOIN keys t ON t.id = $2";

/// After the entries that were there, whose places begin at 1.
const INSERT_ENTRIES: &[&str] = &[
    "INSERT INTO audit_logs (id, workspace_id, sequence, time, event, description, actor, actor_id, targets, previous_hash, hash, format)
     SELECT 'log_' || (n.value ->> 1), t.workspace_id, 1000000 + (n.value ->> 0), t.time + (n.value ->> 0), n.value ->> 2,
            'Updated key ' || (n.value ->> 3), t.actor, t.actor_id,
            json_array(json_object('type', 'key', 'id', n.value ->> 3)), '', '', 2
     FROM json_each($1) n JOIN (SELECT * FROM audit_logs WHERE event = 'key.create' LIMIT 1) t",
    "INSERT INTO audit_targets (workspace_id, target_id, time, sequence)
     SELECT t.workspace_id, n.value ->> 3, t.time + (n.value ->> 0), 1000000 + (n.value ->> 0)
     FROM json_each($1) n JOIN (SELECT * FROM audit_logs WHERE event = 'key.create' LIMIT 1) t",
];

const COPY_THE_REST: &[&str] = &[
    "INSERT INTO identities (id, workspace_id, external_id, created_at)
     SELECT k.identity_id, k.workspace_id, 'user_' || k.identity_id, k.created_at
     FROM keys k WHERE k.id <> $1 AND k.identity_id IS NOT NULL",
    "INSERT INTO key_permissions (key_id, permission_id)
     SELECT k.id, l.permission_id FROM keys k JOIN key_permissions l ON l.key_id = $1 WHERE k.id <> $1",
    "INSERT INTO key_roles (key_id, role_id)
     SELECT k.id, l.role_id FROM keys k JOIN key_roles l ON l.key_id = $1 WHERE k.id <> $1",
    "INSERT INTO ratelimits (id, workspace_id, key_id, name, limit_count, duration_ms, auto_apply, created_at)
     SELECT 'rl_' || substr(k.id, 5), k.workspace_id, k.id, l.name, l.limit_count, l.duration_ms, l.auto_apply, k.created_at
     FROM keys k JOIN ratelimits l ON l.key_id = $1 WHERE k.id <> $1",
    "INSERT INTO credits (key_id, remaining)
     SELECT k.id, c.remaining FROM keys k JOIN credits c ON c.key_id = $1 WHERE k.id <> $1",
];
