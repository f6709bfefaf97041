//! `permissions.updateRole`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{find_role, name_is_taken};
use crate::audit::{Changes, Event};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::ids::RoleId;
use crate::operations::keys::role_target;
use crate::reply::Reply;
use crate::store::roles::{self, Role};
use crate::store::subject::Subject;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes a role.
#[derive(Debug)]
pub struct UpdateRole;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its name; an id wins.
    #[schemars(length(min = 1, max = 128))]
    role: String,
    /// Unique, case-sensitive.
    #[schemars(length(min = 1, max = 128))]
    name: Option<String>,
    /// For people; null or empty: none.
    #[serde(default)]
    #[schemars(length(max = 512))]
    description: Patch<String>,
}

/// A role without its permissions, which stay as they are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `role_…`
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl From<Role> for Response {
    fn from(role: Role) -> Self {
        Response { id: role.id.into(), name: role.name, description: role.description }
    }
}

impl Operation for UpdateRole {
    const ABOUT: About = About {
        name: "permissions.updateRole",
        title: "Change a role",
        summary: "Changes the name or description of a role. Absent members stay, null clears.",
        description: "Its permissions and the keys that have it stay as they are. A name of another role answers 409. \
                      `permissions.setRolePermissions` changes what it allows.",
        example: r#"{"role": "<roleName>", "description": "Reads documents."}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("rbac.*.update_role"),
            Expression::Leg("unkey:v1:{workspaceId}:projects/*/rbac/roles/{roleId}#write"),
        ])),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::RoleNotFound, Code::RoleAlreadyExists],
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let _ = caller.authorize(&Self::ABOUT.rule, &[("roleId", &request.role)])?;
        let mut mutation = keyrack.change(caller).await?;
        let mut role = find_role(mutation.connection(), caller, &request.role).await?;
        // What was named may have been a name that reads like the id of another role.
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("roleId", &role.id)])?;
        if request.name.is_none() && request.description.is_absent() {
            return Ok(authorized.reply(Response::from(role)));
        }
        let before = Response::from(role.clone());
        if let Some(name) = request.name.filter(|name| *name != role.name) {
            let names = std::slice::from_ref(&name);
            if !roles::find_by_names(mutation.connection(), caller.workspace_id(), names).await?.is_empty() {
                return Err(name_is_taken(&name));
            }
            role.name = name;
        }
        request.description.or_null_if(String::is_empty).apply(&mut role.description);
        let now = mutation.now();
        roles::update(mutation.connection(), &role, now).await?;
        let event = Event::new("role.update", format!("Updated role {}", role.id)).on(role_target(&role));
        mutation.record(event.changing(Changes::between(&before, &Response::from(role.clone()))));
        mutation.touch(Subject::Role(role.id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(Response::from(role)))
    }
}
