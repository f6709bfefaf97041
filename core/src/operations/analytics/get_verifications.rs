//! `analytics.getVerifications`

use super::reader::VERIFICATIONS;
use super::sql_request::{CODES, Request, Row, answer};
use crate::analytics::sql::tables::Tables;
use crate::catalogue::{About, Assistants, Operation};
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
        rule: VERIFICATIONS,
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
        answer(keyrack, caller, Tables::Verifications, &request).await
    }
}
