//! Asking the engine: who may ask how much, and what its failures mean to callers.
//!
//! A workspace has one question answered at a time, and waits for its turn within the time of its question; how many
//! workspaces have theirs answered at once is up to the engine. What this process recorded before a question is in its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::quality::RandomState;

use super::Analytics;
use super::engine::{Engine, Failure, Lane, Limits, Rows, Standing};
use super::questions::Questions;
use super::quota::{QUERIES, Quota, REPORTS, UsedUp};
use super::sql::tree::Checked;
use crate::calendar::UnixMs;
use crate::error::{Code, Error};
use crate::turns::{Place, Turns};

/// What a question may take.
pub(crate) const LIMITS: Limits =
    Limits { time: Duration::from_secs(10), memory_bytes: 1 << 30, answer_bytes: 4 << 20, lane: Lane::Questions };

/// Who asks.
#[derive(Debug, Default)]
pub(super) struct Asking {
    engine: OnceLock<Arc<dyn Engine>>,
    workspaces: Mutex<HashMap<CompactString, Arc<Asker>, RandomState>>,
    questions: Questions,
}

/// A workspace that has asked.
#[derive(Debug)]
pub(super) struct Asker {
    turns: Turns<()>,
    quota: Mutex<Quota>,
    /// Of reports, which do not wait behind statements.
    pub(super) reports: Turns<()>,
    pub(super) report_quota: Mutex<Quota>,
}

/// Counts a question against a quota.
///
/// # Errors
/// 429 when it is used up.
pub(super) fn count(quota: &Mutex<Quota>, now: UnixMs) -> Result<(), Error> {
    let counted = quota.lock().unwrap_or_else(PoisonError::into_inner).begin(now);
    counted.map_err(|UsedUp { retry_after_seconds }| {
        Error::new(
            Code::QueryQuotaExceeded,
            "This workspace has used up its analytics queries of this hour. Wait as long as `Retry-After` says, \
             and ask for more at once: one query with GROUP BY instead of many.",
        )
        .retry_after(retry_after_seconds)
    })
}

impl Asking {
    pub(super) fn asker(&self, workspace_id: &str) -> Arc<Asker> {
        let mut workspaces = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = workspaces.get(workspace_id) {
            return asker.clone();
        }
        let asker = Arc::new(Asker {
            turns: Turns::of(()),
            quota: Mutex::new(Quota::of(QUERIES)),
            reports: Turns::of(()),
            report_quota: Mutex::new(Quota::of(REPORTS)),
        });
        workspaces.insert(workspace_id.into(), asker.clone());
        asker
    }
}

impl Analytics {
    /// Has this engine answer questions from now on. The first one stays.
    pub fn answer_with(&self, engine: Arc<dyn Engine>) {
        if self.asking.engine.set(engine).is_err() {
            tracing::warn!("there is an engine of analytics already; the other one is not used");
        }
    }

    /// Whether questions can be asked.
    ///
    /// # Errors
    /// 412 when the server has no engine.
    pub fn engine(&self) -> Result<&Arc<dyn Engine>, Error> {
        self.asking.engine.get().ok_or_else(|| {
            Error::new(
                Code::AnalyticsNotConfigured,
                "This process answers no analytics: it was built without the engine, its log of events or its analytics \
                 are switched off (KEYRACK_EVENT_LOG_BYTES, KEYRACK_ANALYTICS_BYTES), or another process of the same \
                 data folder has them. Its log says which.",
            )
        })
    }

    /// Questions to the engine, and how they fared.
    pub fn questions(&self) -> &Questions {
        &self.asking.questions
    }

    /// How what the engine has stored fares; `None` without an engine.
    pub fn standing(&self) -> Option<Standing> {
        self.asking.engine.get()?.standing()
    }

    /// Has the engine, if there is one, keep what was recorded and end.
    pub(crate) async fn close(&self) {
        let Some(engine) = self.asking.engine.get() else { return };
        if let Err(error) = self.recorder.take_in(&self.clock).await {
            tracing::warn!(%error, "the last events are not in the analytics");
        }
        engine.close().await;
    }

    /// Has a statement of a workspace answered.
    ///
    /// # Errors
    /// 412 without an engine, 422 for a statement that takes too much, 429 when the workspace has asked enough this
    /// hour, 400 for what cannot be computed, 503 when the engine does not answer.
    pub async fn ask(&self, workspace_id: &str, statement: &Checked) -> Result<Rows, Error> {
        let began = Instant::now();
        let answered = self.answer(workspace_id, statement).await;
        self.asking.questions.note(&answered, began.elapsed());
        answered
    }

    async fn answer(&self, workspace_id: &str, statement: &Checked) -> Result<Rows, Error> {
        let engine = self.engine()?;
        let asker = self.asking.asker(workspace_id);
        count(&asker.quota, self.clock.now())?;
        let asked = Instant::now();
        let Ok(Ok(_turn)) = tokio::time::timeout(LIMITS.time, asker.turns.take(Place::Line)).await else {
            return Err(Error::new(
                Code::QueryExecutionTimeout,
                "Other analytics queries of this workspace were not done within 10 seconds, so this one was not begun. \
                 Try again shortly.",
            ));
        };
        self.recorder.take_in(&self.clock).await?;
        let limits = Limits { time: LIMITS.time.saturating_sub(asked.elapsed()), ..LIMITS };
        // Also when whoever asks leaves before.
        let _charged = Charged { quota: &asker.quota, began: Instant::now() };
        engine.query(statement, limits).await.map_err(refused)
    }
}

/// A question that is being answered: how long it takes is counted when it ends.
struct Charged<'a> {
    quota: &'a Mutex<Quota>,
    began: Instant,
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        let took = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).took(took);
    }
}

