//! `identities.getIdentity`

use schemars::JsonSchema;
use serde::Deserialize;

use super::expanded::{CountedRatelimit, Expand, ExpandedIdentity};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, Operation, Resource};
use crate::error::OrNotFound as _;
use crate::operations::fields::IdentityResponse;
use crate::reply::Reply;
use crate::store::{identities, ratelimits};
use crate::{Caller, Code, Error, Keyrack};

/// Reads an identity.
#[derive(Debug)]
pub struct GetIdentity;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its external id; an id wins.
    #[schemars(length(min = 1, max = 255))]
    identity: String,
    /// What to answer besides: `counts` of keys; `usage` of its limits.
    #[serde(default)]
    #[schemars(length(max = 2))]
    expand: Vec<Expand>,
}

impl Operation for GetIdentity {
    const ABOUT: About = About {
        name: "identities.getIdentity",
        title: "Read an identity",
        summary: "Reads an identity by its id or its external id, with its metadata and limits.",
        description: "A deleted identity reads as one that never existed. `expand` with `counts` adds when it was made and \
                      how many keys it has, counted up to 1001; with `usage`, what is used of its limits, as the \
                      process that answers counts.",
        example: r#"{"identity": "<externalId>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.*.read_identity"),
            Expression::Leg("identity.{identityId}.read_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#read_identity"),
        ])),
        errors: &[Code::IdentityNotFound],
        assistants: Assistants {
            resource: Some(Resource { path: "identities", title: "An identity, which is a customer" }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = ExpandedIdentity<CountedRatelimit>;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<ExpandedIdentity<CountedRatelimit>>, Error> {
        let mut connection = keyrack.store().read().await?;
        let identity = identities::find(&mut connection, caller.workspace_id(), &request.identity).await?;
        let identity = identity.or_not_found(Code::IdentityNotFound)?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("identityId", &identity.id)])?;
        let limits = ratelimits::of_identities(&mut connection, &[&identity.id]).await?;
        let limits = limits.into_iter().map(|(_, limit)| limit).collect();
        let is_wanted = |wanted| request.expand.contains(&wanted);
        let counts = match is_wanted(Expand::Counts) {
            true => identities::facts(&mut connection, &[&identity.id]).await?.remove(&identity.id),
            false => None,
        };
        drop(connection);
        let mut identity: IdentityResponse<CountedRatelimit> = IdentityResponse::new(identity, limits)?;
        if is_wanted(Expand::Usage) {
            for limit in &mut identity.ratelimits {
                limit.look(keyrack, caller, &identity.id);
            }
        }
        Ok(authorized.reply(ExpandedIdentity { identity, counts: counts.map(Into::into) }))
    }
}
