//! `permissions.setRolePermissions`

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::find_role;
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Question, if_so};
use crate::changes::Mutation;
use crate::error::OrNotFound as _;
use crate::operations::fields::{PermissionResponse, SLUG_PATTERN, distinct};
use crate::operations::keys::{
    CREATE_PERMISSION, gained, lost, permission_target, permissions_by_slug, role_target,
};
use crate::reply::Reply;
use crate::store::affected::Of;
use crate::store::permissions::{self, Permission};
use crate::store::roles::{self, Role};
use crate::store::subject::Subject;
use crate::store::{Connection, affected};
use crate::{Caller, Code, Error, Keyrack};

/// Replaces the permissions of a role.
#[derive(Debug)]
pub struct SetRolePermissions;

/// What is sent: the role, in one of two ways, and its permissions.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["role"] }, { "required": ["roleId"] }]))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Its id or its name; an id wins.
    #[schemars(length(min = 1, max = 128))]
    role: Option<String>,
    /// Its id, as older clients send it in place of `role`.
    #[schemars(length(min = 1, max = 128), extend("deprecated" = true))]
    role_id: Option<String>,
    /// Slugs of all its permissions; created if new; empty: none.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Vec<String>,
}

impl Operation for SetRolePermissions {
    const ABOUT: About = About {
        name: "permissions.setRolePermissions",
        title: "Replace the permissions of a role",
        summary: "Replaces all permissions of a role and answers the new ones. Every key with the role is affected.",
        description: "Counts from the next verification on. A slug that does not exist is created, which also needs \
                      `create_permission`. Sending the same list again changes nothing.",
        example: r#"{"role": "<roleName>", "permissions": ["<permissionSlug>"]}"#,
        rule: Rule::forbidding(Expression::All(&[
            Expression::Leg("rbac.*.add_permission_to_role"),
            Expression::Leg("rbac.*.remove_permission_from_role"),
        ]))
        .and(&[CREATE_PERMISSION]),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::RoleNotFound],
        assistants: Assistants { hint: "The others are taken away.", hidden: &["roleId"], ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Vec<PermissionResponse>;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let sentence = "Takes all permissions from the role, and so from all keys that have it.";
        if_so([(sentence, request.permissions.is_empty())])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut connection = keyrack.store().read().await?;
        let (role, role_id) = (request.role.as_deref(), request.role_id.as_deref());
        let role = named(&mut connection, caller, role, role_id).await?;
        let holds_none = permissions_of(&mut connection, &role).await?.is_empty();
        consequences.retain(|_| !holds_none);
        let affected = affected::keys(&mut connection, Of::Role(&role.id)).await?;
        let question = authorized.asking(consequences).text("role", &*role.name).text("id", &*role.id);
        Ok(question.affecting(affected))
    }

    async fn handle(
        keyrack: &Keyrack,
        caller: &Caller,
        request: Request,
    ) -> Result<Reply<Vec<PermissionResponse>>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let slugs = distinct(request.permissions);
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        let (role, role_id) = (request.role.as_deref(), request.role_id.as_deref());
        let role = named(mutation.connection(), caller, role, role_id).await?;
        let known = permissions::find_by_slugs(mutation.connection(), caller.workspace_id(), &slugs).await?;
        if known.len() < slugs.len() {
            caller.authorize_also(&Self::ABOUT.rule, CREATE_PERMISSION.name, &[])?;
        }
        let held = permissions_of(mutation.connection(), &role).await?;
        let wanted = permissions_by_slug(&mut mutation, slugs).await?;
        if held != wanted {
            replace(&mut mutation, &role, &held, &wanted).await?;
            mutation.commit().await?;
        }
        Ok(authorized.reply(wanted.into_iter().map(PermissionResponse::from).collect::<Vec<_>>()))
    }
}

/// The role that a request names, by its id where it does so as older clients do.
async fn named(
    connection: &mut Connection,
    caller: &Caller,
    role: Option<&str>,
    role_id: Option<&str>,
) -> Result<Role, Error> {
    match (role, role_id.unwrap_or_default()) {
        (Some(id_or_name), _) => find_role(connection, caller, id_or_name).await,
        (None, id) => {
            let role = find_role(connection, caller, id).await?;
            Some(role).filter(|role| role.id == id).or_not_found(Code::RoleNotFound)
        }
    }
}

/// The permissions of a role, by slug.
async fn permissions_of(connection: &mut Connection, role: &Role) -> Result<Vec<Permission>, Error> {
    let held = permissions::of_roles(connection, &[&role.id]).await?;
    Ok(held.into_iter().map(|(_, permission)| permission).collect())
}

async fn replace(
    mutation: &mut Mutation,
    role: &Role,
    held: &[Permission],
    wanted: &[Permission],
) -> Result<(), Error> {
    let (taken, given) = (without(held, wanted), without(wanted, held));
    roles::unlink_permissions(mutation.connection(), &role.id, &ids(&taken)).await?;
    roles::link_permissions(mutation.connection(), &role.id, &ids(&given)).await?;
    for permission in taken {
        let description = format!("Disconnected role {} and permission {}", role.id, permission.id);
        mutation.record(
            Event::new("authorization.disconnect_role_and_permissions", description)
                .on(role_target(role))
                .on(permission_target(permission))
                .changing(lost("permissions", &permission.slug)),
        );
    }
    for permission in given {
        mutation.record(connected(role, permission));
    }
    // Keys hold permissions of a role through the role: those that have it are all that are affected.
    mutation.touch(Subject::Role(role.id.clone()));
    Ok(())
}

fn ids<'a>(permissions: &[&'a Permission]) -> Vec<&'a str> {
    permissions.iter().map(|permission| permission.id.as_str()).collect()
}

/// What of `all` is not in `others`, in its order. Both may be long.
fn without<'a>(all: &'a [Permission], others: &[Permission]) -> Vec<&'a Permission> {
    let others: HashSet<&str> = others.iter().map(|permission| permission.id.as_str()).collect();
    all.iter().filter(|permission| !others.contains(permission.id.as_str())).collect()
}

/// The audit event of a permission that a role got.
pub(super) fn connected(role: &Role, permission: &Permission) -> Event {
    let description = format!("Connected role {} and permission {}", role.id, permission.id);
    Event::new("authorization.connect_role_and_permission", description)
        .on(role_target(role))
        .on(permission_target(permission))
        .changing(gained("permissions", &permission.slug))
}
