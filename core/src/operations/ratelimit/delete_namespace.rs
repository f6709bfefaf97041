//! `ratelimit.deleteNamespace`

use schemars::JsonSchema;
use serde::Deserialize;

use super::namespace::{begin_change, find_live, target};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::reply::{Empty, Reply};
use crate::store::subject::Subject;
use crate::store::{affected, namespaces};
use crate::{Caller, Code, Error, Keyrack};

/// Deletes a namespace of rate limits.
#[derive(Debug)]
pub struct DeleteNamespace;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Id or name of the namespace.
    #[schemars(length(min = 1, max = 512))]
    namespace: String,
}

impl Operation for DeleteNamespace {
    const ABOUT: About = About {
        name: "ratelimit.deleteNamespace",
        title: "Delete a namespace",
        summary: "Deletes a rate-limit namespace; limits in it answer 410 and its name stays reserved.",
        description: "Its overrides go with it. `ratelimit.createNamespace` revives it, without them. The name is free \
                      again when the server's retention of deleted things ends, which by default is never. Deleting \
                      twice answers 404.",
        example: r#"{"namespace": "<namespace>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("ratelimit.{namespaceId}.delete_namespace"),
            Expression::Leg("ratelimit.*.delete_namespace"),
        ])),
        effect: Effect::Destroy,
        errors: &[Code::RatelimitNamespaceNotFound],
        is_own: true,
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Deletes the namespace. Limits in it are refused at once, with 410, until it is created again."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let id = &namespace.stored.id;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", id)])?;
        let mut connection = keyrack.store().read().await?;
        let overrides = affected::overrides(&mut connection, id).await?;
        let question =
            authorized.asking(consequences).text("namespace", &*namespace.stored.name).text("id", &**id);
        Ok(question.count("overrides", overrides).agreed_by_typing(&namespace.stored.name))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let namespace = find_live(keyrack, caller, &request.namespace).await?;
        let id = &namespace.stored.id;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("namespaceId", id)])?;
        let mut mutation = begin_change(keyrack, caller, &namespace).await?;
        let now = mutation.now();
        namespaces::delete(mutation.connection(), id, now).await?;
        let event = Event::new("ratelimitNamespace.delete", format!("Deleted rate-limit namespace {id}"));
        mutation.record(event.on(target(&namespace.stored)));
        mutation.touch(Subject::Namespace(id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
