//! Groups of deductions on PostgreSQL: the balances of a group are locked and read by one statement, what
//! becomes of each deduction is computed here, in their order, and one statement writes it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::{Applied, Debit, Durability, Outcome};
use crate::error::Error;
use crate::store::failure::failed_commit;
use crate::store::last_write::LastWrite;
use crate::store::{ACQUIRE_TIMEOUT, Connection, refills};

/// How often a group is tried that another transaction stood in the way of.
const TRIES: u32 = 3;
/// How long the server may take for a group, before its commit and for its commit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Locks the balances of the keys `$1`, a JSON list; in their order, so that two processes with the same keys
/// wait for each other instead of stopping each other.
const LOCK: &str = "SELECT key_id, remaining FROM credits \
                    WHERE key_id IN (SELECT json_array_elements_text($1::json)) ORDER BY key_id FOR UPDATE";

/// Takes from each balance what its deductions come to: `$1` is a JSON list of keys with totals.
const TAKE: &str = "UPDATE credits SET remaining = remaining - asked.total \
                    FROM json_to_recordset($1::json) AS asked (key_id TEXT, total BIGINT) \
                    WHERE credits.key_id = asked.key_id AND remaining >= asked.total";

/// The connection that deductions are made on. It is opened when the first group comes.
#[derive(Debug)]
pub(crate) struct PostgresDebits {
    url: String,
    durability: Durability,
    last_write: LastWrite,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    connection: AnyConnection,
    /// How a transaction begins, with the settings that hold in it alone: behind a pooler, settings of the
    /// session would be those of others too.
    begin: String,
}

/// Balances by key; `None` is unlimited.
type Balances = HashMap<String, Option<i64>>;

impl PostgresDebits {
    pub(in crate::store) fn new(url: String, durability: Durability, last_write: LastWrite) -> Self {
        PostgresDebits { url, durability, last_write, open: None }
    }

    /// Makes a group of deductions in one transaction, and returns once it is committed.
    ///
    /// # Errors
    /// Says whether nothing was changed or that this is not known.
    pub(crate) async fn apply(&mut self, group: &[Debit]) -> Result<Applied, Error> {
        let applied = self.apply_with_tries(group).await;
        match &applied {
            Ok(_) => self.last_write.worked(),
            Err(error) => self.last_write.failed_with(error),
        }
        applied
    }

    async fn apply_with_tries(&mut self, group: &[Debit]) -> Result<Applied, Error> {
        let mut tries = 1;
        loop {
            let known = self.open.take();
            let was_known = known.is_some();
            let mut open = match known {
                Some(open) => open,
                None => in_time(ACQUIRE_TIMEOUT, Open::new(&self.url, self.durability)).await?,
            };
            match open.apply(group).await {
                Ok(applied) => {
                    self.open = Some(open);
                    return Ok(applied);
                }
                Err(Failed::Retriable(_)) if tries < TRIES => self.open = Some(open),
                Err(Failed::Retriable(error) | Failed::Refused(error)) => {
                    self.open = Some(open);
                    return Err(error.into());
                }
                // A connection that nobody used for a while may have been closed from the other side.
                Err(Failed::Gone(_)) if was_known && tries < TRIES => {}
                Err(Failed::Gone(error)) => return Err(error.into()),
                // The connection goes with it, and with the connection a transaction that has not ended.
                Err(Failed::Lost(error)) => return Err(error),
            }
            tries += 1;
        }
    }
}

/// Why a group was not committed.
enum Failed {
    /// Another transaction stood in the way; nothing was changed.
    Retriable(sqlx::Error),
    /// The server refused something; nothing was changed.
    Refused(sqlx::Error),
    /// The connection ended before the commit; nothing was changed.
    Gone(sqlx::Error),
    /// The connection is of no more use.
    Lost(Error),
}

impl From<sqlx::Error> for Failed {
    /// For failures before the commit.
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Failed::Lost(error.into());
        }
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("40001" | "40P01") => Failed::Retriable(error),
            // The server ends the connection.
            Some(code) if code.starts_with("57P") => Failed::Gone(error),
            Some(_) => Failed::Refused(error),
            None => Failed::Gone(error),
        }
    }
}

