//! `identities.getIdentity`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Operation};
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
}

impl Operation for GetIdentity {
    const ABOUT: About = About {
        name: "identities.getIdentity",
        title: "Read an identity",
        summary: "Reads an identity by its id or its external id, with its metadata and limits.",
        description: "A deleted identity reads as one that never existed.",
        example: r#"{"identity": "<externalId>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.*.read_identity"),
            Expression::Leg("identity.{identityId}.read_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#read_identity"),
        ])),
        errors: &[Code::IdentityNotFound],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = IdentityResponse;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<IdentityResponse>, Error> {
        let mut connection = keyrack.store().read().await?;
        let identity = identities::find(&mut connection, caller.workspace_id(), &request.identity).await?;
        let identity = identity.or_not_found(Code::IdentityNotFound)?;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("identityId", &identity.id)])?;
        let limits = ratelimits::of_identities(&mut connection, &[&identity.id]).await?;
        let limits = limits.into_iter().map(|(_, limit)| limit).collect();
        Ok(authorized.reply(IdentityResponse::new(identity, limits)?))
    }
}
