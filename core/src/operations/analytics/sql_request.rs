//! What the two operations that take SQL have in common: the request, who may see which rows, and the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::analytics::engine::Rows;
use crate::analytics::sql::tables::Tables;
use crate::analytics::sql::{self, Asked};
use crate::error::Fault;
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

/// Has a statement over these tables answered: of the caller's workspace, and where `narrowed` is given, of these key
/// spaces or namespaces alone.
pub(super) async fn answer(
    keyrack: &Keyrack,
    caller: &Caller,
    tables: Tables,
    narrowed: Option<Vec<String>>,
    query: &str,
) -> Result<Vec<Row>, Error> {
    keyrack.analytics().engine()?;
    let workspace_id = caller.workspace_id();
    let workspace = keyrack.resident().workspace(workspace_id);
    let asked = Asked {
        operation: tables,
        workspace_id: workspace_id.to_owned(),
        narrowed,
        retention_days: workspace.and_then(|workspace| workspace.log_retention_days).unwrap_or(0),
        now: keyrack.clock().now(),
        most_rows: MOST_ROWS,
    };
    let statement = sql::check(query, &asked).map_err(at_the_query)?;
    let answered = keyrack.analytics().ask(workspace_id, &statement).await;
    let Rows { columns, rows } = answered.map_err(at_the_query)?;
    let named = |row: Vec<Value>| Row(columns.iter().cloned().zip(row).collect());
    Ok(rows.into_iter().map(named).collect())
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
