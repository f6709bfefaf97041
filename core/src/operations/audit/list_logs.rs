//! `audit.listLogs`

use schemars::JsonSchema;
use serde::Deserialize;

use super::log::Log;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::caller::Via;
use crate::catalogue::{About, Assistants, List, Operation};
use crate::operations::fields::distinct;
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::Pagination;
use crate::reply::{Page, Reply};
use crate::store::audit_search::{self, Wanted};
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
    #[serde(default)]
    cursor: Cursor,
    /// Only this event, such as key.create.
    #[schemars(length(min = 1, max = 256))]
    event: Option<String>,
    /// Only these events.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 256)))]
    events: Option<Vec<String>>,
    /// Only what this root key did.
    #[schemars(length(min = 1, max = 256))]
    actor_id: Option<String>,
    /// Only what was done to this id.
    #[schemars(length(min = 1, max = 256))]
    target_id: Option<String>,
    /// Only what was done to this kind, such as key.
    #[schemars(length(min = 1, max = 64))]
    target_type: Option<String>,
    /// Only those with this `meta.correlationId`.
    #[schemars(length(min = 1, max = 256))]
    correlation_id: Option<String>,
    /// Only what came through this door.
    via: Option<Door>,
    /// Unix ms of the earliest.
    start: Option<UnixMs>,
    /// Unix ms before which the latest is.
    end: Option<UnixMs>,
}

/// Which door a change came through.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Door {
    Http,
    Mcp,
    Cli,
}

impl Door {
    /// As in `actor.meta.via`.
    fn label(self) -> &'static str {
        let via = match self {
            Door::Http => Via::Http,
            Door::Mcp => Via::Mcp,
            Door::Cli => Via::CommandLine,
        };
        via.label().unwrap_or_default()
    }
}

impl Operation for ListLogs {
    const ABOUT: About = About {
        name: "audit.listLogs",
        title: "List the audit log",
        summary: "Lists who changed what in the workspace, newest first.",
        description: "Every change writes its entries together with itself. Reads, verifications and refusals are not in \
                      it. Send `cursor` with the same filters to read on. `start` is inclusive, `end` is not. A \
                      request looks at a bounded number of entries: where few of them match, a page may be short or \
                      empty and have more behind it. With `targetId` and `targetType` one thing must be both. \
                      `changes` names what was changed, before and after; of `meta` only names of members, and of \
                      lists of more than 50 only what the other side has not. An entry whose stored row is damaged says so in \
                      its `description`.",
        example: r#"{"event": "api.create", "limit": 20}"#,
        rule: Rule::forbidding(Expression::Leg("audit.*.read_log")),
        list: Some(List { id: Some("id") }),
        assistants: Assistants {
            concise: &["id", "time", "event", "actor.id", "actor.name", "description"],
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Log>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Log>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut events = request.events.unwrap_or_default();
        if let Some(event) = request.event {
            if !events.is_empty() && !events.contains(&event) {
                return Ok(authorized.page(Page::default()));
            }
            events = vec![event];
        }
        let wanted = Wanted {
            events: distinct(events),
            actor_id: request.actor_id,
            target_id: request.target_id,
            target_type: request.target_type,
            correlation_id: request.correlation_id,
            via: request.via.map(|door| door.label().to_owned()),
            start: request.start,
            end: request.end,
        };
        let mut connection = keyrack.store().read().await?;
        let (workspace_id, limit) = (caller.workspace_id(), request.limit.items());
        let (entries, next) =
            audit_search::list(&mut connection, workspace_id, &request.cursor, &wanted, limit).await?;
        let rows = entries.into_iter().map(Log::from).collect();
        let pagination = Pagination { has_more: next.is_some(), cursor: next };
        Ok(authorized.page(Page { rows, pagination }))
    }
}
