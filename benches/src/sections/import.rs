//! Importing keys, against inserting the same rows and nothing else, and what it does to paid verifications.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};

use super::Bench;
use crate::keyrack::{Database, Population, verification};
use crate::report::{Goal, Report};
use crate::rounds::Spread;
use crate::seed::{hash, key_text};
use crate::server::Server;
use crate::settings::Settings;

/// Keys that are imported.
const KEYS: u32 = 200_000;
/// Keys of a request.
const KEYS_PER_REQUEST: u32 = 2_000;
/// Rows and values of a plain statement, and rows of a plain transaction.
const VALUES_PER_STATEMENT: usize = 500;
const ROWS_PER_TRANSACTION: usize = 5_000;
/// What an import writes, in an order in which references are there before what refers to them.
const TABLES: [&str; 8] = [
    "permissions",
    "identities",
    "keys",
    "ratelimits",
    "key_permissions",
    "changes",
    "audit_logs",
    "audit_targets",
];

/// An import of keys with an identity, two permissions and a limit each.
pub(super) fn import(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let population = Population { keys: 1, limited: false, credits: true, owned: false };
    let database = bench.databases.get(settings, "import", population)?;
    let file = database.file();
    let plain = settings.scratch.join("plain.db");
    let migration = migration(settings, &database)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(copy_of(&file, &plain))?;
    let server = database.start(settings, &[])?;
    let api_id = database.api_id.as_str();
    let (importing, longest_wait) = beside_payments(&server, || send(&server, api_id, &migration))?;
    drop(server);
    let inserting = runtime.block_on(insert_plainly(&file, &plain))?;
    let ratio = inserting.as_secs_f64() / importing.as_secs_f64();
    let one = |value| Spread::of(vec![value]);
    report.goal("import ÷ plain multi-row INSERT of the same rows, throughput", one(ratio), Goal::AtLeast(0.5));
    let per_second = f64::from(KEYS) / importing.as_secs_f64();
    report.goal("keys imported per second", one(per_second), Goal::None);
    let wait = longest_wait.as_secs_f64() * 1000.0;
    report.goal("longest wait of a paid verification beside the import, ms", one(wait), Goal::AtMost(50.0));
    Ok(())
}

fn migration(settings: &Settings, database: &Database) -> Result<String> {
    let mut command = Command::new(&settings.keyrack);
    command.args(["migration", "create", "--algorithm", "sha256", "--data-dir"]).arg(database.folder());
    let done = command.output().context("cannot run keyrack")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

/// How long it takes to send all keys.
fn send(server: &Server, api_id: &str, migration: &str) -> Result<Duration> {
    let body = |first: u32| {
        let key = |number: u32| {
            json!({"hash": hash(&format!("imported {number}")), "externalId": format!("customer_{number}"),
                   "permissions": ["documents.read", "documents.write"],
                   "ratelimits": [{"name": "requests", "limit": 100, "duration": 60_000, "autoApply": true}]})
        };
        let keys: Vec<Value> = (first..first + KEYS_PER_REQUEST).map(key).collect();
        json!({"migrationId": migration, "apiId": api_id, "keys": keys}).to_string()
    };
    let bodies: Vec<String> = (0..KEYS).step_by(KEYS_PER_REQUEST as usize).map(body).collect();
    let started = Instant::now();
    for body in &bodies {
        let answer = server.post("/v2/keys.migrateKeys", body)?;
        let count = answer["data"]["migrated"].as_array().map_or(0, Vec::len);
        ensure!(count == KEYS_PER_REQUEST as usize, "only {count} keys of a request went in");
    }
    Ok(started.elapsed())
}

/// Runs `work` while a key is verified that pays for it, again and again; the longest wait for an answer.
fn beside_payments<T: Send>(server: &Server, work: impl FnOnce() -> Result<T> + Send) -> Result<(T, Duration)> {
    let stop = AtomicBool::new(false);
    let body = verification(&key_text(0));
    thread::scope(|scope| {
        let paying = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let sent = Instant::now();
                let answer = server.post("/v2/keys.verifyKey", &body)?;
                ensure!(answer["data"]["valid"] == true, "a paid verification was refused: {answer}");
                longest = longest.max(sent.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            Ok(longest)
        });
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        let longest = paying.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok((worked?, longest))
    })
}

/// A database file as Keyrack opens it.
async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-16384");
    Ok(options.connect().await?)
}

async fn copy_of(file: &Path, copy: &Path) -> Result<()> {
    let mut connection = open(file).await?;
    let text = format!("VACUUM INTO '{}'", copy.display());
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// How long it takes to insert what the import has added into a copy from before it.
async fn insert_plainly(imported: &Path, plain: &Path) -> Result<Duration> {
    let mut connection = open(plain).await?;
    let text = format!("ATTACH '{}' AS imported", imported.display());
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut connection).await?;
    let mut tables = Vec::new();
    for table in TABLES {
        let text = match table {
            "key_permissions" | "changes" | "audit_targets" => {
                format!("SELECT * FROM imported.{table} EXCEPT SELECT * FROM main.{table}")
            }
            // What was there before may have changed meanwhile, such as when a key was last used.
            _ => format!(
                "SELECT * FROM imported.{table} WHERE rowid > (SELECT COALESCE(MAX(rowid), 0) FROM main.{table}) \
                 ORDER BY rowid"
            ),
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await?;
        ensure!(!rows.is_empty(), "the import has added nothing to {table}");
        tables.push((table, rows.iter().map(read).collect::<Result<Vec<_>>>()?));
    }
    sqlx::query("DETACH imported").execute(&mut connection).await?;
    let started = Instant::now();
    for (table, rows) in &tables {
        for portion in rows.chunks(ROWS_PER_TRANSACTION) {
            insert(&mut connection, table, portion).await?;
        }
    }
    Ok(started.elapsed())
}

/// A value of a column.
enum Cell {
    Null,
    Number(i64),
    Text(String),
}

fn read(row: &SqliteRow) -> Result<Vec<Cell>> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        Ok(match (raw.is_null(), raw.type_info().name()) {
            (true, _) => Cell::Null,
            (false, "INTEGER") => Cell::Number(row.try_get(at)?),
            (false, _) => Cell::Text(row.try_get(at)?),
        })
    };
    (0..row.len()).map(cell).collect()
}

async fn insert(connection: &mut SqliteConnection, table: &str, rows: &[Vec<Cell>]) -> Result<()> {
    let columns = rows.first().map_or(1, Vec::len);
    let mut transaction = connection.begin().await?;
    for portion in rows.chunks(VALUES_PER_STATEMENT / columns) {
        let one = format!("({})", vec!["?"; columns].join(", "));
        let text = format!("INSERT INTO {table} VALUES {}", vec![one; portion.len()].join(", "));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for cell in portion.iter().flatten() {
            query = match cell {
                Cell::Null => query.bind(None::<String>),
                Cell::Number(number) => query.bind(*number),
                Cell::Text(text) => query.bind(text.clone()),
            };
        }
        query.execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}
