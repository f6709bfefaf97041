//! `ratelimit.multiLimit`

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limit;
use super::namespace::{CREATE, find_or_create, not_gone};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::bounds::{List, Unread};
use crate::catalogue::{About, Effect, Operation};
use crate::reply::Reply;
use crate::{Caller, Code, Error, Keyrack};

/// Checks several rate limits at once and counts against all of them or none.
#[derive(Debug)]
pub struct MultiLimit;

/// What is sent. An HTTP body is the list alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Request(#[schemars(with = "Asked<'static>")] Unread);

/// What is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked<'a> {
    /// Checks, each of one identifier in a namespace.
    #[serde(borrow)]
    limits: List<limit::Asked<'a>, 1, 100>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Whether to serve the request: all checks passed.
    pub passed: bool,
    /// One per check, in the order they were sent.
    pub limits: Vec<Outcome>,
}

/// What one check found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The namespace as sent.
    pub namespace: String,
    /// The identifier as sent.
    pub identifier: String,
    /// The limit that counted: the override's, where one applied.
    pub limit: i64,
    /// What is left in the window; 0 when refused.
    pub remaining: i64,
    /// Unix ms at which the window ends.
    pub reset: i64,
    /// Whether this check alone would let the request pass.
    pub passed: bool,
    /// `rlor_…`, the override that applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_id: Option<Arc<str>>,
}

impl Operation for MultiLimit {
    const ABOUT: About = About {
        name: "ratelimit.multiLimit",
        title: "Check several rate limits",
        summary: "Checks up to 100 rate limits at one instant and counts against all of them or, if one refuses, none.",
        description: "Answers 200 also when it refuses: look at `passed`. If one check refuses nothing is counted, and \
                      a check that would have passed says what a retry of it alone would find. Checks of one identifier see \
                      the cost of those before them. Over HTTP the body is the list itself, without an object around it.",
        example: r#"{"limits": [{"namespace": "emails", "identifier": "user_42", "limit": 10, "duration": 60000},
                  {"namespace": "emails", "identifier": "everybody", "limit": 1000, "duration": 60000}]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.*.limit"),
            Expression::Leg("ratelimit.{namespaceId}.limit"),
        ]))
        .and(&[Conditional {
            name: CREATE,
            when: "any namespace does not exist (checked first)",
            check: Expression::Leg("ratelimit.*.create_namespace"),
            on_denied: OnDenied::Forbidden,
        }]),
        effect: Effect::Write,
        idempotent: false,
        bare_body: Some("limits"),
        errors: &[Code::RatelimitNamespaceGone],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let asked: Asked<'_> = request.0.read()?;
        let asked = asked.limits.0;
        let names: Vec<&str> = asked.iter().map(|check| &*check.namespace).collect();
        let namespaces = find_or_create::<Self>(keyrack, caller, &names).await?;
        let authorized = caller.authorize_one_by_one();
        for namespace in &namespaces {
            let _of_this = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", &namespace.stored.id)])?;
        }
        namespaces.iter().try_for_each(|namespace| not_gone(namespace))?;
        let (checks, override_ids): (Vec<_>, Vec<_>) =
            asked.iter().zip(&namespaces).map(|(asked, namespace)| asked.check(namespace)).unzip();
        let (started, time) = (Instant::now(), keyrack.clock().now());
        let batch = keyrack.counters().check_all(&checks, time);
        // A batch takes the time of all its checks together; each counts as a part of it.
        let latency = started.elapsed() / u32::try_from(checks.len()).unwrap_or(u32::MAX).max(1);
        let found = asked.iter().zip(&namespaces).zip(checks).zip(batch.decisions).zip(override_ids);
        let limits = found.map(|((((asked, namespace), check), decision), override_id)| {
            let decided = limit::Decided { limit: check.limit, override_id, decision, time, latency };
            asked.record(keyrack, caller, namespace, &decided);
            Outcome {
                namespace: asked.namespace.to_string(),
                identifier: asked.identifier.to_string(),
                limit: decided.limit,
                remaining: decision.remaining,
                reset: decision.reset_ms,
                passed: decision.passed,
                override_id: decided.override_id,
            }
        });
        Ok(authorized.reply(Response { passed: batch.passed, limits: limits.collect() }))
    }
}
