//! `analytics.listRatelimits`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pages;
use super::reader::{RATELIMITS, REPORT_CODES, let_in};
use crate::analytics::reports::Values;
use crate::analytics::reports::events::{Listed, Wanted};
use crate::analytics::reports::usage::Filters;
use crate::analytics::sql::tables::Tables;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, List, Operation, Toolset};
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

/// Lists decisions on limits.
#[derive(Debug)]
pub struct ListRatelimits;

/// What is sent. Every filter must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Decisions per page.
    #[serde(default)]
    limit: PageSize<50>,
    #[serde(default)]
    cursor: Cursor,
    /// Only those in this namespace, by its id or name.
    #[schemars(length(min = 1, max = 512))]
    namespace: Option<String>,
    /// Only those of this identifier.
    #[schemars(length(min = 1, max = 512))]
    identifier: Option<String>,
    /// Only those that passed, or did not.
    passed: Option<bool>,
    /// Only those of the request with this id.
    #[schemars(length(min = 1, max = 64))]
    request_id: Option<String>,
    /// Unix ms of the earliest.
    start: Option<UnixMs>,
    /// Unix ms before which the latest is.
    end: Option<UnixMs>,
}

/// A decision on a limit.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Unix ms.
    pub time: UnixMs,
    /// The request that asked; it is in the answer's `meta`.
    pub request_id: String,
    /// The namespace.
    pub namespace_id: String,
    /// Its name.
    pub namespace: String,
    /// Who was counted.
    pub identifier: String,
    /// Whether it passed.
    pub passed: bool,
    /// The cost that is admitted per window.
    pub limit: i64,
    /// What was left in the window.
    pub remaining: i64,
    /// When the window ends, in Unix ms.
    pub reset_at: UnixMs,
    /// The cost that was asked for.
    pub tokens: i64,
    /// The override that applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_id: Option<String>,
    /// How long the decision took, in ms.
    pub latency: f64,
    /// The root key that asked.
    pub root_key_id: String,
}

impl Listed for Decision {
    const OF: Tables = Tables::Ratelimits;
    const TABLE: &'static str = "ratelimits_v1";
    const COLUMNS: &'static str = "namespace_id, namespace, identifier, passed, toInt64(`limit`), toInt64(remaining), \
                                   reset_at, toInt64(tokens), override_id, latency, root_key_id";
    const ORDER: &'static str = "namespace_id, identifier, passed, `limit`, remaining, tokens, reset_at";

    fn read(time: UnixMs, request_id: String, mut row: Values) -> Self {
        Decision {
            time,
            request_id,
            namespace_id: row.text(),
            namespace: row.text(),
            identifier: row.text(),
            passed: row.bool(),
            limit: row.integer(),
            remaining: row.integer(),
            reset_at: row.time(),
            tokens: row.integer(),
            override_id: row.some_text(),
            latency: row.number().unwrap_or_default(),
            root_key_id: row.text(),
        }
    }

    fn place(&self) -> (UnixMs, &str) {
        (self.time, &self.request_id)
    }
}

impl Operation for ListRatelimits {
    const ABOUT: About = About {
        name: "analytics.listRatelimits",
        title: "List rate-limit decisions",
        summary: "Lists single decisions of ratelimit.limit and multiLimit, newest first.",
        description: "Limits of keys are not in it: those are verifications. Send `cursor` with the same filters to read \
                      on. A request looks for a bounded time: where few match, a page may be short or empty and have \
                      more behind it. What this server decided is there at once.",
        example: r#"{"passed": false, "limit": 20}"#,
        rule: RATELIMITS,
        errors: REPORT_CODES,
        list: Some(List { id: None }),
        assistants: Assistants {
            toolset: Some(Toolset::Audit),
            concise: &["time", "namespace", "identifier", "passed", "limit", "remaining", "requestId"],
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Decision>;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Vec<Decision>>, Error> {
        let reader = let_in(keyrack, caller, Tables::Ratelimits)?;
        let filters =
            Filters { namespace: request.namespace, identifier: request.identifier, ..Filters::default() };
        let wanted = Wanted::of(&filters)
            .of_request(request.request_id.as_deref())
            .that_passed(request.passed)
            .between(request.start, request.end)
            .page(pages::position(&request.cursor)?, request.limit.items());
        pages::answer(keyrack, reader, &wanted).await
    }
}
