//! Questions that were put to people before calls of assistants, and approvals of them.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Connection;
use crate::calendar::UnixMs;
use crate::error::Error;

/// Rows that are removed at a time once their time is over.
const REMOVED_AT_ONCE: i64 = 100;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was put to somebody who talks to the assistant.
    Asked,
    /// It waits for somebody at the terminal.
    Held,
    /// Somebody there agreed.
    Approved,
    /// Somebody there did not.
    Refused,
    /// It was acted on.
    Spent,
}

impl State {
    const ALL: [State; 5] = [State::Asked, State::Held, State::Approved, State::Refused, State::Spent];

    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            State::Asked => "asked",
            State::Held => "held",
            State::Approved => "approved",
            State::Refused => "refused",
            State::Spent => "spent",
        }
    }
}

/// A question, and the one call that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The digest of what was given to the assistant, or the id of an approval.
    pub id: String,
    /// The workspace of the call.
    pub workspace_id: String,
    /// Whose call it is.
    pub root_key_id: String,
    /// `keys.deleteKey`
    pub operation: String,
    /// A digest of the arguments.
    pub arguments: String,
    /// A digest of what the person is shown.
    pub target: String,
    /// What the person is shown, for approvals.
    pub question: Option<String>,
    /// What became of it.
    pub state: State,
    /// When it was put.
    pub created_at: UnixMs,
    /// When it is void.
    pub expires_at: UnixMs,
}

const COLUMNS: &str =
    "id, workspace_id, root_key_id, operation, arguments, target, question, state, created_at, expires_at";

/// Stores a question, and removes some whose time is over.
///
/// # Errors
/// When the store does not answer.
pub async fn insert(connection: &mut Connection, new: &Confirmation) -> Result<(), Error> {
    let over = "DELETE FROM confirmations WHERE id IN \
                (SELECT id FROM confirmations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    sqlx::query(over).bind(new.created_at).bind(REMOVED_AT_ONCE).execute(&mut *connection).await?;
    let text = format!("INSERT INTO confirmations ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
    sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(new.id.clone())
        .bind(new.workspace_id.clone())
        .bind(new.root_key_id.clone())
        .bind(new.operation.clone())
        .bind(new.arguments.clone())
        .bind(new.target.clone())
        .bind(new.question.clone())
        .bind(new.state.name().to_owned())
        .bind(new.created_at)
        .bind(new.expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// How many questions of the workspace of this one, and of its root key, wait for an answer and are not over.
///
/// # Errors
/// When the store does not answer.
pub async fn waiting(connection: &mut Connection, new: &Confirmation) -> Result<(i64, i64), Error> {
    let of_workspace = "SELECT COUNT(*) FROM confirmations WHERE workspace_id = $1 AND expires_at >= $2 \
                        AND state IN ('asked', 'held')";
    let of_root_key = "SELECT COUNT(*) FROM confirmations WHERE workspace_id = $1 AND expires_at >= $2 \
                       AND state IN ('asked', 'held') AND root_key_id = $3";
    let all = sqlx::query_scalar(of_workspace).bind(new.workspace_id.clone()).bind(new.created_at);
    let all = all.fetch_one(&mut *connection).await?;
    let own = sqlx::query_scalar(of_root_key).bind(new.workspace_id.clone()).bind(new.created_at);
    Ok((all, own.bind(new.root_key_id.clone()).fetch_one(connection).await?))
}

/// A question.
///
/// # Errors
/// When the store does not answer.
pub async fn find(connection: &mut Connection, id: &str) -> Result<Option<Confirmation>, Error> {
    let text = format!("SELECT {COLUMNS} FROM confirmations WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).fetch_optional(connection).await?;
    Ok(row.as_ref().map(read).transpose()?.flatten())
}

/// The approval of a call that waits, or was decided, and is not over.
///
/// # Errors
/// When the store does not answer.
pub async fn approval_of(
    connection: &mut Connection,
    call: &Confirmation,
    now: UnixMs,
) -> Result<Option<Confirmation>, Error> {
    let text = format!(
        "SELECT {COLUMNS} FROM confirmations WHERE workspace_id = $1 AND root_key_id = $2 AND operation = $3 \
         AND arguments = $4 AND target = $5 AND expires_at >= $6 AND state IN ('held', 'approved', 'refused') \
         ORDER BY CASE state WHEN 'approved' THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(call.workspace_id.clone())
        .bind(call.root_key_id.clone())
        .bind(call.operation.clone())
        .bind(call.arguments.clone())
        .bind(call.target.clone())
        .bind(now)
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?.flatten())
}

/// Approvals that are not over: those that wait before those that were decided, the newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn approvals(connection: &mut Connection, now: UnixMs, most: i64) -> Result<Vec<Confirmation>, Error> {
    let text = format!(
        "SELECT {COLUMNS} FROM confirmations WHERE question IS NOT NULL AND expires_at >= $1 \
         ORDER BY CASE state WHEN 'held' THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(now).bind(most).fetch_all(connection).await?;
    let read: Result<Vec<Option<Confirmation>>, sqlx::Error> = rows.iter().map(read).collect();
    Ok(read?.into_iter().flatten().collect())
}

/// Takes a question from one state to another: whether it was in that state. Of several who try, one succeeds.
///
/// # Errors
/// When the store does not answer.
pub async fn turn(
    connection: &mut Connection,
    id: &str,
    (from, to): (State, State),
    expires_at: UnixMs,
) -> Result<bool, Error> {
    let done = sqlx::query("UPDATE confirmations SET state = $3, expires_at = $4 WHERE id = $1 AND state = $2")
        .bind(id.to_owned())
        .bind(from.name().to_owned())
        .bind(to.name().to_owned())
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// A row; nothing where its state is none that this version knows.
fn read(row: &AnyRow) -> Result<Option<Confirmation>, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let Some(state) = State::ALL.into_iter().find(|known| known.name() == state) else { return Ok(None) };
    Ok(Some(Confirmation {
        id: row.try_get("id")?,
        workspace_id: row.try_get("workspace_id")?,
        root_key_id: row.try_get("root_key_id")?,
        operation: row.try_get("operation")?,
        arguments: row.try_get("arguments")?,
        target: row.try_get("target")?,
        question: row.try_get("question")?,
        state,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    }))
}
