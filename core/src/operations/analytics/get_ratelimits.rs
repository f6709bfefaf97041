//! `analytics.getRatelimits`

use super::reader::RATELIMITS;
use super::sql_request::{CODES, Request, Row, answer};
use crate::analytics::sql::tables::Tables;
use crate::catalogue::{About, Assistants, Operation};
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

/// Answers SQL over decisions on limits.
#[derive(Debug)]
pub struct GetRatelimits;

impl Operation for GetRatelimits {
    const ABOUT: About = About {
        name: "analytics.getRatelimits",
        title: "Query rate-limit decisions with SQL",
        summary: "Answers one SELECT over the rate-limit decisions of the workspace, in the SQL dialect of ClickHouse.",
        description: "Tables: `ratelimits_v1` has a row per decision of `ratelimit.limit` and `multiLimit` (`time` in \
                      Unix ms), and `ratelimits_per_minute_v1`, `…_per_hour_v1`, `…_per_day_v1`, `…_per_month_v1` have \
                      sums: always write `SUM(total)`. A root key that holds `read_analytics` for some namespaces sees \
                      their rows only. A query may run for 10 seconds and answer 4 MiB; a workspace may send 1000 an \
                      hour.",
        example: r#"{"query": "SELECT identifier, SUM(total) - SUM(passed) AS refused FROM ratelimits_per_hour_v1 WHERE time >= now() - INTERVAL 1 DAY GROUP BY identifier ORDER BY refused DESC LIMIT 10"}"#,
        rule: RATELIMITS,
        errors: CODES,
        assistants: Assistants {
            hint: "Columns: time, namespace, identifier, passed, limit, remaining, tokens; sums: passed, total.",
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Row>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Row>>, Error> {
        answer(keyrack, caller, Tables::Ratelimits, &request).await
    }
}
