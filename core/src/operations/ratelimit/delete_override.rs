//! `ratelimit.deleteOverride`

use schemars::JsonSchema;
use serde::Deserialize;

use super::namespace::{begin_change, find_live, rule_facts, target};
use crate::audit::{Changes, Event, Target};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::error::OrNotFound as _;
use crate::reply::{Empty, Reply};
use crate::store::overrides;
use crate::store::subject::Subject;
use crate::{Caller, Code, Error, Keyrack};

/// Deletes an override.
#[derive(Debug)]
pub struct DeleteOverride;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
    /// The identifier or pattern exactly as it was set.
    #[schemars(length(min = 1, max = 512))]
    identifier: String,
}

impl Operation for DeleteOverride {
    const ABOUT: About = About {
        name: "ratelimit.deleteOverride",
        title: "Delete an override",
        summary: "Deletes the override that was set for exactly this identifier or pattern.",
        description: "From the next request on the limits of requests count again. An identifier that only matches a \
                      pattern has no override of its own and answers 404, as does deleting twice.",
        example: r#"{"namespace": "<namespace>", "identifier": "<overrideIdentifier>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.delete_override"),
            Expression::Leg("ratelimit.*.delete_override"),
        ])),
        effect: Effect::Destroy,
        errors: &[Code::RatelimitNamespaceNotFound, Code::RatelimitOverrideNotFound],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Deletes the override. The limits of the requests themselves count again."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let namespace_id = &namespace.stored.id;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", namespace_id)])?;
        let mut connection = keyrack.store().read().await?;
        let found = overrides::find_by_pattern(&mut connection, namespace_id, &request.identifier).await?;
        let rule = found.or_not_found(Code::RatelimitOverrideNotFound)?;
        let question = authorized
            .asking(consequences)
            .text("identifier", &*rule.pattern)
            .text("namespace", &*namespace.stored.name)
            .text("limit", format!("{} per {} ms", rule.limit, rule.duration_ms));
        Ok(question)
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let namespace_id = &namespace.stored.id;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", namespace_id)])?;
        let mut mutation = begin_change(keyrack, caller, &namespace).await?;
        let found = overrides::find_by_pattern(mutation.connection(), namespace_id, &request.identifier).await?;
        let rule = found.or_not_found(Code::RatelimitOverrideNotFound)?;
        let now = mutation.now();
        overrides::delete(mutation.connection(), &rule.id, now).await?;
        let event = Event::new(
            "ratelimit.delete_override",
            format!("Deleted override {} of namespace {namespace_id}", rule.id),
        );
        let primary = Target::new("ratelimitOverride", &rule.id).named(&*rule.pattern);
        let changes = Changes::between(&rule_facts(&rule), &());
        mutation.record(event.on(primary).on(target(&namespace.stored)).changing(changes));
        mutation.touch(Subject::Override(rule.id.to_string()));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
