//! `identities.createIdentity`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{identity_target, ratelimit_event};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::ids::{self, IdentityId, Kind};
use crate::operations::fields::{self, RatelimitRequest};
use crate::reply::Reply;
use crate::store::identities::{self, Identity};
use crate::store::ratelimits::Owner;
use crate::store::subject::Subject;
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Creates an identity.
#[derive(Debug)]
pub struct CreateIdentity;

/// What is sent. Unknown members are ignored, as the wire has it for this operation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What your own system calls it; unique, case-sensitive.
    #[schemars(length(min = 1, max = 255))]
    external_id: String,
    /// Any JSON object; verifications of its keys return it.
    meta: Option<Meta>,
    /// Limits that all its keys share.
    #[schemars(length(max = 50))]
    ratelimits: Option<Vec<RatelimitRequest>>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `id_…`
    pub identity_id: IdentityId,
}

impl Operation for CreateIdentity {
    const ABOUT: About = About {
        name: "identities.createIdentity",
        title: "Create an identity",
        summary: "Creates an identity, which groups keys and gives them shared limits and metadata.",
        description: "Keys are linked to it by `externalId`. An external id that a live identity has answers 409; that \
                      of a deleted one is free.",
        example: r#"{"externalId": "user_42", "meta": {"plan": "pro"},
                  "ratelimits": [{"name": "requests", "limit": 100, "duration": 60000, "autoApply": true}]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.*.create_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#create_identity"),
        ])),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::IdentityAlreadyExists],
        largest_body: 2 * 1024 * 1024,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let meta = request.meta.as_ref().map(fields::identity_meta).transpose()?;
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        let workspace_id = caller.workspace_id().to_owned();
        let known =
            identities::find_by_external_id(mutation.connection(), &workspace_id, &request.external_id).await?;
        if known.is_some() {
            return Err(Error::new(
                Code::IdentityAlreadyExists,
                format!(
                    "There is an identity with the external id \"{}\" already. Read it with `identities.getIdentity`.",
                    request.external_id
                ),
            ));
        }
        let identity =
            Identity { id: ids::generate(Kind::Identity), workspace_id, external_id: request.external_id, meta };
        let now = mutation.now();
        identities::insert(mutation.connection(), std::slice::from_ref(&identity), now).await?;
        mutation.record(
            Event::new("identity.create", format!("Created identity {}", identity.id))
                .on(identity_target(&identity)),
        );
        let limits = fields::new_ratelimits(request.ratelimits.unwrap_or_default());
        fields::add_ratelimits(&mut mutation, &Owner::Identity(identity.id.clone()), &limits).await?;
        for limit in &limits {
            mutation.record(ratelimit_event("ratelimit.create", "Created", &identity, limit));
        }
        mutation.touch(Subject::Identity(identity.id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(Response { identity_id: identity.id.into() }))
    }
}
