//! `ratelimit.setOverride`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::{begin_change, find_live, rule_facts};
use crate::audit::{Changes, Event, Target};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::changes::Subject;
use crate::ids::{self, Kind};
use crate::ratelimit::override_rules::OverrideRule;
use crate::store::overrides;
use crate::{Caller, Code, Error, Keyrack};

/// Sets the limit of some identifiers of a namespace.
#[derive(Debug)]
pub struct SetOverride;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// An identifier, or a pattern in which `*` is any run of characters.
    #[schemars(length(min = 1, max = 512))]
    identifier: String,
    /// Cost admitted per window; 0 blocks.
    #[schemars(range(min = 0))]
    limit: i64,
    /// Window in ms.
    #[schemars(range(min = 1000))]
    duration: i64,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `rlor_…`
    override_id: String,
}

impl Operation for SetOverride {
    const ABOUT: About = About {
        name: "ratelimit.setOverride",
        title: "Set an override",
        summary: "Sets limit and window of an identifier, or of all that match a pattern, whatever requests ask for.",
        description: "It counts from the next request on. Setting the same identifier again keeps the id, also after \
                      the override was deleted. Of several that match, the exact one applies, then the one with the longest \
                      text before its first `*`, then the one with the most text, then the oldest. Another duration starts \
                      another count.",
        hint: "namespace from ratelimit_listNamespaces.",
        example: r#"{"namespace": "<namespace>", "identifier": "user_42", "limit": 1000, "duration": 60000}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.set_override"),
            Expression::Leg("ratelimit.*.set_override"),
        ])),
        effect: Effect::Write,
        errors: &[Code::RatelimitNamespaceNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        caller.authorize::<Self>(&[("namespaceId", &namespace.stored.id)])?;
        let mut mutation = begin_change(keyrack, caller, &namespace).await?;
        let rule = OverrideRule {
            id: ids::generate(Kind::RatelimitOverride).into(),
            pattern: request.identifier.into(),
            limit: request.limit,
            duration_ms: request.duration,
            created_at: mutation.now(),
        };
        let namespace_id = &namespace.stored.id;
        let before = overrides::find_by_pattern(mutation.connection(), namespace_id, &rule.pattern).await?;
        let id = overrides::set(mutation.connection(), caller.workspace_id(), namespace_id, &rule).await?;
        let event = Event::new("ratelimit.set_override", format!("Set override {id} in namespace {namespace_id}"));
        let changes = Changes::between(&before.as_ref().map(rule_facts), &rule_facts(&rule));
        mutation.record(event.on(Target::new("ratelimitOverride", &id).named(&*rule.pattern)).changing(changes));
        mutation.touch(Subject::Namespace(namespace_id.clone()));
        mutation.commit().await?;
        Ok(Response { override_id: id }.into())
    }
}
