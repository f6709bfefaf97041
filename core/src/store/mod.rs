//! The store: SQLite for one machine, PostgreSQL for many, behind one set of queries.
//!
//! Every query is one text in the common subset of both engines. SQLite has one connection that writes,
//! with `BEGIN IMMEDIATE`, besides that of deductions, and several that read; PostgreSQL has a pool for each of the
//! two. The change feed has connections of its own on both. The store knows entities and SQL, not rules.

pub mod affected;
pub mod apis;
pub mod audit_entry;
pub mod audit_logs;
pub mod audit_search;
pub mod changes;
pub mod claims;
pub mod confirmations;
pub mod credits;
pub(crate) mod deadline;
pub(crate) mod debits;
pub mod encrypted_keys;
pub mod facts;
mod failure;
pub mod file;
pub mod holdings;
pub mod identities;
pub mod inspection;
pub mod key_migrations;
pub mod keys;
mod last_write;
pub mod listing;
mod location;
mod migrations;
pub mod named;
pub mod namespaces;
pub mod overrides;
pub mod permissions;
pub mod ratelimits;
pub(crate) mod readable;
pub mod refills;
pub mod rerolls;
pub mod roles;
pub mod root_keys;
pub mod rows;
pub(crate) mod scan;
pub mod snapshot;
pub mod subject;
pub mod tombstones;
mod transaction;
pub mod transfer;
mod unix_ms;
pub mod usage;
pub mod workspaces;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{Any, AnyPoolOptions, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};

pub use debits::Durability;
use debits::{Debits, PostgresDebits, SqliteDebits};
use file::{DatabaseFile, Opening, cannot_open};
use last_write::LastWrite;
pub use location::{Engine, Location};
use migrations::start_fault;
pub use transaction::Transaction;
use transaction::{Turn, Writers};

use crate::calendar::UnixMs;
use crate::error::{Code, Error, WriteFault};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
/// What every connection of SQLite is set to. The cache of 16 MiB has room for the inner pages of all trees when
/// there are a million keys, so that only leaves are read again and again.
const PRAGMAS: [&str; 4] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",
];
/// What PostgreSQL's connections are for: mutations that wait for each other, and a feed that must never wait for
/// either, keep no connection from those who only read.
const POSTGRES_READERS: u32 = 12;
const POSTGRES_WRITERS: u32 = 8;
/// Connections of the change feed.
pub(crate) const FEED_CONNECTIONS: u32 = 4;
/// How long the feed waits for a connection.
const FEED_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a mutation waits for those of its workspace in this process.
const POSTGRES_TURN: Duration = Duration::from_secs(3);
/// What a connection that writes is set to on PostgreSQL: how long a mutation waits for its workspace, how long one
/// statement may take, and after how long one whose process was suspended is ended by the server.
const POSTGRES_WRITER_SETTINGS: &str =
    "SET lock_timeout = '2s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'";
/// The same of the feed.
const POSTGRES_FEED_SETTINGS: &str = "SET statement_timeout = '60s'";

/// Open connections to the database.
#[derive(Debug, Clone)]
pub struct Store {
    location: Location,
    readers: AnyPool,
    writers: Writers,
    feed: AnyPool,
    last_write: LastWrite,
    /// The file of a SQLite database.
    file: Option<Arc<DatabaseFile>>,
}

impl Store {
    /// Opens the database and brings its tables up to date. Several processes may do so at once.
    ///
    /// # Errors
    /// When it cannot be reached, opened or brought up to date.
    pub async fn open(location: &Location) -> Result<Store, Error> {
        sqlx::any::install_default_drivers();
        match location {
            Location::Sqlite(path) => open_sqlite(path, false).await,
            Location::Postgres(url) => open_postgres(url).await,
        }
    }

