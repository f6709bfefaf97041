//! `ratelimit.limit`

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::{CREATE, find_or_create, not_gone};
use crate::analytics::event::{self, Event};
use crate::analytics::texts::KeptText;
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::bounds::{Integer, Text, Unread};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Attempt, Effect, Operation};
use crate::ratelimit::counters::memory::{CellKey, CellScope, Check};
use crate::ratelimit::window::Decision;
use crate::reply::Reply;
use crate::resident::Namespace;
use crate::{Caller, Code, Error, Keyrack};

/// Checks a rate limit and counts against it.
#[derive(Debug)]
pub struct Limit;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Request(#[schemars(with = "Asked<'static>")] Unread);

/// What is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked<'a> {
    /// Id or name of the namespace; created if new.
    #[serde(borrow)]
    pub(super) namespace: Text<'a, 1, 512>,
    /// Whom to count, such as a user id or an address.
    #[serde(borrow)]
    pub(super) identifier: Text<'a, 1, 512>,
    /// Cost admitted per window.
    limit: Integer<1, { i64::MAX }>,
    /// Window in ms, up to 30 days.
    duration: Integer<1000, 2_592_000_000>,
    /// What to count; 0 only looks.
    #[serde(default = "one")]
    #[schemars(extend("default" = 1))]
    cost: Integer<0, { i64::MAX }>,
}

fn one() -> Integer<0, { i64::MAX }> {
    Integer(1)
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The limit that counted: the override's, where one applied.
    pub limit: i64,
    /// What is left in the window; 0 when refused.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset: i64,
    /// Whether to serve the request.
    pub success: bool,
    /// `rlor_…`, the override that applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_id: Option<Arc<str>>,
}

/// A decision with what led to it.
pub(super) struct Decided {
    /// Cost admitted per window.
    pub(super) limit: i64,
    /// The override that replaced the request's numbers.
    pub(super) override_id: Option<Arc<str>>,
    pub(super) decision: Decision,
    /// Unix ms.
    pub(super) time: UnixMs,
    pub(super) latency: Duration,
}

impl Limit {
    /// Whether a body is plainly right: read without the schema.
    pub fn is_plain(body: &str) -> bool {
        serde_json::from_str::<Asked<'_>>(body).is_ok()
    }
}

impl Operation for Limit {
    const ABOUT: About = About {
        name: "ratelimit.limit",
        title: "Check a rate limit",
        summary: "Counts a use of an identifier and says whether it is allowed, as an application would.",
        description: "Answers 200 also when it refuses: look at `success`. A refusal counts nothing. Windows are aligned \
                      to the Unix epoch; the limit is not part of the count, the duration is. An override of the \
                      namespace replaces limit and duration. A deleted namespace answers 410 \
                      until `ratelimit.createNamespace` revives it.",
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
        is_hot: true,
        errors: &[Code::RatelimitNamespaceGone],
        assistants: Assistants {
            hint: "Creates a new namespace, even with cost 0; to look, use ratelimit.getCount. Limit and duration are the \
                   application's: ask the user.",
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let asked: Asked<'_> = request.0.read()?;
        let namespace = find_or_create::<Self>(keyrack, caller, &[&asked.namespace]).await?.remove(0);
        decide(keyrack, caller, &asked, &namespace)
    }

    fn attempt(keyrack: &Keyrack, caller: &Caller, body: &str) -> Attempt<Response> {
        let Ok(asked) = serde_json::from_str::<Asked<'_>>(body) else { return Attempt::Unclear };
        match keyrack.resident().namespace(caller.workspace_id(), &asked.namespace) {
            Some(namespace) => Attempt::Answered(decide(keyrack, caller, &asked, &namespace)),
            // It may be there to be made.
            None => Attempt::Unclear,
        }
    }
}

fn decide(
    keyrack: &Keyrack,
    caller: &Caller,
    asked: &Asked<'_>,
    namespace: &Arc<Namespace>,
) -> Result<Reply<Response>, Error> {
    not_gone(namespace)?;
    let authorized = caller.authorize(const { &Limit::ABOUT.rule }, &[("namespaceId", &namespace.stored.id)])?;
    let started = Instant::now();
    let (check, override_id) = asked.check(namespace);
    let time = keyrack.clock().now();
    let decision = keyrack.counters().check(&check, time);
    let decided = Decided { limit: check.limit, override_id, decision, time, latency: started.elapsed() };
    asked.record(keyrack, caller, namespace, &decided);
    Ok(authorized.reply(Response {
        limit: decided.limit,
        remaining: decision.remaining,
        reset: decision.reset_ms,
        success: decision.passed,
        override_id: decided.override_id,
    }))
}

impl Asked<'_> {
    /// Records a decision, unless the caller does not want that.
    pub(super) fn record(
        &self,
        keyrack: &Keyrack,
        caller: &Caller,
        namespace: &Arc<Namespace>,
        decided: &Decided,
    ) {
        if !caller.origin().is_recorded {
            return;
        }
        keyrack.recorder().record(Event::Ratelimit(event::Ratelimit {
            request_id: caller.origin().request_id,
            time: decided.time,
            root_key_id: caller.principal().id().into(),
            namespace: namespace.clone(),
            identifier: KeptText::of(&self.identifier),
            override_id: decided.override_id.clone(),
            passed: decided.decision.passed,
            limit: decided.limit,
            remaining: decided.decision.remaining,
            reset_at: UnixMs::new(decided.decision.reset_ms),
            tokens: self.cost.0,
            latency: decided.latency,
        }));
    }

    /// The question to the counters, and the id of the override that replaced limit and duration.
    pub(super) fn check<'a>(&'a self, namespace: &'a Namespace) -> (Check<'a>, Option<Arc<str>>) {
        let rule = namespace.overrides.find(&self.identifier);
        let (limit, duration_ms) =
            rule.as_ref().map_or((self.limit.0, self.duration.0), |rule| (rule.limit, rule.duration_ms));
        let cell = CellKey {
            workspace: &namespace.stored.workspace_id,
            scope: CellScope::Namespace(&namespace.stored.id),
            identifier: &self.identifier,
            duration_ms,
        };
        (Check { cell, limit, cost: self.cost.0 }, rule.map(|rule| rule.id.clone()))
    }
}
