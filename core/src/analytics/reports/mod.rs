//! Questions that need no SQL: how much was used, and which events there were.
//!
//! A report is statements of this server's own, over the public tables and those that only reports read. They go through the
//! same guard as the statements that callers send, so they are of one workspace and within what its reader may see; they
//! have a quota of their own, and are answered beside what callers have to wait for.

pub mod events;
mod gaps;
pub mod measures;
pub mod usage;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::usage::Bucket;
use super::Analytics;
use super::asking::{self, Asker};
use super::engine::{Engine, Lane, Limits, Rows};
use super::sql::tables::{Grain, Of, Table, Tables};
use super::sql::{Asked, check};
use crate::calendar::{Day, UnixMs};
use crate::error::{Code, Error};
use crate::turns::{Place, Taken};

/// What a report may take, all its statements together.
const LIMITS: Limits =
    Limits { time: Duration::from_secs(10), memory_bytes: 512 << 20, answer_bytes: 4 << 20, lane: Lane::Reports };
/// Rows of one statement's answer at most.
const MOST_ROWS: u64 = 100_000;

/// Who reads a report.
#[derive(Debug, Clone)]
pub struct Reader {
    /// What it is about.
    pub of: Tables,
    /// The only workspace whose events are in it.
    pub workspace_id: String,
    /// Where given, only events of these APIs or namespaces are in it.
    pub scopes: Option<Vec<String>>,
    /// The key spaces of these APIs; of decisions on limits the same namespaces.
    pub key_spaces: Option<Vec<String>>,
    /// For how many days the workspace keeps events; 0 for ever.
    pub retention_days: i64,
    /// What time it is.
    pub now: UnixMs,
}

/// A report at work.
#[derive(Debug)]
pub struct Reporting<'a> {
    analytics: &'a Analytics,
    engine: &'a Arc<dyn Engine>,
    reader: &'a Reader,
    began: Instant,
    _turn: Taken<()>,
    asker: Arc<Asker>,
}

impl Drop for Reporting<'_> {
    /// How long it took is counted, also when whoever asks leaves before.
    fn drop(&mut self) {
        let took = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.asker.report_quota.lock().unwrap_or_else(PoisonError::into_inner).took(took);
    }
}

impl Analytics {
    /// Begins a report, of which a workspace has one made at a time. What was recorded before is in it.
    ///
    /// # Errors
    /// 412 without an engine, 422 when others of the workspace take too long, 429 when it had too many this hour.
    pub async fn report<'a>(&'a self, reader: &'a Reader) -> Result<Reporting<'a>, Error> {
        let engine = self.engine()?;
        let asker = self.asking.asker(&reader.workspace_id);
        asking::count(&asker.report_quota, self.clock.now())?;
        let Ok(Ok(turn)) = tokio::time::timeout(LIMITS.time, asker.reports.take(Place::Line)).await else {
            return Err(Error::new(
                Code::QueryExecutionTimeout,
                "Other reports of this workspace were not done within 10 seconds, so this one was not begun. Try again \
                 shortly.",
            ));
        };
        let reporting = Reporting { analytics: self, engine, reader, began: Instant::now(), _turn: turn, asker };
        self.recorder.take_in(&self.clock).await?;
        Ok(reporting)
    }
}

impl Reporting<'_> {
    /// Who reads it.
    fn reader(&self) -> &Reader {
        self.reader
    }

    /// Since when what a table has is kept, for this workspace.
    fn kept_since(&self, table: &Table) -> Option<UnixMs> {
        let of_all = self.engine.kept_days(table).map(i64::from);
        let own = (self.reader.retention_days > 0).then_some(self.reader.retention_days);
        let days = of_all.into_iter().chain(own).min()?;
        let first = Day::of(self.reader.now).plus(-days).start();
        // A month of which the workspace does not keep all days is not shown.
        let (month, next) = Bucket::Month.around(first);
        Some(if table.grain == Grain::Month && own.is_some() && month < first { next } else { first })
    }

    /// The rows of a statement over this table.
    async fn rows(&self, table: &Table, statement: &str) -> Result<Rows, Error> {
        self.rows_within(LIMITS.time, table, statement).await
    }

    /// The same, in so much time at most.
    async fn rows_within(&self, time: Duration, table: &Table, statement: &str) -> Result<Rows, Error> {
        let Reader { of, workspace_id, scopes, key_spaces, retention_days, now } = self.reader;
        let narrowed = if table.of == Of::Scopes { scopes } else { key_spaces };
        let asked = Asked {
            operation: *of,
            workspace_id: workspace_id.clone(),
            narrowed: narrowed.clone(),
            retention_days: *retention_days,
            now: *now,
            most_rows: MOST_ROWS,
            reports: true,
        };
        // The caller had no part in its words.
        let checked = check(statement, &asked).map_err(Error::unexpected)?;
        let left = LIMITS.time.saturating_sub(self.began.elapsed());
        let limits = Limits { time: left.min(time), ..LIMITS };
        let began = Instant::now();
        let answered = self.engine.query(&checked, limits).await.map_err(asking::failed_report);
        self.analytics.questions().note(&answered, began.elapsed());
        answered
    }
}

/// The table of this name that reports read.
///
/// # Errors
/// When there is none, which is a fault of ours.
fn table(of: Tables, name: &str) -> Result<&'static Table, Error> {
    let mut all = Table::inner(of).iter().chain(Table::all(of));
    all.find(|table| table.name == name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

/// The values of a row, one after the other.
#[derive(Debug)]
pub struct Values(std::vec::IntoIter<Value>);

impl Values {
    fn of(row: Vec<Value>) -> Self {
        Values(row.into_iter())
    }

    fn next(&mut self) -> Value {
        self.0.next().unwrap_or_default()
    }

    /// An integer.
    pub fn integer(&mut self) -> i64 {
        self.next().as_i64().unwrap_or_default()
    }

    /// A number; `None` for NaN and infinities.
    pub fn number(&mut self) -> Option<f64> {
        self.next().as_f64()
    }

    /// A time in Unix ms.
    pub fn time(&mut self) -> UnixMs {
        UnixMs::new(self.integer())
    }

    /// A boolean.
    pub fn bool(&mut self) -> bool {
        self.next() == Value::Bool(true)
    }

    /// A text.
    pub fn text(&mut self) -> String {
        match self.next() {
            Value::String(text) => text,
            _ => String::new(),
        }
    }

    /// A text that may be missing, which columns have as the empty one.
    pub fn some_text(&mut self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty())
    }

    /// Texts.
    pub fn texts(&mut self) -> Vec<String> {
        match self.next() {
            Value::Array(all) => all.into_iter().map(|one| Values::of(vec![one]).text()).collect(),
            _ => Vec::new(),
        }
    }
}
