//! `ratelimit.getCount`

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::find_live;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Operation};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Reads what an identifier has used of a limit.
#[derive(Debug)]
pub struct GetCount;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// Who is counted, such as a user id or an address.
    #[schemars(length(min = 1, max = 512))]
    identifier: String,
    /// Cost that the application admits per window.
    #[schemars(range(min = 1, max = 9_223_372_036_854_775_807_i64))]
    limit: i64,
    /// The application's window in ms, up to 30 days.
    #[schemars(range(min = 1000, max = 2_592_000_000_i64))]
    duration: i64,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The limit that counts: the override's, where one applies.
    pub limit: i64,
    /// Its window in ms: the override's, where one applies.
    pub duration: i64,
    /// What weighs in the window now.
    pub used: i64,
    /// What is left in the window.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset: UnixMs,
    /// `rlor_…`, the override that applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_id: Option<Arc<str>>,
}

impl Operation for GetCount {
    const ABOUT: About = About {
        name: "ratelimit.getCount",
        title: "Read the count of an identifier",
        summary: "Reads what an identifier has used of a limit and what is left; nothing is counted or created.",
        description: "Limit and window are the application's own, as it sends them to `ratelimit.limit`: Keyrack stores \
                      none but overrides, which apply here too. The duration is part of the count, the limit is not, so \
                      another duration reads another count. Counts are those of the process that answers.",
        example: r#"{"namespace": "<namespace>", "identifier": "user_42", "limit": 10, "duration": 60000}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.read_namespace"),
            Expression::Leg("ratelimit.*.read_namespace"),
        ])),
        errors: &[Code::RatelimitNamespaceNotFound],
        assistants: Assistants {
            hint: "Ask the user for limit and duration: they are the application's, not stored here.",
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", &namespace.stored.id)])?;
        let rule = namespace.overrides.find(&request.identifier);
        let (limit, duration_ms) =
            rule.as_ref().map_or((request.limit, request.duration), |rule| (rule.limit, rule.duration_ms));
        let cell = CellKey {
            workspace: &namespace.stored.workspace_id,
            scope: CellScope::Namespace(&namespace.stored.id),
            identifier: &request.identifier,
            duration_ms,
        };
        let count = keyrack.counters().foresee(&Check { cell, limit, cost: 0 }, keyrack.clock().now());
        Ok(authorized.reply(Response {
            limit,
            duration: duration_ms,
            used: count.used,
            remaining: count.left,
            reset: UnixMs::new(count.reset_ms),
            override_id: rule.map(|rule| rule.id.clone()),
        }))
    }
}