    /// The same for this process alone, as long as it has it open: what others would change meanwhile is to be missed by
    /// nobody. Of PostgreSQL nothing tells who uses it.
    ///
    /// # Errors
    /// As [`Store::open`], and when another process has a SQLite file open.
    pub async fn open_alone(location: &Location) -> Result<Store, Error> {
        sqlx::any::install_default_drivers();
        match location {
            Location::Sqlite(path) => open_sqlite(path, true).await,
            Location::Postgres(url) => open_postgres(url).await,
        }
    }

    /// Which engine answers.
    pub fn engine(&self) -> Engine {
        match self.location {
            Location::Sqlite(_) => Engine::Sqlite,
            Location::Postgres(_) => Engine::Postgres,
        }
    }

    /// A connection to read with. It sees everything that was committed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(&self) -> Result<PoolConnection<Any>, Error> {
        Ok(self.readers.acquire().await?)
    }

    /// A connection to read the change feed with, and what it names. Nothing else takes these.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn feed(&self) -> Result<PoolConnection<Any>, Error> {
        Ok(self.feed.acquire().await?)
    }

    /// How long a mutation waits for those before it in its workspace.
    pub(crate) fn longest_turn(&self) -> Duration {
        match self.engine() {
            Engine::Sqlite => ACQUIRE_TIMEOUT,
            Engine::Postgres => POSTGRES_TURN,
        }
    }

    /// A transaction to write with.
    ///
    /// # Errors
    /// When the database does not answer, or stays locked by another process.
    pub async fn write(&self) -> Result<Transaction, Error> {
        self.check_file()?;
        let begun = Transaction::begin(&self.writers, &self.last_write).await?;
        // It may have been replaced while this one waited for its turn.
        self.check_file()?;
        Ok(begun)
    }

    /// What makes deductions, on a connection of its own. Only one is to be in use.
    pub(crate) fn debits(&self, durability: Durability) -> Debits {
        let last_write = self.last_write.clone();
        match &self.writers {
            Writers::Sqlite(turn) => {
                Debits::Sqlite(SqliteDebits::new(self.file.clone(), durability, turn.clone(), last_write))
            }
            Writers::Postgres { url, .. } => {
                Debits::Postgres(PostgresDebits::new(url.clone(), durability, last_write))
            }
        }
    }

    /// Whether the database is still where it was opened: a SQLite file can be removed or replaced. It costs next to
    /// nothing.
    ///
    /// # Errors
    /// 503, with the reason for the log.
    pub fn check_file(&self) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&mut *self.read().await?).await?;
        Ok(())
    }

    /// Why the last write of this process failed, if it did.
    pub fn write_fault(&self) -> Option<WriteFault> {
        self.last_write.fault()
    }

    /// Notes what somebody's error says of writing to PostgreSQL, where statements fail and not only commits.
    pub(crate) fn note_failure(&self, error: &Error) {
        self.last_write.failed_with(error);
    }

    /// Writes something that changes nothing, to see whether that works: a row that needs as much room as a change may, and
    /// goes at once.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn try_to_write(&self) -> Result<(), Error> {
        let engine = self.engine();
        let take_room = match engine {
            Engine::Sqlite => "hex(randomblob(32768))",
            Engine::Postgres => {
                "(SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 2000) AS n)"
            }
        };
        let take_room = format!(
            "INSERT INTO facts (name, value) VALUES ('room', {take_room}) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        );
        let mut transaction = self.write().await?;
        sqlx::query(sqlx::AssertSqlSafe(take_room)).execute(&mut *transaction).await?;
        if engine == Engine::Sqlite {
            // What goes in the same transaction is never written.
            transaction.commit().await?;
            transaction = self.write().await?;
        }
        sqlx::query("DELETE FROM facts WHERE name = 'room'").execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Whether [`Store::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.readers.is_closed()
    }

    /// Closes all connections; what was committed stays.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
        self.feed.close().await;
    }
}

async fn open_postgres(url: &str) -> Result<Store, Error> {
    let location = Location::Postgres(url.to_owned());
    let refused = |error: &sqlx::Error| {
        let text = format!("The database ({}) cannot be opened: {}.", location.label(), start_fault(error));
        Error::new(Code::ServiceUnavailable, text)
    };
    // Once without a pool, which would try again and again and then say less.
    let mut first = AnyConnection::connect(url).await.map_err(|error| refused(&error))?;
    let encoding = inspection::encoding(&mut first).await.map_err(|error| refused(&error))?;
    inspection::check_encoding(&encoding, &location)?;
    first.close().await.map_err(|error| refused(&error))?;
    let readers = postgres_pool(POSTGRES_READERS, ACQUIRE_TIMEOUT, "")
        .connect(url)
        .await
        .map_err(|error| refused(&error))?;
    migrations::run(&readers, Engine::Postgres).await?;
    let writers = postgres_pool(POSTGRES_WRITERS, ACQUIRE_TIMEOUT, POSTGRES_WRITER_SETTINGS).connect_lazy(url)?;
    let feed = postgres_pool(FEED_CONNECTIONS, FEED_TIMEOUT, POSTGRES_FEED_SETTINGS).connect_lazy(url)?;
    let writers = Writers::Postgres { pool: writers, url: url.to_owned() };
    Ok(Store { location, readers, writers, feed, last_write: LastWrite::default(), file: None })
}

async fn open_sqlite(path: &Path, alone: bool) -> Result<Store, Error> {
    let opening = Opening::begin(path, alone).await?;
    let url = file::url(path, "rw");
    // Once without a pool, which would try again and again and then say less.
    let mut first = AnyConnection::connect(&url).await.map_err(|error| cannot_open(path, &error))?;
    // The file itself is not read before the first question; this one reads what all others begin with.
    sqlx::query("SELECT COUNT(*) FROM sqlite_master")
        .execute(&mut first)
        .await
        .map_err(|error| cannot_open(path, &error))?;
    first.close().await?;
    let migrating = sqlite_pool(1, BUSY_TIMEOUT).connect(&url).await.map_err(|error| cannot_open(path, &error))?;
    migrations::run(&migrating, Engine::Sqlite).await?;
    migrating.close().await;
    // From here on writers ask for the lock in a way of their own.
    let writers = Writers::Sqlite(Turn::open(path).await?);
    let readers = sqlite_pool(SQLITE_READERS, BUSY_TIMEOUT).connect(&url).await?;
    let feed = sqlite_pool(FEED_CONNECTIONS, BUSY_TIMEOUT).acquire_timeout(FEED_TIMEOUT).connect(&url).await?;
    // All of them at once: later there may be no file descriptor left for one.
    for (pool, count) in [(&readers, SQLITE_READERS), (&feed, FEED_CONNECTIONS)] {
        drop(futures_util::future::try_join_all((0..count).map(|_| pool.acquire())).await?);
    }
    let (location, file) = (Location::Sqlite(path.to_owned()), Arc::new(opening.finish()?));
    Ok(Store { location, readers, writers, feed, last_write: LastWrite::default(), file: Some(file) })
}

/// Connections to a SQLite file, of which each asks for a lock for as long as `busy_timeout`.
fn sqlite_pool(connections: u32, busy_timeout: Duration) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // Nothing lies between this process and the file that could have broken meanwhile.
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(set_up_sqlite(connection, busy_timeout)))
}

/// A connection to a SQLite file of its own, which asks for a lock for as long as `busy_timeout`.
async fn connect_sqlite(path: &Path, busy_timeout: Duration) -> Result<Connection, sqlx::Error> {
    let mut connection = Connection::connect(&file::url(path, "rw")).await?;
    set_up_sqlite(&mut connection, busy_timeout).await?;
    Ok(connection)
}

async fn set_up_sqlite(connection: &mut Connection, busy_timeout: Duration) -> Result<(), sqlx::Error> {
    let wait_for_lock =
        |limit: Duration| sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {}", limit.as_millis()));
    // The timeout first: switching to WAL needs a lock that another process may hold.
    sqlx::query(wait_for_lock(BUSY_TIMEOUT)).execute(&mut *connection).await?;
    for pragma in PRAGMAS {
        sqlx::query(pragma).execute(&mut *connection).await?;
    }
    sqlx::query(wait_for_lock(busy_timeout)).execute(&mut *connection).await?;
    Ok(())
}

/// Connections to PostgreSQL, each of which runs `settings` when it is made.
fn postgres_pool(connections: u32, acquire_timeout: Duration, settings: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(acquire_timeout).after_connect(
        move |connection, _| {
            Box::pin(async move {
                if !settings.is_empty() {
                    sqlx::raw_sql(settings).execute(connection).await?;
                }
                Ok(())
            })
        },
    )
}

/// A connection or transaction that queries run on.
pub type Connection = AnyConnection;

/// Reads a flag that is stored as 0 or 1.
fn flag(row: &AnyRow, column: &str) -> Result<bool, sqlx::Error> {
    match row.try_get::<i64, _>(column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(readable::meaningless("a flag is 0 or 1")),
    }
}

/// `$first, $first+1, …`: placeholders for a list of `count` values.
fn placeholders(first: usize, count: usize) -> String {
    let texts: Vec<_> = (first..first + count).map(|n| format!("${n}")).collect();
    texts.join(", ")
}

/// The pattern that finds a search text literally: `%`, `_` and `\` stand for themselves.
fn like_pattern(search: &str) -> String {
    let mut pattern = String::from("%");
    for character in search.trim().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Which rows a query reads.
#[derive(Debug, Clone, Copy)]
pub enum Only<'a> {
    /// All of the instance, for loading the index at start.
    All,
    /// Those of these ids.
    Ids(&'a [&'a str]),
}

/// Statements take a limited number of values; longer lists are read in portions.
const VALUES_PER_STATEMENT: usize = 500;

/// Runs `text`, which ends in a `WHERE` clause, restricted to the rows whose `column` is in `only`.
async fn select(
    connection: &mut Connection,
    text: &str,
    column: &str,
    only: Only<'_>,
) -> Result<Vec<AnyRow>, Error> {
    let Only::Ids(ids) = only else {
        return Ok(sqlx::query(sqlx::AssertSqlSafe(text.to_owned())).fetch_all(connection).await?);
    };
    let mut rows = Vec::new();
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let text = format!("{text} AND {column} IN ({})", placeholders(1, portion.len()));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for id in portion {
            query = query.bind((*id).to_owned());
        }
        rows.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}

/// Runs `text`, which ends in a `WHERE` clause, restricted to the thing of a workspace that has this id, or else
/// this text in its `column`, which is unique there.
async fn find_named<T>(
    connection: &mut Connection,
    text: &str,
    column: &str,
    workspace_id: &str,
    named: &str,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Option<T>, Error> {
    let text = format!("{text} AND workspace_id = $1 AND (id = $2 OR {column} = $2) ORDER BY id <> $2 LIMIT 1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(named.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Marks a row of a table as deleted.
async fn mark_deleted(
    connection: &mut Connection,
    table: &'static str,
    id: &str,
    now: UnixMs,
) -> Result<(), Error> {
    sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE {table} SET deleted_at = $2 WHERE id = $1")))
        .bind(id.to_owned())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the rows of a table whose `column` is one of these ids: how many.
async fn delete_of(
    connection: &mut Connection,
    table: &'static str,
    column: &'static str,
    ids: &[String],
) -> Result<u64, Error> {
    let mut removed = 0;
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let text = format!("DELETE FROM {table} WHERE {column} IN ({})", placeholders(1, portion.len()));
        let query =
            portion.iter().fold(sqlx::query(sqlx::AssertSqlSafe(text)), |query, id| query.bind(id.clone()));
        removed += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(removed)
}

/// Groups what was read as pairs of an owner's id and a thing.
pub(crate) fn by_owner<T>(pairs: Vec<(String, T)>) -> HashMap<String, Vec<T>> {
    let mut groups: HashMap<String, Vec<T>> = HashMap::new();
    for (owner, thing) in pairs {
        groups.entry(owner).or_default().push(thing);
    }
    groups
}
