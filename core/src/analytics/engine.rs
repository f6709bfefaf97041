//! What answers checked statements: one engine is in the program, others are servers of their own.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::sql::tables::Table;
use super::sql::tree::Checked;
use crate::calendar::UnixMs;

/// What answers checked statements over the events that were recorded.
pub trait Engine: Debug + Send + Sync {
    /// Answers a statement; what this process recorded before is in the answer.
    fn query<'a>(&'a self, statement: &'a Checked, limits: Limits) -> BoxFuture<'a, Result<Rows, Failure>>;

    /// For how many days it keeps what a table has; `None` for ever.
    fn kept_days(&self, table: &Table) -> Option<u32>;

    /// Since when events are recorded for it; `None` of an engine that does not know.
    fn recorded_since(&self) -> Option<UnixMs>;

    /// Of which times, first and last, rows of a table that a workspace had may be missing, because they cannot be read.
    fn unreadable(&self, table: &Table, workspace_id: &str) -> Vec<(UnixMs, UnixMs)>;

    /// How what it has stored fares, as of a moment ago; it waits for nothing. `None` of an engine that does not know.
    fn standing(&self) -> Option<Standing>;

    /// Keeps what it has and ends its work. Nothing is asked of it afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// How what an engine has stored fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Bytes of all files.
    pub stored_bytes: u64,
    /// Events that are in memory and in no file yet; the log of events has them too.
    pub unwritten_rows: u64,
    /// Files that cannot be read and are left out.
    pub damaged_files: u64,
    /// Bytes of the log of events that were not taken in yet.
    pub behind_bytes: u64,
}

/// What a statement may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// Bytes of memory for what it has to remember.
    pub memory_bytes: usize,
    /// Bytes of the answer as JSON.
    pub answer_bytes: usize,
    /// Beside which others it runs.
    pub lane: Lane,
}

/// Statements of one lane wait for each other, and not for those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Those that callers sent, which may take long.
    Questions,
    /// Those of this server's own reports.
    Reports,
}

/// The rows of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// The names of the columns, in the order of the statement.
    pub columns: Vec<String>,
    /// A value for each column: integers and doubles as numbers (NaN and infinities as null), times as RFC 3339 in UTC.
    pub rows: Vec<Vec<Value>>,
}

/// Why a statement was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It ran for longer than it may.
    #[error("it took too long")]
    Timeout,
    /// It needed more memory than it may.
    #[error("it needs too much memory")]
    Memory,
    /// The answer is larger than it may be.
    #[error("the answer is too large")]
    Answer,
    /// The statement cannot be computed: a text that is no number, a division of integers by 0, something that this
    /// engine does not do. What was wrong, in words that show nothing of what is inside.
    #[error("{0}")]
    Statement(String),
    /// The engine is not there.
    #[error("the analytics engine is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
