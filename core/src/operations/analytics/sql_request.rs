//! What the two operations that take SQL have in common: the request, the answer, and what they are refused with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reader::let_in;
use crate::analytics::engine::Rows;
use crate::analytics::reports::Reader;
use crate::analytics::sql::tables::Tables;
use crate::analytics::sql::{self, Asked};
use crate::error::{Code, Fault};
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

/// Rows of an answer at most.
const MOST_ROWS: u64 = 10_000_000;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Request {
    /// One `SELECT` in the dialect of ClickHouse, at most 16384 bytes.
    #[schemars(length(max = 20_000))]
    pub(super) query: String,
}

/// A row: the columns of the statement with their values, in its order.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Row(pub Map<String, Value>);

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

/// Has a statement over these tables answered: of the caller's workspace, and of what the caller may see there.
pub(super) async fn answer(
    keyrack: &Keyrack,
    caller: &Caller,
    of: Tables,
    request: &Request,
) -> Result<Reply<Vec<Row>>, Error> {
    let (authorized, reader) = let_in(keyrack, caller, of)?;
    keyrack.analytics().engine()?;
    let Reader { workspace_id, key_spaces, retention_days, now, .. } = reader;
    let asked = Asked {
        operation: of,
        workspace_id: workspace_id.clone(),
        narrowed: key_spaces,
        retention_days,
        now,
        most_rows: MOST_ROWS,
        reports: false,
    };
    let statement = sql::check(&request.query, &asked).map_err(at_the_query)?;
    let answered = keyrack.analytics().ask(&workspace_id, &statement).await;
    let Rows { columns, rows } = answered.map_err(at_the_query)?;
    let named = |row: Vec<Value>| Row(columns.iter().cloned().zip(row).collect());
    Ok(authorized.reply(rows.into_iter().map(named).collect()))
}

/// An error of the statement says where it stands in the request.
fn at_the_query(error: Error) -> Error {
    if error.code().status() != 400 {
        return error;
    }
    let message = error.detail().trim_end_matches('.').to_owned();
    let fix = "Send one `SELECT` that the message allows, over the tables of this operation's documentation.";
    let (location, fix) = ("body.query".to_owned(), Some(fix.to_owned()));
    error.with_faults(vec![Fault { location, message, fix }])
}
