//! `permissions.createRole`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name_is_taken;
use super::set_role_permissions::connected;
use crate::audit::Event;
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::ids::{self, Kind, RoleId};
use crate::operations::fields::{SLUG_PATTERN, distinct};
use crate::operations::keys::{permissions_by_slug, role_target};
use crate::reply::Reply;
use crate::store::permissions;
use crate::store::roles::{self, Role};
use crate::{Caller, Code, Error, Keyrack};

/// Creates a role.
#[derive(Debug)]
pub struct CreateRole;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Unique, case-sensitive.
    #[schemars(length(min = 1, max = 128))]
    name: String,
    /// For people.
    #[schemars(length(max = 512))]
    description: Option<String>,
    /// Slugs of its permissions; created if new.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Option<Vec<String>>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `role_…`
    pub role_id: RoleId,
}

impl Operation for CreateRole {
    const ABOUT: About = About {
        name: "permissions.createRole",
        title: "Create a role",
        summary: "Creates a role, a named set of permissions that keys may hold.",
        description: "With permissions it also needs `add_permission_to_role`, and `create_permission` if a slug is \
                      new. A name that exists answers 409 and leaves nothing behind.",
        example: r#"{"name": "editor", "description": "Reads and writes documents."}"#,
        rule: Rule::forbidding(Expression::Leg("rbac.*.create_role")).and(&[
            Conditional {
                name: "attach",
                when: "permissions is not empty",
                check: Expression::Leg("rbac.*.add_permission_to_role"),
                on_denied: OnDenied::Forbidden,
            },
            Conditional {
                name: "create",
                when: "a requested permission slug does not exist and must be created",
                check: Expression::Leg("rbac.*.create_permission"),
                on_denied: OnDenied::Forbidden,
            },
        ]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::RoleAlreadyExists],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let slugs = distinct(request.permissions.unwrap_or_default());
        if !slugs.is_empty() {
            caller.authorize_also(&Self::ABOUT.rule, "attach", &[])?;
        }
        let role = Role {
            id: ids::generate(Kind::Role),
            name: request.name,
            description: request.description.filter(|text| !text.is_empty()),
        };
        let mut mutation = keyrack.change(caller).await?;
        let (workspace_id, now) = (caller.workspace_id(), mutation.now());
        let known = permissions::find_by_slugs(mutation.connection(), workspace_id, &slugs).await?;
        if known.len() < slugs.len() {
            caller.authorize_also(&Self::ABOUT.rule, "create", &[])?;
        }
        let names = std::slice::from_ref(&role.name);
        if !roles::find_by_names(mutation.connection(), workspace_id, names).await?.is_empty() {
            return Err(name_is_taken(&role.name));
        }
        roles::insert(mutation.connection(), workspace_id, std::slice::from_ref(&role), now).await?;
        mutation.record(Event::new("role.create", format!("Created role {}", role.id)).on(role_target(&role)));
        let held = permissions_by_slug(&mut mutation, slugs).await?;
        let ids: Vec<_> = held.iter().map(|permission| permission.id.as_str()).collect();
        roles::link_permissions(mutation.connection(), &role.id, &ids).await?;
        for permission in &held {
            mutation.record(connected(&role, permission));
        }
        mutation.commit().await?;
        Ok(authorized.reply(Response { role_id: role.id.into() }))
    }
}
