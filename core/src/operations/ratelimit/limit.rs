//! `ratelimit.limit`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::{CREATE, find_or_create, not_gone};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::resident::Namespace;
use crate::{Caller, Code, Error, Keyrack};

/// Checks a rate limit and counts against it.
#[derive(Debug)]
pub struct Limit;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace; created if new.
    #[schemars(length(min = 1, max = 512))]
    pub(super) namespace: String,
    /// Whom to count, such as a user id or an address.
    #[schemars(length(min = 1, max = 512))]
    pub(super) identifier: String,
    /// Cost admitted per window.
    #[schemars(range(min = 1))]
    limit: i64,
    /// Window in ms, up to 30 days.
    #[schemars(range(min = 1000, max = 2_592_000_000_i64))]
    duration: i64,
    /// What to count; 0 only looks.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    cost: i64,
}

fn one() -> i64 {
    1
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The limit that counted: the override's, where one applied.
    limit: i64,
    /// What is left in the window; 0 when refused.
    remaining: i64,
    /// Unix ms at which the window ends.
    reset: i64,
    /// Whether to serve the request.
    success: bool,
    /// `rlor_…`, the override that applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_id: Option<String>,
}

impl Operation for Limit {
    const ABOUT: About = About {
        name: "ratelimit.limit",
        title: "Check a rate limit",
        summary: "Says whether an identifier may act now under a sliding window, and counts it if so.",
        description: "Answers 200 also when it refuses: look at `success`. A refusal counts nothing. Windows are aligned \
                      to the Unix epoch; the limit is not part of the count, the duration is. An override of the \
                      namespace replaces limit and duration. A deleted namespace answers 410.",
        example: r#"{"namespace": "emails", "identifier": "user_42", "limit": 10, "duration": 60000}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.limit"),
            Expression::Leg("ratelimit.*.limit"),
        ]))
        .and(&[Conditional {
            name: CREATE,
            when: "the namespace does not exist (checked first)",
            check: Expression::Leg("ratelimit.*.create_namespace"),
            on_denied: OnDenied::Forbidden,
        }]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::RatelimitNamespaceGone],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let namespace = find_or_create::<Self>(keyrack, caller, &[&request.namespace]).await?.remove(0);
        not_gone(&namespace)?;
        caller.authorize::<Self>(&[("namespaceId", &namespace.stored.id)])?;
        let (check, override_id) = request.check(&namespace);
        let decision = keyrack.counters().check(&check, keyrack.clock().now());
        Ok(Response {
            limit: check.limit,
            remaining: decision.remaining,
            reset: decision.reset_ms,
            success: decision.passed,
            override_id,
        }
        .into())
    }
}

impl Request {
    /// The question to the counters, and the id of the override that replaced limit and duration.
    pub(super) fn check<'a>(&'a self, namespace: &'a Namespace) -> (Check<'a>, Option<String>) {
        let rule = namespace.overrides.find(&self.identifier);
        let (limit, duration_ms) = rule.map_or((self.limit, self.duration), |rule| (rule.limit, rule.duration_ms));
        let cell = CellKey {
            workspace: &namespace.stored.workspace_id,
            scope: CellScope::Namespace(&namespace.stored.id),
            identifier: &self.identifier,
            duration_ms,
        };
        (Check { cell, limit, cost: self.cost }, rule.map(|rule| rule.id.to_string()))
    }
}
