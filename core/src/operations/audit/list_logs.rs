//! `audit.listLogs`

use schemars::JsonSchema;
use serde::Deserialize;

use super::log::Log;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation, Reply};
use crate::page::PageSize;
use crate::store::audit_logs::{self, Wanted};
use crate::{Caller, Error, Keyrack};

/// Lists the audit log.
#[derive(Debug)]
pub struct ListLogs;

/// What is sent. Every filter must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Entries per page.
    #[serde(default)]
    limit: PageSize,
    /// Where the page starts: `cursor` of the page before.
    #[schemars(length(max = 256))]
    cursor: Option<String>,
    /// Only this event, such as key.create.
    #[schemars(length(min = 1, max = 256))]
    event: Option<String>,
    /// Only what this root key did, or this part of the server.
    #[schemars(length(min = 1, max = 256))]
    actor_id: Option<String>,
    /// Only what was done to the thing with this id.
    #[schemars(length(min = 1, max = 256))]
    target_id: Option<String>,
    /// Unix ms of the earliest entry.
    #[schemars(range(min = 0))]
    start: Option<i64>,
    /// Unix ms before which the latest entry is.
    #[schemars(range(min = 0))]
    end: Option<i64>,
}

impl Operation for ListLogs {
    const ABOUT: About = About {
        name: "audit.listLogs",
        title: "List the audit log",
        summary: "Lists who changed what in the workspace, newest first, by event, actor, target and time.",
        description: "Every change writes its entries together with itself. Reads, verifications and refusals are not in \
                      it. Send `cursor` with the same filters to read on. `start` is inclusive, `end` is not.",
        example: r#"{"event": "api.create", "limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("audit.*.read_log")),
        is_list: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Log>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Log>>, Error> {
        caller.authorize::<Self>(&[])?;
        let wanted = Wanted {
            event: request.event,
            actor_id: request.actor_id,
            target_id: request.target_id,
            start: request.start,
            end: request.end,
        };
        let mut connection = keyrack.store().read().await?;
        let cursor = request.cursor.unwrap_or_default();
        let rows = audit_logs::list(&mut connection, caller.workspace_id(), &cursor, wanted, request.limit.rows())
            .await?;
        let logs = rows.into_iter().map(Log::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(request.limit.page(logs, |log| &log.id))
    }
}
