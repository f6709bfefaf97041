//! `identities.deleteIdentity`

use schemars::JsonSchema;
use serde::Deserialize;

use super::{identity_target, ratelimit_event};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::error::OrNotFound as _;
use crate::reply::{Empty, Reply};
use crate::store::affected::Of;
use crate::store::subject::Subject;
use crate::store::{affected, identities, ratelimits};
use crate::{Caller, Code, Error, Keyrack};

/// Deletes an identity.
#[derive(Debug)]
pub struct DeleteIdentity;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its external id; an id wins.
    #[schemars(length(min = 1, max = 255))]
    identity: String,
}

impl Operation for DeleteIdentity {
    const ABOUT: About = About {
        name: "identities.deleteIdentity",
        title: "Delete an identity",
        summary: "Deletes an identity and its shared limits. Its keys stay valid and belong to nobody.",
        description: "Verifications of its keys show no identity any more, and its limits no longer apply. The external \
                      id is free at once: a new identity with it has a new id, fresh counts and none of the old keys. \
                      The answer has `meta` only.",
        example: r#"{"identity": "<externalId>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.*.delete_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#delete_identity"),
        ])),
        effect: Effect::Destroy,
        idempotent: true,
        has_data: false,
        errors: &[Code::IdentityNotFound],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Deletes the identity with its limits. Its keys go on working, without them."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let identity = identities::find(&mut connection, caller.workspace_id(), &request.identity).await?;
        let identity = identity.or_not_found(Code::IdentityNotFound)?;
        let affected = affected::keys(&mut connection, Of::Identity(&identity.id)).await?;
        let question =
            authorized.asking(consequences).text("external id", &*identity.external_id).text("id", &*identity.id);
        Ok(question.affecting(affected))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        let identity = identities::find(mutation.connection(), caller.workspace_id(), &request.identity).await?;
        let identity = identity.or_not_found(Code::IdentityNotFound)?;
        let limits = ratelimits::of_identities(mutation.connection(), &[&identity.id]).await?;
        let now = mutation.now();
        identities::delete(mutation.connection(), &identity, now).await?;
        mutation.record(
            Event::new("identity.delete", format!("Deleted identity {}", identity.id))
                .on(identity_target(&identity)),
        );
        for (_, limit) in &limits {
            mutation.record(ratelimit_event("ratelimit.delete", "Deleted", &identity, limit));
        }
        mutation.touch(Subject::Identity(identity.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
