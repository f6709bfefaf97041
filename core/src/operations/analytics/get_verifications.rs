//! `analytics.getVerifications`

use super::sql_request::{Request, Row, answer};
use crate::analytics::sql::tables::Tables;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, Operation};
use crate::error::Code;
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

/// Answers SQL over verifications.
#[derive(Debug)]
pub struct GetVerifications;

impl Operation for GetVerifications {
    const ABOUT: About = About {
        name: "analytics.getVerifications",
        title: "Query verifications with SQL",
        summary: "Answers one SELECT over the verifications of the workspace, in the SQL dialect of ClickHouse.",
        description: "Tables: `key_verifications_v1` has a row per verification (`time` in Unix ms), and \
                      `key_verifications_per_minute_v1`, `…_per_hour_v1`, `…_per_day_v1`, `…_per_month_v1` have sums: \
                      always write `SUM(count)`. A root key that holds `read_analytics` for some APIs sees their rows \
                      only. Verifications of unknown keys are in no table. What this server decided is there at once. \
                      A query may run for 10 seconds and answer 4 MiB; a workspace may send 1000 an hour.",
        example: r#"{"query": "SELECT outcome, SUM(count) AS total FROM key_verifications_per_day_v1 WHERE time >= now() - INTERVAL 7 DAY GROUP BY outcome ORDER BY total DESC"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.read_analytics"),
            Expression::Leg("api.{anyApiId}.read_analytics"),
        ])),
        errors: CODES,
        assistants: Assistants {
            hint: "Columns: time, api_id, key_id, external_id, outcome, tags, spent_credits, latency; sums: count.",
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Row>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Row>>, Error> {
        let (authorized, api_ids) = caller.authorize_for_some(&Self::ABOUT.rule)?;
        let workspace_id = caller.workspace_id();
        // What is deleted, foreign or nonsense has no key space: of none there are no rows.
        let key_space = |id: String| {
            let api = keyrack.resident().api(&id).filter(|api| api.stored.workspace_id == workspace_id)?;
            Some(api.stored.key_space_id.clone())
        };
        let narrowed = api_ids.map(|ids| ids.into_iter().filter_map(key_space).collect());
        Ok(authorized.reply(answer(keyrack, caller, Tables::Verifications, narrowed, &request.query).await?))
    }
}

/// What a statement may be refused with.
pub(super) const CODES: &[Code] = &[
    Code::InvalidAnalyticsQuery,
    Code::InvalidAnalyticsQueryType,
    Code::InvalidAnalyticsTable,
    Code::InvalidAnalyticsFunction,
    Code::QueryRangeExceedsRetention,
    Code::AnalyticsNotConfigured,
    Code::AnalyticsConnectionFailed,
    Code::QueryExecutionTimeout,
    Code::QueryMemoryLimitExceeded,
    Code::QueryQuotaExceeded,
];