impl Open {
    async fn new(url: &str, durability: Durability) -> Result<Open, sqlx::Error> {
        let mut connection = AnyConnection::connect(url).await?;
        let row = sqlx::query("SELECT current_setting('synchronous_commit')").fetch_one(&mut connection).await?;
        let usual: String = row.try_get(0)?;
        let synchronous = match durability {
            // Stronger ones than `on` stay as the server has them.
            Durability::Full if usual == "off" => "; SET LOCAL synchronous_commit = on",
            Durability::Full => "",
            Durability::Normal => "; SET LOCAL synchronous_commit = off",
        };
        let begin = format!("BEGIN; SET LOCAL lock_timeout = '5s'{synchronous}");
        Ok(Open { connection, begin })
    }

    async fn apply(&mut self, group: &[Debit]) -> Result<Applied, Failed> {
        let began = in_time(ANSWER_TIMEOUT, async {
            let begin = sqlx::AssertSqlSafe(self.begin.clone());
            let mut transaction = self.connection.begin_with(begin).await?;
            let outcomes = deduct(&mut transaction, group).await?;
            Ok::<_, Failed>((transaction, outcomes))
        });
        let (transaction, outcomes) = began.await?;
        let committing = Instant::now();
        match tokio::time::timeout(ANSWER_TIMEOUT, transaction.commit()).await {
            Ok(Ok(())) => Ok(Applied { outcomes, commit_took: committing.elapsed() }),
            Ok(Err(error)) => Err(Failed::Lost(failed_commit(error))),
            Err(late) => Err(Failed::Lost(Error::unknown_outcome(late))),
        }
    }
}

/// Gives up after `limit`, as if the server were away.
async fn in_time<T, E: From<sqlx::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

async fn deduct(connection: &mut Connection, group: &[Debit]) -> Result<Vec<Outcome>, Failed> {
    let mut balances = lock(connection, group).await?;
    let mut settled = BTreeSet::new();
    for debit in group {
        if let Some(calendar) = debit.refill
            && settled.insert((&debit.key_id, calendar.today))
        {
            let done = refills::settle_key(connection, &debit.workspace_id, &debit.key_id, calendar).await;
            done.map_err(Failed::Lost)?;
        }
    }
    if !settled.is_empty() {
        balances = lock(connection, group).await?;
    }
    let (outcomes, totals) = in_order(balances, group);
    take(connection, &totals).await?;
    Ok(outcomes)
}

async fn lock(connection: &mut Connection, group: &[Debit]) -> Result<Balances, Failed> {
    let keys: BTreeSet<&str> = group.iter().map(|debit| &*debit.key_id).collect();
    let rows = sqlx::query(LOCK).bind(json!(keys).to_string()).fetch_all(connection).await?;
    let read = |row: &sqlx::any::AnyRow| Ok((row.try_get("key_id")?, row.try_get("remaining")?));
    Ok(rows.iter().map(read).collect::<Result<Balances, sqlx::Error>>()?)
}

/// What becomes of each deduction, and what is taken from each key in total.
fn in_order(mut balances: Balances, group: &[Debit]) -> (Vec<Outcome>, HashMap<&str, i64>) {
    let mut totals = HashMap::new();
    let outcomes = group.iter().map(|debit| match balances.get_mut(&*debit.key_id) {
        None => Outcome::NoBalance,
        Some(None) => Outcome::Unlimited,
        Some(Some(balance)) if *balance < debit.cost => Outcome::Refused(*balance),
        Some(Some(balance)) => {
            *balance -= debit.cost;
            *totals.entry(&*debit.key_id).or_insert(0) += debit.cost;
            Outcome::Made(*balance)
        }
    });
    (outcomes.collect(), totals)
}

async fn take(connection: &mut Connection, totals: &HashMap<&str, i64>) -> Result<(), Failed> {
    if totals.is_empty() {
        return Ok(());
    }
    let asked: Vec<_> = totals.iter().map(|(key_id, total)| json!({ "key_id": key_id, "total": total })).collect();
    let done = sqlx::query(TAKE).bind(json!(asked).to_string()).execute(connection).await?;
    // The rows are locked, so this is no matter of luck; and answers must not rest on it.
    if done.rows_affected() == totals.len() as u64 {
        return Ok(());
    }
    let cause = format!("{} of {} balances took their deductions", done.rows_affected(), totals.len());
    Err(Failed::Lost(Error::unexpected(cause)))
}
