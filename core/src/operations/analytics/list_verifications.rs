//! `analytics.listVerifications`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::pages;
use super::reader::{REPORT_CODES, VERIFICATIONS, let_in};
use crate::analytics::reports::Values;
use crate::analytics::reports::events::{Listed, Wanted};
use crate::analytics::reports::usage::Filters;
use crate::analytics::sql::tables::Tables;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, List, Operation, Pin, Toolset};
use crate::ids::{ApiId, KeyId};
use crate::operations::list_request::Cursor;
use crate::page::PageSize;
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

/// Lists verifications.
#[derive(Debug)]
pub struct ListVerifications;

/// What is sent. Every filter must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Verifications per page.
    #[serde(default)]
    limit: PageSize<50>,
    #[serde(default)]
    cursor: Cursor,
    /// Only those of keys of this API.
    api_id: Option<ApiId>,
    /// Only those of this key.
    key_id: Option<KeyId>,
    /// Only those of this identity, by its id or external id.
    #[schemars(length(min = 1, max = 255))]
    identity: Option<String>,
    /// Only those with this tag.
    #[schemars(length(min = 1, max = 512))]
    tag: Option<String>,
    /// Only that of the request with this id.
    #[schemars(length(min = 1, max = 64))]
    request_id: Option<String>,
    /// Only these outcomes.
    #[schemars(length(min = 1, max = 7))]
    outcomes: Option<Vec<Outcome<false>>>,
    /// Unix ms of the earliest.
    start: Option<UnixMs>,
    /// Unix ms before which the latest is.
    end: Option<UnixMs>,
}

/// A verification.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Unix ms.
    pub time: UnixMs,
    /// The request that asked; it is in the answer's `meta`.
    pub request_id: String,
    /// The API of the key.
    pub api_id: String,
    /// The key.
    pub key_id: String,
    /// The key's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<String>,
    /// What its owner calls that identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// VALID, or why not.
    pub outcome: String,
    /// What refused it: limits by name, the permission query, or the client's address.
    pub refused_by: Vec<String>,
    /// The tags that were sent.
    pub tags: Vec<String>,
    /// The credits that it spent.
    pub spent_credits: i64,
    /// How long the decision took, in ms.
    pub latency: f64,
    /// The root key that asked.
    pub root_key_id: String,
    /// The region of the server that decided.
    pub region: String,
    /// Who asked: `api` or `gateway`.
    pub source: String,
    /// The gateway's app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
}

impl Listed for Verification {
    const OF: Tables = Tables::Verifications;
    const TABLE: &'static str = "key_verifications_v1";
    const COLUMNS: &'static str = "api_id, key_id, identity_id, external_id, outcome, refused_by, tags, spent_credits, \
                                   latency, root_key_id, region, source, app_id";
    const ORDER: &'static str = "key_id, outcome, latency";

    fn read(time: UnixMs, request_id: String, mut row: Values) -> Self {
        Verification {
            time,
            request_id,
            api_id: row.text(),
            key_id: row.text(),
            identity_id: row.some_text(),
            external_id: row.some_text(),
            outcome: row.text(),
            refused_by: row.texts(),
            tags: row.texts(),
            spent_credits: row.integer(),
            latency: row.number().unwrap_or_default(),
            root_key_id: row.text(),
            region: row.text(),
            source: row.text(),
            app_id: row.some_text(),
        }
    }

    fn place(&self) -> (UnixMs, &str) {
        (self.time, &self.request_id)
    }
}

impl Operation for ListVerifications {
    const ABOUT: About = About {
        name: "analytics.listVerifications",
        title: "List verifications",
        summary: "Lists single verifications, newest first.",
        description: "Each says what refused it. Verifications of unknown keys are not in it. Send `cursor` with the \
                      same filters to read on. A request looks for a bounded time: where few match, a page may be short \
                      or empty and have more behind it. What this server decided is there at once.",
        example: r#"{"outcomes": ["RATE_LIMITED"], "limit": 20}"#,
        rule: VERIFICATIONS,
        errors: REPORT_CODES,
        list: Some(List { id: None }),
        assistants: Assistants {
            pinned_by: Some(Pin::Api("apiId")),
            toolset: Some(Toolset::Audit),
            concise: &["time", "keyId", "externalId", "outcome", "refusedBy", "requestId"],
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Vec<Verification>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<Vec<Verification>>, Error> {
        let reader = let_in(keyrack, caller, Tables::Verifications)?;
        let outcomes: Vec<&str> = request.outcomes.unwrap_or_default().into_iter().map(Outcome::name).collect();
        let filters = Filters {
            api_id: request.api_id.map(|id| id.to_string()),
            key_id: request.key_id.map(|id| id.to_string()),
            identity: request.identity,
            tag: request.tag,
            ..Filters::default()
        };
        let wanted = Wanted::of(&filters)
            .of_request(request.request_id.as_deref())
            .with_outcomes(&outcomes)
            .between(request.start, request.end)
            .page(pages::position(&request.cursor)?, request.limit.items());
        pages::answer(keyrack, reader, &wanted).await
    }
}