/// What a failure of an engine is to who asked.
fn refused(failure: Failure) -> Error {
    match failure {
        Failure::Timeout => Error::new(
            Code::QueryExecutionTimeout,
            "The query ran for 10 seconds and was stopped. Ask for a shorter time (`time >= …`), or use a table per \
             hour, day or month.",
        ),
        Failure::Memory => Error::new(
            Code::QueryMemoryLimitExceeded,
            "The query needs more memory than a query may use. Group by fewer things, ask for a shorter time, or use \
             `uniq` instead of `uniqExact`.",
        ),
        Failure::Answer => Error::new(
            Code::QueryMemoryLimitExceeded,
            "The answer is larger than 4 MiB. Select fewer columns, add a LIMIT, or sum rows up with GROUP BY.",
        ),
        Failure::Statement(what) => {
            Error::new(Code::InvalidAnalyticsQuery, format!("The query cannot be computed: {what}."))
        }
        Failure::Unavailable(cause) => Error::new(
            Code::AnalyticsConnectionFailed,
            "The analytics engine does not answer at the moment. Try again shortly.",
        )
        .retry_after(1)
        .caused_by(cause),
    }
}

/// The same for a report, whose reader wrote no query.
pub(super) fn failed_report(failure: Failure) -> Error {
    match failure {
        Failure::Timeout | Failure::Memory | Failure::Answer => Error::new(
            match failure {
                Failure::Timeout => Code::QueryExecutionTimeout,
                _ => Code::QueryMemoryLimitExceeded,
            },
            "The report takes more than one may take. Ask for a shorter time, for a larger `bucket`, or for one API, key \
             or namespace.",
        ),
        Failure::Statement(what) => Error::unexpected(what),
        Failure::Unavailable(_) => refused(failure),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::analytics::sql::tables::{Table, Tables};
    use crate::analytics::sql::{Asked, check};
    use crate::calendar::HOUR_MS;
    use crate::clock::Clock;
    use crate::keyrack::Keyrack;
    use crate::store::Location;

    /// Fails as it is told, in turn.
    #[derive(Debug)]
    struct Failing(Mutex<Vec<Failure>>);

    impl Engine for Failing {
        fn query<'a>(&'a self, _: &'a Checked, limits: Limits) -> BoxFuture<'a, Result<Rows, Failure>> {
            assert!(limits.time <= LIMITS.time && limits.answer_bytes == 4 << 20);
            let next = self.0.lock().unwrap().pop();
            Box::pin(async move { next.map_or(Ok(Rows::default()), Err) })
        }

        fn kept_days(&self, _: &Table) -> Option<u32> {
            None
        }

        fn recorded_since(&self) -> Option<UnixMs> {
            None
        }

        fn unreadable(&self, _: &Table, _: &str) -> Vec<(UnixMs, UnixMs)> {
            Vec::new()
        }

        fn standing(&self) -> Option<Standing> {
            None
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }

    fn statement() -> Checked {
        let asked = Asked {
            operation: Tables::Verifications,
            workspace_id: "ws_1".to_owned(),
            narrowed: None,
            retention_days: 0,
            now: UnixMs::EPOCH,
            most_rows: 10,
            reports: false,
        };
        check("SELECT count() AS n FROM key_verifications_v1", &asked).unwrap()
    }

    async fn code(keyrack: &Keyrack, workspace_id: &str) -> Option<Code> {
        keyrack.analytics().ask(workspace_id, &statement()).await.err().map(|error| error.code())
    }

    #[tokio::test]
    async fn each_failure_of_an_engine_has_its_code_and_a_quota_is_a_workspaces_own() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let clock = Clock::standing_at(UnixMs::new(500 * HOUR_MS));
        let keyrack = Keyrack::open(&location, clock).await.unwrap();
        assert_eq!(code(&keyrack, "ws_1").await, Some(Code::AnalyticsNotConfigured));
        let failures = vec![
            Failure::Unavailable("it is away".into()),
            Failure::Statement("a division by zero".to_owned()),
            Failure::Answer,
            Failure::Memory,
            Failure::Timeout,
        ];
        let asked = failures.len();
        keyrack.analytics().answer_with(Arc::new(Failing(Mutex::new(failures))));
        let mut codes = Vec::new();
        for _ in 0..asked {
            codes.extend(code(&keyrack, "ws_1").await);
        }
        let expected = [
            Code::QueryExecutionTimeout,
            Code::QueryMemoryLimitExceeded,
            Code::QueryMemoryLimitExceeded,
            Code::InvalidAnalyticsQuery,
            Code::AnalyticsConnectionFailed,
        ];
        assert_eq!(codes, expected);
        for _ in asked..1000 {
            assert_eq!(code(&keyrack, "ws_1").await, None);
        }
        let refused = keyrack.analytics().ask("ws_1", &statement()).await.unwrap_err();
        assert_eq!((refused.code(), refused.retry_after_seconds()), (Code::QueryQuotaExceeded, Some(3601)));
        assert_eq!(code(&keyrack, "ws_2").await, None);
        let questions = [
            ("analytics_connection_failed", 1),
            ("analytics_not_configured", 1),
            ("invalid_analytics_query", 1),
            ("ok", 996),
            ("query_execution_timeout", 1),
            ("query_memory_limit_exceeded", 2),
            ("query_quota_exceeded", 1),
        ];
        assert_eq!(keyrack.analytics().questions().by_outcome(), questions);
        assert_eq!(keyrack.analytics().questions().durations.buckets().iter().sum::<u64>(), 1003);
        keyrack.close().await;
    }
}
