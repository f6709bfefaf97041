//! `identities.updateIdentity`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{identity_target, limit_facts, ratelimit_event};
use crate::audit::{Changes, Event};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Assistants, Effect, Operation};
use crate::changes::Mutation;
use crate::error::OrNotFound as _;
use crate::operations::fields::{self, IdentityResponse, RatelimitRequest};
use crate::reply::Reply;
use crate::store::identities::{self, Identity};
use crate::store::ratelimits::{self, Owner};
use crate::store::subject::Subject;
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Changes an identity.
#[derive(Debug)]
pub struct UpdateIdentity;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its external id; an id wins.
    #[schemars(length(min = 1, max = 255))]
    identity: String,
    /// Replaces the whole object; empty: none.
    meta: Option<Meta>,
    /// Replaces all limits that its keys share: send all that are to stay; empty: none.
    #[schemars(length(max = 50))]
    ratelimits: Option<Vec<RatelimitRequest>>,
}

impl Operation for UpdateIdentity {
    const ABOUT: About = About {
        name: "identities.updateIdentity",
        title: "Change an identity",
        summary: "Changes the metadata or the shared limits of an identity. Absent members stay.",
        description: "`meta` and `ratelimits` replace the whole of what was there; a limit whose name stays keeps its id \
                      and its count. The change counts from the next verification of any of its keys on. The external \
                      id cannot be changed.",
        example: r#"{"identity": "<externalId>", "meta": {"plan": "team"}}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("identity.*.update_identity"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/identities/*#update_identity"),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::IdentityNotFound],
        largest_body: 2 * 1024 * 1024,
        assistants: Assistants { hint: "Send all limits that are to stay.", ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = IdentityResponse;

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<IdentityResponse>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        if let Some(limits) = &request.ratelimits {
            check_names(limits)?;
        }
        let meta = request.meta.as_ref().map(fields::identity_meta).transpose()?;
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        let identity = identities::find(mutation.connection(), caller.workspace_id(), &request.identity).await?;
        let mut identity = identity.or_not_found(Code::IdentityNotFound)?;
        let before = Facts::of(&identity);
        if let Some(meta) = meta {
            identity.meta = Some(meta);
        }
        let now = mutation.now();
        identities::update(mutation.connection(), &identity, now).await?;
        mutation.record(
            Event::new("identity.update", format!("Updated identity {}", identity.id))
                .on(identity_target(&identity))
                .changing(Changes::between(&before, &Facts::of(&identity))),
        );
        if let Some(limits) = request.ratelimits {
            replace_ratelimits(&mut mutation, &identity, limits).await?;
        }
        let limits = ratelimits::of_identities(mutation.connection(), &[&identity.id]).await?;
        mutation.touch(Subject::Identity(identity.id.clone()));
        let answer = IdentityResponse::new(identity, limits.into_iter().map(|(_, limit)| limit).collect())?;
        mutation.commit().await?;
        Ok(authorized.reply(answer))
    }
}

/// What the audit log says of an identity: of its metadata only names of members.
#[derive(Serialize)]
struct Facts {
    meta: Option<Meta>,
}

impl Facts {
    /// Damaged metadata can still be replaced.
    fn of(identity: &Identity) -> Facts {
        Facts { meta: fields::stored_meta(identity.meta.as_deref(), &identity.id).unwrap_or_default() }
    }
}

fn check_names(limits: &[RatelimitRequest]) -> Result<(), Error> {
    let repeated = (0..limits.len()).find(|at| limits[..*at].iter().any(|limit| limit.name == limits[*at].name));
    let Some(at) = repeated else { return Ok(()) };
    Err(Error::invalid(
        &format!("body.ratelimits[{at}].name"),
        format!("there are several rate limits with the name \"{}\"", limits[at].name),
        "Give each rate limit a name of its own.",
    ))
}

async fn replace_ratelimits(
    mutation: &mut Mutation,
    identity: &Identity,
    requested: Vec<RatelimitRequest>,
) -> Result<(), Error> {
    let owner = Owner::Identity(identity.id.clone());
    let replaced = fields::replace_ratelimits(mutation, &owner, requested).await?;
    for limit in &replaced.deleted {
        mutation.record(ratelimit_event("ratelimit.delete", "Deleted", identity, limit));
    }
    for (before, limit) in &replaced.updated {
        let changes = Changes::between(&limit_facts(before), &limit_facts(limit));
        mutation.record(ratelimit_event("ratelimit.update", "Updated", identity, limit).changing(changes));
    }
    for limit in &replaced.created {
        mutation.record(ratelimit_event("ratelimit.create", "Created", identity, limit));
    }
    Ok(())
}
